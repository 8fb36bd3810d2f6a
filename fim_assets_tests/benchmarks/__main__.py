"""`python -m fim_assets_tests.benchmarks [--corpus FOLDER] [--runs N]`: measure and print."""

import argparse
import os
import platform
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console
from rich.progress import track

from fim_assets.settings import usable_cores
from fim_assets_tests.benchmarks import partitions, peaks, token_stage
from fim_assets_tests.benchmarks.corpus import TEXT_BYTES_AT_MOST, BenchCorpus, build_corpus
from fim_assets_tests.benchmarks.end_to_end import (
    check_rows,
    end_to_end_rows,
    fixed_cost_rows,
    materialize,
    process_rows,
    time_rows,
)
from fim_assets_tests.benchmarks.fim_stage import (
    FREE_BYTES,
    LARGE_BYTES,
    large_shard,
    peak_rows,
    stage_rows,
    step_rows,
)
from fim_assets_tests.benchmarks.measure import BenchError
from fim_assets_tests.benchmarks.stage import ROUNDS
from fim_assets_tests.benchmarks.tables import console as terminal
from fim_assets_tests.benchmarks.tables import print_rows

_LIBRARIES = (
    "dagster",
    "polars",
    "pyarrow",
    "numpy",
    "orjson",
    "msgspec",
    "zstandard",
    "tokenizers",
    "quicktok-v1",
)

_LARGE = f"one shard of {LARGE_BYTES / 1e9:.0f} GB uncompressed"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all benches; the exit status is 1 if one could not be measured."""
    parser = argparse.ArgumentParser("fim_assets_tests.benchmarks", description=__doc__)
    parser.add_argument("--corpus", type=Path, help="folder of source files; default: this Python")
    parser.add_argument("--runs", type=_at_least_one, default=3, help="medians of N runs")
    options = parser.parse_args(arguments)
    console = terminal()
    try:
        _print_machine(console)
        corpus = build_corpus(options.corpus)
        _print_corpus(console, corpus)
        _print_fim_stage(console, corpus, max(options.runs, ROUNDS))
        _print_token_stage(console, corpus, max(options.runs, ROUNDS))
        _print_peaks(console, corpus)
        _print_partitions(console)
        runs = [materialize(corpus) for _ in _track(console, "end to end", options.runs)]
        whole = end_to_end_rows(corpus, runs)
        fixed = fixed_cost_rows(corpus, options.runs)
        checks = check_rows(corpus, options.runs)
    except (BenchError, OSError) as error:
        console.print(str(error), style="red", markup=False, highlight=False)
        return 1
    print_rows(console, f"real processes, medians of {options.runs}", [*whole, *fixed])
    print_rows(console, "where the time goes", time_rows(corpus, runs, checks, fixed[0]))
    print_rows(console, "largest processes, end to end", process_rows(runs))
    return 0


def _print_fim_stage(console: Console, corpus: BenchCorpus, rounds: int) -> None:
    stage = stage_rows(corpus, _track(console, "FIM stage", rounds))
    print_rows(console, f"FIM stage alone, medians of {rounds} rounds", stage)
    steps = step_rows(corpus, _track(console, "steps of dolma", rounds))
    title = f"where dolma's time goes, one process, medians of {rounds} rounds"
    print_rows(console, title, steps)
    large = large_shard(corpus)
    if large is None:
        _print_no_room(console, corpus, FREE_BYTES)
        return
    print_rows(console, f"FIM stage, {_LARGE}, one process", peak_rows(corpus, large))


def _print_token_stage(console: Console, corpus: BenchCorpus, rounds: int) -> None:
    rows = token_stage.token_rows(corpus, _track(console, "token stage", rounds))
    print_rows(console, f"token stage alone, medians of {rounds} rounds", rows)


def _print_peaks(console: Console, corpus: BenchCorpus) -> None:
    large = large_shard(corpus) if peaks.has_room(corpus) else None
    if large is None:
        _print_no_room(console, corpus, peaks.FREE_BYTES)
        return
    sizes = {
        f"{size / 1e6:,.0f} MB": large_shard(corpus, size) for size in (20_000_000, 200_000_000)
    }
    shards = {name: shard for name, shard in sizes.items() if shard is not None}
    rows = peaks.curve_rows(corpus, shards | {f"{LARGE_BYTES / 1e6:,.0f} MB": large})
    print_rows(console, "peak memory over sizes of a shard, one process each", rows)


def _print_partitions(console: Console) -> None:
    counts = track(partitions.COUNTS, "partitions", console=console, transient=True)
    rows = partitions.scale_rows([partitions.measure_scale(count) for count in counts])
    print_rows(console, partitions.TITLE, rows)


def _print_no_room(console: Console, corpus: BenchCorpus, needed: int) -> None:
    console.print(
        f"{corpus.folder}: peak memory on a large shard is not measured, since the disk has "
        f"less than {needed / 1e9:.0f} GB free",
        highlight=False,
    )


def _track(console: Console, name: str, times: int) -> Iterable[int]:
    return track(range(times), name, console=console, transient=True)


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: give a number of at least 1")
    return number


def _print_machine(console: Console) -> None:
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    console.print(
        f"machine  {usable_cores()} cores, {platform.system()} {platform.machine()}, "
        f"load {load} before the runs\n"
        f"python   {platform.python_version()}; "
        + ", ".join(f"{library} {_version(library)}" for library in _LIBRARIES),
        highlight=False,
    )


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"


def _print_corpus(console: Console, corpus: BenchCorpus) -> None:
    cut = "all that was found"
    if corpus.cut_at is not None:
        cut = f"cut at {TEXT_BYTES_AT_MOST / 1e6:.0f} MB, before {corpus.cut_at}"
    compressed = sum(corpus.shard(key).stat().st_size for key in corpus.keys)
    console.print(
        f"corpus   {corpus.documents:,} documents, {corpus.bytes / 1e6:.1f} MB of text "
        f"({compressed / 1e6:.1f} MB compressed), {len(corpus.keys)} shards, {cut}; "
        f"identity {corpus.identity[:12]}",
        highlight=False,
    )


if __name__ == "__main__":
    sys.exit(main())
