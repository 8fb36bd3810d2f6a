"""Realised shares tested against the probabilities asked for."""

from collections.abc import Callable, Sequence
from math import log, sqrt
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.special import betainc

from fim_assets.io.frozen_model import FrozenModel


class Rate(FrozenModel):
    """A realised share and its test against the probability asked for, as `summary.json` holds it.

    `realised` is `hits` of `trials`, null without trials; the test accepts `low` to `high` hits.
    """

    asked: float
    realised: float | None
    hits: int
    trials: int
    low: int
    high: int
    within: bool

    @classmethod
    def of(cls, hits: int, trials: int, asked: float, low: int, high: int) -> Self:
        """The share of hits, accepted from `low` to `high`."""
        numbers = {"hits": hits, "trials": trials, "low": low, "high": high}
        realised = hits / trials if trials else None
        return cls(asked=asked, realised=realised, within=low <= hits <= high, **numbers)

    @property
    def accepted(self) -> tuple[float, float] | None:
        """The least and the largest share that the test accepts, None without trials."""
        return (self.low / self.trials, self.high / self.trials) if self.trials else None

    @property
    def can_fail(self) -> bool:
        """Whether there are enough trials for the test to refuse anything."""
        return self.low > 0 or self.high < self.trials

    @property
    def verdict(self) -> str:
        """What the test says, in the words of the function `verdict`."""
        return verdict(self)


def verdict(*tested: Rate) -> str:
    """What the tests of some rates say: `within`, `outside`, or `too few files` to say anything."""
    if not all(rate.within for rate in tested):
        return "outside"
    return "within" if any(rate.can_fail for rate in tested) else "too few files"


def binomial_rate(hits: int, trials: int, asked: float, error: float) -> Rate:
    """Test a share with the exact two-sided binomial test.

    The bounds are those of the hits k with P(X <= k) > error/2 and P(X >= k) > error/2, so that a
    true rate of `asked` is refused with a probability of `error` at most.
    """

    def at_most(k: int) -> float:
        return float(betainc(trials - k, k + 1, 1 - asked)) if k < trials else 1.0

    def more_than(k: int) -> float:
        return float(betainc(k + 1, trials - k, asked)) if k < trials else 0.0

    low = _first(trials, lambda k: at_most(k) > error / 2)
    high = _first(trials, lambda k: more_than(k) <= error / 2)
    return Rate.of(hits, trials, asked, low, high)


def sum_rates(rates: Sequence[Rate]) -> Rate:
    """Several rates as one: its bounds hold wherever theirs do."""
    trials = sum(rate.trials for rate in rates)
    return Rate.of(
        hits=sum(rate.hits for rate in rates),
        trials=trials,
        asked=sum(rate.asked * rate.trials for rate in rates) / trials if trials else 0.0,
        low=sum(rate.low for rate in rates),
        high=sum(rate.high for rate in rates),
    )


def _first(trials: int, holds: Callable[[int], bool]) -> int:
    low, high = 0, trials
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


def uniform_distance(values: npt.NDArray[np.float64]) -> float:
    """The largest distance of values' empirical distribution from the uniform one on [0, 1]."""
    step = 1 / len(values)
    above = np.arange(1, len(values) + 1, dtype=np.float64)
    above *= step
    above -= np.sort(values)
    return float(max(above.max(), step - above.min()))


def uniform_bound(count: int, error: float) -> float:
    """The largest distance that so many uniform values exceed with this probability at most."""
    return sqrt(log(2 / error) / (2 * count))
