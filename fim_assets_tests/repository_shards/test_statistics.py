"""Counts and distributions by hand, from rows of a parquet alone."""

from pathlib import Path
from typing import Any

import pytest

from fim_assets.io import parquet
from fim_assets.repository_shards.record import SCHEMA, repository_frames
from fim_assets.repository_shards.statistics import repository_statistics
from fim_assets_tests.corpora import write_rows

ROW: dict[str, Any] = {
    "id": "x",
    "document": 0,
    "documents": 1,
    "named": False,
    "copy": False,
    "place": "path",
    "depends_on": [],
    "unresolved": 0,
    "lead_chars": 1,
    "header_chars": 2,
    "chars": 10,
    "tail_chars": 3,
}


def rows(*several: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        tuple((ROW | {"line": n} | row).get(name) for name in SCHEMA.names)
        for n, row in enumerate(several, 1)
    ]


def many() -> list[tuple[Any, ...]]:
    """One repository in two documents, in Python and C; one in two languages; one file alone.

    Lines 1 and 2 import one another, 3 imports 1 and 4; lines 5 and 6 import one another, and 2.
    """
    cycle = {"place": "cycle", "language": "Python"}
    one = {"repository": "one", "documents": 2, "named": True}
    return rows(
        one | cycle | {"file": 0, "depends_on": [2], "unresolved": 2},
        one | cycle | {"file": 1, "depends_on": [1]},
        one | {"file": 2, "place": "imports", "depends_on": [1, 4], "language": "Python"},
        one | {"file": 0, "document": 1, "language": "C", "copy": True},
        one | cycle | {"file": 1, "document": 1, "depends_on": [6, 2]},
        one | cycle | {"file": 2, "document": 1, "depends_on": [5], "unresolved": 1},
        {"repository": "two", "file": 0, "language": "C", "chars": 0},
        {"file": 0, "place": "alone", "lead_chars": 0, "chars": 100},
        {"repository": "two", "file": 0, "language": "Python"},
    )


@pytest.mark.parametrize("group", [1, 2, 4, 100])
def test_statistics_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: int) -> None:
    """However many rows a group of the parquet has."""
    monkeypatch.setattr(parquet, "ROW_GROUP_ROWS", group)
    found = repository_statistics(write_rows(tmp_path / "a.parquet", SCHEMA, many()))
    assert found.counts == {
        "repositories": 2,
        "named_repositories": 1,
        "divided_repositories": 1,
        "documents_of_divided": 2,
        "files_without_repository": 1,
        "repository_copies": 1,
        "cycle_files": 4,
        # 1-2, 2-1, 5-6 and 6-5; 5-2 leads from one cycle to the other.
        "cycle_edges": 4,
        "unresolved_imports": 3,
        "import_edges": 7,
        "place:cycle": 4,
        "place:path": 3,
        "place:alone": 1,
        "place:imports": 1,
        "repository_files:Python": 6,
        "repository_files:C": 2,
        "repository_files:": 1,
        "import_edges:Python": 7,
    }
    files, sizes, repositories = (
        found.histograms[f"repository_{name}"]
        for name in ("document_files", "document_chars", "files")
    )
    assert (files.count, files.sum, files.bins) == (4, 8, {1: 2, 3: 2})
    # 16 characters a file; of line 7 six.
    assert (sizes.count, sizes.sum, sizes.min, sizes.max) == (4, 118, 6, 48)
    assert (repositories.count, repositories.sum, repositories.bins) == (2, 8, {2: 1, 6: 1})
    assert found.names is not None
    assert found.names.names == 2
    whole = [
        frame["line"].to_list() for frame in repository_frames(tmp_path / "a.parquet", ["line"])
    ]
    assert [line for lines in whole for line in lines] == [*range(1, 10)]
    assert all(({1, 2, 3, 4, 5, 6} & {*lines}) in ({1, 2, 3, 4, 5, 6}, set()) for lines in whole)


def test_a_shard_without_documents_has_zeros(tmp_path: Path) -> None:
    found = repository_statistics(write_rows(tmp_path / "a.parquet", SCHEMA, []))
    assert {*found.counts.values()} == {0}
    assert found.histograms["repository_files"].count == 0
    assert found.names is not None
    assert found.names.hashes == ()
