"""Measure and print: `python -m fim_assets_tests.benchmarks [--only PART …] [--runs N]`."""

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import track

from fim_assets.settings import usable_cores
from fim_assets_tests.benchmarks.corpus import TEXT_BYTES_AT_MOST, BenchCorpus, build_corpus
from fim_assets_tests.benchmarks.end_to_end import start_rows, whole_rows, work_rows
from fim_assets_tests.benchmarks.fim_stage import fim_rows
from fim_assets_tests.benchmarks.measure import BenchError, Row
from fim_assets_tests.benchmarks.peaks import gigabyte_rows, memory_rows
from fim_assets_tests.benchmarks.regroup import regroup_rows
from fim_assets_tests.benchmarks.rows import row_rows
from fim_assets_tests.benchmarks.tables import console as terminal
from fim_assets_tests.benchmarks.tables import print_rows
from fim_assets_tests.benchmarks.token_stage import token_rows
from fim_assets_tests.benchmarks.ui import ui_rows

_LIBRARIES = (
    "dagster",
    "polars",
    "pyarrow",
    "numpy",
    "orjson",
    "msgspec",
    "zstandard",
    "tokenizers",
    "gigatoken",
)


class _Part(NamedTuple):
    title: str
    rows: Callable[[BenchCorpus, Iterable[object]], Sequence[Row]]


PARTS = {
    "whole": _Part(
        "the whole with all checks and report; ×: of empty command + floors", whole_rows
    ),
    "work": _Part("where the time goes: stages and checks, each alone, a fourth of it", work_rows),
    "fim": _Part("FIM stage alone; ×: of its floor", fim_rows),
    "tokens": _Part("token stage alone; ×: of its floor", token_rows),
    "start": _Part("what does not grow with the corpus", lambda _, rounds: start_rows(rounds)),
    "rows": _Part("Parquet as raw shards; ×: of the same documents as JSON lines", row_rows),
    "memory": _Part("peak memory, one process each", lambda corpus, _: memory_rows(corpus)),
    "gigabyte": _Part("the same, of 1 GB of Parquet", lambda corpus, _: gigabyte_rows(corpus)),
    "regroup": _Part("fim-assets regroup", lambda corpus, _: regroup_rows(corpus)),
    "ui": _Part("eight small partitions in the UI, in seconds", lambda _, rounds: ui_rows(rounds)),
}
"""What is measured, in this order; memory once, all else in rounds."""

_IF_NAMED = {"gigabyte", "regroup", "ui"}
"""What takes minutes, and is measured only where it is asked for."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen benches; the exit status is 1 if one could not be measured."""
    parser = argparse.ArgumentParser("fim_assets_tests.benchmarks", description=__doc__)
    parser.add_argument("--corpus", type=Path, help="folder of source files; default: this Python")
    parser.add_argument("--runs", type=_at_least_one, default=3, help="medians of N rounds")
    usual = [name for name in PARTS if name not in _IF_NAMED]
    parser.add_argument("--only", nargs="+", choices=PARTS, default=usual, metavar="PART")
    options = parser.parse_args(arguments)
    console = terminal()
    try:
        _print_machine(console)
        corpus = build_corpus(options.corpus)
        _print_corpus(console, corpus)
        console.print(f"medians of {options.runs} rounds, their range behind them", highlight=False)
        for name in options.only:
            part = PARTS[name]
            rounds = track(range(options.runs), name, console=console, transient=True)
            print_rows(console, part.title, part.rows(corpus, rounds))
    except (BenchError, OSError) as error:
        console.print(str(error), style="red", markup=False, highlight=False)
        return 1
    return 0


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
