"""The stage `fim_shards`: part of the files of documents rearranged for fill-in-the-middle.

What the other files of this folder do: `transform` is this stage's work, by `decisions` (which
file, in which order, cut how) and `arrangements` (how parts are laid out); `record` is the format
of its parquet, by which `restore` gives the originals back; `checks`, `rates` and `statistics`
judge and count. Where a file is cut is `fim_assets/cuts/`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from fim_assets.corpus.partition_files import Outputs
from fim_assets.corpus.stage import (
    About,
    Check,
    Facts,
    Stage,
    Statistics,
    Totals,
    Work,
    functions,
)
from fim_assets.cuts.base import UNCHANGED
from fim_assets.raw_shards.stage import ROW_COLUMNS
from fim_assets.recipe import Recipe

if TYPE_CHECKING:
    import pyarrow as pa

    from fim_assets.corpus.receipts import Receipt

_DESCRIPTION = """
The same documents in the same order, part of their files rearranged for fill-in-the-middle: prefix,
middle and suffix behind their sentinels, in PSM or SPM order.

| file | holds |
| :-- | :-- |
| `<key>.jsonl.zst` | one document a line, unmodified but for the rearranged texts |
| `<key>.parquet` | one row a file of a document: what was done to it, and how to undo it |
| `<key>.json` | the receipt, written last |

- **Lossless**: from these two files every original text comes back exactly (`fim-assets restore`).
- **Reproducible**: every draw is keyed by the recipe's seed, the partition, the document's id and
  text and the file's index in it, and by nothing else.
- **As asked**: the realised rates are within exact binomial bounds of the recipe's, and cuts follow
  their distributions. A partition that does not pass is not finished.
"""

_COLUMNS = ROW_COLUMNS | {
    "file": "Which file of the document, counted from 0.",
    "chars": "Unicode code points of the file before.",
    "order": "psm or spm; none where the file was not rearranged.",
    "split": "Cut method of the file; null where it was not rearranged.",
    "reason": "Why it was not rearranged, or cut by split_fallback; null otherwise.",
    "prefix_chars": "Code points of its prefix; 0 where it was not rearranged.",
    "middle_chars": "Code points of its middle; 0 where it was not rearranged.",
    "suffix_chars": "Code points of its suffix; 0 where it was not rearranged.",
    "draw_key": "Hash of the document that its draws derive from; copies share it.",
    "language": "The document's language; null where it names none.",
    "lead_chars": "Code points before it: what names the repository, and the separator.",
    "header_chars": "Code points of its path, where this is before it and not cut with it.",
    "tail_chars": "Code points of what is written behind it.",
    "path_chars": "Code points of its path, where it begins with it.",
    "piece": "Which piece of its document it is in, counted from 0.",
    "pieces": "How many pieces the document is in; 1 where it is not divided.",
    "continued": "Whether the piece goes on in the file in which the one before it ends.",
}

_NUMBERS = ("psm", "spm", *UNCHANGED, "separators", "copies")


class FimShards(Stage):
    """See the module."""

    name = "fim_shards"
    version = 4
    shard = ".jsonl.zst"
    read_by = "fim-assets restore"
    preview = "texts"

    @property
    @override
    def about(self) -> About:
        from fim_assets.fim_shards.record import SCHEMA
        from fim_assets.fim_shards.transform import transform_shard

        kinds = frozenset({"python", "json", "parquet"})
        work = functions(transform_shard, *(check.run for check in self.checks))
        return About(_DESCRIPTION, kinds, work, SCHEMA, _COLUMNS, "fim")

    @override
    def schema_of(self, recipe: Recipe) -> "pa.Schema":
        from fim_assets.fim_shards.record import record_schema

        return record_schema(recipe)

    @override
    def libraries_of(self, recipe: Recipe) -> tuple[str, ...]:
        return ("gigatoken", "regex", "tokenizers") if recipe.fim_needs_tokenizer else ()

    @property
    @override
    def checks(self) -> tuple[Check, ...]:
        from fim_assets.fim_shards.checks import CHECKS

        return CHECKS

    @property
    @override
    def outputs(self) -> Outputs:
        return Outputs((".jsonl.zst", ".parquet"))

    @override
    def identity(self, recipe: Recipe, tokenizer_hash: str) -> dict[str, Any]:
        identity = {"seed": recipe.seed, **recipe.fim.identity(recipe.raw)}
        if recipe.fim_needs_tokenizer:
            identity["tokenizer"] = tokenizer_hash
            if recipe.tokens.tokenizer.segment_before_tokenization:
                identity["tokens"] = {"tokenizer": {"segment_before_tokenization": True}}
        if recipe.context is not None:
            identity["context"] = recipe.context_identity()
        return identity

    @override
    def tags(self, recipe: Recipe) -> dict[str, str]:
        weights = "_".join(sorted(recipe.fim.weights))
        tags = {"split": weights, "spm_format": recipe.fim.spm_format}
        if recipe.context is not None:
            tags["context"] = f"{recipe.context.tokens}_{recipe.context.longer}"
        if recipe.fim.max_middle is not None:
            [(unit, most)] = recipe.fim.max_middle.given.items()
            tags["max_middle"] = f"{most}_{unit}"
        return tags

    @override
    def prepare(self, recipe: Recipe, tokenizer_hash: str) -> str | None:
        from fim_assets.tokenizer.load import load_for_fim

        tokenizer = load_for_fim(recipe, tokenizer_hash)
        return None if tokenizer is None else tokenizer.encoder_description

    @override
    def make(self, work: Work) -> Totals:
        from fim_assets.fim_shards.transform import transform_shard
        from fim_assets.tokenizer.load import load_for_fim

        recipe, source = work.recipe, work.source
        tokenizer = load_for_fim(recipe, work.tokenizer_hash)
        return transform_shard(
            source.paths, work.seed, recipe, work.staging, source.parquet, tokenizer
        )

    @override
    def statistics(self, parquet: Path) -> Statistics:
        from fim_assets.fim_shards.statistics import fim_statistics

        return fim_statistics(parquet)

    @override
    def facts(self, recipe: Recipe, receipt: "Receipt") -> Facts:
        from fim_assets.fim_shards import rate_tables
        from fim_assets.fim_shards.rates import rates, rates_by_language
        from fim_assets.fim_shards.unmatched import Occurrences, unmatched_names
        from fim_assets.statistics.counts import counted
        from fim_assets.statistics.tables import languages, share, warnings_table

        result, counts = receipt.result, receipt.result.counts
        tested, by_language = rates(counts, recipe), rates_by_language(counts, recipe)
        occurrences = Occurrences()
        occurrences.add(counts)
        fallbacks = counted(counts, "fallback")
        fell_back = sum(fallbacks.values())
        first = (
            *("documents", "files", "psm", "spm", "too_short"),
            *("fim_rate_realised", "fim_rate_deviation"),
            *("psm_share_realised", "psm_share_deviation", "fallback_share"),
        )
        tables = {
            "warnings": warnings_table(unmatched_names(recipe, occurrences, complete=False)),
            "rates": rate_tables.rates_table(tested, by_language),
            "rates_by_language": rate_tables.rates_by_language_table(by_language),
        }
        for of, parts in (("longer_documents", "longer_files"), ("divided_documents", "pieces")):
            if documents := counted(counts, of):
                tables[of] = languages({of: documents, parts: counted(counts, parts)})
        numbers: dict[str, int | float | str] = {
            "files": result.files or 0,
            "fallback_share": share(fell_back, counts["psm"] + counts["spm"]),
            **rate_tables.plotted_rates(tested, by_language),
        }
        for name, rate in tested.items():
            numbers[f"{name}_asked"] = round(rate.asked, 6)
            numbers[f"{name}_accepted"] = f"{rate.low:,} to {rate.high:,} of {rate.trials:,}"
        numbers |= {name: counts[name] for name in _NUMBERS if name in counts}
        numbers |= {f"split_{name}": n for name, n in counted(counts, "split").items()}
        numbers["fallbacks"] = fell_back
        numbers |= {f"fallback_{reason}": n for reason, n in fallbacks.items()}
        numbers["chars_per_second"] = receipt.per_second(result.chars)
        return Facts(first, tables, numbers)


FIM_SHARDS = FimShards()
