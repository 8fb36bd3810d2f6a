"""The executor `ray`: what `local` does on this machine, with the CPUs of a cluster's nodes.

Nodes run fim_assets as it is installed on them. A node is refused whose fim_assets would make other
bytes than this run's, or that does not share the data root.
"""

import logging
import os
import signal
import socket
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import ray
from ray import exceptions
from ray.exceptions import RayError

from fim_assets.io.locations import Location, StorageError
from fim_assets.io.storage import read_bytes, remove, write_bytes
from fim_assets.run.local import Stop, in_a_thread
from fim_assets.run.tasks import ClusterError, OutcomeT, Task

_TRIES = 4
"""Workers that may die over one task: other tasks may be why the first ones did."""

_TASKS_A_CPU = 2  # enough that none waits for work, and that an autoscaler sees a demand
_SECONDS_BETWEEN_COUNTS = 1.0
_SECONDS_TO_LEAVE = 5.0
_SECONDS_TO_CONNECT = 10.0

_DIED = (
    *(exceptions.LocalRayletDiedError, exceptions.NodeDiedError, exceptions.WorkerCrashedError),
    *(exceptions.ObjectLostError, exceptions.OutOfMemoryError),
)
"""Lost are outcomes that were on a node which died afterwards."""


def run_on_ray(tasks: Sequence[Task[OutcomeT]]) -> Generator[OutcomeT, None, None]:
    """Run tasks of one run and yield what became of each, as they finish.

    The cluster is the one that `RAY_ADDRESS` names, or that this machine is a node of. Each task
    takes one CPU; the largest go first. If a worker or its node dies, what it worked on is worked
    on again, wherever there is room: a task whose workers die again and again has failed.

    Raises:
        ClusterError: If the cluster cannot be reached, or a node has another fim_assets or does
            not share the folder of the tasks. What finished before stays finished.
    """
    if tasks:
        # Ray's client is no safer than a pool of processes where a signal interrupts it.
        yield from in_a_thread(lambda stop: _run_on_cluster(tasks, stop))


def _run_on_cluster(tasks: Sequence[Task[OutcomeT]], stop: Stop) -> Generator[OutcomeT, None, None]:
    first = tasks[0]
    waiting = sorted(tasks, key=lambda task: task.size)
    running: dict[ray.ObjectRef[OutcomeT], Task[OutcomeT]] = {}
    deaths: Counter[str] = Counter()
    with _marker_file(first.folder) as marker, _connected(), _cancelling(running):
        # No retries of Ray's own, which would tell nobody that a worker died.
        work: Any = ray.remote(num_cpus=1, max_retries=0)(_work)
        shared, identity = ray.put(vars(first)[first.shared]), first.identity()
        while (waiting or running) and not stop.done():
            for _ in range(min(len(waiting), _most_at_once() - len(running))):
                task = waiting.pop()
                fields = {**vars(task), task.shared: shared}
                running[work.remote(type(task), identity, marker, **fields)] = task
            for reference in _finished(list(running)):
                task = running.pop(reference)
                outcome: OutcomeT | None = _outcome(reference)
                if outcome is None:
                    deaths[task.key] += 1
                    if deaths[task.key] < _TRIES:
                        waiting.append(task)
                        continue
                    died = f"a worker process died each of the {_TRIES} times that it was being"
                    outcome = task.failed(f"{died} worked on; was it killed for want of memory?")
                outcome.interrupted = task.key in deaths
                yield outcome


@contextmanager
def _cancelling(running: dict[ray.ObjectRef[OutcomeT], Task[OutcomeT]]) -> Iterator[None]:
    """Have the nodes leave what they still work on when a run ends."""
    try:
        yield
    finally:
        for reference in running:
            ray.cancel(reference)
        if running:
            ray.wait(list(running), num_returns=len(running), timeout=_SECONDS_TO_LEAVE)


def cluster_cpus() -> int:
    """CPUs of the cluster that runs would use; raises `ClusterError` if it cannot be reached."""
    with _connected():
        return int(ray.cluster_resources().get("CPU", 0))


def _most_at_once() -> int:
    """Tasks to submit, by the cluster's CPUs of this moment; the others wait here."""
    cpus = int(ray.cluster_resources().get("CPU", 0))
    return _TASKS_A_CPU * max(1, cpus)


def _finished(running: list[ray.ObjectRef[OutcomeT]]) -> list[ray.ObjectRef[OutcomeT]]:
    """Wait for one at least, or until the CPUs should be counted again; all that are finished."""
    ray.wait(running, timeout=_SECONDS_BETWEEN_COUNTS)
    finished, _ = ray.wait(running, num_returns=len(running), timeout=0)
    return finished


def _outcome(reference: ray.ObjectRef[OutcomeT]) -> OutcomeT | None:
    """What became of a task, None if its worker or its node died."""
    try:
        return ray.get(reference)
    except _DIED:
        return None
    except RayError as error:
        raise ClusterError(f"a node of the cluster cannot work: {_last_line(error)}") from None


def _work(
    kind: Callable[..., Task[OutcomeT]], identity: Sequence[str], marker: Location, **fields: Any
) -> OutcomeT:
    """On a node: do a task."""
    task = kind(**fields)
    host = socket.gethostname()
    if task.identity() != identity:
        raise ClusterError(f"{host} has another fim_assets or other grammars than this run's")
    try:
        read_bytes(marker)
    except FileNotFoundError:
        problem = f"{host} does not see {marker.parent}: the data root must be shared"
        raise ClusterError(problem) from None
    except StorageError as error:
        raise ClusterError(f"{host}: {error}") from None
    try:
        return task.run()
    except Exception as error:
        return task.failed(f"{type(error).__name__}: {error}")


@contextmanager
def _marker_file(folder: Location) -> Iterator[Location]:
    """A file by which a node knows this run's folder, while the run lasts."""
    marker = folder / f"ray-{uuid4().hex}"
    try:
        write_bytes(marker, b"")
    except OSError as error:
        raise ClusterError(str(error)) from error
    try:
        yield marker
    finally:
        remove([marker])


@contextmanager
def _connected() -> Iterator[None]:
    """Connect to a cluster that runs; none is started."""
    address = os.environ.get("RAY_ADDRESS") or "auto"
    on_terminate = signal.getsignal(signal.SIGTERM)
    try:
        _check_port(address)
        ray.init(address, namespace="fim_assets", log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError, RayError) as error:
        where = f"FIM_ENGINE=ray: no cluster at RAY_ADDRESS={address}"
        raise ClusterError(f"{where}: {_last_line(error)}") from None
    if current_thread() is main_thread():
        signal.signal(signal.SIGTERM, on_terminate)  # Ray has put its own there
    try:
        yield
    finally:
        ray.shutdown()


def _check_port(address: str) -> None:
    """Fail at once where nobody listens: Ray would try for minutes."""
    if address == "local":
        raise ValueError("this would start one; name one that runs")
    url = urlsplit(address if "://" in address else f"//{address}")
    if url.hostname and url.port:
        socket.create_connection((url.hostname, url.port), _SECONDS_TO_CONNECT).close()


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]
