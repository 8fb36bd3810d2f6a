"""Methods that depend on a file's length alone: where they cut, and the ranks of their cuts."""

from collections import Counter
from itertools import permutations, product

import numpy as np
import pytest
from scipy.stats import chisquare, kstest

from fim_assets.cuts.base import Cuts, Ranks
from fim_assets.cuts.dolma import dolma_cuts, dolma_ranks
from fim_assets.cuts.registry import CUTS
from fim_assets.cuts.uniform import uniform_cuts, uniform_ranks
from fim_assets.draws import Ints
from fim_assets_tests.cuts.frequencies import MANY, assert_follows, many_keys, pairs_of

CUTS_OF = {"dolma": dolma_cuts, "uniform": uniform_cuts}


def test_these_are_the_methods_with_ranks() -> None:
    assert CUTS.rank_functions() == {"dolma": dolma_ranks, "uniform": uniform_ranks}


def many_cuts(split: str, length: int) -> Counter[tuple[int, int]]:
    files = np.full(MANY, length % 3)
    return pairs_of(CUTS_OF[split](many_keys(), files, np.full(MANY, length)))


@pytest.mark.parametrize("length", [5, 6, 7, 8, 12, 40])
def test_dolma_follows_the_enumerated_distribution(length: int) -> None:
    """Two distinct positions from {0..L-4}, plus one, sorted: each unordered pair as likely."""
    pairs = permutations(range(length - 3), 2)
    asked = Counter((min(pair) + 1, max(pair) + 1) for pair in pairs)
    assert_follows(many_cuts("dolma", length), asked)


@pytest.mark.parametrize("length", [1, 2, 3, 5, 12, 40])
def test_uniform_follows_the_enumerated_distribution(length: int) -> None:
    """Two independent positions from {0..L}, sorted: different ones are twice as likely."""
    pairs = product(range(length + 1), repeat=2)
    asked = Counter((min(pair), max(pair)) for pair in pairs)
    assert_follows(many_cuts("uniform", length), asked)


def test_shortest_file_of_dolma_has_one_cut() -> None:
    """L = 5: positions 0 and 1, so always prefix 1, middle 1, suffix 3."""
    assert set(many_cuts("dolma", CUTS["dolma"].min_chars)) == {(1, 2)}


def test_mean_lengths_at_twenty() -> None:
    """L = 20. dolma: positions 0..16, so means 6, 6, 8. uniform: E min = 20 · 41/126 = 6.508."""
    for cut, means in ((dolma_cuts, (6, 6, 8)), (uniform_cuts, (6.508, 6.984, 6.508))):
        first, second = cut(many_keys(), np.zeros(MANY, np.int64), np.full(MANY, 20))
        found = first.mean(), (second - first).mean(), (20 - second).mean()
        assert found == pytest.approx(means, abs=0.08)


@pytest.mark.parametrize(("split", "smallest"), [("dolma", (1, 1, 3)), ("uniform", (0, 0, 0))])
def test_parts_reach_their_smallest_sizes_and_no_smaller(
    split: str, smallest: tuple[int, int, int]
) -> None:
    lengths = np.arange(MANY) % 300 + CUTS[split].min_chars
    first, second = CUTS_OF[split](many_keys(2), np.zeros(MANY, np.int64), lengths)
    assert (first.min(), (second - first).min(), (lengths - second).min()) == smallest


# Ranks

LENGTHS = {
    "tiny": np.arange(MANY) % 4,
    "short": np.arange(MANY) % 300,
    "long": 10 ** (np.arange(MANY) % 7) + np.arange(MANY) % 97,
}
"""Code points beyond the shortest file's."""


def ranks_of(cut: str, asked: str, lengths: Ints, seed: int = 1) -> Ranks:
    keys, files = many_keys(seed, len(lengths)), np.arange(len(lengths)) % 3
    return CUTS.rank_functions()[asked](keys, files, lengths, CUTS_OF[cut](keys, files, lengths))


@pytest.mark.parametrize("split", ["dolma", "uniform"])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_ranks_are_uniform_and_independent_under_their_distribution(
    split: str, lengths: Ints
) -> None:
    first, second = ranks_of(split, split, lengths + CUTS[split].min_chars)
    for rank in (first, second):
        assert rank.min() >= 0
        assert rank.max() <= 1
        assert kstest(rank, "uniform").pvalue > 1e-6
    cells = np.histogram2d(first, second, bins=10, range=[[0, 1], [0, 1]])[0]
    assert chisquare(cells.ravel()).pvalue > 1e-6


@pytest.mark.parametrize("split", ["dolma", "uniform"])
@pytest.mark.parametrize("length", [0, 1, 2, 9])
def test_ranks_are_uniform_at_each_length(split: str, length: int) -> None:
    first, second = ranks_of(
        split, split, np.full(MANY, length + CUTS[split].min_chars), seed=length
    )
    assert kstest(first, "uniform").pvalue > 1e-6
    assert kstest(second, "uniform").pvalue > 1e-6


def test_ranks_by_hand() -> None:
    """The first cut's rank lies in its step of the distribution, the second's in that given it."""
    keys, files = many_keys(4, 1000), np.zeros(1000, np.int64)
    lengths = np.full(1000, 6)
    # dolma at L = 6: (1, 2), (1, 3), (2, 3) with 1/3 each.
    ranks = dolma_ranks(keys, files, lengths, Cuts(files + 1, files + 3))
    assert (ranks.first.min(), ranks.first.max()) == pytest.approx((0, 2 / 3), abs=0.01)
    assert (ranks.second.min(), ranks.second.max()) == pytest.approx((1 / 2, 1), abs=0.01)
    # uniform at L = 1: (0, 0) 1/4, (0, 1) 1/2, (1, 1) 1/4.
    ranks = uniform_ranks(keys, files, files + 1, Cuts(files, files + 1))
    assert (ranks.first.min(), ranks.first.max()) == pytest.approx((0, 3 / 4), abs=0.01)
    assert (ranks.second.min(), ranks.second.max()) == pytest.approx((1 / 3, 1), abs=0.01)


@pytest.mark.parametrize(("cut", "asked"), [("dolma", "uniform"), ("uniform", "dolma")])
def test_ranks_are_far_from_uniform_under_the_other_distribution(cut: str, asked: str) -> None:
    lengths = np.arange(MANY) % 30 + 5
    assert max(kstest(rank, "uniform").statistic for rank in ranks_of(cut, asked, lengths)) > 0.02


@pytest.mark.parametrize("split", ["dolma", "uniform"])
def test_ranks_show_a_small_fault(split: str) -> None:
    """One file in twenty whose middle starts at its first possible position."""
    lengths = np.full(MANY, 50)
    keys, files = many_keys(), np.zeros(MANY, np.int64)
    cuts = CUTS_OF[split](keys, files, lengths)
    cuts.first[::20] = split == "dolma"
    ranks = CUTS.rank_functions()[split](keys, files, lengths, cuts)
    assert kstest(ranks.first, "uniform").pvalue < 1e-9


def test_a_cut_that_dolma_cannot_give_lies_outside() -> None:
    one, length = np.ones(1, np.int64), np.full(1, 20)
    keys = many_keys(1, 1)
    for first, second in ((0, 5), (3, 3), (3, 18), (18, 19)):
        ranks = dolma_ranks(keys, one * 0, length, Cuts(one * first, one * second))
        assert not all(0 <= rank[0] <= 1 for rank in ranks), (first, second)
