import re
from math import log2
from xml.etree import ElementTree as ET

import polars as pl
import pytest

from fim_assets.corpus_report.charts import (
    cut_positions,
    language_rates,
    length_distribution,
    partition_tokens,
    realised_shares,
    whole_shares,
)
from fim_assets.statistics.histograms import Histogram, histogram
from fim_assets.statistics.rates import Rate, binomial_rate

SVG = "{http://www.w3.org/2000/svg}"
NONE = histogram(pl.Series([], dtype=pl.Int64))


def texts(chart: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(chart).iter(f"{SVG}text")]


def across(chart: str) -> list[str]:
    """The titles of both axes, and between them what stands at the horizontal one's ticks."""
    centred = ET.fromstring(chart).iter(f"{SVG}text")
    return [text.text or "" for text in centred if text.get("text-anchor") == "middle"]


def filled(chart: str, colour: str) -> list[str]:
    """Outlines of the marks in a colour; a dot has none."""
    marks = ET.fromstring(chart).iter()
    return [m.get("d", "") for m in marks if m.get("fill") == f"var({colour})" and not m.text]


def heights(chart: str) -> list[float]:
    found = (re.match(r"M\S+ (\S+?)H\S+?V(\S+?)H", bar) for bar in filled(chart, "--accent"))
    return [float(match[1]) - float(match[2]) for match in found if match]


def lengths(*values: int) -> Histogram:
    return histogram(pl.Series(values))


def test_one_bar_a_doubling_with_heights_in_proportion() -> None:
    # 4 to 7 share a bar, 8 is in the next one, 0 has its own.
    bars = heights(length_distribution(lengths(0, 4, 5, 6, 7, 8, 8), "code points", "files"))
    assert len(bars) == 3
    assert bars == pytest.approx([bars[0], 4 * bars[0], 2 * bars[0]], rel=0.001)


def test_lengths_are_labelled_by_powers_of_100() -> None:
    chart = length_distribution(lengths(0, 100_000), "code points", "files")
    assert across(chart) == ["files", "1", "100", "10 k", "code points"]


def test_short_lengths_get_more_labels() -> None:
    chart = length_distribution(lengths(3, 120), "tokens", "files")
    assert across(chart) == ["files", "1", "10", "100", "tokens"]


def test_longest_makes_charts_share_an_axis() -> None:
    chart = length_distribution(lengths(3), "tokens", "files", longest=100_000)
    assert across(chart) == ["files", "1", "100", "10 k", "tokens"]


def test_labels_and_the_median_stand_where_the_bars_do() -> None:
    """On an axis of 8 bars, 230 wide: of 0, 1, 2 to 3, …, 64 to 127."""
    chart = length_distribution(lengths(64, 64, 64), "tokens", "files", longest=127)
    (bar,) = filled(chart, "--accent")
    left, right = float(bar[1:].split()[0]), float(bar.partition("H")[2].partition("V")[0])
    assert (left, right) == pytest.approx((230 * 7.06 / 8, 230 * 7.94 / 8), abs=0.1)
    (rule,) = [e for e in ET.fromstring(chart).iter() if e.get("stroke-dasharray") == "3 3"]
    assert left - 3 < float(rule.attrib["d"][1:].split()[0]) < right
    marks = {text.text: float(text.attrib["x"]) for text in ET.fromstring(chart).iter(f"{SVG}text")}
    assert marks["10"] == pytest.approx(230 * (log2(10) + 1) / 8, abs=1)


def test_no_lengths_give_an_empty_chart() -> None:
    assert heights(length_distribution(NONE, "tokens", "files")) == []


def test_a_point_a_partition_and_an_alarm_outside_the_bounds() -> None:
    chart = realised_shares(
        [binomial_rate(hits, 200, 0.5, 1e-9) for hits in (100, 90, 0)]
        + [binomial_rate(0, 0, 0.5, 1e-9)]
    )
    assert len(filled(chart, "--accent")) == 2
    assert len(filled(chart, "--alarm")) == 1
    assert len(filled(chart, "--band")) == 3
    assert across(chart) == ["share", "1", "2", "3", "4", "partition, in the table's order"]


@pytest.mark.parametrize("asked", [0.0, 1.0])
def test_certain_rates_have_a_band_without_height(asked: float) -> None:
    chart = realised_shares([binomial_rate(int(asked) * 10, 10, asked, 1e-9)])
    assert len(filled(chart, "--accent")) == 1


def test_no_partitions_give_an_empty_chart() -> None:
    assert filled(realised_shares([]), "--accent") == []
    assert filled(partition_tokens([]), "--accent") == []


def test_partitions_without_a_token_are_flat_bars() -> None:
    assert heights(partition_tokens([0, 0])) == [0, 0]


def rules(chart: str) -> int:
    """Lines of the asked probabilities."""
    lines = ET.fromstring(chart).iter(f"{SVG}path")
    return sum(line.get("stroke") == "var(--fg)" for line in lines)


def test_one_line_for_what_all_ask_for_else_one_each() -> None:
    half, tenth = binomial_rate(50, 100, 0.5, 1e-9), binomial_rate(9, 100, 0.1, 1e-9)
    assert rules(realised_shares([half, half, half])) == 1
    assert rules(realised_shares([half, tenth, tenth])) == 3


def test_many_partitions_take_the_whole_width() -> None:
    narrow, wide = (ET.fromstring(partition_tokens([5] * count)) for count in (60, 61))
    assert float(narrow.attrib["width"]) < 400
    assert 900 < float(wide.attrib["width"]) < 1100


def test_tokens_of_partitions_are_bars_in_proportion() -> None:
    bars = heights(partition_tokens([10, 20, 5]))
    assert bars == pytest.approx([bars[0], 2 * bars[0], bars[0] / 2])


def test_cuts_are_bars_on_a_common_axis() -> None:
    chart = cut_positions({0: 1, 50: 3}, most=6)
    bars = heights(chart)
    assert bars == pytest.approx([bars[0], 3 * bars[0]])
    assert bars[1] == pytest.approx(75), "half of the axis, which is 150 high"
    assert across(chart)[1:-1] == ["0%", "25%", "50%", "75%", "100%"]
    assert [text for text in texts(chart) if text.isdigit()] == ["0", "2", "4", "6"]


HOSTILE = "<script>&\"'</script>"


def test_shares_seen_whole_are_bars_in_proportion_under_their_numbers() -> None:
    shares = {2048: 0.0, 4096: 0.004, 8192: 0.5, 16384: 0.996, 32768: 1.0}
    chart = whole_shares(shares, 8192)
    labels = [text for text in texts(chart) if "%" in text]
    assert labels[-5:] == ["0%", "<1%", "50%", ">99%", "100%"]
    lengths = ["2,048", "4,096", "8,192", "16,384", "32,768"]
    assert across(chart) == ["share of files", *labels[-5:], *lengths, "sequence length"]
    (chosen,) = heights(chart)
    *_, whole = heights(whole_shares(shares, 32768))
    assert chosen == pytest.approx(whole / 2, rel=0.001)
    assert len(filled(chart, "--band")) == 4


def test_names_of_whatever_script_and_length_leave_room_for_the_bars() -> None:
    for name in ("", "C", "日本語" * 7, "‹U+202E›" * 20):
        (bar,) = filled(language_rates([(name, binomial_rate(1, 2, 0.5, 1e-9))]), "--band")
        assert float(bar.partition("H")[2].partition("V")[0]) > 200


def test_a_language_has_bounds_asked_and_realised() -> None:
    chart = language_rates(
        [
            (HOSTILE, binomial_rate(40, 100, 0.5, 1e-9)),
            ("C", binomial_rate(0, 400, 0.5, 1e-9)),
            ("C", binomial_rate(9, 100, 0.1, 1e-9)),
        ]
    )
    assert [text for text in texts(chart) if text not in across(chart)] == [HOSTILE, "C", "C"]
    assert len(filled(chart, "--accent")) == 2
    assert len(filled(chart, "--alarm")) == 1, "0 of 400 is outside the bounds of a half"
    assert (len(filled(chart, "--band")), rules(chart)) == (3, 3)
    assert "<script" not in chart


def test_charts_load_nothing_and_take_all_colours_from_the_page() -> None:
    for svg in (
        length_distribution(lengths(1, 2, 3), "tokens", "files"),
        realised_shares([Rate.of(hits=5, trials=10, asked=0.5, low=1, high=9)]),
        language_rates([("C", Rate.of(hits=5, trials=10, asked=0.5, low=1, high=9))]),
        cut_positions({0: 1}, 1),
        partition_tokens([1, 2]),
        whole_shares({2048: 0.5, 4096: 1.0}, 4096),
    ):
        assert set(re.findall(r'(?:fill|stroke)="([^"]+)"', svg)) <= {
            "none",
            *(f"var(--{name})" for name in ("accent", "band", "bg", "fg", "grid", "muted")),
        }
        assert "href=" not in svg
        assert "style" not in svg
        assert "url(" not in svg
