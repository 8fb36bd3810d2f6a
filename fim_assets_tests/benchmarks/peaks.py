"""Peak memory of each stage and of its checks, over sizes of a shard; a process of its own each."""

import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import orjson

from fim_assets.corpus.raw_shard import RawShard
from fim_assets.io.hashing import HashingWriter
from fim_assets.io.shard_writer import ShardWriter
from fim_assets.recipe import Recipe
from fim_assets.run.partition import Task, run_partition
from fim_assets.stages import ASSETS
from fim_assets_tests.benchmarks.corpus import BenchCorpus
from fim_assets_tests.benchmarks.measure import BenchError, Row, measure_success, process_row
from fim_assets_tests.benchmarks.stage import at_most, folder_beside, key_of
from fim_assets_tests.corpora import CHECKS_OF, corpus_of

TARGETS_MB = {
    "raw_shards": 400,
    "fim_shards": 450,
    "checks of fim_shards": 450,
    "token_arrays": 600,
    "checks of token_arrays": 600,
}
"""The most that each should need, whatever the shard's size; documents cost a few bytes each."""

TINY_DOCUMENTS = {
    "50,000 tiny documents": (50_000, 50_000),
    "500,000 tiny documents": (500_000, 500_000),
    "5,000,000 tiny documents": (5_000_000, 5_000_000),
    "5,000,000 tiny documents, each twice": (5_000_000, 2_500_000),
    "5,000,000 copies of a tiny document": (5_000_000, 1),
}
"""How many documents of a few characters a shard has, and how many of them are distinct."""

FREE_BYTES = 8_000_000_000
"""What a large shard's outputs and spool need."""

_TINY_AT_ONCE = 1 << 16


def has_room(corpus: BenchCorpus) -> bool:
    """Whether the disk can take what `curve_rows` writes."""
    return shutil.disk_usage(corpus.folder).free >= FREE_BYTES


def curve_rows(
    corpus: BenchCorpus,
    shards: Mapping[str, Path],
    tiny: Mapping[str, tuple[int, int]] = TINY_DOCUMENTS,
) -> list[Row]:
    """A row a stage and size.

    Args:
        corpus: Beside it the outputs are written, and deleted.
        shards: Raw shards by what is said of their size.
        tiny: What is said of shards of documents of a few characters, which are made here, and
            their numbers of documents and of distinct ones.

    Raises:
        BenchError: If a process fails.
    """
    rows = [row for name, shard in shards.items() for row in _rows_of(name, shard, corpus)]
    for name, (documents, distinct) in tiny.items():
        with folder_beside(corpus) as folder:
            shard = folder / "tiny.jsonl.zst"
            write_tiny_documents(shard, documents, distinct)
            rows += _rows_of(name, shard, corpus)
    return rows


def _rows_of(name: str, shard: Path, corpus: BenchCorpus) -> Iterable[Row]:
    with folder_beside(corpus) as folder:
        for asset in ASSETS:
            yield _peak(name, asset, shard, ([asset], []), folder)
            if checks := list(CHECKS_OF[asset]):
                yield _peak(name, f"checks of {asset}", shard, ([], checks), folder)


def _peak(
    name: str, what: str, shard: Path, work: tuple[list[str], list[str]], folder: Path
) -> Row:
    code = f"import {__name__} as b; b.run_alone({str(shard)!r}, *{work!r})"
    row = process_row(
        f"{name}: {what}", [measure_success([sys.executable, "-c", code], None, folder)]
    )
    peak = row.numbers["peak MB"]
    return Row(row.name, row.numbers, "" if peak is None else at_most(peak, TARGETS_MB[what]))


def run_alone(shard: str, assets: Sequence[str], checks: Sequence[str]) -> None:
    """Run stages or checks of one shard as the pipeline does; a process of its own calls this.

    Raises:
        BenchError: If one fails.
    """
    corpus = corpus_of(Recipe(), Path.cwd())
    path = Path(shard)
    task = Task(corpus, key_of(path), RawShard(str(path)), frozenset(assets), frozenset(checks))
    outcome = run_partition(task)
    if outcome.failure:
        raise BenchError(outcome.details or outcome.failure)


def write_tiny_documents(path: Path, documents: int, distinct: int) -> None:
    """Write a raw shard of documents of a few characters each, the distinct ones over and over."""
    with HashingWriter(path) as file, ShardWriter(file) as writer:
        for begin in range(0, documents, _TINY_AT_ONCE):
            numbers = range(begin, min(begin + _TINY_AT_ONCE, documents))
            kinds = (number % distinct for number in numbers)
            writer.write(orjson.dumps({"id": f"tiny/{n}", "text": f"x = {n}"}) for n in kinds)
