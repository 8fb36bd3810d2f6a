"""Numbers with what the report says of them: what is counted, shares, and lengths."""

from collections.abc import Mapping
from typing import NamedTuple

from fim_assets.statistics.histograms import Histogram, Quantile
from fim_assets.statistics.tables import share
from fim_assets.wording import plural

LANGUAGES_SHOWN = 50
"""In each of the report's tables; the summary has no such bound."""


class Counted(NamedTuple):
    """Something that is counted, and its share of all."""

    name: str
    number: int
    share: float
    meaning: str


class Length(NamedTuple):
    """A distribution of lengths: of what, in which unit, its median, and other numbers as text."""

    title: str
    unit: str
    of: str
    lengths: Histogram
    median: str
    text: str


def counted_of(counts: Mapping[str, int], total: int, meanings: Mapping[str, str]) -> list[Counted]:
    """What is counted by name, with its share of a total and what each name means."""
    return [Counted(name, n, share(n, total), meanings.get(name, "")) for name, n in counts.items()]


def length_of(title: str, unit: str, of: str, lengths: Histogram) -> Length:
    """A distribution with its numbers as text; `about`, where its histogram tells no more."""
    median, most = (lengths.quantile(percent) for percent in (50, 95))
    if median is None or most is None:
        return Length(title, unit, of, lengths, "–", f"no {of}")
    numbers = {
        "mean": f"{lengths.sum / lengths.count:,.0f}",
        "95 % up to": _about(most),
        "largest": f"{lengths.max:,}",
    }
    text = ", ".join([*map(" ".join, numbers.items()), f"of {plural(lengths.count, of)}"])
    return Length(title, unit, of, lengths, _about(median), text)


def _about(quantile: Quantile) -> str:
    """A quantile: the number where it is known, else two digits of about where it is."""
    low, high, about = quantile
    if low == high:
        return f"{low:,}"
    return f"about {min(max(int(float(f'{about:.1e}')), low), high):,}"
