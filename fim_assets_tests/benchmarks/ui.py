"""What a click in the UI waits for: runs of eight small partitions in parts, beside the command."""

import json
import random
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dagster import DagsterEventType, DagsterInstance, RunRecord, RunsFilter

from fim_assets.stages import ASSETS
from fim_assets_tests.benchmarks.measure import BenchError, Figure, Row
from fim_assets_tests.benchmarks.partitions import write_tiny_shards
from fim_assets_tests.end_to_end.browser import dagster_ui
from fim_assets_tests.end_to_end.commands import copy_checkout, run

_PARTITIONS = 8
_COMMAND = "dg launch -m fim_assets.definitions --job raw_shards_to_corpus_report"
_REPOSITORY = {"repositoryLocationName": "fim_assets", "repositoryName": "__repository__"}
_EVERYTHING = [*ASSETS, "corpus_report"]

_LAUNCH_RUN = """mutation ($what: ExecutionParams!) {
    launchRun(executionParams: $what) {... on LaunchRunSuccess {run {id}}}}"""
_LAUNCH_BACKFILL = """mutation ($what: LaunchBackfillParams!) {
    launchPartitionBackfill(backfillParams: $what) {... on LaunchBackfillSuccess {backfillId}}}"""
_ENDED = """query ($what: String!) {
    partitionBackfillOrError(backfillId: $what) {... on PartitionBackfill {endTimestamp}}}"""


class Times(NamedTuple):
    """When a run was created, taken from the queue, began and ended, in seconds."""

    created: float
    dequeued: float
    begun: float
    ended: float


def ui_rows(rounds: Iterable[object]) -> list[Row]:
    """The command, the job from the launchpad and two backfills over the same partitions.

    Args:
        rounds: As many as rounds are wanted.

    Raises:
        BenchError: If the command fails.
    """
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="fim-bench-") as folder:
        checkout = copy_checkout(Path(folder) / "fim_assets")
        keys = write_tiny_shards(checkout / "data" / "raw", _PARTITIONS)
        with dagster_ui(checkout) as url:
            for _ in rounds:
                for name, parts in _round(checkout, url, keys):
                    found.setdefault(name, []).append(parts)
    return [
        Row(name, {part: Figure.of(parts[part] for parts in its) for part in its[0]})
        for name, its in found.items()
    ]


def parts_of(asked: float, runs: Sequence[Times], told: float) -> dict[str, float]:
    """What the time from a click to its end, as the UI tells it, went into.

    Args:
        asked: When it was clicked.
        runs: That it led to, one after the other.
        told: When the UI showed that all is done.
    """
    ends = [asked, *(run.ended for run in runs)]
    return {
        "wall s": told - asked,
        "until a run is created": sum(r.created - end for end, r in zip(ends, runs, strict=False)),
        "in the queue": sum(run.dequeued - run.created for run in runs),
        "its process starts": sum(run.begun - run.dequeued for run in runs),
        "it works": sum(run.ended - run.begun for run in runs),
        "until its end shows": told - ends[-1],
    }


def _round(checkout: Path, url: str, keys: Sequence[str]) -> Iterator[tuple[str, dict[str, float]]]:
    _clear(checkout)
    begin = time.monotonic()
    if run(_COMMAND, checkout, {"DAGSTER_HOME": str(checkout)}).returncode:
        raise BenchError(_COMMAND)
    yield "command", {"wall s": time.monotonic() - begin}
    _clear(checkout)
    asked = time.time()
    job = {
        "selector": {"pipelineName": "raw_shards_to_corpus_report", **_REPOSITORY},
        "mode": "default",
    }
    run_id = _ask(url, _LAUNCH_RUN, job)["launchRun"]["run"]["id"]
    runs = _ended_runs(checkout, RunsFilter(run_ids=[run_id]))
    yield "job in the launchpad", parts_of(asked, runs, runs[-1].ended)
    for name, assets in (("backfill of three assets", ASSETS), ("of all four", _EVERYTHING)):
        _clear(checkout)
        # The daemon looks for backfills at an interval, in which a click falls anywhere.
        time.sleep(random.uniform(0, 30))
        asked = time.time()
        paths = [{"path": [asset]} for asset in assets]
        what = {"assetSelection": paths, "partitionNames": [*keys]}
        backfill = _ask(url, _LAUNCH_BACKFILL, what)["launchPartitionBackfill"]["backfillId"]
        told = None
        while told is None:
            time.sleep(0.2)
            told = _ask(url, _ENDED, backfill)["partitionBackfillOrError"]["endTimestamp"]
        runs = _ended_runs(checkout, RunsFilter(tags={"dagster/backfill": backfill}))
        yield name, parts_of(asked, runs, told)


def _clear(checkout: Path) -> None:
    for asset in _EVERYTHING:
        shutil.rmtree(checkout / "data" / asset, ignore_errors=True)


def _ask(url: str, query: str, what: object) -> dict[str, Any]:
    body = json.dumps({"query": query, "variables": {"what": what}}).encode()
    request = urllib.request.Request(f"{url}/graphql", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        data: dict[str, Any] = json.load(answer)["data"]
    return data


def _ended_runs(home: Path, which: RunsFilter) -> list[Times]:
    """The times of runs, in their order, once all have ended."""
    with DagsterInstance.from_config(str(home)) as instance:
        while not all(run.is_finished for run in instance.get_runs(which)):
            time.sleep(0.2)
        return [_times(instance, record) for record in reversed(instance.get_run_records(which))]


def _times(instance: DagsterInstance, record: RunRecord) -> Times:
    (starting,) = instance.all_logs(
        record.dagster_run.run_id, of_type=DagsterEventType.RUN_STARTING
    )
    if record.start_time is None or record.end_time is None:
        raise BenchError(f"run {record.dagster_run.run_id} did not begin")
    created = record.create_timestamp.timestamp()
    return Times(created, starting.timestamp, record.start_time, record.end_time)
