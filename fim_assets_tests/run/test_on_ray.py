"""The executor `ray` on a real cluster of two nodes, both on this machine's loopback."""

import os
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from threading import Event, Thread
from typing import Any

import dagster as dg
import pytest
import ray
import s3fs
from ray._private import ray_constants
from ray.cluster_utils import Cluster

from fim_assets.corpus.corpus import list_shards
from fim_assets.corpus.receipts import read_receipt
from fim_assets.definitions import build_definitions
from fim_assets.io.locations import Location, parse_url
from fim_assets.recipe import Recipe
from fim_assets.regroup import regroup
from fim_assets.run import on_ray
from fim_assets.run.on_ray import run_on_ray
from fim_assets.run.partition import Outcome, Task
from fim_assets.run.tasks import ClusterError
from fim_assets.settings import Engine, Settings
from fim_assets.stages import ASSETS
from fim_assets_tests.corpora import (
    ALL_CHECKS,
    TOLERANT,
    documents,
    open_corpus,
    run_all,
    write_shard,
)
from fim_assets_tests.end_to_end.commands import REPOSITORY, ask, run
from fim_assets_tests.faults.corpus import outputs
from fim_assets_tests.faults.scenarios import (
    SECONDS_TO_END,
    TINY_SHARDS,
    children,
    processes_left,
    recorded,
    told_run,
    wait_for_partitions,
)
from fim_assets_tests.faults.told import MADE
from fim_assets_tests.regroup.corpora import files, write_inputs
from fim_assets_tests.s3_server import BUCKET, file_system, s3_server

KEYS = [f"s{number}" for number in range(6)]
LARGE = 2_000
RANGE = {
    "dagster/asset_partition_range_start": KEYS[0],
    "dagster/asset_partition_range_end": KEYS[-1],
}


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3fs.S3FileSystem]:
    """Object storage that the nodes share."""
    log = tmp_path_factory.mktemp("s3") / "log"
    with s3_server(log, refused=61, cut=67) as variables, pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield file_system()


@pytest.fixture(scope="module")
def cluster(bucket: s3fs.S3FileSystem) -> Iterator[Any]:
    assert bucket.exists(BUCKET), "nodes know the bucket by the variables they were started with"
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # sockets' paths must be short
    size: dict[str, Any] = {
        "num_cpus": 1,
        "object_store_memory": 80 << 20,
        "node_ip_address": "127.0.0.1",
    }
    dashboard: dict[str, Any] = {
        "include_dashboard": True,
        "dashboard_host": "127.0.0.1",
        "dashboard_port": 0,
        "dashboard_agent_listen_port": 0,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PATH", f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}")
        patch.setenv("RAY_worker_niceness", "0")
        # Else Ray takes the machine's address for 127.0.0.1; here, and in what nodes start.
        patch.setenv(ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR, "0")
        patch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", False)
        cluster = Cluster()
        try:
            cluster.add_node(**size, **dashboard)
            cluster.add_node(**size)
            patch.setenv("RAY_ADDRESS", cluster.address)
            yield cluster
        finally:
            ray.shutdown()
            for node in list(cluster.worker_nodes):
                cluster.remove_node(node, allow_graceful=False)
            cluster.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root in which all is made on this machine, by one worker."""
    root = tmp_path_factory.mktemp("local")
    for number, key in enumerate(KEYS):
        write_shard(root / "raw" / f"{key}.jsonl.zst", documents(LARGE if number < 2 else 50, key))
    assert materialize(root, "local").success
    return root


@pytest.fixture
def root(local: Path, tmp_path: Path) -> Path:
    """A root with the same shards, and nothing made."""
    shutil.copytree(local / "raw", tmp_path / "raw")
    return tmp_path


def materialize(
    root: Location, engine: Engine = "ray", select: Sequence[str] = ASSETS
) -> dg.ExecuteInProcessResult:
    settings = Settings(root, root, "test", workers=1, engine=engine)
    built = build_definitions(Recipe(raw=TOLERANT), settings)
    assets = [asset for asset in built.assets or [] if isinstance(asset, dg.AssetsDefinition)]
    return dg.materialize(assets, selection=select, tags=RANGE, raise_on_error=False)


def materialize_on_ray(root: Path, assets: Sequence[str] = ASSETS) -> dict[str, Outcome]:
    corpus = open_corpus(root)
    tasks = [
        Task(corpus, key, path, frozenset(assets), ALL_CHECKS)
        for key, path in list_shards(corpus, root).items()
    ]
    return {outcome.key: outcome for outcome in run_on_ray(tasks)}


def left_over(root: Path) -> list[Path]:
    """Hidden files and folders of a run that should have ended."""
    return (
        [path for path in root.rglob("*") if path.name.startswith(".") and path.is_file()]
        + list(root.rglob(".*.staging"))
        + list((root / ".locks").iterdir())
    )


def raylet(node: Any) -> int:
    pid: int = node.all_processes["raylet"][0].process.pid
    return pid


def opened_below(process: int, folder: Path) -> list[Path]:
    with suppress(OSError):
        links = [link.readlink() for link in Path(f"/proc/{process}/fd").iterdir()]
        return [path for path in links if path.is_relative_to(folder)]
    return []


@contextmanager
def killing(nodes: list[Any], shards: Path, *, with_node: bool, times: int) -> Iterator[list[str]]:
    """Kill workers of nodes that have a file below `shards` open; the partitions' keys.

    Args:
        nodes: Of the cluster.
        shards: A folder, or a shard.
        with_node: Whether the node is killed before the worker.
        times: How many workers at most.
    """
    killed: dict[int, str] = {}
    stop = Event()

    def watch() -> None:
        while not stop.wait(0.005):
            for parent in map(raylet, nodes):
                for worker in children(parent) - killed.keys():
                    opened = opened_below(worker, shards)
                    if opened and len(killed) < times:
                        for process in [parent, worker] if with_node else [worker]:
                            os.kill(process, signal.SIGKILL)
                        killed[worker] = opened[0].name.partition(".")[0]

    thread = Thread(target=watch)
    keys: list[str] = []
    thread.start()
    try:
        yield keys
    finally:
        stop.set()
        thread.join()
        keys += killed.values()


@pytest.mark.usefixtures("cluster")
def test_a_range_on_object_storage_is_the_same_as_on_this_machine(
    local: Path, bucket: s3fs.S3FileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted: list[int] = []

    def finished(running: list[Any]) -> list[Any]:
        submitted.append(len(running))
        return wait(running)

    wait = on_ray._finished
    monkeypatch.setattr(on_ray, "_finished", finished)
    handler = signal.getsignal(signal.SIGTERM)
    bucket.put(str(local / "raw"), f"{BUCKET}/ray/raw", recursive=True)
    assert materialize(parse_url(f"s3://{BUCKET}/ray")).success
    bucket.get(f"{BUCKET}/ray", str(tmp_path / "ray"), recursive=True)
    assert outputs(tmp_path / "ray") == outputs(local)
    assert bucket.find(f"{BUCKET}/ray/.locks") == []
    assert max(submitted) == 4
    assert not ray.is_initialized()
    assert signal.getsignal(signal.SIGTERM) == handler


@pytest.mark.usefixtures("cluster")
def test_repositories_are_regrouped_as_on_this_machine(
    bucket: s3fs.S3FileSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a bucket, in which the nodes share what is unfinished."""
    monkeypatch.setattr(regroup, "_TASK_BYTES", 1)
    monkeypatch.chdir(tmp_path)
    write_inputs(tmp_path)
    made = {}
    for engine, folder in (("local", f"{tmp_path}/whole"), ("ray", f"s3://{BUCKET}/whole")):
        settings = {"FIM_ENGINE": engine, "FIM_DATA_ROOT": f"{tmp_path}", "FIM_WORKERS": "1"}
        made[engine] = ask(f"regroup 'raw/**/*' -o {folder} --shard-size 10kB", settings)
    bucket.get(f"{BUCKET}/whole", str(tmp_path / "ray"), recursive=True)
    assert files(tmp_path / "ray") == files(tmp_path / "whole")
    assert [path.name for path in (tmp_path / "ray").glob(".*")] == [".repositories.json"]
    assert made["ray"].splitlines()[:4] == made["local"].splitlines()[:4]


@pytest.mark.usefixtures("cluster")
def test_a_shard_that_fails_fails_as_on_this_machine(root: Path) -> None:
    for key in KEYS[:2]:
        (root / "raw" / f"{key}.jsonl.zst").write_bytes(b"no zstd")
    result = materialize(root, select=["raw_shards"])
    assert not result.success
    outcomes = run_all(open_corpus(root), ["raw_shards"])
    expected = {key: outcome.failure for key, outcome in outcomes.items()}
    [failure] = [event for event in result.all_events if event.is_step_failure]
    told = failure.step_failure_data.user_failure_data
    assert told is not None
    description = str(told.description)
    lines = [f"{key}: {expected[key]}" for key in KEYS[:2]]
    assert description.startswith("2 of 6 partitions failed:\n")
    assert sorted(description.splitlines()[1:3]) == lines
    assert description.splitlines()[3:5] == ["", "What to do:"]


def test_whoever_works_on_a_shard_dies_each_time(
    cluster: Any, local: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "_TRIES", 2)
    nodes = cluster.list_all_nodes()
    shard = root / "raw" / "s1.jsonl.zst"
    with killing(nodes, shard, with_node=False, times=1000) as killed:
        outcomes = materialize_on_ray(root)
    assert killed == ["s1"] * 2
    assert outcomes["s1"].interrupted
    assert [key for key, outcome in outcomes.items() if outcome.failure] == ["s1"]
    assert (outcomes["s1"].failure or "").startswith(f"{shard}: a worker process died each of the")
    made, expected = (
        {name: content for name, content in found.items() if re.search(r"/s[02-5]", name)}
        for found in (outputs(root), outputs(local))
    )
    assert made == expected


@pytest.mark.usefixtures("cluster")
def test_a_node_that_cannot_do_this_runs_work_is_named(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Task, "identity", lambda _task: ["another"])
        with pytest.raises(ClusterError, match="has another fim_assets or other grammars"):
            materialize_on_ray(root)
    monkeypatch.setattr(on_ray, "write_bytes", lambda _marker_file, _content: None)
    with pytest.raises(ClusterError, match=r"does not see .*: the data root must be shared"):
        materialize_on_ray(root)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:1", "Connection refused"),
        ("ray://127.0.0.1:1", "Connection refused"),
        ("local", "name one that runs"),
        ("nonsense", "Invalid address format"),
        ("", "Could not find any running Ray instance"),
    ],
)
def test_a_cluster_that_is_not_there_is_one_error(
    tmp_path: Path, address: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And none is started in its place."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", cache(set))
    write_shard(tmp_path / "raw" / "a.jsonl", documents(3))
    with pytest.raises(ClusterError, match=f"^FIM_ENGINE=ray: no cluster .*{reason}"):
        materialize_on_ray(tmp_path)
    assert not ray.is_initialized()
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("ask", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.usefixtures("cluster")
def test_a_run_that_is_told_to_end_leaves_nothing(tmp_path: Path, ask: signal.Signals) -> None:
    for number in range(TINY_SHARDS):
        write_shard(tmp_path / "raw" / f"{number:03}.jsonl", documents(1, f"{number}"))
    with told_run(tmp_path, "--engine", "ray", launched=True) as (run, process, mark):
        wait_for_partitions(tmp_path, run, 3)
        os.kill(process, ask)
        assert processes_left(mark, SECONDS_TO_END) == set()
    made = {path.stem for path in tmp_path.glob("raw_shards/*.json")}
    assert 0 < len(made) < TINY_SHARDS
    assert {key for _, key in recorded(tmp_path)} <= made
    assert [path for path in left_over(tmp_path) if path.name.startswith("ray-")] == []
    materialize_on_ray(tmp_path, MADE)
    assert left_over(tmp_path) == []


def test_steps_run_as_ray_jobs(cluster: Any, tmp_path: Path) -> None:
    """The module of the page on clusters, which a person would write."""
    write_shard(tmp_path / "data" / "raw" / "a.jsonl.zst", documents(50))
    page = (REPOSITORY / "docs" / "cluster.md").read_text("utf-8")
    [code] = re.findall(r"^```python\n([^`]*ray_executor.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert "127.0.0.1:8265" in code
    (tmp_path / "on_ray.py").write_text(code.replace("127.0.0.1:8265", cluster.webui_url))
    settings = {"FIM_DATA_ROOT": str(tmp_path / "data"), "DAGSTER_HOME": str(tmp_path)}
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    command = "dagster asset materialize -f $PWD/on_ray.py --select raw_shards --partition a"
    done = run(command, tmp_path, settings | {"PYTHONPATH": str(REPOSITORY)}, seconds=100)
    assert done.returncode == 0, done.stderr
    assert 'Executing step "raw_shards_to_token_arrays" in Ray job dagster-step-' in done.stderr
    assert read_receipt(open_corpus(tmp_path / "data").files("raw_shards", "a")) is not None


def test_a_node_that_is_killed_costs_nothing(cluster: Any, local: Path, root: Path) -> None:
    """On a disk that the nodes share. Comes last: the cluster has one node afterwards."""
    [node] = cluster.worker_nodes
    with killing([node], root / "raw", with_node=True, times=1) as killed:
        result = materialize(root)
    assert len(killed) == 1, "no partition was on the node"
    assert result.success
    assert outputs(root) == outputs(local)
    assert left_over(root) == []
