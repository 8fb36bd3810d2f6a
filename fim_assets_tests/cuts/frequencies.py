"""Frequencies of cuts, compared with enumerated ones."""

from collections import Counter

from scipy.stats import chisquare

from fim_assets.cuts.base import Cuts
from fim_assets.draws import UInts, document_keys

MANY = 20_000

Pairs = Counter[tuple[int, int]]


def many_keys(seed: int = 1, count: int = MANY) -> UInts:
    return document_keys(seed, [str(n) for n in range(count)], ["x"] * count)


def pairs_of(cuts: Cuts) -> Pairs:
    return Counter(zip(cuts.first.tolist(), cuts.second.tolist(), strict=True))


def assert_follows(drawn: Pairs, asked: Pairs) -> None:
    assert set(drawn) == set(asked)
    pairs, count, total = sorted(asked), sum(drawn.values()), sum(asked.values())
    if len(pairs) > 1:
        expected = [asked[pair] / total * count for pair in pairs]
        assert chisquare([drawn[pair] for pair in pairs], expected).pvalue > 1e-6
