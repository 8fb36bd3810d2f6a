"""What a repository's documents show of their files: hostile names are text, and sizes bounded."""

import re
from pathlib import Path
from typing import Any

from fim_assets.preview.joined_files import repositories_markdown
from fim_assets.preview.markdown import MARKDOWN_BYTES, OPEN_CHARS, Preview, utf16_units
from fim_assets.repository_shards.record import SCHEMA
from fim_assets_tests.corpora import HOSTILE, write_rows
from fim_assets_tests.repository_shards.test_statistics import rows


def shown(folder: Path, *several: dict[str, Any]) -> str:
    return both(folder, *several).documents


def both(folder: Path, *several: dict[str, Any]) -> Preview:
    return repositories_markdown(write_rows(folder / "a.parquet", SCHEMA, rows(*several)))


def test_documents_of_different_repositories_by_hand(tmp_path: Path) -> None:
    """The first of several files of each repository; of others the first; three at most."""
    text = shown(
        tmp_path,
        {"file": 0, "place": "alone", "id": "first"},
        {"file": 0, "repository": "one", "id": "one#1", "path": "a.py", "named": True},
        {"file": 1, "repository": "one", "path": "b|c.py", "place": "imports", "copy": True},
        {"file": 0, "repository": "one", "id": "one#2"},
        {"file": 1, "repository": "one"},
        {"file": 0, "repository": "two", "id": None, "chars": 0},
    )
    assert text.splitlines() == [
        "### `one`: id `one#1`, 2 files, 32 characters; written with names and paths",
        "",
        "| file | path | language | stands there | characters | line |",
        "| --: | :-- | :-- | :-- | --: | --: |",
        "| 0 | `a.py` | (none named) | by its path | 10 | 2 |",
        "| 1 | `b\\|c.py` | (none named) | behind the files that it imports; a copy | 10 | 3 |",
        "",
        "### No repository: id `first`, 1 file, 16 characters",
        "",
        "| file | path | language | stands there | characters | line |",
        "| --: | :-- | :-- | :-- | --: | --: |",
        "| 0 | (none) | (none named) | without a repository | 10 | 1 |",
        "",
        "### `two`: no id, 1 file, 6 characters",
        "",
        "| file | path | language | stands there | characters | line |",
        "| --: | :-- | :-- | :-- | --: | --: |",
        "| 0 | (none) | (none named) | by its path | 0 | 6 |",
    ]


def test_no_name_breaks_out_and_many_are_left_out(tmp_path: Path) -> None:
    """Outside of code spans nothing of a name stands, and a row is one line."""
    hostile = [*HOSTILE, "`` ` ``", "|x|", "\u202e" * 200, "\x00" * 200]
    example, text = both(
        tmp_path,
        *(
            {"file": number, "repository": name, "id": name, "path": name, "language": name}
            for name in hostile
            for number in range(100)
        ),
    )
    assert len(text.encode()) < MARKDOWN_BYTES
    assert utf16_units(example) < OPEN_CHARS
    for markdown in (example, text):
        assert "files not shown" in markdown
        outside = re.sub(r"(`+) ?.*?(?<!`)\1(?!`)", "", markdown)
        assert not re.search(r"[<>\[\]!]|forged|\u202e", outside)
    for line in text.splitlines():
        assert re.match(r"(### |\| |\d+ files? not shown|$)", line)


def test_a_shard_without_documents(tmp_path: Path) -> None:
    assert shown(tmp_path) == "The shard holds no document.\n"
