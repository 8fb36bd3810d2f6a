"""The section `fim`: which files are rearranged, and how."""

import json
import math
from functools import cache
from importlib.metadata import version
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from fim_assets.recipe.families import SENTINELS, SEPARATORS, Sentinels
from fim_assets.recipe.raw import Raw
from fim_assets.recipe.values import Probability, Section, Token

Split = Literal["dolma", "uniform", "lines", "syntax"]
CharacterSplit = Literal["dolma", "uniform"]

SPLITS: tuple[Split, ...] = get_args(Split)


SYNTAX_LAW = 2
"""The number of `syntax`, raised whenever it would cut a file elsewhere; part of the fingerprints
of the recipes that use it, and of no others."""

GRAMMAR_PACKAGES = {
    name: f"tree-sitter-{name}"
    for name in (
        *("bash", "c", "c-sharp", "cpp", "go", "java", "javascript", "markdown", "php"),
        *("python", "ruby", "rust", "sql", "swift", "typescript"),
    )
}
"""The packages whose versions decide where `syntax` cuts, beside tree-sitter's own."""


@cache
def grammar_versions() -> dict[str, str]:
    """Versions of tree-sitter and its grammars, by package."""
    packages = ("tree-sitter", *GRAMMAR_PACKAGES.values())
    return {package: version(package) for package in packages}


class LanguageRates(Section):
    """A probability by language, spelled as `raw.language_field` does, and one for the others."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Probability]
    default: Probability

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        if "" in (self.__pydantic_extra__ or {}):
            raise ValueError("a language's name must not be empty; default is for those without")
        return self

    def of(self, language: str | None) -> float:
        """The probability for a language; None is a document that names none."""
        if language is None or language == "default":
            return self.default
        return (self.__pydantic_extra__ or {}).get(language, self.default)


class SplitWeights(Section):
    """The probability of each law of where to cut; they add up to 1."""

    dolma: Probability = 0.0
    uniform: Probability = 0.0
    lines: Probability = 0.0
    syntax: Probability = 0.0

    @model_validator(mode="after")
    def _check_sum(self) -> Self:
        total = self.dolma + self.uniform + self.lines + self.syntax
        if not math.isclose(total, 1):
            raise ValueError(f"weights must add up to 1, these to {total:g}")
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
        split: The law of where to cut, or weights of several.
        split_fallback: The law for a file that `lines` or `syntax` cannot serve.
        syntax_max_bytes: The largest file, in UTF-8, that `syntax` parses.
        spm_format: How SPM order is laid out, `dolma` (`SUF s PRE p MID m`) or `v2`
            (`PRE SUF s MID p m`).
        file_separator_token: What stands between a document's files; None: a document is one file.
        repository_tokens: What marks a repository's metadata: a file that holds one is left alone.
        fim_prefix_token: Sentinel.
        fim_middle_token: Sentinel; None where the middle follows the prefix without one.
        fim_suffix_token: Sentinel.
        fim_end_token: What ends a rearranged file, if anything does.
    """

    document_rate: Probability = 1.0
    fim_rate: Annotated[
        Annotated[Probability, Tag(SCALAR)] | Annotated[LanguageRates, Tag(MAPPING)],
        Discriminator(_shape),
    ] = 0.5
    psm_spm_split: Probability = 0.5
    split: Annotated[
        Annotated[Split, Tag(SCALAR)] | Annotated[SplitWeights, Tag(MAPPING)],
        Discriminator(_shape),
    ] = "dolma"
    split_fallback: CharacterSplit = "dolma"
    syntax_max_bytes: Annotated[int, Field(ge=1, le=1 << 24)] = 1 << 20
    spm_format: Literal["dolma", "v2"] = "dolma"
    file_separator_token: Token | None = "<|file_sep|>"
    repository_tokens: Annotated[tuple[Token, ...], Field(strict=False)] = ()
    fim_prefix_token: Token = "<|fim_prefix|>"
    fim_middle_token: Token | None = "<|fim_middle|>"
    fim_suffix_token: Token = "<|fim_suffix|>"
    fim_end_token: Token | None = None

    @property
    def sentinels(self) -> Sentinels:
        """Prefix, middle, suffix and end sentinel."""
        return Sentinels(
            self.fim_prefix_token, self.fim_middle_token, self.fim_suffix_token, self.fim_end_token
        )

    @property
    def languages(self) -> set[str]:
        """The languages that `fim_rate` names."""
        named = isinstance(self.fim_rate, LanguageRates) and self.fim_rate.__pydantic_extra__
        return set(named or {})

    @property
    def weights(self) -> dict[Split, float]:
        """The laws in use and their probabilities, in the order of `SPLITS`."""
        if isinstance(self.split, SplitWeights):
            weights = {split: getattr(self.split, split) for split in SPLITS}
            return {split: weight for split, weight in weights.items() if weight}
        return {self.split: 1.0}

    def _fields(self) -> dict[str, Any]:
        """What of it decides the bytes: without fields at their defaults or without use."""
        unused = set()
        if "syntax" not in self.weights:
            unused.add("syntax_max_bytes")
        if not {"lines", "syntax"} & self.weights.keys():
            unused.add("split_fallback")
        return self.model_dump(exclude_defaults=True, exclude=unused)

    def identity(self, raw: Raw) -> dict[str, Any]:
        """What decides the bytes, for fingerprints; where `syntax` cuts, the grammars' versions."""
        identity: dict[str, Any] = {"fim": self._fields()}
        if "syntax" in self.weights:
            identity["grammars"] = grammar_versions()
            identity["syntax"] = SYNTAX_LAW
            if raw.path_field != Raw().path_field:
                identity["raw"] = {"path_field": raw.path_field}
        return identity

    def rate(self, language: str | None) -> float:
        """The probability that a candidate of a language is rearranged."""
        if isinstance(self.fim_rate, LanguageRates):
            return self.fim_rate.of(language)
        return self.fim_rate

    @model_validator(mode="before")
    @classmethod
    def _name_sentinels(cls, content: Any) -> Any:
        """Put a named set's tokens in their fields, so that a name and its tokens are one law."""
        if not isinstance(content, dict) or "sentinels" not in content:
            return content
        name = content["sentinels"]
        if not isinstance(name, str) or name not in SENTINELS:
            raise ValueError(
                f"sentinels = {json.dumps(name, default=str)}: no set has this name; "
                f"allowed: {', '.join(SENTINELS)}"
            )
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
                "file, and a document with such a token would be left alone as a whole"
            )
        boundaries = [*self.repository_tokens, self.file_separator_token]
        tokens = [token for token in (*self.sentinels, *boundaries) if token is not None]
        if len(set(tokens)) < len(tokens):
            raise ValueError(f"the control tokens must differ, got {', '.join(tokens)}")
        for boundary in boundaries:
            for token in tokens:
                if boundary is not None and token != boundary and boundary in token:
                    raise ValueError(
                        f"{token} contains {boundary}: cutting a document there would cut it in two"
                    )
        return self

    @model_validator(mode="after")
    def _check_layout(self) -> Self:
        if self.fim_middle_token is None and (self.psm_spm_split or self.spm_format != "dolma"):
            raise ValueError(
                "without fim_middle_token only the layout SUF suffix PRE prefix middle tells where "
                "the middle begins: set psm_spm_split to 0 and spm_format to dolma"
            )
        return self
