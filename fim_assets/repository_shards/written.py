"""What a repository shard holds, read with its parquet: documents, their files, and their rows."""

from collections.abc import Iterator
from itertools import accumulate
from typing import Any, NamedTuple

from fim_assets.corpus.stage import Finished
from fim_assets.io.parquet import TableReader
from fim_assets.io.shard_writer import Line
from fim_assets.raw_shards.documents import Document
from fim_assets.raw_shards.shard_reader import ShardReader
from fim_assets.repository_shards.group import File, Group, group_of
from fim_assets.repository_shards.members import member_lines
from fim_assets.repository_shards.record import CHARS, SCHEMA

BLOCK_BYTES = 1 << 20

Row = dict[str, Any]
"""A row of `SCHEMA`."""


class WrittenDocument(NamedTuple):
    """A document as it was written: its number in the shard, its line, and its files with rows.

    The lines of `files` hold no texts, see `members.member_lines`.
    """

    number: int
    line: Line
    text: str
    rows: list[Row]
    files: list[File]


def written_documents(partition: Finished) -> Iterator[WrittenDocument]:
    """The documents of a shard; a ValueError where it and its parquet do not fit together."""
    shard, raw = partition.files.file(".jsonl.zst"), partition.recipe.raw
    number = 0
    with (
        ShardReader(shard, raw.of_stage(), BLOCK_BYTES) as reader,
        TableReader(partition.files.file(".parquet"), SCHEMA.names) as table,
    ):
        for block in reader:
            if block.rejected or block.blank:
                raise ValueError(f"{shard}: a line behind line {number} is no document")
            for line, text in zip(block.lines, block.texts, strict=True):
                number += 1
                rows = table.take_groups("file", 1).to_pylist()
                yield WrittenDocument(number, line, text, rows, _files(number, line, text, rows))
        if not table.exhausted():
            raise ValueError(f"{shard} has {number:,} documents, and its parquet has more")


def _files(number: int, line: Line, text: str, rows: list[Row]) -> list[File]:
    members = member_lines(line)
    if len(members) != len(rows):
        recorded = f"has {len(members):,} files, and {len(rows):,} rows of the parquet"
        raise ValueError(f"line {number} of the repository shard {recorded}")
    *begins, end = accumulate((row[part] for row in rows for part in CHARS), initial=0)
    if end != len(text):
        told = f"has {len(text):,} characters, and by its parquet {end:,}"
        raise ValueError(f"line {number} of the repository shard {told}")
    return [
        File(
            row["line"],
            Document(
                row["file_id"], text[begin : begin + row["chars"]], row["language"], row["path"]
            ),
            member,
        )
        for row, member, begin in zip(rows, members, begins[2::4], strict=True)
    ]


def whole_repositories(partition: Finished) -> Iterator[list[WrittenDocument]]:
    """Documents that belong together: those of a repository, or of its files in a language.

    A ValueError where they are not numbered, or come again.
    """
    recipe, seen = partition.recipe, set[Group]()
    together: list[WrittenDocument] = []
    group: Group | None = None
    for written in written_documents(partition):
        row = written.rows[0]
        if row["document"] == 0:
            if together:
                yield _complete(together)
            group, together = group_of(row["repository"], row["language"], recipe), []
            if group in seen:
                raise ValueError(
                    f"line {written.number} of the repository shard: {row['id'][:200]!r} again"
                )
            if group is not None:
                seen.add(group)
        together.append(written)
        first = together[0].rows[0]
        for of_file, numbered in enumerate(written.rows):
            same = {
                "document": len(together) - 1,
                "file": of_file,
                **{name: first[name] for name in ("documents", "repository", "named")},
            }
            refuse_other(written, numbered, same)
            if group_of(numbered["repository"], numbered["language"], recipe) != group:
                raise ValueError(f"{place_of(written, numbered)}: is of another repository")
        if len(together) > first["documents"]:
            raise ValueError(f"{place_of(written, row)}: more documents than recorded")
    if together:
        yield _complete(together)


def _complete(together: list[WrittenDocument]) -> list[WrittenDocument]:
    row = together[-1].rows[0]
    if len(together) < row["documents"]:
        raise ValueError(f"{place_of(together[-1], row)}: fewer documents than recorded")
    return together


def refuse_other(written: WrittenDocument, row: Row, expected: Row) -> None:
    """Raise a ValueError where a row has other values than expected."""
    for name, value in expected.items():
        if row[name] != value:
            found = f"{name} is {str(row[name])[:200]}, expected {str(value)[:200]}"
            raise ValueError(f"{place_of(written, row)}: {found}")


def place_of(written: WrittenDocument, row: Row) -> str:
    """Where a file stands, for messages."""
    return f"line {written.number} of the repository shard, file {row['file']}"
