import sys
from pathlib import Path

import pytest

from fim_assets.recipe import Raw
from fim_assets.shards import ShardReader
from fim_assets_tests.benchmarks.corpus import (
    SHARDS,
    SourceFile,
    balance,
    build_corpus,
    find_files,
    select_files,
)
from fim_assets_tests.benchmarks.end_to_end import BenchError, Run, finished_receipts, time_rows
from fim_assets_tests.benchmarks.measure import Measurement, Row, measure


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
