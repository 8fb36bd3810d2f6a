"""The whole graph: `build_definitions` of any recipe and settings, `defs` of the environment."""

import logging
import re
from collections.abc import Iterable, Sequence

import click
import dagster as dg

from fim_assets.corpus.corpus import list_shards
from fim_assets.defs.assets import build_assets
from fim_assets.defs.automation import automation
from fim_assets.defs.corpus_definition import CorpusDefinition, Dep
from fim_assets.defs.partitions import refuse_command
from fim_assets.errors import USER_ERRORS
from fim_assets.nothing_found import nothing_found
from fim_assets.open_corpus import open_corpus
from fim_assets.recipe import Recipe, load_recipe
from fim_assets.settings import Settings, SettingsError
from fim_assets.tokenizer.controls import refuse_missing_controls
from fim_assets.tokenizer.find import TokenizerError, content_hash, find_tokenizer

log = logging.getLogger(__name__)


def build_definitions(
    recipe: Recipe,
    settings: Settings,
    key_prefix: Sequence[str] = (),
    executor: dg.ExecutorDefinition | None = None,
    group_name: str | None = None,
    deps: Iterable[Dep] = (),
) -> dg.Definitions:
    """Build the assets, checks, job and sensor of one corpus, to be merged with anybody's own.

    Args:
        recipe: What decides the bytes.
        settings: Where files are and how much runs at once.
        key_prefix: Goes before asset keys and output folders, and into the names of job, sensor and
            group, never into seeds, so that several corpora can be in one code location.
        executor: Runs the steps of the whole code location; by default the location's own does.
        group_name: By default the prefix, joined by `__`, or `fim_assets` where there is none.
        deps: The assets that write the raw shards, on which `raw_shards` depends.

    Raises:
        UserError: If the recipe, the settings, the tokenizer or the shards cannot be used.
    """
    if isinstance(deps, str):
        raise SettingsError(f"deps={deps}: give a list of keys")
    graph = _corpus(recipe, settings, key_prefix, group_name, tuple(deps))
    return _definitions(graph, executor)


def _corpus(
    recipe: Recipe,
    settings: Settings,
    key_prefix: Sequence[str] = (),
    group_name: str | None = None,
    deps: Sequence[Dep] = (),
) -> CorpusDefinition:
    _refuse_prefix(key_prefix)
    tokenizer = find_tokenizer(recipe.tokens.tokenizer)
    try:
        refuse_missing_controls(recipe, tokenizer)
    except TokenizerError as error:
        log.warning("token_arrays would fail: %s", error)
    corpus = open_corpus(recipe, settings, key_prefix, content_hash(tokenizer))
    shards = list_shards(corpus, settings.input_root)
    if not shards:
        # A project whose asset writes the shards begins without.
        tell = log.info if deps else log.warning
        tell("%s; %s", *nothing_found(recipe.raw.documents, settings))
    return CorpusDefinition(corpus, settings, shards, group_name, deps)


def _refuse_prefix(key_prefix: Sequence[str]) -> None:
    """Refuse what no op, job or sensor can be named after; a text would be a part a character."""
    if isinstance(key_prefix, str):
        raise SettingsError(f"key_prefix={key_prefix}: give a list of its parts")
    if not all(re.fullmatch(r"\w+", part, re.ASCII) for part in key_prefix):
        named = f"key_prefix={'/'.join(key_prefix)}"
        raise SettingsError(f"{named}: jobs are named after it; give letters, digits and _ alone")


def _definitions(graph: CorpusDefinition, executor: dg.ExecutorDefinition | None) -> dg.Definitions:
    assets = dg.Definitions(assets=build_assets(graph), executor=executor)
    return dg.Definitions.merge(assets, automation(graph))


@dg.definitions
def defs() -> dg.Definitions:
    """The environment's corpus."""
    try:
        settings = Settings.from_environment()
        graph = _corpus(load_recipe(settings.recipe), settings)
        # `dagster` and `dg` are click's, which knows what this command was given.
        if command := click.get_current_context(silent=True):
            given = [command.params.get(name) for name in ("partition", "partition_range")]
            if "" in given:
                # Of `--partition-range "$(fim-assets keys --range)"`, which has failed.
                empty = "an empty partition or range; `fim-assets keys` prints all partitions"
                raise SettingsError(empty if graph.shards else graph.no_shards)
            refuse_command(settings, graph.shards, *(name or "" for name in given))
        # Its step brings workers of its own, and a process for each step would only cost time.
        return _definitions(graph, dg.in_process_executor)
    except USER_ERRORS as error:
        # Which click shows as one message, without a traceback.
        raise click.ClickException(str(error)) from error
