"""How far a run is: lines in its log, and a bar where a person watches a command in a terminal."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TextIO

import dagster as dg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fim_assets.run.partition import Task
from fim_assets.wording import plural

_SECONDS_BETWEEN_LOGS = 10.0

# Asked when the definitions load: later Dagster leads what a step prints elsewhere.
_IN_A_TERMINAL = sys.stderr is not None and sys.stderr.isatty()
_ENCODING = sys.stderr.encoding if _IN_A_TERMINAL else "utf-8"


@contextmanager
def progress(
    tasks: Sequence[Task], context: dg.AssetExecutionContext
) -> Iterator[Callable[[str], None]]:
    """Tell how far a run over some partitions is.

    Args:
        tasks: The partitions.
        context: The run's; its log takes the lines.

    Returns:
        What to call with the key of each partition that is done.
    """
    sizes = {task.key: max(task.shard.size, 1) for task in tasks}
    total, done, done_bytes = sum(sizes.values()), 0, 0
    begin = logged = time.monotonic()
    with ExitStack() as stack:
        bar = stack.enter_context(_bar()) if _is_watched(context) else None
        line = bar.add_task("partitions", total=len(tasks), left="") if bar else None

        def advance(key: str) -> None:
            nonlocal done, done_bytes, logged
            done += 1
            done_bytes += sizes[key]
            now = time.monotonic()
            told = described(done, len(tasks), done_bytes / total, now - begin)
            if bar is not None and line is not None:
                bar.update(line, completed=done, left=told.partition(", ")[2])
            if done == len(tasks) or now - logged > _SECONDS_BETWEEN_LOGS:
                logged = now
                context.log.info(told)

        yield advance


def described(done: int, of: int, share: float, seconds: float) -> str:
    """How far a run is, in words; the first partition's time, with the workers' start, tells none.

    Args:
        done: Partitions that are done.
        of: All partitions.
        share: Of their bytes, those that are done: what the time left is told by, since the largest
            go first.
        seconds: Since it began.
    """
    told = f"{done:,} of {plural(of, 'partition')} in {seconds:,.0f} s"
    if 1 < done < of:
        told += f", about {seconds / share * (1 - share):,.0f} s left"
    return told


def _is_watched(context: dg.AssetExecutionContext) -> bool:
    """Whether a person's command runs this, and not a service."""
    return _IN_A_TERMINAL and context.run.remote_job_origin is None and Path("/dev/tty").exists()


def _open_terminal() -> TextIO:
    return Path("/dev/tty").open("w", encoding=_ENCODING, errors="replace")


@contextmanager
def _bar() -> Iterator[Progress | None]:
    with ExitStack() as stack:
        bar = None
        with suppress(OSError):
            terminal = stack.enter_context(_open_terminal())
            bar = stack.enter_context(
                Progress(
                    TextColumn("{task.description}"),
                    BarColumn(),
                    MofNCompleteColumn(),
                    TimeElapsedColumn(),
                    TextColumn("{task.fields[left]}"),
                    console=Console(file=terminal, force_terminal=True),
                    transient=True,
                )
            )
        yield bar
