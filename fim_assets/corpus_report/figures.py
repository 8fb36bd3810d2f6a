"""The page's figures: which charts it has, and what stands above each of them.

How a chart is made of numbers stands in `charts`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from fim_assets.corpus_report import charts
from fim_assets.corpus_report.gather import Partition
from fim_assets.corpus_report.templates import percent
from fim_assets.corpus_report.view import (
    Counted,
    Language,
    Length,
    ReportView,
    SeenWhole,
    rate_titles,
)
from fim_assets.statistics.rates import Rate
from fim_assets.wording import NO_LANGUAGE, escape_to_one_line, one_line, plural, several

PARTITIONS_NAMED = 12
"""More partitions than these have no names in the chart of their tokens."""

_LANGUAGES_DRAWN = 25
_LABEL_CHARS = 20

_CUTS = {
    "first_cut": ("First cut", "between prefix and middle"),
    "second_cut": ("Second cut", "between middle and suffix"),
}


@dataclass(frozen=True)
class Figure:
    """A chart and its captions."""

    title: str
    caption: str
    svg: Markup
    wide: bool = False


def make_figures(view: ReportView) -> dict[str, list[Figure]]:
    """All figures by group; those of lengths have the names of `view.lengths`."""
    return {
        "shares": list(_shares(view.rows)),
        "partitions": list(_partitions(view.rows)),
        "languages": list(_language_rates(view.summary.tested_languages)),
        "orders": list(_orders(view.orders, view.summary.totals.files)),
        "cuts": list(_cuts(view.summary.cuts)),
        "seen": list(_seen(view.seen, view.summary.effective_rates.chosen_length)),
        "tokens": list(_tokens(view.languages)),
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
        if rates:
            outside = sum(not rate.within for rate in rates)
            beyond = f"{outside:,}" if outside else "none"
            caption = f"{plural(len(rows), 'partition')}, {beyond} outside bounds"
            yield Figure(title, caption, charts.realised_shares(rates), charts.is_wide(len(rows)))


def _partitions(rows: Sequence[Partition]) -> Iterator[Figure]:
    counts = [row.totals.tokens for row in rows]
    if not counts:
        return
    caption = f"{min(counts):,} to {max(counts):,}, mean {sum(counts) / len(counts):,.0f}"
    if len(rows) > PARTITIONS_NAMED:
        chart = charts.partition_tokens(counts)
    else:
        bars = zip(rows, counts, strict=True)
        chart = charts.amounts([charts.Amount(_ends(row.key), n, f"{n:,}") for row, n in bars])
    yield Figure("Tokens a partition", caption, chart, charts.is_wide(len(rows)))


def _language_rates(languages: Mapping[str, Mapping[str, Rate]]) -> Iterator[Figure]:
    tested = ((name, rates["fim_rate"]) for name, rates in languages.items())
    rates = [(name, rate) for name, rate in tested if rate.trials]
    if not rates:
        return
    within = sum(rate.within for _, rate in rates)
    few = sum(not rate.can_fail for _, rate in rates)
    caption = f"{within:,} of {plural(len(rates), 'language')} within bounds"
    caption += f", {few:,} of them with too few files for any bound" if few else ""
    if len(rates) > _LANGUAGES_DRAWN:
        caption += f"; the {_LANGUAGES_DRAWN} with most documents are drawn"
    drawn = [(_label(name), rate) for name, rate in rates[:_LANGUAGES_DRAWN]]
    yield Figure("Files rearranged, by language", caption, charts.language_rates(drawn))


def _orders(orders: Sequence[Counted], files: int) -> Iterator[Figure]:
    colours = {"PSM": "accent", "SPM": "second"}
    shares = "; ".join(f"{order.name} {percent(order.share)}" for order in orders)
    bars = [
        _amount(name.replace("_", " "), number, share, colours.get(name, "muted"))
        for name, number, share, _ in orders
    ]
    yield Figure("Orders", f"Of {plural(files, 'file')}: {shares}", charts.amounts(bars))


def _lengths(lengths: Sequence[Length]) -> Iterator[Figure]:
    longest = max(length.lengths.max or 0 for length in lengths)
    for title, unit, of, histogram, text in lengths:
        yield Figure(title, text, charts.length_distribution(histogram, unit, several(of), longest))


def _cuts(cuts: Mapping[str, Mapping[int, int]]) -> Iterator[Figure]:
    most = max((n for counts in cuts.values() for n in counts.values()), default=0)
    for name, (title, where) in _CUTS.items():
        counts = cuts[name]
        total = sum(counts.values())
        if total:
            first_half = sum(n for edge, n in counts.items() if edge < 50)
            caption = f"{where}: {percent(first_half / total)} in the first half of the file"
            yield Figure(title, caption, charts.cut_positions(counts, most))


def _seen(ways: Sequence[SeenWhole], length: int) -> Iterator[Figure]:
    for way, shares in ways:
        whole = {sequence: its["whole"] for sequence, its in shares.items()}
        caption = f"{percent(whole[length])} at S = {length:,}. An instance is {way.text}: "
        caption += way.trainers
        yield Figure(way.title, caption, charts.whole_shares(whole, length))


def _tokens(languages: Sequence[Language]) -> Iterator[Figure]:
    most = sorted(languages, key=lambda language: -language.tokens)[:_LANGUAGES_DRAWN]
    if most:
        bars = [_amount(_label(name), tokens, share) for name, _, tokens, share in most]
        caption = f"most in {_label(most[0].name)}, {percent(most[0].share)} of all"
        yield Figure("Tokens by language", caption, charts.amounts(bars))


def _amount(name: str, number: int, share: float, colour: str = "accent") -> charts.Amount:
    return charts.Amount(name, number, f"{number:,} · {percent(share)}", colour)


def _label(language: str) -> str:
    return one_line(language, _LABEL_CHARS) or NO_LANGUAGE


def _ends(key: str) -> str:
    """A partition's key as a label: of a long one both ends."""
    half = _LABEL_CHARS // 2
    shown = key if len(key) <= _LABEL_CHARS else f"{key[:half]}…{key[1 - half :]}"
    return escape_to_one_line(shown)
