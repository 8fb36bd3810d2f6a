"""Keyed random numbers: each is a hash of what it decides, so that nothing else can change it.

A document's key is a 64-bit hash of its id and text under the partition's seed. A random number is
a mix of the key, the file's index in the document and the stream. There is no generator and no
state: blocks, workers, order, other documents, retries and machines cannot matter.

What is decided with these numbers is not known here.

For example: under seed 1, the document with the id "a" and the text "x" has the key
0x0556a54b48ccdedb. For its file 2 and the stream SPLIT (6), the step is 2 * 256 + 6 + 1 = 519. The
64 bits are mix(mix(key) + 519 * 0x9E3779B97F4A7C15) modulo 2**64 = 0xe4c54a6ed76322be; the upper 53
of them, divided by 2**53, are the uniform number 0.8936....
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
    """What a random number decides; a member's number fixes bytes and is never given to another."""

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
    PIECE = 15
    NAMES = 16


_STREAMS_PER_FILE = 1 << 8

_KEYS_AT_ONCE = 1 << 20


def document_keys(seed: int, ids: Sequence[str | None], texts: Sequence[str]) -> UInts:
    """Hash documents: a key each, shape (n,), equal for exact duplicates and no others.

    Args:
        seed: The partition's seed, 64 bits.
        ids: None where a document has none: then the text alone is hashed.
        texts: Without lone surrogates.
    """
    keys = np.empty(len(texts), np.uint64)
    for row, (identifier, text) in enumerate(zip(ids, texts, strict=True)):
        key = xxh3_64_intdigest(text.encode(), seed)
        keys[row] = key if identifier is None else xxh3_64_intdigest(identifier.encode(), key)
    return keys


def named_seed(seed: int, name: str) -> int:
    """A seed for what is drawn about something that has a name, 64 bits."""
    return xxh3_64_intdigest(name.encode(), seed)


def draw_bits(keys: UInts, counters: Ints, stream: RandomStream) -> UInts:
    """64 random bits for each document key, shape (n,).

    `counters` are indices of files in their documents, or of copies among their duplicates, (n,).
    """
    steps = counters.astype(np.uint64) * np.uint64(_STREAMS_PER_FILE) + np.uint64(stream + 1)
    return mix(mix(keys) + steps * _GOLDEN)


def uniforms(keys: UInts, files: Ints, stream: RandomStream) -> Floats:
    """Uniform numbers from [0, 1): multiples of 2**-53, arguments as in `draw_bits`."""
    return (draw_bits(keys, files, stream) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def piece_keys(keys: UInts, pieces: Ints) -> UInts:
    """Keys of pieces of documents, shape (n,): by their documents' keys and their numbers."""
    return draw_bits(keys, pieces, RandomStream.PIECE)


def shuffled(keys: UInts) -> Ints:
    """Indices of n documents in a random order; of two, no other document can change the first.

    Exact duplicates have equal keys, and are told apart by how many copies come before.
    """
    copies = copies_before(keys)
    bits = np.empty(len(keys), np.uint64)
    for begin in range(0, len(keys), _KEYS_AT_ONCE):
        part = slice(begin, begin + _KEYS_AT_ONCE)
        bits[part] = draw_bits(keys[part], copies[part].astype(np.int64), RandomStream.SHUFFLE)
    del copies
    return np.argsort(bits, kind="stable")


def copies_before(keys: UInts) -> npt.NDArray[np.uint32]:
    """How many equal keys come before each, shape (n,): of the keys 7 5 7 7 they are 0 0 1 2."""
    # Sorted, equal keys are a run: 5 7 7 7. A copy's number is its index less that of its run's
    # first, 0 1 1 1; then back to the order of the keys.
    order = np.argsort(keys, kind="stable").astype(np.uint32)
    ordered = keys[order]
    again = ordered[1:] == ordered[:-1]
    del ordered
    indices = np.arange(len(keys), dtype=np.uint32)
    firsts = indices.copy()
    firsts[1:][again] = 0
    np.maximum.accumulate(firsts, out=firsts)
    np.subtract(indices, firsts, out=indices)
    firsts[order] = indices
    return firsts


def integers(uniform: Floats, bounds: Ints) -> Ints:
    """Turn numbers from [0, 1) into whole numbers from {0..bound-1}, bounds below 2**53."""
    return np.floor(uniform * bounds).astype(np.int64)


def mix(values: UInts) -> UInts:
    """A bijection of 64-bit numbers whose every output bit depends on every input bit.

    SplitMix64's finalizer (Steele, Lea, Flood 2014, variant 13 of Stafford), which wraps by design.
    """
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
