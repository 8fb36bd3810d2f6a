"""How far a run is: lines in its log, and a bar where a person watches a command in a terminal."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import dagster as dg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fim_assets.run.partition import Outcome, Task
from fim_assets.wording import plural

_SECONDS_BETWEEN_LOGS = 10.0
_TERMINAL = Path("/dev/tty")

# Asked when the definitions load: later Dagster redirects what a step prints.
_IN_A_TERMINAL = sys.stderr is not None and sys.stderr.isatty()
_ENCODING = sys.stderr.encoding if _IN_A_TERMINAL else "utf-8"


@contextmanager
def progress(
    tasks: Sequence[Task], context: dg.AssetExecutionContext
) -> Iterator[Callable[[Outcome], None]]:
    """Show how far a run is; yields what to call with what became of each partition."""
    sizes = {task.key: max(task.shard.size, 1) for task in tasks}
    total, done, failed, done_bytes = sum(sizes.values()), 0, 0, 0
    begin = logged = time.monotonic()
    # A command that a person runs has a terminal, and no service started it.
    with _bar(shown=_IN_A_TERMINAL and context.run.remote_job_origin is None) as bar:
        line = bar.add_task("partitions", total=len(tasks), left="")

        def advance(outcome: Outcome) -> None:
            nonlocal done, failed, done_bytes, logged
            done += 1
            failed += outcome.failure is not None
            done_bytes += sizes[outcome.key]
            now = time.monotonic()
            message = described(done, failed, len(tasks), done_bytes / total, now - begin)
            bar.update(line, completed=done, left=message.partition(", ")[2])
            if done == len(tasks) or now - logged > _SECONDS_BETWEEN_LOGS:
                logged = now
                context.log.info(message)

        yield advance


def described(done: int, failed: int, of: int, share: float, seconds: float) -> str:
    """How far a run is, as text, and how long it will take; `failed` are among the `done`.

    The time left is estimated from the share of the bytes that are done, since the largest shards
    go first; not from the first partition alone, whose time has the workers' start in it.
    """
    message = f"{done - failed:,} of {plural(of, 'partition')} in {seconds:,.0f} s"
    if failed:
        message += f", {failed:,} failed"
    if 1 < done < of:
        message += f", about {seconds / share * (1 - share):,.0f} s left"
    return message


@contextmanager
def _bar(*, shown: bool) -> Iterator[Progress]:
    bar = Progress(disable=True)
    with ExitStack() as stack:
        if shown:
            with suppress(OSError):
                tty = stack.enter_context(_TERMINAL.open("w", encoding=_ENCODING, errors="replace"))
                bar = Progress(
                    TextColumn("{task.description}"),
                    BarColumn(),
                    MofNCompleteColumn(),
                    TimeElapsedColumn(),
                    TextColumn("{task.fields[left]}"),
                    console=Console(file=tty, force_terminal=True),
                    transient=True,
                )
                stack.enter_context(bar)
        yield bar
