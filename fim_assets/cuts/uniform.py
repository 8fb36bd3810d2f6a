"""The cut method `uniform`: as OpenAI (arXiv 2207.14255) and BigCode cut."""

from typing import TYPE_CHECKING

from fim_assets.cuts.base import Cut, Cuts, Ranks, cut_by_length
from fim_assets.cuts.bounded import BoundedLaw

if TYPE_CHECKING:
    from fim_assets.draws import Ints, UInts


def uniform_cuts(keys: "UInts", files: "Ints", lengths: "Ints") -> Cuts:
    """Draw two independent positions uniformly from {0..L} and sort them: parts may be empty."""
    import numpy as np

    from fim_assets.draws import RandomStream, integers, uniforms

    streams = RandomStream.FIRST_CUT, RandomStream.SECOND_CUT
    pairs = [integers(uniforms(keys, files, stream), lengths + 1) for stream in streams]
    return Cuts(*np.sort(pairs, axis=0))


def uniform_ranks(keys: "UInts", files: "Ints", lengths: "Ints", cuts: Cuts) -> Ranks:
    """The randomised probability integral transform, see `dolma.dolma_ranks`."""
    import numpy as np

    from fim_assets.draws import RandomStream, uniforms

    # With n = L + 1 positions, low <= high:
    #   P(low >= x) = ((n - x) / n)²; of the 2 (n - low) - 1 pairs with this low, one has high = low
    #   and each higher position has two.
    # L = 1, so n = 2: (0, 0), (0, 1), (1, 1) with 1/4, 1/2, 1/4. low = 0 has 3/4, and its rank is
    # drawn from [0, 3/4). Given low = 0, high = 0 has [0, 1/3) and high = 1 has [1/3, 1).
    size = (lengths + 1).astype(np.float64)
    low, high = (cut.astype(np.float64) for cut in cuts)
    at_least = ((size - low) / size) ** 2
    above = ((size - low - 1) / size) ** 2
    here = 2 * (size - low) - 1
    below = np.where(high > low, 2 * (high - low) - 1, 0.0)
    v = uniforms(keys, files, RandomStream.SECOND_RANK)
    second = (below + v * np.where(high > low, 2.0, 1.0)) / here
    v = uniforms(keys, files, RandomStream.FIRST_RANK)
    return Ranks((1 - at_least) + v * (at_least - above), second)


_BOUNDED = BoundedLaw(prefix=0, middle=0, suffix=0)

CUT = Cut(
    name="uniform",
    text="two independent positions, ends included",
    cut=_BOUNDED.or_without(cut_by_length(uniform_cuts)),
    ranks=uniform_ranks,
    bounded=_BOUNDED,
    fields=("max_middle",),
)
