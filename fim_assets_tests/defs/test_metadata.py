import re
from base64 import b64decode
from math import sqrt
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import dagster as dg
import orjson
import pytest

from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus.receipts import Receipt
from fim_assets.corpus_report.summary import Summary
from fim_assets.corpus_report.verdict import corpus_verdict
from fim_assets.corpus_report.write import write_report
from fim_assets.defs.metadata import report_metadata, stage_metadata
from fim_assets.fim_shards.rates import rates, rates_by_language
from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import Fim
from fim_assets.run.partition import StageOutcome
from fim_assets.stages import ASSETS
from fim_assets.statistics.rates import verdict
from fim_assets_tests.corpora import CHECKS_OF, documents, open_corpus, run_all, write_shard

IN_PLACE = 1000
"""Markdown and JSON of fewer characters are shown in place by the UI."""

HOSTILE = "<img src=x> ![x](http://x.invalid) [y](javascript:z) | `\u202e"
SHOWN = HOSTILE.replace("\u202e", "‹U+202E›")

Provenance = tuple[Corpus, dict[str, dict[str, StageOutcome]]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Provenance:
    """Partition `a` of awkward documents, some of a hostile language, and `none`, without any."""
    root = tmp_path_factory.mktemp("metadata")
    rows = documents(60)
    for row in rows[:20]:
        row["metadata"]["language"] = HOSTILE
    write_shard(root / "raw" / "a.jsonl", [*rows, b"refused", b"", b" "])
    write_shard(root / "raw" / "none.jsonl", [])
    fim = Fim.model_validate({"fim_rate": 0.8, "split": {"syntax": 0.5, "dolma": 0.5}})
    corpus = open_corpus(root, Recipe(fim=fim))
    outcomes = run_all(corpus)
    assert [its.failure for its in outcomes.values()] == [None, None]
    stages = {key: {stage.asset: stage for stage in its.stages} for key, its in outcomes.items()}
    return corpus, stages


def metadata_of(made: Provenance, asset: str, key: str = "a") -> dict[str, Any]:
    corpus, stages = made
    return stage_metadata(corpus, stages[key][asset])


def receipt_of(made: Provenance, asset: str, key: str = "a") -> Receipt:
    receipt = made[1][key][asset].receipt
    assert receipt is not None
    return receipt


def rows_of(table: Any) -> list[dict[str, Any]]:
    assert isinstance(table, dg.TableMetadataValue)
    return [dict(record.data) for record in table.records]


def picture_in(markdown: Any) -> tuple[ET.Element, str]:
    """The picture of a histogram's Markdown, and the words below it."""
    assert isinstance(markdown, dg.MarkdownMetadataValue)
    assert len(markdown.value) < IN_PLACE
    image, _, words = markdown.value.partition("\n\n")
    found = re.fullmatch(r"!\[\]\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)", image)
    assert found
    return ET.fromstring(b64decode(found[1])), words


@pytest.mark.parametrize("key", ["a", "none"])
@pytest.mark.parametrize("asset", ASSETS)
def test_every_entry_is_one_that_dagster_takes(made: Provenance, asset: str, key: str) -> None:
    metadata = metadata_of(made, asset, key)
    event = dg.AssetMaterialization(asset, partition=key, metadata=metadata)
    assert list(event.metadata) == list(metadata)
    assert metadata["documents"] == (60 if key == "a" else 0)


FIRST = {
    "raw_shards": (
        *("documents", "lines", "rejected_lines", "rejected_share", "blank_lines"),
        *("text_bytes", "document_chars_p50", "document_chars_p95", "document_chars_max"),
        "documents_with_sentinel_literals",
    ),
    "fim_shards": (
        *("documents", "files", "psm", "spm", "too_short"),
        *("fim_rate_realised", "fim_rate_deviation"),
        *("psm_share_realised", "psm_share_deviation", "fallback_share"),
    ),
    "token_arrays": (
        *("documents", "tokens", "arrays", "tokens_per_document", "document_tokens_p50"),
        *("chars_per_token", "fim_token_share", "effective_fim_rate"),
        *("lost_ends_share", "discarded_share"),
    ),
}


@pytest.mark.parametrize("asset", ASSETS)
def test_a_page_begins_with_ten_numbers_and_a_preview(made: Provenance, asset: str) -> None:
    names = list(metadata_of(made, asset))
    first = FIRST[asset]
    assert names[:10] == list(first)
    if asset != "raw_shards":
        assert names[10:12] == ["preview", "preview_documents"]
    numbers = [metadata_of(made, asset)[name] for name in first]
    assert all(isinstance(number, int | float) for number in numbers)


@pytest.mark.parametrize("asset", ASSETS)
def test_each_histogram_is_a_picture_with_its_numbers_in_words(
    made: Provenance, asset: str
) -> None:
    metadata = metadata_of(made, asset)
    histograms = receipt_of(made, asset).result.histograms
    assert [name for name in metadata if name.endswith("_histogram")] == [
        f"{name}_histogram" for name in histograms
    ]
    for name, lengths in histograms.items():
        svg, words = picture_in(metadata[f"{name}_histogram"])
        assert svg.tag.endswith("svg")
        assert f"{lengths.count:,} values · median {lengths.p50:,} · mean " in words
        assert metadata[f"{name}_mean"] == round(lengths.sum / lengths.count, 2)
        assert metadata[f"{name}_p95"] == lengths.p95
    empty, words = picture_in(
        metadata_of(made, asset, "none")[f"{next(iter(histograms))}_histogram"]
    )
    assert empty.tag.endswith("svg")
    assert words == "0 values"


def test_rates_stand_between_what_is_accepted(made: Provenance) -> None:
    corpus, _ = made
    metadata = metadata_of(made, "fim_shards")
    tested = rates(receipt_of(made, "fim_shards").result.counts, corpus.recipe)
    rows = {row["rate"]: row for row in rows_of(metadata["rates"])}
    assert list(rows) == list(tested) == ["fim_rate", "psm_share", "dolma_share", "syntax_share"]
    for name, rate in tested.items():
        low, high = map(float, rows[name]["accepted"].split("–"))
        assert low == round(rate.low / rate.trials, 4) < high == round(rate.high / rate.trials, 4)
        assert low <= rows[name]["realised"] <= high
        assert (rows[name]["verdict"], rows[name]["of"]) == ("within", rate.trials)
        assert metadata[f"{name}_realised"] == round(rate.hits / rate.trials, 6)
        deviation = rate.hits - rate.trials * rate.asked
        deviation /= sqrt(rate.trials * rate.asked * (1 - rate.asked))
        assert metadata[f"{name}_deviation"] == round(deviation, 2)
        assert rows[name]["deviation"] == f"{deviation:+.1f} σ".replace("-", "−")
    by_language = rows_of(metadata["rates_by_language"])
    files = [row["files"] for row in by_language]
    assert files == sorted(files, reverse=True)
    assert sum(files) == tested["fim_rate"].trials
    rearranged = sum(row["files"] * row["fim_rate"] for row in by_language)
    assert rearranged == pytest.approx(tested["fim_rate"].hits, abs=0.01)
    counts = receipt_of(made, "fim_shards").result.counts
    verdicts = [verdict(*its.values()) for its in rates_by_language(counts, corpus.recipe).values()]
    assert sorted(str(row["verdict"]) for row in by_language) == sorted(verdicts)
    assert "too few files" in verdicts


def test_numbers_that_are_plotted(made: Provenance) -> None:
    """61 lines are not blank, one of them is refused."""
    raw, fim, tokens = (metadata_of(made, asset) for asset in ASSETS)
    assert raw["rejected_share"] == round(1 / 61, 6)
    lines = ("lines", "documents", "blank_lines", "rejected_lines")
    assert [[its[name] for name in lines] for its in (raw, fim, tokens)] == [
        [63, 60, 2, 1],
        [63, 60, 2, 1],
        [60, 60, 0, 0],
    ]
    counts = receipt_of(made, "fim_shards").result.counts
    fallen = sum(n for name, n in counts.items() if name.startswith("fallback:"))
    assert fallen
    assert fim["fallback_share"] == round(fallen / (counts["psm"] + counts["spm"]), 6)
    assert tokens["tokens_per_document"] == round(tokens["tokens"] / 60, 2)
    assert tokens["tokens_per_document"] == tokens["document_tokens_mean"]


def test_what_trainers_see_is_a_table_and_three_numbers(made: Provenance) -> None:
    names = ("effective_fim_rate", "lost_ends_share", "discarded_share")
    receipt = receipt_of(made, "token_arrays")
    metadata = metadata_of(made, "token_arrays")
    by_way = {row.pop("way"): row for row in rows_of(metadata["effective_rates"])}
    assert len(by_way) == 6
    columns = ["whole_8192", "lost_ends", "discarded"]
    assert all([*row] == columns for row in by_way.values())
    by_length = {row.pop("way"): row for row in rows_of(metadata["whole_by_length"])}
    lengths = ["2048", "4096", "8192", "16384", "32768", "65536"]
    assert all([*row] == lengths for row in by_length.values())
    # No document has 65,536 tokens; the array has fewer, so that no chunk of them is full.
    assert by_length["truncated"]["65536"] == 1
    assert by_length["chunks"]["65536"] == 0
    files = receipt.seen["rearranged_files"]
    whole = receipt.seen["whole_files:chunks:2048"]
    assert by_length["chunks"]["2048"] == round(whole / files, 3)
    assert [round(metadata[name], 4) for name in names] == [*by_way["chunks"].values()]
    # Of no document, and of a receipt that an older version wrote, nothing is known.
    older = StageOutcome("token_arrays", receipt.model_copy(update={"seen": {}}))
    for nothing in (metadata_of(made, "token_arrays", "none"), stage_metadata(made[0], older)):
        assert not {*names, "effective_rates"} & nothing.keys()


def test_counts_by_reason_and_language_are_shown_where_a_receipt_has_them(made: Provenance) -> None:
    corpus, _ = made

    def with_counts(asset: str, counts: dict[str, int]) -> dict[str, Any]:
        receipt = receipt_of(made, asset)
        kinds = {name.partition(":")[0] for name in counts}
        others = {
            name: n
            for name, n in receipt.result.counts.items()
            if name.partition(":")[0] not in kinds
        }
        result = receipt.result.model_copy(update={"counts": others | counts})
        return stage_metadata(
            corpus, StageOutcome(asset, receipt.model_copy(update={"result": result}))
        )

    raw = with_counts("raw_shards", {"rejected:not_json": 1})
    assert raw["rejected_not_json"] == 1
    counts = {"tokens:C": 1, "tokens:": 3, "rearranged_longer:2048": 2}
    tokens = with_counts("token_arrays", counts)
    assert tokens["rearranged_longer_2048"] == 2
    assert rows_of(tokens["languages"]) == [
        {"language": "(none named)", "tokens": 3, "share": 0.75},
        {"language": "C", "tokens": 1, "share": 0.25},
    ]


def test_of_many_languages_the_first_are_shown_and_the_others_counted(made: Provenance) -> None:
    corpus, _ = made
    receipt = receipt_of(made, "raw_shards")
    measures = {
        f"{measure}:L{number}": 100 - number
        for number in range(60)
        for measure in ("documents", "chars", "bytes")
    }
    kept = {name: n for name, n in receipt.result.counts.items() if ":" not in name}
    result = receipt.result.model_copy(update={"counts": kept | measures})
    stage = StageOutcome("raw_shards", receipt.model_copy(update={"result": result}))
    rows = rows_of(stage_metadata(corpus, stage)["languages"])
    assert [row["language"] for row in rows] == [*(f"L{n}" for n in range(50)), "(10 more)"]


def test_text_of_a_shard_is_never_markdown(made: Provenance) -> None:
    fim = metadata_of(made, "fim_shards")
    assert SHOWN in [row["language"] for row in rows_of(fim["rates_by_language"])]
    assert SHOWN in [
        row["language"] for row in rows_of(metadata_of(made, "raw_shards")["languages"])
    ]
    for asset in ASSETS:
        for name, value in metadata_of(made, asset).items():
            if isinstance(value, dg.MarkdownMetadataValue) and "preview" not in name:
                picture_in(value)
            if isinstance(value, str):
                assert HOSTILE not in value


@pytest.mark.parametrize("asset", ASSETS)
def test_the_receipt_stands_there_without_what_is_shown_otherwise(
    made: Provenance, asset: str
) -> None:
    metadata = metadata_of(made, asset)
    receipt = orjson.loads(Path(metadata["receipt"].value).read_bytes())
    del receipt["result"]["histograms"]
    assert ("seen" in receipt) == (asset == "token_arrays")
    receipt.pop("seen", None)
    shown = metadata["receipt_json"].data
    assert shown == receipt
    assert str(Path(__file__).parents[2]) not in orjson.dumps(shown).decode()


@pytest.mark.parametrize("asset", ASSETS)
def test_a_skipped_partition_says_what_a_made_one_says(made: Provenance, asset: str) -> None:
    corpus, _ = made
    skipped = stage_metadata(corpus, StageOutcome(asset, receipt_of(made, asset), skipped=True))
    found = metadata_of(made, asset)
    assert skipped.pop("skipped") is True
    if asset != "raw_shards":
        passed = [{**row, "found": "when it was made"} for row in rows_of(found["checks"])]
        assert rows_of(skipped.pop("checks")) == passed
    assert skipped == {
        name: its
        for name, its in found.items()
        if name not in ("checks", "preview", "preview_documents")
    }


def test_checks_say_what_they_found(made: Provenance) -> None:
    for asset in ("fim_shards", "token_arrays"):
        rows = rows_of(metadata_of(made, asset)["checks"])
        assert [row["check"] for row in rows] == list(CHECKS_OF[asset])
        assert all(row["passed"] == "yes" and row["found"] for row in rows)
    assert "checks" not in metadata_of(made, "raw_shards")


def card_of(corpus: Corpus, keys: list[str]) -> tuple[Summary, str]:
    """The report's summary, and the card that was written."""
    summary = write_report(corpus, keys)
    return summary, Path(str(corpus.folder("corpus_report")), "README.md").read_text("utf-8")


def test_the_report_tells_which_partitions_are_missing_and_why(made: Provenance) -> None:
    corpus, _ = made
    keys = ["a", "none", *(f"missing-{number:03}" for number in range(150))]
    summary, card = card_of(corpus, keys)
    metadata = report_metadata(corpus, summary, card)
    name, shown = next(iter(metadata.items()))
    lines = shown.value.split("  \n")
    assert (name, " ".join(lines)) == ("verdict", corpus_verdict(summary))
    assert max(map(len, lines)) <= 40, "what the page shows of a column that a path has widened"
    assert metadata["card_text"].value.startswith("\n# Fill-in-the-middle token arrays: ")
    assert card.endswith(metadata["card_text"].value)
    assert (metadata["partitions_complete"], metadata["partitions_incomplete"]) == (2, 150)
    incomplete = metadata["incomplete"].data
    assert len(incomplete) == 100, "no page of a hundred thousand"
    assert incomplete["missing-000"] == "raw_shards: not materialized"
    for name in ("documents", "files", "tokens"):
        of_stages = receipt_of(made, "token_arrays" if name == "tokens" else "fim_shards")
        assert metadata[name] == getattr(of_stages.result, name)
    of_partition = metadata_of(made, "token_arrays")
    assert metadata["effective_fim_rate"] == of_partition["effective_fim_rate"]
    rows = {row["rate"]: row for row in rows_of(metadata["rates"])}
    assert rows.keys() >= {"fim_rate", "psm_share"}
    realised, *deviation = rows["fim_rate"]["realised"].split()
    assert float(realised) == round(metadata["fim_rate_realised"], 4)
    assert deviation == [f"{metadata['fim_rate_deviation']:+.1f}".replace("-", "−"), "σ"]
    for name, value in metadata.items():
        if name.endswith("_histogram"):
            picture_in(value)
    dg.AssetMaterialization("corpus_report", metadata=metadata)
    whole = report_metadata(corpus, *card_of(corpus, ["a", "none"]))
    assert "incomplete" not in whole
