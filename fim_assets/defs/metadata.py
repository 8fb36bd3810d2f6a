"""Receipts to Dagster metadata: what, how many, and how sure, under stable names.

The UI shows entries in the order of the dictionaries here, Markdown and JSON in place if they have
less than a thousand characters, every number as a plot over the partitions. Of a window of 1,440
pixels a partition's tables get 550 and the report's 350; what is wider hides to the right. Texts of
a shard, such as languages, are in tables and JSON alone, which the UI shows as text; in tables
without the characters that would change the direction of a line.
"""

from base64 import b64encode
from collections.abc import Mapping
from functools import cache
from itertools import islice
from textwrap import wrap
from typing import Any

import dagster as dg

from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus.receipts import Result
from fim_assets.corpus_report.repositories import JoinedRepositories
from fim_assets.corpus_report.summary import CORPUS_REPORT, Summary
from fim_assets.corpus_report.verdict import corpus_verdict
from fim_assets.defs.sparkline import sparkline
from fim_assets.fim_shards.rate_tables import plotted_rates, totals_table
from fim_assets.io.locations import Location, is_remote
from fim_assets.preview.markdown import Preview
from fim_assets.run.partition import StageOutcome
from fim_assets.statistics.counts import counted
from fim_assets.statistics.histograms import Histogram
from fim_assets.statistics.tables import Table, languages, mean, share, warnings_table
from fim_assets.wording import plural

_INCOMPLETE_SHOWN = 100
_LINE = 40

DATA = "dagster/uri"
"""Names where a partition's data is."""


def stage_metadata(corpus: Corpus, stage: StageOutcome) -> dict[str, Any]:
    """Metadata of one materialized partition; none where it was not finished."""
    if stage.receipt is None:
        return {}
    result, made = stage.receipt.result, stage.receipt.made
    own = corpus.stage(result.asset).facts(corpus.recipe, stage.receipt)
    checks = [(c.name, "yes" if c.passed else "no", c.description) for c in stage.checks]
    if stage.skipped and not checks:
        checks = [(name, "yes", "when it was made") for name in made.checks]
    columns = dict.fromkeys(("check", "passed", "found"), "string")
    check_table = Table(columns, [dict(zip(columns, row, strict=True)) for row in checks])
    numbers: dict[str, Any] = {
        "documents": result.documents,
        **own.numbers,
        **{f"dropped_{reason}": n for reason, n in counted(result.counts, "dropped").items()},
        **_lengths(result.histograms),
        "lines": result.lines,
        "blank_lines": result.blank,
        "rejected_lines": result.rejected,
        "chars": result.chars,
        "seconds": made.seconds,
        "output_bytes": sum(output.bytes for output in result.outputs),
        **({"input_shards": len(result.members)} if result.members else {}),
    }
    return {
        **({"skipped": True} if stage.skipped else {}),
        **{name: numbers.pop(name) for name in ("documents", *own.first) if name in numbers},
        **_preview(stage.preview),
        **_tables(own.tables | {"checks": check_table}),
        **_pictures(result.histograms),
        **numbers,
        "engine": made.engine,
        "seed": result.seed,
        "fingerprint": result.fingerprint,
        "dagster/partition_row_count": result.documents,
        DATA: _where(_data_file(corpus, result)),
        "receipt": _where(corpus.files(result.asset, result.key).receipt),
        "receipt_json": dg.MetadataValue.json(
            stage.receipt.model_dump(
                mode="json", exclude={"result": {"histograms", "members", "names"}, "seen": True}
            )
        ),
    }


def _preview(preview: Preview | None) -> dict[str, dg.MarkdownMetadataValue]:
    """A document, shown in place, and several behind a button."""
    if preview is None:
        return {}
    return {
        "preview": dg.MetadataValue.md(preview.example),
        "preview_documents": dg.MetadataValue.md(preview.documents),
    }


def report_metadata(corpus: Corpus, summary: Summary, card: str) -> dict[str, Any]:
    """Metadata of the corpus's report; `card` is the dataset card that was written."""
    folder, totals, partitions = corpus.folder(CORPUS_REPORT), summary.totals, summary.partitions
    incomplete = dict(islice(partitions.incomplete.items(), _INCOMPLETE_SHOWN))
    return {
        # In lines, since a long path below widens the column beyond the page.
        "verdict": dg.MetadataValue.md("  \n".join(wrap(corpus_verdict(summary), _LINE))),
        **_tables({"warnings": warnings_table(summary.warnings)}),
        # The front matter is for the Hub, which reads it.
        "card_text": dg.MetadataValue.md(card.split("---\n", 2)[2]),
        "report": _where(folder / "report.html"),
        "card": _where(folder / "README.md"),
        "summary": _where(folder / "summary.json"),
        "partitions_complete": partitions.complete,
        "partitions_incomplete": len(partitions.incomplete),
        "documents": totals.documents,
        "files": totals.files,
        "tokens": totals.tokens,
        "arrays": totals.arrays,
        "tokens_per_document": mean(totals.tokens, totals.joined_documents),
        **summary.effective_rates.chosen(summary.recipe.tokens.layout),
        **_tables({"rates": totals_table(summary.rates, summary.tested_languages)}),
        **({"incomplete": dg.MetadataValue.json(incomplete)} if incomplete else {}),
        "partitions_empty": len(partitions.empty),
        **plotted_rates(summary.rates, summary.tested_languages),
        "rejected_lines": totals.rejected,
        "rejected_share": share(totals.rejected, totals.lines - totals.blank),
        **({} if summary.repositories is None else _repositories(summary.repositories)),
        "fallback_share": share(sum(summary.fallbacks.values()), totals.rearranged),
        **_tables({"languages": languages({"documents": summary.languages})}),
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


def _repositories(joined: JoinedRepositories) -> dict[str, int | float]:
    return {
        "repositories": joined.in_several.names,
        "repositories_in_several_partitions": joined.in_several.in_several,
        "repository_documents": joined.documents,
        "files_without_repository": joined.files_without_repository,
    }


def _where(location: Location) -> dg.PathMetadataValue | dg.UrlMetadataValue:
    if is_remote(location):
        return dg.MetadataValue.url(str(location))
    return dg.MetadataValue.path(location)


def _data_file(corpus: Corpus, result: Result) -> Location:
    """The partition's data, or its folder where it has no document and so no array."""
    folder = corpus.folder(result.asset)
    name = f"{result.key}{corpus.stage(result.asset).data_ending(corpus.recipe)}"
    return folder / name if name in {output.name for output in result.outputs} else folder


def _pictures(histograms: Mapping[str, Histogram]) -> dict[str, dg.MarkdownMetadataValue]:
    return {f"{name}_histogram": _picture(lengths) for name, lengths in histograms.items()}


def _lengths(histograms: Mapping[str, Histogram]) -> dict[str, int | float]:
    """The numbers of each histogram that are plotted over the partitions."""
    numbers: dict[str, int | float] = {}
    for name, lengths in histograms.items():
        if lengths.count:
            numbers[f"{name}_mean"] = mean(lengths.sum, lengths.count)
        quantiles = {"p50": lengths.p50, "p95": lengths.p95, "max": lengths.max}
        numbers |= {f"{name}_{part}": n for part, n in quantiles.items() if n is not None}
    return numbers


def _picture(lengths: Histogram) -> dg.MarkdownMetadataValue:
    """A histogram in less than a thousand characters, which are shown in place."""
    image = b64encode(sparkline(lengths).encode()).decode()
    numbers = {
        "median": lengths.p50,
        "mean": round(lengths.sum / lengths.count) if lengths.count else None,
        "95 % up to": lengths.up_to,
        "max": lengths.max,
    }
    texts = [f"{name} {number:,}" for name, number in numbers.items() if number is not None]
    caption = " · ".join([plural(lengths.count, "value"), *texts])
    return dg.MetadataValue.md(f"![](data:image/svg+xml;base64,{image})\n\n{caption}")


def _tables(tables: Mapping[str, Table]) -> dict[str, dg.TableMetadataValue]:
    return {name: table(content) for name, content in tables.items() if content.rows}


def table(content: Table) -> dg.TableMetadataValue:
    """A table, which the UI shows in place and as text, whatever is in it."""
    names = content.columns
    records = [dg.TableRecord({name: row.get(name) for name in names}) for row in content.rows]
    return dg.MetadataValue.table(records, _schema(tuple(content.columns.items())))


@cache
def _schema(columns: tuple[tuple[str, str], ...]) -> dg.TableSchema:
    return dg.TableSchema([dg.TableColumn(name, kind) for name, kind in columns])
