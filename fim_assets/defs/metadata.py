"""Receipts to Dagster metadata: what, how many, and how sure, under stable names."""

from typing import Any

import dagster as dg

from fim_assets.checks.fim_shards import rates
from fim_assets.fim.decisions import LEFT_ALONE
from fim_assets.pipeline import Corpus, StageOutcome
from fim_assets.receipts import Histogram, Place, Receipt, Result
from fim_assets.recipe import Layout
from fim_assets.stats import LANGUAGE_MEASURES, counted
from fim_assets.storage import Location, is_remote
from fim_assets.summary import Summary
from fim_assets.tokens.layouts import LAYOUTS


def stage_metadata(corpus: Corpus, stage: StageOutcome) -> dict[str, Any]:
    """Metadata of one materialized partition; none where it was not finished."""
    if stage.receipt is None:
        return {}
    receipt = stage.receipt
    result, made = receipt.result, receipt.made
    place = corpus.place(result.asset, result.key)
    common: dict[str, Any] = {
        "dagster/partition_row_count": result.documents,
        "dagster/uri": _where(_data_file(place, result, corpus.recipe.tokens.layout)),
        "receipt": _where(place.receipt),
        "seed": result.seed,
        "fingerprint": result.fingerprint,
        "input_blake2b": result.input.blake2b,
        "output_blake2b": dg.MetadataValue.json({o.name: o.blake2b for o in result.outputs}),
        "output_bytes": sum(output.bytes for output in result.outputs),
        "documents": result.documents,
        "lines": result.lines,
        "blank_lines": result.blank,
        "rejected_lines": result.rejected,
        "chars": result.chars,
        "seconds": made.seconds,
        "engine": made.engine,
    }
    if stage.skipped:
        common["skipped"] = True
    if stage.checks:
        # No Markdown: a description may quote what stands in the shard.
        common["checks"] = dg.MetadataValue.json(
            {check.name: check.description for check in stage.checks}
        )
    if stage.preview is not None:
        common["preview"] = dg.MetadataValue.md(stage.preview)
    return common | _BY_ASSET[result.asset](corpus, receipt)


def report_metadata(corpus: Corpus, summary: Summary) -> dict[str, Any]:
    """Metadata of the corpus's report."""
    folder, totals = corpus.folder("corpus_report"), summary.totals
    realised = {
        f"{name}_realised": rate.realised
        for name, rate in summary.rates.items()
        if rate.realised is not None
    }
    return {
        "report": _where(folder / "report.html"),
        "card": _where(folder / "README.md"),
        "summary": _where(folder / "summary.json"),
        "partitions_complete": summary.partitions.complete,
        "partitions_incomplete": len(summary.partitions.incomplete),
        "documents": totals.documents,
        "rejected_lines": totals.rejected,
        "files": totals.files,
        "tokens": totals.tokens,
        "arrays": totals.arrays,
        **realised,
    }


def _where(location: Location) -> dg.PathMetadataValue | dg.UrlMetadataValue:
    if is_remote(location):
        return dg.MetadataValue.url(str(location))
    return dg.MetadataValue.path(location)


def _raw(_corpus: Corpus, receipt: Receipt) -> dict[str, Any]:
    result = receipt.result
    return {
        "rejected_share": _share(result.rejected, result.lines - result.blank),
        "text_bytes": result.counts["bytes"],
        "sentinel_literals": result.counts["sentinel_literals"],
        "documents_with_sentinel_literals": result.counts["documents_with_sentinel_literals"],
        "languages": _languages(result),
        "chars_per_second": _per_second(result.chars, receipt),
        **_quantiles(result.histograms),
    }


def _fim(corpus: Corpus, receipt: Receipt) -> dict[str, Any]:
    result = receipt.result
    realised: dict[str, Any] = {}
    for name, rate in rates(result.counts, corpus.recipe).items():
        realised[f"{name}_asked"] = rate.asked
        if rate.realised is not None:
            realised[f"{name}_realised"] = rate.realised
        realised[f"{name}_accepted"] = f"{rate.low:,} to {rate.high:,} of {rate.trials:,}"
    names = ("psm", "spm", *LEFT_ALONE, "separators", "copies")
    fallbacks = counted(result.counts, "fallback")
    return {
        **realised,
        "files": result.files,
        **{name: result.counts[name] for name in names},
        **{f"split_{split}": n for split, n in counted(result.counts, "split").items()},
        "fallbacks": sum(fallbacks.values()),
        **{f"fallback_{reason}": n for reason, n in fallbacks.items()},
        "chars_per_second": _per_second(result.chars, receipt),
        **_quantiles(result.histograms),
    }


def _tokens(corpus: Corpus, receipt: Receipt) -> dict[str, Any]:
    result = receipt.result
    tokens = result.tokens or 0
    return {
        "tokens": tokens,
        "layout": corpus.recipe.tokens.layout,
        "arrays": result.counts["arrays"],
        "added_token_literals": result.counts["added_token_literals"],
        "changed_documents": result.counts["changed_documents"],
        "chars_per_token": _share(result.chars, tokens),
        "tokens_per_second": _per_second(tokens, receipt),
        **_quantiles(result.histograms),
    }


_BY_ASSET = {"raw_shards": _raw, "fim_shards": _fim, "token_arrays": _tokens}


_DATA_ENDING = {
    "raw_shards": ".parquet",
    "fim_shards": ".jsonl.zst",
    **{f"token_arrays {name}": f"-00000{its.ending}" for name, its in LAYOUTS.items()},
}
"""How the file ends that holds an asset's data, the first where there are several."""


def _data_file(place: Place, result: Result, layout: Layout) -> Location:
    """The partition's data, or its folder where it has no document and so no array."""
    name = f"token_arrays {layout}" if result.asset == "token_arrays" else result.asset
    file = f"{place.key}{_DATA_ENDING[name]}"
    written = file in {output.name for output in result.outputs}
    return place.folder / file if written else place.folder


def _quantiles(histograms: dict[str, Histogram]) -> dict[str, int | float]:
    numbers: dict[str, int | float] = {}
    for name, lengths in histograms.items():
        if lengths.p50 is None or lengths.p95 is None or lengths.max is None:
            continue
        numbers[f"{name}_mean"] = lengths.sum / lengths.count
        numbers[f"{name}_p50"] = lengths.p50
        numbers[f"{name}_p95"] = lengths.p95
        numbers[f"{name}_max"] = lengths.max
    return numbers


def _languages(result: Result) -> dg.TableMetadataValue:
    numbers = {measure: counted(result.counts, measure) for measure in LANGUAGE_MEASURES}
    columns = [dg.TableColumn(measure, "int") for measure in LANGUAGE_MEASURES]
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord(
                {"language": language or "(none)"}
                | {measure: values[language] for measure, values in numbers.items()}
            )
            for language in numbers["documents"]
        ],
        schema=dg.TableSchema([dg.TableColumn("language", "string"), *columns]),
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _per_second(count: int, receipt: Receipt) -> float:
    return round(count / max(receipt.made.seconds, 0.001), 1)
