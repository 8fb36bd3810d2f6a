import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pyarrow.parquet as pq
import pytest
import zstandard

from fim_assets.fim_shards.transform import transform_block
from fim_assets.raw_shards.shard_reader import BLOCK_BYTES, ShardReader
from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import Fim
from fim_assets.recipe.raw import Raw
from fim_assets.tokenizer.load import load_tokenizer
from fim_assets_tests.benchmarks import end_to_end, fim_stage, partitions, peaks, token_stage
from fim_assets_tests.benchmarks.corpus import (
    SHARDS,
    BenchCorpus,
    SourceFile,
    balance,
    build_corpus,
    find_files,
    select_files,
)
from fim_assets_tests.benchmarks.end_to_end import (
    Run,
    end_to_end_rows,
    finished_receipts,
    time_rows,
)
from fim_assets_tests.benchmarks.fim_stage import (
    Steps,
    chosen_files,
    floor,
    floor_in_memory,
    large_shard,
    peak_rows,
    rearranged_lines,
    stage_rows,
    step_rows,
    transform,
    transform_in_steps,
    variant_rows,
)
from fim_assets_tests.benchmarks.measure import BenchError, Measurement, Row, measure
from fim_assets_tests.benchmarks.stage import Cost, Variant
from fim_assets_tests.benchmarks.token_stage import token_rows


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    files = {
        "b.py": b"b = 1\n",
        "a/z.c": "int é;\n".encode(),
        "a/copy_of_b.py": b"b = 1\n",
        "c.RS": b"fn main() {}\n",
        "latin.py": b"# caf\xe9\n",
        "empty.py": b"",
        "data.json": b"{}",
        ".git/hook.sh": b"exit 1\n",
        "a/__pycache__/z.py": b"cached = 1\n",
    }
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def read_documents(shard: Path) -> list[tuple[str | None, str, str | None]]:
    with ShardReader(shard, Raw()) as reader:
        return [
            row
            for block in reader
            for row in zip(block.ids, block.texts, block.languages, strict=True)
        ]


def test_corpus_holds_each_text_once_sorted_by_path(source: Path, tmp_path: Path) -> None:
    documents, cut_at = select_files(find_files({"": source}), at_most=1000)
    assert [(d.name, d.bytes) for d in documents] == [
        ("a/copy_of_b.py", 6),
        ("a/z.c", 8),
        ("c.RS", 13),
    ]
    assert cut_at is None

    corpus = build_corpus(source, tmp_path / "bench")
    assert (corpus.documents, corpus.bytes, corpus.cut_at) == (3, 27, None)
    assert corpus.keys == ["bench-00", "bench-01", "bench-02"]
    written = [row for key in corpus.keys for row in read_documents(corpus.shard(key))]
    assert sorted(written) == [
        ("a/copy_of_b.py", "b = 1\n", "Python"),
        ("a/z.c", "int é;\n", "C"),
        ("c.RS", "fn main() {}\n", "Rust"),
    ]


def test_corpus_is_cut_before_the_file_that_would_be_too_much(source: Path) -> None:
    documents, cut_at = select_files(find_files({"": source}), at_most=26)
    assert ([d.name for d in documents], cut_at) == (["a/copy_of_b.py", "a/z.c"], "c.RS")
    assert select_files(find_files({"": source}), at_most=27)[1] is None


def test_corpus_is_reused_until_a_document_changes(source: Path, tmp_path: Path) -> None:
    first = build_corpus(source, tmp_path / "bench")
    written = first.shard("bench-00").stat().st_mtime_ns
    assert build_corpus(source, tmp_path / "bench") == first
    assert first.shard("bench-00").stat().st_mtime_ns == written

    (source / "b.py").write_text("b = 2\n")
    second = build_corpus(source, tmp_path / "bench")
    assert (second.documents, second.folder) == (4, first.folder)
    assert second.identity != first.identity

    second.shard("bench-03").unlink()
    assert build_corpus(source, tmp_path / "bench").shard("bench-03").is_file()


def test_corpus_without_source_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no source file"):
        build_corpus(tmp_path, tmp_path / "bench")


def test_shards_are_balanced_and_keep_the_order() -> None:
    sizes = [(n * n * 37) % 1000 + 1 for n in range(200)]
    documents = [
        SourceFile(name=f"{n:03d}.py", path=Path(f"{n:03d}.py"), bytes=size, blake2b=str(n))
        for n, size in enumerate(sizes)
    ]
    shards = balance(documents, SHARDS)
    totals = [sum(d.bytes for d in shard) for shard in shards]
    # The largest first to the smallest shard: no two shards differ by more than one document.
    assert max(totals) - min(totals) <= max(sizes)
    assert sorted(d.name for shard in shards for d in shard) == [d.name for d in documents]
    assert all(shard == sorted(shard, key=lambda d: d.name) for shard in shards)


IN_CHILD = "import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', {code!r}]))"
ALLOCATE = "import time; block = bytearray(b'x') * 200_000_000; time.sleep(0.3)"
BUSY = "import time\nwhile time.process_time() < 0.5: pass"


def run_python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only wall time is known elsewhere")


@on_linux
def test_peak_memory_of_a_child_is_seen() -> None:
    measurement = measure(run_python(IN_CHILD.format(code=ALLOCATE)))
    assert measurement.status == 0
    assert measurement.wall_seconds > 0.3
    assert measurement.processes is not None
    assert len(measurement.processes) == 2
    child, parent = measurement.processes
    assert 180e6 <= child.peak_bytes <= 300e6
    assert parent.peak_bytes < 100e6
    assert ALLOCATE[:20] in child.command


@on_linux
def test_time_of_orphans_counts() -> None:
    # The child is still busy when its parent, the command, has gone.
    leave = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {BUSY!r}])"
    measurement = measure(run_python(leave))
    assert measurement.status == 0
    assert measurement.cpu_seconds is not None
    assert measurement.cpu_seconds >= 0.5


def test_status_and_output_of_a_failure_are_kept() -> None:
    measurement = measure(run_python("print('why'); raise SystemExit(3)"))
    assert (measurement.status, measurement.output.strip()) == (3, "why")


def test_a_missing_receipt_is_an_error(source: Path, tmp_path: Path) -> None:
    corpus = build_corpus(source, tmp_path / "bench")
    with pytest.raises(BenchError, match=r"bench-00\.json is missing"):
        list(finished_receipts(corpus))


def test_times_add_up_to_the_whole(source: Path, tmp_path: Path) -> None:
    corpus = build_corpus(source, tmp_path / "bench")
    runs = [Run(Measurement(0, "", wall, None, None), ()) for wall in (9.0, 10.0, 30.0)]
    checks = [Row("check lossless", {"worker s": 4.0, "wall s": 2.0})]
    *parts, whole = time_rows(corpus, runs, checks, fixed=Row("fixed", {"wall s": 3.0}))
    assert whole.numbers == {"wall s": 10.0, "share %": 100.0}
    assert sum(row.numbers["wall s"] or 0.0 for row in parts) == pytest.approx(10.0)


def open_tiny_corpus(folder: Path) -> BenchCorpus:
    source = folder / "source"
    (source / "a").mkdir(parents=True)
    for name, text in {
        "a/add.py": "def add(a, b):\n    return a + b\n",
        "a/broken.py": ")]}" * 20,
        "a/short.py": "x=1",
        "main.go": "package main\n\nfunc main() {\n\tprintln(1)\n}\n",
        "style.css": "p { color: red }\n",
    }.items():
        (source / name).write_text(text)
    return build_corpus(source, folder / "bench")


EVERY_FILE = Recipe(fim=Fim(fim_rate=1, split="syntax"))


def test_the_files_that_syntax_parses_are_those_that_its_record_says(tmp_path: Path) -> None:
    corpus = open_tiny_corpus(tmp_path)
    chosen = [f for key in corpus.keys for f in chosen_files(corpus.shard(key), EVERY_FILE)]
    # No grammar serves CSS, and a file of 3 characters is too short; broken code is parsed in vain.
    assert sorted((file.path or "", len(file.source)) for file in chosen) == [
        ("a/add.py", 32),
        ("a/broken.py", 60),
        ("main.go", 42),
    ]

    for key in corpus.keys:
        transform(EVERY_FILE, corpus.shard(key), tmp_path / "out")
    rows = [row for key in corpus.keys for row in read_rows(tmp_path / "out" / f"{key}.parquet")]
    assert sorted(row["id"] for row in rows if row["split"] == "syntax") == ["a/add.py", "main.go"]
    assert {row["id"]: row["reason"] for row in rows if row["reason"]} == {
        "a/broken.py": "syntax_errors",
        "a/short.py": "too_short",
        "style.css": "no_grammar",
    }


def read_rows(parquet: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(parquet).to_pylist()
    return rows


@pytest.mark.parametrize("work", [floor, floor_in_memory])
def test_the_floor_keeps_the_bytes_and_parses_every_line(
    work: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    # More than two blocks, of lines that end anywhere in them, and a last one without a line feed.
    lines = [b'{"text":"%d%s"}' % (n, b"x" * (n * 997 % 200_000)) for n in range(200)]
    data = b"\n".join(lines)
    assert len(data) > 2 * BLOCK_BYTES
    shard = tmp_path / "a.jsonl.zst"
    shard.write_bytes(zstandard.compress(data))
    out = tmp_path / "out"
    out.mkdir()
    work(shard, out)
    packed = (out / "a.jsonl.zst").read_bytes()
    assert zstandard.ZstdDecompressor().decompressobj().decompress(packed) == data

    for number in (0, 90, 199):
        broken = [b"{" if n == number else line for n, line in enumerate(lines)]
        shard.write_bytes(zstandard.compress(b"\n".join(broken)))
        with pytest.raises(orjson.JSONDecodeError):
            work(shard, out)


def test_every_variant_is_measured_as_often_as_asked(tmp_path: Path) -> None:
    corpus = open_tiny_corpus(tmp_path)
    rows = {row.name: row for row in stage_rows(corpus, range(2))}
    assert list(rows) == [
        "floor",
        "floor, whole shards in memory",
        "dolma",
        "uniform",
        "lines",
        "mixture of the three",
        "syntax",
        "tree-sitter's parse alone",
    ]
    for row in rows.values():
        assert all(number is not None and number > 0 for number in row.numbers.values())
    assert rows["floor"].numbers["× floor"] == 1
    # Nothing is left behind but the corpus.
    assert sorted(path.name for path in corpus.folder.iterdir()) == ["corpus.json", "raw"]


def test_ratios_are_of_medians_and_held_against_the_targets() -> None:
    costs = {
        "floor": [Cost(2, 4), Cost(1, 2), Cost(9, 9)],
        "dolma": [Cost(2.7, 5), Cost(2.6, 5), Cost(9, 9)],
        "uniform": [Cost(2.8, 5), Cost(2.6, 5), Cost(9, 9)],
        "syntax": [Cost(9.7, 19), Cost(9.1, 18), Cost(20, 20)],
        "tree-sitter's parse alone": [Cost(4, 8), Cost(5, 10), Cost(4.5, 9)],
    }
    variants = [Variant(name, floor, (), 18_000_000) for name in costs]
    rows = {row.name: row for row in variant_rows(variants, costs, workers=2)}
    assert rows["dolma"].numbers == pytest.approx(
        {
            "wall s": 2.7,
            "CPU s": 5,
            "cores": 5 / 2.7,
            "MB/s": 18 / 2.7,
            "× floor": 1.35,
            "CPU × floor": 1.25,
        }
    )
    assert [row.remark for row in rows.values()] == [
        "",
        "at most 1.35: yes",
        "at most 1.35: no",
        "1.35 × (dolma + parse), CPU 1.36 ×; at most 1.3: no",
        "18.0 MB; 2.0 MB/s a core",
    ]

    # Nobody can tell where the floor had the machine to itself and `dolma` had not.
    costs["dolma"] = [Cost(3, 5)]
    rows = {row.name: row for row in variant_rows(variants, costs, workers=2)}
    assert rows["dolma"].remark == "at most 1.35: unknown, the machine was busy"
    assert rows["uniform"].remark == "at most 1.35: no"


def test_steps_write_what_the_stage_writes_and_add_up_to_its_time(tmp_path: Path) -> None:
    corpus = open_tiny_corpus(tmp_path)
    recipe, steps = Recipe(), Steps()
    for key in corpus.keys:
        timed = transform_in_steps(recipe, corpus.shard(key), tmp_path / "steps", steps)
        assert timed == transform(recipe, corpus.shard(key), tmp_path / "stage")
        with ShardReader(corpus.shard(key), recipe.raw) as reader:
            for block in reader:
                lines = rearranged_lines(block, 7, recipe, Steps())
                assert lines == transform_block(block, 7, recipe).lines

    *parts, whole = step_rows(corpus, range(3))
    assert len(parts) == len(steps.seconds)
    for column, total in (("CPU s", whole.numbers["CPU s"]), ("share %", 100)):
        assert sum(row.numbers[column] or 0.0 for row in parts) == pytest.approx(total)
    of_floor = [row.numbers["floor CPU s"] or 0.0 for row in parts if "floor CPU s" in row.numbers]
    assert sum(of_floor) == pytest.approx(whole.numbers["floor CPU s"])


def test_steps_count_the_time_of_what_is_inside_and_no_other() -> None:
    def spend(seconds: float) -> None:
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    def blocks() -> Iterator[int]:
        for number in range(3):
            spend(0.02)
            yield number

    steps = Steps()
    for _ in steps.each("read", blocks()):
        spend(0.03)
        with steps.timed("write"):
            spend(0.01)
    assert steps.seconds["read"] == pytest.approx(0.06, abs=0.02)
    assert steps.seconds["write"] == pytest.approx(0.03, abs=0.02)


def test_a_large_shard_holds_the_corpus_again_under_new_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = open_tiny_corpus(tmp_path)
    monkeypatch.setattr(fim_stage, "FREE_BYTES", 0)
    path = large_shard(corpus, at_least=5000)
    assert path is not None
    assert path.parent == corpus.folder
    with zstandard.open(path) as file:
        assert 5000 <= len(file.read()) < 5200
    once = [row for key in corpus.keys for row in read_documents(corpus.shard(key))]
    large = read_documents(path)
    assert len(large) == len({identifier for identifier, _, _ in large}) > 5 * len(once)
    for number, (identifier, *rest) in enumerate(large):
        of_corpus, *as_in_corpus = once[number % len(once)]
        assert identifier == f"{number // len(once)}/{of_corpus}"
        assert rest == as_in_corpus

    built = path.stat().st_mtime_ns
    assert large_shard(corpus, at_least=5000) == path
    assert path.stat().st_mtime_ns == built
    monkeypatch.setattr(fim_stage, "FREE_BYTES", 1 << 62)
    assert large_shard(corpus, at_least=5000) is None


def test_peaks_are_of_processes_of_their_own(tmp_path: Path) -> None:
    corpus = open_tiny_corpus(tmp_path)
    rows = peak_rows(corpus, corpus.shard("bench-00"))
    assert [row.name for row in rows] == ["dolma", "syntax"]
    if sys.platform == "linux":
        for row in rows:
            assert 30 <= (row.numbers["peak MB"] or 0) <= 400
            assert row.remark == "at most 400: yes"

    with pytest.raises(BenchError, match="No such file"):
        peak_rows(corpus, tmp_path / "missing.jsonl.zst")


def test_the_floor_encodes_the_texts_that_the_stage_encodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = open_tiny_corpus(tmp_path)
    encoded: list[list[str]] = []
    monkeypatch.setattr(token_stage, "_own_encode", lambda _: encoded.append)
    tokens = controls = 0
    for key in corpus.keys:
        token_stage.write_fim_shard(tmp_path, corpus.shard(key))
        shard = tmp_path / f"{key}.jsonl.zst"
        token_stage.floor(shard, tmp_path)
        records = token_stage.tokenize("hash", shard, tmp_path / "tokens")
        assert [record.name for record in records] == [
            f"{key}.parquet",
            f"{key}-00000.npy",
            f"{key}-00000.csv.gz",
        ]
        tokens += records[1].bytes // 4
        rows = read_rows(tmp_path / f"{key}.parquet")
        controls += sum(1 if row["order"] == "none" else 4 for row in rows)
    texts = [text for block in encoded for text in block]
    assert len(texts) > 5
    assert len(load_tokenizer(token_stage.RECIPE).encoder.encode(texts)[0]) + controls == tokens


def test_the_token_stage_is_measured_beside_its_floor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_stage, "usable_cores", lambda: 1)
    corpus = open_tiny_corpus(tmp_path)
    rows = {row.name: row for row in token_rows(corpus, range(2))}
    assert list(rows) == ["floor", "tokens", "encode_batch"]
    for name in ("tokens", "encode_batch"):
        assert (rows[name].numbers["MB/s"] or 0) > 0
    assert "× floor" not in rows["encode_batch"].numbers
    assert sorted(path.name for path in corpus.folder.iterdir()) == ["corpus.json", "raw"]


def test_what_encode_batch_gets_is_no_larger_than_asked(tmp_path: Path) -> None:
    shard = tmp_path / "a.jsonl.zst"
    token_stage._texts_of(shard).write_bytes(msgspec.msgpack.encode([["ab", "long"], ["é", "x"]]))
    assert list(token_stage._first_texts(shard, 4)) == ["ab", "é"]


def test_the_token_stage_is_held_against_floor_dolma_and_encode_batch() -> None:
    costs = {
        "floor": [Cost(1.1, 2.2), Cost(1.2, 2.4), Cost(9, 9)],
        "the floor's texts read": [Cost(0.2, 0.4)] * 3,
        "tokens": [Cost(1.4, 2.8), Cost(1.3, 2.6), Cost(9, 18)],
        "encode_batch": [Cost(2, 4)],
    }
    sizes = {"floor": 105_000_000, "tokens": 105_000_000, "encode_batch": 8_000_000}
    tokenizer = load_tokenizer(Recipe())
    rows = {row.name: row for row in token_stage.variant_rows(costs, sizes, 2, tokenizer)}
    assert rows["floor"].numbers == pytest.approx(
        {"wall s": 1, "CPU s": 2, "cores": 2, "MB/s": 105, "× floor": 1, "CPU × floor": 1}
    )
    assert rows["floor"].remark == f"with {tokenizer.encoder_description}"
    assert rows["tokens"].numbers["× floor"] == pytest.approx(1.4)
    assert rows["tokens"].remark.endswith("25.0 × dolma tokens' 3 MB/s, at least 25: yes")
    assert rows["encode_batch"].numbers["MB/s"] == 4
    assert rows["encode_batch"].remark.endswith("8.0 MB; tokens is 18.8 ×, at least 20: no")

    costs["floor"] = [Cost(3, 4)]
    rows = {row.name: row for row in token_stage.variant_rows(costs, sizes, 2, tokenizer)}
    assert rows["tokens"].remark == (
        "at most 1.4: unknown, the machine was busy; 25.0 × dolma tokens' 3 MB/s, at least 25: yes"
    )

    costs["tokens"] = [Cost(1.4, 2)]
    rows = {row.name: row for row in token_stage.variant_rows(costs, sizes, 2, tokenizer)}
    assert [row.remark.count("unknown") for row in rows.values()] == [0, 2, 1]


def test_peaks_of_every_stage_and_its_checks_are_of_processes_of_their_own(tmp_path: Path) -> None:
    load_tokenizer(Recipe())  # its engine is proved once, which takes a gigabyte
    corpus = open_tiny_corpus(tmp_path)
    rows = peaks.curve_rows(corpus, {}, {"copies": (100, 3)})
    assert [row.name for row in rows] == [f"copies: {what}" for what in peaks.TARGETS_MB]
    if sys.platform == "linux":
        for row in rows:
            assert 100 <= (row.numbers["peak MB"] or 0) <= 400
            assert row.remark.endswith(": yes")
    assert sorted(path.name for path in corpus.folder.iterdir()) == ["corpus.json", "raw"]

    with pytest.raises(BenchError, match="No such file"):
        peaks.curve_rows(corpus, {"missing": tmp_path / "missing.jsonl.zst"}, tiny={})


def test_tiny_documents_are_as_many_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peaks, "_TINY_AT_ONCE", 3)
    for distinct in (8, 3):
        shard = tmp_path / f"{distinct}.jsonl.zst"
        peaks.write_tiny_documents(shard, 8, distinct)
        assert read_documents(shard) == [
            (f"tiny/{n % distinct}", f"x = {n % distinct}", None) for n in range(8)
        ]


def test_seconds_are_scaled_to_the_targets_size(source: Path, tmp_path: Path) -> None:
    corpus = build_corpus(source, tmp_path / "bench").model_copy(update={"bytes": 135_000_000})
    for wall, remark in ((10.0, "20.0 s for 270 MB; at most 20: yes"), (10.1, "at most 20: no")):
        [row] = end_to_end_rows(corpus, [Run(Measurement(0, "", wall, None, None), ())])
        assert row.remark.endswith(remark)


def test_an_empty_run_records_the_same_events_as_the_projects(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(end_to_end, "usable_cores", lambda: 1)  # a pool would only take longer
    scale = partitions.measure_scale(2)
    assert scale.events == 2 * 3, "three materializations a partition"
    assert scale.database_bytes > 0
    assert scale.worker_seconds > 0
    whole, empty, *_ = partitions.scale_rows([scale])
    assert whole.numbers["ms a partition"] == scale.whole.wall_seconds * 500
    assert empty.numbers["wall s"] == scale.empty.wall_seconds
    assert f"{scale.whole.wall_seconds / scale.empty.wall_seconds:.2f} × the empty run" in (
        whole.remark
    )
