"""Numbers to charts, which `drawing` makes SVG whose colours are the page's CSS variables.

One SVG serves light and dark: the page that holds it defines `--accent`, `--alarm`, `--band`,
`--fg`, `--grid`, `--muted` and `--second`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fim_assets.corpus_report.drawing import Chart
from fim_assets.io.machine_folders import some_home
from fim_assets.statistics.histograms import Histogram
from fim_assets.statistics.rates import Rate

with some_home():  # Altair looks for one when it is imported, for data sets that nobody asks for
    import altair as alt

_WIDTH, _FULL_WIDTH, _LENGTHS_WIDTH = 300, 960, 205
_SHARES_HEIGHT, _LENGTHS_HEIGHT, _CUTS_HEIGHT = 200, 140, 150
_ROW, _LABEL, _AMOUNT = 22, 160, 120
_GAP = 0.06
_BARS_FOR_FEW_LABELS = _PARTITIONS_ALL_LABELLED = 12
_PARTITIONS_NARROW = 60
_UNITS = ("", "k", "M", "G")
_VALUES = alt.NamedData("values")
_COUNTS = alt.Axis(
    format="~s", tickMinStep=1, tickCount=4, labelExpr="datum.value ? datum.label : '0'"
)


def length_distribution(lengths: Histogram, unit: str, counted: str, longest: int = 0) -> Chart:
    """Draw a histogram, one bar a doubling, so that the axis is a logarithmic one.

    The two bins of a doubling are drawn as one: they are not alike in width there, so that bars of
    their own would rise and fall by turns. The axes are titled `unit` and `counted`; the horizontal
    one reaches `longest` at least, so that several charts share it.
    """
    end = max(longest, lengths.max or 0).bit_length() + 1
    labels = _length_labels(end)
    counts: Counter[int] = Counter()
    for edge, n in lengths.bins.items():
        counts[edge.bit_length()] += n
    x = alt.X("from:Q").title(unit).scale(domain=[0, end], nice=False)
    named = f"{labels}[datum.value]"
    x = x.axis(values=list(labels), labelExpr=named, grid=False, labelAlign="center")
    bars = _bars(dict(sorted(counts.items())), 1)
    return _columns(bars, x, alt.Y("count:Q").title(counted), _LENGTHS_WIDTH, _LENGTHS_HEIGHT)


def cut_positions(cuts: Mapping[int, int], most: int) -> Chart:
    """Draw where in their files the cuts fall, one bar a bin of equal width.

    `cuts` are counts by the bin's lower edge, in percent of the file's length; the vertical axis
    reaches `most`, so that two charts share it.
    """
    x = alt.X("from:Q").title("share of the file's length").scale(domain=[0, 100], nice=False)
    x = x.axis(values=[0, 25, 50, 75, 100], labelExpr="datum.value + '%'", grid=False)
    y = alt.Y("count:Q").title("files").scale(domain=[0, max(most, 1)])
    return _columns(_bars(cuts, 100 / len(cuts)), x, y, _WIDTH, _CUTS_HEIGHT)


def partition_tokens(tokens: Sequence[int]) -> Chart:
    """Draw the tokens of partitions, one bar each, in order; as wide as `realised_shares`."""
    gap = _GAP if len(tokens) <= _PARTITIONS_NARROW else 0
    bars = _bars({n - 0.5: count for n, count in enumerate(tokens, start=1)}, 1, gap)
    x, y = _partition_axis(len(tokens)), alt.Y("count:Q").title("tokens")
    width = _partitions_width(len(tokens))
    # The stroke closes the hairlines between bars of a fraction of a pixel.
    stroke = {"stroke": "var(--accent)", "strokeWidth": 0 if gap else 0.5}
    return _columns(bars, x, y, width, _SHARES_HEIGHT, **stroke)


def _bars(
    counts: Mapping[int, int] | Mapping[float, int], width: float, gap: float = _GAP
) -> list[dict[str, float]]:
    """Bars by their left end, between gaps that are a share of their width."""
    return [
        {"from": left + gap * width, "to": left + width - gap * width, "count": count}
        for left, count in counts.items()
    ]


def _columns(
    bars: list[dict[str, float]], x: alt.X, y: alt.Y, width: float, height: float, **mark: Any
) -> Chart:
    chart = alt.Chart(_VALUES).mark_rect(color="var(--accent)", **mark)
    chart = chart.encode(x=x, x2="to:Q", y=y.axis(_COUNTS), y2=alt.datum(0))
    return _specified(chart.properties(width=width, height=height), bars)


class Amount(NamedTuple):
    """A bar, with its name before it, text behind it, and one of the page's colours."""

    name: str
    size: int
    text: str
    colour: str = "accent"


def amounts(bars: Sequence[Amount]) -> Chart:
    """Draw some numbers as bars below one another, in order; the caller shortens names."""
    values = [
        {**bar._asdict(), "colour": f"var(--{bar.colour})", **_row(row, 0.18)}
        for row, bar in enumerate(bars)
    ]
    longest = max((bar.size for bar in bars), default=0)
    x = alt.X("size:Q").scale(domain=[0, max(longest, 1)], nice=False).axis(None)
    base = alt.Chart(_VALUES)
    colour = alt.Color("colour:N").scale(None)
    rows = base.mark_rect()
    rows = rows.encode(x=x, x2=alt.datum(0), y=_rows_axis(values), y2="to:Q", color=colour)
    text = base.mark_text(align="left", dx=6, color="var(--muted)", fontSize=12)
    text = text.encode(x=x, y=alt.Y("middle:Q"), text="text:N")
    return _of_rows(rows + _names(base) + text, 2 * _WIDTH - _LABEL - _AMOUNT, values)


def language_rates(rates: Sequence[tuple[str, Rate]]) -> Chart:
    """Draw each language's realised share on its accepted bounds, with a tick at the asked one.

    Shares outside their bounds are triangles in another colour. The caller shortens the languages'
    names; all rates have trials.
    """
    values = [
        {"name": name, **_row(row, 0.22), **_shares(rate)} for row, (name, rate) in enumerate(rates)
    ]
    base = alt.Chart(_VALUES)
    x = alt.X("low:Q").title("share of files rearranged").scale(domain=[0, 1], nice=False)
    x = x.axis(format=".0%", tickCount=5)
    bounds = base.mark_rect(color="var(--band)", stroke="var(--accent)", strokeWidth=0.5)
    bounds = bounds.encode(x=x, x2="high:Q", y=_rows_axis(values), y2="to:Q")
    asked = base.mark_rule(color="var(--fg)", strokeWidth=1.5)
    asked = asked.encode(x="asked:Q", y="row:Q", y2="end:Q")
    points = _points(base, 55).encode(x="realised:Q", y="middle:Q")
    return _of_rows(bounds + asked + points + _names(base), 2 * _WIDTH - _LABEL, values)


def _row(row: int, gap: float) -> dict[str, float]:
    """The ends of a row, and those of its bar."""
    ends = {"row": row, "middle": row + 0.5, "end": row + 1}
    return {**ends, "from": row + gap, "to": row + 1 - gap}


def _rows_axis(values: Sequence[object]) -> alt.Y:
    return alt.Y("from:Q").scale(domain=[max(len(values), 1), 0], nice=False).axis(None)


def _of_rows(layers: alt.LayerChart, width: int, values: list[dict[str, Any]]) -> Chart:
    return _specified(layers.properties(width=width, height=max(len(values), 1) * _ROW), values)


def _shares(rate: Rate) -> dict[str, Any]:
    low, high = rate.accepted or (0.0, 1.0)
    shown = rate.model_dump(include={"asked", "realised", "within"})
    return {**shown, "low": low, "high": high}


def _names(base: alt.Chart) -> alt.Chart:
    """The rows' names as marks: as an axis they would have to differ."""
    text = base.mark_text(align="right", dx=-8, color="var(--fg)", fontSize=12)
    names: alt.Chart = text.encode(x=alt.value(0), y="middle:Q", text="name:N")
    return names


def _points(base: alt.Chart, size: float) -> alt.Chart:
    """Realised shares: circles, or triangles in another colour outside their bounds."""
    points: alt.Chart = base.mark_point(filled=True, opacity=1, size=size).encode(
        color=alt.condition("datum.within", alt.value("var(--accent)"), alt.value("var(--alarm)")),
        shape=alt.condition("datum.within", alt.value("circle"), alt.value("triangle-up")),
    )
    return points


def is_wide(partitions: int) -> bool:
    """Whether the charts of so many partitions take the page's whole width."""
    return partitions > _PARTITIONS_NARROW


def _partitions_width(partitions: int) -> int:
    return _FULL_WIDTH if is_wide(partitions) else _WIDTH


def _partition_axis(partitions: int) -> alt.X:
    # Vega would put ticks between the few partitions.
    few = partitions <= _PARTITIONS_ALL_LABELLED
    values = list(range(1, partitions + 1)) if few else alt.Undefined
    x = alt.X("from:Q").title("partition, in the table's order")
    x = x.scale(domain=[0.5, max(partitions, 1) + 0.5], nice=False)
    return x.axis(grid=False, format="d", values=values)


def realised_shares(rates: Sequence[Rate]) -> Chart:
    """Draw realised shares, a point each, on the accepted bounds as a band and a line at the asked.

    Where all ask for the same, the line is dashed and goes through. Points outside their bounds are
    triangles in another colour. Rates without trials have no share and leave a gap.
    """
    shares = [
        {"partition": n, "from": n - 0.5, "to": n + 0.5, **_shares(rate)}
        for n, rate in enumerate(rates, start=1)
        if rate.trials
    ]
    ends = [share[end] for share in shares for end in ("low", "high", "realised")]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    margin = max(0.05 * (high - low), 0.005)

    y = alt.Y("low:Q").title("share").axis(format=".1~%", tickCount=5)
    y = y.scale(domain=[max(low - margin, 0), min(high + margin, 1)], nice=False)
    base = alt.Chart(_VALUES)
    band = base.mark_rect(color="var(--band)", stroke="var(--band)", strokeWidth=0.5)
    band = band.encode(x=_partition_axis(len(rates)), x2="to:Q", y=y, y2="high:Q")
    if len({rate.asked for rate in rates}) <= 1:
        line = base.mark_rule(color="var(--fg)", strokeDash=[4, 3]).encode(y="min(asked):Q")
    else:
        line = base.mark_rule(color="var(--fg)").encode(x="from:Q", x2="to:Q", y="asked:Q")
    size = min(60, max(10, 3000 // max(len(rates), 1)))
    points = _points(base, size).encode(x="partition:Q", y="realised:Q")
    width = _partitions_width(len(rates))
    return _specified((band + line + points).properties(width=width, height=_SHARES_HEIGHT), shares)


def _length_labels(bars: int) -> dict[int, str]:
    """Labels by the left end of the bars that have one: bar k begins at 2 ** (k - 1)."""
    step = 2 if bars <= _BARS_FOR_FEW_LABELS else 4
    return {bar: _binary(1 << (bar - 1)) for bar in range(1, bars + 1, step)}


def _binary(length: int) -> str:
    """A power of two in a few characters: 4096 is 4k."""
    power = min((length.bit_length() - 1) // 10, len(_UNITS) - 1)
    return f"{length >> (10 * power)}{_UNITS[power]}"


def _specified(chart: alt.Chart | alt.LayerChart, values: list[dict[str, Any]]) -> Chart:
    """Specify a chart of `_VALUES`; Altair, which copies data at each step, is not given them."""
    text = {"labelColor": "var(--muted)", "titleColor": "var(--muted)", "titleFontWeight": "normal"}
    lines = {"gridColor": "var(--grid)", "domainColor": "var(--muted)", "tickColor": "var(--muted)"}
    specification: Chart = (
        chart.configure(background="transparent", font="inherit", aria=False)
        .configure_axis(labelFontSize=11, titleFontSize=12, titlePadding=8, **text, **lines)
        .configure_axisX(zindex=1)
        .configure_axisY(domain=False, ticks=False)
        .configure_view(stroke=None)
        .to_dict()
    )
    specification["datasets"] = {_VALUES.name: values}
    return specification
