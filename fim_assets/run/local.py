"""The executor `local`: worker processes, each taking one task after the other.

What a task does is its own; here is only who works on which, and what happens when a worker dies or
the run is interrupted.
"""

import _thread
import multiprocessing
import os
import signal
import sys
import sysconfig
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from types import FrameType
from typing import Any, cast

from fim_assets.run.tasks import OutcomeT, Task

Stop = Future[None]
"""Done as soon as nobody takes outcomes any more."""

_WAITING_OUTCOMES = 8  # outcomes that may wait to be taken, while the next tasks are worked on
_SECONDS_TO_LEAVE = 5.0  # what a worker that is told to end may take to remove unfinished files
_SECONDS_BETWEEN_LOOKS = 0.02

_DIED_AGAIN = (
    "a worker process died while it was being worked on, and again when it was worked on alone; "
    "was it killed for want of memory?"
)


def run_in_processes(
    tasks: Sequence[Task[OutcomeT]], workers: int
) -> Generator[OutcomeT, None, None]:
    """Run tasks and yield the outcome of each, as they finish.

    One task alone runs in this process. The largest go first, so that none is left over at the end.
    If a worker dies, the tasks that were running run again, each alone: the one whose worker dies
    again has failed. If the iterator is closed, the workers leave their tasks and end.
    """
    workers = min(workers, len(tasks))
    if workers <= 1:
        yield from (task.run() for task in tasks)
        return
    waiting = sorted(tasks, key=lambda task: task.size)
    yield from in_a_thread(lambda stop: _run_in_pools(waiting, workers, stop))


def in_a_thread(
    run: Callable[[Stop], Generator[OutcomeT, None, None]],
) -> Generator[OutcomeT, None, None]:
    """Have a thread iterate over outcomes, and yield them here.

    Signals interrupt the main thread, with an exception and between any two of its instructions:
    a pool of processes that is interrupted there may never come to its end. The iterator that `run`
    makes must end soon after its argument is done.
    """
    stop = Stop()
    outcomes: SimpleQueue[OutcomeT | BaseException | None] = SimpleQueue()

    def work() -> None:
        try:
            with closing(run(stop)) as made:
                for outcome in made:
                    outcomes.put(outcome)
                    while outcomes.qsize() >= _WAITING_OUTCOMES and not stop.done():
                        time.sleep(_SECONDS_BETWEEN_LOOKS)
                    if stop.done():
                        return
        except BaseException as error:
            outcomes.put(error)
        else:
            outcomes.put(None)

    # A daemon, or a program that forgets the iterator would wait for this thread when it ends.
    thread = Thread(target=work, daemon=True)
    try:
        thread.start()
        while (outcome := outcomes.get()) is not None:
            if isinstance(outcome, BaseException):
                raise outcome
            yield outcome
    finally:
        stop.set_result(None)
        if thread.ident is not None:
            thread.join()


def _run_in_pools(
    waiting: list[Task[OutcomeT]], workers: int, stop: Stop
) -> Generator[OutcomeT, None, None]:
    while waiting and not stop.done():
        for task in (yield from _run_in_pool(waiting, workers, stop)):
            yield from _run_again(task, stop)


def _run_again(task: Task[OutcomeT], stop: Stop) -> Generator[OutcomeT, None, None]:
    with closing(_run_in_pool([task], 1, stop)) as made:
        outcome = next(made, None) or task.failed(_DIED_AGAIN)
    outcome.interrupted = True
    yield outcome


def _run_in_pool(
    waiting: list[Task[OutcomeT]], workers: int, stop: Stop
) -> Generator[OutcomeT, None, list[Task[OutcomeT]]]:
    """Take tasks from the end of the list until it is empty, a worker died, or it is to stop.

    Returns those that were being worked on when one died.
    """
    with _pool(workers) as pool:
        interrupted: list[Task[OutcomeT]] = []
        running: dict[Future[OutcomeT], Task[OutcomeT]] = {}
        done: set[Future[OutcomeT]] = set()
        broken = False
        while not stop.done():
            ended = [(running.pop(future), future) for future in done]
            broken = broken or any(_died(future) for _, future in ended)
            # The next tasks are begun first: the run takes a while to record what is yielded.
            while waiting and len(running) < workers and not broken:
                task = waiting.pop()
                try:
                    running[pool.submit(_work, task)] = task
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
                    yield task.failed(f"{type(error).__name__}: {error}")
            if not running:
                return interrupted
            wait(cast("list[Future[Any]]", [*running, stop]), return_when=FIRST_COMPLETED)
            done = {future for future in running if future.done()}
    return []


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Worker processes, which leave their tasks and end as soon as the pool is left."""
    # Never fork: a fork after Polars has run in the parent hangs.
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    # Nothing is ever sent: the end of this process closes its side, however it comes.
    workers_side, side = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, context, _begin, (workers_side,))
    with workers_side, _without_command(), pool:
        try:
            yield pool
        finally:
            side.close()
            pool.shutdown(cancel_futures=True)


@contextmanager
def _without_command() -> Iterator[None]:
    """Keep workers from importing the command that runs, such as `dagster`, which takes a while.

    A worker imports the program that started it, since that may define what tasks are made of. An
    installed command defines nothing.
    """
    program = sys.modules["__main__"]
    file = getattr(program, "__file__", None)
    if file is None or Path(file).resolve().parent != Path(sysconfig.get_path("scripts")).resolve():
        yield
        return
    program.__file__ = None
    try:
        yield
    finally:
        program.__file__ = file


def _died(future: Future[Any]) -> bool:
    """Whether a worker died while this, or its neighbour, was worked on."""
    return isinstance(future.exception(), BrokenProcessPool)


def _begin(run: Connection) -> None:
    """In a worker: end when the run does, or is told to; nobody would take its results."""
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError("a worker is started by a process")
    # Ctrl-C reaches every process of the terminal's: it is the run that hears it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not parent.is_alive():
        # It ended while this one was starting: nobody waits for what it has queued, and the next
        # run may have done it already.
        os._exit(1)

    def watch() -> None:
        wait_for([run])
        end = time.monotonic() + _SECONDS_TO_LEAVE
        while parent.is_alive() and time.monotonic() < end:
            _thread.interrupt_main()  # of no effect between two tasks
            parent.join(_SECONDS_BETWEEN_LOOKS)
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def _work(task: Task[OutcomeT]) -> OutcomeT:
    """In a worker: do a task, and leave it when the run is told to end."""
    signal.signal(signal.SIGINT, _leave)
    try:
        return task.run()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _leave(_signal: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # once: unfinished files are being removed
    raise KeyboardInterrupt
