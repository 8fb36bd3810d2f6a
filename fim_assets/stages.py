"""The stages in the order of the data: the one list.

    raw shards ─> raw_shards, repository_shards ─> fim_shards ─> token_arrays ─> corpus_report

A new stage is a folder with a `stage.py`, and a line here. The contract, and what a stage reads,
is `corpus/stage.py`; the report is no stage, since it has no partitions. A recipe may lack some:
without its section `repositories`, `fim_shards` reads the raw shards.
"""

from fim_assets.corpus.stage import Stage
from fim_assets.fim_shards.stage import FIM_SHARDS
from fim_assets.raw_shards.stage import RAW_SHARDS
from fim_assets.recipe import Recipe
from fim_assets.repository_shards.stage import REPOSITORY_SHARDS
from fim_assets.token_arrays.stage import TOKEN_ARRAYS

STAGES: tuple[Stage, ...] = (RAW_SHARDS, REPOSITORY_SHARDS, FIM_SHARDS, TOKEN_ARRAYS)


def stages_of(recipe: Recipe) -> tuple[Stage, ...]:
    """The stages that a recipe has, in order."""
    return tuple(stage for stage in STAGES if stage.is_in(recipe))


ASSETS = tuple(stage.name for stage in stages_of(Recipe()))
"""Names of those that every recipe has."""
