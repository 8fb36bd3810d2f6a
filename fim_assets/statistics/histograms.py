"""Distributions of lengths that add up over partitions."""

from collections.abc import Iterable
from itertools import chain
from math import floor

import polars as pl

from fim_assets.io.frozen_model import FrozenModel

EDGES = [0, 1, *chain.from_iterable((1 << k, 3 << (k - 1)) for k in range(1, 40))]
"""Lower edges of the histograms' bins: 0, 1, 2, 3, 4, 6, 8, 12, 16, … two a doubling."""

_QUANTILES = {"p50": 0.5, "p95": 0.95}


class Histogram(FrozenModel):
    """How a length is distributed; histograms of partitions add up.

    Attributes:
        count: Number of values.
        sum: Their sum.
        min: Smallest value, null without values.
        max: Largest value, null without values.
        p50: Median of this partition, null without values.
        p95: 95th percentile of this partition, null without values.
        bins: Values at or above this bin's lower edge and below the next edge of `EDGES`;
            empty bins are left out.
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
        if self._counts.is_empty():
            self._counts = more
            return
        together = pl.concat([self._counts, more])
        self._counts = together.group_by("value").agg(pl.col("n").sum())

    def histogram(self) -> Histogram:
        """Their distribution."""
        if self._counts.is_empty():
            return Histogram(count=0, sum=0, min=None, max=None, p50=None, p95=None, bins={})
        counts = self._counts.sort("value")
        values, numbers = counts["value"], counts["n"]
        count, ends = int(numbers.sum()), numbers.cum_sum()
        places = {name: floor(share * (count - 1)) for name, share in _QUANTILES.items()}
        found = {
            name: int(values[int(ends.search_sorted(place, side="right"))])
            for name, place in places.items()
        }
        bins = counts.group_by(edge=pl.Series(EDGES).search_sorted(values, side="right") - 1).agg(
            pl.col("n").sum()
        )
        return Histogram(
            count=count,
            sum=int((values * numbers).sum()),
            min=int(values[0]),
            max=int(values[-1]),
            bins={EDGES[edge]: n for edge, n in bins.sort("edge").iter_rows()},
            **found,
        )


def histogram(values: pl.Series) -> Histogram:
    """The distribution of whole numbers of at least 0."""
    lengths = Lengths()
    lengths.add(values)
    return lengths.histogram()


def add_histograms(histograms: Iterable[Histogram]) -> Histogram:
    """The distribution over all partitions; quantiles are left out, since they do not add up."""
    count = total = 0
    low: int | None = None
    high: int | None = None
    bins: dict[int, int] = {}
    for one in histograms:
        count += one.count
        total += one.sum
        if one.min is not None and one.max is not None:
            low = one.min if low is None else min(low, one.min)
            high = one.max if high is None else max(high, one.max)
        for edge, n in one.bins.items():
            bins[edge] = bins.get(edge, 0) + n
    return Histogram(
        count=count,
        sum=total,
        min=low,
        max=high,
        p50=None,
        p95=None,
        bins=dict(sorted(bins.items())),
    )
