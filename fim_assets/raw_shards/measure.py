"""Raw shard to parquet: every document measured, every rejected line kept.

The parquet has a row a document; what is added up over its rows, `statistics` tells.
"""

import re

import polars as pl
import pyarrow as pa

from fim_assets.corpus.partition_files import FAILED
from fim_assets.corpus.stage import Totals
from fim_assets.corpus.staging import Staging
from fim_assets.io.locations import StorageError
from fim_assets.io.parquet import TableWriter
from fim_assets.raw_shards.shard_files import ShardPaths
from fim_assets.raw_shards.shard_reader import Documents, ShardReader, TooManyRejectedError
from fim_assets.recipe import Recipe
from fim_assets.recipe.families import Sentinels

_NUMBERS = ("chars", "bytes", "sentinel_literals")

SCHEMA = pa.schema(
    [("line", pa.int64()), ("id", pa.string()), ("language", pa.string())]
    + [(name, pa.int64()) for name in _NUMBERS]
)


def measure_shard(shard: ShardPaths, recipe: Recipe, staging: Staging) -> Totals:
    """Read and judge a raw shard, and write a row for each document.

    `staging` takes `.parquet`, and `.rejected.jsonl` if a line was rejected.

    Raises:
        ShardError: If the shard is damaged.
        TooManyRejectedError: If too many of its lines are no documents; it says where they are
            kept.
    """
    rejects = None
    chars = 0
    with (
        ShardReader(shard, recipe.raw, lines=False) as reader,
        TableWriter(staging.create(".parquet"), SCHEMA) as table,
    ):
        for block in reader:
            numbers = measure(block, recipe.fim.sentinels)
            chars += int(numbers["chars"].sum())
            columns = {"line": block.numbers, "id": block.ids, "language": block.languages}
            table.write(columns | numbers.to_dict())
            for line in block.rejected:
                rejects = rejects or staging.create(".rejected.jsonl")
                rejects.write(line.to_json())
        try:
            reader.refuse_many_rejected()
        except TooManyRejectedError as error:
            if rejects is not None:
                try:
                    error.kept = f"the rejected lines are kept in {staging.keep(rejects, FAILED)}"
                except StorageError as not_kept:
                    error.kept = f"the rejected lines are not kept: {not_kept}"
            raise
        return reader.totals(chars)


def measure(block: Documents, sentinels: Sentinels) -> pl.DataFrame:
    """Measure texts: code points, bytes in UTF-8, and sentinels that stand in them as text."""
    literals = "|".join(re.escape(sentinel) for sentinel in sentinels if sentinel is not None)
    texts = pl.Series(block.texts, dtype=pl.String).str
    measures = texts.len_chars(), texts.len_bytes(), texts.count_matches(literals)
    return pl.DataFrame(dict(zip(_NUMBERS, measures, strict=True))).cast(pl.Int64)
