"""Each benchmark runs on a tiny corpus, and computes its ratios right from numbers by hand."""

import sys
from pathlib import Path

import pytest

from fim_assets.recipe import Recipe
from fim_assets.tokenizer.load import load_tokenizer
from fim_assets_tests.benchmarks import end_to_end, partitions, peaks, token_stage
from fim_assets_tests.benchmarks.corpus import BenchCorpus, build_corpus
from fim_assets_tests.benchmarks.end_to_end import Run, end_to_end_rows, time_rows
from fim_assets_tests.benchmarks.fim_stage import (
    Steps,
    floor,
    peak_rows,
    stage_rows,
    step_rows,
    transform,
    transform_in_steps,
    variant_rows,
)
from fim_assets_tests.benchmarks.measure import BenchError, Measurement, Row, measure
from fim_assets_tests.benchmarks.stage import Cost, Variant


@pytest.fixture
def corpus(tmp_path: Path) -> BenchCorpus:
    source = tmp_path / "source"
    (source / "a").mkdir(parents=True)
    for name, text in {
        "a/add.py": "def add(a, b):\n    return a + b\n",
        "a/broken.py": ")]}" * 20,
        "a/short.py": "x=1",
        "main.go": "package main\n\nfunc main() {\n\tprintln(1)\n}\n",
        "style.css": "p { color: red }\n",
    }.items():
        (source / name).write_text(text)
    return build_corpus(source, tmp_path / "bench")


def numbers(row: Row, *columns: str) -> list[float]:
    return [row.numbers[column] or 0.0 for column in columns]


def test_every_variant_of_the_fim_stage_is_measured_and_nothing_left(corpus: BenchCorpus) -> None:
    rows = stage_rows(corpus, range(2))
    assert len(rows) == 8
    assert all(number is not None and number > 0 for row in rows for number in row.numbers.values())
    assert rows[0].numbers["× floor"] == 1
    assert sorted(path.name for path in corpus.folder.iterdir()) == ["corpus.json", "raw"]


def test_steps_write_what_the_stage_writes_and_add_up(corpus: BenchCorpus, tmp_path: Path) -> None:
    recipe, steps = Recipe(), Steps()
    for key in corpus.keys:
        timed = transform_in_steps(recipe, corpus.shard(key), tmp_path / "steps", steps)
        assert timed == transform(recipe, corpus.shard(key), tmp_path / "stage")
    *parts, total = step_rows(corpus, range(3))
    assert len(parts) == len(steps.seconds)
    for column, expected in (("CPU s", total.numbers["CPU s"]), ("share %", 100)):
        assert sum(row.numbers[column] or 0.0 for row in parts) == pytest.approx(expected)


def test_the_token_stage_is_measured_next_to_its_floor(
    corpus: BenchCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_stage, "usable_cores", lambda: 1)
    rows = {row.name: row for row in token_stage.token_rows(corpus, range(2))}
    assert list(rows) == ["floor", "tokens", "encode_batch"]
    assert all((row.numbers["MB/s"] or 0) > 0 for row in rows.values())
    assert sorted(path.name for path in corpus.folder.iterdir()) == ["corpus.json", "raw"]


def test_peaks_are_of_processes_of_their_own(corpus: BenchCorpus, tmp_path: Path) -> None:
    load_tokenizer(Recipe())  # its encoder is proved once, which takes a gigabyte
    rows = [
        *peak_rows(corpus, corpus.shard("bench-00")),
        *peaks.curve_rows(corpus, {}, {"copies": (100, 3)}),
    ]
    assert len(rows) == 2 + len(peaks.TARGETS_MB)
    if sys.platform == "linux":
        assert all(30 <= (row.numbers["peak MB"] or 0) <= 400 for row in rows)
    with pytest.raises(BenchError):
        peak_rows(corpus, tmp_path / "missing.jsonl.zst")


def test_an_empty_run_records_the_same_events_as_the_projects(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(end_to_end, "usable_cores", lambda: 1)  # a pool would only take longer
    scale = partitions.measure_scale(2)
    assert scale.events == 2 * 3, "three materializations a partition"
    whole, empty, *_ = partitions.scale_rows([scale])
    assert whole.numbers["ms a partition"] == scale.whole.wall_seconds * 500
    assert empty.numbers["wall s"] == scale.empty.wall_seconds


def test_a_failing_command_keeps_its_status_and_output() -> None:
    measurement = measure([sys.executable, "-c", "print('why'); raise SystemExit(3)"])
    assert (measurement.status, measurement.output.strip()) == (3, "why")


def test_ratios_of_the_fim_stage_are_of_medians() -> None:
    costs = {
        "floor": [Cost(2, 4), Cost(1, 2), Cost(9, 9)],
        "dolma": [Cost(2.7, 5), Cost(2.6, 5), Cost(9, 9)],
        "uniform": [Cost(2.8, 5), Cost(2.6, 5), Cost(9, 9)],
        "tree-sitter's parse alone": [Cost(4, 8), Cost(5, 10), Cost(4.5, 9)],
    }
    variants = [Variant(name, floor, (), 18_000_000) for name in costs]
    rows = {row.name: row for row in variant_rows(variants, costs, workers=2)}
    columns = ("wall s", "CPU s", "cores", "MB/s", "× floor", "CPU × floor")
    expected = [2.7, 5, 5 / 2.7, 18 / 2.7, 1.35, 1.25]
    assert numbers(rows["dolma"], *columns) == pytest.approx(expected)
    assert [rows[name].remark[-3:] for name in ("dolma", "uniform")] == ["yes", " no"]
    # Nobody can tell where the floor had the machine to itself and `dolma` had not.
    costs["dolma"] = [Cost(3, 5)]
    rows = {row.name: row for row in variant_rows(variants, costs, workers=2)}
    assert "unknown" in rows["dolma"].remark


def test_ratios_of_the_token_stage_are_of_medians() -> None:
    costs = {
        "floor": [Cost(1.1, 2.2), Cost(1.2, 2.4), Cost(9, 9)],
        "the floor's texts read": [Cost(0.2, 0.4)] * 3,
        "tokens": [Cost(1.4, 2.8), Cost(1.3, 2.6), Cost(9, 18)],
        "encode_batch": [Cost(2, 4)],
    }
    sizes = {"floor": 105_000_000, "tokens": 105_000_000, "encode_batch": 8_000_000}
    rows = token_stage.variant_rows(costs, sizes, 2, load_tokenizer(Recipe()))
    of_floor, tokens, encode_batch = rows
    columns = ("wall s", "CPU s", "cores", "MB/s", "× floor", "CPU × floor")
    assert numbers(of_floor, *columns) == pytest.approx([1, 2, 2, 105, 1, 1])
    assert numbers(tokens, "MB/s", "× floor") == pytest.approx([75, 1.4])
    assert encode_batch.numbers["MB/s"] == 4
    assert [row.remark[-3:] for row in (tokens, encode_batch)] == ["yes", " no"]


def test_times_add_up_and_are_scaled_to_the_targets_size(corpus: BenchCorpus) -> None:
    runs = [Run(Measurement(0, "", wall, None, None), ()) for wall in (9.0, 10.0, 30.0)]
    checks = [Row("check lossless", {"worker s": 4.0, "wall s": 2.0})]
    *parts, total = time_rows(corpus, runs, checks, fixed=Row("fixed", {"wall s": 3.0}))
    assert numbers(total, "wall s", "share %") == [10.0, 100.0]
    assert sum(row.numbers["wall s"] or 0.0 for row in parts) == pytest.approx(10.0)
    half = corpus.model_copy(update={"bytes": 135_000_000})  # of the target's 270 MB
    assert [row.remark[-3:] for row in end_to_end_rows(half, runs[1:2])] == ["yes"]
