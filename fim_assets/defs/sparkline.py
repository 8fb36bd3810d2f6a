"""Small histograms, several for each partition: SVG by hand, microseconds and half a kilobyte."""

from collections import Counter
from math import ceil

from fim_assets.statistics.histograms import Histogram
from fim_assets.wording import short_number

_HEIGHT = 48
_WIDTH = 240
_WIDEST_BAR = 24
_LABEL_WIDTH = 48

# Both can be read on white and on black.
_BARS = "#3d85c8"
_INK = "#808080"


def sparkline(histogram: Histogram) -> str:
    """A histogram as an SVG of 272 by 64 pixels, in the colours of no theme.

    A bar is a doubling, from the smallest value's to the largest's, so that lengths grow
    logarithmically to the right. Heights are in proportion to the counts: the highest bar is 48
    pixels, and none that counts anything is without height. Below stand the lower ends of some.
    A histogram without values has no bars.
    """
    by_doubling: Counter[int] = Counter()
    for edge, n in histogram.bins.items():
        by_doubling[edge.bit_length()] += n
    doublings = range(min(by_doubling), max(by_doubling) + 1) if by_doubling else range(0)
    counts = [by_doubling[doubling] for doubling in doublings]
    width = min(_WIDEST_BAR, _WIDTH // max(len(counts), 1))
    outline = "".join(f"V{_top(count, max(counts))}h{width}" for count in counts)
    step = ceil(_LABEL_WIDTH / width)
    labels = "".join(
        f"<text x='{bar * width}' y='60'>{short_number(1 << doublings[bar] >> 1)}</text>"
        for bar in range(0, len(doublings), step)
    )
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{_WIDTH + 32}' height='64' "
        f"fill='{_INK}' font-family='sans-serif' font-size='10'>"
        f"<path fill='{_BARS}' d='M0 {_HEIGHT}{outline}V{_HEIGHT}z'/>{labels}</svg>"
    )


def _top(count: int, highest: int) -> int:
    """Where a bar begins, from above."""
    return _HEIGHT - max(round(_HEIGHT * count / highest), bool(count))
