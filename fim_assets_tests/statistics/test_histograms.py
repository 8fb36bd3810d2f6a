"""Histograms by hand, and that they add up."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fim_assets.statistics.histograms import EDGES, Histogram, add_histograms, histogram


def test_edges_come_two_a_doubling() -> None:
    assert EDGES[:12] == [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48]
    assert sorted(set(EDGES)) == EDGES
    assert EDGES[-1] > 1 << 38


@pytest.mark.parametrize(
    ("value", "edge"),
    [
        *((0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 4), (6, 6), (7, 6), (8, 8), (11, 8)),
        *((12, 12), (15, 12), (16, 16), (23, 16), (24, 24), (1023, 768), (1024, 1024)),
        *((1535, 1024), (1536, 1536), (1 << 38, 1 << 38), (1 << 50, EDGES[-1])),
    ],
)
def test_a_bin_holds_the_values_from_its_edge_to_the_next(value: int, edge: int) -> None:
    assert histogram(pl.Series([value])).bins == {edge: 1}


def test_a_histogram_worked_out_by_hand() -> None:
    assert histogram(pl.Series([12, 0, 1, 5, 2, 11, 3, 8, 4, 6])) == Histogram(
        count=10,
        sum=52,
        min=0,
        max=12,
        p50=4,
        p95=11,
        bins={0: 1, 1: 1, 2: 1, 3: 1, 4: 2, 6: 1, 8: 2, 12: 1},
    )


@pytest.mark.parametrize(
    ("values", "p50", "p95"),
    [
        ([7], 7, 7),
        ([1, 9], 1, 1),
        ([1, 5, 9], 5, 5),
        ([4, 3, 2, 1], 2, 3),
        (list(range(1, 22)), 11, 20),
        (list(range(101)), 50, 95),
    ],
)
def test_quantiles_are_values_that_occur(values: list[int], p50: int, p95: int) -> None:
    result = histogram(pl.Series(values))
    assert (result.p50, result.p95) == (p50, p95)


NOTHING = Histogram(count=0, sum=0, min=None, max=None, p50=None, p95=None, bins={})


@pytest.mark.parametrize("dtype", [pl.Int64, pl.UInt32, pl.Null])
def test_the_histogram_of_nothing_is_empty(dtype: Any) -> None:
    assert histogram(pl.Series([], dtype=dtype)) == NOTHING


@pytest.mark.parametrize("dtype", [pl.Int8, pl.UInt8, pl.UInt32, pl.Int64])
def test_the_type_of_the_values_does_not_matter(dtype: Any) -> None:
    """A sum of small integers must not overflow."""
    result = histogram(pl.Series([100] * 50, dtype=dtype))
    assert (result.sum, result.bins) == (5000, {96: 50})


def test_adding_nothing_gives_nothing() -> None:
    assert add_histograms([]) == NOTHING
    assert add_histograms([NOTHING, NOTHING]) == NOTHING


def test_histograms_add_up_by_hand() -> None:
    first = histogram(pl.Series([3, 8]))
    second = histogram(pl.Series([9, 20, 0]))
    assert add_histograms([first, NOTHING, second]) == Histogram(
        count=5,
        sum=40,
        min=0,
        max=20,
        p50=None,
        p95=None,
        bins={0: 1, 3: 1, 8: 2, 16: 1},
    )


@settings(deadline=None)
@given(parts=st.lists(st.lists(st.integers(0, 10_000), max_size=20), max_size=5))
def test_the_sum_of_histograms_is_the_histogram_of_all(parts: list[list[int]]) -> None:
    whole = histogram(pl.Series([v for part in parts for v in part], dtype=pl.Int64))
    added = add_histograms(histogram(pl.Series(part, dtype=pl.Int64)) for part in parts)
    assert added == whole.model_copy(update={"p50": None, "p95": None})
    assert list(added.bins) == sorted(added.bins)
    assert sum(added.bins.values()) == added.count


@settings(deadline=None)
@given(st.lists(st.integers(0, 5_000), min_size=1, max_size=60))
def test_quantiles_are_between_their_bounds_and_none_rounds_down(values: list[int]) -> None:
    found = histogram(pl.Series(values))
    ordered = sorted(values)
    for percent in (50, 95):
        quantile = found.quantile(percent)
        exact = ordered[(percent * len(values) + 99) // 100 - 1]
        assert quantile is not None
        assert quantile.low <= min(exact, quantile.about)
        assert max(exact, quantile.about) <= quantile.high <= max(values)
    for known in (found, add_histograms([found])):
        assert known.up_to is not None
        assert 100 * sum(value <= known.up_to for value in values) >= 95 * len(values)


def test_quantiles_by_hand() -> None:
    few = histogram(pl.Series([1, 5, 9]))
    assert (few.p95, few.up_to) == (5, 9), "two of three values are no 95 %"
    # 8 to 11 hold the third to the sixth of ten values, of which the median is the fifth.
    many = histogram(pl.Series([1, 2, 8, 8, 9, 11, 20, 21, 22, 100]))
    assert many.quantile(50) == (8, 11, 10)
    assert histogram(pl.Series([7])).quantile(50) == (7, 7, 7)
    nothing = histogram(pl.Series([], dtype=pl.Int64))
    assert (nothing.quantile(50), nothing.up_to) == (None, None)
