"""The stage `raw_shards`: every line of a raw shard judged, every document measured.

What the other files of this folder do: `shard_reader` and `documents` read, and serve later stages
too; `measure` is this stage's work; `rejections` explains lines that are no documents.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from fim_assets.corpus.partition_files import FAILED, Outputs
from fim_assets.corpus.stage import (
    About,
    Facts,
    Stage,
    Statistics,
    Totals,
    Work,
    functions,
)
from fim_assets.recipe import Recipe

if TYPE_CHECKING:
    from fim_assets.corpus.receipts import Receipt

_DESCRIPTION = """
Raw code shards, read line by line (of Parquet, row by row) and judged: which lines are documents,
and how long they are.

| file | holds |
| :-- | :-- |
| `<key>.parquet` | one row a document |
| `<key>.rejected.jsonl` | if there is any: each line that is no document, with its reason |
| `<key>.json` | the receipt, written last |
| `<key>.failed.jsonl` | the rejected lines of a partition that failed by them, until it succeeds |

- **Nothing vanishes**: lines = documents + blank + rejected. With a larger share of rejected lines
  than `raw.max_rejected_share` the partition fails, as with one of empty texts over
  `raw.max_empty_share`, if there is one.
- The shard's text itself stays where it is; `fim_shards` reads it again, by the same judgement.
"""

ROW_COLUMNS = {
    "line": "Line of the raw shard, or row of a Parquet file, counted from 1.",
    "id": "The document's id; null where it has none.",
}
"""What the columns hold that the parquet of every stage has."""

_COLUMNS = ROW_COLUMNS | {
    "language": "What raw.language_field says; null where it says nothing.",
    "chars": "Unicode code points of the text.",
    "bytes": "Bytes of the text in UTF-8.",
    "sentinel_literals": "Times a sentinel's name stands in the text, as text.",
}


class RawShards(Stage):
    """See the module."""

    name = "raw_shards"
    version = 3

    @property
    @override
    def about(self) -> About:
        from fim_assets.raw_shards.measure import SCHEMA, measure_shard

        kinds = frozenset({"python", "polars", "parquet"})
        return About(_DESCRIPTION, kinds, functions(measure_shard), SCHEMA, _COLUMNS, "raw")

    @property
    @override
    def outputs(self) -> Outputs:
        return Outputs((".parquet", ".rejected.jsonl", FAILED))

    @override
    def identity(self, recipe: Recipe, tokenizer_hash: str) -> dict[str, Any]:
        del tokenizer_hash
        sentinels = [token for token in recipe.fim.sentinels if token is not None]
        return {"raw": recipe.raw.identity(), "sentinels": sentinels}

    @override
    def make(self, work: Work) -> Totals:
        from fim_assets.raw_shards.measure import measure_shard

        return measure_shard(work.source.paths, work.recipe, work.staging)

    @override
    def statistics(self, parquet: Path) -> Statistics:
        from fim_assets.raw_shards.statistics import raw_statistics

        return raw_statistics(parquet)

    @override
    def facts(self, recipe: Recipe, receipt: "Receipt") -> Facts:
        from fim_assets.raw_shards.statistics import LANGUAGE_MEASURES
        from fim_assets.statistics.counts import counted
        from fim_assets.statistics.tables import languages, share

        result, counts = receipt.result, receipt.result.counts
        first = (
            *("documents", "lines", "rejected_lines", "rejected_share", "blank_lines"),
            *("text_bytes", "document_chars_p50", "document_chars_p95", "document_chars_max"),
            "documents_with_sentinel_literals",
        )
        by_language = {name: counted(counts, name) for name in LANGUAGE_MEASURES}
        reasons = counted(counts, "rejected")
        numbers: dict[str, int | float | str] = {
            "rejected_share": share(result.rejected, result.lines - result.blank),
            **{f"rejected_{reason}": n for reason, n in reasons.items()},
            "text_bytes": counts["bytes"],
            "sentinel_literals": counts["sentinel_literals"],
            "documents_with_sentinel_literals": counts["documents_with_sentinel_literals"],
            "chars_per_second": receipt.per_second(result.chars),
        }
        return Facts(first, {"languages": languages(by_language)}, numbers)


RAW_SHARDS = RawShards()
