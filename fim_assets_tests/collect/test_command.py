"""The command: its shards, what it prints, and what it refuses."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import zstandard
from click.testing import Result

from fim_assets.corpus.sources import find_shards
from fim_assets_tests.cli.running import PROGRAM, run
from fim_assets_tests.collect.trees import checkout, read_shards, write_tree, write_zip
from fim_assets_tests.corpora import file_bytes
from fim_assets_tests.defs.test_assets import ALL, materialize
from fim_assets_tests.end_to_end.commands import REPOSITORY, ask, environment, running

NOBODY = 65534

TREE: dict[str, str | bytes] = {
    ".gitignore": "*.log\n",
    "LICENSE": "MIT\n",
    "src/a.py": "import this\r\n\tprint('<|fim_prefix|>')\n" * 3,
    "src/b.c": "int main(void) { return 0; }\n" * 40,
    "src/utf-16.py": "print('日本語')\n".encode("utf-16"),
    "src/mark.py": "print('é')\n".encode("utf-8-sig"),
    "src/a.log": "log",
    "src/picture": b"\0\1",
    "vendor/x.js": "x",
}
TEXTS = {
    "LICENSE": TREE["LICENSE"],
    "src/a.py": TREE["src/a.py"],
    "src/b.c": TREE["src/b.c"],
    "src/utf-16.py": "print('日本語')\n",
    "src/mark.py": "print('é')\n",
}


def collect(*arguments: str | Path) -> Result:
    return run("collect", *map(str, arguments))


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def reasons(done: Result) -> dict[str, int]:
    """The table of what is left out."""
    rows = re.findall(r"^ (\w+) +([\d,]+)(?: {3}|\s*$)", done.stdout, re.MULTILINE)
    return {name: int(number) for name, number in rows}


def test_a_checkout_becomes_shards_and_says_what_is_left_out(tmp_path: Path) -> None:
    root = checkout(tmp_path / "tree", TREE, "https://example.com/org/tree.git")
    done = collect(root, "-o", tmp_path / "mine" / "raw")
    assert done.exit_code == 0, done.output
    assert reasons(done) == {"ignored": 1, "vendored": 2, "binary": 1, "total": 4}
    size = sum(len(str(text).encode()) for text in TEXTS.values())
    assert done.stdout.splitlines()[-5:] == [
        f"documents  5, {size / 1000:.1f} kB of text",
        "from       1 repository: org/tree",
        "languages  Python 3, Text 1, C 1",
        f"shards     1 in {tmp_path}/mine/raw",
        f"next       FIM_DATA_ROOT={tmp_path}/mine fim-assets doctor",
    ]
    assert done.stderr == ""
    documents = read_shards(tmp_path / "mine" / "raw")
    assert {d["metadata"]["path"]: d["text"] for d in documents} == TEXTS
    assert {d["metadata"]["license_file"] for d in documents} == {"LICENSE"}
    assert names_in(tmp_path / "mine" / "raw") == {"collected-00000.jsonl.zst"}


def test_archives_in_a_source_are_not_opened_and_how_to_name_them_is_told(tmp_path: Path) -> None:
    """One that holds text is a document; one in an archive, or named besides, needs no name."""
    code = write_tree(tmp_path / "code", {"a.py": "import this\n", "note.zip": "a text\n"})
    tree = write_tree(tmp_path / "tree", {"b.py": "import that\n"})
    for name in ("1.zip", "2.ZIP", "3.zip", "deep/4.zip"):
        (code / name).parent.mkdir(exist_ok=True)
        write_zip(code / name, tree)
    (code / "large.tgz").write_bytes(bytes(1001))
    (code / "none.tar.gz").touch()

    def warning(*sources: Path) -> tuple[int, str]:
        done = collect(*sources, "-o", tmp_path / "out", "--max-file-size", "1kB", "--overwrite")
        assert done.exit_code == 0, done.output
        warned = re.findall(r"^warning    (.*)$", done.stdout, re.MULTILINE)
        return reasons(done)["archive"], "".join(warned)

    others = [f"{code}/{name}" for name in ("2.ZIP", "deep/4.zip", "large.tgz", "none.tar.gz")]
    counted, told = warning(code)
    number, _, listed = told.partition(" archives not opened; name as sources those to collect: ")
    assert (counted, number) == (6, "6")
    assert {*listed.split(", ")} == {f"{code}/*.zip", *others}
    _, told = warning(code, code / "1.zip", code / "3.zip")
    assert told.startswith("4 archives not opened; ")
    assert told.endswith(f": {', '.join(others)}")
    assert {d["text"] for d in read_shards(tmp_path / "out")} >= {"a text\n", "import that\n"}
    write_zip(tmp_path / "code.zip", code)
    assert warning(tmp_path / "code.zip") == (6, "")


def test_the_same_files_give_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In another folder, made in another order and at another time, named otherwise."""
    first = checkout(tmp_path / "one" / "tree", TREE)
    again = checkout(tmp_path / "two" / "deep" / "tree", dict(reversed(TREE.items())))
    for path in again.rglob("*.py"):
        path.chmod(0o755)
        os.utime(path, (1, 1))
    write_zip(tmp_path / "tree.zip", first)
    made = []
    for number, source in enumerate((first, again, again / "src" / "..", tmp_path / "tree.zip")):
        output = tmp_path / f"{number}"
        assert collect(source, "-o", output, "--shard-size", "1kB").exit_code == 0
        made.append(file_bytes(output))
    monkeypatch.chdir(first)
    assert collect(".", "-o", "out/raw", "--shard-size", "1kB").exit_code == 0
    made.append(file_bytes(first / "out" / "raw"))
    assert made == made[:1] * 5
    assert len(made[0]) == 3
    for content in made[0].values():
        assert str(
            tmp_path
        ).encode() not in zstandard.ZstdDecompressor().decompressobj().decompress(content)


def test_the_locale_changes_no_byte(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "é", {"日本.py": "日本", "ß/a.py": "ß", "ß/.gitignore": "日*"})
    (root / os.fsdecode(b"caf\xe9.py")).write_text("c")
    assert collect(root, "-o", tmp_path / "utf-8").exit_code == 0
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [*PROGRAM, "collect", root, "-o", tmp_path / "ascii"],
        env=environment(REPOSITORY) | ascii_only,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert file_bytes(tmp_path / "ascii") == file_bytes(tmp_path / "utf-8")
    documents = [d["metadata"] for d in read_shards(tmp_path / "ascii")]
    assert [(d["repository"], d["path"]) for d in documents] == [("é", "ß/a.py"), ("é", "日本.py")]


@pytest.mark.parametrize(
    ("size", "shards"),
    [
        (1, [[60], [40], [90], [10], [30]]),
        (99, [[60], [40], [90], [10, 30]]),
        (100, [[60, 40], [90, 10], [30]]),
        (129, [[60, 40], [90, 10], [30]]),
        (130, [[60, 40], [90, 10, 30]]),
        (230, [[60, 40, 90, 10, 30]]),
    ],
)
def test_shards_hold_no_more_than_their_size(
    tmp_path: Path, size: int, shards: list[list[int]]
) -> None:
    """In UTF-8; a larger text is alone."""
    sizes = [60, 40, 90, 10, 30]
    root = write_tree(
        tmp_path / "tree", {f"{n}.py": "é" * (size // 2) for n, size in enumerate(sizes)}
    )
    output = tmp_path / "raw"
    assert collect(root, "-o", output, "--shard-size", str(size), "--prefix", "x").exit_code == 0
    found = []
    for path in sorted(output.iterdir()):
        (tmp_path / path.stem).mkdir()
        path.rename(tmp_path / path.stem / path.name)
        found.append([len(d["text"].encode()) for d in read_shards(tmp_path / path.stem)])
    assert found == shards


def test_bounds_are_bytes_of_the_file(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "tree", {"a.py": "é" * 500, "b.py": "é" * 500 + "x"})
    done = collect(root, "-o", tmp_path / "raw", "--max-file-size", "1kB")
    assert reasons(done) == {"too_large": 1, "total": 1}
    root = write_tree(tmp_path / "other", {"a.py": "#" * 10**6, "b.py": "#" * (10**6 + 1)})
    assert reasons(collect(root, "-o", tmp_path / "other-raw")) == {"too_large": 1, "total": 1}


def test_shards_of_an_earlier_run_are_kept_unless_all_are_replaced(tmp_path: Path) -> None:
    root = checkout(tmp_path / "tree", TREE)
    output = tmp_path / "raw"
    assert collect(root, "-o", output, "--shard-size", "1").exit_code == 0
    (output / "collected-notes.jsonl.zst").write_bytes(b"mine")
    before = file_bytes(output)
    assert len(before) == 6
    refused = collect(root, "-o", output)
    assert refused.exit_code == 1
    assert refused.stderr.startswith(f"Error: {output}/collected-00000.jsonl.zst: is there already")
    assert file_bytes(output) == before
    assert collect(root, "-o", output, "--prefix", "more").exit_code == 0
    (tmp_path / "empty").mkdir()
    nothing = collect(tmp_path / "empty", "-o", output, "--overwrite")
    assert nothing.exit_code == 1
    assert nothing.stdout.startswith("documents  0, 0 Bytes of text\n")
    assert before.items() <= file_bytes(output).items()
    assert collect(root, "-o", output, "--overwrite").exit_code == 0
    names = {"collected-00000.jsonl.zst", "collected-notes.jsonl.zst", "more-00000.jsonl.zst"}
    assert names_in(output) == names


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    root = checkout(tmp_path / "tree", TREE)
    (tmp_path / "bad.zip").write_bytes(b"text")
    output = tmp_path / "raw"
    failed = collect(root, tmp_path / "bad.zip", "-o", output)
    assert failed.exit_code == 1
    assert failed.stderr.startswith(f"Error: {tmp_path}/bad.zip: is damaged or cut short")
    assert names_in(output) == set()


@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_leaves_nothing_that_a_glob_matches(
    tmp_path: Path, ended_by: signal.Signals
) -> None:
    root = write_tree(tmp_path / "tree", {f"{n}.py": "#" * 100 for n in range(500)})
    output, work_for_seconds = tmp_path / "raw", [tmp_path / f"{n}.zip" for n in range(80)]
    write_zip(tmp_path / "0.zip", root)
    for archive in work_for_seconds[1:]:
        archive.hardlink_to(work_for_seconds[0])
    command = [
        *PROGRAM,
        "collect",
        *map(str, work_for_seconds),
        "-o",
        str(output),
        "--shard-size",
        "10kB",
    ]
    hidden = output / ".collected.staging"
    with running(command, tmp_path / "log", environment(REPOSITORY)) as process:
        while len(list(hidden.glob("*-00003*"))) == 0:
            assert process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.005)
        process.send_signal(ended_by)
        assert process.wait(30) == (130 if ended_by == signal.SIGINT else -signal.SIGKILL)
    assert find_shards(["raw/**/*"], tmp_path) == {}
    assert (output / ".collected.staging").exists() == (ended_by == signal.SIGKILL)
    assert collect(root, "-o", output).exit_code == 0
    assert names_in(output) == {"collected-00000.jsonl.zst"}


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder that every user writes; pytest's own are one user's."""
    with TemporaryDirectory(prefix="fim-assets-tests-") as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


@contextmanager
def without_rights() -> Iterator[None]:
    """As a user whom permissions hold back, which root is not."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


def test_what_may_not_be_read_is_named(open_to_all: Path) -> None:
    root = write_tree(open_to_all / "tree", {"a.py": "a", "b.py": "b", "c/d.py": "d"})
    assert collect(root, "-o", open_to_all / "all").exit_code == 0
    (root / "b.py").chmod(0)
    (root / "c").chmod(0)
    with without_rights():
        done = collect(root, "-o", open_to_all / "raw")
    (root / "c").chmod(0o755)
    assert done.exit_code == 0, done.output
    assert f"\nunreadable {root}/b.py, {root}/c/\n" in done.stdout
    assert reasons(done) == {"unreadable": 2, "total": 2}
    assert [d["text"] for d in read_shards(open_to_all / "raw")] == ["a"]
    root.chmod(0)
    with without_rights():
        refused = collect(root, "-o", open_to_all / "none")
    root.chmod(0o755)
    assert refused.exit_code == 1
    assert f"Permission denied: '{root}/'" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "raw"], "Missing argument 'SOURCES...'"),
        (["tree"], "Missing option '-o'"),
        (["nowhere", "-o", "raw"], "nowhere: there is no such folder or archive"),
        (
            ["tree/a.py", "-o", "raw"],
            "tree/a.py: is neither a folder nor a file whose name",
        ),
        (["tree", "-o", "tree"], "is a source and the output too"),
        (["tree", "./tree", "-o", "raw"], "is a source twice"),
        (["tree/in", "tree", "-o", "raw"], "tree/in: is in tree, a source too"),
        (["tree", "-o", "s3://bucket/raw"], "shards are written to a folder of this machine"),
        (["tree", "-o", "raw", "--shard-size", "much"], "'much' is no size"),
        (["tree", "-o", "raw", "--max-file-size", "0"], "'0' is no size"),
        (["tree", "-o", "raw", "--prefix", "../x"], "'../x' is no begin of a partition key"),
        (["tree", "-o", "raw", "--prefix", ".x"], "'.x' is no begin of a partition key"),
    ],
)
def test_wrong_arguments_are_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    write_tree(tmp_path / "tree", {"a.py": "a", "in/b.py": "b"})
    monkeypatch.chdir(tmp_path)
    done = collect(*arguments)
    assert done.exit_code in {1, 2}
    assert message in done.stderr
    assert not list(tmp_path.glob("**/*.zst"))


def test_an_archive_in_a_source_is_another_source(tmp_path: Path) -> None:
    root, archive = write_tree(tmp_path / "tree", {"a.py": "a"}), tmp_path / "tree" / "b.zip"
    write_zip(archive, write_tree(tmp_path / "packed", {"b.py": "b"}))
    assert collect(root, archive, "-o", tmp_path / "raw").exit_code == 0
    assert [document["text"] for document in read_shards(tmp_path / "raw")] == ["a", "b"]


def test_the_next_command_finds_the_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tree(tmp_path / "tree", {"a.py": "a" * 50})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FIM_DATA_ROOT", str(tmp_path / "data"))
    for output, begins in (
        ("data/raw/mine", "fim-assets doctor"),
        ("other/raw", f"FIM_DATA_ROOT={tmp_path}/other fim-assets doctor"),
        ("else", f"FIM_INPUT_ROOT={tmp_path} fim-assets doctor, with raw: "),
    ):
        done = collect("tree", "-o", output)
        step = done.stdout.splitlines()[-1].removeprefix("next       ")
        assert step.startswith(begins)
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(step.partition(", with ")[2])
    settings = {"FIM_DATA_ROOT": str(tmp_path / "other")}
    assert ask("keys", settings) == "collected-00000\n"
    settings = {"FIM_INPUT_ROOT": str(tmp_path), "FIM_RECIPE": str(recipe)}
    assert ask("keys", settings) == "collected-00000\n"


def test_without_linguist_it_says_what_to_do(tmp_path: Path) -> None:
    write_tree(tmp_path / "tree", {"a.py": "a"})
    program = "import sys; sys.modules['enry'] = None; " + PROGRAM[2]
    done = subprocess.run(
        [sys.executable, "-c", program, "collect", "tree", "-o", "raw"],
        cwd=tmp_path,
        env=environment(REPOSITORY),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: the library of Linguist's rules, enry, ")
    assert "collect on x86-64 or macOS" in done.stderr
    assert not (tmp_path / "raw").exists()


def test_collected_files_go_all_the_way_and_come_back(tmp_path: Path) -> None:
    root = checkout(tmp_path / "tree", TREE)
    assert collect(root, "-o", tmp_path / "raw", "--shard-size", "1kB").exit_code == 0
    settings = {"FIM_DATA_ROOT": str(tmp_path)}
    assert "languages Python 60%" in ask("doctor", settings)
    keys = [f"collected-0000{number}" for number in range(3)]
    first_to_last = {
        "dagster/asset_partition_range_start": keys[0],
        "dagster/asset_partition_range_end": keys[2],
    }
    assert materialize(tmp_path, ALL, tags=first_to_last).success
    assert (tmp_path / "corpus_report" / "report.html").exists()
    restored: dict[str, str] = {}
    for key in keys:
        shard = tmp_path / "fim_shards" / key
        output = tmp_path / "restored" / f"{key}.jsonl.zst"
        output.parent.mkdir(exist_ok=True)
        ask(f"restore {shard}.jsonl.zst {shard}.parquet --output {output}", settings)
        restored |= {d["metadata"]["path"]: d["text"] for d in read_shards(output.parent)}
    assert restored == TEXTS
    for path in ("LICENSE", "src/a.py", "src/b.c"):
        assert restored[path].encode() == (root / path).read_bytes()
