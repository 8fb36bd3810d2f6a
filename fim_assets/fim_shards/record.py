"""The parquet next to a FIM shard: a row for each file of a document, enough to undo it all."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fim_assets.cuts.base import LONGER
from fim_assets.cuts.files import Around
from fim_assets.errors import ShardError
from fim_assets.fim_shards.arrangements import Lengths, Order, arranged_chars, restore
from fim_assets.io.parquet import TableReader, read_columns, read_metadata
from fim_assets.raw_shards.shard_reader import BLOCK_BYTES, Documents, ShardReader
from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import Fim
from fim_assets.recipe.raw import Raw

FORMAT = "2"

PART_CHARS = ("prefix_chars", "middle_chars", "suffix_chars")

SCHEMA = pa.schema(
    [("line", pa.int64()), ("id", pa.string()), ("file", pa.int64()), ("chars", pa.int64())]
    + [(name, pa.string()) for name in ("order", "split", "reason")]
    + [(name, pa.int64()) for name in PART_CHARS]
    + [("draw_key", pa.uint64()), ("language", pa.string())]
)
"""`draw_key`: the document's key, which every draw about its files derives from."""

_JOINED = [(f"{name}_chars", pa.int64()) for name in ("lead", "header", "tail", "path")]
_PIECES = [("piece", pa.int64()), ("pieces", pa.int64()), ("continued", pa.bool_())]


def record_schema(recipe: Recipe) -> pa.Schema:
    """The columns under a recipe.

    Where files were joined, what stands around each; where documents are divided,
    `DocumentPiece`'s too.
    """
    joined = [] if recipe.repositories is None else _JOINED
    pieces = [] if recipe.piece_tokens is None else _PIECES
    return pa.schema([*SCHEMA, *joined, *pieces])


class DocumentPiece(NamedTuple):
    """Which piece of a document a line of the FIM shard is.

    Attributes:
        piece: Its number, 0-based.
        pieces: How many there are.
        continued: Whether its text goes on in the file in which the piece before it ends. If not,
            a file separator was between them.
    """

    piece: int
    pieces: int
    continued: bool


WHOLE = DocumentPiece(0, 1, continued=False)
"""A document that is not divided."""


_WHICH_LINES = {"documents", "max_line_bytes", "max_rejected_share", "max_empty_share"}
NOT_RECORDED = {*_WHICH_LINES, "schema_name", "keep_fields"}
"""Fields of the section `raw` that do not say where in a line its parts are."""


def record_metadata(recipe: Recipe, seed: int) -> dict[str, str]:
    """The parquet's key-value metadata: all that is needed to undo what was done.

    Format, the section `fim`, where a line holds its text, and the partition's seed, under which
    `draw_key` is the hash of a document.
    """
    metadata = {
        "fim_assets.format": FORMAT,
        "fim_assets.fim": recipe.fim.model_dump_json(),
        "fim_assets.raw": recipe.raw.model_dump_json(exclude=NOT_RECORDED),
        "fim_assets.seed": f"{seed:016x}",
    }
    if recipe.repositories is not None:
        metadata["fim_assets.repositories"] = recipe.repositories.model_dump_json()
    if recipe.context is not None:
        metadata["fim_assets.context"] = recipe.context.model_dump_json()
    return metadata


class FileRow(NamedTuple):
    """What became of one file of a document, in code points.

    Attributes:
        chars: Of the original.
        lengths: Of its parts; an unchanged file has the order `none`, and parts of no length.
        lead: Of what stands before it: the separator, or what names the repository and it.
        header: Of its path, where this stands before the file and is not cut with it.
        tail: Of what is written behind it.
        path: Of its path, where the file begins with it.
        line: Its line of the raw shard, where it was joined with others; else 0.
        language: Its language, where it was joined with others.
        joined: Whether a stage has joined it with others: nothing in it is a control.
    """

    order: Order
    chars: int
    lengths: Lengths
    lead: int = 0
    header: int = 0
    tail: int = 0
    path: int = 0
    line: int = 0
    language: str | None = None
    joined: bool = False


def file_rows(columns: Mapping[str, Sequence[Any]], fim: Fim) -> list[FileRow]:
    """The rows of a FIM shard's parquet; `lead_chars` and the like are there if files were joined.

    Where they were not, a separator stands before all files of a document but the first.
    """
    names = [name for name, _ in _JOINED]
    joined = names[0] in columns
    separator = len(fim.file_separator_token or "")
    around = iter([(separator * (number > 0), 0, 0, 0, 0, None) for number in columns["file"]])
    if joined:
        around = zip(*(columns[name] for name in (*names, "line", "language")), strict=True)
    of_files = (columns[name] for name in ("order", "chars", *PART_CHARS))
    return [
        FileRow(order, chars, Lengths(*lengths), *next(around), joined)
        for order, chars, *lengths in zip(*of_files, strict=True)
    ]


@dataclass(frozen=True)
class FimDocuments:
    """Documents of one block of a FIM shard, and of each its key and its files' rows.

    The texts of `documents` are the rearranged ones, their `numbers` lines of the FIM shard, and
    `raw_numbers` those of the raw shard. A piece of a document is one here. Those that are `longer`
    than the context were left unchanged for that.
    """

    documents: Documents
    raw_numbers: list[int]
    draw_keys: list[int]
    files: list[list[FileRow]]
    pieces: list[DocumentPiece]
    longer: list[bool]


class FimShardReader:
    """Reads a FIM shard and its parquet in step; a context manager.

    The sections `fim` and `raw` and the partition's seed are what the parquet holds; `shard` reads
    the lines, and has their counts and the shard's hash.
    """

    def __init__(self, shard: Path, parquet: Path, block_bytes: int = BLOCK_BYTES) -> None:
        self._parquet = parquet
        with self._naming_the_parquet():
            metadata = read_metadata(parquet)
        if metadata.get("fim_assets.format") != FORMAT:
            raise ShardError(
                f"{parquet}: not a FIM record of format {FORMAT}; materialize fim_shards again"
            )
        try:
            self.fim = Fim.model_validate_json(metadata["fim_assets.fim"])
            self.raw = Raw.model_validate_json(metadata["fim_assets.raw"])
            self.seed = int(metadata["fim_assets.seed"], 16)
            self.joined = "fim_assets.repositories" in metadata
        except (KeyError, ValueError) as error:
            raise ShardError(f"{parquet}: its metadata hold no recipe: {error}") from error
        self.shard = ShardReader(shard, self.raw.of_stage(), block_bytes)
        self._paths = f"{shard} and {parquet}"
        columns = ["line", "file", "chars", "order", *PART_CHARS, "draw_key"]
        with self._naming_the_parquet():
            self._divided = "piece" in read_columns(parquet)
            columns += DocumentPiece._fields if self._divided else ()
            columns += [*(name for name, _ in _JOINED), "language"] if self.joined else []
            self._in_context = "fim_assets.context" in metadata
            columns += ["reason"] if self._in_context else ()
            self._table = TableReader(parquet, columns)

    def __enter__(self) -> Self:
        self.shard.__enter__()
        self._table.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.shard.__exit__()
        self._table.__exit__()

    def __iter__(self) -> Iterator[FimDocuments]:
        for block in self.shard:
            if block.rejected:
                line = block.rejected[0]
                raise ShardError(f"{self._paths}: line {line.line} of the FIM shard: {line.detail}")
            yield self._join(block)
        if not self._table.exhausted():
            raise ShardError(f"{self._paths} disagree: the parquet has more documents")

    def disagreement(self, number: int, problem: str) -> ShardError:
        """What is wrong with the document of a line of the FIM shard, as an error."""
        where = f"{self._paths} disagree at line {number} of the FIM shard, if it is one"
        return ShardError(f"{where}: {problem}")

    @contextmanager
    def _naming_the_parquet(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError, LookupError, ValueError) as error:
            raise ShardError(f"{self._parquet}: cannot be read: {error}") from error

    def _join(self, block: Documents) -> FimDocuments:
        count = len(block.lines)
        with self._naming_the_parquet():
            table = self._table.take_groups("file", count)
            rows = table.to_pydict()
        for column in table.column_names:
            if column not in {"reason", "language"} and table[column].null_count:
                raise ShardError(f"{self._parquet}: {column} holds nulls")
        firsts = [row for row, file in enumerate(rows["file"]) if file == 0]
        if len(firsts) != count:
            raise ShardError(
                f"{self._paths} disagree: the parquet has fewer documents, none for line "
                f"{block.numbers[len(firsts)]} of the FIM shard"
            )
        files = file_rows(rows, self.fim)
        lines, keys = ([rows[name][first] for first in firsts] for name in ("line", "draw_key"))
        of_documents = [files[first:end] for first, end in pairwise([*firsts, len(files)])]
        pieces = [WHOLE] * count
        if self._divided:
            pieces = [
                DocumentPiece(*(rows[name][first] for name in DocumentPiece._fields))
                for first in firsts
            ]
        longer = [False] * count
        if self._in_context:
            number = np.cumsum(table["file"].to_numpy() == 0) - 1
            for document in number[pc.equal(table["reason"], LONGER).fill_null(False)]:
                longer[document] = True
        return FimDocuments(block, lines, keys, of_documents, pieces, longer)


class SplitFile(NamedTuple):
    """A file of a rearranged document: its text as it stands there, and what is around it."""

    row: FileRow
    text: str
    around: Around


def split_files(text: str, files: list[FileRow], fim: Fim) -> Iterator[SplitFile]:
    """The files of a rearranged document.

    Raises:
        ValueError: If the text is not as long as the rows say, or no separator is where they say.
    """
    at = 0
    separator = fim.file_separator_token or ""
    for row in files:
        unchanged = row.order == "none"
        chars = row.chars if unchanged else arranged_chars(row.order, row.lengths, fim)
        after_lead = at + row.lead
        begin = after_lead + row.header
        end = begin + chars
        if row.lead and not text.endswith(separator, at, after_lead):
            raise ValueError(f"{separator} expected before character {after_lead}")
        around = Around(text[at:after_lead], text[after_lead:begin], text[end : end + row.tail])
        yield SplitFile(row, text[begin:end], around)
        at = end + row.tail
    if at != len(text):
        raise ValueError(f"the files end at character {at}, the text at {len(text)}")


def restore_document(text: str, files: list[FileRow], fim: Fim) -> str:
    """The original text of a document; errors as of `split_files` and `parse_arrangement`."""
    return "".join(
        chain.from_iterable(_restored(file, fim) for file in split_files(text, files, fim))
    )


def _restored(file: SplitFile, fim: Fim) -> Iterator[str]:
    original = restore(file.text, file.row.order, file.row.lengths, fim)
    lead, header, tail = file.around
    yield from (lead, header, original, tail)
