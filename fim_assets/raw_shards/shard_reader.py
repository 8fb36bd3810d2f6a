"""A shard's lines or rows, block by block: each a document, blank, or rejected with a reason.

Every stage reads with this reader, so that all of them judge a line alike. What a single line says,
`documents` reads, and how the content of a Parquet file is decoded, `rows`; how many may be
rejected, `rejections` tells.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from fim_assets.corpus.stage import Totals
from fim_assets.errors import ShardError
from fim_assets.io.compression import CompressionError
from fim_assets.io.parquet import TableReader, read_columns
from fim_assets.io.shard_writer import Line
from fim_assets.raw_shards.documents import (
    JSON_SPACE,
    Document,
    RejectionError,
    document_of,
    read_document,
)
from fim_assets.raw_shards.lines import LongLine, blocks, split
from fim_assets.raw_shards.rejections import (
    NOT_EXPLAINED,
    Excess,
    RejectedLine,
    Rejections,
)
from fim_assets.raw_shards.rows import RowReader
from fim_assets.raw_shards.shard_files import ShardFiles, ShardPaths
from fim_assets.recipe.raw import Raw

BLOCK_BYTES = 8 << 20
"""Decompressed bytes that are worked on at once; they decide memory and nothing else."""

BLOCK_LINES = 1 << 14
"""Lines that are worked on at once: of tiny documents, Python's objects outweigh the bytes."""


class TooManyRejectedError(ShardError):
    """A shard of which more lines were rejected than the recipe allows.

    It has some of them as text, and says where they are `kept`, '' where they are not.
    """

    def __init__(self, shard: object, excess: Excess) -> None:
        super().__init__(excess.text, excess.explanation or NOT_EXPLAINED, shard)
        self.fault, self.kept = excess.explanation, ""
        self.lines = [f"{line}; {line.advice}".removesuffix("; ") for line in excess.first]
        if self.fault:
            # The explanation says what each line's advice does.
            self.lines = [str(line) for line in excess.first[:1]]
        if excess.lines > len(self.lines):
            self.lines.append(f"and {excess.lines - len(self.lines):,} more")

    def __str__(self) -> str:
        kept = f"; {self.kept}" if self.kept else ""
        return "\n  ".join([f"{super().__str__()}{kept}:", *self.lines])


class KnownFile(NamedTuple):
    """A file of a document that a stage has joined: where it stands there, in code points.

    Attributes:
        line: Its line of the raw shard.
        lead: What stands before it: the repository's name, and the separator.
        header: Its path, as it is written before its text.
        chars: Its text.
        tail: What is written behind it.
    """

    line: int
    language: str | None
    path: str | None
    lead: int
    header: int
    chars: int
    tail: int

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """From the stage's row of it."""
        return cls(*(row[name] for name in _OF_FILES))


_OF_FILES = ("line", "language", "path", "lead_chars", "header_chars", "chars", "tail_chars")


@dataclass(slots=True)
class Documents:
    """Documents of one block of a shard, in order: parallel lists; and its other lines.

    Attributes:
        numbers: Physical line numbers, 1-based; of a Parquet file, row numbers.
        lines: The lines unmodified, without the line feed; views of the block's bytes. Rows as
            lines; empty where the reader was asked for none.
        ids: Ids as strings, None where a document has none; `languages` and `paths` likewise.
        files: The files of each, where a stage has joined them; else empty.
        rejected: Lines of this block that are no document.
        blank: Lines of this block with nothing but white space.
    """

    numbers: list[int] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    ids: list[str | None] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    languages: list[str | None] = field(default_factory=list)
    paths: list[str | None] = field(default_factory=list)
    files: list[list[KnownFile]] = field(default_factory=list)
    rejected: list[RejectedLine] = field(default_factory=list)
    blank: int = 0

    def add(self, number: int, document: Document) -> None:
        """Append a document, but for its line."""
        self.numbers.append(number)
        self.ids.append(document.id)
        self.texts.append(document.text)
        self.languages.append(document.language)
        self.paths.append(document.path)


def refuse_kept_fields(raw: Raw, shard: object) -> None:
    """Raise a ShardError, for a shard of lines, if a recipe names the fields that go on."""
    if raw.keep_fields is not None:
        problem = "raw.keep_fields names columns of Parquet, and lines of JSON go on as they are"
        raise ShardError(problem, "leave it out of the recipe", shard)


class ShardReader:
    """Reads a shard once, block by block, and hashes it; a context manager.

    It works on `block_bytes` at once, and counts what it has read: `lines == documents + blank +
    rejected`. The members of a group are read one behind another, and their lines counted on. With
    the `parquet` next to a shard that a stage wrote, one row a document or a file of one, its first
    `line` is taken for the document's, so that this is everywhere the raw shard's. Without `lines`,
    the columns of a Parquet file that no field of the recipe names are not decoded, see
    `Documents.lines`.
    """

    def __init__(
        self,
        shard: ShardPaths,
        raw: Raw,
        block_bytes: int = BLOCK_BYTES,
        parquet: Path | None = None,
        *,
        lines: bool = True,
    ) -> None:
        self.lines = self.blank = self.rejected = self.documents = 0
        self.rejections = Rejections(raw)
        self._files, self._block_bytes = ShardFiles(shard), block_bytes
        self._raw, self._with_lines, self._rows = raw, lines, None
        if parquet is not None:
            self._raw = raw.of_stage()
            self._of_files = {*_OF_FILES} <= {*read_columns(parquet)}
            columns = ["file", *_OF_FILES] if self._of_files else ["line"]
            self._rows = TableReader(parquet, columns)

    def __str__(self) -> str:
        """What is read: a path, or the first and how many more there are."""
        return str(self._files)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()
        if self._rows is not None:
            self._rows.close()

    def __iter__(self) -> Iterator[Documents]:
        for part in self._files.parts(self._raw, lines=self._with_lines):
            if isinstance(part, RowReader):
                yield from map(self._count, self._of_rows(part))
                continue
            for lines in self._groups(part):
                if isinstance(lines, LongLine):
                    long = lines.rejected(self.lines + 1, self._raw.max_line_bytes)
                    yield self._count(Documents(rejected=[long]))
                else:
                    yield self._renumbered(self._count(self._judge(lines)))

    def unjudged(self) -> Iterator[tuple[int, Line]]:
        """Each line with its number, not parsed and not judged; those over the bound are left out.

        Which of them are documents, `is_document` tells; of a Parquet file's rows, those that are
        none are left out. Lines are all that is counted.
        """
        for part in self._files.parts(self._raw, lines=True):
            if isinstance(part, RowReader):
                for block in map(self._count, self._of_rows(part)):
                    yield from zip(block.numbers, block.lines, strict=True)
                continue
            for lines in self._groups(part):
                if isinstance(lines, LongLine):
                    self.lines += 1
                    continue
                begin = self.lines + 1
                numbers, _ = self._renumber([*range(begin, begin + len(lines))])
                self.lines += len(lines)
                for number, line in zip(numbers, lines, strict=True):
                    if len(line) <= self._raw.max_line_bytes:
                        yield number, line

    def is_document(self, line: Line) -> bool:
        """Whether a line of `unjudged` is a document."""
        try:
            read_document(line, self._raw)
        except RejectionError:
            return False
        return True

    def _groups(self, pieces: Iterator[bytes]) -> Iterator[list[memoryview] | LongLine]:
        bound = self._raw.max_line_bytes
        refuse_kept_fields(self._raw, self._files.path)
        try:
            for data in blocks(pieces, self._block_bytes, bound):
                if isinstance(data, LongLine):
                    yield data
                    continue
                lines = split(data)
                while group := list(islice(lines, BLOCK_LINES)):
                    yield group
        except CompressionError as error:
            # A file that is no shard from its first byte on has no lines to name.
            after = max(self.lines - self._files.begin, 0)
            where = f"after line {after:,}: " if after or not error.advice else ""
            raise ShardError(f"{where}{error}", error.advice, self._files.path) from error

    def place(self, line: int) -> tuple[Path, int]:
        """The file and its line, 1-based, that a line which was read stands in."""
        return self._files.place(line)

    def refuse_many_rejected(self) -> None:
        """Raise TooManyRejectedError, once the shard was read, for more than the recipe allows."""
        if excess := self.rejections.excess(self.lines - self.blank):
            raise TooManyRejectedError(self._files, excess)

    def totals(self, chars: int, files: int | None = None, tokens: int | None = None) -> Totals:
        """What was read of the shard, once it was read, and what a stage made of it.

        `chars` are Unicode code points of the texts as the stage leaves them, and `files` those in
        the documents, None where they were not looked at.
        """
        counts = {f"rejected:{name}": n for name, n in sorted(self.rejections.reasons.items())}
        lines = self.lines, self.blank, self.rejected, self.documents
        read = self._files
        return Totals(read.record(), *lines, chars, files, tokens, counts, read.members())

    def _judge(self, lines: Sequence[Line]) -> Documents:
        block = Documents()
        bound = self._raw.max_line_bytes
        for number, line in enumerate(lines, self.lines + 1):
            if len(line) > bound:
                block.rejected.append(LongLine(line).rejected(number, bound))
                continue
            try:
                document = read_document(line, self._raw)
            except RejectionError as error:
                content = bytes(line)
                if content.strip(JSON_SPACE):
                    block.rejected.append(error.rejected(number, content))
                else:
                    block.blank += 1
                continue
            block.lines.append(line)
            block.add(number, document)
        return block

    def _of_rows(self, reader: RowReader) -> Iterator[Documents]:
        """The rows of a Parquet file, judged, in blocks that are not yet counted."""
        block, size, number = Documents(), 0, self.lines
        for rows in reader:
            lines = rows.lines() if self._with_lines else []
            for index, content in enumerate(rows.objects):
                number += 1
                try:
                    document = self._bounded(document_of(content, self._raw))
                except RejectionError as error:
                    lines = lines or rows.lines()
                    block.rejected.append(self._rejected_row(error, number, lines[index]))
                    size += len(block.rejected[-1].content)
                    continue
                block.lines += lines[index : index + 1] if self._with_lines else ()
                block.add(number, document)
                size += len(block.lines[-1]) if self._with_lines else len(document.text)
            if size >= self._block_bytes or number - self.lines >= BLOCK_LINES:
                yield block
                block, size = Documents(), 0
        yield block

    def _bounded(self, document: Document) -> Document:
        """A row's document, if its text is no longer than a line may be."""
        bound = self._raw.max_line_bytes
        # Most are so short that they need not be encoded to tell.
        if 4 * len(document.text) > bound and len(document.text.encode()) > bound:
            raise RejectionError("too_long", "")
        return document

    def _rejected_row(self, error: RejectionError, number: int, line: bytes) -> RejectedLine:
        if error.reason == "too_long":
            return LongLine(line).rejected(number, self._raw.max_line_bytes)
        return error.rejected(number, line)

    def _renumbered(self, block: Documents) -> Documents:
        if self._rows is not None and (block.rejected or block.blank):
            raise self._other_rows()
        block.numbers, block.files = self._renumber(block.numbers)
        return block

    def _renumber(self, numbers: list[int]) -> tuple[list[int], list[list[KnownFile]]]:
        """The numbers of the next documents' lines and their files, if there is a parquet."""
        if self._rows is None:
            return numbers, []
        if not self._of_files:
            lines: list[int] = self._rows.take(len(numbers)).column("line").to_pylist()
            if len(lines) < len(numbers):
                raise self._other_rows()
            return lines, []
        table = self._rows.take_groups("file", len(numbers))
        firsts = np.flatnonzero(table["file"].to_numpy() == 0).tolist()
        if len(firsts) < len(numbers):
            raise self._other_rows()
        columns = (table[name].to_pylist() for name in _OF_FILES)
        rows = [KnownFile(*row) for row in zip(*columns, strict=True)]
        files = [rows[begin:end] for begin, end in pairwise([*firsts, len(rows)])]
        return [of_document[0].line for of_document in files], files

    def _other_rows(self) -> ShardError:
        return ShardError(f"{self._files}: its lines are not the rows of its parquet")

    def _count(self, block: Documents) -> Documents:
        self.lines += len(block.numbers) + block.blank + len(block.rejected)
        self.blank += block.blank
        self.rejected += len(block.rejected)
        self.documents += len(block.numbers)
        if self._files.grouped:
            block.rejected = [line.placed(*self.place(line.line)) for line in block.rejected]
        for rejected in block.rejected:
            self.rejections.add(rejected)
        return block
