"""The recipe: what decides the bytes, how it is read from YAML, and its fingerprints."""

import difflib
import json
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

ASSETS = ("raw_shards", "fim_shards", "token_arrays")

LAWS = {"raw_shards": 1, "fim_shards": 1, "token_arrays": 1}
"""A stage's number is raised whenever the same input would give other bytes."""

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


class RecipeError(ValueError):
    """A recipe that cannot be used; the message names the file, the field and the value."""


def _probability(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a probability is a number in [0, 1]")
    if not 0 <= value <= 1:
        hint = ""
        if 1 < value < 10:
            hint = f"; did you mean {value / 10:g}?"
        elif 10 <= value <= 100:
            hint = f"; did you mean {value / 100:g}?"
        raise ValueError(f"probabilities are in [0, 1]{hint}")
    return abs(float(value))  # -0.0 is 0.0


def _not_empty(value: str) -> str:
    if not value:
        raise ValueError("must not be empty")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("holds half of a surrogate pair, which is no text")
    return value


def _dotted(value: str) -> str:
    if not all(value.split(".")):
        raise ValueError("a field is a name, or names joined by single dots")
    return value


Probability = Annotated[float, BeforeValidator(_probability)]
Token = Annotated[str, AfterValidator(_not_empty)]
FieldPath = Annotated[str, AfterValidator(_dotted)]
TokenId = Annotated[int, Field(ge=0, lt=1 << 32)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Raw(_Part):
    """Which shards, and where a document's text, id and language stand in its line."""

    documents: Annotated[tuple[Token, ...], Field(min_length=1, strict=False)] = ("raw/**/*.json*",)
    text_field: FieldPath = "text"
    id_field: FieldPath = "id"
    language_field: FieldPath = "metadata.language"

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        for name, value in (("id_field", self.id_field), ("language_field", self.language_field)):
            shorter, longer = sorted((f"{value}.", f"{self.text_field}."), key=len)
            if longer.startswith(shorter):
                raise ValueError(
                    f"{name} = {value} and text_field = {self.text_field} stand in one another"
                )
        return self


class Sentinels(NamedTuple):
    """The three control tokens of a rearranged file, as text."""

    prefix: str
    middle: str
    suffix: str


class Fim(_Part):
    """Which files are rearranged, where they are cut and how the parts are laid out."""

    fim_rate: Probability = 0.5
    psm_spm_split: Probability = 0.5
    split: Literal["dolma"] = "dolma"
    spm_format: Literal["dolma"] = "dolma"
    file_separator_token: Token | None = "<|file_sep|>"
    fim_prefix_token: Token = "<|fim_prefix|>"
    fim_middle_token: Token = "<|fim_middle|>"
    fim_suffix_token: Token = "<|fim_suffix|>"

    @property
    def sentinels(self) -> Sentinels:
        """Prefix, middle and suffix sentinel."""
        return Sentinels(self.fim_prefix_token, self.fim_middle_token, self.fim_suffix_token)

    @model_validator(mode="after")
    def _check_tokens(self) -> Self:
        if len(set(self.sentinels)) < 3:
            raise ValueError(f"the three sentinels must differ, got {', '.join(self.sentinels)}")
        separator = self.file_separator_token
        for sentinel in self.sentinels:
            if separator is not None and separator in sentinel:
                raise ValueError(
                    f"the sentinel {sentinel} contains the file separator {separator}: "
                    "cutting a document at its separators would cut the sentinel in two"
                )
        return self


class Tokenizer(_Part):
    """Which tokenizer, and the ids that mark a document's ends."""

    name_or_path: Token = "allenai/dolma2-tokenizer"
    bos_token_id: TokenId | None = None
    eos_token_id: TokenId = 100257
    pad_token_id: TokenId | None = 100277
    segment_before_tokenization: Literal[False] = False


class Tokens(_Part):
    """How the token arrays are written.

    Attributes:
        tokenizer: The tokenizer and its control ids.
        dtype: Type of one token id in an array; the smallest that holds the vocabulary.
        max_size: Tokens in one array file; a document never spans two.
        shuffle: Whether a partition's documents are mixed, by keyed draws.
    """

    tokenizer: Tokenizer = Tokenizer()
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

        Hashes the parts of the recipe that the asset and its inputs depend on, as canonical JSON.
        Fields at their version-1 defaults are left out, so that an option added later changes no
        existing fingerprint; so are `raw.documents` and paths, which say where, not what.

        Args:
            asset: One of `ASSETS`, or `corpus_report`, which depends on them all.
            tokenizer_hash: Content hash of the tokenizer's files; used where tokens are.
        """
        stages = ASSETS[: ASSETS.index(asset) + 1] if asset in ASSETS else ASSETS
        law: dict[str, Any] = {
            "laws": {stage: LAWS[stage] for stage in stages},
            "raw": self.raw.model_dump(exclude_defaults=True, exclude={"documents"}),
            "sentinels": self.fim.sentinels,
        }
        if "fim_shards" in stages:
            law["seed"] = self.seed
            law["fim"] = self.fim.model_dump(exclude_defaults=True)
        if "token_arrays" in stages:
            tokens = self.tokens.model_dump(exclude_defaults=True)
            tokens.get("tokenizer", {}).pop("name_or_path", None)
            law["tokens"] = {name: value for name, value in tokens.items() if value != {}}
            law["tokenizer"] = tokenizer_hash
        canonical = json.dumps(law, sort_keys=True, separators=(",", ":"))
        return blake2b(canonical.encode(), digest_size=16).hexdigest()


def built_in_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    folder = files("fim_assets") / "recipes"
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir())


def load_recipe(name_or_path: str) -> Recipe:
    """Read a recipe.

    Args:
        name_or_path: A built-in recipe's name, or the path of a YAML file.

    Raises:
        RecipeError: If there is none, it is not YAML, or a field is unknown or has a bad value.
    """
    if name_or_path in built_in_recipes():
        text = (files("fim_assets") / "recipes" / f"{name_or_path}.yaml").read_text("utf-8")
    else:
        path = Path(name_or_path).expanduser()
        if not path.is_file():
            raise RecipeError(
                f"recipe {name_or_path}: no such file, and no built-in recipe has this name; "
                f"built in: {', '.join(built_in_recipes())}"
            )
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError as error:
            raise RecipeError(f"recipe {name_or_path}: not UTF-8: {error}") from error
    return parse_recipe(text, name_or_path)


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
        content = {}
    if not isinstance(content, dict):
        raise RecipeError(f"recipe {name}: must be a mapping of fields, got {content!r}")
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        lines = [_explain(dict(e)) for e in error.errors()]
        raise RecipeError("\n".join(f"recipe {name}: {line}" for line in lines)) from None


def _explain(error: dict[str, Any]) -> str:
    path = [str(part) for part in error["loc"]]
    field = ".".join(path)
    if error["type"] == "extra_forbidden":
        return f"{field}: unknown field; {_instead(path)}"
    message = error["msg"].removeprefix("Value error, ")
    if isinstance(error["input"], dict):
        return f"{field}: {message}" if field else message
    return f"{field} = {json.dumps(error['input'], default=str)}: {message}"


def _instead(path: list[str]) -> str:
    model: type[BaseModel] = Recipe
    for part in path[:-1]:
        inner = model.model_fields[part].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            break
        model = inner
    name, allowed = path[-1], list(model.model_fields)
    if name in _FROM_DOLMA:
        return f"Dolma's {name} has no meaning here; what replaces it: {_FROM_DOLMA[name]}"
    close = difflib.get_close_matches(name, allowed, n=1)
    meant = f"did you mean {close[0]}? " if close else ""
    return f"{meant}allowed: {', '.join(allowed)}"
