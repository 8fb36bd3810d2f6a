"""Definitions of assets that do nothing: what Dagster's command costs before there is any work.

Nothing but Dagster is imported, and an event a partition and asset is all that is recorded. What
the same events cost with the content that the project gives them is `empty_run`.
"""

import os
from collections.abc import Iterator

import dagster as dg

KEYS = "FIM_BENCH_KEYS"
"""Variable of the environment: the partitions, with commas between them."""

_SHARDS = ("raw_shards", "fim_shards", "token_arrays")


@dg.definitions
def defs() -> dg.Definitions:
    """What `dagster asset materialize -m` loads: the project's assets by name."""
    partitions = dg.StaticPartitionsDefinition(os.environ[KEYS].split(","))
    one_run = dg.BackfillPolicy.single_run()

    @dg.multi_asset(
        specs=[dg.AssetSpec(asset, partitions_def=partitions) for asset in _SHARDS],
        partitions_def=partitions,
        backfill_policy=one_run,
    )
    def shards() -> Iterator[dg.MaterializeResult[None]]:
        yield from map(dg.MaterializeResult, _SHARDS)

    @dg.asset(
        deps=[dg.AssetDep(asset, partition_mapping=dg.AllPartitionMapping()) for asset in _SHARDS],
        backfill_policy=one_run,
    )
    def corpus_report() -> None:
        """Nothing."""

    return dg.Definitions([shards, corpus_report], executor=dg.in_process_executor)
