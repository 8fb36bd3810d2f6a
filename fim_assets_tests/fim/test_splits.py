from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from scipy.stats import chisquare

from fim_assets.fim.draws import document_keys
from fim_assets.fim.splits import DOLMA_MIN_CHARS, dolma_cuts

MANY = 100_000


def many_cuts(length: int) -> list[tuple[int, int]]:
    keys = document_keys(1, [str(n) for n in range(MANY)], ["x"] * MANY)
    cuts = dolma_cuts(keys, np.zeros(MANY, np.int64), np.full(MANY, length))
    return list(zip(cuts.first.tolist(), cuts.second.tolist(), strict=True))


@pytest.mark.parametrize("length", [5, 6, 7, 8, 12])
def test_cuts_follow_the_enumerated_law(length: int) -> None:
    """Two distinct positions from {0..L-4}, plus one, sorted: each unordered pair as likely."""
    positions = range(length - 3)
    law = Counter((min(pair) + 1, max(pair) + 1) for pair in permutations(positions, 2))
    total = sum(law.values())
    drawn = Counter(many_cuts(length))
    assert set(drawn) == set(law)
    pairs = sorted(law)
    expected = [law[pair] / total * MANY for pair in pairs]
    if len(pairs) > 1:
        assert chisquare([drawn[pair] for pair in pairs], expected).pvalue > 1e-6


def test_shortest_file_has_one_cut() -> None:
    """L = 5: positions 0 and 1, so always prefix 1, middle 1, suffix 3."""
    assert set(many_cuts(DOLMA_MIN_CHARS)) == {(1, 2)}


def test_mean_lengths_at_twenty() -> None:
    """L = 20: means 6, 6 and 8 (positions 0..16: sorted pairs have means 5 1/3 - 1/3 and so on)."""
    cuts = np.array(many_cuts(20))
    means = cuts[:, 0].mean(), (cuts[:, 1] - cuts[:, 0]).mean(), (20 - cuts[:, 1]).mean()
    assert means == pytest.approx((6, 6, 8), abs=0.08)


def test_parts_have_at_least_one_one_and_three_characters() -> None:
    keys = document_keys(2, [str(n) for n in range(MANY)], ["x"] * MANY)
    lengths = np.arange(MANY) % 1000 + DOLMA_MIN_CHARS
    first, second = dolma_cuts(keys, np.zeros(MANY, np.int64), lengths)
    assert first.min() >= 1
    assert (second - first).min() >= 1
    assert (lengths - second).min() >= 3
