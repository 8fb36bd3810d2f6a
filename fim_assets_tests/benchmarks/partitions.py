"""What a partition costs where its shard is tiny: what is left is Dagster's price, and the files'.

The whole command over N tiny shards stands beside an empty run, which does no work and records the
same events with the same content, and beside the same shards in groups.
`python -m fim_assets_tests.benchmarks.partitions [N …]`.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import orjson
from dagster import DagsterInstance

from fim_assets.corpus.groups import group_shards
from fim_assets.corpus.manifest import manifest_rows
from fim_assets.corpus.receipts import read_receipt
from fim_assets.corpus.sources import find_shards
from fim_assets.raw_shards.sample import sample_documents
from fim_assets.recipe import Recipe
from fim_assets.settings import REPOSITORY, usable_cores
from fim_assets.stages import ASSETS
from fim_assets.wording import plural
from fim_assets_tests.benchmarks import empty_run
from fim_assets_tests.benchmarks.end_to_end import environment_of
from fim_assets_tests.benchmarks.measure import BenchError, Measurement, Row, measure_success
from fim_assets_tests.benchmarks.stage import at_most
from fim_assets_tests.benchmarks.tables import console, print_rows
from fim_assets_tests.corpora import corpus_of

TITLE = "tiny shards, one range each: all assets and checks"

COUNTS = (100, 1_000)

RATIO_TARGET = 1.5
"""Wall time over that of the empty run."""

_GROUP_BYTES = 1_000_000

_DOCUMENTS = 4
_CHARS = 3_000


@dataclass(frozen=True)
class Scale:
    """Runs over as many tiny shards.

    Attributes:
        partitions: How many.
        whole: The project's run: assets and checks.
        empty: The run that only records the same events.
        groups: Partitions of several of these shards.
        grouped: The project's run over these.
        events: Events of partitions in either.
        database_bytes: Of Dagster's state after the project's run.
        worker_seconds: What the stages say they took, all partitions together, checks left out.
    """

    partitions: int
    whole: Measurement
    empty: Measurement
    groups: int
    grouped: Measurement
    events: int
    database_bytes: int
    worker_seconds: float


def measure_scale(partitions: int) -> Scale:
    """Run N tiny shards through the project, and their events through an empty run.

    Raises:
        BenchError: If a partition is left out.
    """
    with _temporary_folder() as folder, _temporary_folder() as home, _temporary_folder() as other:
        keys = write_tiny_shards(folder / "raw", partitions)
        (folder / "keys").write_text("\n".join(keys), "utf-8")
        whole = _materialize("fim_assets.definitions", keys, home, FIM_DATA_ROOT=str(folder))
        with DagsterInstance.from_config(str(home)) as instance:
            (run,) = instance.get_runs()
            events = empty_run.write_events(instance, run.run_id, folder)
        variables = {empty_run.FOLDER: str(folder)}
        empty = _materialize(empty_run.__name__, keys, other, **variables)
        groups, grouped = _measure_groups(folder)
        return Scale(
            partitions,
            whole,
            empty,
            groups,
            grouped,
            events,
            sum(path.stat().st_size for path in home.rglob("*") if path.is_file()),
            _worker_seconds(folder, keys),
        )


def _measure_groups(folder: Path) -> tuple[int, Measurement]:
    """Run the tiny shards in groups, into another folder; how many groups there are."""
    groups = group_shards(find_shards(["raw/*"], folder), {}, _GROUP_BYTES)
    rows = "".join(manifest_rows(groups, content=False))
    (folder / "shards.tsv").write_text(rows, "utf-8")
    recipe = folder / "grouped.yaml"
    recipe.write_text(f"raw: {{documents: ['{folder}/shards.tsv']}}", "utf-8")
    variables = {"FIM_DATA_ROOT": str(folder / "grouped"), "FIM_RECIPE": str(recipe)}
    with _temporary_folder() as home:
        run = _materialize("fim_assets.definitions", sorted(groups), home, **variables)
    return len(groups), run


def scale_rows(scales: Sequence[Scale]) -> list[Row]:
    """Three rows a number of partitions, and where the project's time goes at the last."""
    rows = []
    for scale in scales:
        ratio = scale.whole.wall_seconds / scale.empty.wall_seconds
        remark = f"{ratio:.2f} × the empty run; {at_most(ratio, RATIO_TARGET)}"
        name = f"{scale.partitions:,} partitions"
        database: dict[str, float | None] = {
            "database KB a partition": scale.database_bytes / 1e3 / scale.partitions
        }
        rows.append(_row(name, scale.whole, scale.partitions, remark, database))
        rows.append(_row(f"{name}: empty run", scale.empty, scale.partitions))
        in_groups = f"{scale.partitions:,} shards in {plural(scale.groups, 'partition')}"
        remark = f"{scale.grouped.wall_seconds / scale.empty.wall_seconds:.2f} × the empty run"
        rows.append(_row(in_groups, scale.grouped, scale.partitions, remark))
    last = scales[-1]
    count = last.partitions
    of_events = f"{last.events / count:.1f} events a partition"
    spent = {"stages of the workers": last.worker_seconds / usable_cores() / count * 1e3}
    rows += [Row(f"  of it, {name}", {"ms a partition": ms}) for name, ms in spent.items()]
    return [*rows, Row(f"  {of_events}", {})]


def _row(
    name: str,
    measurement: Measurement,
    partitions: int,
    remark: str = "",
    also: dict[str, float | None] | None = None,
) -> Row:
    numbers: dict[str, float | None] = {
        "wall s": measurement.wall_seconds,
        "CPU s": measurement.cpu_seconds,
        "ms a partition": measurement.wall_seconds / partitions * 1e3,
        "peak MB": measurement.peak_bytes and measurement.peak_bytes / 1e6,
    }
    return Row(name, numbers | (also or {}), remark)


def write_tiny_shards(folder: Path, count: int) -> list[str]:
    """Write shards of a few short documents each; their keys, in order."""
    folder.mkdir(parents=True)
    texts = cycle([orjson.loads(line) for line in islice(sample_documents(), 997)])
    keys = [f"{number:06d}" for number in range(count)]
    for key in keys:
        rows = [
            row | {"id": f"{key}/{row['id']}", "text": row["text"][:_CHARS]}
            for row in islice(texts, _DOCUMENTS)
        ]
        (folder / f"{key}.jsonl").write_bytes(b"".join(orjson.dumps(r) + b"\n" for r in rows))
    return keys


def _materialize(module: str, keys: Sequence[str], home: Path, **variables: str) -> Measurement:
    shutil.copy(REPOSITORY / "dagster.yaml", home)
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", module]
    command += ["--select", ",".join(ASSETS), "--partition-range", f"{keys[0]}...{keys[-1]}"]
    return measure_success(command, environment_of(DAGSTER_HOME=str(home), **variables), home)


def _worker_seconds(folder: Path, keys: Sequence[str]) -> float:
    corpus = corpus_of(Recipe(), folder)
    seconds = 0.0
    for asset in ASSETS:
        for key in keys:
            receipt = read_receipt(corpus.files(asset, key))
            if receipt is None:
                raise BenchError(f"{asset} of {key} has no receipt, though the run ended well")
            seconds += receipt.made.seconds
    return seconds


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fim-bench-") as folder:
        yield Path(folder)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser("fim_assets_tests.benchmarks.partitions", description=__doc__)
    parser.add_argument("partitions", type=int, nargs="*", default=COUNTS)
    counts = parser.parse_args(arguments).partitions
    rows = scale_rows([measure_scale(count) for count in counts])
    print_rows(console(), TITLE, rows)


if __name__ == "__main__":
    main()
