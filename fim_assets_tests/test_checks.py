from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pyarrow.parquet as pq
import pytest
import zstandard

from fim_assets.checks import CheckOutcome
from fim_assets.pipeline import CHECKS_OF, Outcome
from fim_assets.recipe import Fim, Recipe
from fim_assets.tokens.tokenizer import load_tokenizer
from fim_assets_tests.corpora import documents, open_corpus, run_all, write_shard

RECIPE = Recipe(fim=Fim(fim_rate=1.0, psm_spm_split=1.0))


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    rows = documents(60)
    write_shard(tmp_path / "raw" / "a.jsonl", [*rows[:30], b"refused", *rows[30:]])
    outcome = run_all(open_corpus(tmp_path, RECIPE))["a"]
    assert outcome.failure is None
    return tmp_path


def run_check(root: Path, name: str) -> CheckOutcome:
    outcome = run_all(open_corpus(root, RECIPE), [], [name])["a"]
    assert outcome.stages, outcome.failure
    (check,) = outcome.stages[0].checks
    assert check.name == name
    return check


def edit_lines(root: Path, edit: Callable[[list[bytes]], list[bytes]]) -> None:
    path = root / "fim_shards" / "a.jsonl.zst"
    lines = zstandard.decompress(path.read_bytes(), 1 << 30).split(b"\n")[:-1]
    data = zstandard.compress(b"".join(line + b"\n" for line in edit(lines)))
    path.write_bytes(data)
    agree(root, "fim_shards", path)


def edit_table(root: Path, asset: str, edit: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    path = root / asset / "a.parquet"
    schema = pq.read_schema(path)
    pq.write_table(edit(pl.read_parquet(path)).to_arrow().cast(schema), path)
    agree(root, asset, path)


def agree(root: Path, asset: str, path: Path) -> None:
    """Put the edited file's size in the receipt, so that the check itself has to notice."""
    receipt = root / asset / "a.json"
    content = orjson.loads(receipt.read_bytes())
    for output in content["result"]["outputs"]:
        if output["name"] == path.name:
            output["bytes"] = path.stat().st_size
    receipt.write_bytes(orjson.dumps(content))


def edit_array(
    root: Path, edit: Callable[["np.ndarray[tuple[int], np.dtype[np.uint32]]"], None]
) -> None:
    path = root / "token_arrays" / "a-00000.npy"
    ids = np.fromfile(path, "<u4")
    edit(ids)
    ids.tofile(path)


@pytest.mark.parametrize("name", [name for names in CHECKS_OF.values() for name in names])
def test_checks_pass_alone_on_what_lies_there(finished: Path, name: str) -> None:
    check = run_check(finished, name)
    assert check.passed
    assert check.numbers


def change_character(lines: list[bytes]) -> list[bytes]:
    return [*lines[:7], lines[7].replace(b"code", b"c0de").replace(b"# ", b"@ "), *lines[8:]]


def change_language(lines: list[bytes]) -> list[bytes]:
    return [lines[0].replace(b"Python", b"Pithon"), *lines[1:]]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (change_character, "line 8: another text comes back"),
        (change_language, "line 1: bytes outside the text differ"),
        (lambda lines: lines[:-1], "the parquet has more documents"),
        (lambda lines: [*lines, lines[0]], "the parquet has fewer documents"),
        (lambda lines: [lines[8], *lines[1:8], lines[0], *lines[9:]], ""),
    ],
)
def test_lossless_notices(
    finished: Path, edit: Callable[[list[bytes]], list[bytes]], message: str
) -> None:
    edit_lines(finished, edit)
    check = run_check(finished, "lossless")
    assert not check.passed
    assert message in check.description


def test_lossless_notices_a_document_lost_in_both_files(finished: Path) -> None:
    edit_lines(finished, lambda lines: lines[:-1])
    edit_table(
        finished, "fim_shards", lambda table: table.filter(pl.col("line") < table["line"].max())
    )
    check = run_check(finished, "lossless")
    assert not check.passed
    assert "line 61 is not in the FIM shard" in check.description


def test_failed_check_takes_the_receipt_away(finished: Path) -> None:
    edit_lines(finished, change_character)
    run_check(finished, "lossless")
    assert not (finished / "fim_shards" / "a.json").exists()


def outcome_of(root: Path, recipe: Recipe, checks: list[str]) -> Outcome:
    return run_all(open_corpus(root, recipe), ["raw_shards", "fim_shards"], checks)["a"]


def test_rates_outside_their_bounds_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Draws that always select would be a rate of 1 where 0.5 was asked for."""
    write_shard(tmp_path / "raw" / "a.jsonl", documents(100))
    monkeypatch.setattr(
        "fim_assets.fim.transform.uniforms", lambda keys, _files, _draw: np.zeros(len(keys))
    )
    outcome = outcome_of(tmp_path, Recipe(), ["rates_within_bounds"])
    assert outcome.failure is not None
    assert "check rates_within_bounds failed: fim_rate: " in outcome.failure
    assert "at a probability of 0.5" in outcome.failure
    assert not (tmp_path / "fim_shards" / "a.json").exists()


def test_rates_count_true_copies_once(tmp_path: Path) -> None:
    """A thousand copies of one document all fare alike: no evidence against the rate."""
    write_shard(tmp_path / "raw" / "a.jsonl", [documents(1)[0]] * 1000)
    outcome = outcome_of(tmp_path, Recipe(), ["rates_within_bounds"])
    assert outcome.failure is None
    receipt = outcome.stages[-1].receipt
    assert receipt is not None
    assert receipt.result.counts["copies"] == 999
    assert receipt.result.counts["distinct_eligible"] == 1


def move_eos(ids: "np.ndarray[tuple[int], np.dtype[np.uint32]]") -> None:
    end = int(np.flatnonzero(ids == 100257)[0])
    ids[[end, end - 1]] = ids[[end - 1, end]]


def add_eos(ids: "np.ndarray[tuple[int], np.dtype[np.uint32]]") -> None:
    ids[1] = 100257


@pytest.mark.parametrize("edit", [move_eos, add_eos])
def test_one_eos_notices_a_moved_or_added_eos(
    finished: Path, edit: Callable[["np.ndarray[tuple[int], np.dtype[np.uint32]]"], None]
) -> None:
    edit_array(finished, edit)
    check = run_check(finished, "one_eos_per_document")
    assert not check.passed
    assert "EOS does not stand once" in check.description


@pytest.mark.parametrize(
    "edit",
    [
        lambda table: table.slice(1),
        lambda table: table.slice(0, 59),
        lambda table: table.with_columns(end=pl.col("end") + 1),
        lambda table: table.with_columns(array=pl.lit("b-00000.npy")),
    ],
)
def test_one_eos_notices_spans_that_do_not_cover_the_array(
    finished: Path, edit: Callable[[pl.DataFrame], pl.DataFrame]
) -> None:
    edit_table(finished, "token_arrays", edit)
    assert not run_check(finished, "one_eos_per_document").passed


def other_word(ids: "np.ndarray[tuple[int], np.dtype[np.uint32]]") -> None:
    ids[5] = 64 if ids[5] != 64 else 65


def unknown_id(ids: "np.ndarray[tuple[int], np.dtype[np.uint32]]") -> None:
    ids[5] = load_tokenizer(RECIPE).vocab_size


@pytest.mark.parametrize(
    ("edit", "message"), [(other_word, "decode to another text"), (unknown_id, "unknown id")]
)
def test_decoding_notices(
    finished: Path,
    edit: Callable[["np.ndarray[tuple[int], np.dtype[np.uint32]]"], None],
    message: str,
) -> None:
    edit_array(finished, edit)
    check = run_check(finished, "decodes_to_fim_text")
    assert not check.passed
    assert message in check.description


def test_decoding_notices_swapped_documents(finished: Path) -> None:
    edit_table(
        finished, "token_arrays", lambda table: table.with_columns(line=pl.col("line").reverse())
    )
    assert not run_check(finished, "decodes_to_fim_text").passed
