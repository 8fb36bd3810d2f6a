"""Distributions of lengths that add up over partitions."""

from collections import Counter
from collections.abc import Iterable
from itertools import chain
from math import floor

import polars as pl

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
        self._counts = pl.DataFrame(schema={"value": pl.Int64, "n": pl.Int64})

    def add(self, values: pl.Series) -> None:
        """Gather some more."""
        batch = pl.DataFrame({"value": values.cast(pl.Int64)})
        more = batch.group_by("value").agg(n=pl.len().cast(pl.Int64))
        together = pl.concat([self._counts, more])
        self._counts = together.group_by("value").agg(pl.col("n").sum())

    def histogram(self) -> Histogram:
        """Their distribution."""
        if self._counts.is_empty():
            return Histogram(count=0, sum=0, min=None, max=None, p50=None, p95=None, bins={})
        counts = self._counts.sort("value")
        values, numbers = counts["value"], counts["n"]
        count, ends = int(numbers.sum()), numbers.cum_sum()
        quantiles = {
            name: int(values[int(ends.search_sorted(floor(share * (count - 1)), side="right"))])
            for name, share in _QUANTILES.items()
        }
        edges = pl.Series(EDGES).search_sorted(values, side="right") - 1
        bins = counts.group_by(edge=edges).agg(pl.col("n").sum())
        return Histogram(
            count=count,
            sum=int((values * numbers).sum()),
            min=int(values[0]),
            max=int(values[-1]),
            bins={EDGES[edge]: n for edge, n in bins.sort("edge").iter_rows()},
            **quantiles,
        )


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
