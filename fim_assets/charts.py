"""Numbers to pictures: static SVG whose colours are the page's CSS variables.

One SVG serves light and dark: the page that holds it defines `--accent`, `--alarm`, `--band`,
`--fg`, `--grid` and `--muted`.
"""

from collections.abc import Sequence
from typing import Any

import altair as alt
import vl_convert

from fim_assets.receipts import Histogram
from fim_assets.stats import EDGES, Rate

_WIDTH = 300
_LENGTHS_HEIGHT = 150
_GAP = 0.06
_SHARES_HEIGHT = 200
_BINS_FOR_FEW_LABELS = 24
_PARTITIONS_ALL_LABELLED = 12
_UNITS = ("", "k", "M", "G")


def length_distribution(lengths: Histogram, unit: str, counted: str, longest: int = 0) -> str:
    """Draw a histogram, one bar a bin: with two bins a doubling, the axis is nearly a log axis.

    Args:
        lengths: The distribution.
        unit: What a length is counted in, the title of the horizontal axis.
        counted: What has a length, the title of the vertical axis.
        longest: Length that the axis must reach, so that several charts share one axis.

    Returns:
        An SVG element.
    """
    bins = _bin_of(max(longest, lengths.max or 0)) + 1
    labels = _length_labels(bins)
    bars = [
        {"from": place + _GAP, "to": place + 1 - _GAP, "count": lengths.bins[edge]}
        for place, edge in enumerate(EDGES[:bins])
        if edge in lengths.bins
    ]
    chart = (
        alt.Chart({"values": bars})
        .mark_rect(color="var(--accent)")
        .encode(
            x=alt.X("from:Q")
            .title(unit)
            .scale(domain=[0, bins], nice=False)
            .axis(
                values=list(labels),
                labelExpr=f"{labels}[datum.value]",
                grid=False,
                labelAlign="center",
            ),
            x2="to:Q",
            y=alt.Y("count:Q").title(counted).axis(format="~s", tickMinStep=1, tickCount=4),
            y2=alt.datum(0),
        )
        .properties(width=_WIDTH, height=_LENGTHS_HEIGHT)
    )
    return _svg(chart)


def realised_shares(rates: Sequence[Rate]) -> str:
    """Draw realised shares, a point each, on the accepted bounds as a band and a line at the asked.

    Points outside their bounds are triangles in another colour. Rates without trials have no share
    and leave a gap.

    Args:
        rates: One rate a partition, all with the same probability asked for.

    Returns:
        An SVG element.
    """
    shares = [
        {
            "place": place,
            "from": place - 0.5,
            "to": place + 0.5,
            "low": rate.low / rate.trials,
            "high": rate.high / rate.trials,
            "realised": rate.hits / rate.trials,
            "within": rate.within,
        }
        for place, rate in enumerate(rates, start=1)
        if rate.trials
    ]
    asked = [{"asked": probability} for probability in sorted({rate.asked for rate in rates})]
    ends = [share[end] for share in shares for end in ("low", "high", "realised")]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    margin = max(0.05 * (high - low), 0.005)

    # Vega would put ticks between the few partitions.
    ticks = list(range(1, len(rates) + 1)) if len(rates) <= _PARTITIONS_ALL_LABELLED else None
    x_axis = alt.Axis(grid=False, format="d", values=ticks or alt.Undefined)
    x_scale = alt.Scale(domain=[0.5, max(len(rates), 1) + 0.5], nice=False)
    y_scale = alt.Scale(domain=[max(low - margin, 0), min(high + margin, 1)], nice=False)
    band = (
        alt.Chart({"values": shares})
        .mark_rect(color="var(--band)", stroke="var(--band)", strokeWidth=0.5)
        .encode(
            x=alt.X("from:Q").title("partition, in the table's order").scale(x_scale).axis(x_axis),
            x2="to:Q",
            y=alt.Y("low:Q").title("share").scale(y_scale).axis(format=".1~%", tickCount=5),
            y2="high:Q",
        )
    )
    line = (
        alt.Chart({"values": asked})
        .mark_rule(color="var(--fg)", strokeDash=[4, 3])
        .encode(y="asked:Q")
    )
    points = (
        alt.Chart({"values": shares})
        .mark_point(filled=True, opacity=1, size=min(60, max(10, 3000 // max(len(rates), 1))))
        .encode(
            x="place:Q",
            y="realised:Q",
            color=alt.condition(
                "datum.within", alt.value("var(--accent)"), alt.value("var(--alarm)")
            ),
            shape=alt.condition("datum.within", alt.value("circle"), alt.value("triangle-up")),
        )
    )
    return _svg((band + line + points).properties(width=_WIDTH, height=_SHARES_HEIGHT))


def _bin_of(length: int) -> int:
    return sum(edge <= length for edge in EDGES) - 1


def _length_labels(bins: int) -> dict[int, str]:
    base = 4 if bins <= _BINS_FOR_FEW_LABELS else 16
    labels = {}
    length = 1
    while length in EDGES and EDGES.index(length) <= bins:
        labels[EDGES.index(length)] = _binary(length)
        length *= base
    return labels


def _binary(length: int) -> str:
    """A power of two in a few characters: 4096 is 4k."""
    power = min((length.bit_length() - 1) // 10, len(_UNITS) - 1)
    return f"{length >> (10 * power)}{_UNITS[power]}"


def _svg(chart: alt.Chart | alt.LayerChart) -> str:
    text = {"labelColor": "var(--muted)", "titleColor": "var(--muted)", "titleFontWeight": "normal"}
    lines = {"gridColor": "var(--grid)", "domainColor": "var(--muted)", "tickColor": "var(--muted)"}
    specification: dict[str, Any] = (
        chart.configure(background="transparent", font="inherit", aria=False)
        .configure_axis(labelFontSize=11, titleFontSize=12, titlePadding=8, **text, **lines)
        .configure_axisX(zindex=1)
        .configure_axisY(domain=False, ticks=False)
        .configure_view(stroke=None)
        .to_dict()
    )
    svg: str = vl_convert.vegalite_to_svg(specification, allowed_base_urls=[])
    return svg
