from pathlib import Path

from upath import UPath

from fim_assets.corpus.stage import fault
from fim_assets.defs.failures import failure_message, failure_metadata
from fim_assets.recipe import Recipe
from fim_assets.run.partition import Outcome, StageOutcome
from fim_assets.stages import ASSETS
from fim_assets_tests.corpora import corpus_of

BROKEN = Outcome("a", failure="raw_shards: raw/a.jsonl: after line 3: ends inside the zstd frame")
REFUSED = Outcome(
    "b",
    [
        StageOutcome(
            "fim_shards", None, (fault("lossless", "raw/b.jsonl: line 2: its bytes differ"),)
        )
    ],
    failure="fim_shards: check lossless failed: raw/b.jsonl: line 2: its bytes differ",
)
FAULTY = Outcome("c", failure="token_arrays: KeyError: 'x'", details="Traceback …")


def test_each_partition_is_named_and_each_kind_of_failure_has_one_advice() -> None:
    corpus = corpus_of(Recipe(), Path("data"))
    again = Outcome("d", failure="raw_shards: raw/d.jsonl: cannot be read")
    said = failure_message([BROKEN, REFUSED, FAULTY, again], 1000, corpus, ASSETS)
    listed, _, advice = said.partition("\n\nWhat to do:\n")
    assert listed.splitlines() == [
        "4 of 1,000 partitions failed:",
        *(f"{its.key}: {its.failure}" for its in (BROKEN, REFUSED, FAULTY, again)),
    ]
    broken, refused, faulty, last = advice.splitlines()
    assert "what the message names" in broken
    assert "`fim-assets preview <" in broken
    prefixed = corpus_of(Recipe(), Path("data"), ("low", "b"))
    assert "`fim-assets --key-prefix low/b preview <" in failure_message(
        [BROKEN], 1, prefixed, ASSETS
    )
    assert f"{Path('data') / 'fim_shards'} to be looked at" in refused
    assert "fim-assets restore" in refused
    assert "traceback is an error in this run's log" in faulty
    assert "run the same range again" in last


def test_partitions_with_one_fault_are_told_together() -> None:
    corpus = corpus_of(Recipe(), Path("data"))
    failed = [
        Outcome(key, failure=f"raw_shards: {key}: {n} lines rejected\n  line 1", fault=fault)
        for n, (key, fault) in enumerate([("a", "x"), ("b", "y"), ("c", "x"), ("d", "x")])
    ]
    said = failure_message([*failed, BROKEN], 5, corpus, ASSETS)
    assert said.partition("\n\n")[0].splitlines() == [
        "5 of 5 partitions failed:",
        *("a: raw_shards: a: 0 lines rejected", "  line 1", "c, d: the same fault as a"),
        *("b: raw_shards: b: 1 lines rejected", "  line 1"),
        f"a: {BROKEN.failure}",
    ]
    unexplained = [Outcome(k, failure=f"raw_shards: {k}: rejected:\n  line 1") for k in "ab"]
    said = failure_message(unexplained, 2, corpus, ASSETS)
    assert said.partition("\n\n")[0].splitlines()[1:] == [
        *("a: raw_shards: a: rejected:", "  line 1"),
        "b: raw_shards: b: rejected",
    ]


def test_the_reason_on_a_partitions_page_has_a_row_a_line_and_no_markup() -> None:
    corpus = corpus_of(Recipe(), Path("data"))
    hostile = "![x](http://x.invalid) \u202e"
    failed = Outcome(
        "a", failure=f"raw_shards: a.jsonl: 2 lines rejected:\n  line 1: x\n  {hostile}"
    )
    shown = failure_metadata(failed, corpus, ASSETS)
    assert shown["failure"] == "raw_shards: a.jsonl: 2 lines rejected"
    lines = [row.data["line"] for row in shown["failure_lines"].records]
    assert lines == ["line 1: x", hostile.replace("\u202e", "‹U+202E›")]
    assert isinstance(shown["what_to_do"], str)
    refused = failure_metadata(REFUSED, corpus, ASSETS)
    assert refused["failure"] == REFUSED.failure
    assert "failure_lines" not in refused
    assert "fim-assets restore" in refused["what_to_do"]


def test_a_single_partition_is_no_range_and_object_storage_keeps_nothing() -> None:
    corpus = corpus_of(Recipe(), UPath("s3://bucket/out"))
    said = failure_message([REFUSED], 1, corpus, ASSETS)
    assert "nothing of it was uploaded" in said
    assert "to be looked at" not in said
    assert "range" not in said
    said = failure_message([REFUSED], 1, corpus, made=[])
    assert "s3://bucket/out/fim_shards to be looked at" in said
