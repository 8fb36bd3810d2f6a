"""Realised shares tested against the probabilities asked for."""

from collections.abc import Sequence
from math import ceil, floor, log, sqrt
from typing import Self

import numpy as np
import numpy.typing as npt

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


TOO_FEW = "too few files"
"""The verdict where nothing could be refused."""


def verdict(*tested: Rate) -> str:
    """What the tests of some rates say: `within`, `outside`, or `too few files` to say anything."""
    if not all(rate.within for rate in tested):
        return "outside"
    return "within" if any(rate.can_fail for rate in tested) else TOO_FEW


def deviation(*tested: Rate) -> float | None:
    """How many standard deviations more hits some rates have together than they are asked to have.

    None where there cannot be more or fewer.
    """
    expected = sum(rate.trials * rate.asked for rate in tested)
    variance = sum(rate.trials * rate.asked * (1 - rate.asked) for rate in tested)
    return (sum(rate.hits for rate in tested) - expected) / sqrt(variance) if variance else None


def binomial_rate(hits: int, trials: int, asked: float, error: float) -> Rate:
    """Test a share with the exact two-sided binomial test.

    The bounds are those of the hits k with P(X <= k) > error/2 and P(X >= k) > error/2, so that a
    true rate of `asked` is refused with a probability of `error` at most.
    """
    low, high = _binomial_bounds(trials, asked, error)
    return Rate.of(hits, trials, asked, low, high)


def _binomial_bounds(trials: int, asked: float, error: float) -> tuple[int, int]:
    """Add up the probabilities of all hits within 20 standard deviations: the others have none."""
    if asked in {0, 1}:
        return trials * int(asked), trials * int(asked)
    reach = 20 * sqrt(trials * asked * (1 - asked)) + 100
    first = max(floor(trials * asked - reach), 0)
    last = min(ceil(trials * asked + reach), trials)
    hits = np.arange(first + 1, last + 1)
    growth = (trials + 1 - hits) / hits * (asked / (1 - asked))  # from the probability before
    logarithms = np.cumsum(np.log(np.concatenate(([1.0], growth))))
    relative = np.exp(logarithms - logarithms.max())
    tail = error / 2 * relative.sum()
    below = np.searchsorted(np.cumsum(relative), tail, side="right")
    above = np.searchsorted(np.cumsum(relative[::-1]), tail, side="right")
    return first + int(below), last - int(above)


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
