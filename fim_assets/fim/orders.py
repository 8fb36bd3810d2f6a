"""How the parts are laid out, and back: the one place that knows PSM from SPM."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from fim_assets.recipe import Sentinels

Order = Literal["none", "psm", "spm"]
Part = Literal["prefix", "middle", "suffix"]

ORDERS: tuple[Order, ...] = ("none", "psm", "spm")

_LAYOUTS: dict[Order, tuple[Part, ...]] = {
    "psm": ("prefix", "suffix", "middle"),
    "spm": ("suffix", "prefix", "middle"),
}


class Parts(NamedTuple):
    """A file cut in three."""

    prefix: str
    middle: str
    suffix: str


class Lengths(NamedTuple):
    """Code points of the three parts."""

    prefix: int
    middle: int
    suffix: int


def arrange(parts: Parts, order: Order, sentinels: Sentinels) -> str:
    """The rearranged file: each part behind its sentinel."""
    pieces: list[str] = []
    for part in _LAYOUTS[order]:
        pieces += (getattr(sentinels, part), getattr(parts, part))
    return "".join(pieces)


def dissect(
    text: str, order: Order, lengths: Lengths, sentinels: Sentinels
) -> Iterator[tuple[Part, str]]:
    """The parts of a rearranged file, in the order they stand in it.

    Lengths find them, not a search: a sentinel's name may stand in the text itself.

    Raises:
        ValueError: If a sentinel is not where the lengths say, or text is left over.
    """
    at = 0
    for part in _LAYOUTS[order]:
        sentinel = getattr(sentinels, part)
        if not text.startswith(sentinel, at):
            raise ValueError(f"{sentinel} expected at character {at}, found {text[at : at + 20]!r}")
        at += len(sentinel)
        end = at + getattr(lengths, part)
        yield part, text[at:end]
        at = end
    if at != len(text):
        raise ValueError(f"the parts end at character {at}, the text at {len(text)}")


def restore(text: str, order: Order, lengths: Lengths, sentinels: Sentinels) -> str:
    """The original of a file: the inverse of `arrange`.

    Raises:
        ValueError: As `dissect`.
    """
    if order == "none":
        return text
    parts = dict(dissect(text, order, lengths, sentinels))
    return parts["prefix"] + parts["middle"] + parts["suffix"]


def arranged_chars(order: Order, lengths: Lengths, sentinels: Sentinels) -> int:
    """Code points of a rearranged file, sentinels included."""
    return sum(lengths) + sum(len(getattr(sentinels, part)) for part in _LAYOUTS[order])
