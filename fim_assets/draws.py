"""Keyed randomness: every draw is a hash of what it is about, so that nothing else can change it.

A document's key is a 64-bit hash of its id and text under the partition's seed. A draw is a mix of
the key, the file's index in the document and the draw's name. There is no generator and no state:
blocks, workers, order, other documents, retries and machines cannot matter.
"""

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_intdigest

UInts = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class RandomStream(IntEnum):
    """What a draw decides; a number decides bytes and is never given to another draw."""

    SELECT = 0
    ORDER = 1
    FIRST_CUT = 2
    SECOND_CUT = 3
    SHUFFLE = 4
    GATE = 5
    SPLIT = 6
    FIRST_RANK = 7
    SECOND_RANK = 8
    NODE_OR_RUN = 9
    SYNTAX = 10
    POSITION = 11
    OTHER_POSITION = 12
    LEVEL = 13
    SAMPLE = 14


_DRAWS_PER_FILE = 1 << 8

_KEYS_AT_ONCE = 1 << 20


def document_keys(seed: int, ids: Sequence[str | None], texts: Sequence[str]) -> UInts:
    """Hash documents.

    Args:
        seed: The partition's seed, 64 bits.
        ids: Ids, None where a document has none: then the text alone is hashed.
        texts: Texts, without lone surrogates.

    Returns:
        One key a document, shape (n,). Exact duplicates, and no others, have equal keys.
    """
    keys = np.empty(len(texts), np.uint64)
    for row, (identifier, text) in enumerate(zip(ids, texts, strict=True)):
        key = xxh3_64_intdigest(text.encode(), seed)
        keys[row] = key if identifier is None else xxh3_64_intdigest(identifier.encode(), key)
    return keys


def draw_bits(keys: UInts, counters: Ints, draw: RandomStream) -> UInts:
    """Draw 64 bits each.

    Args:
        keys: Document keys, shape (n,).
        counters: Index of each file in its document, or of each duplicate among its kind, (n,).
        draw: What is decided.
    """
    steps = counters.astype(np.uint64) * np.uint64(_DRAWS_PER_FILE) + np.uint64(draw + 1)
    return mix(mix(keys) + steps * _GOLDEN)


def uniforms(keys: UInts, files: Ints, draw: RandomStream) -> Floats:
    """Draw numbers from [0, 1): multiples of 2**-53, arguments as in `draw_bits`."""
    return (draw_bits(keys, files, draw) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def shuffled(keys: UInts) -> Ints:
    """An order of documents that no other document can change, except where exact duplicates stand.

    Args:
        keys: Document keys, shape (n,).

    Returns:
        Indices of the documents in their new order, shape (n,).
    """
    copies = copies_before(keys)
    bits = np.empty(len(keys), np.uint64)
    for begin in range(0, len(keys), _KEYS_AT_ONCE):
        some = slice(begin, begin + _KEYS_AT_ONCE)
        bits[some] = draw_bits(keys[some], copies[some].astype(np.int64), RandomStream.SHUFFLE)
    del copies
    return np.argsort(bits, kind="stable")


def copies_before(keys: UInts) -> npt.NDArray[np.uint32]:
    """How many equal keys stand before each, shape (n,)."""
    order = np.argsort(keys, kind="stable").astype(np.uint32)
    ordered = keys[order]
    again = ordered[1:] == ordered[:-1]
    del ordered
    positions = np.arange(len(keys), dtype=np.uint32)
    firsts = positions.copy()
    firsts[1:][again] = 0
    np.maximum.accumulate(firsts, out=firsts)
    np.subtract(positions, firsts, out=positions)
    firsts[order] = positions
    return firsts


def integers(uniform: Floats, bounds: Ints) -> Ints:
    """Turn draws from [0, 1) into whole numbers from {0..bound-1}, bounds below 2**53."""
    return np.floor(uniform * bounds).astype(np.int64)


def mix(values: UInts) -> UInts:
    """A bijection of 64-bit numbers whose every output bit depends on every input bit.

    SplitMix64's finalizer (Steele, Lea, Flood 2014, variant 13 of Stafford), which wraps by design.
    """
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
