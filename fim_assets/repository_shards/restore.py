"""Repository shard back to the lines of its files, from the shard and its parquet alone."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import SpooledTemporaryFile

import numpy as np
import pyarrow as pa

from fim_assets.errors import ShardError
from fim_assets.io.parquet import read_metadata
from fim_assets.io.shard_writer import Line
from fim_assets.raw_shards.documents import replace_text
from fim_assets.raw_shards.shard_reader import Documents, ShardReader
from fim_assets.recipe.raw import Raw
from fim_assets.repository_shards.members import member_lines
from fim_assets.repository_shards.record import FORMAT, FORMAT_KEY

_IN_MEMORY = 64 << 20


def is_repository_record(parquet: Path) -> bool:
    """Whether a parquet file is next to a repository shard; a ShardError if it cannot be read."""
    try:
        return FORMAT_KEY in read_metadata(parquet)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ShardError(f"cannot be read: {error}", location=parquet) from error


def restore_repository_shard(shard: Path, parquet: Path) -> Iterator[bytes]:
    """The lines of the raw shard's documents, in its order; a ShardError if the two disagree."""
    metadata = read_metadata(parquet)
    if metadata.get(FORMAT_KEY) != FORMAT:
        problem = f"not a record of repositories of format {FORMAT}"
        raise ShardError(problem, "materialize repository_shards again", parquet)
    raw = Raw.model_validate_json(metadata["fim_assets.raw"])
    yield from in_line_order(_lines(shard, parquet, raw))


def _lines(shard: Path, parquet: Path, raw: Raw) -> Iterator[tuple[int, bytes]]:
    with ShardReader(shard, raw, parquet=parquet) as reader:
        for block in reader:
            for row in range(len(block.lines)):
                try:
                    yield from file_lines(block, row, raw.text_field)
                except (ValueError, LookupError) as error:
                    problem = f"disagree at line {block.numbers[row]:,}: {error}"
                    raise ShardError(problem, location=f"{shard} and {parquet}") from error


def file_lines(block: Documents, row: int, text_field: str) -> Iterator[tuple[int, bytes]]:
    """The lines of a document's files, with their numbers; a ValueError if they do not fit."""
    text, texts, at = block.texts[row], [], 0
    for file in block.files[row]:
        begin = at + file.lead + file.header
        texts.append((file.line, text[begin : begin + file.chars]))
        at = begin + file.chars + file.tail
    if at != len(text):
        raise ValueError(f"its files end at character {at:,}, its text at {len(text):,}")
    return with_texts(block.lines[row], texts, text_field)


def with_texts(
    line: Line, texts: Iterable[tuple[int, str]], text_field: str
) -> Iterator[tuple[int, bytes]]:
    """The lines of a document's files: the members of its line, by numbers and texts."""
    for member, (number, text) in zip(member_lines(line), texts, strict=True):
        yield number, replace_text(member, text_field, text)


def in_line_order(lines: Iterable[tuple[int, bytes]]) -> Iterator[bytes]:
    """Lines by their numbers; they wait in a file, and memory holds two numbers a line."""
    with SpooledTemporaryFile(_IN_MEMORY, "w+b") as spool:
        index = []
        for number, line in lines:
            index.append((number, len(line)))
            spool.write(line)
        numbers, sizes = np.array(index, np.int64).reshape(-1, 2).T
        del index
        ends = np.cumsum(sizes)
        for row in np.argsort(numbers, kind="stable").tolist():
            spool.seek(int(ends[row] - sizes[row]))
            yield spool.read(int(sizes[row]))
