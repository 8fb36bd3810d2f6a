"""The page's figures: which charts it has, and what stands above each of them.

How a chart is made of numbers stands in `charts`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

from fim_assets.corpus_report import charts
from fim_assets.corpus_report.gather import Partition
from fim_assets.corpus_report.numbers import Length
from fim_assets.corpus_report.templates import percent
from fim_assets.corpus_report.view import ReportView, SeenWhole, rate_titles
from fim_assets.statistics.rates import Rate
from fim_assets.wording import NO_LANGUAGE, one_line, plural, several

_PARTITIONS_DRAWN = 13
"""Of fewer partitions, the bars in their table show the tokens."""

_LANGUAGES_DRAWN = 25
_LABEL_CHARS = 20

_CUTS = {
    "first_cut": ("First cut", "between prefix and middle"),
    "second_cut": ("Second cut", "between middle and suffix"),
}


class Figure(NamedTuple):
    """A chart and what stands above it: a title, and a caption behind the number that matters."""

    title: str
    number: str
    caption: str
    svg: Markup
    wide: bool = False


def make_figures(view: ReportView) -> dict[str, list[Figure]]:
    """All figures by group; those of lengths have the names of `view.lengths`."""
    seen = [*_seen(view.seen, view.summary.effective_rates.chosen_length)]
    return {
        "shares": list(_shares(view.rows)),
        "partitions": list(_partitions(view.rows)),
        "languages": list(_language_rates(view.judged)),
        "cuts": list(_cuts(view.summary.cuts)),
        "seen": seen[: view.own_ways],
        "seen_by_others": seen[view.own_ways :],
        "repositories": [
            figure
            for length in (view.repositories.lengths if view.repositories else ())
            for figure in _lengths([length])
        ],
        **{group: list(_lengths(lengths)) for group, lengths in view.lengths.items()},
    }


def _shares(rows: Sequence[Partition]) -> Iterator[Figure]:
    for name, title in rate_titles().items():
        rates = [row.counts.rates[name] for row in rows if name in row.counts.rates]
        if any(rate.trials for rate in rates):
            outside = sum(not rate.within for rate in rates)
            beyond = f"{outside:,}" if outside else "none"
            caption = f" of {plural(len(rows), 'partition')} outside bounds"
            chart = charts.realised_shares(rates)
            yield Figure(title, beyond, caption, chart, charts.is_wide(len(rows)))


def _partitions(rows: Sequence[Partition]) -> Iterator[Figure]:
    counts = [row.totals.tokens for row in rows]
    if len(counts) >= _PARTITIONS_DRAWN:
        mean = f"mean {sum(counts) / len(counts):,.0f}"
        caption = f", from {min(counts):,} to {max(counts):,}"
        chart = charts.partition_tokens(counts)
        yield Figure("Tokens a partition", mean, caption, chart, charts.is_wide(len(rows)))


def _language_rates(judged: Mapping[str, Mapping[str, Rate]]) -> Iterator[Figure]:
    rates = [(_label(name), its["fim_rate"]) for name, its in judged.items()]
    if rates:
        within = sum(rate.within for _, rate in rates)
        caption = f" of {plural(len(rates), 'language')} within bounds"
        if len(rates) > _LANGUAGES_DRAWN:
            caption += f"; the {_LANGUAGES_DRAWN} with most documents are drawn"
        chart = charts.language_rates(rates[:_LANGUAGES_DRAWN])
        yield Figure("Files rearranged", f"{within:,}", caption, chart)


def _lengths(lengths: Sequence[Length]) -> Iterator[Figure]:
    longest = max(length.lengths.max or 0 for length in lengths)
    for title, unit, of, histogram, median, text in lengths:
        chart = charts.length_distribution(histogram, unit, several(of), longest)
        yield Figure(title, f"median {median}", f"; {text}", chart)


def _cuts(cuts: Mapping[str, Mapping[int, int]]) -> Iterator[Figure]:
    most = max((n for counts in cuts.values() for n in counts.values()), default=0)
    for name, (title, where) in _CUTS.items():
        counts = cuts[name]
        total = sum(counts.values())
        if total:
            first_half = percent(sum(n for edge, n in counts.items() if edge < 50) / total)
            caption = f" in the first half of the file; {where}"
            yield Figure(title, first_half, caption, charts.cut_positions(counts, most))


def _seen(ways: Sequence[SeenWhole], length: int) -> Iterator[Figure]:
    for way, shares in ways:
        whole = {sequence: its["whole"] for sequence, its in shares.items()}
        caption = f" at S = {length:,}. An instance is {way.text}: {way.trainers}"
        chart = charts.whole_shares(whole, length)
        yield Figure(way.title, percent(whole[length]), caption, chart)


def _label(language: str) -> str:
    return one_line(language, _LABEL_CHARS) or NO_LANGUAGE
