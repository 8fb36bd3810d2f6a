"""The section `fim`: which files are rearranged, and how."""

import json
import math
import operator
from functools import cached_property
from itertools import product
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails

from fim_assets.cuts.base import Cut
from fim_assets.cuts.bounded import Unit
from fim_assets.cuts.registry import CUTS
from fim_assets.languages.names import names_identity
from fim_assets.recipe.families import SENTINELS, SEPARATORS, Sentinels
from fim_assets.recipe.raw import Raw
from fim_assets.recipe.values import Probability, Section, Token, one_of
from fim_assets.wording import plural

CutName = Annotated[str, one_of(CUTS.keys)]
FallbackName = Annotated[str, one_of(CUTS.fallbacks)]


class LanguageRates(Section):
    """A probability by language, and one for the others; see `Recipe.named` for the names."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Probability]
    default: Probability

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        if "" in self.__pydantic_extra__:
            raise ValueError("a language's name must not be empty; default is for those without")
        return self

    def of(self, language: str | None) -> float:
        """The probability for a language; None is a document that names none."""
        return self.__pydantic_extra__.get(language or "default", self.default)


class SplitWeights(Section):
    """The probability of each cut method, by its name in `CUTS`; they add up to 1."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Probability]
    # The parquet's metadata hold these four in this order, zeros too. Weights of methods that came
    # later follow, unless they are 0: a new method changes no record of a recipe without it.
    dolma: Probability = 0.0
    uniform: Probability = 0.0
    lines: Probability = 0.0
    syntax: Probability = 0.0

    @classmethod
    def allowed_names(cls) -> list[str]:
        """The cut methods there are."""
        return [*CUTS]

    @property
    def used(self) -> dict[str, float]:
        """The methods whose weight is not 0, in the order of `CUTS`."""
        weights = dict(self)
        return {name: weights[name] for name in CUTS if weights.get(name)}

    @model_validator(mode="before")
    @classmethod
    def _check_names(cls, content: Any) -> Any:
        unknown = [
            InitErrorDetails(type="extra_forbidden", loc=(name,), input=weight)
            for name, weight in (content.items() if isinstance(content, dict) else ())
            if name not in CUTS
        ]
        if unknown:
            raise ValidationError.from_exception_data("split", unknown)
        return content

    @model_validator(mode="after")
    def _check_weights(self) -> Self:
        used, later = self.used, self.__pydantic_extra__
        total = sum(used.values())
        if not math.isclose(total, 1):
            raise ValueError(f"weights must add up to 1, these to {total:g}")
        names = [name for name in used if name in later]
        later |= {name: later.pop(name) for name in names}
        for name in later.keys() - names:
            del later[name]
        return self


_Most = Annotated[int | None, Field(ge=1, le=1 << 53, exclude_if=operator.not_)]


class MaxMiddle(Section):
    """The longest middle that is allowed: so many of one unit."""

    chars: _Most = None
    lines: _Most = None
    tokens: _Most = None

    @property
    def given(self) -> dict[Unit, int]:
        """Units, and so many of each: one, once it is checked."""
        most: dict[Unit, int | None] = {
            "chars": self.chars,
            "lines": self.lines,
            "tokens": self.tokens,
        }
        return {unit: number for unit, number in most.items() if number is not None}

    def __str__(self) -> str:
        [(unit, most)] = self.given.items()
        return plural(most, "character" if unit == "chars" else unit.removesuffix("s"))

    @model_validator(mode="after")
    def _check_units(self) -> Self:
        given = self.given
        if len(given) != 1:
            names = f", got {' and '.join(given)}" if given else ""
            raise ValueError(f"give one of {', '.join(self.allowed_names())}{names}")
        return self


MAPPING = "(mapping)"
SCALAR = "(scalar)"
"""Names of the alternatives of a field that is one value or a mapping; not shown in errors."""


def _shape(value: Any) -> str:
    return MAPPING if isinstance(value, dict | BaseModel) else SCALAR


class Fim(Section):
    """Which files are rearranged, where they are cut and how the parts are laid out.

    Attributes:
        document_rate: Probability that a document's files are candidates at all.
        fim_rate: Probability that a candidate is rearranged, one or by language.
        psm_spm_split: Of the rearranged, probability of PSM order.
        split: The cut method, or weights of several.
        split_fallback: The cut method for a file that the drawn one cannot cut.
        max_middle: The longest middle; None: there is no bound.
        files: Whether `each` file of a document is a candidate, or the `last` alone.
        syntax_max_bytes: The largest file, in UTF-8, that `syntax` parses.
        spm_format: How SPM order is laid out, `dolma` (`SUF s PRE p MID m`) or `v2`
            (`PRE SUF s MID p m`).
        file_separator_token: What stands between a document's files; None: a document is one file.
        repository_tokens: What marks a repository's metadata: files that hold one stay unchanged.
        fim_middle_token: None where the middle follows the prefix without one.
        fim_end_token: What ends a rearranged file, if anything does.
    """

    document_rate: Probability = 1.0
    fim_rate: Annotated[
        Annotated[Probability, Tag(SCALAR)] | Annotated[LanguageRates, Tag(MAPPING)],
        Discriminator(_shape),
    ] = 0.5
    psm_spm_split: Probability = 0.5
    split: Annotated[
        Annotated[CutName, Tag(SCALAR)] | Annotated[SplitWeights, Tag(MAPPING)],
        Discriminator(_shape),
    ] = "dolma"
    split_fallback: FallbackName = "dolma"
    max_middle: MaxMiddle | None = Field(default=None, exclude_if=operator.not_)
    files: Literal["each", "last"] = Field(default="each", exclude_if="each".__eq__)
    syntax_max_bytes: Annotated[int, Field(ge=1, le=1 << 24)] = 1 << 20
    spm_format: Literal["dolma", "v2"] = "dolma"
    file_separator_token: Token | None = "<|file_sep|>"
    repository_tokens: Annotated[tuple[Token, ...], Field(strict=False)] = ()
    fim_prefix_token: Token = "<|fim_prefix|>"
    fim_middle_token: Token | None = "<|fim_middle|>"
    fim_suffix_token: Token = "<|fim_suffix|>"
    fim_end_token: Token | None = None

    @classmethod
    def allowed_names(cls) -> list[str]:
        """Its fields, and the name that stands for four of them."""
        return [*super().allowed_names(), "sentinels"]

    @cached_property
    def sentinels(self) -> Sentinels:
        """Prefix, middle, suffix and end sentinel."""
        prefix, middle, suffix = self.fim_prefix_token, self.fim_middle_token, self.fim_suffix_token
        return Sentinels(prefix, middle, suffix, self.fim_end_token)

    @property
    def languages(self) -> set[str]:
        """The languages that `fim_rate` names."""
        rates = self.fim_rate
        return {*rates.__pydantic_extra__} if isinstance(rates, LanguageRates) else set()

    @property
    def weights(self) -> dict[str, float]:
        """The cut methods that are drawn and their probabilities, in the order of `CUTS`."""
        return self.split.used if isinstance(self.split, SplitWeights) else {self.split: 1.0}

    @property
    def cut_methods(self) -> dict[str, Cut]:
        """The cut methods that can cut a file: those that are drawn, and the fallback if needed."""
        methods = {name: CUTS[name] for name in self.weights}
        if any(method.reasons for method in methods.values()):
            methods[self.split_fallback] = CUTS[self.split_fallback]
        return methods

    @property
    def min_chars(self) -> int:
        """Code points of the shortest file that every one of `cut_methods` cuts."""
        return max(method.min_chars for method in self.cut_methods.values())

    def identity(self, raw: Raw) -> dict[str, Any]:
        """What of it, and of what it uses, decides the bytes: parts of the fingerprint.

        Fields at their defaults or without use are left out. `raw` holds the fields of `raw` that
        matter to its cut methods alone.
        """
        methods = self.cut_methods
        used = {field for method in methods.values() for field in method.fields}
        unused = {field for method in CUTS.values() for field in method.fields} - used
        if not any(method.reasons for method in methods.values()):
            unused.add("split_fallback")
        read = {field for method in methods.values() for field in method.raw_fields}
        parts = {
            "fim": self.model_dump(exclude_defaults=True, exclude=unused),
            "raw": raw.model_dump(exclude_defaults=True, include=read - {"schema_name"}),
        }
        if raw.schema_name is not None and (self.languages or "schema_name" in read):
            parts["language_names"] = names_identity()
        for method in methods.values():
            parts |= method.identity()
        return parts

    def rate(self, language: str | None) -> float:
        """The probability that a candidate is rearranged, by a language as `fim_rate` names it."""
        rates = self.fim_rate
        return rates.of(language) if isinstance(rates, LanguageRates) else rates

    @model_validator(mode="before")
    @classmethod
    def _name_sentinels(cls, content: Any) -> Any:
        """Put a named set's tokens in their fields: a name and its tokens are the same recipe."""
        if not isinstance(content, dict) or "sentinels" not in content:
            return content
        name = content["sentinels"]
        if not isinstance(name, str) or name not in SENTINELS:
            value, allowed = json.dumps(name, default=str), ", ".join(SENTINELS)
            raise ValueError(f"sentinels = {value}: no set has this name; allowed: {allowed}")
        tokens = {f"fim_{part}_token": token for part, token in SENTINELS[name]._asdict().items()}
        both = sorted(tokens.keys() & content.keys())
        if both:
            raise ValueError(f"sentinels = {name} and {', '.join(both)} say the same; give one")
        if name in SEPARATORS:
            tokens["file_separator_token"] = SEPARATORS[name]
        return tokens | {key: value for key, value in content.items() if key != "sentinels"}

    @model_validator(mode="after")
    def _check_tokens(self) -> Self:
        if self.repository_tokens and self.file_separator_token is None:
            raise ValueError(
                "repository_tokens need a file_separator_token: without one a document is one "
                "file, and a document with such a token would stay unchanged as a whole"
            )
        controls = (*self.sentinels, *self.repository_tokens, self.file_separator_token)
        tokens = [token for token in controls if token is not None]
        if len(set(tokens)) < len(tokens):
            raise ValueError(f"the control tokens must differ, got {', '.join(tokens)}")
        boundaries = [token for token in tokens if token not in self.sentinels]
        for boundary, token in product(boundaries, tokens):
            if token != boundary and boundary in token:
                raise ValueError(
                    f"{token} contains {boundary}: cutting a document there would cut it in two"
                )
        return self

    @model_validator(mode="after")
    def _check_max_middle(self) -> Self:
        methods = self.cut_methods.values()
        others = [method.name for method in methods if "max_middle" not in method.fields]
        if self.max_middle is not None and others:
            raise ValueError(f"max_middle: {' and '.join(others)} cannot keep a middle so short")
        return self

    @model_validator(mode="after")
    def _check_layout(self) -> Self:
        if self.fim_middle_token is None and (self.psm_spm_split or self.spm_format != "dolma"):
            raise ValueError(
                "without fim_middle_token only the layout SUF suffix PRE prefix middle tells where "
                "the middle begins: set psm_spm_split to 0 and spm_format to dolma"
            )
        return self
