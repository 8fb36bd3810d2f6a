import pytest

from fim_assets.corpus_report import drawing
from fim_assets.corpus_report.charts import Amount, amounts, partition_tokens
from fim_assets.corpus_report.drawing import DrawingError, draw, to_svg


def test_charts_are_those_of_this_process_in_order() -> None:
    charts = [amounts([Amount("日本 <&>", 1, "1")]), partition_tokens([1, 2])]
    assert draw(charts) == [to_svg(chart) for chart in charts]


def test_a_chart_that_is_none_is_told() -> None:
    with pytest.raises(DrawingError, match=r"ended with exit status 1: .*Vega-Lite"):
        draw([{"mark": "no such mark"}])


def test_what_does_not_come_to_an_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "_SECONDS", 0.001)
    with pytest.raises(DrawingError, match=r"not drawn after 0\.001 seconds"):
        draw([partition_tokens([1])])


def test_without_a_process_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(DrawingError, match=r"can be started: .*No such file"):
        draw([partition_tokens([1])])
