"""Bounds are those of the exact test, by hand and against SciPy's distributions."""

from math import sqrt

import numpy as np
import pytest
from scipy.stats import binom

from fim_assets.statistics.rates import (
    Rate,
    binomial_rate,
    deviation,
    sum_rates,
    uniform_bound,
    uniform_distance,
    verdict,
)


@pytest.mark.parametrize("error", [0.05, 1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize(
    ("trials", "asked"),
    [
        *((0, 0.5), (1, 0.5), (2, 0.1), (10, 0.5), (30, 0.25), (100, 0.01), (100, 0.99)),
        *((1000, 0.5), (5000, 0.9), (100_000, 0.5), (3_000_000, 0.3), (400_000_000, 0.5)),
        *((0, 0.0), (0, 1.0), (50, 0.0), (50, 1.0)),
    ],
)
def test_bounds_are_those_of_the_exact_binomial_test(
    trials: int, asked: float, error: float
) -> None:
    rate = binomial_rate(0, trials, asked, error)
    law = binom(trials, asked)
    assert law.cdf(rate.low) > error / 2
    assert rate.low == 0 or law.cdf(rate.low - 1) <= error / 2
    assert law.sf(rate.high - 1) > error / 2
    assert rate.high == trials or law.sf(rate.high) <= error / 2
    outside = (law.cdf(rate.low - 1) if rate.low else 0) + law.sf(rate.high)
    assert outside <= error
    assert (rate.hits, rate.trials, rate.asked) == (0, trials, asked)


def test_bounds_worked_out_by_hand() -> None:
    """Ten fair coins: P(X<=1) = 11/1024 = 0.0107, P(X<=2) = 56/1024 = 0.0547; 0.025 between."""
    assert [k for k in range(11) if binomial_rate(k, 10, 0.5, 0.05).within] == list(range(2, 9))


@pytest.mark.parametrize(
    ("asked", "allowed"), [(0.0, [0]), (1.0, [7]), (0.5, [0, 1, 2, 3, 4, 5, 6, 7])]
)
def test_certain_rates_allow_no_exception(asked: float, allowed: list[int]) -> None:
    assert [k for k in range(8) if binomial_rate(k, 7, asked, 1e-6).within] == allowed


def test_no_trial_has_no_rate_and_is_accepted() -> None:
    for asked in (0.0, 0.5, 1.0):
        rate = binomial_rate(0, 0, asked, 1e-6)
        assert (rate.low, rate.high, rate.realised, rate.within) == (0, 0, None, True)


def test_a_share_is_hits_by_trials() -> None:
    assert binomial_rate(3, 8, 0.5, 1e-6).realised == 0.375


@pytest.mark.parametrize(("hits", "within"), [(1, False), (2, True), (4, True), (5, False)])
def test_both_bounds_belong_to_the_accepted(hits: int, within: bool) -> None:
    assert Rate.of(hits, 9, 0.3, low=2, high=4).within is within


def test_uniform_distance_by_hand() -> None:
    """The empirical distribution of 0.2 and 0.4 is 1 from 0.4 on, where the uniform one has 0.4."""
    assert uniform_distance(np.array([0.4, 0.2])) == pytest.approx(0.6)
    assert uniform_distance(np.array([0.9])) == pytest.approx(0.9)
    assert uniform_distance((np.arange(1000) + 0.5) / 1000) == pytest.approx(0.0005)


def test_uniform_values_stay_within_their_bound() -> None:
    """With n = 200: sqrt(ln(2 / 0.01) / 400) = 0.1151, which 99 of 100 samples keep."""
    assert uniform_bound(200, 0.01) == pytest.approx(0.1151, abs=1e-4)
    samples = np.random.default_rng(1).random((2000, 200))
    beyond = sum(uniform_distance(sample) > uniform_bound(200, 0.01) for sample in samples)
    assert 0 < beyond <= 2000 * 0.01 + 15


def test_a_deviation_is_in_standard_deviations_of_the_hits() -> None:
    """104 of 233 at 0.5: 12.5 fewer than 116.5, whose standard deviation is sqrt(233) / 2 = 7.632.

    1 of 2 at 0.5 and 4 of 6 at 0.9 are together 1.4 fewer, with a variance of 0.5 + 0.54.
    """
    assert deviation(binomial_rate(104, 233, 0.5, 1e-9)) == pytest.approx(-1.638, abs=1e-3)
    together = deviation(binomial_rate(1, 2, 0.5, 1e-9), binomial_rate(4, 6, 0.9, 1e-9))
    assert together == pytest.approx(-1.4 / sqrt(1.04))
    assert [deviation(binomial_rate(0, n, 0.0, 1e-9)) for n in (0, 5)] == [None, None]
    assert deviation() is None


def test_sums_of_rates_by_hand() -> None:
    total = sum_rates([Rate.of(1, 2, 0.5, 0, 2), Rate.of(6, 6, 1.0, 6, 6)])
    assert total == Rate.of(hits=7, trials=8, asked=0.875, low=6, high=8)
    assert sum_rates([]).realised is None


def test_a_test_can_fail_where_its_bounds_leave_something_out() -> None:
    assert not binomial_rate(3, 20, 0.5, 1e-9).can_fail
    assert binomial_rate(20, 40, 0.5, 1e-9).can_fail
    assert binomial_rate(0, 1, 0.0, 1e-9).can_fail
    assert not binomial_rate(0, 0, 0.5, 1e-9).can_fail


def test_a_verdict_is_outside_if_any_rate_is_and_within_if_any_could_be_outside() -> None:
    few = binomial_rate(3, 20, 0.5, 1e-9)
    inside, outside = (binomial_rate(hits, 40, 0.5, 1e-9) for hits in (20, 0))
    assert [verdict(rate) for rate in (few, inside, outside)] == [
        "too few files",
        "within",
        "outside",
    ]
    assert verdict(few, inside) == "within"
    assert verdict(few, inside, outside) == "outside"


@pytest.mark.parametrize("trials", [(1 << 31) - 1, 1 << 31, 1 << 36])
def test_rates_hold_for_whole_corpora(trials: int) -> None:
    """At a true rate, half the trials lie in the middle of about 2 * 6.2 standard deviations."""
    rate = binomial_rate(trials // 2, trials, 0.5, 5e-10)
    assert rate.within
    deviations = (rate.high - rate.low) / (trials**0.5 / 2)
    assert deviations == pytest.approx(2 * 6.2, abs=0.1)
