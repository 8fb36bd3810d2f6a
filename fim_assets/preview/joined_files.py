"""A few documents of a repository shard as Markdown, for a partition's metadata: their files."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import polars as pl

from fim_assets.io.parquet import read_frames
from fim_assets.preview.markdown import MARKDOWN_BYTES, OPEN_CHARS, Preview, code, utf16_units
from fim_assets.repository_shards.record import CHARS, PLACES
from fim_assets.wording import NO_LANGUAGE, plural

_DOCUMENTS = 3
_FILES = (40, 20, 10, 5, 2, 1)
"""How many files of each are shown: fewer and fewer, until all is small enough."""

_COLUMNS = ["line", "id", "file", "path", "language", "repository", "named", "copy", "place"]


def repositories_markdown(parquet: Path) -> Preview:
    """The first documents of different repositories, of several files if possible: their files.

    Of the parquet the first rows are read; the result has less than `MARKDOWN_BYTES` in UTF-8.
    """
    rows = next(read_frames(parquet, [*_COLUMNS, *CHARS]), None)
    if rows is None:
        return Preview(*["The shard holds no document.\n"] * 2)
    numbered = rows.with_columns(number=(pl.col("file") == 0).cum_sum())
    groups = numbered.partition_by("number", maintain_order=True)
    first: dict[str | None, pl.DataFrame] = {}
    for files in sorted(groups, key=lambda files: files.height == 1):
        first.setdefault(files["repository"][0], files)
    documents = [*first.values()][:_DOCUMENTS]
    markdown = ""
    for most in _FILES:
        parts = [part for files in documents for part in _document(files, most)]
        markdown = "\n\n".join(parts) + "\n"
        if len(markdown.encode()) < MARKDOWN_BYTES:
            break
    return Preview(_example(documents[0]), markdown)


def _example(files: pl.DataFrame) -> str:
    """A document's first files, in fewer than `OPEN_CHARS`."""
    heading, markdown = _heading(files), ""
    for most in (8, 4, 2, 1):
        lines = [f"**{heading}**", ""]
        for row in islice(files.iter_rows(named=True), most):
            path = "no path" if row["path"] is None else code(row["path"])
            lines.append(f"- {path}: {PLACES[row['place']]}, {plural(row['chars'], 'character')}")
        if files.height > most:
            lines += ["", f"{plural(files.height - most, 'file')} not shown"]
        markdown = "\n".join(lines) + "\n"
        if utf16_units(markdown) < OPEN_CHARS:
            break
    return markdown


def _heading(files: pl.DataFrame) -> str:
    first = files.row(0, named=True)
    identifier = "no id" if first["id"] is None else f"id {code(first['id'])}"
    name = "No repository" if first["repository"] is None else code(first["repository"])
    chars = sum(int(files[column].sum()) for column in CHARS)
    sizes = f"{plural(files.height, 'file')}, {plural(chars, 'character')}"
    written = "; written with names and paths" if first["named"] else ""
    return f"{name}: {identifier}, {sizes}{written}"


def _document(files: pl.DataFrame, most: int) -> Iterator[str]:
    yield f"### {_heading(files)}"
    rows = ["| file | path | language | stands there | characters | line |"]
    rows.append("| --: | :-- | :-- | :-- | --: | --: |")
    for row in islice(files.iter_rows(named=True), most):
        path = "(none)" if row["path"] is None else _cell(row["path"])
        language = NO_LANGUAGE if row["language"] is None else _cell(row["language"])
        why = PLACES[row["place"]] + ("; a copy" if row["copy"] else "")
        rows.append(
            f"| {row['file']} | {path} | {language} | {why} | {row['chars']:,} | {row['line']:,} |"
        )
    yield "\n".join(rows)
    if files.height > most:
        yield f"{plural(files.height - most, 'file')} not shown"


def _cell(name: str) -> str:
    """A name in a table's cell, in which nothing is markup."""
    return code(name).replace("|", "\\|")
