"""Names that may stand in several partitions, counted from a small sample of each partition's.

A name's hash is the same everywhere, and a sample holds the smallest ones. Of a bound that no
sample falls short of, every name whose hash is below it is therefore in the samples of all the
partitions that have it: these names are a random sample of the corpus's, of which all is known.
"""

from math import sqrt
from typing import Self

import numpy as np

from fim_assets.draws import Ints, UInts
from fim_assets.io.frozen_model import FrozenModel

MOST_HASHES = 256
"""Of a partition."""

_MOST_KEPT = 1 << 18
"""Of all partitions: the smallest of them, where there are more."""

_ALL = 1 << 64
_NORMAL_95 = 1.959964


class NameSample(FrozenModel):
    """The smallest hashes of the different names of a partition, and how many names there are.

    Hashes are 16 hex digits, ascending.
    """

    names: int
    hashes: tuple[str, ...]

    @classmethod
    def of(cls, hashes: UInts) -> Self:
        """The sample of some different hashes."""
        smallest = np.sort(hashes)[:MOST_HASHES].tolist()
        return cls(names=len(hashes), hashes=tuple(f"{value:016x}" for value in smallest))


class InSeveral(FrozenModel):
    """How many names of a corpus stand in several partitions.

    Attributes:
        names: Different names.
        in_several: Those that stand in several partitions.
        low: The least of these that the samples leave possible, with 95 % confidence; `high` is
            the most. Both are `in_several` where it is exact.
        exact: Whether every name was looked at; else the numbers are estimated.
        looked_at: Names that were.
    """

    names: int
    in_several: int
    low: int
    high: int
    exact: bool
    looked_at: int


class NamesInSeveral:
    """Counts names over partitions; memory is bounded, however many there are."""

    def __init__(self) -> None:
        self._bound = _ALL
        self._hashes = np.empty(0, np.uint64)
        self._partitions = np.empty(0, np.int64)
        self._waiting: list[UInts] = []
        self._waits = 0

    def add(self, sample: NameSample) -> None:
        """Take one more partition into account."""
        digits = bytes.fromhex("".join(sample.hashes))
        hashes = np.frombuffer(digits, ">u8").astype(np.uint64)
        if sample.names > len(hashes):
            self._bound = min(self._bound, int(hashes[-1]))
        if self._bound < _ALL:
            hashes = hashes[: np.searchsorted(hashes, np.uint64(self._bound))]
        self._waiting.append(hashes)
        self._waits += len(hashes)
        if self._waits >= _MOST_KEPT:
            self._count()

    def _count(self) -> None:
        """Count what waits, and lower the bound until no more is kept than may be."""
        new = np.concatenate([np.empty(0, np.uint64), *self._waiting])
        self._waiting, self._waits = [], 0
        hashes = np.concatenate([self._hashes, new])
        partitions = np.concatenate([self._partitions, np.ones(len(new), np.int64)])
        self._hashes, self._partitions = _summed(hashes, partitions)
        if len(self._hashes) > _MOST_KEPT:
            self._bound = min(self._bound, int(self._hashes[_MOST_KEPT]))
        if self._bound < _ALL:
            kept = int(np.searchsorted(self._hashes, np.uint64(self._bound)))
            self._hashes, self._partitions = self._hashes[:kept], self._partitions[:kept]

    def result(self) -> InSeveral:
        """Of all partitions that were taken into account.

        Each name was looked at with the probability p. Of n names in several partitions, m that
        were looked at have a mean of np and a variance of np(1 - p); accepted are the n for which m
        is within 1.96 standard deviations of its mean.
        """
        self._count()
        share = self._bound / _ALL
        looked_at, several = len(self._hashes), int((self._partitions > 1).sum())
        spread = _NORMAL_95**2 * (1 - share)
        middle = 2 * several + spread
        reach = sqrt(max(middle**2 - 4 * several**2, 0.0))
        return InSeveral(
            names=round(looked_at / share),
            in_several=round(several / share),
            low=round((middle - reach) / (2 * share)),
            high=round((middle + reach) / (2 * share)),
            exact=self._bound == _ALL,
            looked_at=looked_at,
        )


def _summed(hashes: UInts, counts: Ints) -> tuple[UInts, Ints]:
    """Each hash once, ascending, with the sum of its counts."""
    if not len(hashes):
        return hashes, counts
    order = np.argsort(hashes)
    hashes, counts = hashes[order], counts[order]
    firsts = np.flatnonzero(np.concatenate([[True], hashes[1:] != hashes[:-1]]))
    return hashes[firsts], np.add.reduceat(counts, firsts)
