from pathlib import Path

import click
import pytest

from fim_assets.definitions import defs
from fim_assets.defs.partitions import refuse_command
from fim_assets.settings import Settings, SettingsError

KEYS = ["a", "part-0", "part-1"]


def refused(partition: str = "", partition_range: str = "", per_run: int | None = None) -> str:
    """Why a command is refused, nothing if it is not."""
    settings = Settings(Path(), Path(), "test", workers=1, partitions_per_run=per_run)
    try:
        refuse_command(settings, KEYS, partition, partition_range)
    except SettingsError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("partition", "partition_range", "key"),
    [
        ("part-9", "", "part-9"),
        ("A", "", "A"),
        ("", "part-0...part-9", "part-9"),
        ("", "b...a", "b"),
    ],
)
def test_a_partition_that_there_is_not_is_named(
    partition: str, partition_range: str, key: str
) -> None:
    assert refused(partition, partition_range).startswith(f"{key}: no partition key; ")


@pytest.mark.parametrize(
    ("partition", "partition_range"),
    [
        ("", ""),
        ("a", ""),
        ("", "part-0...part-1"),
        ("", "part-0"),  # Dagster's own message is clear
    ],
)
def test_other_commands_are_left_to_dagster(partition: str, partition_range: str) -> None:
    assert refused(partition, partition_range) == ""


def test_an_empty_range_of_no_shards_is_told_as_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in `--partition-range "$(fim-assets keys --range)"`, whose command has failed."""
    monkeypatch.setenv("FIM_DATA_ROOT", str(tmp_path))
    command = click.Context(click.Command("materialize"))
    command.params = {"partition": None, "partition_range": ""}
    with command, pytest.raises(click.ClickException, match="no shard found: "):
        defs()


def test_a_range_that_is_split_into_runs_is_refused() -> None:
    told = refused(partition_range="part-0...part-1", per_run=2)
    assert "FIM_PARTITIONS_PER_RUN=2 " in told
    assert refused(partition="a", per_run=2) == ""
