"""FIM shard to token arrays: parts encoded as ordinary text, control tokens placed by id.

Here documents become ids; what is written of these is decided in `arrays.py`.
"""

import re
from bisect import bisect
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from fim_assets.corpus.stage import Totals
from fim_assets.corpus.staging import Staging
from fim_assets.draws import UInts, shuffled
from fim_assets.errors import ShardError
from fim_assets.fim_shards.arrangements import BESIDE, ORDERS, PARTS
from fim_assets.fim_shards.record import WHOLE, FimDocuments, FimShardReader
from fim_assets.fim_shards.segments import segments
from fim_assets.recipe.fim import Fim
from fim_assets.recipe.tokens import Tokens
from fim_assets.statistics.counts import by_count
from fim_assets.token_arrays.align import align, count_cut
from fim_assets.token_arrays.arrays import ArraySettings, id_dtype, write_arrays
from fim_assets.token_arrays.shuffle_buffer import DOCUMENT, FILE, Ids, Ints, Records, Spool
from fim_assets.tokenizer.encoders import UnencodableTextError
from fim_assets.tokenizer.load import LoadedTokenizer

_IN_AND_BESIDE = (*PARTS, *BESIDE)

_TEXT = -1
"""Stands among control ids for a text."""


class UnencodableDocumentError(ValueError):
    """A document that cannot be encoded, the one with the index `row` in its block."""

    def __init__(self, row: int, reason: UnencodableTextError) -> None:
        super().__init__(str(reason))
        self.row = row


class EncodedBlock(NamedTuple):
    """Documents of one block, encoded: ids (uint32), `DOCUMENT`s of shape (n,), their `FILE`s."""

    tokens: Ids
    documents: Records
    files: Records


def encode_documents(block: FimDocuments, fim: Fim, tokenizer: LoadedTokenizer) -> EncodedBlock:
    """Encode the documents of one block.

    Raises an UnencodableDocumentError if the tokenizer cannot encode a text, and another ValueError
    if texts and rows disagree.
    """
    texts: list[str] = []
    control_ids: list[int] = []
    of_file: list[int] = []
    of_part: list[int] = []
    begins: list[int] = []
    first_file = 0
    for text, files in zip(block.documents.texts, block.files, strict=True):
        begins.append(len(control_ids))
        for content, file, part in segments(text, files, fim, tokenizer):
            if isinstance(content, str):
                texts.append(content)
                control_ids.append(_TEXT)
            else:
                control_ids.append(content)
            of_file.append(-1 if file is None else first_file + file)
            of_part.append(-1 if part is None else _IN_AND_BESIDE.index(part))
        first_file += len(files)
    documents = np.zeros(len(begins), DOCUMENT)
    if not begins:
        return EncodedBlock(np.empty(0, np.uint32), documents, np.empty(0, FILE))
    is_text = np.array(control_ids) == _TEXT
    try:
        encoded = iter(tokenizer.encoder.encode(texts))
        changed_texts = _changed(texts, tokenizer)
    except UnencodableTextError as error:
        segment = np.flatnonzero(is_text)[error.index]
        raise UnencodableDocumentError(bisect(begins, segment) - 1, error) from error
    placed = {control: np.array([control], np.uint32) for control in {*control_ids} - {_TEXT}}
    rows = [next(encoded) if c == _TEXT else placed[c] for c in control_ids]
    sizes = np.array([len(row) for row in rows], np.int64)
    ends = np.cumsum(sizes)
    starts = ends - sizes

    counts = np.zeros((2, len(rows)), np.int64)
    counts[0, is_text] = _count_literals(texts, tokenizer.added)
    counts[1, is_text] = changed_texts
    literals, changed = np.add.reduceat(counts, begins, axis=1)
    documents["tokens"] = np.add.reduceat(sizes, begins)
    documents["files"] = [len(files) for files in block.files]
    documents["line"] = block.raw_numbers
    documents["shard_line"] = block.documents.numbers
    documents["literals"] = literals
    documents["piece"] = [piece.piece for piece in block.pieces]
    documents["pieces"] = [piece.pieces for piece in block.pieces]
    documents["changed"] = changed > 0
    spans = _SegmentSpans(np.array(of_file), np.array(of_part), starts, ends)
    base = np.repeat(starts[begins], documents["files"])
    return EncodedBlock(np.concatenate(rows), documents, _file_records(block, spans, base))


class _SegmentSpans(NamedTuple):
    """The segments of a block: arrays of shape (segments,).

    `files` counts over the block, `parts` are indices of `PARTS` and then `BESIDE`, both -1 for
    none; the tokens from `starts` to before `ends` are counted over the block.
    """

    files: Ints
    parts: Ints
    starts: Ints
    ends: Ints


def _file_records(block: FimDocuments, spans: _SegmentSpans, base: Ints) -> Records:
    """Where the files of a block, in and beside them, are among their documents' tokens.

    `base` is the first token of each file's document, counted over the block, shape (files,).
    """
    # A document of one file in PSM order, encoded paragraph by paragraph, the first of its block,
    # with a prefix of two paragraphs (3 and 2 tokens), a suffix of 4 and a middle of 1:
    #
    #     segment  <pre>  prefix  prefix  <suf>  suffix  <mid>  middle  <eos>
    #     files      0       0       0      0       0      0       0     -1
    #     parts     -1       0       0     -1       2     -1       1     -1
    #     starts     0       1       4      6       7     11      12     13
    #     ends       1       4       6      7      11     12      13     14
    #
    # The prefix is tokens 1 to 6. Numpy keeps the last of several values that are assigned to one
    # index, so that an `end` assigned in order is the last segment's, 4 and then 6, and a `start`
    # assigned in reverse order the first segment's, 4 and then 1.
    records = np.empty(len(base), FILE)
    records["order"] = [ORDERS.index(row.order) for files in block.files for row in files]
    file = spans.files
    chosen = {"": (file >= 0) & (spans.parts < len(PARTS))}
    chosen |= {f"{name}_": spans.parts == n for n, name in enumerate(_IN_AND_BESIDE)}
    for name, is_chosen in chosen.items():
        forward = np.flatnonzero(is_chosen)
        back = forward[::-1]
        start, end = np.full((2, len(base)), -1)
        start[file[back]] = spans.starts[back] - base[file[back]]
        end[file[forward]] = spans.ends[forward] - base[file[forward]]
        records[f"{name}start"], records[f"{name}end"] = start, end
    return records


def _count_literals(texts: list[str], added: tuple[str, ...]) -> Ints:
    names = "|".join(re.escape(token) for token in added)
    return pl.Series(texts, dtype=pl.String).str.count_matches(names).cast(pl.Int64).to_numpy()


def _changed(texts: list[str], tokenizer: LoadedTokenizer) -> Ints:
    """Which texts do not come back exactly from their ids."""
    changed = np.zeros(len(texts), np.int64)
    if not tokenizer.vocabulary.lossy:
        return changed
    for index, text in enumerate(texts):
        try:
            changed[index] = tokenizer.normal_form(text) != text.encode()
        except UnencodableTextError as error:
            error.index = index
            raise
    return changed


def tokenize_shard(
    shard: Path,
    parquet: Path,
    settings: ArraySettings,
    tokenizer: LoadedTokenizer,
    staging: Staging,
) -> Totals:
    """Write a partition's token arrays, from a FIM shard and its parquet.

    Raises:
        ShardError: If shard and parquet disagree, or a document cannot be encoded or is larger than
            an array.
    """
    keys: list[UInts] = [np.empty(0, np.uint64)]
    to_align: list[Records] = []
    by_language, longer, in_pieces = Counter[str](), Counter[str](), Counter[str]()
    chars = files = 0
    with (
        FimShardReader(shard, parquet) as reader,
        Spool(staging.folder, id_dtype(settings.tokens)) as spool,
    ):
        for block in reader:
            try:
                encoded = encode_documents(block, reader.fim, tokenizer)
            except UnencodableDocumentError as error:
                raise _unencodable(block, shard, error) from error
            except ValueError as error:
                raise ShardError(f"{shard} and {parquet} disagree: {error}") from error
            sizes = encoded.documents["tokens"]
            _refuse_too_large(block, sizes, shard, settings.tokens.max_size)
            spool.append(*encoded, block.documents.ids)
            keys.append(np.array(block.draw_keys, np.uint64))
            if settings.window is not None:
                to_align.append(_to_align(encoded))
            chars += sum(map(len, block.documents.texts))
            files += len(encoded.files)
            rows = zip(_by_language(block, encoded), block.longer, block.pieces, strict=True)
            for of_languages, is_longer, piece in rows:
                for language, n in of_languages:
                    by_language[language] += n
                    longer[language] += n * is_longer
                    in_pieces[language] += n * (piece != WHOLE)
        totals = reader.shard.totals(chars, files, by_language.total())
        order, starts = _order(keys, shuffle=settings.tokens.shuffle), None
        counts = totals.counts | by_count("tokens", by_language)
        counts |= by_count("longer_tokens", +longer) | by_count("piece_tokens", +in_pieces)
        if settings.window is not None:
            order, starts, cut = _aligned(order, to_align, settings.window, settings.tokens)
            counts |= cut
        write_arrays(map(spool.__getitem__, order), settings, staging, starts)
    return replace(totals, counts=counts)


def _by_language(block: FimDocuments, encoded: EncodedBlock) -> Iterator[list[tuple[str, int]]]:
    """Languages of each document, '' for none, and the tokens that are theirs.

    Of joined files, each has its own, and what stands between files counts for the later one.
    """
    ends = iter(encoded.files["end"].tolist())
    documents = zip(
        block.documents.languages, block.files, encoded.documents["tokens"].tolist(), strict=True
    )
    for language, files, tokens in documents:
        of_files = [next(ends) for _ in files]
        if not files[0].joined:
            yield [(language or "", tokens)]
            continue
        edges = [0, *of_files[:-1], tokens]
        sizes = (end - begin for begin, end in pairwise(edges))
        yield [(file.language or "", size) for file, size in zip(files, sizes, strict=True)]


def _order(blocks: list[UInts], *, shuffle: bool) -> Ints:
    """The documents' order, by their keys, of which only one list is held at a time."""
    keys = np.concatenate(blocks)
    blocks.clear()
    return shuffled(keys) if shuffle else np.arange(len(keys))


_TO_ALIGN = np.dtype([("tokens", "<i8"), ("rearranged", "?")])


def _to_align(encoded: EncodedBlock) -> Records:
    """What aligning needs of a block's documents: a `_TO_ALIGN` each."""
    documents = np.empty(len(encoded.documents), _TO_ALIGN)
    documents["tokens"] = encoded.documents["tokens"]
    firsts = np.cumsum(encoded.documents["files"]) - encoded.documents["files"]
    if len(documents):
        documents["rearranged"] = np.maximum.reduceat(encoded.files["order"], firsts) > 0
    return documents


def _aligned(
    order: Ints, blocks: list[Records], window: int, tokens: Tokens
) -> tuple[Ints, Ints, dict[str, int]]:
    """Documents as `align` orders them, where they start, and what is cut, see `count_cut`."""
    documents = np.concatenate([np.empty(0, _TO_ALIGN), *blocks])
    blocks.clear()
    sizes, rearranged = documents["tokens"], documents["rearranged"]
    pad = tokens.align == "pad"
    aligned = align(order, sizes, rearranged, window, tokens.max_size, pad=pad)
    return (*aligned, count_cut(aligned, sizes, rearranged, window))


def _unencodable(block: FimDocuments, shard: Path, error: UnencodableDocumentError) -> ShardError:
    line, raw_line = block.documents.numbers[error.row], block.raw_numbers[error.row]
    identifier = str(block.documents.ids[error.row])[:200]
    return ShardError(
        f"{shard}: the document of line {line} (id {identifier!r}, line {raw_line} of the raw "
        f"shard) cannot be encoded: {error}; take it out of the raw shard, or shorten its runs of "
        "one character: no other encoder may encode it"
    )


def _refuse_too_large(block: FimDocuments, sizes: Ints, shard: Path, max_size: int) -> None:
    for row in np.flatnonzero(sizes > max_size).tolist():
        identifier = str(block.documents.ids[row])[:200]
        raise ShardError(
            f"{shard}: the document of line {block.documents.numbers[row]} (id {identifier!r}) has "
            f"{sizes[row]} tokens, tokens.max_size is {max_size}: raise tokens.max_size, or take "
            "the document out of the raw shard"
        )
