"""Kinds of values that recipe fields hold, and how they are checked."""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticKnownError

from fim_assets.io.frozen_model import FrozenModel
from fim_assets.io.hub import COMMIT, how_to_pin


def _probability(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a probability is a number from 0 to 1")
    if not 0 <= value <= 1:
        meant = value / 10 if value < 10 else value / 100
        hint = f"; did you mean {meant:g}?" if 1 < value <= 100 else ""
        raise ValueError(f"a probability is a share from 0 to 1{hint}")
    return abs(float(value))  # -0.0 is 0.0


def _not_empty(value: str) -> str:
    if not value:
        raise ValueError("must not be empty")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("holds half of a surrogate pair, which is no text")
    return value


_CHARACTERS = re.compile(r"\\[.\\]|.", re.DOTALL)


@lru_cache
def field_names(path: str) -> tuple[str, ...]:
    r"""The names that a field's path joins by dots; `\.` is a name's own dot, `\\` a backslash."""
    names = [""]
    for character in _CHARACTERS.findall(path):
        if character == ".":
            names.append("")
        else:
            names[-1] += character[-1]
    return tuple(names)


def field_path(names: Iterable[str]) -> str:
    """The path that joins names, see `field_names`."""
    return ".".join(re.sub(r"[.\\]", r"\\\g<0>", name) for name in names)


def _dotted(value: str) -> str:
    if not all(field_names(value)):
        raise ValueError(
            r"a field is a name, or names joined by single dots; a dot of a name itself is \."
        )
    return value


def one_of(names: Callable[[], Iterable[str]]) -> BeforeValidator:
    """Accept the names that there are when a value is checked: some are registered later."""

    def check(value: Any) -> Any:
        if value not in (allowed := [*names()]):
            *others, last = map(repr, allowed)
            expected = f"{', '.join(others)} or {last}"
            raise PydanticKnownError("literal_error", {"expected": expected})
        return value

    return BeforeValidator(check)


Probability = Annotated[float, BeforeValidator(_probability)]
Token = Annotated[str, AfterValidator(_not_empty)]
FieldPath = Annotated[str, AfterValidator(_dotted)]
TokenId = Annotated[int, Field(ge=0, lt=1 << 32)]


class Section(FrozenModel):
    """A part of the recipe: values are taken as they are written, never converted."""

    model_config = ConfigDict(strict=True)

    @classmethod
    def allowed_names(cls) -> list[str]:
        """What a recipe may name in it, as errors list it."""
        return [*cls.model_fields]


def commit(value: str) -> str:
    """A commit's hash, as git prints it."""
    if not COMMIT.fullmatch(value):
        raise ValueError(f"a revision is a commit's {how_to_pin()}")
    return value
