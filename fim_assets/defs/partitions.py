"""Partitions: one a shard, listed when the definitions load."""

import logging
from pathlib import Path

import dagster as dg

from fim_assets.recipe import Recipe
from fim_assets.settings import Settings
from fim_assets.shards import find_shards

log = logging.getLogger(__name__)


def list_shards(recipe: Recipe, settings: Settings) -> dict[str, Path]:
    """The shards by partition key; with none, a warning says which globs found nothing."""
    shards = find_shards(recipe.raw.documents, settings.input_root)
    if not shards:
        log.warning("%s", nothing_found(recipe, settings))
    return shards


def nothing_found(recipe: Recipe, settings: Settings) -> str:
    """What to say where there is no shard."""
    return (
        f"no shard found: raw.documents = {list(recipe.raw.documents)} below "
        f"{settings.input_root}; set FIM_INPUT_ROOT or FIM_DATA_ROOT, or name other globs in the "
        "recipe"
    )


def shard_partitions(shards: dict[str, Path]) -> dg.StaticPartitionsDefinition:
    """Static keys, so that the command line works without any prior state."""
    return dg.StaticPartitionsDefinition(list(shards))
