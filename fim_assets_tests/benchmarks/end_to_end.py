"""The whole way, from shards to arrays and report, and where its time goes.

Each measurement is one function that returns rows. Rates count the text of the raw shards
(MB = 10^6 bytes of UTF-8). Files are read from a warm page cache.
"""

import multiprocessing
import os
import shutil
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus.raw_shard import RawShard
from fim_assets.corpus.receipts import Receipt, read_receipt, why_incomplete
from fim_assets.corpus_report.write import write_report
from fim_assets.recipe import Recipe, load_recipe
from fim_assets.run.partition import Task, run_partition
from fim_assets.settings import REPOSITORY, usable_cores
from fim_assets.stages import ASSETS
from fim_assets.tokenizer.load import load_tokenizer
from fim_assets_tests.benchmarks.corpus import TEXT_BYTES_AT_MOST, BenchCorpus, build_corpus
from fim_assets_tests.benchmarks.measure import (
    BenchError,
    Measurement,
    Row,
    measure_success,
    process_row,
)
from fim_assets_tests.benchmarks.stage import at_most
from fim_assets_tests.corpora import CHECKS_OF, corpus_of

RECIPE = "olmo_midtraining"

SECONDS_TARGET = 20
"""Wall seconds for a corpus of `TEXT_BYTES_AT_MOST`."""


@dataclass(frozen=True)
class Run:
    """One run of the command line over a whole corpus.

    Attributes:
        measurement: What the command cost.
        receipts: Those of all assets and partitions.
    """

    measurement: Measurement
    receipts: tuple[Receipt, ...]

    @property
    def tokens(self) -> int:
        """Token ids written."""
        return sum(receipt.result.tokens or 0 for receipt in self.receipts)

    def stage_seconds(self, asset: str) -> float:
        """Seconds that workers spent on an asset, all partitions together, its checks left out."""
        return sum(r.made.seconds for r in self.receipts if r.result.asset == asset)


def materialize(corpus: BenchCorpus) -> Run:
    """Materialize everything anew with Dagster's command line, all checks included.

    Raises:
        BenchError: If the command fails, or a receipt is missing or disagrees with its files.
    """
    for asset in (*ASSETS, "corpus_report"):
        shutil.rmtree(corpus.folder / asset, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="fim-bench-") as home:
        # Its paths are relative, so that all of Dagster's state lies in the temporary folder.
        shutil.copy(REPOSITORY / "dagster.yaml", home)
        command = [sys.executable, "-m", "dagster", "asset", "materialize"]
        command += ["-m", "fim_assets.definitions", "--select", "*"]
        command += ["--partition-range", f"{corpus.keys[0]}...{corpus.keys[-1]}"]
        environment = environment_of(DAGSTER_HOME=home, FIM_DATA_ROOT=str(corpus.folder))
        measurement = measure_success(command, environment, Path(home))
    return Run(measurement, tuple(finished_receipts(corpus)))


def end_to_end_rows(corpus: BenchCorpus, runs: Sequence[Run]) -> list[Row]:
    """The whole corpus: medians of the runs, scaled to the target's size."""
    row = process_row("all shards: assets, checks and report", [r.measurement for r in runs])
    wall = row.numbers["wall s"] or 0.0
    rates: dict[str, float | None] = {
        "MB/s": corpus.bytes / 1e6 / wall,
        "tokens/s": median(r.tokens for r in runs) / wall,
    }
    scaled = wall * TEXT_BYTES_AT_MOST / corpus.bytes
    size = f"{TEXT_BYTES_AT_MOST / 1e6:.0f} MB"
    remark = f"{scaled:.1f} s for {size}; {at_most(scaled, SECONDS_TARGET)}"
    return [Row(row.name, row.numbers | rates, remark)]


def fixed_cost_rows(corpus: BenchCorpus, runs: int) -> list[Row]:
    """What hardly grows with the corpus: medians of runs on one document, and of its parts.

    Args:
        corpus: A materialized corpus, for its report.
        runs: How often each is measured.
    """
    with tempfile.TemporaryDirectory(prefix="fim-bench-") as folder:
        source = Path(folder, "source")
        source.mkdir()
        shutil.copy(Path(sysconfig.get_path("stdlib"), "json", "decoder.py"), source)
        tiny = build_corpus(source, Path(folder))
        one_document = [materialize(tiny).measurement for _ in range(runs)]
    worker = (
        "from fim_assets import load_recipe, load_tokenizer;"
        f"load_tokenizer(load_recipe({RECIPE!r}))"
    )
    report = f"import {__name__} as bench; bench.write_report_again({str(corpus.folder)!r})"
    return [
        process_row("one document: assets, checks and report", one_document),
        process_row("alone: definitions imported", _starts("import fim_assets.definitions", runs)),
        process_row("alone: Python started, tokenizer loaded", _starts(worker, runs)),
        process_row("alone: Python started, report written", _starts(report, runs)),
    ]


def write_report_again(folder: str) -> None:
    """Write the report of a materialized corpus; a process of its own calls this."""
    corpus = BenchCorpus.model_validate_json(Path(folder, "corpus.json").read_bytes())
    write_report(_files(corpus, load_recipe(RECIPE)), corpus.keys)


def process_rows(runs: Sequence[Run], shown: int = 6) -> list[Row]:
    """Peak memory of the largest processes of the run that needed most."""
    largest = max(runs, key=lambda run: run.measurement.peak_bytes or 0)
    return [
        Row(f"{process.pid} {process.command}", {"peak MB": process.peak_bytes / 1e6})
        for process in (largest.measurement.processes or ())[:shown]
    ]


def time_rows(
    corpus: BenchCorpus, runs: Sequence[Run], checks: Sequence[Row], fixed: Row
) -> list[Row]:
    """Where the time of the end-to-end run goes; the rows above the last add up to it.

    Columns: `worker s` is the sum over all workers; `wall s` is that, divided by the number of
    workers; `MB/s` is what one worker does.

    Args:
        corpus: What was run.
        runs: Runs of the whole corpus; a stage's seconds are the sum of its receipts' seconds.
        checks: From `check_rows`.
        fixed: A run of one document.
    """
    workers = _workers(corpus)
    stages = [_worker_row(a, median(r.stage_seconds(a) for r in runs), corpus) for a in ASSETS]
    wall = median(run.measurement.wall_seconds for run in runs)
    fixed_wall = fixed.numbers["wall s"] or 0.0
    known = sum(row.numbers["worker s"] or 0.0 for row in (*stages, *checks)) / workers
    rest = "the rest: workers' starts and idle time, events and metadata"
    rows = [
        *stages,
        *checks,
        Row("fixed: one document's run", {"wall s": fixed_wall}),
        Row(rest, {"wall s": wall - fixed_wall - known}),
        Row("end to end", {"wall s": wall}),
    ]
    return [
        Row(row.name, row.numbers | {"share %": (row.numbers["wall s"] or 0.0) / wall * 100})
        for row in rows
    ]


def check_rows(corpus: BenchCorpus, runs: int) -> list[Row]:
    """Seconds that workers spend on each check of finished partitions: medians of the runs.

    Raises:
        BenchError: If a check fails.
    """
    recipe = load_recipe(RECIPE)
    files = _files(corpus, recipe)
    # Never fork: a fork after Polars has run in the parent hangs.
    with ProcessPoolExecutor(
        _workers(corpus),
        multiprocessing.get_context("spawn"),
        initializer=load_tokenizer,
        initargs=(recipe, files.tokenizer_hash),
    ) as pool:
        rows = []
        for name in (name for names in CHECKS_OF.values() for name in names):
            tasks = [
                Task(files, key, RawShard(str(corpus.shard(key))), frozenset(), frozenset({name}))
                for key in corpus.keys
            ]
            seconds = [sum(pool.map(_partition_seconds, tasks)) for _ in range(runs)]
            rows.append(_worker_row(f"check {name}", median(seconds), corpus))
    return rows


def _partition_seconds(task: Task) -> float:
    begin = time.perf_counter()
    outcome = run_partition(task)
    if outcome.failure:
        raise BenchError(f"{task.key}: {outcome.failure}")
    return time.perf_counter() - begin


def _starts(code: str, runs: int) -> list[Measurement]:
    command = [sys.executable, "-c", code]
    with tempfile.TemporaryDirectory(prefix="fim-bench-") as folder:
        environment = environment_of(FIM_DATA_ROOT=folder)
        return [measure_success(command, environment, Path(folder)) for _ in range(runs)]


def _worker_row(name: str, seconds: float, corpus: BenchCorpus) -> Row:
    return Row(
        name,
        {
            "worker s": seconds,
            "MB/s": corpus.bytes / 1e6 / seconds if seconds else None,
            "wall s": seconds / _workers(corpus),
        },
    )


def finished_receipts(corpus: BenchCorpus) -> Iterator[Receipt]:
    """The receipts of all assets and partitions.

    Raises:
        BenchError: If one is missing or disagrees with its files, or there is no report.
    """
    files = _files(corpus, load_recipe(RECIPE))
    for asset in ASSETS:
        for key in corpus.keys:
            place = files.files(asset, key)
            receipt = read_receipt(place)
            if receipt is None:
                raise BenchError(f"{place.receipt} is missing, though the run ended well")
            reason = why_incomplete(receipt, place, files.fingerprint(asset))
            if reason:
                raise BenchError(f"{place.receipt}: {reason}")
            yield receipt
    summary = files.folder("corpus_report") / "summary.json"
    if not summary.is_file():
        raise BenchError(f"{summary} is missing, though the run ended well")


def _files(corpus: BenchCorpus, recipe: Recipe) -> Corpus:
    return corpus_of(recipe, corpus.folder)


def _workers(corpus: BenchCorpus) -> int:
    return min(usable_cores(), len(corpus.keys))


def environment_of(**variables: str) -> dict[str, str]:
    """This process's variables without those that would change what is measured."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("FIM_", "DAGSTER_"))}
    fixed = {"FIM_RECIPE": RECIPE, "FIM_WORKERS": str(usable_cores())}
    return kept | fixed | variables
