"""How the parts are laid out, and back: the one module that knows PSM from SPM."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

from fim_assets.recipe.families import Sentinels
from fim_assets.recipe.fim import Fim

Order = Literal["none", "psm", "spm"]
Part = Literal["prefix", "middle", "suffix"]
Control = Literal["prefix", "middle", "suffix", "end"]

REARRANGED: tuple[Order, ...] = ("psm", "spm")

ORDERS: tuple[Order, ...] = ("none", *REARRANGED)
PARTS: tuple[Part, ...] = ("prefix", "middle", "suffix")

Beside = Literal["name", "separator", "header", "tail"]
"""What stands beside a file in its document: the repository's name with its token, and the
separator before it; of a rearranged file its path, where this is not cut with it, and what is
written behind it."""

BESIDE: tuple[Beside, ...] = get_args(Beside)


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


class Piece(NamedTuple):
    """A piece of a rearranged file, as it stands there: a sentinel, or else a part."""

    text: str
    sentinel: Control | None = None
    part: Part | None = None


_CONTROLS: tuple[Control, ...] = (*PARTS, "end")
_PREFIX, _MIDDLE, _SUFFIX = (Piece("", part=part) for part in PARTS)
_PRE, _MID, _SUF, _END = (Piece("", control) for control in _CONTROLS)

_LAYOUTS = {
    "psm": (_PRE, _PREFIX, _SUF, _SUFFIX, _MID, _MIDDLE, _END),
    "spm dolma": (_SUF, _SUFFIX, _PRE, _PREFIX, _MID, _MIDDLE, _END),
    "spm v2": (_PRE, _SUF, _SUFFIX, _MID, _PREFIX, _MIDDLE, _END),
}


def layout(order: Order, fim: Fim) -> tuple[Piece, ...]:
    """The pieces of a rearranged file in order, parts without text; `none` is a ValueError."""
    return _layout(order, fim.spm_format, fim.sentinels)


@lru_cache
def _layout(order: Order, spm_format: str, sentinels: Sentinels) -> tuple[Piece, ...]:
    name = f"spm {spm_format}" if order == "spm" else order
    if name not in _LAYOUTS:
        raise ValueError(f"{name} is no order of a rearranged file; psm and spm are")
    pieces = (
        piece._replace(text=getattr(sentinels, piece.sentinel)) if piece.sentinel else piece
        for piece in _LAYOUTS[name]
    )
    return tuple(piece for piece in pieces if piece.text is not None)


def arranged(parts: Parts, order: Order, fim: Fim) -> list[Piece]:
    """The pieces of the rearranged file: its parts and sentinels as the recipe lays them out."""
    return [
        piece._replace(text=getattr(parts, piece.part)) if piece.part else piece
        for piece in layout(order, fim)
    ]


def arrange(parts: Parts, order: Order, fim: Fim) -> str:
    """The rearranged file."""
    return "".join([piece.text for piece in arranged(parts, order, fim)])


def parse_arrangement(text: str, order: Order, lengths: Lengths, fim: Fim) -> Iterator[Piece]:
    """The pieces of a rearranged file, in the order they stand in it.

    Lengths find them, not a search: a sentinel's name may stand in the text itself.

    Raises:
        ValueError: If a sentinel is not where the lengths say, or text is left over.
    """
    at = 0
    for piece in layout(order, fim):
        if piece.part is None:
            if not text.startswith(piece.text, at):
                there = text[at : at + 20]
                raise ValueError(f"{piece.text} expected at character {at}, found {there!r}")
            yield piece
            at += len(piece.text)
        else:
            end = at + getattr(lengths, piece.part)
            yield Piece(text[at:end], part=piece.part)
            at = end
    if at != len(text):
        raise ValueError(f"the parts end at character {at}, the text at {len(text)}")


def restore(text: str, order: Order, lengths: Lengths, fim: Fim) -> str:
    """The original of a file: the inverse of `arrange`; errors as of `parse_arrangement`."""
    if order == "none":
        return text
    parts = {piece.part: piece.text for piece in parse_arrangement(text, order, lengths, fim)}
    return parts["prefix"] + parts["middle"] + parts["suffix"]


def arranged_chars(order: Order, lengths: Lengths, fim: Fim) -> int:
    """Code points of a rearranged file, sentinels included."""
    return sum(lengths) + sum(len(piece.text) for piece in layout(order, fim))
