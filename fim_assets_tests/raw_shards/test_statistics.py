"""Statistics of raw shards, by hand."""

from pathlib import Path

import polars as pl

from fim_assets.raw_shards.measure import SCHEMA as RAW_SCHEMA
from fim_assets.raw_shards.statistics import raw_statistics
from fim_assets.statistics.counts import counted
from fim_assets.statistics.histograms import histogram
from fim_assets_tests.corpora import write_rows


def test_raw_profile_by_hand(tmp_path: Path) -> None:
    rows = [
        (1, "a", "Python", 10, 12, 0),
        (2, "b", "C", 3, 3, 2),
        (4, None, None, 7, 7, 1),
        (5, "d", "Python", 1, 4, 0),
    ]
    result = raw_statistics(write_rows(tmp_path / "a.parquet", RAW_SCHEMA, rows))
    assert result.counts == {
        "bytes": 26,
        "sentinel_literals": 3,
        "documents_with_sentinel_literals": 2,
        "documents:Python": 2,
        "chars:Python": 11,
        "bytes:Python": 16,
        "documents:": 1,
        "chars:": 7,
        "bytes:": 7,
        "documents:C": 1,
        "chars:C": 3,
        "bytes:C": 3,
    }
    assert result.histograms == {"document_chars": histogram(pl.Series([10, 3, 7, 1]))}
    assert counted(result.counts, "documents") == {"Python": 2, "": 1, "C": 1}
    assert counted(result.counts, "bytes") == {"Python": 16, "": 7, "C": 3}


def test_an_empty_language_and_none_are_counted_together(tmp_path: Path) -> None:
    """Every document is counted under some language."""
    rows = [(n, None, language, 1, 1, 0) for n, language in enumerate(["", None, None, "C", ""])]
    result = raw_statistics(write_rows(tmp_path / "a.parquet", RAW_SCHEMA, rows))
    assert counted(result.counts, "documents") == {"": 4, "C": 1}


def test_the_order_of_languages_does_not_depend_on_chance(tmp_path: Path) -> None:
    names = ["z", "a", None, "m", "b", "m"]
    rows = [(n, None, language, 1, 1, 0) for n, language in enumerate(names)]
    path = write_rows(tmp_path / "a.parquet", RAW_SCHEMA, rows)
    orders = {tuple(counted(raw_statistics(path).counts, "documents")) for _ in range(10)}
    assert orders == {("m", "", "a", "b", "z")}


def test_raw_profile_of_nothing(tmp_path: Path) -> None:
    result = raw_statistics(write_rows(tmp_path / "a.parquet", RAW_SCHEMA, []))
    assert set(result.counts.values()) == {0}
    assert result.histograms == {"document_chars": histogram(pl.Series([]))}
