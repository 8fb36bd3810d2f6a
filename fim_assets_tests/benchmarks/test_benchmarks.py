"""Each benchmark runs on a tiny corpus, and computes its ratios right from numbers by hand."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

import orjson
import pytest
import zstandard

from fim_assets.recipe import Recipe
from fim_assets.tokenizer.load import load_tokenizer
from fim_assets_tests.benchmarks import encoder_memory, end_to_end, partitions, peaks, stage
from fim_assets_tests.benchmarks.corpus import BenchCorpus, build_corpus
from fim_assets_tests.benchmarks.end_to_end import (
    parts_alone,
    ratio_rows,
    share_rows,
    whole_rows,
    work_rows,
)
from fim_assets_tests.benchmarks.fim_stage import fim_rows
from fim_assets_tests.benchmarks.floors import blocks, fim_floor
from fim_assets_tests.benchmarks.measure import Figure, Row, cpu_seconds, measure
from fim_assets_tests.benchmarks.regroup import regroup_rows
from fim_assets_tests.benchmarks.rows import row_rows
from fim_assets_tests.benchmarks.stage import Cost
from fim_assets_tests.benchmarks.token_stage import token_rows
from fim_assets_tests.benchmarks.ui import Times, parts_of
from fim_assets_tests.corpora import CHECKS_OF, write_shard


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


@pytest.fixture
def one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """More would only take longer."""
    monkeypatch.setattr(stage, "usable_cores", lambda: 1)


def medians(row: Row) -> list[float]:
    values = row.numbers.values()
    return [value.median if isinstance(value, Figure) else value or 0.0 for value in values]


@pytest.mark.usefixtures("one_worker")
@pytest.mark.parametrize(
    ("rows_of", "count"),
    [
        (fim_rows, 9),
        (row_rows, 4),
        (token_rows, 3),
        (work_rows, 4 + sum(map(len, CHECKS_OF.values()))),
    ],
)
def test_each_stage_is_measured_and_nothing_left(
    corpus: BenchCorpus, rows_of: Callable[..., Sequence[Row]], count: int
) -> None:
    rows = rows_of(corpus, range(1))
    assert len(rows) == count
    assert all(number > 0 for row in rows for number in medians(row))
    assert sorted(path.name for path in corpus.folder.iterdir()) == ["corpus.json", "raw"]


@pytest.mark.usefixtures("one_worker")
def test_the_whole_is_measured_and_what_it_does_beside_the_work(corpus: BenchCorpus) -> None:
    rows = whole_rows(corpus, range(1))
    assert [len(row.numbers) for row in rows] == [7, 2, 4, 4, 0]
    assert all(number > 0 for row in rows for number in medians(row))
    report = corpus.folder / "corpus_report" / "report.html"
    report.unlink()
    for run in parts_alone(corpus).values():
        assert run().cpu_seconds > 0
    assert report.is_file()


def test_peaks_are_of_processes_of_their_own(corpus: BenchCorpus) -> None:
    load_tokenizer(Recipe())  # its encoder is proved once, which takes a gigabyte
    rows = peaks.peak_rows(corpus, {"copies": peaks.tiny_documents(100, 3)})
    assert len(rows) == len(peaks.TARGETS_MB)
    if sys.platform == "linux":
        assert all(30 <= medians(row)[2] <= 400 for row in rows)


def test_shards_are_as_large_as_asked_of_distinct_documents(corpus: BenchCorpus) -> None:
    lines = [*chain.from_iterable(peaks.documents_again(corpus, 5_000))]
    assert 5_000 <= sum(map(len, lines)) + len(lines) < 5_000 + corpus.bytes + 500
    assert len({orjson.loads(line)["id"] for line in lines}) == len(lines)
    lines = [*chain.from_iterable(peaks.tiny_documents(100, 3))]
    assert (len(lines), len({*lines})) == (100, 3)


def test_regrouping_is_measured_over_sizes(corpus: BenchCorpus) -> None:
    small, large = regroup_rows(corpus, [10_000, 20_000], workers=1)
    assert (small.name, large.name) == ("1e-05 GB, 50 inputs", "2e-05 GB, 100 inputs")
    assert all(number > 0 for row in (small, large) for number in medians(row))
    assert medians(small)[-1] < medians(large)[-1], "MB of shards"


def test_memory_is_told_after_each_step_of_new_words(corpus: BenchCorpus) -> None:
    before, *steps = encoder_memory.encoder_rows(corpus, 3 * corpus.bytes, corpus.bytes)
    assert len(steps) == 3
    assert all(number > 0 for row in (before, *steps) for number in medians(row))


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


@pytest.mark.parametrize("block_bytes", [1, 100, 8 << 20])
def test_the_floors_see_every_byte_and_text(
    corpus: BenchCorpus, tmp_path: Path, block_bytes: int
) -> None:
    texts = ["", "x" * 150, "é\n", "z"]
    shard = write_shard(tmp_path / "a.jsonl.zst", [{"text": text} for text in texts])
    content, read = zip(*blocks(shard, block_bytes), strict=True)
    assert [*chain.from_iterable(read)] == texts
    fim_floor(shard, corpus.folder)
    packed = [shard.read_bytes(), (corpus.folder / shard.name).read_bytes()]
    unpacked = [zstandard.ZstdDecompressor().decompressobj().decompress(data) for data in packed]
    assert unpacked == [b"".join(content)] * 2


def test_the_time_of_children_counts_while_they_live_and_once_they_ended() -> None:
    busy = "import time\nwhile time.process_time() < 0.3: pass\nprint(); input()"
    begin = cpu_seconds()
    with subprocess.Popen(
        [sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        alive = cpu_seconds() - begin
    if sys.platform == "linux":
        assert cpu_seconds() - begin >= alive >= 0.3


def test_the_whole_is_a_multiple_of_the_empty_command_and_the_floors() -> None:
    def costs(whole: float, empty: float) -> dict[str, Cost]:
        return {
            "empty Dagster command": Cost(2 * empty, empty),
            "whole, 1 worker": Cost(4 * whole, whole),
            "FIM floor, 1 worker": Cost(2, 1),
            "token floor, 1 worker": Cost(6, 3),
        }

    rows = ratio_rows([costs(18, 2), costs(20, 4), costs(13, 6)], [1], 36_000_000)
    whole, empty, *floors = rows
    assert whole.numbers == {
        "wall s": (72, 52, 80),
        "CPU s": (18, 13, 20),
        "MB/s": 0.5,
        "MB/CPU s": 2,
        "wall ×": (5, 2.6, 6),
        "CPU ×": (2.5, 1.3, 3),
    }
    assert whole.remark == "at most 2.5: yes"
    assert empty.numbers == {"wall s": (8, 4, 12), "CPU s": (4, 2, 6)}
    assert [medians(row) for row in floors] == [[2, 1, 18, 36], [6, 3, 6, 12]]


def test_shares_are_of_the_cpu_time_of_each_round() -> None:
    rounds = [{"a": Cost(1, 1), "b": Cost(1, 3)}, {"a": Cost(1, 4), "b": Cost(1, 4)}]
    a, b, together = share_rows(rounds, 1)
    shares = [row.numbers["CPU %"] for row in (a, b, together)]
    assert shares == [(37.5, 25, 50), (62.5, 50, 75), (100, 100, 100)]
    assert together.numbers["CPU s"] == (6, 4, 8)


def test_the_parts_of_a_click_add_up_to_its_time() -> None:
    runs = [Times(10, 12, 15, 30), Times(40, 41, 43, 44)]
    wall, *parts = parts_of(4, runs, 70).values()
    assert parts == [(10 - 4) + (40 - 30), 2 + 1, 3 + 2, 15 + 1, 70 - 44]
    assert wall == sum(parts) == 66
