"""Definitions whose run does nothing but record the events of another run over again."""

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION
from dagster._serdes import deserialize_value, serialize_value

from fim_assets.stages import ASSETS

FOLDER = "FIM_BENCH_EVENTS"
"""Variable of the environment: the folder that `write_events` wrote to."""


def write_events(instance: dg.DagsterInstance, run_id: str, folder: Path) -> int:
    """Write what a run recorded of its partitions; their number of events."""
    events = []
    for entry in instance.all_logs(run_id):
        event = entry.dagster_event
        if event is not None and event.is_step_materialization:
            events.append(serialize_value(event.step_materialization_data.materialization))
    (folder / "events").write_text("\n".join(events), "utf-8")
    return len(events)


def _read_events(folder: Path) -> Iterator[dg.AssetMaterialization]:
    with (folder / "events").open(encoding="utf-8") as lines:
        for line in lines:
            yield deserialize_value(line, dg.AssetMaterialization)


def _definitions() -> dg.Definitions:
    folder = Path(os.environ[FOLDER])
    partitions = dg.StaticPartitionsDefinition((folder / "keys").read_text("utf-8").split())

    @dg.multi_asset(
        specs=[dg.AssetSpec(asset, partitions_def=partitions) for asset in ASSETS],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def shards() -> Iterator[dg.AssetMaterialization | dg.MaterializeResult[None]]:
        yield from _read_events(folder)
        recorded = {SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True}
        yield from (dg.MaterializeResult(asset, metadata=recorded) for asset in ASSETS)

    return dg.Definitions([shards], executor=dg.in_process_executor)


@dg.definitions
def defs() -> dg.Definitions:
    """What `dagster asset materialize -m` loads."""
    return _definitions()
