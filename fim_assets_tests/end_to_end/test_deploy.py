"""deploy/dagster.yaml on a PostgreSQL server: code server, web server, daemon, a killed run."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import dagster as dg
import pytest
import yaml
from dagster import DagsterEventType, DagsterInstance, DagsterRunStatus, RunsFilter
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES, BulkActionStatus
from dagster._core.run_coordinator import QueuedRunCoordinator

from fim_assets.defs.launcher import LocalRunLauncher
from fim_assets_tests.corpora import CHECKS_OF, documents, write_shard
from fim_assets_tests.end_to_end.commands import REPOSITORY, environment, free_port, needed, running

Found = TypeVar("Found")

KEYS = ["a", "b", "c", "d", "e"]
MADE = ["raw_shards", "fim_shards"]
BACKFILL_RUNS_AT_ONCE = 2
_BIN = Path(sys.prefix) / "bin"

_LAUNCH = """mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}"""


def wait_for(what: str, find: Callable[[], Found | None], seconds: float) -> Found:
    """What a function finds at last; a failure after so many seconds."""
    end = time.monotonic() + seconds
    while (found := find()) is None:
        if time.monotonic() > end:
            pytest.fail(f"{what}: not after {seconds} s")
        time.sleep(0.3)
    return found


def postgresql_program(name: str) -> str:
    """The path of one of the newest installed server's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    program = str(found[-1]) if found else shutil.which(name)
    return needed(program, "postgresql")


@contextmanager
def postgresql(log: Path) -> Iterator[dict[str, str]]:
    """A server with an empty database, on the loopback; yields the variables that lead to it."""
    # It refuses to run as root, and pytest's folders can be entered by their owner alone.
    user = "postgres" if os.geteuid() == 0 else None
    home = Path(tempfile.mkdtemp(prefix="fim_assets-postgresql-"))
    data, password = home / "data", home / "password"
    variables = {
        "DAGSTER_PG_HOST": "127.0.0.1",
        "DAGSTER_PG_PORT": str(free_port()),
        "DAGSTER_PG_DB": "state",
        "DAGSTER_PG_USERNAME": "dagster",
        "DAGSTER_PG_PASSWORD": "p@ss/word",
    }
    at = ["-p", variables["DAGSTER_PG_PORT"]]
    init = [postgresql_program("initdb"), f"--pgdata={data}", f"--pwfile={password}", "--no-sync"]
    init += ["--username=dagster", "--auth=scram-sha-256"]
    serve = [postgresql_program("postgres"), "-D", str(data), "-k", str(home), *at, "-F"]
    serve += ["-c", "listen_addresses=127.0.0.1"]
    create = [postgresql_program("createdb"), "-h", "127.0.0.1", *at, "-U", "dagster", "state"]

    def created() -> bool | None:
        variables_of_client = os.environ | {"PGPASSWORD": variables["DAGSTER_PG_PASSWORD"]}
        done = subprocess.run(create, env=variables_of_client, capture_output=True, check=False)
        return done.returncode == 0 or None

    try:
        password.write_text(variables["DAGSTER_PG_PASSWORD"])
        if user:
            shutil.chown(home, user)
            shutil.chown(password, user)
        subprocess.run(init, check=True, user=user, cwd=home, stdout=subprocess.DEVNULL)
        with running(serve, log, dict(os.environ), home, user, stop=signal.SIGINT):
            wait_for("a database", created, 30)
            yield variables
    finally:
        shutil.rmtree(home)


@dataclass(frozen=True)
class Backfill:
    """What became of a backfill, one of whose runs was killed.

    Attributes:
        instance: Dagster's state, read from PostgreSQL.
        status: The backfill's.
        runs: Its runs, oldest first.
        killed: The run that was killed.
        root: The data root.
    """

    instance: DagsterInstance
    status: BulkActionStatus
    runs: Sequence[dg.DagsterRun]
    killed: str
    root: Path


@pytest.fixture(scope="module")
def backfill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backfill]:
    folder = tmp_path_factory.mktemp("deploy")
    root, home = folder / "data", folder / "home"
    for key in KEYS:
        write_shard(root / "raw" / f"{key}.jsonl.zst", documents(50, key))
    home.mkdir()
    shutil.copy(REPOSITORY / "deploy" / "dagster.yaml", home)
    code, web = str(free_port()), str(free_port())
    with pytest.MonkeyPatch.context() as patch, postgresql(folder / "postgresql.log") as variables:
        for name, value in variables.items():
            patch.setenv(name, value)
        settings = {
            "DAGSTER_HOME": str(home),
            "FIM_DATA_ROOT": str(root),
            "FIM_PARTITIONS_PER_RUN": "2",
            "FIM_WORKERS": "1",
        }
        asks = ["--grpc-host", "127.0.0.1", "--grpc-port", code]

        def start(program: str, *options: str) -> AbstractContextManager[object]:
            command = [str(_BIN / program), *options]
            log = folder / f"{program}.log"
            return running(command, log, environment(REPOSITORY, settings), folder)

        with (
            DagsterInstance.from_config(str(home)) as instance,
            start("dagster", "code-server", "start", "-m", "fim_assets.definitions", "-p", code),
            start("dagster-webserver", "-p", web, *asks),
        ):
            backfill_id = wait_for("a backfill", lambda: _launch(web), 120)
            # The daemon looks for backfills when it starts, and then twice a minute.
            with start("dagster-daemon", "run", *asks):
                pid, killed = wait_for("a run", lambda: _process(instance, backfill_id), 120)
                os.kill(pid, signal.SIGKILL)
                status = wait_for("an end", lambda: _end_status(instance, backfill_id), 240)
            yield Backfill(instance, status, _runs(instance, backfill_id), killed, root)


def _launch(port: str) -> str | None:
    """Launch a backfill of all partitions as the UI does; None while the servers are starting."""
    params = {"assetSelection": [{"path": [asset]} for asset in MADE], "partitionNames": KEYS}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        json.dumps({"query": _LAUNCH, "variables": {"params": params}}).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            launched = json.load(answer)["data"]["launchPartitionBackfill"]
    except OSError:
        return None
    print(launched)
    backfill_id: str | None = launched.get("backfillId")
    return backfill_id


def _runs(instance: DagsterInstance, backfill_id: str) -> Sequence[dg.DagsterRun]:
    return instance.get_runs(RunsFilter(tags={"dagster/backfill": backfill_id}), ascending=True)


def _process(instance: DagsterInstance, backfill_id: str) -> tuple[int, str] | None:
    """The process of a run that has begun, and the run."""
    for run in _runs(instance, backfill_id):
        for event in instance.all_logs(run.run_id, of_type=DagsterEventType.ENGINE_EVENT):
            if found := re.search(r"Started process for run \(pid: (\d+)\)", event.message):
                return int(found[1]), run.run_id
    return None


def _end_status(instance: DagsterInstance, backfill_id: str) -> BulkActionStatus | None:
    backfill = instance.get_backfill(backfill_id)
    assert backfill is not None
    return backfill.status if backfill.status in BULK_ACTION_TERMINAL_STATUSES else None


def test_a_backfill_is_split_into_runs_that_wait_for_their_turn(backfill: Backfill) -> None:
    assert backfill.status == BulkActionStatus.COMPLETED_SUCCESS
    first = [run for run in backfill.runs if run.parent_run_id is None]
    names = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
    ranges = sorted(tuple(run.tags.get(name) for name in names) for run in first)
    assert ranges == [("a", "b"), ("c", "d"), ("e", "e")]
    stats = [backfill.instance.get_run_stats(run.run_id) for run in backfill.runs]
    times = [(s.launch_time, s.end_time) for s in stats if s.launch_time and s.end_time]
    assert len(times) == len(backfill.runs)
    for moment, _ in times:
        assert sum(begin <= moment < end for begin, end in times) <= BACKFILL_RUNS_AT_ONCE


def test_a_run_that_is_killed_is_retried(backfill: Backfill) -> None:
    status = {run.run_id: run.status for run in backfill.runs}
    assert status.pop(backfill.killed) == DagsterRunStatus.FAILURE
    assert set(status.values()) == {DagsterRunStatus.SUCCESS}
    assert [run.parent_run_id for run in backfill.runs if run.parent_run_id] == [backfill.killed]


def test_receipts_lie_in_the_data_root_and_events_in_postgresql(backfill: Backfill) -> None:
    instance = backfill.instance
    for asset in MADE:
        receipts = {path.stem for path in (backfill.root / asset).glob("*.json")}
        assert receipts == instance.get_materialized_partitions(dg.AssetKey(asset)) == set(KEYS)
    verdicts = [
        event.dagster_event.asset_check_evaluation_data
        for run in backfill.runs
        for event in instance.all_logs(run.run_id, of_type=DagsterEventType.ASSET_CHECK_EVALUATION)
        if event.dagster_event
    ]
    assert {(str(v.asset_key.path[-1]), v.check_name, v.passed) for v in verdicts} == {
        ("fim_shards", name, True) for name in CHECKS_OF["fim_shards"]
    }
    of_one = [v for v in verdicts if v.check_name == "lossless"]
    assert sum(int(str(v.metadata["passed"].value)) for v in of_one) >= len(KEYS)
    assert not list(Path(instance.root_directory).rglob("*.db"))


def test_every_key_of_the_configuration_is_accepted(backfill: Backfill) -> None:
    instance = backfill.instance
    for storage in (instance.run_storage, instance.event_log_storage, instance.schedule_storage):
        assert type(storage).__module__.startswith("dagster_postgres.")
    assert isinstance(instance.run_coordinator, QueuedRunCoordinator)
    assert instance.run_monitoring_enabled
    assert isinstance(instance.run_launcher, LocalRunLauncher)
    queue = instance.get_concurrency_config().run_queue_config
    assert queue is not None
    assert queue.tag_concurrency_limits == [
        {"key": "dagster/backfill", "limit": BACKFILL_RUNS_AT_ONCE}
    ]
    assert not instance.run_retries_retry_on_asset_or_op_failure


def test_the_pages_name_what_there_is() -> None:
    pages = [
        (REPOSITORY / "deploy" / f"{name}.md").read_text() for name in ("README", "kubernetes")
    ]
    settings = (REPOSITORY / "docs" / "running.md").read_text()
    for page in pages:
        assert set(re.findall(r"FIM_[A-Z_]+", page)) <= set(re.findall(r"FIM_[A-Z_]+", settings))
    asked = set(re.findall(r"env: (\w+)", (REPOSITORY / "deploy" / "dagster.yaml").read_text()))
    assert asked <= set(re.findall(r"DAGSTER_\w+", pages[0]))
    (values,) = re.findall(r"^```yaml\n(.*?)^```", pages[1], re.DOTALL | re.MULTILINE)
    assert yaml.safe_load(values)["postgresql"]["postgresqlScheme"] == "postgresql+psycopg2"
