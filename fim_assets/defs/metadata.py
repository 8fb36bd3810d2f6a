"""Receipts to Dagster metadata: what, how many, and how sure, under stable names.

The UI shows entries in the order of the dictionaries here, Markdown and JSON in place if they have
less than a thousand characters, and every number as a plot over the partitions. Texts of a shard,
such as languages, stand in tables and JSON alone, which the UI shows as text; in tables without the
characters that would turn a line around.
"""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Any, NamedTuple

import dagster as dg

from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus.partition_files import PartitionFiles
from fim_assets.corpus.receipts import Receipt, Result
from fim_assets.corpus_report.sparkline import sparkline
from fim_assets.corpus_report.summary import Summary
from fim_assets.fim_shards.decisions import LEFT_ALONE
from fim_assets.fim_shards.rates import rates, rates_by_language
from fim_assets.fim_shards.unmatched import Occurrences, unmatched_names
from fim_assets.io.storage import Location, is_remote
from fim_assets.layouts.registry import LAYOUTS
from fim_assets.raw_shards.statistics import LANGUAGE_MEASURES
from fim_assets.recipe.tokens import Layout
from fim_assets.run.partition import StageOutcome
from fim_assets.statistics.counts import counted
from fim_assets.statistics.histograms import Histogram
from fim_assets.statistics.rates import Rate, verdict
from fim_assets.wording import plural, shown_language

Record = dict[str, str | int | float | bool | None]
"""A row of a table."""

_LANGUAGES_SHOWN = 50
_INCOMPLETE_SHOWN = 100


class _Own(NamedTuple):
    """What an asset's metadata alone has.

    Attributes:
        headline: The numbers that are looked at first.
        tables: Tables of numbers.
        numbers: Further numbers.
    """

    headline: dict[str, int | float]
    tables: dict[str, dg.TableMetadataValue]
    numbers: dict[str, int | float | str]


def stage_metadata(corpus: Corpus, stage: StageOutcome) -> dict[str, Any]:
    """Metadata of one materialized partition; none where it was not finished."""
    if stage.receipt is None:
        return {}
    result, made = stage.receipt.result, stage.receipt.made
    place = corpus.place(result.asset, result.key)
    own = _BY_ASSET[result.asset](corpus, stage.receipt)
    shown: dict[str, Any] = {}
    if stage.preview is not None:
        shown["preview"] = dg.MetadataValue.md(stage.preview)
    if stage.checks:
        shown["checks"] = _checks(
            (check.name, yes(check.passed), check.description) for check in stage.checks
        )
    elif stage.skipped and made.checks:
        shown["checks"] = _checks((name, yes(True), "when it was made") for name in made.checks)
    return {
        **({"skipped": True} if stage.skipped else {}),
        "documents": result.documents,
        **own.headline,
        **own.tables,
        **_pictures(result.histograms),
        **shown,
        **own.numbers,
        **_lengths(result.histograms),
        "lines": result.lines,
        "blank_lines": result.blank,
        "rejected_lines": result.rejected,
        "chars": result.chars,
        "seconds": made.seconds,
        "engine": made.engine,
        "seed": result.seed,
        "fingerprint": result.fingerprint,
        "dagster/partition_row_count": result.documents,
        "dagster/uri": _where(_data_file(place, result, corpus.recipe.tokens.layout)),
        "output_bytes": sum(output.bytes for output in result.outputs),
        "output_blake2b": dg.MetadataValue.json({o.name: o.blake2b for o in result.outputs}),
        "input_blake2b": result.input.blake2b,
        "receipt": _where(place.receipt),
        "receipt_json": dg.MetadataValue.json(
            stage.receipt.model_dump(mode="json", exclude={"result": {"histograms"}})
        ),
    }


def report_metadata(corpus: Corpus, summary: Summary) -> dict[str, Any]:
    """Metadata of the corpus's report."""
    folder, totals, partitions = corpus.folder("corpus_report"), summary.totals, summary.partitions
    incomplete = dict(islice(partitions.incomplete.items(), _INCOMPLETE_SHOWN))
    return {
        "report": _where(folder / "report.html"),
        "card": _where(folder / "README.md"),
        "summary": _where(folder / "summary.json"),
        "partitions_complete": partitions.complete,
        "partitions_incomplete": len(partitions.incomplete),
        "partitions_empty": len(partitions.empty),
        **({"incomplete": dg.MetadataValue.json(incomplete)} if incomplete else {}),
        "documents": totals.documents,
        "files": totals.files,
        "tokens": totals.tokens,
        "tokens_per_document": _mean(totals.tokens, totals.documents),
        "arrays": totals.arrays,
        "rejected_lines": totals.rejected,
        "rejected_share": _share(totals.rejected, totals.lines - totals.blank),
        **_warnings(summary.warnings),
        "rates": _rates(summary.rates),
        **_realised(summary.rates),
        "fallback_share": _share(sum(summary.fallbacks.values()), totals.rearranged),
        **_rates_by_language(summary.tested_languages),
        **_languages({"documents": summary.languages}),
        **_pictures(summary.histograms),
        "chars": totals.chars,
        "text_bytes": totals.bytes,
        "psm": totals.psm,
        "spm": totals.spm,
        "copies": totals.copies,
        "changed_documents": totals.changed_documents,
        "fingerprints": dg.MetadataValue.json(summary.fingerprints),
        "tokenizer_hash": summary.tokenizer_hash,
    }


def _where(location: Location) -> dg.PathMetadataValue | dg.UrlMetadataValue:
    if is_remote(location):
        return dg.MetadataValue.url(str(location))
    return dg.MetadataValue.path(location)


def _raw(_corpus: Corpus, receipt: Receipt) -> _Own:
    result = receipt.result
    counts = result.counts
    return _Own(
        {"rejected_share": _share(result.rejected, result.lines - result.blank)},
        _languages({name: counted(counts, name) for name in LANGUAGE_MEASURES}),
        {
            **{f"rejected_{reason}": n for reason, n in counted(counts, "rejected").items()},
            "text_bytes": counts["bytes"],
            "sentinel_literals": counts["sentinel_literals"],
            "documents_with_sentinel_literals": counts["documents_with_sentinel_literals"],
            "chars_per_second": _per_second(result.chars, receipt),
        },
    )


def _fim(corpus: Corpus, receipt: Receipt) -> _Own:
    result = receipt.result
    counts = result.counts
    tested = rates(counts, corpus.recipe)
    occurrences = Occurrences()
    occurrences.add(counts)
    bounds: dict[str, float | str] = {}
    for name, rate in tested.items():
        bounds[f"{name}_asked"] = round(rate.asked, 6)
        bounds[f"{name}_accepted"] = f"{rate.low:,} to {rate.high:,} of {rate.trials:,}"
    fallbacks = counted(counts, "fallback")
    fallen = sum(fallbacks.values())
    return _Own(
        {
            "files": result.files or 0,
            **_realised(tested),
            "fallback_share": _share(fallen, counts["psm"] + counts["spm"]),
        },
        {
            **_warnings(unmatched_names(corpus.recipe, occurrences, complete=False)),
            "rates": _rates(tested),
            **_rates_by_language(rates_by_language(counts, corpus.recipe)),
        },
        {
            **bounds,
            **{name: counts[name] for name in ("psm", "spm", *LEFT_ALONE, "separators", "copies")},
            **{f"split_{split}": n for split, n in counted(counts, "split").items()},
            "fallbacks": fallen,
            **{f"fallback_{reason}": n for reason, n in fallbacks.items()},
            "chars_per_second": _per_second(result.chars, receipt),
        },
    )


def _tokens(corpus: Corpus, receipt: Receipt) -> _Own:
    result = receipt.result
    counts, tokens = result.counts, result.tokens or 0
    longer = counted(counts, "rearranged_longer")
    return _Own(
        {
            "tokens": tokens,
            "tokens_per_document": _mean(tokens, result.documents),
            "tokens_per_second": _per_second(tokens, receipt),
        },
        _languages({"tokens": counted(counts, "tokens")}),
        {
            "arrays": counts["arrays"],
            "layout": corpus.recipe.tokens.layout,
            "chars_per_token": _share(result.chars, tokens),
            "added_token_literals": counts["added_token_literals"],
            "changed_documents": counts["changed_documents"],
            **{f"rearranged_longer_{length}": n for length, n in longer.items()},
        },
    )


_BY_ASSET = {"raw_shards": _raw, "fim_shards": _fim, "token_arrays": _tokens}


_DATA_ENDING = {
    "raw_shards": ".parquet",
    "fim_shards": ".jsonl.zst",
    **{f"token_arrays {name}": f"-00000{its.ending}" for name, its in LAYOUTS.items()},
}
"""How the file ends that holds an asset's data, the first where there are several."""


def _data_file(place: PartitionFiles, result: Result, layout: Layout) -> Location:
    """The partition's data, or its folder where it has no document and so no array."""
    name = f"token_arrays {layout}" if result.asset == "token_arrays" else result.asset
    file = f"{place.key}{_DATA_ENDING[name]}"
    written = file in {output.name for output in result.outputs}
    return place.folder / file if written else place.folder


def _pictures(histograms: Mapping[str, Histogram]) -> dict[str, dg.MarkdownMetadataValue]:
    """Each histogram as a picture, in the receipt's order."""
    return {f"{name}_histogram": _picture(lengths) for name, lengths in histograms.items()}


def _lengths(histograms: Mapping[str, Histogram]) -> dict[str, int | float]:
    """The numbers of each histogram that are plotted over the partitions."""
    numbers: dict[str, int | float] = {}
    for name, lengths in histograms.items():
        if lengths.p50 is None or lengths.p95 is None or lengths.max is None:
            continue
        numbers[f"{name}_mean"] = _mean(lengths.sum, lengths.count)
        numbers[f"{name}_p50"] = lengths.p50
        numbers[f"{name}_p95"] = lengths.p95
        numbers[f"{name}_max"] = lengths.max
    return numbers


def _picture(lengths: Histogram) -> dg.MarkdownMetadataValue:
    """A histogram in less than a thousand characters, which are shown in place."""
    image = b64encode(sparkline(lengths).encode()).decode()
    numbers = {
        "median": lengths.p50,
        "mean": round(lengths.sum / lengths.count) if lengths.count else None,
        "95 % up to": lengths.p95,
        "max": lengths.max,
    }
    said = [f"{name} {number:,}" for name, number in numbers.items() if number is not None]
    said = [plural(lengths.count, "value"), *said]
    return dg.MetadataValue.md(f"![](data:image/svg+xml;base64,{image})\n\n{' · '.join(said)}")


def _checks(rows: Iterable[tuple[str, str, str]]) -> dg.TableMetadataValue:
    columns = ("check", "passed", "found")
    return table(
        dict.fromkeys(columns, "string"), [dict(zip(columns, row, strict=True)) for row in rows]
    )


def _warnings(warnings: Iterable[str]) -> dict[str, dg.TableMetadataValue]:
    """What of the recipe matches nothing; without any, no table."""
    rows: list[Record] = [{"warning": warning} for warning in warnings]
    return {"warnings": table({"warning": "string"}, rows)} if rows else {}


def _rates(tested: Mapping[str, Rate]) -> dg.TableMetadataValue:
    """Each rate as a share, and the least and the most that its test accepts."""
    columns = {
        "rate": "string",
        "asked": "float",
        "realised": "float",
        "accepted": "string",
        "verdict": "string",
        "hits": "int",
        "trials": "int",
    }
    return table(
        columns,
        [
            {
                "rate": name,
                "asked": round(rate.asked, 4),
                "realised": _rounded(rate.realised),
                "accepted": _accepted(rate),
                "verdict": rate.verdict,
                "hits": rate.hits,
                "trials": rate.trials,
            }
            for name, rate in tested.items()
        ],
    )


def _rates_by_language(
    tested: Mapping[str, Mapping[str, Rate]],
) -> dict[str, dg.TableMetadataValue]:
    """The same of each language, those with most files first; without any file, no table."""
    columns = {
        "files": "int",
        "asked": "float",
        "fim_rate": "float",
        "accepted": "string",
        "psm_share": "float",
        "psm_accepted": "string",
        "verdict": "string",
    }
    rows: dict[str, Record] = {
        language: {
            "files": its["fim_rate"].trials,
            "asked": round(its["fim_rate"].asked, 4),
            "fim_rate": _rounded(its["fim_rate"].realised),
            "accepted": _accepted(its["fim_rate"]),
            "psm_share": _rounded(its["psm_share"].realised),
            "psm_accepted": _accepted(its["psm_share"]),
            "verdict": verdict(*its.values()),
        }
        for language, its in sorted(tested.items(), key=lambda its: -its[1]["fim_rate"].trials)
    }
    return {"rates_by_language": _by_language(columns, rows)} if rows else {}


def _accepted(rate: Rate) -> str | None:
    """The shares that a rate's test accepts, None without trials."""
    return None if rate.accepted is None else "–".join(f"{share:.4f}" for share in rate.accepted)


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)


def _realised(tested: Mapping[str, Rate]) -> dict[str, float]:
    """The shares that are plotted, where there is any trial."""
    return {
        f"{name}_realised": round(rate.realised, 6)
        for name, rate in tested.items()
        if rate.realised is not None
    }


def _languages(measures: Mapping[str, Mapping[str, int]]) -> dict[str, dg.TableMetadataValue]:
    """Languages in the order of their first measure, with the share of this; none, no table."""
    (first, numbers), *_ = measures.items()
    total = sum(numbers.values())
    rows: dict[str, Record] = {
        language: {
            **{measure: its[language] for measure, its in measures.items()},
            f"share_of_{first}": round(count / total, 4),
        }
        for language, count in sorted(numbers.items(), key=lambda entry: -entry[1])
    }
    columns = {**dict.fromkeys(measures, "int"), f"share_of_{first}": "float"}
    return {"languages": _by_language(columns, rows)} if rows else {}


def _by_language(columns: dict[str, str], rows: Mapping[str, Record]) -> dg.TableMetadataValue:
    """A row a language; of those behind the first ones, how many they are."""
    shown: list[Record] = [
        {"language": shown_language(language), **row}
        for language, row in islice(rows.items(), _LANGUAGES_SHOWN)
    ]
    if len(rows) > _LANGUAGES_SHOWN:
        shown.append({"language": f"({len(rows) - _LANGUAGES_SHOWN:,} more)"})
    return table({"language": "string", **columns}, shown)


def table(columns: Mapping[str, str], rows: Sequence[Record]) -> dg.TableMetadataValue:
    """A table, which the UI shows in place and as text, whatever stands in it.

    Args:
        columns: Names and types.
        rows: Values by column; what is left out is shown as nothing.
    """
    records = [dg.TableRecord({name: row.get(name) for name in columns}) for row in rows]
    return dg.MetadataValue.table(records, _schema(tuple(columns.items())))


@cache
def _schema(columns: tuple[tuple[str, str], ...]) -> dg.TableSchema:
    return dg.TableSchema([dg.TableColumn(name, kind) for name, kind in columns])


def yes(passed: bool) -> str:
    """A verdict in one word."""
    return "yes" if passed else "no"


def _share(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0


def _mean(whole: int, count: int) -> float:
    return round(whole / count, 2) if count else 0.0


def _per_second(count: int, receipt: Receipt) -> float:
    return round(count / max(receipt.made.seconds, 0.001), 1)
