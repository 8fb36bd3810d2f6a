"""FIM shard to token arrays: parts encoded as ordinary text, control tokens placed by id."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from fim_assets.fim.draws import shuffled
from fim_assets.fim.orders import dissect
from fim_assets.fim.record import FileRow, FimDocuments, FimShardReader, split_files
from fim_assets.receipts import Staging
from fim_assets.recipe import Fim, Recipe
from fim_assets.shards import ShardError, Totals
from fim_assets.tokens.arrays import ArrayReader, EncodedDocuments, Ids, Ints, write_arrays
from fim_assets.tokens.tokenizer import LoadedTokenizer


def segments(
    text: str, files: list[FileRow], fim: Fim, tokenizer: LoadedTokenizer
) -> Iterator[int | str]:
    """What a document's ids are made of, in order: control ids, and texts that are encoded alone.

    Args:
        text: The rearranged document.
        files: Its files' rows.
        fim: The law that rearranged it.
        tokenizer: The control ids.

    Raises:
        ValueError: If text and rows disagree.
    """
    controls = tokenizer.controls
    if controls.bos is not None:
        yield controls.bos
    for index, (row, file) in enumerate(split_files(text, files, fim)):
        if index and fim.file_separator_token is not None:
            yield controls.boundaries.get(fim.file_separator_token, fim.file_separator_token)
        if row.order != "none":
            for piece in dissect(file, row.order, row.lengths, fim):
                yield piece.text if piece.sentinel is None else controls.sentinels[piece.sentinel]
        elif fim.repository_tokens:
            pieces = re.split(f"({'|'.join(map(re.escape, fim.repository_tokens))})", file)
            yield from (controls.boundaries.get(piece, piece) for piece in pieces if piece)
        else:
            yield file
    yield controls.eos


class EncodedBlock(NamedTuple):
    """Documents of one block, encoded.

    Attributes:
        tokens: Their ids one after the other, uint32.
        lengths: Tokens of each document, shape (n,).
        literals: Added tokens' names in each document's text, shape (n,).
    """

    tokens: Ids
    lengths: Ints
    literals: Ints


def encode_documents(block: FimDocuments, fim: Fim, tokenizer: LoadedTokenizer) -> EncodedBlock:
    """Encode the documents of one block.

    Raises:
        ValueError: If texts and rows disagree.
    """
    texts: list[str] = []
    placed: list[int] = []
    begins: list[int] = []
    for text, files in zip(block.documents.texts, block.files, strict=True):
        begins.append(len(placed))
        for segment in segments(text, files, fim, tokenizer):
            if isinstance(segment, str):
                texts.append(segment)
                placed.append(-1)
            else:
                placed.append(segment)
    if not begins:
        return EncodedBlock(np.empty(0, np.uint32), np.empty(0, np.int64), np.empty(0, np.int64))
    encoded, offsets = tokenizer.engine.encode(texts)
    controls = np.array(placed, np.int64)
    is_text = controls < 0
    sizes = np.ones(len(placed), np.int64)
    sizes[is_text] = np.diff(offsets)
    ids = np.empty(int(sizes.sum()), np.uint32)
    is_control = np.zeros(len(ids), bool)
    is_control[(np.cumsum(sizes) - sizes)[~is_text]] = True
    ids[is_control] = controls[~is_text]
    ids[~is_control] = encoded
    literals = np.zeros(len(placed), np.int64)
    literals[is_text] = _count_literals(texts, tokenizer.added)
    return EncodedBlock(ids, np.add.reduceat(sizes, begins), np.add.reduceat(literals, begins))


def _count_literals(texts: list[str], added: tuple[str, ...]) -> Ints:
    names = "|".join(re.escape(token) for token in added)
    return pl.Series(texts, dtype=pl.String).str.count_matches(names).cast(pl.Int64).to_numpy()


def tokenize_shard(
    shard: Path,
    parquet: Path,
    source: str,
    recipe: Recipe,
    tokenizer: LoadedTokenizer,
    staging: Staging,
) -> Totals:
    """Write a partition's token arrays.

    The encoded documents go to a scratch file in the shard's order and from there to the arrays in
    theirs, so that memory holds an index and not the tokens.

    Args:
        shard: The FIM shard.
        parquet: The parquet beside it.
        source: The FIM shard's path below the data root, for `src` in csv.gz.
        recipe: dtype, array size and whether to shuffle.
        tokenizer: The recipe's tokenizer.
        staging: Takes the files, see `arrays.write_arrays`.

    Raises:
        ShardError: If shard and parquet disagree, or a document is larger than an array.
    """
    dtype = np.dtype(recipe.tokens.dtype).newbyteorder("<")
    scratch = staging.scratch("tokens")
    lengths, lines, literals, keys, ids = [], [], [], [], []
    chars = files = 0
    with scratch.open("wb") as spool, FimShardReader(shard, parquet) as reader:
        for block in reader:
            try:
                encoded = encode_documents(block, reader.fim, tokenizer)
            except ValueError as error:
                raise ShardError(f"{shard} and {parquet} disagree: {error}") from error
            _refuse_too_large(block, encoded.lengths, shard, recipe.tokens.max_size)
            spool.write(encoded.tokens.astype(dtype, copy=False).data)
            lengths.append(encoded.lengths)
            literals.append(encoded.literals)
            lines.append(np.array(block.raw_numbers, np.int64))
            keys.append(np.array(block.draw_keys, np.uint64))
            ids.append(pa.array(block.documents.ids, pa.large_string()))
            chars += sum(map(len, block.documents.texts))
            files += sum(map(len, block.files))
        totals = reader.shard.totals(chars, files, sum(int(part.sum()) for part in lengths))
    all_lengths = np.concatenate([np.empty(0, np.int64), *lengths])
    all_keys = np.concatenate([np.empty(0, np.uint64), *keys])
    order = shuffled(all_keys) if recipe.tokens.shuffle else np.arange(len(all_keys))
    with ArrayReader(scratch, recipe.tokens.dtype) as tokens:
        documents = EncodedDocuments(
            tokens=tokens,
            lengths=all_lengths,
            lines=np.concatenate([np.empty(0, np.int64), *lines]),
            literals=np.concatenate([np.empty(0, np.int64), *literals]),
            ids=pa.chunked_array(ids, pa.large_string()).combine_chunks(),
            source=source,
        )
        write_arrays(documents, order, recipe.tokens.max_size, staging)
    return totals


def _refuse_too_large(block: FimDocuments, sizes: Ints, shard: Path, max_size: int) -> None:
    for row in np.flatnonzero(sizes > max_size).tolist():
        raise ShardError(
            f"{shard}: the document of line {block.documents.numbers[row]} (id "
            f"{block.documents.ids[row]}) has {sizes[row]} tokens, tokens.max_size is {max_size}: "
            "raise tokens.max_size, or take the document out of the raw shard"
        )
