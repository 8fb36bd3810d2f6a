"""A corpus as a component of anybody's project: what its defs.yaml may say, and how it is read."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from string import Template
from typing import Annotated, Any

import dagster as dg
from dagster.components.resolved.errors import ResolutionException

from fim_assets.definitions import build_definitions
from fim_assets.errors import USER_ERRORS, UserError
from fim_assets.io.locations import Location, expand_home, is_url
from fim_assets.recipe import Recipe, built_in_recipes, load_recipe, recipe_of
from fim_assets.settings import Engine, Settings

_Recipe = str | dict[str, Any]

_SCAFFOLD = Template("""\
type: $type_name

attributes:
  # Folder or URL of all outputs. Relative paths start from this file's folder.
  data_root: "{{ context.project_root }}/data"
  # Folder or URL where the recipe's globs of raw shards start; by default the data root.
  # input_root: s3://my-corpus

  # A built-in recipe, the path of a YAML file, or the fields that differ from olmo_midtraining's:
  # recipe: {raw: {documents: ["raw/**/*.parquet"]}, fim: {fim_rate: 0.9}}
  recipe: olmo_midtraining

  # Goes before asset keys and output folders, and names group, job and sensor.
  key_prefix: $prefix

  # The assets that write the raw shards.
  # deps: [my_files]
""")


class _Scaffolder(dg.Scaffolder[Any]):
    """Writes a defs.yaml with what most corpora set, each with a comment."""

    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        """Write it, or what Dagster writes for Python and behind another component."""
        if request.scaffold_format != "yaml" or request.append:
            dg.scaffold_component(request, {"data_root": "{{ context.project_root }}/data"})
            return
        prefix = re.sub(r"\W", "_", request.target_path.name, flags=re.ASCII)
        text = _SCAFFOLD.substitute(type_name=request.type_name, prefix=prefix)
        (request.target_path / "defs.yaml").write_text(text, "utf-8")


def _refused(context: dg.ResolutionContext, error: Exception) -> ResolutionException:
    """An error with file, line and field, where Dagster would put a traceback for one of ours."""
    where = ".".join(map(str, context.path))
    if context.source_position_tree is not None:
        position, _ = context.source_position_tree.lookup_closest_and_path(context.path, None)
        where = f"{position}: {where}"
    return ResolutionException(f"{where}: {error}")


def _text(context: dg.ResolutionContext, value: str) -> str:
    """A text of the file, its template filled in; a UserError if nothing is left of it."""
    filled = context.resolve_value(value)
    if filled is None or filled == "":
        problem = f"{value}: is empty; is the variable set that it names?"
        raise UserError(problem if value else "is empty")
    return str(filled)


def _path(context: dg.ResolutionContext, text: str) -> str:
    """A path that starts from the folder of the file that names it."""
    return str(context.resolve_source_relative_path(str(expand_home(text))))


def _read_location(context: dg.ResolutionContext, value: str | None) -> str | None:
    if value is None:
        return None
    try:
        text = _text(context, value)
        return text if is_url(text) else _path(context, text)
    except USER_ERRORS as error:
        raise _refused(context, error) from None


def _read_recipe(context: dg.ResolutionContext, value: _Recipe) -> _Recipe:
    try:
        if isinstance(value, str):
            value = _text(context, value)
            value = value if value in built_in_recipes() else _path(context, value)
        _load(value)
    except USER_ERRORS as error:
        raise _refused(context, error) from None
    return value


def _read_prefix(context: dg.ResolutionContext, value: str) -> str:
    """Not taken for none where a variable is not set: outputs would be mixed with another's."""
    try:
        return value and _text(context, value)
    except USER_ERRORS as error:
        raise _refused(context, error) from None


def _read_deps(context: dg.ResolutionContext, value: Any) -> list[dg.AssetKey] | None:
    """Dagster lets a text pass for the template of a list, and would take a key a letter of it."""
    keys: Any = context.resolve_value(value)
    if isinstance(keys, str):
        raise _refused(context, UserError(f"{keys}: give a list of keys"))
    return keys and [dg.AssetKey.from_user_string(key) for key in keys]


def _load(recipe: _Recipe) -> Recipe:
    return load_recipe(recipe) if isinstance(recipe, str) else recipe_of(recipe, "in place")


@dg.scaffold_with(_Scaffolder)
@dataclass(kw_only=True)
class FimCorpus(dg.Component, dg.Resolvable):
    """A corpus of fill-in-the-middle data: raw code shards, FIM shards, token arrays, a report.

    Each raw shard is a partition of three assets, which are checked; `corpus_report` adds all
    partitions up. A job takes raw shards to the report, and a sensor, which is off at first, makes
    what is due. Several corpora in one project need a `key_prefix` each.
    """

    data_root: Annotated[
        str | Location,
        dg.Resolver(
            _read_location,
            model_field_type=str,
            inject_before_resolve=False,
            description="Folder or URL that holds all outputs. Here and below, a relative path "
            "starts from the folder of the file that names it.",
            examples=["{{ context.project_root }}/data", "s3://my-corpus/out"],
        ),
    ]
    input_root: Annotated[
        str | Location | None,
        dg.Resolver(
            _read_location,
            model_field_type=str | None,
            inject_before_resolve=False,
            description="Folder or URL where relative globs in the recipe's raw.documents start; "
            "by default the data root.",
        ),
    ] = None
    recipe: Annotated[
        _Recipe,
        dg.Resolver(
            _read_recipe,
            inject_before_resolve=False,
            description="What decides the bytes: a built-in recipe's name, the path of a YAML "
            "file, or its fields in place, which are read without templates.",
            examples=["qwen2_5_coder", "recipe.yaml", {"fim": {"fim_rate": 0.9}}],
        ),
    ] = "olmo_midtraining"
    key_prefix: Annotated[
        str,
        dg.Resolver(
            _read_prefix,
            inject_before_resolve=False,
            description="Parts joined by /, of letters, digits and _. They go before asset keys "
            "and output folders, and into the names of job, sensor and group.",
            examples=["code", "ablation/rate_90"],
        ),
    ] = ""
    group_name: Annotated[
        str | None,
        dg.Resolver.default(
            description="The group of the assets; by default the prefix, joined by __, or "
            "fim_assets where there is none."
        ),
    ] = None
    deps: Annotated[
        Sequence[dg.AssetKey] | None,
        dg.Resolver(
            _read_deps,
            model_field_type=list[str] | None,
            inject_before_resolve=False,
            description="Keys of the assets that write the raw shards; raw_shards depends on them.",
            examples=[["my_files"]],
        ),
    ] = None
    workers: Annotated[
        int | None,
        dg.Resolver.default(
            description="Partitions worked on at once in a run; by default one a core."
        ),
    ] = None
    engine: Annotated[
        Engine,
        dg.Resolver.default(
            description="Who works on them: local, processes of the machine that runs the step, "
            "or ray, a cluster."
        ),
    ] = "local"
    partitions_per_run: Annotated[
        int | None,
        dg.Resolver.default(
            description="Partitions of a backfill that one run takes; by default all."
        ),
    ] = None

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The assets, checks, job and sensor."""
        try:
            settings = Settings(
                self.data_root,
                self.input_root,
                workers=self.workers,
                engine=self.engine,
                partitions_per_run=self.partitions_per_run,
            )
            prefix = self.key_prefix.split("/") if self.key_prefix else ()
            recipe = _load(self.recipe)
            return build_definitions(
                recipe, settings, prefix, group_name=self.group_name, deps=self.deps or ()
            )
        except (*USER_ERRORS, dg.DagsterInvalidDefinitionError) as error:
            raise dg.DagsterInvalidDefinitionError(f"{context.path}: {error}") from None
