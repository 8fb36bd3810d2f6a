"""The stages in the order of the data: the one list.

    raw shards ─> raw_shards, fim_shards ─> token_arrays ─> corpus_report

A new stage is a folder with a `stage.py`, and a line here. The contract, and what a stage reads,
is `corpus/stage.py`; the report is no stage, since it has no partitions.
"""

from fim_assets.corpus.stage import Stage
from fim_assets.fim_shards.stage import FIM_SHARDS
from fim_assets.raw_shards.stage import RAW_SHARDS
from fim_assets.token_arrays.stage import TOKEN_ARRAYS

STAGES: tuple[Stage, ...] = (RAW_SHARDS, FIM_SHARDS, TOKEN_ARRAYS)

ASSETS = tuple(stage.name for stage in STAGES)
