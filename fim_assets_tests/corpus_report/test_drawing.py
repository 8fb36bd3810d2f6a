import pytest

from fim_assets.corpus_report.drawing import Plot, round_step, round_values


@pytest.mark.parametrize(
    ("extent", "steps", "step"),
    [(100, 5, 20), (100, 4, 20), (0.65, 5, 0.1), (7, 4, 2), (3, 4, 1), (2, 4, 0.5), (1888, 4, 500)],
)
def test_a_step_is_the_nearest_of_1_2_and_5_in_their_ratio(
    extent: float, steps: int, step: float
) -> None:
    assert round_step(extent, steps) == pytest.approx(step)


def test_round_values_have_both_ends_however_a_division_comes_out() -> None:
    assert round_values(0.1, 0.6, 0.2) == pytest.approx([0.2, 0.4, 0.6])
    assert round_values(0, 0.3, 0.1) == pytest.approx([0, 0.1, 0.2, 0.3])
    assert round_values(1, 13, 5) == [5, 10]


def test_a_plot_is_as_large_as_its_margins_make_it_and_y_grows_upwards() -> None:
    plot = Plot(300, 200, (0, 10), (0, 4))
    plot.box((5, 10), (0, 1), "accent", "band")
    svg = plot.svg()
    assert 'width="380" height="250" viewBox="-60 -8 380 250"' in svg
    assert 'd="M150 200H300V150H150z"' in svg
