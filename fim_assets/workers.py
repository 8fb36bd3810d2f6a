"""Many partitions at once: worker processes, each taking a partition through all its stages."""

import multiprocessing
import os
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from threading import Thread

from fim_assets.pipeline import Outcome, Task, run_partition


def run_partitions(tasks: Sequence[Task], workers: int) -> Iterator[Outcome]:
    """Run partitions and yield what became of each, as they finish.

    One partition alone is worked on in this process. The largest shards go first, so that none is
    left over at the end. If a worker dies, the partitions that were being worked on are worked on
    again, each alone: the one whose worker dies again has failed.

    Args:
        tasks: The partitions.
        workers: Processes at most.
    """
    workers = min(workers, len(tasks))
    if workers <= 1:
        yield from map(run_partition, tasks)
        return
    waiting = sorted(tasks, key=lambda task: task.shard.size)
    while waiting:
        for task in (yield from _run_in_pool(waiting, workers)):
            yield from _run_again(task)


def _run_again(task: Task) -> Iterator[Outcome]:
    outcome = next(_run_in_pool([task], workers=1), None) or failed(
        task,
        "a worker process died while it was being worked on, and again when it was worked on "
        "alone; was it killed for want of memory?",
    )
    outcome.interrupted = True
    yield outcome


def _run_in_pool(waiting: list[Task], workers: int) -> Generator[Outcome, None, list[Task]]:
    """Take tasks from the end of the list until it is empty or a worker died.

    Returns:
        The tasks that were being worked on when one died.
    """
    # Never fork: a fork after Polars has run in the parent hangs.
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(workers, context, _end_with_parent) as pool:
        interrupted: list[Task] = []
        running: dict[Future[Outcome], Task] = {}
        done: set[Future[Outcome]] = set()
        broken = False
        while True:
            ended = [(running.pop(future), future) for future in done]
            broken = broken or any(_died(future) for _, future in ended)
            # The next ones are begun first: what is yielded takes the run a while to record.
            while waiting and len(running) < workers and not broken:
                task = waiting.pop()
                try:
                    running[pool.submit(run_partition, task)] = task
                except BrokenProcessPool:
                    waiting.append(task)
                    broken = True
            for task, future in ended:
                if _died(future):
                    interrupted.append(task)
                    continue
                try:
                    yield future.result()
                except Exception as error:
                    yield failed(task, f"{type(error).__name__}: {error}")
            if not running:
                return interrupted
            done, _ = wait(running, return_when=FIRST_COMPLETED)


def _died(future: Future[Outcome]) -> bool:
    """Whether a worker died while this, or its neighbour, was worked on."""
    return isinstance(future.exception(), BrokenProcessPool)


def _end_with_parent() -> None:
    """Have this worker end when the run does, however it ends: nobody would take its results."""
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError("a worker is started by a process")
    if not parent.is_alive():
        # It ended while this one was starting: what it has queued is no work any more, and the next
        # run may have done it already.
        os._exit(1)

    def watch() -> None:
        parent.join()
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def failed(task: Task, reason: str) -> Outcome:
    """The outcome of a partition that no worker could bring to an end."""
    return Outcome(task.key, failure=f"{task.shard}: {reason}")
