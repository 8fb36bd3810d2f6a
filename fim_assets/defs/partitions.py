"""Partitions: one a shard, how many of them a run takes, and who works on them.

They are listed when the definitions load. Processes of this machine or a Ray cluster work on them,
inside one step: no executor of Dagster's, which would run one step of it.
"""

import difflib
from collections.abc import Collection, Generator, Iterable, Sequence

import dagster as dg

from fim_assets.run import engine
from fim_assets.run.partition import Outcome, Task
from fim_assets.run.tasks import ClusterError
from fim_assets.settings import Settings, SettingsError


def shard_partitions(keys: Iterable[str]) -> dg.StaticPartitionsDefinition:
    """Static keys, so that the command line works without any prior state."""
    return dg.StaticPartitionsDefinition(list(keys))


def backfill_policy(settings: Settings) -> dg.BackfillPolicy:
    """A range is one run, or several of `FIM_PARTITIONS_PER_RUN` partitions."""
    if settings.partitions_per_run is None:
        return dg.BackfillPolicy.single_run()
    return dg.BackfillPolicy.multi_run(settings.partitions_per_run)


def refuse_command(
    settings: Settings, keys: Collection[str], partition: str, partition_range: str
) -> None:
    """Say what to do where Dagster would refuse a command with a traceback or an unclear word.

    `partition` and `partition_range` are the options of the command that loads the definitions, ''
    where it has none.

    Raises:
        SettingsError: If it names a partition that there is not, or a range that is split.
    """
    if partition_range and settings.partitions_per_run:
        raise SettingsError(
            f"FIM_PARTITIONS_PER_RUN={settings.partitions_per_run} splits a range into runs that "
            "the daemon launches, so that a command can run none; unset it for this command "
            "(env -u FIM_PARTITIONS_PER_RUN ...), or launch the range in the UI"
        )
    ends = partition_range.split("...") if "..." in partition_range else []
    for key in (partition, *ends):
        if key and key not in keys:
            close = difflib.get_close_matches(key, keys, n=1)
            meant = f"did you mean {close[0]}? " if close else ""
            raise SettingsError(
                f"{key}: no partition key; {meant}`fim-assets keys` prints all {len(keys):,}"
            )


def run_tasks(tasks: Sequence[Task], settings: Settings) -> Generator[Outcome, None, None]:
    """Run partitions of one corpus; yields each outcome, or fails if there is no cluster to use."""
    try:
        yield from engine.run_tasks(tasks, settings)
    except ClusterError as error:
        raise dg.Failure(str(error)) from None
