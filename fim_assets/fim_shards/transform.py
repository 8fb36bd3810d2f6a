"""Shard to FIM shard: the same documents in the same order, some of their files rearranged."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate, chain, groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from fim_assets.corpus.stage import Totals
from fim_assets.corpus.staging import Staging
from fim_assets.cuts.base import CutError
from fim_assets.cuts.files import Around, Files, JoinedFile
from fim_assets.draws import UInts, document_keys, piece_keys
from fim_assets.errors import ShardError
from fim_assets.fim_shards.arrangements import Order, Parts, arrange
from fim_assets.fim_shards.decisions import Decisions, decide
from fim_assets.fim_shards.fitting import Fitting
from fim_assets.fim_shards.pieces import Division, PieceText
from fim_assets.fim_shards.record import WHOLE, DocumentPiece, record_metadata, record_schema
from fim_assets.io.parquet import TableWriter
from fim_assets.io.shard_writer import Line, ShardWriter
from fim_assets.raw_shards.documents import text_replacer
from fim_assets.raw_shards.shard_files import ShardPaths
from fim_assets.raw_shards.shard_reader import Documents, ShardReader
from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import Fim

if TYPE_CHECKING:
    from fim_assets.tokenizer.load import LoadedTokenizer


class DocumentError(ShardError):
    """A document that cannot be cut, by its line; `why` is the rest of the sentence."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"the document of line {line:,} {why}")
        self.line, self.why = line, why


def transform_shard(
    shard: ShardPaths,
    seed: int,
    recipe: Recipe,
    staging: Staging,
    parquet: Path | None = None,
    tokenizer: "LoadedTokenizer | None" = None,
) -> Totals:
    """Write the FIM shard and the parquet of a raw shard, or of one that an earlier stage wrote.

    The members of a group become one FIM shard. `seed` is the partition's, and `parquet` is next to
    the shard of an earlier stage. `staging` takes `.jsonl.zst` and `.parquet`. `tokenizer` is as
    `decide` takes it.

    Raises:
        ShardError: If the shard is damaged, too many of its lines are no documents, or a
            document cannot be cut, see `decide`.
    """
    chars = files = 0
    metadata = record_metadata(recipe, seed)
    with (
        ShardReader(shard, recipe.raw, parquet=parquet) as reader,
        ShardWriter(staging.create(".jsonl.zst")) as writer,
        TableWriter(staging.create(".parquet"), record_schema(recipe), metadata) as table,
    ):
        for block in reader:
            try:
                result = transform_block(block, seed, recipe, tokenizer)
            except DocumentError as error:
                if parquet is not None:
                    raise ShardError(f"{reader}, by lines of the raw shard: {error}") from error
                path, line = reader.place(error.line)
                raise ShardError(f"{path}: {DocumentError(line, error.why)}") from error
            writer.write(result.lines)
            table.write(result.rows)
            chars += result.chars
            files += len(result.rows["file"])
        reader.refuse_many_rejected()
        return reader.totals(chars, files)


@dataclass(frozen=True)
class TransformedBlock:
    """What one block becomes.

    Attributes:
        documents: Its documents, or their pieces, rearranged; their lines are as they came.
        lines: The FIM shard's lines, each made when it is taken.
        rows: The parquet's rows, one for each file.
        chars: Code points of all texts.
    """

    documents: Documents
    lines: Iterator[Line]
    rows: dict[str, np.ndarray | pa.Array | list[str | None]]
    chars: int


def transform_block(
    block: Documents, seed: int, recipe: Recipe, tokenizer: "LoadedTokenizer | None" = None
) -> TransformedBlock:
    """Rearrange the documents of one block, see `transform_shard`."""
    keys = document_keys(seed, block.ids, block.texts)
    pieces: list[DocumentPiece] = []
    if recipe.piece_tokens is not None and tokenizer is not None:
        fitting = Fitting(recipe, tokenizer, recipe.piece_tokens)
        block, keys, pieces = _divide(block, keys, fitting)
        recipe = recipe.model_copy(update={"context": None})
    fim, field = recipe.fim, recipe.raw.text_field
    files, decisions = _decide(block, keys, recipe, tokenizer)
    changed = {n: block.texts[n] for n, piece in enumerate(pieces) if piece != WHOLE}
    changed |= dict(rearranged_texts(files, decisions, fim))
    texts = [changed.get(n, text) for n, text in enumerate(block.texts)]

    first, second = decisions.cuts
    unchanged = decisions.orders == "none"
    of_file = pa.array(files.documents)
    rows: dict[str, np.ndarray | pa.Array | list[str | None]] = {
        "line": np.array(block.numbers, np.int64)[files.documents],
        "id": pa.array(block.ids, pa.string()).take(of_file),
        "file": files.indices,
        "chars": files.lengths,
        "order": pa.array(decisions.orders, pa.string()),
        "split": pa.array(decisions.splits, pa.string()),
        "reason": pa.array(decisions.reasons, pa.string()),
        "prefix_chars": first,
        "middle_chars": second - first,
        "suffix_chars": np.where(unchanged, 0, files.lengths - second),
        "draw_key": files.keys,
        "language": pa.array(block.languages, pa.string()).take(of_file),
    }
    if recipe.repositories is not None:
        known = [*chain.from_iterable(block.files)]
        rows["line"] = np.array([file.line for file in known], np.int64)
        rows["language"] = pa.array([file.language for file in known], pa.string())
        for name in Around._fields:
            sizes = [len(getattr(of_file, name)) for of_file in files.around]
            rows[f"{name}_chars"] = np.array(sizes, np.int64)
        rows["path_chars"] = files.path_chars
    for name, values in zip(DocumentPiece._fields, zip(*pieces, strict=True), strict=False):
        rows[name] = np.array(values)[files.documents]
    documents, lines = replace(block, texts=texts), _lines(block, changed, field)
    return TransformedBlock(documents, lines, rows, sum(map(len, texts)))


def _lines(block: Documents, changed: Mapping[int, str], field: str) -> Iterator[Line]:
    """The lines of a block, some with another text.

    A line holds more than its text, and a document's pieces repeat it: all at once, they would take
    many times as much memory as the document.
    """
    for _, of_line in groupby(range(len(block.lines)), block.numbers.__getitem__):
        replaced: Callable[[str], bytes] | None = None
        for document in of_line:
            line = block.lines[document]
            if document in changed:
                replaced = replaced or text_replacer(line, field)
                line = replaced(changed[document])
            yield line


def _decide(
    block: Documents,
    keys: UInts,
    recipe: Recipe,
    tokenizer: "LoadedTokenizer | None",
    limit: int | None = None,
) -> tuple[Files, Decisions]:
    files = _files(block, keys, recipe)
    try:
        return files, decide(files, recipe, tokenizer, limit)
    except CutError as error:
        raise _refused(block, error.document, str(error)) from error


def _files(block: Documents, keys: UInts, recipe: Recipe) -> Files:
    """The files of documents: where a stage has joined them as it says, else at separators."""

    def key(language: str | None) -> str | None:
        return language and recipe.raw.language_key(language)

    if recipe.repositories is None:
        separators = recipe.fim.file_separator_token, recipe.fim.repository_tokens
        return Files.split(
            block.texts, keys, [*map(key, block.languages)], block.paths, *separators
        )
    is_text = recipe.repositories.joined.path_is_text
    documents = []
    for text, known in zip(block.texts, block.files, strict=True):
        files, at = [], 0
        for file in known:
            ends = [*accumulate((file.lead, file.header, file.chars, file.tail), initial=at)]
            lead, header, own, tail = (text[begin:end] for begin, end in pairwise(ends))
            at = ends[-1]
            content, around = own, Around(lead, header, tail)
            if is_text:
                content, around = header + own, Around(lead, "", tail)
            path_chars = file.header if is_text else 0
            files.append(JoinedFile(content, around, key(file.language), file.path, path_chars))
        documents.append(files)
    return Files.joined(documents, keys)


def _refused(block: Documents, document: int, why: str) -> DocumentError:
    identifier = str(block.ids[document])[:200]
    return DocumentError(block.numbers[document], f"(id {identifier!r}): {why}")


def _divide(
    block: Documents, keys: UInts, fitting: Fitting
) -> tuple[Documents, UInts, list[DocumentPiece]]:
    """The documents that fit, and instead of each of the others its pieces; with keys of both."""
    files, decisions = _decide(block, keys, fitting.recipe, fitting.tokenizer)
    waiting: dict[int, Division] = {}
    by_document = groupby(decisions.longer, lambda row: int(files.documents[row]))
    for document, rows in by_document:
        of_document = [*rows]
        around = [files.around[row] for row in of_document]
        texts = [files.texts[row] for row in of_document]
        waiting[document] = Division(
            [f"{of.header}{text}{of.tail}" for of, text in zip(around, texts, strict=True)],
            [of.lead for of in around],
            [decisions.longer[row] for row in of_document],
            fitting,
            block.files[document] if block.files else (),
        )
    divided: dict[int, list[PieceText]] = {}
    while waiting:
        tried: dict[int, list[PieceText]] = {}
        for document, division in waiting.items():
            try:
                tried[document] = division.pieces()
            except ValueError as error:
                raise _refused(block, document, str(error)) from error
        owners = [document for document, pieces in tried.items() for _ in pieces]
        lot, lot_keys, _ = _in_pieces(block, keys, tried)
        files, decisions = _decide(lot, lot_keys, fitting.recipe, fitting.tokenizer, fitting.limit)
        longer = {owners[document] for document in files.documents[[*decisions.longer]].tolist()}
        divided |= {document: tried[document] for document in tried.keys() - longer}
        waiting = {document: waiting[document] for document in waiting if document in longer}
    whole = {
        n: [PieceText(text, False, (*block.files[n],) if block.files else ())]
        for n, text in enumerate(block.texts)
    }
    return _in_pieces(block, keys, whole | divided)


def _in_pieces(
    block: Documents, keys: UInts, divided: Mapping[int, list[PieceText]]
) -> tuple[Documents, UInts, list[DocumentPiece]]:
    """Pieces of some documents as documents: the same but for their texts and keys."""
    owners = [document for document, texts in divided.items() for _ in texts]
    pieces = [
        DocumentPiece(number, len(texts), text.continued)
        for texts in divided.values()
        for number, text in enumerate(texts)
    ]
    of_pieces = Documents(
        numbers=[block.numbers[owner] for owner in owners],
        lines=[block.lines[owner] for owner in owners] if block.lines else [],
        ids=[block.ids[owner] for owner in owners],
        texts=[piece.text for texts in divided.values() for piece in texts],
        languages=[block.languages[owner] for owner in owners],
        paths=[block.paths[owner] for owner in owners],
        files=[[*piece.files] for texts in divided.values() for piece in texts if piece.files],
    )
    nth = np.array([piece.piece for piece in pieces], np.int64)
    is_whole = np.array([piece == WHOLE for piece in pieces], np.bool_)
    of_owners = keys[owners]
    own = np.where(is_whole, of_owners, piece_keys(of_owners, nth))
    return of_pieces, own, pieces


def rearranged_texts(files: Files, decisions: Decisions, fim: Fim) -> Iterator[tuple[int, str]]:
    """Each document of which a file is rearranged: its index, and its text as it becomes."""
    rearranged = np.unique(files.documents[decisions.orders != "none"])
    begins = np.searchsorted(files.documents, rearranged).tolist()
    ends = np.searchsorted(files.documents, rearranged, side="right").tolist()
    for document, begin, end in zip(rearranged.tolist(), begins, ends, strict=True):
        pieces = (_rearrange(files, row, decisions, fim) for row in range(begin, end))
        yield document, "".join(chain.from_iterable(pieces))


def _rearrange(files: Files, row: int, decisions: Decisions, fim: Fim) -> tuple[str, ...]:
    order: Order = decisions.orders[row]
    file, around = files.texts[row], files.around[row]
    if order != "none":
        first, second = int(decisions.cuts.first[row]), int(decisions.cuts.second[row])
        file = arrange(Parts(file[:first], file[first:second], file[second:]), order, fim)
    return around.lead, around.header, file, around.tail
