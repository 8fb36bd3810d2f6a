"""FIM shard back to the raw shard's lines, from the shard and its parquet alone."""

import bz2
import lzma
import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from gzip import GzipFile
from pathlib import Path
from typing import IO, NamedTuple, cast

import numpy as np
import polars as pl
import pyarrow as pa

from fim_assets.corpus.keys import PARQUET
from fim_assets.draws import document_keys, piece_keys
from fim_assets.errors import ShardError, UserError
from fim_assets.fim_shards.record import FileRow, FimShardReader, restore_document
from fim_assets.io.hashing import HashingWriter
from fim_assets.io.parquet import count_rows, read_columns, read_frames
from fim_assets.io.shard_writer import Line, ShardWriter
from fim_assets.raw_shards.documents import replace_text, text_span
from fim_assets.repository_shards.restore import (
    in_line_order,
    is_repository_record,
    restore_repository_shard,
    with_texts,
)

_GZIP_LEVEL = 6


class Counts(NamedTuple):
    """What a FIM shard's parquet says is in it: documents, and files that were rearranged."""

    documents: int
    rearranged: int


def count_record(parquet: Path) -> Counts:
    """Count a FIM shard's documents and rearranged files, by the parquet next to it."""
    documents = rearranged = 0
    try:
        if is_repository_record(parquet):
            return Counts(count_rows(parquet), 0)
        names = {*read_columns(parquet)}
        pieces, joined = "piece" in names, "lead_chars" in names
        columns = ["file", "order", *(("piece", "continued") if pieces else ())]
        for rows in read_frames(parquet, columns):
            rearranged += int(rows["order"].ne("none").sum())
            first = pl.col("file") == 0
            if joined:
                # Each file was a document; of one that was divided, the first piece counts.
                goes_on = rows.filter(first & pl.col("continued")).height if pieces else 0
                documents += rows.height - goes_on
            else:
                of_document = first & (pl.col("piece") == 0) if pieces else first
                documents += rows.filter(of_document).height
    except (pa.ArrowException, OSError, KeyError) as error:
        problem = "cannot be read as a FIM record; it is next to its shard, in fim_shards"
        raise ShardError(f"{parquet}: {problem}: {error}") from error
    return Counts(documents, rearranged)


class Restored(NamedTuple):
    """A document as it came.

    Attributes:
        number: Its line in the FIM shard, 1-based; of one that was divided its first piece's, as
            `line`.
        raw_number: Its line in the raw shard.
        changed: Whether its text stands otherwise in the FIM shard.
        keys: Its key, or its pieces'.
        files: Where files were joined: of each its line in the raw shard, and where in `text` its
            own text begins and ends.
    """

    number: int
    raw_number: int
    line: Line
    id: str | None
    text: str
    changed: bool
    keys: list[int]
    files: list[tuple[int, int, int]]


def restored_documents(reader: FimShardReader) -> Iterator[Restored]:
    """The documents of a FIM shard as they came, in order; those that were divided whole again.

    Raises:
        ShardError: If shard and parquet disagree.
    """
    separator = reader.fim.file_separator_token or ""
    begun: Restored | None = None
    texts: list[str] = []
    count = 0
    for block in reader:
        documents = block.documents
        columns = documents.numbers, block.raw_numbers, documents.lines, documents.ids
        made = zip(*columns, documents.texts, block.files, block.draw_keys, strict=True)
        for piece, (number, raw_number, line, identifier, text, files, key) in zip(
            block.pieces, made, strict=True
        ):
            try:
                original = restore_document(text, files, reader.fim)
            except ValueError as error:
                raise reader.disagreement(number, str(error)) from error
            changed = piece.pieces > 1 or any(file.order != "none" for file in files)
            if begun is None:
                begun = Restored(number, raw_number, line, identifier, "", changed, [], [])
                count = piece.pieces
            begun.keys.append(key)
            # A piece of joined files has its first file's line.
            place = reader.joined or raw_number == begun.raw_number
            if not place or (piece.piece + 1, piece.pieces) != (len(begun.keys), count):
                raise reader.disagreement(number, "a piece of a document is missing")
            if piece.piece:
                _refuse_another_line(begun, line, reader)
                texts.append("" if piece.continued or reader.joined else separator)
            if reader.joined:
                _add_files(begun.files, files, sum(map(len, texts)), continued=piece.continued)
            texts.append(original)
            if piece.piece + 1 == piece.pieces:
                yield begun._replace(text="".join(texts))
                begun, texts = None, []
    if begun is not None:
        raise reader.disagreement(begun.number, "its last piece is missing")


def _add_files(
    found: list[tuple[int, int, int]], rows: list[FileRow], at: int, *, continued: bool
) -> None:
    """Add where files are in their document, of a piece that begins at a place in it."""
    for number, row in enumerate(rows):
        at += row.lead + row.header
        begin, end = at + row.path, at + row.chars
        if not number and continued:
            _, before, until = found.pop()
            # Where a piece ended in the file's path, its text begins in this one.
            begin = before if until > before else begin
        found.append((row.line, begin, end))
        at = end + row.tail


def _refuse_another_line(begun: Restored, line: Line, reader: FimShardReader) -> None:
    """Raise if what stands around the text is not the same in two pieces of a document."""
    around = []
    for other in (begun.line, line):
        span = text_span(other, reader.raw.text_field)
        around.append((bytes(other[: span.start]), bytes(other[span.stop :])))
    if around[0] != around[1]:
        raise reader.disagreement(begun.number, "its pieces differ in more than their texts")


def restore_shard(
    shard: str | os.PathLike[str], parquet: str | os.PathLike[str]
) -> Iterator[bytes]:
    """The lines of the original shard's documents, in order, each with its original text.

    A line of which no file was rearranged is unchanged, byte for byte. In the others only the
    text's value was ever changed: its characters are the original's, though an escape for one of
    them may be gone. Lines of the raw shard that were blank or rejected are not in the FIM shard,
    and so not here.

    Args:
        shard: The FIM shard, or a repository shard.
        parquet: The parquet next to it.

    Yields:
        Lines without their line feed.

    Raises:
        ShardError: If one of the two is damaged, or they disagree: a text that comes back is
            compared with the document's hash, so that it is the original one.
    """
    shard, parquet = Path(shard), Path(parquet)
    if is_repository_record(parquet):
        yield from restore_repository_shard(shard, parquet)
        return
    with FimShardReader(shard, parquet) as reader:
        if reader.joined:
            yield from in_line_order(_file_lines(reader))
        else:
            yield from (line for _, line in _document_lines(reader))


def _file_lines(reader: FimShardReader) -> Iterator[tuple[int, bytes]]:
    """The lines of joined files, with their numbers."""
    for document, line in _document_lines(reader):
        texts = ((number, document.text[begin:end]) for number, begin, end in document.files)
        try:
            yield from with_texts(line, texts, reader.raw.text_field)
        except (ValueError, LookupError) as error:
            raise reader.disagreement(document.number, f"its members: {error}") from error


def _document_lines(reader: FimShardReader) -> Iterator[tuple[Restored, bytes]]:
    """The documents of a FIM shard as the stage read them; errors as of `restore_shard`."""
    for document in restored_documents(reader):
        key = document_keys(reader.seed, [document.id], [document.text])
        expected = key
        if len(document.keys) > 1:
            pieces = np.arange(len(document.keys))
            expected = piece_keys(np.repeat(key, len(pieces)), pieces)
        if expected.tolist() != document.keys:
            problem = "its id and text have another hash"
            raise reader.disagreement(document.number, problem)
        field, line = reader.raw.text_field, document.line
        changed = document.changed
        yield document, replace_text(line, field, document.text) if changed else bytes(line)


def write_lines(lines: Iterable[bytes], output: Path) -> None:
    """Write lines without line feeds as a shard: compressed as its name ends, else plain.

    The file is there once it is complete.

    Raises:
        FileExistsError: If it is there already.
        FileNotFoundError: If its folder is not there.
        UserError: If it is named as Parquet.
    """
    if output.suffix == PARQUET:
        raise UserError("named as Parquet", "what is restored are JSON lines: .jsonl", output)
    _refuse_to_overwrite(output)
    if not output.parent.is_dir():
        raise FileNotFoundError(f"{output.parent}: no such folder, for {output.name}")
    temporary = output.with_name(f".{output.name}.{os.getpid()}.part")
    with closing(HashingWriter(temporary)) as file:
        try:
            _write(lines, file, output.suffix)
            file.close()
            _refuse_to_overwrite(output)
            temporary.rename(output)
        finally:
            temporary.unlink(missing_ok=True)


def _refuse_to_overwrite(output: Path) -> None:
    if output.exists():
        raise FileExistsError(f"{output} is there already; give another name or delete it")


def _write(lines: Iterable[bytes], file: HashingWriter, ending: str) -> None:
    whole_lines = (line + b"\n" for line in lines)
    compressed: GzipFile | bz2.BZ2File | lzma.LZMAFile
    if ending == ".zst":
        with ShardWriter(file) as writer:
            writer.write(lines)
    elif ending == ".gz":
        with GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0) as compressed:
            compressed.writelines(whole_lines)
    elif ending == ".bz2":
        with bz2.BZ2File(file, "wb") as compressed:
            compressed.writelines(whole_lines)
    elif ending == ".xz":
        with lzma.LZMAFile(cast("IO[bytes]", file), "wb") as compressed:
            compressed.writelines(whole_lines)
    else:
        file.writelines(whole_lines)
