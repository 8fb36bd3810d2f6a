"""The recipe: what decides the bytes, and how it is read from YAML."""

import difflib
import json
import os
import reprlib
from functools import cache
from hashlib import blake2b
from importlib.metadata import version
from importlib.resources import files
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from fim_assets.io.storage import expand_home
from fim_assets.recipe.errors import RecipeError
from fim_assets.recipe.fim import MAPPING, SCALAR, Fim
from fim_assets.recipe.raw import Raw
from fim_assets.recipe.tokens import Tokens
from fim_assets.recipe.values import Section

ASSETS = ("raw_shards", "fim_shards", "token_arrays")

LAWS = {"raw_shards": 3, "fim_shards": 4, "token_arrays": 3}
"""A stage's number is raised whenever the same input would give other bytes, or another `result` in
its receipt."""

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

_BUILT_IN = files("fim_assets") / "recipe" / "built_in"

_few_words = reprlib.Repr()
_few_words.maxlevel = 2


class Recipe(Section):
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
        a tokenizer's name that stands in the layout's files (`Layout.identity`).

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
            law["tokens"] = self.tokens.identity()
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
    return sorted(file.name.removesuffix(".yaml") for file in _BUILT_IN.iterdir())


def load_recipe(name_or_path: str | os.PathLike[str]) -> Recipe:
    """Read a recipe.

    Args:
        name_or_path: A built-in recipe's name, or the path of a YAML file.

    Raises:
        RecipeError: If there is none, it is not YAML, or a field is unknown or has a bad value.
    """
    if name_or_path in built_in_recipes():
        text = (files("fim_assets") / "recipe" / "built_in" / f"{name_or_path}.yaml").read_text(
            "utf-8"
        )
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
