"""The whole way, from shards to arrays and report, beside what nobody can go without; its parts."""

import os
import shutil
import sys
import sysconfig
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import polars as pl

from fim_assets.corpus.receipts import Receipt, read_receipt, why_incomplete
from fim_assets.settings import REPOSITORY, usable_cores
from fim_assets.stages import ASSETS
from fim_assets.wording import plural
from fim_assets_tests.benchmarks import empty_command
from fim_assets_tests.benchmarks.corpus import BenchCorpus, build_corpus
from fim_assets_tests.benchmarks.floors import fim_floor, token_floor
from fim_assets_tests.benchmarks.measure import (
    BenchError,
    Figure,
    Measurement,
    Row,
    measure_success,
    process_row,
)
from fim_assets_tests.benchmarks.stage import (
    RECIPE,
    Cost,
    Round,
    cost_in_pool,
    cost_row,
    folder_beside,
    most_workers,
    run_alone,
    started_pool,
    take_turns,
    together,
)
from fim_assets_tests.corpora import CHECKS_OF, corpus_of

WHOLE_TARGET = 2.5
"""Times the empty command and the floors together, with one worker."""

WHOLE = "whole"
EMPTY = "empty Dagster command"
TOGETHER = "together"

_FLOORS = {"FIM floor": fim_floor, "token floor": token_floor}


def whole_rows(corpus: BenchCorpus, rounds: Iterable[object]) -> list[Row]:
    """The whole with one worker and with all, the empty command, and the floors of the same text.

    Args:
        corpus: What is materialized.
        rounds: As many as rounds are wanted.
    """
    shards = [corpus.shard(key) for key in corpus.keys]
    settings = sorted({1, most_workers(corpus)})
    wholes: dict[int, list[Measurement]] = defaultdict(list)
    rounds_costs: list[Round] = []
    for _ in rounds:
        costs = {EMPTY: _cost(run_empty(corpus))}
        for workers in settings:
            whole = materialize(corpus, workers)
            wholes[workers].append(whole)
            costs[_named(WHOLE, workers)] = _cost(whole)
            with started_pool(workers) as pool:
                for name, floor in _FLOORS.items():
                    costs[_named(name, workers)] = cost_in_pool(pool, floor, shards, corpus)
        rounds_costs.append(costs)
    rows = ratio_rows(rounds_costs, settings, corpus.bytes)
    for index, workers in enumerate(settings):
        peak = process_row("", wholes[workers]).numbers["peak MB"]
        rows[index] = replace(rows[index], numbers={**rows[index].numbers, "peak MB": peak})
    tokens = sum(receipt.result.tokens or 0 for receipt in finished_receipts(corpus))
    return [*rows, Row(f"{tokens:,} tokens")]


def ratio_rows(costs: Sequence[Round], settings: Sequence[int], size: int) -> list[Row]:
    """The whole as a multiple of the empty command and the floors; then these.

    Args:
        costs: Of each round.
        settings: Numbers of workers.
        size: Bytes of text.
    """
    wholes, floors = [], []
    for workers in settings:
        least = [_named(name, workers) for name in _FLOORS]
        target = WHOLE_TARGET if workers == 1 else None
        wholes.append(cost_row(_named(WHOLE, workers), costs, size, [EMPTY, *least], target))
        floors += [cost_row(name, costs, size) for name in least]
    return [*wholes, cost_row(EMPTY, costs, None), *floors]


def _named(what: str, workers: int) -> str:
    return f"{what}, {plural(workers, 'worker')}"


def _cost(measurement: Measurement) -> Cost:
    return Cost(measurement.wall_seconds, measurement.cpu_seconds)


def materialize(corpus: BenchCorpus, workers: int) -> Measurement:
    """Materialize everything anew with Dagster's command line, all checks and the report included.

    Raises:
        BenchError: If the command fails, or a receipt is missing or disagrees with its files.
    """
    for asset in (*ASSETS, "corpus_report"):
        shutil.rmtree(corpus.folder / asset, ignore_errors=True)
    variables = {"FIM_DATA_ROOT": str(corpus.folder), "FIM_WORKERS": str(workers)}
    measurement = _command("fim_assets.definitions", corpus, variables)
    for _ in finished_receipts(corpus):
        pass
    return measurement


def run_empty(corpus: BenchCorpus) -> Measurement:
    """The same command over as many partitions of assets that do nothing."""
    return _command(empty_command.__name__, corpus, {empty_command.KEYS: ",".join(corpus.keys)})


def _command(module: str, corpus: BenchCorpus, variables: dict[str, str]) -> Measurement:
    with tempfile.TemporaryDirectory(prefix="fim-bench-") as home:
        # Its paths are relative, so that all of Dagster's state lies in the temporary folder.
        shutil.copy(REPOSITORY / "dagster.yaml", home)
        command = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", module]
        command += ["--select", "*"]
        command += ["--partition-range", f"{corpus.keys[0]}...{corpus.keys[-1]}"]
        return measure_success(command, environment_of(DAGSTER_HOME=home, **variables), Path(home))


def finished_receipts(corpus: BenchCorpus) -> Iterator[Receipt]:
    """The receipts of all assets and partitions.

    Raises:
        BenchError: If one is missing or disagrees with its files, or there is no report.
    """
    files = corpus_of(RECIPE, corpus.folder)
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


def work_rows(corpus: BenchCorpus, rounds: Iterable[object]) -> list[Row]:
    """Each stage and each check alone, on a fourth of the shards; shares are of their CPU time.

    Args:
        corpus: Whose shards are worked on.
        rounds: As many as rounds are wanted.
    """
    shards = [corpus.shard(key) for key in corpus.keys[::4]]
    with folder_beside(corpus) as folder, started_pool(most_workers(corpus)) as pool:
        files = corpus_of(RECIPE, folder)
        work: dict[str, tuple[list[str], list[str]]] = {}
        for asset in ASSETS:
            work[asset] = [asset], []
            work |= {f"check {name}": ([], [name]) for name in CHECKS_OF[asset]}
        turns = {
            name: partial(cost_in_pool, pool, partial(run_alone, files, *what), shards, corpus)
            for name, what in work.items()
        }
        costs = take_turns(turns, rounds)
        measured = pl.scan_parquet(folder / "raw_shards" / "*.parquet")
        size = measured.select(pl.col("bytes").sum()).collect().item()
    return share_rows(costs, size)


def share_rows(costs: Sequence[Round], size: int) -> list[Row]:
    """A row a variant with its share of the CPU time of all, and a row of all together."""
    rounds = [one | {TOGETHER: together(one.values())} for one in costs]
    rows = []
    for name in rounds[0]:
        row = cost_row(name, rounds, size)
        share = Figure.of(one[name].cpu / one[TOGETHER].cpu * 100 for one in rounds)
        rows.append(Row(name, {**row.numbers, "CPU %": share}))
    return rows


def start_rows(rounds: Iterable[object]) -> list[Row]:
    """What does not grow with the corpus: one document's run, and its parts alone."""
    with tempfile.TemporaryDirectory(prefix="fim-bench-") as folder:
        source = Path(folder, "source")
        source.mkdir()
        shutil.copy(Path(sysconfig.get_path("stdlib"), "json", "decoder.py"), source)
        corpus = build_corpus(source, Path(folder))
        whole = {"one document: assets, checks and report": partial(materialize, corpus, 1)}
        runs = whole | parts_alone(corpus)
        measured = [{name: run() for name, run in runs.items()} for _ in rounds]
    return [process_row(name, [costs[name] for costs in measured]) for name in runs]


def parts_alone(corpus: BenchCorpus) -> dict[str, partial[Measurement]]:
    """What each run of a materialized corpus does beside its work, as real processes."""
    parts = {
        "definitions imported": "import fim_assets.definitions",
        "tokenizer loaded": "import fim_assets as f; f.load_tokenizer(f.Recipe())",
        "report written": "from fim_assets import Recipe;"
        "from fim_assets.corpus_report.write import write_report;"
        "from fim_assets.open_corpus import open_corpus;"
        "from fim_assets.settings import Settings;"
        f"write_report(open_corpus(Recipe(), Settings.from_environment()), {corpus.keys!r})",
    }
    environment = environment_of(FIM_DATA_ROOT=str(corpus.folder))
    return {
        f"alone: {name}": partial(measure_success, [sys.executable, "-c", code], environment)
        for name, code in parts.items()
    }


def environment_of(**variables: str) -> dict[str, str]:
    """This process's variables without those that would change what is measured."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("FIM_", "DAGSTER_"))}
    fixed = {"FIM_RECIPE": "olmo_midtraining", "FIM_WORKERS": str(usable_cores())}
    return kept | fixed | variables
