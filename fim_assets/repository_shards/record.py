"""The parquet next to a repository shard: a row for each file, enough to take documents apart."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from fim_assets.io.parquet import read_frames
from fim_assets.recipe import Recipe

FORMAT_KEY = "fim_assets.repository_format"
FORMAT = "1"

CHARS = ("lead_chars", "header_chars", "chars", "tail_chars")
"""Columns of how long what is written for a file is, one part behind the other."""

SCHEMA = pa.schema(
    [("line", pa.int64()), ("id", pa.string()), ("file", pa.int64())]
    + [(name, pa.string()) for name in ("file_id", "path", "language", "repository")]
    + [(name, pa.int64()) for name in ("document", "documents")]
    + [("named", pa.bool_()), ("copy", pa.bool_()), ("place", pa.string())]
    + [("depends_on", pa.list_(pa.int64())), ("unresolved", pa.int64())]
    + [(f"{name}_chars", pa.int64()) for name in ("lead", "header")]
    + [("chars", pa.int64()), ("tail_chars", pa.int64()), ("tokens", pa.int64())]
)
"""A row a file, in the order of the documents and of the files in them.

`file` counts a document's files from 0; `document` and `documents` say which document of its
repository (and language) it is in, of how many.
"""

COLUMNS = {
    "line": "The file's line of the raw shard, or row of a Parquet file, counted from 1.",
    "id": "Its document's id: the repository's name, and which of its documents it is.",
    "file": "Its place in its document, counted from 0.",
    "file_id": "Its own id; null where it has none.",
    "path": "Its path; null where it has none.",
    "language": "Its language; null where it names none.",
    "repository": "Its repository; null for a file without one, which is a document of its own.",
    "document": "Which document of the repository it is in, counted from 0.",
    "documents": "How many documents the repository is in: it is divided where it is too large.",
    "named": "Whether its document is written with names and paths.",
    "copy": "Whether a file of the same path and text stands before it in the repository.",
    "place": "Why it stands where it does, see `PLACES`.",
    "depends_on": "The lines of the repository's files that it imports.",
    "unresolved": "How many of its imports are no files of the repository.",
    "lead_chars": "Code points of what stands before it: the repository's name, and the separator.",
    "header_chars": "Code points of its path as it is written before its text.",
    "chars": "Code points of its text.",
    "tail_chars": "Code points of what is written behind its text.",
    "tokens": "Ids of the file with all of that, where max_tokens had them counted; else null.",
}
"""What the columns hold."""

UNREAD = {
    "no_grammar": "its language is none whose imports are read",
    "too_large": "larger than fim.syntax_max_bytes, so that its imports are not read",
    "repetitive": "repeats itself, which can cost a parser minutes",
    "too_complex": "takes its grammar's parser more steps than code does",
    "syntax_errors": "syntax errors over more than half of it",
    "parser_crashed": "its grammar's parser crashes on it",
}
"""Why the imports of a file are not read."""

PLACES = {
    "alone": "without a repository",
    "given": "in the order of the lines",
    "path": "by its path",
    "random": "drawn",
    "imports": "behind the files that it imports",
    "imports_none": "imports no file of the repository",
    "cycle": "in a cycle of imports, so that a file that it imports may stand behind it",
    **UNREAD,
}
"""Why a file stands where it does."""


def record_metadata(recipe: Recipe, seed: int) -> dict[str, str]:
    """The parquet's key-value metadata: format, sections, and the partition's seed."""
    section = recipe.repositories
    return {
        FORMAT_KEY: FORMAT,
        "fim_assets.repositories": "" if section is None else section.model_dump_json(),
        "fim_assets.raw": recipe.raw.model_dump_json(exclude={"documents"}),
        "fim_assets.seed": f"{seed:016x}",
    }


def repository_frames(parquet: Path, columns: list[str]) -> Iterator[pl.DataFrame]:
    """Some columns, many files at a time: all of a repository's, or of its files in a language.

    `document` and `file` are among them.
    """
    waiting: list[pl.DataFrame] = []
    for frame in read_frames(parquet, [*columns, "document", "file"]):
        first = (frame["document"] == 0) & (frame["file"] == 0)
        begins = np.flatnonzero(first.to_numpy())
        end = int(begins[-1]) if len(begins) else frame.height
        waiting.append(frame[:end])
        if len(begins):
            yield pl.concat(waiting)
            waiting = [frame[end:]]
    if waiting:
        yield pl.concat(waiting)
