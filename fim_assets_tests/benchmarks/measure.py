"""What a command costs as a real process: time of its whole tree, memory of each process in it."""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from statistics import median
from threading import Event, Thread
from typing import NamedTuple, Self

SECONDS_BETWEEN_SAMPLES = 0.05
_SECONDS_FOR_ORPHANS = 10.0
_OUTPUT_LINES_SHOWN = 60
_PR_SET_CHILD_SUBREAPER = 36
_LINUX = sys.platform == "linux"


class BenchError(RuntimeError):
    """A run that failed or left something out; the message says which, with its last output."""


class Figure(NamedTuple):
    """A median of several runs, and their range."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """That of at least one value."""
        values = list(values)
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True)
class Row:
    """One line of a table of numbers.

    Attributes:
        name: What was measured.
        numbers: Values by column, the unit in the column's name; None and NaN are unknown.
        remark: What stands behind them, such as a target and whether it is reached.
    """

    name: str
    numbers: Mapping[str, Figure | float | None] = field(default_factory=dict)
    remark: str = ""


@dataclass(frozen=True)
class ProcessPeak:
    """One process of a tree.

    Attributes:
        pid: Its id.
        command: Its program and arguments, folders left out, shortened.
        peak_bytes: The most memory that was resident at once (Linux: VmHWM).
    """

    pid: int
    command: str
    peak_bytes: int


@dataclass(frozen=True)
class Measurement:
    """What a command did and cost.

    Attributes:
        status: Exit status.
        output: Standard output and error, as they came.
        wall_seconds: From start to exit of the command itself.
        cpu_seconds: User and system time of all processes of the tree; NaN is unknown.
        processes: Processes that lived long enough to be seen, largest first; None is unknown.
    """

    status: int
    output: str
    wall_seconds: float
    cpu_seconds: float
    processes: tuple[ProcessPeak, ...] | None

    @property
    def peak_bytes(self) -> int | None:
        """Peak memory of the largest process; None is unknown."""
        return self.processes[0].peak_bytes if self.processes else None


def measure(
    command: Sequence[str], environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> Measurement:
    """Run a command and measure it; one at a time.

    Memory is sampled every 50 ms, so that growth in a process's last 50 ms is not seen. Processes
    that outlive the command are waited for, and after 10 s killed: their time counts too. Outside
    of Linux only wall time is known.

    Args:
        command: Program and arguments.
        environment: All variables; None passes this process's on.
        folder: Where it runs; None is the current one.
    """
    with tempfile.TemporaryFile() as output, _adopting_orphans():
        others = _descendants()
        cpu_before = _ended_children_cpu_seconds()
        begin = time.perf_counter()
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        with _sampling(others) as peaks:
            try:
                status = process.wait()
                wall_seconds = time.perf_counter() - begin
            except BaseException:
                process.kill()
                process.wait()
                _reap(others, seconds=0)
                raise
            _reap(others, _SECONDS_FOR_ORPHANS)
        cpu_after = _ended_children_cpu_seconds()
        output.seek(0)
        text = output.read().decode(errors="replace")
    found = [ProcessPeak(pid, command, peak) for (pid, command), peak in peaks.items()]
    return Measurement(
        status=status,
        output=text,
        wall_seconds=wall_seconds,
        cpu_seconds=cpu_after - cpu_before,
        processes=tuple(sorted(found, key=lambda p: -p.peak_bytes)) or None,
    )


def measure_success(
    command: Sequence[str], environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> Measurement:
    """Run a command that must end well and measure it, see `measure`.

    Raises:
        BenchError: If it fails.
    """
    measurement = measure(command, environment, folder)
    if measurement.status:
        output = measurement.output.splitlines()[-_OUTPUT_LINES_SHOWN:]
        raise BenchError(
            "\n".join([f"exit status {measurement.status}: {' '.join(command)}", *output])
        )
    return measurement


def process_row(name: str, measurements: Sequence[Measurement]) -> Row:
    """What a command cost."""
    return Row(
        name,
        {
            "wall s": Figure.of(m.wall_seconds for m in measurements),
            "CPU s": Figure.of(m.cpu_seconds for m in measurements),
            "peak MB": Figure.of((m.peak_bytes or nan) / 1e6 for m in measurements),
        },
    )


def cpu_seconds() -> float:
    """User and system time so far of this process and its children, also of those that live on.

    Outside of Linux, of this process alone.
    """
    own, children = time.process_time(), 0.0
    if _LINUX:
        for task in Path("/proc/self/task").iterdir():
            for pid in map(int, (task / "children").read_text().split()):
                # The number of a process's clock, as clock_getcpuclockid(3) computes it.
                children += time.clock_gettime(~pid << 3 | 2)
        children += _ended_children_cpu_seconds()
    return own + children


@contextmanager
def _adopting_orphans() -> Iterator[None]:
    """Become the parent of processes whose parent exits, or their CPU time could not be known.

    A fork server, for one, outlives the process that started it, and its workers' time is its own.
    """
    if not _LINUX:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    try:
        yield
    finally:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _ended_children_cpu_seconds() -> float:
    if not _LINUX:
        return nan
    import resource

    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _reap(others: set[int], seconds: float) -> None:
    """Wait for all descendants but `others`; kill those that are left after some seconds."""
    end = time.monotonic() + seconds
    while left := _descendants() - others:
        for pid in left:
            try:
                if time.monotonic() > end:
                    os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, os.WNOHANG)
            except (ChildProcessError, ProcessLookupError):
                continue  # Not our child, or not yet: its parent lives.
        time.sleep(0.005)


@contextmanager
def _sampling(others: set[int]) -> Iterator[dict[tuple[int, str], int]]:
    """Sample in a thread; gives peaks in bytes by pid and command, complete when it is left."""
    peaks: dict[tuple[int, str], int] = {}
    stop = Event()

    def sample() -> None:
        while not stop.wait(SECONDS_BETWEEN_SAMPLES):
            for pid in _descendants() - others:
                peak = memory_bytes(pid, "VmHWM")
                if peak:
                    process = (pid, _command(pid))
                    peaks[process] = max(peak, peaks.get(process, 0))

    thread = Thread(target=sample, daemon=True)
    if _LINUX:
        thread.start()
    try:
        yield peaks
    finally:
        stop.set()
        if _LINUX:
            thread.join()


def _descendants() -> set[int]:
    """All processes below this one, zombies too; none is known outside of Linux."""
    if not _LINUX:
        return set()
    children = defaultdict(list)
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            # pid (command, which may hold anything) state parent …
            fields = _proc_text(int(entry.name), "stat").rpartition(")")[2].split()
            if fields:
                children[int(fields[1])].append(int(entry.name))
    found: set[int] = set()
    waiting = [os.getpid()]
    while waiting:
        below = children[waiting.pop()]
        found.update(below)
        waiting += below
    return found


def memory_bytes(pid: int, field: str) -> int:
    """Memory of a process: VmHWM is the most so far, VmRSS what is resident; 0 is unknown."""
    for line in _proc_text(pid, "status").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return 0


def _command(pid: int) -> str:
    words = _proc_text(pid, "cmdline").rstrip("\0").split("\0")
    return " ".join(word.rpartition("/")[2] if word[:1] == "/" else word for word in words)[:60]


def _proc_text(pid: int, name: str) -> str:
    try:
        return Path("/proc", str(pid), name).read_text("utf-8", "replace")
    except OSError:
        return ""
