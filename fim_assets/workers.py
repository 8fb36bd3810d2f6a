"""Many partitions at once: worker processes, each taking a partition through all its stages."""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from fim_assets.pipeline import Outcome, Task, run_partition


def run_partitions(tasks: Sequence[Task], workers: int) -> Iterator[Outcome]:
    """Run partitions and yield what became of each, as they finish.

    One partition alone is worked on in this process. The largest shards go first, so that none is
    left over at the end. A worker that dies costs the partitions that were being worked on.

    Args:
        tasks: The partitions.
        workers: Processes at most.
    """
    workers = min(workers, len(tasks))
    if workers <= 1:
        yield from map(run_partition, tasks)
        return
    waiting = sorted(tasks, key=_size)
    while waiting:
        yield from _run_in_pool(waiting, workers)


def _size(task: Task) -> int:
    try:
        return task.shard.stat().st_size
    except OSError:
        return 0


def _run_in_pool(waiting: list[Task], workers: int) -> Iterator[Outcome]:
    """Take tasks from the end of the list until it is empty or a worker died."""
    # Never fork: a fork after Polars has run in the parent hangs.
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    with ProcessPoolExecutor(workers, multiprocessing.get_context(method)) as pool:
        running: dict[Future[Outcome], Task] = {}
        broken = False
        while running or (waiting and not broken):
            while waiting and len(running) < workers and not broken:
                task = waiting.pop()
                try:
                    running[pool.submit(run_partition, task)] = task
                except BrokenProcessPool:
                    waiting.append(task)
                    broken = True
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                task = running.pop(future)
                try:
                    yield future.result()
                except BrokenProcessPool:
                    broken = True
                    yield _failed(
                        task,
                        "a worker process died while it was being worked on; was "
                        "it killed for want of memory?",
                    )
                except Exception as error:
                    yield _failed(task, f"{type(error).__name__}: {error}")


def _failed(task: Task, reason: str) -> Outcome:
    return Outcome(task.key, failure=f"{task.shard}: {reason}")
