"""The corpus as one page of HTML."""

import logging
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain, islice
from typing import Any, NamedTuple

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from pydantic import BaseModel

from fim_assets.corpus_report import charts
from fim_assets.corpus_report.drawing import Chart, DrawingError, draw
from fim_assets.corpus_report.examples import Examples
from fim_assets.corpus_report.facts import (
    CUT_POSITIONS,
    FILTERS,
    LENGTHS,
    ROWS_SHOWN,
    Entry,
    Language,
    describe,
    percent,
    rate_titles,
    template_text,
)
from fim_assets.corpus_report.summary import Gathered, Partition
from fim_assets.fim_shards.arrangements import Part
from fim_assets.preview.documents import DocumentPreview, FilePreview
from fim_assets.preview.excerpts import Excerpt, Limits, excerpt, how_cut, shown_files
from fim_assets.recipe import (
    Recipe,
    harmless_yaml,
)
from fim_assets.statistics.histograms import Histogram
from fim_assets.statistics.rates import Rate
from fim_assets.wording import (
    NO_LANGUAGE,
    escape_control_characters,
    escape_to_one_line,
    one_line,
    plural,
)

log = logging.getLogger(__name__)

_LANGUAGES_DRAWN = 25
_PARTITIONS_NAMED = 12
_LABEL_CHARS = 20

_EXAMPLE_LIMITS = Limits(files=2, lines=14, chars=1100)


@dataclass
class _Figure:
    """A chart and the words beside it; its SVG, None until it is drawn."""

    title: str
    caption: str
    chart: Chart
    wide: bool = False
    svg: Markup | None = None


class _ShownPiece(NamedTuple):
    """A sentinel, or a part and what is shown of it."""

    sentinel: str | None
    part: Part | None
    chars: int
    text: Excerpt


class _ShownFile(NamedTuple):
    """A file of an example."""

    file: FilePreview
    how: str
    pieces: list[_ShownPiece]


class _Example(NamedTuple):
    """A document of the page."""

    key: str
    document: DocumentPreview
    files: list[_ShownFile]
    omitted: int


def render_page(facts: Mapping[str, Any], gathered: Gathered, examples: Examples) -> str:
    """The page, one self-contained document of HTML."""
    summary, rows = gathered.summary, gathered.partitions
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_harmless,
    )
    environment.filters |= FILTERS | {"sha256": _sha256}
    template = environment.from_string(template_text("page.html.j2"))
    figures = {
        "share_figures": _share_figures(rows),
        "partition_figures": _partition_figures(rows),
        "language_figures": _language_figures(facts["languages_tested"]),
        "order_figures": _order_figures(facts["orders"], summary.totals.files),
        "cut_figures": _cut_figures(summary.cuts),
        "tokens_figures": _tokens_figures(facts["languages"]),
    }
    length_figures = _length_figures(summary.histograms)
    return template.render(
        facts,
        **figures,
        rows=rows,
        partitions_named=len(rows) <= _PARTITIONS_NAMED,
        length_figures=length_figures,
        not_drawn=_draw([*chain(*figures.values(), *length_figures.values())]),
        examples=[_example(key, document) for key, document in examples.documents],
        incomplete=list(summary.partitions.incomplete.items())[:ROWS_SHOWN],
        named_empty=ROWS_SHOWN,
        recipe_lines=list(_recipe_lines(summary.recipe, Recipe())),
    )


def _draw(figures: Sequence[_Figure]) -> str | None:
    """Draw the figures' charts; why that was not possible, None where it was."""
    try:
        svgs = draw([figure.chart for figure in figures])
    except DrawingError as error:
        log.warning("the report has no charts: %s", error)
        return str(error)
    for figure, svg in zip(figures, svgs, strict=True):
        # It may stand in the page as it is: Vega escapes the names in it, see `_label`.
        figure.svg = Markup(svg)  # noqa: S704 - see above
    return None


def _harmless(value: Any) -> Any:
    """What stands in the page: of text, nothing that is not seen but acts."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return escape_control_characters(value)
    return value


def _share_figures(rows: list[Partition]) -> list[_Figure]:
    wide = charts.is_wide(len(rows))
    figures = []
    for name, title in rate_titles().items():
        if rows and name in rows[0].rates:
            rates = [row.rates[name] for row in rows]
            outside = sum(not rate.within for rate in rates)
            beyond = f"{outside:,}" if outside else "none"
            caption = f"{plural(len(rows), 'partition')}, {beyond} outside bounds"
            figures.append(_Figure(title, caption, charts.realised_shares(rates), wide))
    return figures


def _partition_figures(rows: list[Partition]) -> list[_Figure]:
    tokens = {row.key: row.tokens.tokens or 0 for row in rows}
    if not tokens:
        return []
    counts = list(tokens.values())
    caption = f"{min(counts):,} to {max(counts):,}, mean {sum(counts) / len(counts):,.0f}"
    if len(rows) > _PARTITIONS_NAMED:
        chart = charts.partition_tokens(counts)
    else:
        chart = charts.amounts(
            [charts.Amount(_ends(key), n, f"{n:,}") for key, n in tokens.items()]
        )
    return [_Figure("Tokens a partition", caption, chart, charts.is_wide(len(rows)))]


def _language_figures(tested: Mapping[str, Mapping[str, Rate]]) -> list[_Figure]:
    rates = {name: its["fim_rate"] for name, its in tested.items() if its["fim_rate"].trials}
    if not rates:
        return []
    within = sum(rate.within for rate in rates.values())
    few = sum(not rate.can_fail for rate in rates.values())
    caption = f"{within:,} of {plural(len(rates), 'language')} within bounds"
    caption += f", {few:,} of them with too few files for any bound" if few else ""
    if len(rates) > _LANGUAGES_DRAWN:
        caption += f"; the {_LANGUAGES_DRAWN} with most documents are drawn"
    drawn = [(_label(name), rate) for name, rate in islice(rates.items(), _LANGUAGES_DRAWN)]
    return [_Figure("Files rearranged, by language", caption, charts.language_rates(drawn))]


def _order_figures(orders: list[Entry], files: int) -> list[_Figure]:
    colours = {"PSM": "accent", "SPM": "second"}
    words = "; ".join(f"{order.name} {percent(order.share)}" for order in orders)
    bars = [
        charts.Amount(
            order.name.replace("_", " "),
            order.number,
            f"{order.number:,} · {percent(order.share)}",
            colours.get(order.name, "muted"),
        )
        for order in orders
    ]
    return [_Figure("Orders", f"Of {plural(files, 'file')}: {words}", charts.amounts(bars))]


def _length_figures(histograms: Mapping[str, Histogram]) -> dict[str, list[_Figure]]:
    figures = {}
    for unit, those in LENGTHS.items():
        drawn = {name: histograms[name] for name in those if name in histograms}
        longest = max((lengths.max or 0 for lengths in drawn.values()), default=0)
        figures[unit] = [
            _Figure(
                title,
                describe(drawn[name], of),
                charts.length_distribution(drawn[name], axis, f"{of}s", longest),
            )
            for name, (title, axis, of) in those.items()
            if name in drawn
        ]
    return figures


def _cut_figures(cuts: Mapping[str, Mapping[int, int]]) -> list[_Figure]:
    most = max((n for places in cuts.values() for n in places.values()), default=0)
    figures = []
    for name, (title, where) in CUT_POSITIONS.items():
        places = cuts[name]
        total = sum(places.values())
        if not total:
            continue
        first_half = sum(n for place, n in places.items() if place < 50)
        caption = f"{where}: {percent(first_half / total)} in the first half of the file"
        figures.append(_Figure(title, caption, charts.cut_places(places, most)))
    return figures


def _tokens_figures(languages: Sequence[Language]) -> list[_Figure]:
    most = sorted(languages, key=lambda its: -its.tokens)[:_LANGUAGES_DRAWN]
    if not most:
        return []
    bars = [
        charts.Amount(_label(its.name), its.tokens, f"{its.tokens:,} · {percent(its.share)}")
        for its in most
    ]
    caption = f"most in {_label(most[0].name)}, {percent(most[0].share)} of all"
    return [_Figure("Tokens by language", caption, charts.amounts(bars))]


def _label(language: str) -> str:
    return one_line(language, _LABEL_CHARS) or NO_LANGUAGE


def _ends(key: str) -> str:
    """A partition's key as a label: of a long one both ends."""
    half = _LABEL_CHARS // 2
    return escape_to_one_line(
        key if len(key) <= _LABEL_CHARS else f"{key[:half]}…{key[1 - half :]}"
    )


def _example(key: str, document: DocumentPreview) -> _Example:
    shown = shown_files(document.files, _EXAMPLE_LIMITS.files)
    return _Example(
        key,
        document,
        [_ShownFile(file, how_cut(file), list(_pieces(file))) for file in shown],
        len(document.files) - len(shown),
    )


def _pieces(file: FilePreview) -> Iterator[_ShownPiece]:
    if not file.pieces:
        yield _ShownPiece(None, None, len(file.text), excerpt(file.text, _EXAMPLE_LIMITS))
    for piece in file.pieces:
        sentinel = piece.text if piece.part is None else None
        text = excerpt("" if sentinel else piece.text, _EXAMPLE_LIMITS)
        yield _ShownPiece(sentinel, piece.part, len(piece.text), text)


def _recipe_lines(
    recipe: BaseModel, default: BaseModel, indent: str = ""
) -> Iterator[tuple[str, bool]]:
    """A recipe's lines as YAML, and whether each differs from the default's."""
    for name in type(recipe).model_fields:
        value, other = getattr(recipe, name), getattr(default, name)
        if type(value) is type(other) and isinstance(value, BaseModel) and name in _SECTIONS:
            yield f"{indent}{name}:", False
            yield from _recipe_lines(value, other, f"{indent}  ")
            continue
        content = recipe.model_dump(mode="json", include={name})
        for line in harmless_yaml(content).splitlines():
            yield f"{indent}{line}", value != other


_SECTIONS = ("raw", "fim", "tokens", "tokenizer")


def _sha256(content: str) -> str:
    """A Content-Security-Policy source for an inline style."""
    return f"sha256-{b64encode(sha256(content.encode()).digest()).decode()}"
