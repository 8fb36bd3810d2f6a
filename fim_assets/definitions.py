"""The whole graph: `build_definitions` of any recipe and settings, `defs` of the environment."""

from collections.abc import Sequence

import dagster as dg

from fim_assets.defs.assets import Graph, build_assets
from fim_assets.defs.partitions import list_shards
from fim_assets.pipeline import Corpus
from fim_assets.recipe import Recipe, load_recipe
from fim_assets.settings import Settings
from fim_assets.tokens.tokenizer import content_hash, find_tokenizer


def build_definitions(
    recipe: Recipe, settings: Settings, key_prefix: Sequence[str] = ()
) -> dg.Definitions:
    """Build the assets, checks and partitions of one corpus.

    Args:
        recipe: What decides the bytes.
        settings: Where things lie and how much runs at once.
        key_prefix: Goes before asset keys and output folders, never into seeds, so that several
            recipes can stand in one code location.
    """
    tokenizer = find_tokenizer(recipe.tokens.tokenizer.name_or_path)
    corpus = Corpus(recipe, content_hash(tokenizer), settings.data_root, tuple(key_prefix))
    graph = Graph(corpus, settings, list_shards(recipe, settings))
    # In one process: the partitions' step brings its own workers.
    return dg.Definitions(assets=build_assets(graph), executor=dg.in_process_executor)


@dg.definitions
def defs() -> dg.Definitions:
    """The environment's corpus."""
    settings = Settings.from_environment()
    return build_definitions(load_recipe(settings.recipe), settings)
