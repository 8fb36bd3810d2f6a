"""Distributions of lengths that add up over partitions."""

from collections import Counter
from collections.abc import Iterable
from itertools import chain
from math import floor

import numpy as np
import polars as pl

from fim_assets.draws import Ints
from fim_assets.io.frozen_model import FrozenModel

EDGES = [0, 1, *chain.from_iterable((1 << k, 3 << (k - 1)) for k in range(1, 40))]
"""Lower edges of the histograms' bins: 0, 1, 2, 3, 4, 6, 8, 12, 16, … two a doubling."""

_QUANTILES = {"p50": 0.5, "p95": 0.95}


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
            name: int(values[np.searchsorted(ends, floor(share * (count - 1)), side="right")])
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
