"""What the benches share: ways through a corpus that take turns, their costs, ratios and targets.

Rates count the text of the raw shards (MB = 10^6 bytes of UTF-8). Files are read from a warm page
cache. Ratios are of CPU time where a target is told: it is much the same on a busy machine.
"""

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from math import isnan
from pathlib import Path
from threading import Barrier
from typing import NamedTuple

from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus.keys import PARQUET
from fim_assets.corpus.raw_shard import RawShard
from fim_assets.corpus.stage import Source, Stage, Work
from fim_assets.corpus.staging import Staging
from fim_assets.io.hashing import FileRecord
from fim_assets.recipe import Recipe
from fim_assets.run.partition import Task, run_partition
from fim_assets.settings import usable_cores
from fim_assets.stages import stages_of
from fim_assets.tokenizer.load import load_tokenizer
from fim_assets_tests.benchmarks.corpus import BenchCorpus
from fim_assets_tests.benchmarks.measure import BenchError, Figure, Row, cpu_seconds
from fim_assets_tests.corpora import corpus_of, partition_files

RECIPE = Recipe()
"""What is measured, as `olmo_midtraining` has it."""

Run = Callable[[Path, Path], object]
"""What a worker does with one file; it writes below the folder, the second argument."""


class Cost(NamedTuple):
    """Seconds on the wall, and of the CPU time of all processes; NaN is unknown."""

    wall: float
    cpu: float


def together(costs: Iterable[Cost]) -> Cost:
    """What some cost one after the other."""
    return Cost(*map(sum, zip(*costs, strict=True)))


Round = dict[str, Cost]
"""What each variant cost, by its name."""


def take_turns(variants: Mapping[str, Callable[[], Cost]], rounds: Iterable[object]) -> list[Round]:
    """Do each variant once a round, so that what else the machine does meets all of them.

    Args:
        variants: What does one round of each.
        rounds: As many as rounds are wanted.
    """
    return [{name: run() for name, run in variants.items()} for _ in rounds]


def cost_row(
    name: str,
    rounds: Sequence[Round],
    size: int | None,
    of: Sequence[str] = (),
    target: float | None = None,
) -> Row:
    """A variant's medians and their ranges.

    Args:
        name: The variant's.
        rounds: At least one.
        size: Bytes of text that it went through, None if it went through none.
        of: Variants that its time is a multiple of, all together, round by round.
        target: The most that its CPU time should be, as such a multiple.
    """
    costs = [costs[name] for costs in rounds]
    wall, cpu = (Figure.of(seconds) for seconds in zip(*costs, strict=True))
    numbers: dict[str, Figure | float | None] = {"wall s": wall, "CPU s": cpu}
    if size is not None:
        numbers |= {"MB/s": size / 1e6 / wall.median, "MB/CPU s": size / 1e6 / cpu.median}
    if not of:
        return Row(name, numbers)
    least = [together(costs[other] for other in of) for costs in rounds]
    pairs = list(zip(costs, least, strict=True))
    numbers["wall ×"] = Figure.of(cost.wall / floor.wall for cost, floor in pairs)
    numbers["CPU ×"] = times = Figure.of(cost.cpu / floor.cpu for cost, floor in pairs)
    return Row(name, numbers, "" if target is None else at_most(times.median, target))


def at_most(value: float, target: float) -> str:
    """A target, and whether it is reached."""
    verdict = "yes" if value <= target else "no"
    return f"at most {target:g}: {'unknown' if isnan(value) else verdict}"


def most_workers(corpus: BenchCorpus) -> int:
    """As many as there are usable cores."""
    return min(usable_cores(), len(corpus.keys))


@contextmanager
def started_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that have imported and loaded all that the stages and floors need."""
    # Never fork: a fork after Polars has run in the parent hangs.
    context = multiprocessing.get_context("spawn")
    all_there = context.Barrier(workers)
    with ProcessPoolExecutor(workers, context, _get_ready, (all_there,)) as pool:
        for started in [pool.submit(os.getpid) for _ in range(workers)]:
            started.result()
        yield pool


def _get_ready(all_there: Barrier) -> None:
    load_tokenizer(RECIPE)
    corpus = corpus_of(RECIPE, Path())
    for stage in stages_of(RECIPE):
        # What it says of itself imports its work and its checks.
        assert stage.about
        stage.prepare(corpus.recipe, corpus.tokenizer_hash)
    all_there.wait()


def cost_in_pool(
    pool: ProcessPoolExecutor, run: Run, files: Iterable[Path], corpus: BenchCorpus
) -> Cost:
    """One round of a variant; what it writes beside the corpus is deleted afterwards."""
    largest_first = sorted(files, key=lambda file: -file.stat().st_size)
    with folder_beside(corpus) as outputs:
        begin = time.perf_counter()
        cpu = sum(pool.map(partial(_cpu_seconds_of, run, outputs), largest_first))
        return Cost(time.perf_counter() - begin, cpu)


def cost_afresh(run: Run, files: Iterable[Path], corpus: BenchCorpus, workers: int) -> Cost:
    """One round of a variant in processes of its own: an encoder that has seen no text yet."""
    with started_pool(workers) as pool:
        return cost_in_pool(pool, run, files, corpus)


def _cpu_seconds_of(run: Run, outputs: Path, file: Path) -> float:
    begin = cpu_seconds()
    run(file, outputs)
    return cpu_seconds() - begin


def make(stage: Stage, corpus: Corpus, shard: Path, folder: Path) -> list[FileRecord]:
    """A stage's own work on one shard, and nothing around it: its outputs' records."""
    key = key_of(shard)
    parquet = shard.with_name(f"{key}.parquet")
    written = parquet.is_file() and parquet != shard
    source = Source((shard,), parquet if written else None, shard.name, None)
    seed = corpus.recipe.partition_seed(key)
    with Staging(partition_files(folder, key)) as staging:
        stage.make(Work(corpus.recipe, corpus.tokenizer_hash, seed, source, staging))
        return staging.publish()


def run_alone(
    corpus: Corpus, assets: Iterable[str], checks: Iterable[str], shard: Path, _folder: Path
) -> None:
    """Run stages or checks of one shard as the pipeline does, below the corpus's own folder.

    Raises:
        BenchError: If one fails.
    """
    raw = RawShard(str(shard))
    outcome = run_partition(Task(corpus, key_of(shard), raw, frozenset(assets), frozenset(checks)))
    if outcome.failure:
        raise BenchError(outcome.details or f"{outcome.key}: {outcome.failure}")


@contextmanager
def folder_beside(corpus: BenchCorpus) -> Iterator[Path]:
    """A folder on the corpus's disk, deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix=".stage-", dir=corpus.folder) as folder:
        yield Path(folder)


def key_of(shard: Path) -> str:
    """The partition's key."""
    return shard.name.removesuffix(".jsonl.zst").removesuffix(PARQUET)
