"""Distributions of lengths that add up over partitions."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from itertools import accumulate, chain
from math import floor
from typing import NamedTuple

import numpy as np
import polars as pl

from fim_assets.draws import Ints
from fim_assets.io.frozen_model import FrozenModel

EDGES = [0, 1, *chain.from_iterable((1 << k, 3 << (k - 1)) for k in range(1, 40))]
"""Lower edges of the histograms' bins: 0, 1, 2, 3, 4, 6, 8, 12, 16, … two a doubling."""

_QUANTILES = {"p50": 0.5, "p95": 0.95}


class Quantile(NamedTuple):
    """A quantile as far as a histogram tells: the least and the most that it can be.

    `about` is where it would be, were the values of its bin evenly spread.
    """

    low: int
    high: int
    about: int


class Histogram(FrozenModel):
    """How a length is distributed; histograms of partitions add up, except `p50` and `p95`.

    `bins` counts the values from a lower edge to below the next edge of `EDGES`; empty bins are
    left out. All but `count`, `sum` and `bins` is null without values.
    """

    count: int
    sum: int
    min: int | None
    max: int | None
    p50: int | None
    p95: int | None
    bins: dict[int, int]

    def quantile(self, percent: int) -> Quantile | None:
        """The least length that so many per cent of the values do not exceed; None without any."""
        if self.min is None or self.max is None:
            return None
        rank, ends = _rank(percent, self.count), [*accumulate(self.bins.values())]
        place = bisect_left(ends, rank)
        edge, count = [*self.bins.items()][place]
        low, high = max(edge, self.min), min(EDGES[EDGES.index(edge) + 1] - 1, self.max)
        share = (rank - ends[place] + count - 0.5) / count
        return Quantile(low, high, low + round((high - low) * share))

    @property
    def up_to(self) -> int | None:
        """A length that 95 % of the values do not exceed, None without values.

        It is `p95` where that does: it rounds down, and of three values is the second. Else it is
        the end of the bin.
        """
        if (quantile := self.quantile(95)) is None:
            return None
        short = _lower_rank(0.95, self.count) < _rank(95, self.count)
        return quantile.high if short or self.p95 is None else self.p95


def _rank(percent: int, count: int) -> int:
    """How many values are so many per cent of them at least."""
    return max(-(-percent * count // 100), 1)


def _lower_rank(share: float, count: int) -> int:
    """Which of the values, ascending from 1, is the quantile that receipts hold."""
    return floor(share * (count - 1)) + 1


class Lengths:
    """Whole numbers of at least 0, gathered batch by batch: memory holds each value once."""

    def __init__(self) -> None:
        self._values, self._counts = np.empty((2, 0), np.int64)

    def add(self, values: pl.Series) -> None:
        """Gather some more."""
        more = values.cast(pl.Int64).to_numpy()
        together = np.concatenate([self._values, more])
        counts = np.concatenate([self._counts, np.ones_like(more)])
        self._values, self._counts = _summed(together, counts)

    def histogram(self) -> Histogram:
        """Their distribution."""
        values, counts = self._values, self._counts
        if not len(values):
            return Histogram(count=0, sum=0, min=None, max=None, p50=None, p95=None, bins={})
        count, ends = int(counts.sum()), np.cumsum(counts)
        quantiles = {
            name: int(values[np.searchsorted(ends, _lower_rank(share, count))])
            for name, share in _QUANTILES.items()
        }
        edges, numbers = _summed(np.searchsorted(EDGES, values, side="right") - 1, counts)
        return Histogram(
            count=count,
            sum=int((values * counts).sum()),
            min=int(values[0]),
            max=int(values[-1]),
            bins={EDGES[edge]: n for edge, n in zip(edges, numbers.tolist(), strict=True)},
            **quantiles,
        )


def _summed(values: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """Values of at least 0, each once and ascending, with the sums of their counts."""
    order = np.argsort(values)
    values, counts = values[order], counts[order]
    firsts = np.flatnonzero(np.diff(values, prepend=-1))
    return values[firsts], np.add.reduceat(counts, firsts) if len(firsts) else counts


def histogram(values: pl.Series) -> Histogram:
    """The distribution of whole numbers of at least 0."""
    lengths = Lengths()
    lengths.add(values)
    return lengths.histogram()


def add_histograms(histograms: Iterable[Histogram]) -> Histogram:
    """The distribution over all partitions; quantiles are left out, since they do not add up."""
    summands = list(histograms)
    bins: Counter[int] = Counter()
    for summand in summands:
        bins.update(summand.bins)
    return Histogram(
        count=sum(summand.count for summand in summands),
        sum=sum(summand.sum for summand in summands),
        min=min((s.min for s in summands if s.min is not None), default=None),
        max=max((s.max for s in summands if s.max is not None), default=None),
        p50=None,
        p95=None,
        bins=dict(sorted(bins.items())),
    )
