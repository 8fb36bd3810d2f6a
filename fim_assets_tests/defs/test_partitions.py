from pathlib import Path

import pytest

from fim_assets.defs.partitions import refuse_command
from fim_assets.settings import Settings, SettingsError

KEYS = ["a", "part-0", "part-1"]


def refused(command: str, per_run: int | None = None) -> str:
    """Why a command is refused, nothing if it is not."""
    settings = Settings(Path(), Path(), "test", workers=1, partitions_per_run=per_run)
    try:
        refuse_command(settings, KEYS, command.split())
    except SettingsError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("command", "key"),
    [
        ("dagster asset materialize --partition part-9", "part-9"),
        ("dagster asset materialize --partition=A", "A"),
        ("dg launch --assets * --partition-range part-0...part-9", "part-9"),
        ("dg launch --assets * --partition-range=b...a", "b"),
    ],
)
def test_a_partition_that_there_is_not_is_named(command: str, key: str) -> None:
    assert refused(command).startswith(f"{key}: no partition key; ")


@pytest.mark.parametrize(
    "command",
    [
        "dagster asset materialize --select * --partition a --config-json {}",
        "dg launch --partition-range part-0...part-1",
        # Dagster's own messages for these are clear.
        "dagster asset materialize --partition",
        "dagster asset materialize --partition-range part-0",
        "dagster dev -h 127.0.0.1",
    ],
)
def test_other_commands_are_left_to_dagster(command: str) -> None:
    assert refused(command) == ""


def test_a_range_that_is_split_into_runs_is_refused() -> None:
    command = "dg launch --partition-range part-0...part-1"
    assert "FIM_PARTITIONS_PER_RUN=2 " in refused(command, per_run=2)
    assert refused("dg launch --partition a", per_run=2) == ""
