"""The recipe: what decides the bytes, and how it is read from YAML."""

import difflib
import json
import operator
import os
import reprlib
from collections.abc import Mapping
from hashlib import blake2b
from importlib.resources import files
from itertools import combinations
from typing import Any, Self, get_args

import yaml
from pydantic import Field, ValidationError, model_validator

from fim_assets.io.locations import expand_home
from fim_assets.layouts.registry import LAYOUTS
from fim_assets.recipe.context import Context
from fim_assets.recipe.errors import RecipeError
from fim_assets.recipe.fim import MAPPING, SCALAR, Fim
from fim_assets.recipe.raw import Raw
from fim_assets.recipe.repositories import MEMBERS, Repositories
from fim_assets.recipe.schemas import REPOSITORY_FIELDS
from fim_assets.recipe.tokens import Tokens
from fim_assets.recipe.values import Section, field_names

_SHUFFLED = ("batch_size", "ring_size", "local_shuffle", "sample_ring_prop")

_FROM_DOLMA = {
    **dict.fromkeys(
        ("destination", "output", "work_dir"), "the environment variable FIM_DATA_ROOT"
    ),
    **dict.fromkeys(("inputs", "documents"), "raw.documents"),
    **dict.fromkeys(_SHUFFLED, "tokens.shuffle, which mixes the whole partition"),
    **dict.fromkeys(("files_per_process", "paths_per_worker"), "partitions: a shard is one"),
    "processes": "the environment variable FIM_WORKERS",
    "seed": "the recipe's top-level seed",
    "tokenizer_name_or_path": "tokens.tokenizer.name_or_path",
    "fields": "raw.text_field and raw.id_field",
    "text_field_name": "raw.text_field",
    "id_field_name": "raw.id_field",
    "encode_special_tokens": "nothing: document text is always encoded as ordinary text",
    "dryrun": "nothing: materialize one partition to try a recipe",
    "debug": "nothing: a partition is worked on in the run's own process if it is the only one",
    "refresh": "nothing: materializing an asset again refreshes it",
    "fast": "nothing: the fastest encoder that is exact is used",
}

_BUILT_IN = files("fim_assets") / "recipe" / "built_in"

_few_words = reprlib.Repr()
_few_words.maxlevel = 2


class Recipe(Section):
    """All that decides the bytes: same recipe, same input, same libraries, same bytes."""

    seed: int = 3920
    raw: Raw = Raw()
    # Left out where a recipe has none: recipes are written as before the section came.
    repositories: Repositories | None = Field(default=None, exclude_if=operator.not_)
    fim: Fim = Fim()
    context: Context | None = Field(default=None, exclude_if=operator.not_)
    tokens: Tokens = Tokens()

    @model_validator(mode="after")
    def _check_context(self) -> Self:
        in_pieces = self.context is not None and self.context.longer == "pieces"
        if self.tokens.align and self.context is None:
            raise ValueError("tokens.align needs context.tokens, the length of a sequence")
        if self.tokens.label_mask == "text" and not (in_pieces or self.tokens.align == "pad"):
            raise ValueError(
                "tokens.label_mask = text would be true everywhere: it leaves out the EOS of "
                "pieces (context.longer: pieces) and padding (tokens.align: pad)"
            )
        return self

    @model_validator(mode="after")
    def _check_repositories(self) -> Self:
        if self.repositories is None:
            return self
        written = [MEMBERS, self.repository_field, *self.raw.document_fields]
        for one, other in combinations(sorted(written, key=lambda f: len(field_names(f))), 2):
            if field_names(other)[: len(field_names(one))] == field_names(one):
                raise ValueError(
                    f"repositories: the fields {one} and {other} of a document stand in one another"
                )
        if not self.keeps_repository:
            raise ValueError(
                f"raw.keep_fields leaves out {self.repository_field}, where a repository's name "
                "stands; name it there"
            )
        if self.repositories.joined.separator and self.fim.file_separator_token is None:
            raise ValueError(
                f"repositories.layout = {self.repositories.layout} needs fim.file_separator_token"
            )
        return self

    @model_validator(mode="after")
    def _check_languages(self) -> Self:
        spellings: dict[str, list[str]] = {}
        for name in sorted(self.fim.languages):
            spellings.setdefault(self.raw.language_key(name), []).append(name)
        for language, names in spellings.items():
            if len(names) > 1:
                raise ValueError(
                    f"fim.fim_rate: {' and '.join(names)} are one language, {language}; give one"
                )
        return self

    @property
    def repository_field(self) -> str:
        """Where a line holds its repository's name, if it has one."""
        named = None if self.repositories is None else self.repositories.name_field
        of_schema = REPOSITORY_FIELDS.get(self.raw.schema_name or "", "metadata.repo_name")
        return named or of_schema

    @property
    def keeps_repository(self) -> bool:
        """Whether a repository's name goes on from a row of Parquet to its line."""
        kept, names = self.raw.keep_fields, field_names(self.repository_field)
        return kept is None or any(names[: len(f)] == f for f in map(field_names, kept))

    @property
    def repository_token(self) -> str | None:
        """What a repository's name stands behind in its document, where it is written."""
        if self.repositories is None:
            return None
        of_layout = self.repositories.joined.repository_token
        return of_layout and next(iter(self.fim.repository_tokens), of_layout)

    def named(self, language: str) -> str:
        """A document's language as `fim.fim_rate` names it, if it does; else as it is written."""
        key = self.raw.language_key(language)
        same = (name for name in self.fim.languages if self.raw.language_key(name) == key)
        return next(same, language)

    def rate(self, language: str | None) -> float:
        """The probability that a candidate of a document's language is rearranged."""
        return self.fim.rate(language and self.named(language))

    @property
    def window(self) -> int | None:
        """Tokens of an array that a trainer takes at once, None where documents are not aligned."""
        if self.context is None or not self.tokens.align:
            return None
        return self.context.tokens + LAYOUTS[self.tokens.layout].extra_tokens

    @property
    def piece_tokens(self) -> int | None:
        """The most ids of a piece, None where no document is divided.

        Aligned pieces take half a sequence at most: pieces nearly as long as a sequence would leave
        `token_arrays.align` nothing to order them by.
        """
        if self.context is None or self.context.longer != "pieces":
            return None
        return self.context.tokens // 2 if self.tokens.align else self.context.tokens

    def context_identity(self) -> dict[str, Any]:
        """What decides which documents are too long, and how they are divided, for fingerprints."""
        if self.context is None:
            return {}
        tokenizer = self.tokens.tokenizer
        return {
            **self.context.model_dump(),
            "piece_tokens": self.piece_tokens,
            "head": tokenizer.head,
            "paragraphs": tokenizer.segment_before_tokenization,
        }

    @property
    def fim_needs_tokenizer(self) -> bool:
        """Whether token ids have a part in what becomes of a file in its FIM shard."""
        max_middle = self.fim.max_middle
        counts_ids = max_middle is not None and max_middle.tokens is not None
        return counts_ids or self.context is not None

    def partition_seed(self, key: str) -> int:
        """The partition's seed: 64 bits that depend on the recipe's seed and the key alone."""
        digest = blake2b(f"{self.seed}/{key}".encode()).digest()
        return int.from_bytes(digest[:8], "little")


def recipe_yaml(recipe: Recipe) -> str:
    """The fields that differ from the defaults, as a file's content that gives the recipe again."""
    fields = recipe.model_dump(mode="json", exclude_defaults=True)
    return harmless_yaml(fields) if fields else "{}\n"


def harmless_yaml(content: Any) -> str:
    """YAML in the given order, with escapes where a character could act on what shows it."""
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    printable = text.replace("\n", "").isprintable()
    return text if printable else yaml.safe_dump(content, sort_keys=False)


def built_in_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(file.name.removesuffix(".yaml") for file in _BUILT_IN.iterdir())


def load_recipe(name_or_path: str | os.PathLike[str]) -> Recipe:
    """Read a recipe, by a built-in recipe's name or the path of a YAML file.

    Raises:
        RecipeError: If there is none, it is not YAML, or a field is unknown or has a bad value.
    """
    names = built_in_recipes()
    if name_or_path in names:
        text = (_BUILT_IN / f"{name_or_path}.yaml").read_text("utf-8")
        return parse_recipe(text, str(name_or_path))
    try:
        path = expand_home(os.fspath(name_or_path))
    except FileNotFoundError as error:
        raise RecipeError(f"recipe {error}") from error
    if not path.is_file():
        raise RecipeError(
            f"recipe {name_or_path}: no such file, and no built-in recipe has this name; "
            f"built in: {', '.join(names)}"
        )
    try:
        return parse_recipe(path.read_text("utf-8"), str(name_or_path))
    except UnicodeDecodeError as error:
        raise RecipeError(f"recipe {name_or_path}: not UTF-8: {error}") from error


def built_in_name(recipe: Recipe) -> str | None:
    """The name of the built-in recipe that it is, if it is one."""
    return next((name for name in built_in_recipes() if load_recipe(name) == recipe), None)


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                problem = f"{key.value} stands twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def parse_recipe(text: str, name: str) -> Recipe:
    """Build a recipe from YAML text; `name` stands in errors, which are those of `load_recipe`."""
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
    return recipe_of(content, name)


def recipe_of(content: Mapping[str, Any], name: str) -> Recipe:
    """Build a recipe from its fields; `name` stands in errors, which are those of `load_recipe`."""
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        lines = [f"recipe {name}: {_explain(dict(details))}" for details in error.errors()]
        raise RecipeError("\n".join(lines)) from None


def _explain(error: dict[str, Any]) -> str:
    path = [str(part) for part in error["loc"] if part not in {MAPPING, SCALAR}]
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
    model: type[Section] = Recipe
    for part in path[:-1]:
        model = _model_in(model.model_fields[part].annotation) or model
    name, allowed = path[-1], model.allowed_names()
    if name in _FROM_DOLMA:
        return f"Dolma's {name} has no meaning here; what replaces it: {_FROM_DOLMA[name]}"
    close = difflib.get_close_matches(name, allowed, n=1)
    meant = f"did you mean {close[0]}? " if close else ""
    return f"{meant}allowed: {', '.join(allowed)}"


def _model_in(annotation: Any) -> type[Section] | None:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next((model for part in get_args(annotation) if (model := _model_in(part))), None)
