"""What becomes of a document, by the same transformation as its shard goes through.

What of it is shown stands in `view`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice, pairwise, repeat
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from fim_assets.cuts.files import Around
from fim_assets.errors import ShardError
from fim_assets.fim_shards.arrangements import (
    PARTS,
    Lengths,
    Order,
    Parts,
    Piece,
    parse_arrangement,
)
from fim_assets.fim_shards.record import (
    WHOLE,
    DocumentPiece,
    FileRow,
    FimShardReader,
    file_rows,
    record_schema,
    split_files,
)
from fim_assets.fim_shards.segments import Segment, segments
from fim_assets.fim_shards.transform import transform_block
from fim_assets.io.parquet import TableReader
from fim_assets.preview.repositories import joined_documents
from fim_assets.raw_shards.shard_files import ShardPaths
from fim_assets.raw_shards.shard_reader import Documents, ShardReader
from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import Fim
from fim_assets.repository_shards.group import Repository
from fim_assets.tokenizer.load import LoadedTokenizer, load_for_fim
from fim_assets.wording import plural

BLOCK_BYTES = 1 << 17
"""Less than a stage reads at once, so that a document near the beginning shows at once."""

BEGINNING_BLOCKS = 32
"""Blocks of a shard, 4 MB together, in which examples are looked for."""


class FilePreview(NamedTuple):
    """What becomes of one file of a document; `file` is its index in it, 0-based.

    Attributes:
        split: The method that cut it, None where it is unchanged.
        reason: Why it is unchanged, or why the fallback cut it; None otherwise.
        pieces: Its sentinels and parts in the order they will stand; none where it is unchanged.
        around: What stands around it.
    """

    file: int
    row: FileRow
    split: str | None
    reason: str | None
    text: str
    pieces: tuple[Piece, ...]
    around: Around = Around()

    @property
    def order(self) -> Order:
        """How its parts are laid out; `none` where it is unchanged."""
        return self.row.order

    @property
    def lengths(self) -> Lengths:
        """Code points of its parts; zeros where it is unchanged."""
        return self.row.lengths

    @property
    def parts(self) -> Parts | None:
        """Its prefix, middle and suffix; None where it is unchanged."""
        texts = {piece.part: piece.text for piece in self.pieces}
        return Parts(*(texts[part] for part in PARTS)) if texts else None


@dataclass(frozen=True)
class DocumentPreview:
    """What becomes of one document, or of one `piece` of it.

    `line` is its physical line in the raw shard, 1-based; `place` is the file that was read and the
    line in it, where a raw shard was.
    """

    line: int
    id: str | None
    language: str | None
    text: str
    files: tuple[FilePreview, ...]
    piece: DocumentPiece = WHOLE
    place: tuple[Path, int] | None = None

    @property
    def name(self) -> str:
        """Its line, and which piece of the document it is, where that was divided."""
        number, of, _ = self.piece
        return f"line {self.line:,}" + (f", piece {number + 1:,} of {of:,}" if of > 1 else "")

    @property
    def orders(self) -> set[str]:
        """The orders that occur among its files."""
        return {file.order for file in self.files}

    @property
    def rearranged(self) -> bool:
        """Whether one of its files is rearranged."""
        return self.orders != {"none"}


Method = tuple[str | None, str | None]
"""A file's `split` and `reason`, see `FilePreview`."""


class RecordedDocument(NamedTuple):
    """A document as it stands in a FIM shard, or a piece of one, and what is recorded of its files.

    `line` is the raw shard's, and `methods` are those of its files.
    """

    line: int
    id: str | None
    language: str | None
    text: str
    rows: list[FileRow]
    methods: list[Method]
    piece: DocumentPiece

    def files(self, fim: Fim) -> tuple[FilePreview, ...]:
        """Its files, their texts cut in parts."""
        return tuple(_preview_files(self.text, self.rows, iter(self.methods), fim))


def transformed_documents(
    block: Documents, seed: int, recipe: Recipe
) -> Iterator[RecordedDocument]:
    """What becomes of the documents of one block, or of their pieces, in order.

    `seed` is the partition's; lines are not needed.

    Raises:
        TokenizerError: If the recipe needs a tokenizer for this and it cannot be used.
        DocumentError: If a document cannot be cut.
    """
    result = transform_block(block, seed, recipe, load_for_fim(recipe))
    table = pa.Table.from_pydict(result.rows, record_schema(recipe)).to_pydict()
    rows = file_rows(table, recipe.fim)
    methods = [*zip(table["split"], table["reason"], strict=True)]
    firsts = [number for number, file in enumerate(table["file"]) if not file]
    pieces: Iterable[DocumentPiece] = repeat(WHOLE, len(firsts))
    if recipe.piece_tokens is not None:
        columns = [table[name] for name in DocumentPiece._fields]
        pieces = (DocumentPiece(*(column[first] for column in columns)) for first in firsts)
    of = result.documents
    about = zip(of.numbers, of.ids, of.languages, of.texts, strict=True)
    spans = pairwise([*firsts, len(rows)])
    for document, (first, end), piece in zip(about, spans, pieces, strict=True):
        yield RecordedDocument(*document, rows[first:end], methods[first:end], piece)


def preview_documents(block: Documents, seed: int, recipe: Recipe) -> Iterator[DocumentPreview]:
    """Preview the documents of one block, or their pieces; see `transformed_documents`."""
    for document in transformed_documents(block, seed, recipe):
        line, identifier, language, text, *_, piece = document
        files = document.files(recipe.fim)
        yield DocumentPreview(line, identifier, language, text, files, piece)


def finished_documents(shard: Path, parquet: Path, blocks: int) -> Iterator[DocumentPreview]:
    """Preview the first documents of a FIM shard, of so many blocks of `BLOCK_BYTES` at most.

    Raises:
        ShardError: If the shard's beginning is damaged.
    """
    with (
        FimShardReader(shard, parquet, BLOCK_BYTES) as reader,
        TableReader(parquet, ["split", "reason"]) as table,
    ):
        for block in islice(reader, blocks):
            methods = zip(*table.take(sum(map(len, block.files))).to_pydict().values(), strict=True)
            rows = zip(block.raw_numbers, block.files, block.pieces, strict=True)
            for index, (line, files, piece) in enumerate(rows):
                documents, text = block.documents, block.documents.texts[index]
                previews = tuple(_preview_files(text, files, methods, reader.fim))
                identifier, language = documents.ids[index], documents.languages[index]
                yield DocumentPreview(line, identifier, language, text, previews, piece)


def _preview_files(
    text: str, files: list[FileRow], methods: Iterator[Method], fim: Fim
) -> Iterator[FilePreview]:
    """A document's files as they stand in a FIM shard; `methods` may go on with those of others."""
    for index, (row, file, around) in enumerate(split_files(text, files, fim)):
        split, reason = next(methods)
        pieces: tuple[Piece, ...] = ()
        if row.order != "none":
            pieces = tuple(parse_arrangement(file, row.order, row.lengths, fim))
        yield FilePreview(index, row, split, reason, file, pieces, around)


def first_rearranged(shard: ShardPaths, seed: int, recipe: Recipe) -> DocumentPreview:
    """Preview the first document of a raw shard of which a file is rearranged.

    Raises:
        ShardError: If there is none, or too many lines are no documents.
    """
    with ShardReader(shard, recipe.raw, BLOCK_BYTES) as reader:
        joined = recipe.repositories is not None
        for block in joined_documents(reader, seed, recipe) if joined else reader:
            for preview in preview_documents(block, seed, recipe):
                if preview.rearranged:
                    return replace(preview, place=reader.place(preview.line))
        if reader.rejected > reader.documents:
            reader.refuse_many_rejected()
        if not reader.documents:
            raise ShardError("holds no document", location=reader)
        problem = f"the recipe rearranges no file of its {plural(reader.documents, 'document')}"
        raise ShardError(problem, "name a document by its line or id to see it", reader)


def document_at_line(shard: ShardPaths, seed: int, recipe: Recipe, line: int) -> DocumentPreview:
    """Preview the document at a physical line of a raw shard, 1-based, or with the file there.

    Raises:
        ShardError: If the line is blank, rejected or not there.
    """
    with ShardReader(shard, recipe.raw, BLOCK_BYTES) as reader:
        for block in reader:
            if reader.lines < line:
                continue
            path, number = reader.place(line)
            for refused in block.rejected:
                if refused.line == line:
                    problem = f"line {number} is rejected as {refused.reason}: {refused.detail}"
                    raise ShardError(problem, refused.advice, path)
            if line not in block.numbers:
                raise ShardError(f"line {number} is blank", location=path)
            if recipe.repositories is not None:
                return _with_file(shard, seed, recipe, line)
            return _nth_document(reader, block, block.numbers.index(line), seed, recipe)
        lines = plural(reader.lines, "line")
        raise ShardError(f"no line {line}; the shard has {lines}", location=reader)


def document_with_id(
    shard: ShardPaths, seed: int, recipe: Recipe, identifier: str
) -> DocumentPreview:
    """Preview the first document of a raw shard with an id, or with a file that has it.

    Raises:
        ShardError: If there is none.
    """
    with ShardReader(shard, recipe.raw, BLOCK_BYTES) as reader:
        for block in reader:
            if identifier in block.ids:
                index = block.ids.index(identifier)
                if recipe.repositories is not None:
                    return _with_file(shard, seed, recipe, block.numbers[index])
                return _nth_document(reader, block, index, seed, recipe)
        if recipe.repositories is not None:
            for preview in _of_repository(shard, seed, recipe, identifier):
                return preview
        numbers = f"{reader.lines:,} lines, {reader.documents:,} of them documents"
        problem = f"no document has the id {identifier!r}; the shard has {numbers}"
        raise ShardError(problem, location=reader)


def _nth_document(
    reader: ShardReader, block: Documents, index: int, seed: int, recipe: Recipe
) -> DocumentPreview:
    """A document of a block; of one that is divided the first piece that is rearranged, if any."""
    line = block.numbers[index]
    pieces = [of for of in preview_documents(block, seed, recipe) if of.line == line]
    preview = next(filter(attrgetter("rearranged"), pieces), pieces[0])
    return replace(preview, place=reader.place(preview.line))


def _with_file(shard: ShardPaths, seed: int, recipe: Recipe, line: int) -> DocumentPreview:
    """The document of a repository, or the piece of it, that a line's file is in."""

    def holds(repository: Repository) -> bool:
        return any(file.number == line for file in repository.files)

    previews = _of_repositories(shard, seed, recipe, holds)
    return next(of for of in previews if any(file.row.line == line for file in of.files))


def _of_repository(
    shard: ShardPaths, seed: int, recipe: Recipe, identifier: str
) -> Iterator[DocumentPreview]:
    """The document of a repository that has an id, or its pieces, those rearranged first."""

    def may_have(repository: Repository) -> bool:
        group = repository.group
        return group is not None and identifier.startswith(group.repository)

    pieces = [of for of in _of_repositories(shard, seed, recipe, may_have) if of.id == identifier]
    yield from sorted(pieces, key=attrgetter("rearranged"), reverse=True)


def _of_repositories(
    shard: ShardPaths, seed: int, recipe: Recipe, wanted: Callable[[Repository], bool]
) -> Iterator[DocumentPreview]:
    with ShardReader(shard, recipe.raw, BLOCK_BYTES) as reader:
        for block in joined_documents(reader, seed, recipe, wanted):
            for preview in preview_documents(block, seed, recipe):
                yield replace(preview, place=reader.place(preview.line))


class EncodedSegment(NamedTuple):
    """A segment's token ids, and whether they are one control, placed by id and not encoded."""

    ids: list[int]
    control: bool


def encode_document(
    preview: DocumentPreview, fim: Fim, tokenizer: LoadedTokenizer
) -> list[EncodedSegment]:
    """The token ids of a document as they will stand in an array, BOS and EOS included."""
    rows = [file.row for file in preview.files]
    return encode_segments(segments(preview.text, rows, fim, tokenizer), tokenizer)


def encode_segments(
    contents: Iterable[Segment], tokenizer: LoadedTokenizer
) -> list[EncodedSegment]:
    """The token ids of segments, texts encoded one by one; see `fim_shards.segments`."""
    parts = [segment.content for segment in contents]
    texts = [part for part in parts if isinstance(part, str)]
    encoded = (ids.tolist() for ids in tokenizer.encoder.encode(texts))
    return [
        EncodedSegment([part], control=True)
        if isinstance(part, int)
        else EncodedSegment(next(encoded), control=False)
        for part in parts
    ]
