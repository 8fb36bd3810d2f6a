"""Partitions: one a shard, listed when the definitions load, and how many of them a run takes."""

from collections.abc import Iterable, Sequence

import dagster as dg

from fim_assets.settings import Settings, SettingsError


def shard_partitions(keys: Iterable[str]) -> dg.StaticPartitionsDefinition:
    """Static keys, so that the command line works without any prior state."""
    return dg.StaticPartitionsDefinition(list(keys))


def backfill_policy(settings: Settings) -> dg.BackfillPolicy:
    """A range is one run, or several of `FIM_PARTITIONS_PER_RUN` partitions."""
    if settings.partitions_per_run is None:
        return dg.BackfillPolicy.single_run()
    return dg.BackfillPolicy.multi_run(settings.partitions_per_run)


def refuse_ranges_that_need_a_daemon(settings: Settings, command: Sequence[str]) -> None:
    """Say what to do where Dagster would refuse the command without a word of the variable.

    Args:
        settings: Whether a range is split into runs, which only the daemon can launch.
        command: The arguments of the command that loads the definitions.
    """
    if settings.partitions_per_run and any("--partition-range" in part for part in command):
        raise SettingsError(
            f"FIM_PARTITIONS_PER_RUN={settings.partitions_per_run} splits a range into runs that "
            "the daemon launches, so that a command can run none; unset it for this command "
            "(env -u FIM_PARTITIONS_PER_RUN ...), or launch the range in the UI"
        )
