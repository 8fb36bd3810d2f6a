from itertools import pairwise
from xml.etree import ElementTree as ET

import polars as pl
import pytest

from fim_assets.defs.sparkline import sparkline
from fim_assets.statistics.histograms import EDGES, Histogram, histogram

SVG = "{http://www.w3.org/2000/svg}"


def drawn(lengths: Histogram) -> tuple[str, list[tuple[int, str]]]:
    """The bars' outline, and each label with where it begins."""
    root = ET.fromstring(sparkline(lengths))
    (path,) = root.findall(f"{SVG}path")
    labels = [(int(text.attrib["x"]), text.text or "") for text in root.findall(f"{SVG}text")]
    return path.attrib["d"], labels


def of_bins(bins: dict[int, int]) -> Histogram:
    count = sum(bins.values())
    return Histogram(count=count, sum=0, min=None, max=None, p50=None, p95=None, bins=bins)


def test_heights_are_in_proportion_and_an_empty_doubling_between_has_none() -> None:
    """1, 2 to 3, 4 to 7 and 8 to 15 are 2, 0, 4 and 1 values; the highest bar has 48 pixels."""
    outline, labels = drawn(histogram(pl.Series([1, 1, 4, 5, 6, 7, 8])))
    assert outline == "M0 48V24h24V48h24V0h24V36h24V48z"
    assert labels == [(0, "1"), (48, "4")]


def test_one_value_among_many_can_be_seen() -> None:
    outline, _ = drawn(of_bins({0: 1_000_000, 1: 1}))
    assert outline == "M0 48V0h24V47h24V48z"


def test_no_value_no_bar() -> None:
    assert drawn(histogram(pl.Series([], dtype=pl.Int64))) == ("M0 48V48z", [])


def test_labels_are_short() -> None:
    edges = [96, 1024, 3072, 16_384, 1 << 20, 1 << 30]
    shown = [drawn(of_bins({edge: 1}))[1] for edge in edges]
    assert shown == [[(0, text)] for text in ("64", "1 k", "2 k", "16.4 k", "1 M", "1.1 B")]


@pytest.mark.parametrize("last", [49, 50, len(EDGES)])
def test_however_wide_it_is_it_stays_small_and_inside(last: int) -> None:
    lengths = of_bins({edge: 10_000 + place for place, edge in enumerate(EDGES[1:last])})
    outline, labels = drawn(lengths)
    bars = outline.count("h")
    assert bars == EDGES[last - 1].bit_length()
    assert 2 <= len(labels) <= 5
    assert all(after - before >= 48 for (before, _), (after, _) in pairwise(labels))
    width = int(outline.split("h")[1].split("V")[0])
    assert bars * width <= 240
    assert len(sparkline(lengths)) < 620
