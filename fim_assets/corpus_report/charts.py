"""Numbers to charts, each an SVG element."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import count as powers
from itertools import takewhile
from math import ceil, log2

from markupsafe import Markup
from rich.cells import cell_len

from fim_assets.corpus_report.drawing import (
    Ends,
    Margins,
    Plot,
    round_step,
    round_values,
)
from fim_assets.statistics.histograms import Histogram
from fim_assets.statistics.rates import Rate
from fim_assets.wording import short_number

_WIDTH, _FULL_WIDTH, _LENGTHS_WIDTH, _SEQUENCES_WIDTH = 300, 960, 230, 290
_SHARES_HEIGHT, _LENGTHS_HEIGHT, _CUTS_HEIGHT = 200, 140, 150
_ROW, _ROWS_WIDTH, _NAMES_WIDTH_AT_MOST = 22, 600, 200
_CELL = 8  # a letter's width, but for the widest
_GAP = 0.06
_PARTITIONS_ALL_LABELLED = 12
_BARS_FOR_EVERY_LABEL = 14
_PARTITIONS_NARROW = 60


def length_distribution(lengths: Histogram, unit: str, counted: str, longest: int = 0) -> Markup:
    """Draw a histogram, one bar a doubling, so that the axis is a logarithmic one.

    The two bins of a doubling are drawn as one: they are not alike in width there, so that bars of
    their own would rise and fall by turns. The axes are titled `unit` and `counted`; the horizontal
    one reaches `longest` at least, so that several charts share it. A line stands at the median.
    """
    end = max(longest, lengths.max or 0).bit_length() + 1
    counts: Counter[int] = Counter()
    for edge, n in lengths.bins.items():
        counts[edge.bit_length()] += n
    plot = _counts_plot(_LENGTHS_WIDTH, _LENGTHS_HEIGHT, (0, end), counts.values(), counted)
    _add_bars(plot, counts, 1)
    if median := lengths.quantile(50):
        plot.rule(log2(median.about + 0.5) + 1)
    plot.x_axis(unit, _length_labels(end))
    return plot.svg()


def cut_positions(cuts: Mapping[int, int], most: int) -> Markup:
    """Draw where in their files the cuts fall, one bar a bin of equal width.

    `cuts` are counts by the bin's lower edge, in percent of the file's length; the vertical axis
    reaches `most`, so that two charts share it.
    """
    plot = _counts_plot(_WIDTH, _CUTS_HEIGHT, (0, 100), [most], "files")
    _add_bars(plot, cuts, 100 / len(cuts))
    plot.x_axis("share of the file's length", {edge: f"{edge}%" for edge in range(0, 101, 25)})
    return plot.svg()


def whole_shares(shares: Mapping[int, float], chosen: int) -> Markup:
    """Draw the share of files that is seen whole, one bar a sequence length, all on one axis.

    Above a bar stands its share, as all or none only where it is. The `chosen` length stands out.
    """
    plot = Plot(_SEQUENCES_WIDTH, _LENGTHS_HEIGHT, (0, len(shares)), (0, 1), Margins(top=20))
    plot.y_axis("share of files", {n: _percent(n) for n in round_values(0, 1, 0.25)})
    for bar, (length, share) in enumerate(shares.items()):
        colour = "accent" if length == chosen else "band"
        plot.box((bar + _GAP, bar + 1 - _GAP), (0, share), colour, "accent")
        plot.text_above(bar + 0.5, share, _whole_percent(share))
    plot.x_axis("sequence length", {n + 0.5: f"{size:,}" for n, size in enumerate(shares)})
    return plot.svg()


def _whole_percent(share: float) -> str:
    if 0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 <= share < 1 else f"{share:.0%}"


def partition_tokens(tokens: Sequence[int]) -> Markup:
    """Draw the tokens of partitions, one bar each, in order; as wide as `realised_shares`."""
    width, ends = _partitions_width(len(tokens)), _partition_ends(len(tokens))
    plot = _counts_plot(width, _SHARES_HEIGHT, ends, tokens, "tokens")
    bars = {n - 0.5: count for n, count in enumerate(tokens, start=1)}
    _add_bars(plot, bars, 1, _GAP if len(tokens) <= _PARTITIONS_NARROW else 0)
    _add_partition_axis(plot, len(tokens))
    return plot.svg()


def _counts_plot(width: int, height: int, x: Ends, counts: Iterable[int], counted: str) -> Plot:
    """A plot whose vertical axis counts from 0 to a tick that no count exceeds."""
    most = max([1, *counts])
    step = max(round_step(most, 4), 1)
    values = round_values(0, ceil(most / step) * step, step)
    plot = Plot(width, height, x, (0, values[-1]))
    plot.y_axis(counted, {value: short_number(value) for value in values})
    return plot


def _add_bars(
    plot: Plot, counts: Mapping[int, int] | Mapping[float, int], width: float, gap: float = _GAP
) -> None:
    """Add bars by their left end, between gaps that are a share of their width."""
    for left, count in counts.items():
        plot.box((left + gap * width, left + width - gap * width), (0, count), "accent", "accent")


def language_rates(rates: Sequence[tuple[str, Rate]]) -> Markup:
    """Draw each language's realised share on its accepted bounds, with a line at the asked one.

    Shares outside their bounds are triangles in another colour. The caller shortens the languages'
    names; all rates have trials.
    """
    longest = max(cell_len(name) for name, _ in rates)
    margins = Margins(left=min((longest + 1) * _CELL, _NAMES_WIDTH_AT_MOST), right=22)
    width = _ROWS_WIDTH - margins.left - margins.right
    plot = Plot(width, len(rates) * _ROW, (0, 1), (len(rates), 0), margins)
    shares = {value: _percent(value) for value in round_values(0, 1, 0.2)}
    plot.x_axis("share of files rearranged", shares, grid=True)
    for row, (name, rate) in enumerate(rates):
        plot.text_before(0, row + 0.5, name)
        plot.box(rate.accepted or (0, 1), (row + 0.22, row + 0.78), "band", "accent")
        plot.line((rate.asked, rate.asked), (row, row + 1))
        plot.point(rate.realised or 0, row + 0.5, 55, alarm=not rate.within)
    return plot.svg()


def is_wide(partitions: int) -> bool:
    """Whether the charts of so many partitions take the page's whole width."""
    return partitions > _PARTITIONS_NARROW


def _partitions_width(partitions: int) -> int:
    return _FULL_WIDTH if is_wide(partitions) else _WIDTH


def _partition_ends(partitions: int) -> Ends:
    return 0.5, max(partitions, 1) + 0.5


def _add_partition_axis(plot: Plot, partitions: int) -> None:
    few = partitions <= _PARTITIONS_ALL_LABELLED
    step = 1 if few else round_step(partitions, 10)
    labels = {value: f"{value:g}" for value in round_values(1, partitions, step)}
    plot.x_axis("partition, in the table's order", labels)


def realised_shares(rates: Sequence[Rate]) -> Markup:
    """Draw realised shares, a point each, on the accepted bounds as a band and a line at the asked.

    Where all ask for the same, the line is dashed and goes through. Points outside their bounds are
    triangles in another colour. Rates without trials have no share and leave a gap.
    """
    shares = [(n, rate, rate.accepted) for n, rate in enumerate(rates, start=1) if rate.accepted]
    ends = [end for _, rate, bounds in shares for end in (*bounds, rate.realised or 0)]
    low, high = min(ends, default=0), max(ends, default=1)
    margin = max(0.05 * (high - low), 0.005)
    low, high = max(low - margin, 0), min(high + margin, 1)
    whole = _partition_ends(len(rates))
    plot = Plot(_partitions_width(len(rates)), _SHARES_HEIGHT, whole, (low, high))
    values = round_values(low, high, round_step(high - low, 5))
    plot.y_axis("share", {value: _percent(value) for value in values})
    for n, _, bounds in shares:
        plot.box((n - 0.5, n + 0.5), bounds, "band", "band")
    alike = len({rate.asked for _, rate, _ in shares}) == 1
    for n, rate, _ in shares[: 1 if alike else None]:
        plot.line(whole if alike else (n - 0.5, n + 0.5), (rate.asked, rate.asked), dashed=alike)
    size = min(60, max(10, 3000 // max(len(rates), 1)))
    for n, rate, _ in shares:
        plot.point(n, rate.realised or 0, size, alarm=not rate.within)
    _add_partition_axis(plot, len(rates))
    return plot.svg()


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"


def _length_labels(bars: int) -> dict[float, str]:
    """Labels at 1, 10, 100, …: the bar of a length k begins at log2(k) + 1, if it is whole.

    Where there are many bars, only at 1, 100, 10,000, ….
    """
    step = 10 if bars <= _BARS_FOR_EVERY_LABEL else 100
    values = takewhile(lambda value: value <= 1 << bars, (step**power for power in powers()))
    return {log2(value) + 1: short_number(value) for value in values if log2(value) + 1 <= bars}
