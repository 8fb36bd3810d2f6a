"""Peak memory of each stage and of its checks, over sizes of a shard; a process of its own each."""

import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path

import orjson

from fim_assets.corpus.keys import PARQUET
from fim_assets.io.hashing import HashingWriter
from fim_assets.io.shard_writer import Line, ShardWriter
from fim_assets.raw_shards.shard_reader import ShardReader
from fim_assets.stages import ASSETS
from fim_assets_tests.benchmarks.corpus import BenchCorpus
from fim_assets_tests.benchmarks.measure import BenchError, Row, measure_success, process_row
from fim_assets_tests.benchmarks.rows import write_rows
from fim_assets_tests.benchmarks.stage import RECIPE, at_most, folder_beside, run_alone
from fim_assets_tests.corpora import CHECKS_OF, corpus_of

TARGETS_MB = {
    "raw_shards": 400,
    "fim_shards": 450,
    "checks of fim_shards": 450,
    "token_arrays": 600,
    "checks of token_arrays": 600,
}
"""The most that each should need, whatever the shard's size; documents cost a few bytes each."""

FREE_BYTES = 2_000_000_000
"""What a large shard's outputs and spool need."""

READ_RAW = "raw_shards", "fim_shards"
"""The stages that read raw shards."""

_TINY_AT_ONCE = 1 << 16

Blocks = Iterable[Iterable[bytes]]
"""Lines of a shard, some at a time."""


def memory_rows(corpus: BenchCorpus) -> list[Row]:
    """Shards of real code, of which one ten times as large needs no more, and of tiny documents."""
    sizes = 30_000_000, 300_000_000
    large = {f"{size / 1e6:.0f} MB": documents_again(corpus, size) for size in sizes}
    many = 500_000
    tiny = {
        f"{many:,} tiny documents": tiny_documents(many, many),
        f"{many:,} copies of a tiny document": tiny_documents(many, 1),
    }
    rows = {"300 MB in one group of rows": documents_again(corpus, sizes[1])}
    return peak_rows(corpus, large | tiny) + peak_rows(corpus, rows, PARQUET, READ_RAW)


def gigabyte_rows(corpus: BenchCorpus) -> list[Row]:
    """A gigabyte of text in one group of rows: it takes minutes."""
    shards = {"1 GB in one group of rows": documents_again(corpus, 1_000_000_000)}
    return peak_rows(corpus, shards, PARQUET)


def peak_rows(
    corpus: BenchCorpus,
    shards: Mapping[str, Blocks],
    ending: str = ".jsonl.zst",
    assets: Sequence[str] = ASSETS,
) -> list[Row]:
    """A row a stage and shard.

    Args:
        corpus: Beside it shards and outputs are written, and deleted.
        shards: Lines by what is said of them.
        ending: That of the shards, which says how they are written.
        assets: The stages.

    Raises:
        BenchError: If a process fails, or the disk has no room.
    """
    if shutil.disk_usage(corpus.folder).free < FREE_BYTES:
        raise BenchError(f"{corpus.folder}: {FREE_BYTES / 1e9:.0f} GB must be free on its disk")
    rows: list[Row] = []
    for name, blocks in shards.items():
        with folder_beside(corpus) as folder:
            shard = folder / f"shard{ending}"
            _write(shard, blocks)
            rows += _rows_of(name, shard, folder, assets)
    return rows


def _write(shard: Path, blocks: Blocks) -> None:
    if shard.suffix == PARQUET:
        write_rows(shard, blocks)
        return
    with HashingWriter(shard) as file, ShardWriter(file) as writer:
        for lines in blocks:
            writer.write(lines)


def _rows_of(name: str, shard: Path, folder: Path, assets: Sequence[str]) -> Iterator[Row]:
    for asset in assets:
        yield _row(name, asset, shard, ([asset], []), folder)
        if checks := CHECKS_OF[asset]:
            yield _row(name, f"checks of {asset}", shard, ([], checks), folder)


def _row(name: str, what: str, shard: Path, work: tuple[list[str], list[str]], folder: Path) -> Row:
    code = f"import {__name__} as b; b.run_here({str(shard)!r}, *{work!r})"
    measurement = measure_success([sys.executable, "-c", code], None, folder)
    row = process_row(f"{name}: {what}", [measurement])
    peak = measurement.peak_bytes
    return Row(row.name, row.numbers, at_most(peak / 1e6, TARGETS_MB[what]) if peak else "")


def run_here(shard: str, assets: list[str], checks: list[str]) -> None:
    """Run stages or checks of one shard, see `run_alone`; a process of its own calls this."""
    here = Path.cwd()
    run_alone(corpus_of(RECIPE, here), assets, checks, Path(shard), here)


def documents_again(corpus: BenchCorpus, at_least: int) -> Iterator[list[bytes]]:
    """The corpus's documents over and over, under new ids, until they are as many bytes."""
    size = 0
    for number in count():
        for key in corpus.keys:
            with ShardReader(corpus.shard(key), RECIPE.raw) as reader:
                for block in reader:
                    lines = [_under_new_id(line, number) for line in block.lines]
                    yield lines
                    size += sum(map(len, lines)) + len(lines)
                    if size >= at_least:
                        return


def _under_new_id(line: Line, number: int) -> bytes:
    document = orjson.loads(line)
    document["id"] = f"{number}/{document['id']}"
    return orjson.dumps(document)


def tiny_documents(documents: int, distinct: int) -> Iterator[list[bytes]]:
    """Documents of a few characters, the distinct ones over and over."""
    for begin in range(0, documents, _TINY_AT_ONCE):
        kinds = (n % distinct for n in range(begin, min(begin + _TINY_AT_ONCE, documents)))
        yield [orjson.dumps({"id": f"tiny/{kind}", "text": f"x = {kind}"}) for kind in kinds]
