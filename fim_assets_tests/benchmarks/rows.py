"""Parquet beside JSON lines: one corpus in both, through the stages that read raw shards."""

import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from fim_assets.fim_shards.stage import FIM_SHARDS
from fim_assets.io.shard_writer import Line
from fim_assets.raw_shards.shard_reader import ShardReader
from fim_assets.raw_shards.stage import RAW_SHARDS
from fim_assets_tests.benchmarks.corpus import BenchCorpus
from fim_assets_tests.benchmarks.measure import Row
from fim_assets_tests.benchmarks.stage import (
    RECIPE,
    cost_in_pool,
    cost_row,
    folder_beside,
    make,
    most_workers,
    started_pool,
    take_turns,
)
from fim_assets_tests.corpora import corpus_of

ROWS_TARGET = 1.0
"""Times the CPU of `.jsonl.zst`."""

SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "text": pa.string(),
        "metadata": pa.struct({"path": pa.string(), "language": pa.string()}),
    }
)


def row_rows(corpus: BenchCorpus, rounds: Iterable[object]) -> list[Row]:
    """Both stages over both forms, rows as multiples of lines."""
    pipeline = corpus_of(RECIPE, corpus.folder)
    stages = {stage.name: partial(make, stage, pipeline) for stage in (RAW_SHARDS, FIM_SHARDS)}
    lines = [corpus.shard(key) for key in corpus.keys]
    with ExitStack() as stack:
        pool = stack.enter_context(started_pool(most_workers(corpus)))
        folder = stack.enter_context(folder_beside(corpus))
        rows = list(pool.map(partial(as_rows, folder), lines))
        forms = {"lines": lines, "rows": rows}
        costs = take_turns(
            {
                f"{name}, {form}": partial(cost_in_pool, pool, run, shards, corpus)
                for name, run in stages.items()
                for form, shards in forms.items()
            },
            rounds,
        )
    of_lines = {name: cost_row(f"{name}, lines", costs, corpus.bytes) for name in stages}
    return [
        row
        for name in stages
        for row in (
            of_lines[name],
            cost_row(f"{name}, rows", costs, corpus.bytes, [f"{name}, lines"], ROWS_TARGET),
        )
    ]


def as_rows(folder: Path, shard: Path) -> Path:
    """Write a shard of the corpus as Parquet, below a folder of its own."""
    path = folder / shard.name.replace(".jsonl.zst", ".parquet")
    with ShardReader(shard, RECIPE.raw) as reader:
        write_rows(path, (block.lines for block in reader))
    return path


def write_rows(path: Path, blocks: Iterable[Iterable[Line]]) -> None:
    """Write documents as the rows of one group, zstd-compressed, as the Hub's data sets are."""
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        for lines in blocks:
            documents: list[Mapping[str, object]] = [orjson.loads(line) for line in lines]
            # A batch goes into the group that is open, where a table would begin a new one.
            writer.write_batch(
                pa.RecordBatch.from_pylist(documents, SCHEMA), row_group_size=sys.maxsize
            )
