"""The cut method `dolma`: as Dolma's fill-in-middle tool cuts."""

from typing import TYPE_CHECKING

from fim_assets.cuts.base import Cut, Cuts, Ranks, cut_by_length, distinct_pairs
from fim_assets.cuts.bounded import BoundedLaw

if TYPE_CHECKING:
    from fim_assets.draws import Ints, UInts


def dolma_cuts(keys: "UInts", files: "Ints", lengths: "Ints") -> Cuts:
    """Draw two distinct positions uniformly from {0..L-4}, each plus one, and sort them.

    L is a file's length, at least 5; the parts have at least 1, 1 and 3 code points.
    """
    first, second = distinct_pairs(keys, files, lengths - 3)
    return Cuts(first + 1, second + 1)


def dolma_ranks(keys: "UInts", files: "Ints", lengths: "Ints", cuts: Cuts) -> Ranks:
    """The randomised probability integral transform, P(X < x) + v P(X = x), v a keyed draw.

    Where x has the distribution of X, such a rank is uniform, though X takes few values.
    """
    import numpy as np

    from fim_assets.draws import RandomStream, uniforms

    # With n = L - 3 positions from 0 on, low < high:
    #   P(low >= x) = C(n - x, 2) / C(n, 2), and high is uniform above low.
    # L = 6, so n = 3: (0, 1), (0, 2), (1, 2) with 1/3 each. low = 0 has 2/3, and its rank is drawn
    # from [0, 2/3); low = 1 has the rest, [2/3, 1). Given low = 0, high = 2 has [1/2, 1).
    size = (lengths - 3).astype(np.float64)
    low, high = (cut.astype(np.float64) - 1 for cut in cuts)
    # A cut that dolma cannot give may divide by 0; what comes of it is not in [0, 1].
    with np.errstate(divide="ignore", invalid="ignore"):
        pairs = size * (size - 1)
        at_least = (size - low) * (size - low - 1) / pairs
        above = (size - low - 1) * (size - low - 2) / pairs
        v = uniforms(keys, files, RandomStream.SECOND_RANK)
        second = (high - low - 1 + v) / (size - low - 1)
    v = uniforms(keys, files, RandomStream.FIRST_RANK)
    return Ranks((1 - at_least) + v * (at_least - above), second)


_BOUNDED = BoundedLaw(prefix=1, middle=1, suffix=3)

CUT = Cut(
    name="dolma",
    text="two distinct positions",
    cut=_BOUNDED.or_without(cut_by_length(dolma_cuts)),
    min_chars=5,
    ranks=dolma_ranks,
    bounded=_BOUNDED,
    fields=("max_middle",),
)
