"""Where to cut: from lengths and draws to the middle's first and last position."""

from typing import NamedTuple

import numpy as np

from fim_assets.fim.draws import Draw, Ints, UInts, integers, uniforms

DOLMA_MIN_CHARS = 5


class Cuts(NamedTuple):
    """Cuts of n files: prefix = [:first], middle = [first:second], suffix = [second:].

    Attributes:
        first: Code points before the middle, shape (n,).
        second: Code points before the suffix, shape (n,).
    """

    first: Ints
    second: Ints


def dolma_cuts(keys: UInts, files: Ints, lengths: Ints) -> Cuts:
    """Cut as Dolma's fill-in-middle tool does.

    Two distinct positions are drawn uniformly from {0..L-4}, each plus one, and sorted: the parts
    have at least 1, 1 and 3 code points.

    Args:
        keys: Document keys, shape (n,).
        files: Index of each file in its document, shape (n,).
        lengths: L, code points of each file, at least `DOLMA_MIN_CHARS`, shape (n,).
    """
    positions = lengths - 3
    one = integers(uniforms(keys, files, Draw.FIRST_CUT), positions)
    other = integers(uniforms(keys, files, Draw.SECOND_CUT), positions - 1)
    other += other >= one
    return Cuts(np.minimum(one, other) + 1, np.maximum(one, other) + 1)
