"""Dead runs and live ones, told apart as the daemon does with the repository's dagster.yaml."""

import logging
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterInstance
from dagster._core.launcher import WorkerStatus
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster._daemon.monitoring.run_monitoring import execute_run_monitoring_iteration

from fim_assets.defs import launcher
from fim_assets.defs.launcher import name_process
from fim_assets_tests.end_to_end.commands import REPOSITORY

_RUN = """
import sys
import dagster as dg
from fim_assets.defs.launcher import name_process

@dg.op
def work(context):
    name_process(context.instance, context.run)
    print("begun", flush=True)
    sys.stdin.read()

@dg.job
def worked_on():
    work()

with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
    worked_on.execute_in_process(instance=instance)
"""


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[DagsterInstance]:
    shutil.copy(REPOSITORY / "dagster.yaml", tmp_path)
    with DagsterInstance.from_config(str(tmp_path)) as opened:
        yield opened


def monitored(instance: DagsterInstance) -> list[str]:
    """What the daemon makes of the instance's runs: their statuses, sorted."""
    with WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as context:
        errors = list(execute_run_monitoring_iteration(context, logging.getLogger("monitoring")))
    assert not any(errors)
    return sorted(run.status.value for run in instance.get_runs())


def test_a_run_counts_as_long_as_its_process_is_there(
    instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed; that of another machine is left alone, since nobody here can tell."""
    command = [sys.executable, "-c", _RUN, instance.root_directory]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        assert monitored(instance) == ["STARTED"]
        process.kill()
    with monkeypatch.context() as patch:
        patch.setattr(socket, "gethostname", lambda: "another")
        assert monitored(instance) == ["STARTED"]
    assert monitored(instance) == ["FAILURE"]


def test_without_a_lock_a_run_works_and_is_left_alone(instance: DagsterInstance) -> None:
    Path(instance.storage_directory()).mkdir()
    Path(instance.storage_directory(), "processes").write_bytes(b"no folder")

    @dg.op
    def work(context: dg.OpExecutionContext) -> None:
        name_process(context.instance, context.run)
        assert monitored(instance) == ["STARTED"]

    @dg.job
    def worked_on() -> None:
        work()

    assert worked_on.execute_in_process(instance=instance).success


@pytest.mark.parametrize(
    ("step", "status"),
    [("b__raw_shards_to_token_arrays", WorkerStatus.FAILED), ("others", WorkerStatus.RUNNING)],
)
def test_a_run_killed_before_it_names_its_process_is_told_by_its_silence(
    instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch, step: str, status: WorkerStatus
) -> None:
    """A step that is not ours never names its process, however long it takes."""

    @dg.op(name=step)
    def work(context: dg.OpExecutionContext) -> None:
        launcher_of = context.instance.run_launcher
        assert launcher_of.check_run_worker_health(context.run).status == WorkerStatus.RUNNING
        monkeypatch.setattr(launcher, "_SECONDS_TO_BEGIN", 0)
        assert launcher_of.check_run_worker_health(context.run).status == status

    @dg.job
    def worked_on() -> None:
        work()

    assert worked_on.execute_in_process(instance=instance).success
