"""Statistics of FIM shards, by hand: exact duplicates count once where rates are tested."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from fim_assets.fim_shards.record import SCHEMA as FIM_SCHEMA
from fim_assets.fim_shards.statistics import fim_statistics
from fim_assets.io import parquet as tables
from fim_assets.io.hashing import HashingWriter
from fim_assets.io.parquet import TableWriter
from fim_assets.statistics.counts import counted
from fim_assets.statistics.histograms import histogram
from fim_assets_tests.corpora import write_rows


def fim_row(
    line: int, file: int, order: str, parts: tuple[int, int, int], key: int, reason: str | None
) -> tuple[Any, ...]:
    chars = sum(parts) if order != "none" else 9
    split = None if order == "none" else "dolma"
    return (line, str(line), file, chars, order, split, reason, *parts, key, "C")


FIM_ROWS = [
    # One document of three files,
    fim_row(1, 0, "psm", (1, 2, 3), 50, None),
    fim_row(1, 1, "none", (0, 0, 0), 50, "too_short"),
    fim_row(1, 2, "none", (0, 0, 0), 50, "not_selected"),
    # a true copy of it,
    fim_row(2, 0, "psm", (1, 2, 3), 50, None),
    fim_row(2, 1, "none", (0, 0, 0), 50, "too_short"),
    fim_row(2, 2, "none", (0, 0, 0), 50, "not_selected"),
    # another that was not rearranged, one in SPM order and two copies of it.
    fim_row(4, 0, "none", (0, 0, 0), 1 << 63, "not_selected"),
    fim_row(5, 0, "spm", (4, 1, 7), 60, None),
    fim_row(6, 0, "spm", (4, 1, 7), 60, None),
    fim_row(7, 0, "spm", (4, 1, 7), 60, None),
]


def test_fim_profile_counts_copies_once_in_rates(tmp_path: Path) -> None:
    result = fim_statistics(write_rows(tmp_path / "a.parquet", FIM_SCHEMA, FIM_ROWS))
    assert result.counts == {
        "psm": 2,
        "spm": 3,
        "not_selected": 3,
        "too_short": 2,
        "gate": 0,
        "repository": 0,
        "separators": 4,
        "copies": 3,
        "split:dolma": 5,
        # 1 of 6 and 4 of 12; 3 of 6 and 5 of 12: 16.7, 33.3, 50 and 41.7 %.
        "first_cut:15": 2,
        "first_cut:30": 3,
        "second_cut:40": 3,
        "second_cut:50": 2,
        "distinct_documents": 3,
        "distinct_candidates": 3,
        "distinct_drawn:dolma": 2,
        "distinct_eligible": 4,
        "distinct_eligible:C": 4,
        "distinct_psm": 1,
        "distinct_psm:C": 1,
        "distinct_spm": 1,
        "distinct_spm:C": 1,
    }


def test_fim_profile_counts_laws_gates_and_languages(tmp_path: Path) -> None:
    none = (0, 0, 0)
    rows = [
        # A repository: marker, a file cut by syntax, one that syntax could not cut, a short one.
        (1, None, 0, 9, "none", None, "repository", *none, 1, None),
        (1, None, 1, 6, "psm", "syntax", None, 1, 2, 3, 1, None),
        (1, None, 2, 6, "spm", "uniform", "no_grammar", 1, 2, 3, 1, None),
        (1, None, 3, 1, "none", None, "too_short", *none, 1, None),
        # A document that is no candidate, and one that is too short to be asked.
        (2, None, 0, 9, "none", None, "gate", *none, 2, "C"),
        (3, None, 0, 1, "none", None, "too_short", *none, 3, "C"),
        # Drawn for lines, but of one line.
        (4, None, 0, 6, "psm", "uniform", "one_line", 1, 2, 3, 4, "C"),
        (5, None, 0, 6, "none", None, "not_selected", *none, 5, "C"),
    ]
    counts = fim_statistics(write_rows(tmp_path / "a.parquet", FIM_SCHEMA, rows)).counts
    assert counted(counts, "split") == {"uniform": 2, "syntax": 1}
    assert counted(counts, "fallback") == {"no_grammar": 1, "one_line": 1}
    assert counted(counts, "distinct_drawn") == {"syntax": 2, "lines": 1}
    assert (counts["gate"], counts["repository"], counts["too_short"]) == (1, 1, 2)
    assert (counts["distinct_documents"], counts["distinct_candidates"]) == (4, 3)
    assert counted(counts, "distinct_eligible") == {"": 2, "C": 2}
    assert counted(counts, "distinct_psm") == {"": 1, "C": 1}
    assert counted(counts, "distinct_spm") == {"": 1, "C": 0}


def test_fim_profile_measures_parts_of_rearranged_files_only(tmp_path: Path) -> None:
    result = fim_statistics(write_rows(tmp_path / "a.parquet", FIM_SCHEMA, FIM_ROWS))
    assert result.histograms == {
        "file_chars": histogram(pl.Series([6, 9, 9, 6, 9, 9, 9, 12, 12, 12])),
        "prefix_chars": histogram(pl.Series([1, 1, 4, 4, 4])),
        "middle_chars": histogram(pl.Series([2, 2, 1, 1, 1])),
        "suffix_chars": histogram(pl.Series([3, 3, 7, 7, 7])),
    }


def test_cuts_are_counted_by_exact_twentieths_of_the_length(tmp_path: Path) -> None:
    # 0 and 20 of 20 are the ends; 1 of 20 begins the second twentieth, 19,999 of 400,000 does not.
    parts = [(0, 20, 0), (1, 0, 19), (19_999, 1, 380_000)]
    rows = [fim_row(line, 0, "psm", its, line, None) for line, its in enumerate(parts, 1)]
    counts = fim_statistics(write_rows(tmp_path / "a.parquet", FIM_SCHEMA, rows)).counts
    assert counted(counts, "first_cut") == {"0": 2, "5": 1}
    assert counted(counts, "second_cut") == {"5": 2, "95": 1}


def test_a_document_in_several_groups_of_rows_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "ROW_GROUP_ROWS", 3)
    rows = [fim_row(line, n, "psm", (1, 2, 3), line, None) for line in (1, 2, 3) for n in range(7)]
    counts = fim_statistics(write_rows(tmp_path / "a.parquet", FIM_SCHEMA, rows)).counts
    assert (counts["distinct_documents"], counts["distinct_candidates"]) == (3, 3)
    assert (counts["distinct_eligible"], counts["distinct_psm:C"]) == (21, 21)


def test_documents_that_are_too_long_count_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In groups of three rows: the first document's files that are left for its length begin in
    another group than it does, and the second's are a group apart."""
    monkeypatch.setattr(tables, "ROW_GROUP_ROWS", 3)
    documents = ["ssssLL", "LssssL", "LLLLLLL", "s", "L"]
    reasons = {"s": "too_short", "L": "longer_than_context"}
    rows = [
        fim_row(line, file, "none", (0, 0, 0), line, reasons[kind])
        for line, files in enumerate(documents, 1)
        for file, kind in enumerate(files)
    ]
    counts = fim_statistics(write_rows(tmp_path / "a.parquet", FIM_SCHEMA, rows)).counts
    assert (counts["longer_documents:C"], counts["longer_files:C"]) == (4, 12)
    assert (counts["longer_than_context"], counts["distinct_eligible"]) == (12, 0)
    assert "pieces:C" not in counts


def test_a_joined_document_that_is_too_long_counts_for_its_first_files_language(
    tmp_path: Path,
) -> None:
    rows = [
        (*fim_row(line, file, "none", (0, 0, 0), line, "longer_than_context")[:-1], language)
        for line in range(1, 501)
        for file, language in enumerate(["Go", "C", "Rust"])
    ]
    counts = fim_statistics(write_rows(tmp_path / "a.parquet", FIM_SCHEMA, rows)).counts
    assert counted(counts, "longer_documents") == {"Go": 500}
    assert counted(counts, "longer_files") == {"Go": 500, "C": 500, "Rust": 500}


def test_pieces_and_the_documents_they_are_of_are_counted_by_language(tmp_path: Path) -> None:
    schema = pa.schema([*FIM_SCHEMA, ("piece", pa.int64()), ("pieces", pa.int64())])
    rows = [
        (*fim_row(line, file, "psm", (1, 2, 3), 10 * line + piece, None), piece, pieces)
        for line, pieces in ((1, 1), (2, 3), (3, 2))
        for piece in range(pieces)
        for file in range(2)
    ]
    counts = fim_statistics(write_rows(tmp_path / "a.parquet", schema, rows)).counts
    assert (counts["divided_documents:C"], counts["pieces:C"]) == (2, 5)
    assert (counts["distinct_documents"], counts["distinct_eligible"]) == (6, 12)


def test_fim_profile_of_nothing(tmp_path: Path) -> None:
    result = fim_statistics(write_rows(tmp_path / "a.parquet", FIM_SCHEMA, []))
    assert set(result.counts.values()) == {0}
    assert all(lengths == histogram(pl.Series([])) for lengths in result.histograms.values())


def record_of_copies(path: Path, languages: list[str | None], distinct: int, count: int) -> Path:
    """Documents of two files each, the first `distinct` of them over and over."""
    kinds = np.arange(2 * count) // 2 % distinct
    rearranged = kinds % 2 == 0
    columns = {
        "file": np.arange(2 * count) % 2,
        "chars": np.full(2 * count, 9),
        "order": ["psm" if here else "none" for here in rearranged],
        "split": ["dolma" if here else None for here in rearranged],
        "reason": [None if here else "not_selected" for here in rearranged],
        "draw_key": (kinds + 1).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15),
        "language": [languages[n // 2 // distinct % len(languages)] for n in range(2 * count)],
    }
    others = {"line": np.arange(2 * count) // 2, "id": [None] * (2 * count)}
    parts = {f"{part}_chars": rearranged * 3 for part in ("prefix", "middle", "suffix")}
    with HashingWriter(path) as file, TableWriter(file, FIM_SCHEMA) as table:
        table.write(columns | others | parts)
    return path


@pytest.mark.parametrize("languages", [["C"], ["C", None], ["C", "C", "Go"]])
def test_copies_in_several_groups_of_rows_count_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, languages: list[str | None]
) -> None:
    monkeypatch.setattr(tables, "ROW_GROUP_ROWS", 7)
    path = record_of_copies(tmp_path / "a.parquet", languages, 10, 60)
    counts = fim_statistics(path).counts
    assert (counts["copies"], counts["psm"], counts["distinct_documents"]) == (50, 60, 10)
    assert (counts["distinct_eligible"], counts["distinct_psm"]) == (20, 10)
    assert counts["distinct_drawn:dolma"] == 10
    names = sorted({language or "" for language in languages})
    assert counted(counts, "distinct_eligible") == dict.fromkeys(names, 20)
    assert counted(counts, "distinct_psm") == dict.fromkeys(names, 10)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_of_a_fim_profile_does_not_hold_copies(tmp_path: Path) -> None:
    few = record_of_copies(tmp_path / "few.parquet", ["C"], 32_768, 32_768)
    path = record_of_copies(tmp_path / "a.parquet", ["C"], 80_000, 160_000)
    code = f"""
from pathlib import Path
from fim_assets.fim_shards.statistics import fim_statistics

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) << 10

fim_statistics(Path({str(few)!r}))
before = peak()
fim_statistics(Path({str(path)!r}))
print(peak() - before)
"""
    grown = int(subprocess.check_output([sys.executable, "-c", code]))
    assert grown < 80e6
