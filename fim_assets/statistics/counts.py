"""Counts by name, as receipts hold them: `documents:Python`."""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

CUT_BINS = 20
"""Equal parts of a file's length, by which cuts are counted."""


def by_position(name: str, counts: npt.NDArray[np.int64]) -> dict[str, int]:
    """Counts by where in a file, in percent of its length; empty bins are left out."""
    return {f"{name}:{100 * n // CUT_BINS}": int(counts[n]) for n in np.flatnonzero(counts)}


def by_count(name: str, counts: Counter[str]) -> dict[str, int]:
    """Counts by what they are of, the largest first."""
    entries = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return {f"{name}:{value}": n for value, n in entries}


def counted(counts: Mapping[str, int], name: str) -> dict[str, int]:
    """The counts `name:…` by what stands behind the colon, in their order; '' is no language."""
    prefix = f"{name}:"
    return {key.removeprefix(prefix): n for key, n in counts.items() if key.startswith(prefix)}
