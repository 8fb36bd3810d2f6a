"""The whole graph: `build_definitions` of any recipe and settings, `defs` of the environment."""

import logging
from collections.abc import Sequence

import click
import dagster as dg

from fim_assets.corpus.corpus import list_shards
from fim_assets.defs.assets import CorpusDefinition, build_assets
from fim_assets.defs.automation import automation
from fim_assets.defs.partitions import refuse_command
from fim_assets.errors import USER_ERRORS
from fim_assets.nothing_found import nothing_found
from fim_assets.open_corpus import open_corpus
from fim_assets.recipe import Recipe, load_recipe
from fim_assets.settings import Settings
from fim_assets.tokenizer.controls import refuse_missing_controls
from fim_assets.tokenizer.find import TokenizerError, content_hash, find_tokenizer

log = logging.getLogger(__name__)


def build_definitions(
    recipe: Recipe,
    settings: Settings,
    key_prefix: Sequence[str] = (),
    executor: dg.ExecutorDefinition = dg.in_process_executor,
) -> dg.Definitions:
    """Build the assets, checks and partitions of one corpus.

    Args:
        recipe: What decides the bytes.
        settings: Where files are and how much runs at once.
        key_prefix: Goes before asset keys and output folders, never into seeds, so that several
            recipes can be in one code location.
        executor: Runs the steps: by default one after the other in the run's process, since the
            partitions' step brings its own workers.
    """
    return _definitions(_corpus(recipe, settings, key_prefix), executor)


def _corpus(recipe: Recipe, settings: Settings, key_prefix: Sequence[str] = ()) -> CorpusDefinition:
    tokenizer = find_tokenizer(recipe.tokens.tokenizer)
    try:
        refuse_missing_controls(recipe, tokenizer)
    except TokenizerError as error:
        log.warning("token_arrays would fail: %s", error)
    corpus = open_corpus(recipe, settings, key_prefix, content_hash(tokenizer))
    shards = list_shards(corpus, settings.input_root)
    if not shards:
        log.warning("%s; %s", *nothing_found(recipe.raw.documents, settings))
    return CorpusDefinition(corpus, settings, shards)


def _definitions(graph: CorpusDefinition, executor: dg.ExecutorDefinition) -> dg.Definitions:
    assets = dg.Definitions(assets=build_assets(graph), executor=executor)
    return dg.Definitions.merge(assets, automation(graph.corpus))


@dg.definitions
def defs() -> dg.Definitions:
    """The environment's corpus."""
    try:
        settings = Settings.from_environment()
        graph = _corpus(load_recipe(settings.recipe), settings)
        # `dagster` and `dg` are click's, which knows what this command was given.
        if command := click.get_current_context(silent=True):
            given = (command.params.get(name) or "" for name in ("partition", "partition_range"))
            refuse_command(settings, graph.shards, *given)
        return _definitions(graph, dg.in_process_executor)
    except USER_ERRORS as error:
        # Which click shows as one message, without a traceback.
        raise click.ClickException(str(error)) from error
