"""The recipe: what decides the bytes, how it is read from YAML, and its fingerprints."""

import difflib
import json
import math
import os
import re
import reprlib
from collections.abc import Iterable
from functools import cache, lru_cache
from hashlib import blake2b
from importlib.metadata import version
from importlib.resources import files
from typing import Annotated, Any, Literal, NamedTuple, Self, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from fim_assets.storage import expand_home

ASSETS = ("raw_shards", "fim_shards", "token_arrays")

LAWS = {"raw_shards": 3, "fim_shards": 4, "token_arrays": 3}
"""A stage's number is raised whenever the same input would give other bytes, or another `result` in
its receipt."""

Split = Literal["dolma", "uniform", "lines", "syntax"]
CharacterSplit = Literal["dolma", "uniform"]
Layout = Literal["dolma", "megatron", "datatrove"]

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

_FROM_DOLMA = {
    "processes": "the environment variable FIM_WORKERS",
    "destination": "the environment variable FIM_DATA_ROOT",
    "output": "the environment variable FIM_DATA_ROOT",
    "work_dir": "the environment variable FIM_DATA_ROOT",
    "inputs": "raw.documents",
    "documents": "raw.documents",
    "seed": "the recipe's top-level seed",
    "tokenizer_name_or_path": "tokens.tokenizer.name_or_path",
    "fields": "raw.text_field and raw.id_field",
    "text_field_name": "raw.text_field",
    "id_field_name": "raw.id_field",
    "batch_size": "tokens.shuffle, which mixes the whole partition",
    "ring_size": "tokens.shuffle, which mixes the whole partition",
    "local_shuffle": "tokens.shuffle, which mixes the whole partition",
    "sample_ring_prop": "tokens.shuffle, which mixes the whole partition",
    "files_per_process": "partitions: a shard is one",
    "paths_per_worker": "partitions: a shard is one",
    "encode_special_tokens": "nothing: document text is always encoded as ordinary text",
    "dryrun": "nothing: materialize one partition to try a recipe",
    "debug": "nothing: a partition is worked on in the run's own process if it is the only one",
    "refresh": "nothing: materializing an asset again refreshes it",
    "fast": "nothing: the fastest engine that is exact is used",
}


_COMMIT = re.compile("[0-9a-f]{40}")

_few_words = reprlib.Repr()
_few_words.maxlevel = 2


class RecipeError(ValueError):
    """A recipe that cannot be used; the message names the file, the field and the value."""


def _probability(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a probability is a number from 0 to 1")
    if not 0 <= value <= 1:
        hint = ""
        if 1 < value < 10:
            hint = f"; did you mean {value / 10:g}?"
        elif 10 <= value <= 100:
            hint = f"; did you mean {value / 100:g}?"
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


Probability = Annotated[float, BeforeValidator(_probability)]
Token = Annotated[str, AfterValidator(_not_empty)]
FieldPath = Annotated[str, AfterValidator(_dotted)]
TokenId = Annotated[int, Field(ge=0, lt=1 << 32)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Raw(_Part):
    """Which shards, and where a document's parts stand in its line, see `field_names`.

    Attributes:
        documents: Globs of shards.
        text_field: The text.
        id_field: The id, if there is one.
        language_field: The language's name, if there is one.
        path_field: The file's path, if there is one; its ending tells the language where
            `language_field` names none that `syntax` knows.
        max_line_bytes: The longest line that is read; a longer one is rejected. Working on a
            document takes about six times its size in memory.
        max_rejected_share: Share of a shard's lines, blank ones left out, that may be rejected
            before the partition fails.
        max_empty_share: The same for lines with an empty text, which then do not count against
            `max_rejected_share`; None: they do.
    """

    documents: Annotated[tuple[Token, ...], Field(min_length=1, strict=False)] = ("raw/**/*.json*",)
    text_field: FieldPath = "text"
    id_field: FieldPath = "id"
    language_field: FieldPath = "metadata.language"
    path_field: FieldPath = "metadata.path"
    max_line_bytes: Annotated[int, Field(ge=1, le=1 << 31)] = 1 << 26
    max_rejected_share: Probability = 0.001
    max_empty_share: Probability | None = None

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        others = {
            "id_field": self.id_field,
            "language_field": self.language_field,
            "path_field": self.path_field,
        }
        for name, value in others.items():
            shorter, longer = sorted((field_names(value), field_names(self.text_field)), key=len)
            if longer[: len(shorter)] == shorter:
                raise ValueError(
                    f"{name} = {value} and text_field = {self.text_field} stand in one another"
                )
        return self


class Sentinels(NamedTuple):
    """The control tokens of a rearranged file, as text; None where a family has none."""

    prefix: str
    middle: str | None
    suffix: str
    end: str | None = None


SENTINELS = {
    "dolma2": Sentinels("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"),
    "starcoder2": Sentinels("<fim_prefix>", "<fim_middle>", "<fim_suffix>"),
    "qwen2.5-coder": Sentinels("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"),
    "deepseek-coder": Sentinels("<｜fim▁begin｜>", "<｜fim▁end｜>", "<｜fim▁hole｜>"),
    "code-llama": Sentinels("▁<PRE>", "▁<MID>", "▁<SUF>", "▁<EOT>"),
    "codegemma": Sentinels("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"),
    "codestral": Sentinels("[PREFIX]", None, "[SUFFIX]"),
}
"""The sentinels of model families, which `fim.sentinels` names."""


_SEPARATORS = {
    "starcoder2": "<file_sep>",
    "qwen2.5-coder": "<|file_sep|>",
    "codegemma": "<|file_separator|>",
}
"""The file separators of the families that have one, which come with their sentinels."""


class LanguageRates(_Part):
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


class SplitWeights(_Part):
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


_MAPPING = "(mapping)"
_SCALAR = "(scalar)"
"""Names of the alternatives of a field that is one value or a mapping; not shown in errors."""


def _shape(value: Any) -> str:
    return _MAPPING if isinstance(value, dict | BaseModel) else _SCALAR


class Fim(_Part):
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
        Annotated[Probability, Tag(_SCALAR)] | Annotated[LanguageRates, Tag(_MAPPING)],
        Discriminator(_shape),
    ] = 0.5
    psm_spm_split: Probability = 0.5
    split: Annotated[
        Annotated[Split, Tag(_SCALAR)] | Annotated[SplitWeights, Tag(_MAPPING)],
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

    def law(self) -> dict[str, Any]:
        """What of it decides the bytes: without fields at their defaults or without use."""
        unused = set()
        if "syntax" not in self.weights:
            unused.add("syntax_max_bytes")
        if not {"lines", "syntax"} & self.weights.keys():
            unused.add("split_fallback")
        return self.model_dump(exclude_defaults=True, exclude=unused)

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
        if name in _SEPARATORS:
            tokens["file_separator_token"] = _SEPARATORS[name]
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


HOW_TO_PIN = (
    "40 hex digits, since a branch or a tag may move; "
    "`git ls-remote https://huggingface.co/<name>` prints them"
)
"""How a tokenizer on the Hub is pinned, in words."""


def _commit(value: str) -> str:
    if not _COMMIT.fullmatch(value):
        raise ValueError(f"a revision is a commit's {HOW_TO_PIN}")
    return value


def _label_mask(value: Any) -> Any:
    if value is not None and value != "middle":
        raise ValueError(
            "allowed: middle, which trains on the middles of rearranged files, or null, on all "
            "tokens"
        )
    return value


def _end_of_documents(value: Any) -> Any:
    if value is None:
        raise ValueError("every document ends in EOS, or trainers could not tell documents apart")
    return value


class Tokenizer(_Part):
    """Which tokenizer, and the ids that mark a document's ends.

    Attributes:
        name_or_path: A bundled tokenizer's name, a folder, or a name on the Hugging Face Hub.
        revision: The Hub's commit, 40 hex digits, for a name on the Hub.
        bos_token_id: Begins every document; None: nothing does.
        eos_token_id: Ends every document.
        pad_token_id: What a trainer pads with; stands nowhere in the arrays.
        segment_before_tokenization: Whether texts are encoded paragraph by paragraph: line feeds
            and what follows them, up to the next line feeds.
    """

    name_or_path: Token = "allenai/dolma2-tokenizer"
    revision: Annotated[str, AfterValidator(_commit)] | None = None
    bos_token_id: TokenId | None = None
    eos_token_id: Annotated[TokenId, BeforeValidator(_end_of_documents)] = 100257
    pad_token_id: TokenId | None = 100277
    segment_before_tokenization: bool = False


class Tokens(_Part):
    """How the token arrays are written.

    Attributes:
        tokenizer: The tokenizer and its control ids.
        allow_lossy: Whether a tokenizer may be one that does not give every text back exactly.
        layout: Whose files the arrays are: `dolma` (`.npy`, `.csv.gz`), `megatron` (`.bin`,
            `.idx`) or `datatrove` (`.ds`, `.ds.index`, `.ds.metadata`).
        label_mask: `middle`: beside each array, which of its tokens are trained on; None: all are.
        dtype: Type of one token id in an array; the smallest that holds the vocabulary. Megatron
            knows no uint32 and gets int32.
        max_size: Tokens in one array file; a document never spans two.
        shuffle: Whether a partition's documents are mixed, by keyed draws.
    """

    tokenizer: Tokenizer = Tokenizer()
    allow_lossy: bool = False
    layout: Layout = "dolma"
    label_mask: Annotated[Literal["middle"] | None, BeforeValidator(_label_mask)] = None
    dtype: Literal["uint16", "uint32"] = "uint32"
    max_size: Annotated[int, Field(ge=1, le=1 << 53)] = 536870912
    shuffle: bool = True


class Recipe(_Part):
    """All that decides the bytes: same recipe, same input, same libraries, same bytes."""

    seed: int = 3920
    raw: Raw = Raw()
    fim: Fim = Fim()
    tokens: Tokens = Tokens()

    def partition_seed(self, key: str) -> int:
        """The partition's seed: 64 bits that depend on the recipe's seed and the key alone."""
        digest = blake2b(f"{self.seed}/{key}".encode()).digest()
        return int.from_bytes(digest[:8], "little")

    def fingerprint(self, asset: str, tokenizer_hash: str) -> str:
        """Which law makes an asset's bytes: 32 hex digits, also its Dagster code version.

        Hashes the parts of the recipe that the asset and its inputs depend on, as canonical JSON;
        where `syntax` cuts, the grammars' versions too.
        Fields at their version-1 defaults are left out, so that an option added later changes no
        existing fingerprint; so are `raw.documents` and paths, which say where, not what, but for
        the tokenizer's name in datatrove's layout, whose files hold it.

        Args:
            asset: One of `ASSETS`, or `corpus_report`, which depends on them all.
            tokenizer_hash: Content hash of the tokenizer's files; used where tokens are.
        """
        stages = ASSETS[: ASSETS.index(asset) + 1] if asset in ASSETS else ASSETS
        law: dict[str, Any] = {
            "laws": {stage: LAWS[stage] for stage in stages},
            "raw": self.raw.model_dump(
                exclude_defaults=True,
                exclude={"documents", "path_field", "max_rejected_share", "max_empty_share"},
            ),
            "sentinels": [token for token in self.fim.sentinels if token is not None],
        }
        if "fim_shards" in stages:
            law["seed"] = self.seed
            law["fim"] = self.fim.law()
            if "syntax" in self.fim.weights:
                law["grammars"] = grammar_versions()
                law["syntax"] = SYNTAX_LAW
                if self.raw.path_field != Raw().path_field:
                    law["raw"]["path_field"] = self.raw.path_field
        if "token_arrays" in stages:
            tokens = self.tokens.model_dump(exclude_defaults=True)
            where = (
                {"revision"} if self.tokens.layout == "datatrove" else {"name_or_path", "revision"}
            )
            for name in where:
                tokens.get("tokenizer", {}).pop(name, None)
            law["tokens"] = {name: value for name, value in tokens.items() if value != {}}
            law["tokenizer"] = tokenizer_hash
        canonical = json.dumps(law, sort_keys=True, separators=(",", ":"))
        return blake2b(canonical.encode(), digest_size=16).hexdigest()


def recipe_yaml(recipe: Recipe) -> str:
    """The fields that differ from the defaults, as a file's content that gives the recipe again."""
    fields = recipe.model_dump(mode="json", exclude_defaults=True)
    return harmless_yaml(fields) if fields else "{}\n"


def harmless_yaml(content: Any) -> str:
    """YAML in the given order, with escapes where a character could act on what shows it."""
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    if text.replace("\n", "").isprintable():
        return text
    return yaml.safe_dump(content, sort_keys=False)


@cache
def grammar_versions() -> dict[str, str]:
    """Versions of tree-sitter and its grammars, by package."""
    packages = ("tree-sitter", *GRAMMAR_PACKAGES.values())
    return {package: version(package) for package in packages}


def built_in_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    folder = files("fim_assets") / "recipes"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir())


def load_recipe(name_or_path: str | os.PathLike[str]) -> Recipe:
    """Read a recipe.

    Args:
        name_or_path: A built-in recipe's name, or the path of a YAML file.

    Raises:
        RecipeError: If there is none, it is not YAML, or a field is unknown or has a bad value.
    """
    if name_or_path in built_in_recipes():
        text = (files("fim_assets") / "recipes" / f"{name_or_path}.yaml").read_text("utf-8")
    else:
        try:
            path = expand_home(os.fspath(name_or_path))
        except FileNotFoundError as error:
            raise RecipeError(f"recipe {error}") from error
        if not path.is_file():
            raise RecipeError(
                f"recipe {name_or_path}: no such file, and no built-in recipe has this name; "
                f"built in: {', '.join(built_in_recipes())}"
            )
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError as error:
            raise RecipeError(f"recipe {name_or_path}: not UTF-8: {error}") from error
    return parse_recipe(text, str(name_or_path))


def built_in_name(recipe: Recipe) -> str | None:
    """The name of the built-in recipe that it is, if it is one."""
    return next((name for name in built_in_recipes() if load_recipe(name) == recipe), None)


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value} stands twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def parse_recipe(text: str, name: str) -> Recipe:
    """Build a recipe from YAML text; `name` stands in errors.

    Raises:
        RecipeError: As `load_recipe`.
    """
    try:
        content = _UniqueKeys(text).get_single_data()
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise RecipeError(f"recipe {name}: not YAML: {error}") from error
    if content is None:
        raise RecipeError(
            f"recipe {name}: holds no field; give those that differ from olmo_midtraining, or "
            "leave FIM_RECIPE unset to take that as it is"
        )
    if not isinstance(content, dict):
        got = _few_words.repr(content)
        raise RecipeError(f"recipe {name}: must be a mapping of fields, got {got}")
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        lines = [_explain(dict(e)) for e in error.errors()]
        raise RecipeError("\n".join(f"recipe {name}: {line}" for line in lines)) from None


def _explain(error: dict[str, Any]) -> str:
    path = [str(part) for part in error["loc"] if part not in {_MAPPING, _SCALAR}]
    field = ".".join(path)
    if error["type"] == "extra_forbidden":
        return f"{field}: unknown field; {_instead(path)}"
    message = error["msg"].removeprefix("Value error, ").replace("valid tuple", "list")
    if error["type"] in {"model_type", "model_attributes_type"}:
        message = "must be a mapping of fields"
    if isinstance(error["input"], dict):
        return f"{field}: {message}" if field else message
    return f"{field} = {_shown(error['input'])}: {message}"


def _shown(value: Any) -> str:
    """A value in few words: aliases can make a list of a few lines endless."""
    return _few_words.repr(value) if isinstance(value, list) else json.dumps(value, default=str)


def _instead(path: list[str]) -> str:
    model: type[BaseModel] = Recipe
    for part in path[:-1]:
        model = _model_in(model.model_fields[part].annotation) or model
    name, allowed = path[-1], list(model.model_fields)
    if model is Fim:
        allowed.append("sentinels")
    if name in _FROM_DOLMA:
        return f"Dolma's {name} has no meaning here; what replaces it: {_FROM_DOLMA[name]}"
    close = difflib.get_close_matches(name, allowed, n=1)
    meant = f"did you mean {close[0]}? " if close else ""
    return f"{meant}allowed: {', '.join(allowed)}"


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model among an annotation's alternatives, if there is one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := _model_in(part))), None)
