"""What the report says, ready to be laid out: page and card differ in markup and pictures alone.

Numbers come from `gather`. Nothing is drawn or escaped here.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple

from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus_report.examples import Examples
from fim_assets.corpus_report.gather import Gathered, Partition, RunStatistics
from fim_assets.corpus_report.heading import Heading, make_heading
from fim_assets.corpus_report.links import Link, corpus_links
from fim_assets.corpus_report.numbers import LANGUAGES_SHOWN, Counted, Length, counted_of, length_of
from fim_assets.corpus_report.repositories_view import RepositoriesView, repositories_view
from fim_assets.corpus_report.summary import CORPUS_REPORT, Summary
from fim_assets.cuts.base import UNCHANGED
from fim_assets.cuts.bounded import BOUNDED_TEXT
from fim_assets.cuts.registry import CUTS
from fim_assets.fim_shards.arrangements import PARTS, REARRANGED, layout
from fim_assets.fim_shards.decisions import unchanged_meanings
from fim_assets.fim_shards.rates import RATE_ERROR
from fim_assets.layouts.registry import LAYOUTS
from fim_assets.raw_shards.rejections import REJECTION_MEANINGS
from fim_assets.recipe.fim import Fim
from fim_assets.statistics.histograms import Histogram
from fim_assets.statistics.rates import TOO_FEW, Rate, verdict
from fim_assets.statistics.tables import share
from fim_assets.token_arrays.advice import trainer_advice
from fim_assets.token_arrays.arrays import id_dtype
from fim_assets.token_arrays.effective_rate import WAYS, EffectiveRates, Way
from fim_assets.wording import plural, short_number

ROWS_SHOWN = 1000
"""Partitions in each of the page's tables and charts; the summary has no such bound."""

_LENGTHS = {
    "document": "Documents",
    "prefix": "Prefixes",
    "middle": "Middles",
    "suffix": "Suffixes",
}
"""The histograms that are shown, in characters and in tokens, by name."""

SEEN_SHARES = {
    "Rearranged files seen whole": "whole",
    "Their tokens, of all tokens of rearranged files": "whole_tokens",
    "Middles that lose their end": "lost_ends",
    "Tokens discarded": "discarded",
    "Of what stands before the files seen whole, in their instance": "before",
}
"""What is told of each way of cutting: names in `SeenWhole.shares` by title."""

_LOADING = """\
import json, numpy as np
arrays = json.load(open({}))["arrays"]
ids = np.memmap(arrays[0]["path"], dtype=arrays[0]["dtype"], mode="r"{})"""

_COMMANDS = """\
export FIM_INPUT_ROOT=…    # folder or URL of the same raw shards
export FIM_DATA_ROOT=…     # an empty folder or URL
dagster asset materialize {corpus.definitions} --select {selection} \\
  --partition-range "$(fim-assets keys --range)"
{corpus.command} verify
"""


class Language(NamedTuple):
    """A language's documents and tokens, and its share of all tokens."""

    name: str
    documents: int
    tokens: int
    share: float


class Rearranged(NamedTuple):
    """Files in an order, and their tokens; None where no receipt counts these."""

    order: str
    files: int
    share: float
    tokens: int | None
    token_share: float | None


class LongDocuments(NamedTuple):
    """Rearranged documents that are longer than a sequence; shares are of all rearranged ones."""

    sequence: int
    documents: int
    share: float
    tokens: int
    token_share: float


class SeenWhole(NamedTuple):
    """What trainers see of the rearranged files in one way of cutting: shares by length."""

    way: Way
    shares: dict[int, dict[str, float]]


class StageTime(NamedTuple):
    """What a stage took."""

    stage: str
    seconds: float
    rate: str
    engines: list[str]


@dataclass(frozen=True)
class ReportView:
    """What page and card show.

    Attributes:
        links: To files about the whole corpus.
        rows: The first complete partitions.
        rates: The tested shares of all files by title.
        languages: Those with most documents.
        judged: The tested rates of those of them that have enough files to be outside bounds;
            `too_few` are those of the others.
        rearranged: Files and tokens in PSM order, in SPM order, and both.
        orders: Files by what became of them.
        lengths: Distributions by group.
        seen: What trainers see of the rearranged files, where that is known of any: those that
            read the recipe's layout first, of which there are `own_ways`.
        advice: What to set in which trainer, a sentence each.
        repositories: What became of repositories, where the recipe joins their files.
        versions: Of each library, and how many receipts name them, most first.
        header_bytes: Bytes in front of an array's ids; `loading` is code that reads it.
        prefix: What the assets' keys begin with.
        commands: What makes the same bytes again, with FIM_RECIPE set.
        counts_every_shard: Whether the folder of FIM shards holds those of the complete partitions
            and no others.
    """

    summary: Summary
    heading: Heading
    links: list[Link]
    rows: list[Partition]
    made: RunStatistics
    examples: Examples
    rates: dict[str, Rate]
    languages: list[Language]
    judged: dict[str, dict[str, Rate]]
    too_few: dict[str, dict[str, Rate]]
    rearranged: list[Rearranged]
    orders: list[Counted]
    splits: list[Counted]
    fallbacks: list[Counted]
    rejections: list[Counted]
    lengths: dict[str, list[Length]]
    longer: list[LongDocuments]
    seen: list[SeenWhole]
    own_ways: int
    advice: list[str]
    stages: list[StageTime]
    versions: dict[str, list[tuple[str, int]]]
    dropped: list[Counted]
    repositories: RepositoriesView | None
    dtype: str
    header_bytes: int
    loading: str
    prefix: str
    commands: str
    counts_every_shard: bool
    rate_error: float = RATE_ERROR


def build_view(
    corpus: Corpus, gathered: Gathered, examples: Examples, fim_shards: int
) -> ReportView:
    """Make texts and shares of what was gathered; `fim_shards` is how many are in their folder."""
    summary, made = gathered.summary, gathered.made
    tokens, totals, titles = summary.recipe.tokens, summary.totals, rate_titles()
    header_bytes = LAYOUTS[tokens.layout].header_bytes
    tested = dict(islice(summary.tested_languages.items(), LANGUAGES_SHOWN))
    own_ways = [way for way in WAYS if way.layout == tokens.layout] or [*WAYS]
    others = [way for way in WAYS if way not in own_ways]
    path = json.dumps("/".join([*corpus.prefix, CORPUS_REPORT, "summary.json"]))
    return ReportView(
        summary=summary,
        heading=make_heading(corpus, summary, datetime.now(UTC)),
        links=[*corpus_links(summary)],
        rows=gathered.partitions,
        made=made,
        examples=examples,
        rates={titles[name]: summary.rates[name] for name in titles if name in summary.rates},
        languages=list(_languages(summary)),
        judged={name: its for name, its in tested.items() if verdict(*its.values()) != TOO_FEW},
        too_few={name: its for name, its in tested.items() if verdict(*its.values()) == TOO_FEW},
        rearranged=list(_rearranged(summary)),
        orders=_orders(summary),
        splits=counted_of(summary.splits, totals.rearranged, _cut_texts(summary.recipe.fim)),
        fallbacks=counted_of(summary.fallbacks, totals.rearranged, CUTS.reason_texts()),
        rejections=counted_of(summary.rejections, totals.lines, REJECTION_MEANINGS),
        lengths=_lengths(summary.histograms),
        longer=list(_longer(summary)),
        seen=[*_seen(summary.effective_rates, own_ways), *_seen(summary.effective_rates, others)],
        own_ways=len(own_ways),
        advice=trainer_advice(summary.recipe, summary.effective_rates),
        stages=list(_stages(gathered)),
        versions={
            library: made.versions[library].most_common() for library in sorted(made.versions)
        },
        dropped=counted_of(summary.dropped, totals.documents, {}),
        repositories=repositories_view(summary),
        dtype=id_dtype(tokens).name,
        header_bytes=header_bytes,
        loading=_LOADING.format(path, f", offset={header_bytes}" if header_bytes else ""),
        prefix="/".join(corpus.prefix),
        commands=_COMMANDS.format(corpus=corpus, selection=corpus.selection("*")),
        counts_every_shard=0 < summary.partitions.complete == fim_shards,
    )


def rate_titles() -> dict[str, str]:
    """What each tested share is of."""
    return {
        "document_rate": "Documents that are candidates",
        "fim_rate": "Files rearranged",
        "psm_share": "Of these, in PSM order",
        **{f"{method}_share": f"Of these, drawn for {method}" for method in CUTS},
    }


def _cut_texts(fim: Fim) -> dict[str, str]:
    """Where each method cuts."""
    if fim.max_middle is None:
        return {name: method.text for name, method in CUTS.items()}
    return {
        name: f"{BOUNDED_TEXT if method.bounded else method.text}; at most {fim.max_middle}"
        for name, method in CUTS.items()
    }


def _rearranged(summary: Summary) -> Iterator[Rearranged]:
    totals, rates = summary.totals, summary.effective_rates
    psm = summary.psm_tokens if rates.tokens else None
    rows: dict[str, tuple[int, int | None]] = {
        "PSM": (totals.psm, psm),
        "SPM": (totals.spm, None if psm is None else rates.file_tokens - psm),
        "both": (totals.rearranged, rates.file_tokens if rates.tokens else None),
    }
    for order, (files, tokens) in rows.items():
        token_share = None if tokens is None else share(tokens, rates.tokens)
        yield Rearranged(order, files, share(files, totals.files), tokens, token_share)


def _orders(summary: Summary) -> list[Counted]:
    """Files by what became of them; of an order that is asked for, how it lays out the parts."""
    totals, fim = summary.totals, summary.recipe.fim
    unchanged = {reason: getattr(totals, reason) for reason in UNCHANGED}
    counts = {"PSM": totals.psm, "SPM": totals.spm} | {r: n for r, n in unchanged.items() if n}
    asked = {"psm": fim.psm_spm_split > 0, "spm": fim.psm_spm_split < 1}
    meanings = {
        order.upper(): " ".join(piece.part or piece.text for piece in layout(order, fim))
        for order in REARRANGED
        if asked[order]
    }
    return counted_of(counts, totals.files, meanings | unchanged_meanings(fim))


def _languages(summary: Summary) -> Iterator[Language]:
    # A document that several were joined to names no language where these are in several.
    others = dict.fromkeys(summary.tokens_by_language.keys() - summary.languages.keys(), 0)
    for name, documents in islice((summary.languages | others).items(), LANGUAGES_SHOWN):
        tokens = summary.tokens_by_language.get(name, 0)
        yield Language(name, documents, tokens, share(tokens, summary.totals.tokens))


def _lengths(histograms: Mapping[str, Histogram]) -> dict[str, list[Length]]:
    groups = {"In characters": ("chars", "characters"), "In tokens": ("tokens", "tokens")}
    return {
        group: [
            length_of(
                title, unit, "file" if name in PARTS else name, histograms[f"{name}_{suffix}"]
            )
            for name, title in _LENGTHS.items()
        ]
        for group, (suffix, unit) in groups.items()
        if histograms
    }


def _longer(summary: Summary) -> Iterator[LongDocuments]:
    rearranged = summary.histograms.get("rearranged_tokens")
    if rearranged and rearranged.count:
        for sequence, longer in summary.longer.items():
            share, token_share = longer.documents / rearranged.count, longer.tokens / rearranged.sum
            yield LongDocuments(sequence, longer.documents, share, longer.tokens, token_share)


def _seen(rates: EffectiveRates, ways: Iterable[Way]) -> Iterator[SeenWhole]:
    for way in ways if rates.files else ():
        shares = {
            length: rates.shares(seen)
            | {"whole_tokens": share(seen.whole_tokens, rates.file_tokens)}
            for length, seen in rates.ways[way.name].items()
        }
        yield SeenWhole(way, shares)


def _stages(gathered: Gathered) -> Iterator[StageTime]:
    """What each stage took, and its speed: tokens of the last one, characters of the others."""
    totals, made = gathered.summary.totals, gathered.made
    *_, last = made.seconds
    for stage, seconds in made.seconds.items():
        count, unit = (totals.tokens, "tokens") if stage == last else (totals.chars, "characters")
        rate = f"{short_number(count / seconds)} {unit} a second" if seconds else "–"
        engines = made.engines[stage].most_common()
        named = [f"{e} ({plural(n, 'partition')})" if len(engines) > 1 else e for e, n in engines]
        yield StageTime(stage, seconds, rate, named)
