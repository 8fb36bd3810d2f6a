"""Finds runs whose process is gone, so that no dead run holds the queue.

A run that is killed cannot say so, and Dagster's own launcher looks after no run: the queue would
wait for it forever. A process that works on a run holds a file lock, which the kernel takes back
when the process ends in any way, and the run's log names the file. The daemon's run monitoring asks
`LocalRunLauncher` every few seconds, and ends as failed the runs whose lock nobody holds any more.
"""

import atexit
import os
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from uuid import uuid4

import dagster as dg
from dagster._core.events import EngineEventData
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus
from filelock import FileLock, Timeout

from fim_assets.corpus_report.summary import CORPUS_REPORT

PARTITIONS_STEP = "raw_shards_to_token_arrays"
"""The step that takes partitions through the stages; with a prefix, behind it."""

_HOST, _LOCK = "host", "process_lock"
_STEPS = {PARTITIONS_STEP, CORPUS_REPORT}

# A process names itself within a second or two of the run's start, and this is much more than a
# slow machine needs. One that is killed before names nobody, and its log stays silent.
_SECONDS_TO_BEGIN = 60

_EVENTS = {
    dg.DagsterEventType.RUN_START,
    dg.DagsterEventType.ENGINE_EVENT,
    dg.DagsterEventType.STEP_START,
    dg.DagsterEventType.STEP_WORKER_STARTING,
}


def name_process(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Write to a run's log which process works on it, for `LocalRunLauncher`."""
    host = socket.gethostname()
    named = {_HOST: host}
    # Where no file can be written or locked, the run works, and counts until it says that it ended.
    with suppress(OSError):
        named[_LOCK] = _process_lock(Path(instance.storage_directory(), "processes")).lock_file
    message = f"Worked on by process {os.getpid()} of {host}"
    instance.report_engine_event(message, run, EngineEventData(named))


@cache
def _process_lock(folder: Path) -> FileLock:
    # Held until the process ends, in a file of its own.
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{uuid4()}.lock"
    lock = FileLock(path)
    lock.acquire(timeout=0)
    atexit.register(path.unlink, missing_ok=True)
    return lock


class LocalRunLauncher(DefaultRunLauncher):
    """Dagster's default launcher, which also tells whether a run's process is still there."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Asked by Dagster's run monitoring."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether the process that works on a run is there, as far as can be seen from here."""
        log = self._instance.all_logs(run.run_id, of_type=_EVENTS)
        events = [entry.dagster_event for entry in log if entry.dagster_event]
        if _is_there(events, log[-1].timestamp):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(
            WorkerStatus.FAILED,
            "the process that worked on the run is gone: it was killed, or its machine went down. "
            "What it finished stays; run the same again to make the rest",
        )


def _is_there(events: Sequence[dg.DagsterEvent], last: float) -> bool:
    if any(event.event_type == dg.DagsterEventType.STEP_WORKER_STARTING for event in events):
        # Each step has a process, job or pod of its own, which comes and goes.
        return True
    named = [event.engine_event_data.metadata for event in events if event.is_engine_event]
    named = [metadata for metadata in named if _HOST in metadata]
    if named:
        lock, here = named[-1].get(_LOCK), named[-1][_HOST].value == socket.gethostname()
        return lock is None or not here or _is_held(Path(str(lock.value)))
    # A step that is not of this package never names its process.
    steps = [event.node_name.split("__")[-1] for event in events if event.is_step_start]
    return not _STEPS.issuperset(steps) or time.time() - last < _SECONDS_TO_BEGIN


def _is_held(path: Path) -> bool:
    if not path.is_file():  # the process that held it has removed it
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except (OSError, Timeout):
        return True
