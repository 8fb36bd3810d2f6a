"""Partitions: one a shard, listed when the definitions load."""

from collections.abc import Iterable

import dagster as dg

from fim_assets.recipe import Recipe
from fim_assets.settings import Settings


def nothing_found(recipe: Recipe, settings: Settings) -> str:
    """What to say where there is no shard."""
    return (
        f"no shard found: raw.documents = {list(recipe.raw.documents)} below "
        f"{settings.input_root}; set FIM_INPUT_ROOT or FIM_DATA_ROOT, or name other globs in the "
        "recipe"
    )


def shard_partitions(keys: Iterable[str]) -> dg.StaticPartitionsDefinition:
    """Static keys, so that the command line works without any prior state."""
    return dg.StaticPartitionsDefinition(list(keys))
