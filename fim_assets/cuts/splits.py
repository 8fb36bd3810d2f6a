"""Where to cut: from lengths and draws to the middle's first and last position, and back.

`dolma` and `uniform` depend on a file's length alone, `lines` on its line feeds; `syntax` has a
module of its own.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fim_assets.draws import Floats, Ints, RandomStream, UInts, integers, uniforms
from fim_assets.recipe.fim import CharacterSplit, Fim, Split

MIN_CHARS: dict[Split, int] = {"dolma": 5, "uniform": 1, "lines": 1, "syntax": 1}
"""Code points of the shortest file that a law cuts."""


def min_chars(fim: Fim) -> int:
    """Code points of the shortest file that every law cuts which a recipe may use."""
    laws: set[Split] = {*fim.weights}
    if laws & {"lines", "syntax"}:
        laws.add(fim.split_fallback)
    return max(MIN_CHARS[law] for law in laws)


_LINE_FEED = ord("\n")


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
        lengths: L, code points of each file, at least 5, shape (n,).
    """
    first, second = _distinct_pairs(keys, files, lengths - 3)
    return Cuts(first + 1, second + 1)


def uniform_cuts(keys: UInts, files: Ints, lengths: Ints) -> Cuts:
    """Cut as OpenAI (arXiv 2207.14255) and BigCode do.

    Two independent positions are drawn uniformly from {0..L} and sorted: parts may be empty.

    Args:
        keys: Document keys, shape (n,).
        files: Index of each file in its document, shape (n,).
        lengths: L, code points of each file, shape (n,).
    """
    one = integers(uniforms(keys, files, RandomStream.FIRST_CUT), lengths + 1)
    other = integers(uniforms(keys, files, RandomStream.SECOND_CUT), lengths + 1)
    return Cuts(np.minimum(one, other), np.maximum(one, other))


def character_cuts(split: CharacterSplit, keys: UInts, files: Ints, lengths: Ints) -> Cuts:
    """Cut by a law that depends on the length alone, see `dolma_cuts` and `uniform_cuts`."""
    cut = dolma_cuts if split == "dolma" else uniform_cuts
    return cut(keys, files, lengths)


def line_starts(text: str) -> Ints:
    """Where lines start, in code points: at 0 and behind each line feed, shape (lines,)."""
    if text.isascii():
        feeds = np.flatnonzero(np.frombuffer(text.encode(), np.uint8) == _LINE_FEED)
    else:
        feeds = np.flatnonzero(np.frombuffer(text.encode("utf-32-le"), "<u4") == _LINE_FEED)
    return np.append(0, feeds + 1)


def line_cuts(keys: UInts, files: Ints, starts: Sequence[Ints]) -> Cuts:
    """Cut at line starts, so that the middle is one or more whole lines.

    Two distinct line starts are drawn uniformly and sorted.

    Args:
        keys: Document keys, shape (n,).
        files: Index of each file in its document, shape (n,).
        starts: Line starts of each file, at least two, see `line_starts`.
    """
    pairs = _distinct_pairs(keys, files, np.fromiter(map(len, starts), np.int64, len(starts)))
    cuts = (
        np.array([s[place] for s, place in zip(starts, places.tolist(), strict=True)], np.int64)
        for places in pairs
    )
    return Cuts(*cuts)


def code_points(data: bytes, end: int) -> int:
    """Code points in the first bytes of a text in UTF-8."""
    return end if data.isascii() else len(data[:end].decode())


def _distinct_pairs(keys: UInts, files: Ints, bounds: Ints) -> tuple[Ints, Ints]:
    """Two distinct numbers from {0..bound-1} each, sorted: all unordered pairs as likely."""
    one = integers(uniforms(keys, files, RandomStream.FIRST_CUT), bounds)
    other = integers(uniforms(keys, files, RandomStream.SECOND_CUT), bounds - 1)
    other += other >= one
    return np.minimum(one, other), np.maximum(one, other)


class Ranks(NamedTuple):
    """Where cuts stand in their laws: uniform on [0, 1) and independent if the laws hold.

    Attributes:
        first: Of the first cut, given the length, shape (n,).
        second: Of the second cut, given the length and the first, shape (n,).
    """

    first: Floats
    second: Floats


def character_ranks(
    split: CharacterSplit, keys: UInts, files: Ints, lengths: Ints, cuts: Cuts
) -> Ranks:
    """The randomised probability integral transform of cuts: F(x-) + v P(x), v a keyed draw.

    Args:
        split: The law to hold them against.
        keys: Document keys, shape (n,).
        files: Index of each file in its document, shape (n,).
        lengths: Code points of each file, shape (n,).
        cuts: Where they are cut.

    Returns:
        Ranks; not in [0, 1] for a cut that the law cannot give.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return _ranks(split, keys, files, lengths, cuts)


def _ranks(split: CharacterSplit, keys: UInts, files: Ints, lengths: Ints, cuts: Cuts) -> Ranks:
    v_first = uniforms(keys, files, RandomStream.FIRST_RANK)
    v_second = uniforms(keys, files, RandomStream.SECOND_RANK)
    size = (lengths - 3 if split == "dolma" else lengths + 1).astype(np.float64)
    low, high = (cut.astype(np.float64) - (split == "dolma") for cut in cuts)
    if split == "dolma":
        # P(low >= x) = C(size - x, 2) / C(size, 2); then high is uniform above low.
        pairs = size * (size - 1)
        at_least = (size - low) * (size - low - 1) / pairs
        above = (size - low - 1) * (size - low - 2) / pairs
        second = (high - low - 1 + v_second) / (size - low - 1)
    else:
        # P(low >= x) = ((size - x) / size)²; then high is low once, or above it twice each.
        at_least = ((size - low) / size) ** 2
        above = ((size - low - 1) / size) ** 2
        here = 2 * (size - low) - 1
        below = np.where(high > low, 2 * (high - low) - 1, 0.0)
        second = (below + v_second * np.where(high > low, 2.0, 1.0)) / here
    return Ranks((1 - at_least) + v_first * (at_least - above), second)
