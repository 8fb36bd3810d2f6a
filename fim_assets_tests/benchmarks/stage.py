"""What the benches of single stages share: variants that take turns, floors, targets, peaks."""

import multiprocessing
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from threading import Barrier
from typing import NamedTuple

import orjson
import zstandard

from fim_assets.raw_shards.shard_reader import BLOCK_BYTES
from fim_assets_tests.benchmarks.corpus import BenchCorpus
from fim_assets_tests.benchmarks.measure import Row, measure_success, process_row

ROUNDS = 5
"""The fewest rounds that a median is taken of."""

QUIET = 0.85
"""The smallest share of its workers' cores with which a wall time counts."""

FLOOR = "floor"


@dataclass(frozen=True)
class Variant:
    """One way through the corpus.

    Attributes:
        name: What is measured.
        run: What a worker does with one file; it writes below the folder.
        files: The files, one a shard.
        bytes: Of the texts in them, in UTF-8.
    """

    name: str
    run: Callable[[Path, Path], object]
    files: tuple[Path, ...]
    bytes: int


class Cost(NamedTuple):
    """What one round of a variant cost: seconds on the wall, and of all workers' CPU time.

    Where CPU time by wall time (`cores`) is far below the number of workers, others kept the
    machine busy: then wall times do not tell whether a target is reached.
    """

    wall: float
    cpu: float

    def numbers(self, size: int, floor: "Cost | None") -> dict[str, float | None]:
        """Columns of a row.

        Args:
            size: Bytes of text.
            floor: What it is a multiple of, if it did the same work.
        """
        numbers: dict[str, float | None] = {
            "wall s": self.wall,
            "CPU s": self.cpu,
            "cores": self.cpu / self.wall,
            "MB/s": size / 1e6 / self.wall,
        }
        if floor is not None:
            numbers["× floor"] = self.wall / floor.wall
            numbers["CPU × floor"] = self.cpu / floor.cpu
        return numbers


def take_turns(
    variants: Mapping[str, Callable[[], Cost]], rounds: Iterable[object]
) -> dict[str, list[Cost]]:
    """Each variant's rounds by its name.

    Args:
        variants: What does one round of each.
        rounds: As many as rounds are wanted.
    """
    costs: dict[str, list[Cost]] = defaultdict(list)
    for _ in rounds:
        for name, run in variants.items():
            costs[name].append(run())
    return costs


def run_in_pool(pool: ProcessPoolExecutor, variant: Variant, corpus: BenchCorpus) -> Cost:
    """One round of a variant; what it writes beside the corpus is deleted afterwards."""
    largest_first = sorted(variant.files, key=lambda file: -file.stat().st_size)
    with folder_beside(corpus) as outputs:
        work = partial(_cpu_seconds, variant.run, outputs)
        begin = time.perf_counter()
        cpu = sum(pool.map(work, largest_first))
        return Cost(time.perf_counter() - begin, cpu)


def _cpu_seconds(run: Callable[[Path, Path], object], outputs: Path, file: Path) -> float:
    begin = time.process_time()
    run(file, outputs)
    return time.process_time() - begin


def median_costs(costs: Mapping[str, Iterable[Cost]]) -> dict[str, Cost]:
    """Medians of each variant's rounds by its name."""
    return {
        name: Cost(*(median(seconds) for seconds in zip(*rounds, strict=True)))
        for name, rounds in costs.items()
    }


def was_busy(workers: int, *measured: Cost) -> bool:
    """Whether others kept the machine busy while one of these was measured."""
    return min(cost.cpu / cost.wall for cost in measured) < QUIET * workers


def at_most(value: float, target: float, *, busy: bool = False) -> str:
    """A target, and whether it is reached."""
    return f"at most {target:g}: {_verdict(busy=busy, reached=value <= target)}"


def at_least(value: float, target: float, *, busy: bool = False) -> str:
    """A target, and whether it is reached."""
    return f"at least {target:g}: {_verdict(busy=busy, reached=value >= target)}"


def _verdict(*, busy: bool, reached: bool) -> str:
    if busy:
        return "unknown, the machine was busy"
    return "yes" if reached else "no"


@contextmanager
def started_pool(workers: int, prepare: Callable[[], object]) -> Iterator[ProcessPoolExecutor]:
    """Processes that have imported and loaded all that they need.

    Args:
        workers: Their number.
        prepare: Loads it.
    """
    # Never fork: a fork after Polars has run in the parent hangs.
    context = multiprocessing.get_context("spawn")
    all_there = context.Barrier(workers)
    with ProcessPoolExecutor(workers, context, _prepare_worker, (prepare, all_there)) as pool:
        for started in [pool.submit(os.getpid) for _ in range(workers)]:
            started.result()
        yield pool


def _prepare_worker(prepare: Callable[[], object], all_there: Barrier) -> None:
    prepare()
    all_there.wait()


@contextmanager
def folder_beside(corpus: BenchCorpus) -> Iterator[Path]:
    """A folder on the corpus's disk, deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix=".stage-", dir=corpus.folder) as folder:
        yield Path(folder)


def key_of(shard: Path) -> str:
    """The partition's key."""
    return shard.name.removesuffix(".jsonl.zst")


def parsed_blocks(shard: Path) -> Iterator[bytes]:
    """A shard's decompressed bytes, each line parsed and forgotten.

    Raises:
        orjson.JSONDecodeError: If a line is not JSON.
    """
    begun: list[bytes] = []
    decompressor = zstandard.ZstdDecompressor()
    with shard.open("rb") as file, decompressor.stream_reader(file) as stream:
        while block := stream.read(BLOCK_BYTES):
            lines = block.split(b"\n")
            begun.append(lines[0])
            if len(lines) > 1:
                lines[0] = b"".join(begun)
                begun = [lines.pop()]
                parse_lines(lines)
            yield block
    parse_lines([b"".join(begun)])


def parse_lines(lines: Iterable[bytes]) -> None:
    """Parse each line that is not empty, and forget it.

    Raises:
        orjson.JSONDecodeError: If a line is not JSON.
    """
    for line in lines:
        if line:
            orjson.loads(line)


def peak_row(name: str, code: str, folder: Path, target_mb: float) -> Row:
    """Peak memory of a process of its own, compared with a target.

    Args:
        name: What is measured.
        code: What the process does.
        folder: Where it runs.
        target_mb: The most that it should need.

    Raises:
        BenchError: If it fails.
    """
    row = process_row(name, [measure_success([sys.executable, "-c", code], None, folder)])
    peak = row.numbers["peak MB"]
    return Row(row.name, row.numbers, "" if peak is None else at_most(peak, target_mb))
