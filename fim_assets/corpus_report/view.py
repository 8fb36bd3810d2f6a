"""What the report says, ready to be laid out: page and card differ in markup and pictures alone.

Numbers come from `gather`. Nothing is drawn or escaped here.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus_report.examples import Examples
from fim_assets.corpus_report.gather import Gathered, Partition, RunStatistics
from fim_assets.corpus_report.repositories import ADVICE, in_several_text
from fim_assets.corpus_report.summary import CORPUS_REPORT, Summary
from fim_assets.cuts.base import UNCHANGED
from fim_assets.cuts.bounded import BOUNDED_TEXT
from fim_assets.cuts.registry import CUTS
from fim_assets.fim_shards.arrangements import REARRANGED, layout
from fim_assets.fim_shards.decisions import unchanged_meanings
from fim_assets.fim_shards.rates import RATE_ERROR
from fim_assets.layouts.registry import LAYOUTS
from fim_assets.raw_shards.rejections import REJECTION_MEANINGS
from fim_assets.recipe.fim import Fim
from fim_assets.repository_shards.record import PLACES
from fim_assets.statistics.histograms import EDGES, Histogram
from fim_assets.statistics.rates import Rate
from fim_assets.token_arrays.advice import trainer_advice
from fim_assets.token_arrays.arrays import id_dtype
from fim_assets.token_arrays.effective_rate import (
    WAYS,
    EffectiveRates,
    Way,
)
from fim_assets.wording import plural

ROWS_SHOWN = 1000
"""Partitions in each of the page's tables and charts; the summary has no such bound."""

LANGUAGES_SHOWN = 50

_LENGTHS = ("document", "prefix", "middle", "suffix")
_LENGTH_TITLES = ("Documents", "Prefixes", "Middles", "Suffixes")
"""The histograms that are shown, in characters and in tokens."""

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


class Counted(NamedTuple):
    """Something that is counted, and its share of all."""

    name: str
    number: int
    share: float
    meaning: str


class Language(NamedTuple):
    """A language's documents and tokens, and its share of all tokens."""

    name: str
    documents: int
    tokens: int
    share: float


class Length(NamedTuple):
    """A distribution of lengths: of what, in which unit, and its numbers as text."""

    title: str
    unit: str
    of: str
    lengths: Histogram
    text: str


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


class LanguageFiles(NamedTuple):
    """A language's files in repositories' documents, and their imports of one another."""

    name: str
    files: int
    share: float
    imports: int


class RepositoriesView(NamedTuple):
    """What became of repositories: numbers by title, and where files stand.

    `in_several` says how many have files in several partitions; `advice` what to do if some do.
    """

    numbers: dict[str, int]
    names: Rate
    in_several: str
    advice: str | None
    places: list[Counted]
    languages: list[LanguageFiles]
    lengths: list[Length]


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
        rows: The first complete partitions.
        rates: The tested shares of all files by title.
        languages: Those with most documents.
        orders: Files by what became of them.
        lengths: Distributions by group.
        seen: What trainers see of the rearranged files, where that is known of any.
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
    rows: list[Partition]
    made: RunStatistics
    examples: Examples
    rates: dict[str, Rate]
    languages: list[Language]
    orders: list[Counted]
    splits: list[Counted]
    fallbacks: list[Counted]
    rejections: list[Counted]
    lengths: dict[str, list[Length]]
    longer: list[LongDocuments]
    seen: list[SeenWhole]
    advice: list[str]
    stages: list[StageTime]
    versions: dict[str, list[tuple[str, int]]]
    dropped: list[Counted]
    repositories: "RepositoriesView | None"
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
    path = json.dumps("/".join([*corpus.prefix, CORPUS_REPORT, "summary.json"]))
    return ReportView(
        summary=summary,
        rows=gathered.partitions,
        made=made,
        examples=examples,
        rates={titles[name]: summary.rates[name] for name in titles if name in summary.rates},
        languages=list(_languages(summary)),
        orders=_orders(summary),
        splits=_counted(summary.splits, totals.rearranged, _cut_texts(summary.recipe.fim)),
        fallbacks=_counted(summary.fallbacks, totals.rearranged, CUTS.reason_texts()),
        rejections=_counted(summary.rejections, totals.lines, REJECTION_MEANINGS),
        lengths=_lengths(summary.histograms),
        longer=list(_longer(summary)),
        seen=list(_seen(summary.effective_rates)),
        advice=trainer_advice(summary.recipe, summary.effective_rates),
        stages=list(_stages(gathered)),
        versions={
            library: made.versions[library].most_common() for library in sorted(made.versions)
        },
        dropped=_counted(summary.dropped, totals.documents, {}),
        repositories=_repositories(summary),
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
    return _counted(counts, totals.files, meanings | unchanged_meanings(fim))


def _counted(counts: Mapping[str, int], total: int, meanings: Mapping[str, str]) -> list[Counted]:
    return [
        Counted(name, n, _share(n, total), meanings.get(name, "")) for name, n in counts.items()
    ]


def _languages(summary: Summary) -> Iterator[Language]:
    # A document that several were joined to names no language where these are in several.
    others = dict.fromkeys(summary.tokens_by_language.keys() - summary.languages.keys(), 0)
    for name, documents in islice((summary.languages | others).items(), LANGUAGES_SHOWN):
        tokens = summary.tokens_by_language.get(name, 0)
        yield Language(name, documents, tokens, _share(tokens, summary.totals.tokens))


def _lengths(histograms: Mapping[str, Histogram]) -> dict[str, list[Length]]:
    groups = {"In characters": ("chars", "characters"), "In tokens": ("tokens", "tokens")}
    shown: dict[str, list[Length]] = {}
    for group, (suffix, unit) in groups.items() if histograms else ():
        for name, title in zip(_LENGTHS, _LENGTH_TITLES, strict=True):
            of = "document" if name == "document" else "file"
            lengths = histograms[f"{name}_{suffix}"]
            length = Length(title, unit, of, lengths, describe(lengths, of))
            shown.setdefault(group, []).append(length)
    return shown


_OF_REPOSITORIES = {
    "repository_document_files": ("Documents by files", "files", "document"),
    "repository_document_chars": ("Documents by characters", "characters", "document"),
    "repository_files": ("Repositories by files", "files", "repository"),
}
"""The histograms that only repositories have: title, unit, and of what."""


def _repositories(summary: Summary) -> RepositoriesView | None:
    joined = summary.repositories
    if joined is None:
        return None
    numbers = {
        "documents of the raw shards": summary.totals.documents,
        "of these, without a repository": joined.files_without_repository,
        "documents that they were joined to": joined.documents,
        "repositories, once in each partition": joined.repositories,
        "repositories divided for their size": joined.divided_repositories,
        "documents of divided repositories": joined.documents_of_divided,
        "exact copies within a repository": joined.copies,
        "imports of files of the same repository": joined.import_edges,
        "of these, within cycles": joined.cycle_edges,
        "files in cycles": joined.cycle_files,
        "imports of nothing in the repository": joined.unresolved_imports,
    }
    total = sum(joined.files_by_language.values())
    languages = [
        LanguageFiles(name, files, _share(files, total), joined.imports_by_language.get(name, 0))
        for name, files in islice(joined.files_by_language.items(), LANGUAGES_SHOWN)
    ]
    lengths = [
        Length(title, unit, of, found, describe(found, of))
        for name, (title, unit, of) in _OF_REPOSITORIES.items()
        if (found := summary.histograms.get(name))
    ]
    several = joined.in_several
    return RepositoriesView(
        numbers=numbers,
        names=joined.names,
        in_several=in_several_text(several),
        advice=ADVICE if several.in_several else None,
        places=_counted(joined.places, total, PLACES),
        languages=languages,
        lengths=lengths,
    )


def _longer(summary: Summary) -> Iterator[LongDocuments]:
    rearranged = summary.histograms.get("rearranged_tokens")
    if rearranged and rearranged.count:
        for sequence, longer in summary.longer.items():
            share, token_share = longer.documents / rearranged.count, longer.tokens / rearranged.sum
            yield LongDocuments(sequence, longer.documents, share, longer.tokens, token_share)


def _seen(rates: EffectiveRates) -> Iterator[SeenWhole]:
    for way in WAYS if rates.files else ():
        shares = {
            length: rates.shares(seen)
            | {"whole_tokens": _share(seen.whole_tokens, rates.file_tokens)}
            for length, seen in rates.ways[way.name].items()
        }
        yield SeenWhole(way, shares)


def _stages(gathered: Gathered) -> Iterator[StageTime]:
    """What each stage took, and its speed: tokens of the last one, characters of the others."""
    totals, made = gathered.summary.totals, gathered.made
    *_, last = made.seconds
    for stage, seconds in made.seconds.items():
        count, unit = (totals.tokens, "tokens") if stage == last else (totals.chars, "characters")
        rate = f"{count / seconds:,.0f} {unit} a second" if seconds else "–"
        engines = made.engines[stage].most_common()
        named = [f"{e} ({plural(n, 'partition')})" if len(engines) > 1 else e for e, n in engines]
        yield StageTime(stage, seconds, rate, named)


def _share(part: int, total: int) -> float:
    return part / total if total else 0.0


def describe(lengths: Histogram, of: str) -> str:
    """Count, mean, the median's bin and the largest of a distribution `of` things, as text."""
    if lengths.max is None or lengths.min is None:
        return f"no {of}"
    rank = (lengths.count - 1) // 2
    low = high = below = 0
    for edge, n in lengths.bins.items():
        low, high = edge, EDGES[EDGES.index(edge) + 1] - 1
        below += n
        if below > rank:
            break
    low, high = max(low, lengths.min), min(high, lengths.max)
    median = f"{low:,}" if low == high else f"{low:,}–{high:,}"
    mean = f"{lengths.sum / lengths.count:,.0f}"
    return f"{plural(lengths.count, of)}; mean {mean}, median {median}, longest {lengths.max:,}"
