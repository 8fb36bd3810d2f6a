"""Shard to FIM shard: the same documents in the same order, some of their files rearranged."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from fim_assets.fim.draws import Draw, Ints, UInts, document_keys, uniforms
from fim_assets.fim.orders import ORDERS, Order, Parts, arrange
from fim_assets.fim.record import SCHEMA, record_metadata
from fim_assets.fim.splits import DOLMA_MIN_CHARS, Cuts, dolma_cuts
from fim_assets.receipts import Staging
from fim_assets.recipe import Fim, Recipe
from fim_assets.shards import Documents, ShardReader, ShardWriter, Totals, replace_text
from fim_assets.tables import TableWriter

_NONE, _PSM, _SPM = range(3)
_REASONS = pa.array(["not_selected", "too_short"])
_NOT_SELECTED, _TOO_SHORT = range(2)
_SPLITS = pa.array(["dolma"])


@dataclass(frozen=True)
class Decisions:
    """What is done to n files.

    Attributes:
        orders: Index into `ORDERS`, shape (n,), int8.
        reasons: 0 not selected, 1 too short, -1 rearranged, shape (n,), int8.
        cuts: Where the middle begins and ends; zeros for files that are left alone.
    """

    orders: np.ndarray[tuple[int], np.dtype[np.int8]]
    reasons: np.ndarray[tuple[int], np.dtype[np.int8]]
    cuts: Cuts


def decide(keys: UInts, files: Ints, lengths: Ints, fim: Fim) -> Decisions:
    """Decide which files are rearranged, in which order, and where they are cut.

    Args:
        keys: Key of each file's document, shape (n,).
        files: Index of each file in its document, shape (n,).
        lengths: Code points of each file, shape (n,).
        fim: Rates and law.
    """
    too_short = lengths < DOLMA_MIN_CHARS
    selected = (uniforms(keys, files, Draw.SELECT) < fim.fim_rate) & ~too_short
    psm = uniforms(keys, files, Draw.ORDER) < fim.psm_spm_split
    orders = np.where(selected, np.where(psm, _PSM, _SPM), _NONE).astype(np.int8)
    reasons = np.where(selected, -1, np.where(too_short, _TOO_SHORT, _NOT_SELECTED)).astype(np.int8)
    first, second = np.zeros_like(lengths), np.zeros_like(lengths)
    cuts = dolma_cuts(keys[selected], files[selected], lengths[selected])
    first[selected], second[selected] = cuts
    return Decisions(orders, reasons, Cuts(first, second))


def transform_text(text: str, key: int, fim: Fim) -> str:
    """Rearrange one document, as `fim_shards` would.

    Args:
        text: The document's text.
        key: The document's key, see `draws.document_keys`.
        fim: The law.
    """
    files = _files(text, fim.file_separator_token)
    decisions = decide(
        np.full(len(files), key, np.uint64),
        np.arange(len(files)),
        np.array([len(file) for file in files]),
        fim,
    )
    return _rearrange(files, 0, decisions, fim)


def transform_shard(shard: Path, seed: int, recipe: Recipe, staging: Staging) -> Totals:
    """Write a FIM shard and its parquet.

    Args:
        shard: The raw shard.
        seed: The partition's seed.
        recipe: The law, and where a line holds its text.
        staging: Takes `.jsonl.zst` and `.parquet`.

    Raises:
        ShardError: If the shard is damaged.
    """
    chars = files = 0
    metadata = record_metadata(recipe.raw, recipe.fim)
    with (
        ShardReader(shard, recipe.raw) as reader,
        ShardWriter(staging.create(".jsonl.zst")) as writer,
        TableWriter(staging.create(".parquet"), SCHEMA, metadata) as table,
    ):
        for block in reader:
            result = transform_block(block, seed, recipe)
            writer.write(result.lines)
            table.write(result.rows)
            chars += result.chars
            files += len(result.rows["file"])
        return reader.totals(chars, files)


@dataclass(frozen=True)
class TransformedBlock:
    """One block's FIM lines, its rows for the parquet, and its texts' code points."""

    lines: list[bytes]
    rows: dict[str, np.ndarray | pa.Array | list[str | None]]
    chars: int


def transform_block(block: Documents, seed: int, recipe: Recipe) -> TransformedBlock:
    """Rearrange the documents of one block, see `transform_shard`."""
    fim = recipe.fim
    texts_of = [_files(text, fim.file_separator_token) for text in block.texts]
    counts = np.array([len(files) for files in texts_of], np.int64)
    files = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    lengths = np.array([len(file) for files in texts_of for file in files], np.int64)
    keys = document_keys(seed, block.ids, block.texts)
    keys_of_files = np.repeat(keys, counts)
    decisions = decide(keys_of_files, files, lengths, fim)

    lines = list(block.lines)
    chars = sum(map(len, block.texts))
    for document, row in _rearranged_documents(decisions, counts):
        text = _rearrange(texts_of[document], row, decisions, fim)
        lines[document] = replace_text(lines[document], recipe.raw.text_field, text)
        chars += len(text) - len(block.texts[document])

    rearranged = decisions.orders != _NONE
    first, second = decisions.cuts
    rows = {
        "line": np.repeat(np.array(block.numbers, np.int64), counts),
        "id": pa.array(block.ids, pa.string()).take(
            pa.array(np.repeat(np.arange(len(counts)), counts))
        ),
        "file": files,
        "chars": lengths,
        "order": pa.array(ORDERS).take(pa.array(decisions.orders)),
        "split": _SPLITS.take(pa.array(np.zeros(len(files), np.int8), mask=~rearranged)),
        "reason": _REASONS.take(pa.array(decisions.reasons, mask=rearranged)),
        "prefix_chars": first,
        "middle_chars": second - first,
        "suffix_chars": np.where(rearranged, lengths - second, 0),
        "draw_key": keys_of_files,
    }
    return TransformedBlock(lines, rows, chars)


def _files(text: str, separator: str | None) -> list[str]:
    if separator is None or separator not in text:
        return [text]
    return text.split(separator)


def _rearranged_documents(decisions: Decisions, counts: Ints) -> Iterator[tuple[int, int]]:
    first_rows = np.cumsum(counts) - counts
    of_row = np.repeat(np.arange(len(counts)), counts)
    for document in np.unique(of_row[decisions.orders != _NONE]).tolist():
        yield document, int(first_rows[document])


def _rearrange(files: list[str], first_row: int, decisions: Decisions, fim: Fim) -> str:
    done = []
    for row, file in enumerate(files, first_row):
        order: Order = ORDERS[decisions.orders[row]]
        if order == "none":
            done.append(file)
            continue
        first, second = int(decisions.cuts.first[row]), int(decisions.cuts.second[row])
        parts = Parts(file[:first], file[first:second], file[second:])
        done.append(arrange(parts, order, fim.sentinels))
    return (fim.file_separator_token or "").join(done)
