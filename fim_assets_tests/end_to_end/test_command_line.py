import fcntl
import gzip
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import tarfile
import termios
import textwrap
from contextlib import suppress
from pathlib import Path

import numpy as np
import orjson
import polars as pl
import pytest
from click.testing import CliRunner
from dagster import DagsterRunStatus

from fim_assets.cli.main import main
from fim_assets.stages import ASSETS
from fim_assets_tests.corpora import documents, json_lines, write_shard
from fim_assets_tests.end_to_end.commands import ask, copy_checkout, environment, run, runs_of

MATERIALIZE = "dagster asset materialize -m fim_assets.definitions"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_checkout(tmp_path_factory.mktemp("checkout") / "fim_assets")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, name in enumerate(["a.jsonl.zst", "b.json.gz", "c/d.jsonl", "c/e.json"]):
        write_shard(tmp_path / "raw" / name, documents(50, str(number)))
    return tmp_path


def receipts(root: Path) -> set[str]:
    return {p.relative_to(root).as_posix() for a in ASSETS for p in (root / a).glob("*.json")}


def test_whole_range_then_the_arrays_are_what_a_trainer_reads(checkout: Path, root: Path) -> None:
    """Run in another folder than DAGSTER_HOME, where the record of the run goes all the same."""
    settings = {"FIM_DATA_ROOT": str(root), "DAGSTER_HOME": str(checkout)}
    assert ask("keys", settings).split() == ["a", "b", "c__d", "c__e"]
    done = run(
        f'cd {root}; {MATERIALIZE} --select "*" --partition-range "$(fim-assets keys --range)"',
        checkout,
        settings,
    )
    assert done.returncode == 0, done.stderr
    assert runs_of(checkout) == [DagsterRunStatus.SUCCESS]
    assert not list(root.rglob("*.db"))
    assert "proceed without gating" not in done.stderr
    assert len(receipts(root)) == 12
    summary = orjson.loads((root / "corpus_report" / "summary.json").read_bytes())
    assert summary["totals"]["documents"] == 200
    tokens = 0
    for array in summary["arrays"]:
        ids = np.memmap(root / array["path"], array["dtype"], "r")
        lines = gzip.decompress((root / array["path"]).with_suffix(".csv.gz").read_bytes())
        ends = [int(line.split(b",")[1]) for line in lines.splitlines()]
        assert (np.flatnonzero(ids == 100257) + 1).tolist() == ends
        tokens += len(ids)
    assert tokens == summary["totals"]["tokens"]
    assert f"{tokens:,}" in ask("summary", settings)


def test_failure_is_named_and_the_exit_status_is_one(checkout: Path, root: Path) -> None:
    damaged = root / "raw" / "b.json.gz"
    damaged.write_bytes(damaged.read_bytes()[:-30])
    settings = {"FIM_DATA_ROOT": str(root), "FIM_WORKERS": "1"}
    before = runs_of(checkout)
    command = f'make -s .env; {MATERIALIZE} --select "*" --partition-range a...c__e'
    done = run(command, checkout, settings)
    assert done.returncode == 1
    assert runs_of(checkout) == [DagsterRunStatus.FAILURE, *before], "in this folder, no variable"
    assert "1 of 4 partitions failed" in done.stderr
    assert f"b: raw_shards: {damaged}: after line" in done.stderr
    assert receipts(root) == {f"{a}/{k}.json" for a in ASSETS for k in ("a", "c__d", "c__e")}
    assert not (root / "corpus_report").exists()
    shown = ask("summary", settings)
    assert "3 of 4 partitions complete" in shown
    assert "incomplete  b: " in shown


def test_a_range_that_would_be_split_into_runs_is_refused_with_what_to_do(
    checkout: Path, root: Path
) -> None:
    settings = {"FIM_DATA_ROOT": str(root), "FIM_PARTITIONS_PER_RUN": "2"}
    launch = "dg launch --assets fim_shards --partition-range a...b"
    for command in (f"{MATERIALIZE} --select '*' --partition-range=a...b", launch):
        done = run(command, checkout, settings)
        assert done.returncode == 1
        assert "FIM_PARTITIONS_PER_RUN=2 splits a range into runs" in done.stderr
    done = run(f"env -u FIM_PARTITIONS_PER_RUN {launch}", checkout, settings)
    assert done.returncode == 0, done.stderr
    assert receipts(root) == {"fim_shards/a.json", "fim_shards/b.json"}


def test_an_unknown_partition_is_one_message(checkout: Path, root: Path) -> None:
    settings = {"FIM_DATA_ROOT": str(root)}
    done = run(f"{MATERIALIZE} --select fim_shards --partition c__f", checkout, settings)
    assert done.returncode == 1
    assert "c__f: no partition key; did you mean c__e?" in done.stderr
    assert "Traceback" not in done.stderr


def test_own_shards_and_recipe(checkout: Path, tmp_path: Path) -> None:
    """A recipe in YAML that names other globs, fields and rates."""
    rows = [{"doc": {"body": row["text"], "key": row["id"]}} for row in documents(80)]
    for name in ("one", "two"):
        path = tmp_path / "elsewhere" / "deep" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(json_lines(rows))
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "seed: 7\n"
        f"raw: {{documents: ['{tmp_path}/elsewhere/**/*.jsonl'], text_field: doc.body,"
        " id_field: doc.key}\n"
        "fim: {fim_rate: 0.9, psm_spm_split: 1}\n"
    )
    out = tmp_path / "out"
    done = run(
        f"{MATERIALIZE} --select {','.join(ASSETS)} --partition-range deep__one...deep__two",
        checkout,
        {"FIM_DATA_ROOT": str(out), "FIM_RECIPE": str(recipe)},
    )
    assert done.returncode == 0, done.stderr
    orders = pl.read_parquet(out / "fim_shards" / "deep__one.parquet")["order"]
    assert set(orders) == {"none", "psm"}
    assert len(list((out / "token_arrays").glob("*.npy"))) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"FIM_RECIPE": "nowhere.yaml"}, "recipe nowhere.yaml: no such file"),
        ({"FIM_WORKERS": "0"}, "FIM_WORKERS=0: give a whole number of at least 1"),
    ],
)
def test_bad_settings_are_named(
    checkout: Path, root: Path, settings: dict[str, str], message: str
) -> None:
    given = {"FIM_DATA_ROOT": str(root), **settings}
    done = run(f"{MATERIALIZE} --select fim_shards --partition a", checkout, given)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    asked = run("fim-assets keys", checkout, given)
    assert asked.returncode == 1
    assert asked.stderr == f"Error: {asked.stderr.removeprefix('Error: ')}"
    assert message in asked.stderr
    assert "Traceback" not in asked.stderr


def test_the_examples_of_every_commands_help_run(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(2):
        rows = [{"id": "__future__.py", "text": "import this\n"}, *documents(40, str(number))]
        write_shard(tmp_path / "data" / "raw" / f"stdlib-{number}.jsonl.zst", rows)
    (tmp_path / "my-project").mkdir()
    (tmp_path / "my-project" / "a.py").write_text("import this\n")
    with tarfile.open(tmp_path / "another.tar.gz", "w:gz") as tar:
        tar.add("my-project")
    data = str(tmp_path / "data")
    settings = {"FIM_DATA_ROOT": data, "PYTHONPATH": str(checkout), "HOME": str(tmp_path)}
    others = sorted(main.commands.keys() - {"keys", "sample"})
    for name in ("keys", *others, "sample"):  # makes everything, looks at it, writes other shards
        shown = CliRunner().invoke(main, [name, "--help"]).stdout
        examples = textwrap.dedent(shown.partition("Examples:\n")[2])
        assert "fim-assets" in examples
        for_a_shell = []
        for line in examples.replace("\\\n", "").splitlines():
            if re.fullmatch(r"(FIM_\w+=\w+ )?fim-assets [^$|>]+", line):
                variables, _, command = line.partition("fim-assets ")
                ask(command, settings | dict(v.split("=") for v in shlex.split(variables)))
            else:
                for_a_shell.append(line)
        done = run("\n".join(["set -e", *for_a_shell]), tmp_path, settings)
        assert done.returncode == 0, f"{examples}\n{done.stdout}\n{done.stderr}"
    assert {"original.jsonl.zst", "shards.tsv", "_fim-assets"} <= {
        path.name for path in tmp_path.iterdir()
    }


def in_a_terminal(
    command: str, folder: Path, settings: dict[str, str], interrupt_at: bytes | None = None
) -> tuple[str, int]:
    """What a terminal of 60 columns shows of a command, and its exit status."""
    terminal, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("4H", 40, 60, 0, 0))
    take_it = (
        "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
        "os.execvp('bash', ['bash', '-c', 'exec ' + sys.argv[1]])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", take_it, command],
        stdin=side,
        stdout=side,
        stderr=side,
        cwd=folder,
        env=environment(folder, settings),
        start_new_session=True,
    )
    os.close(side)
    shown = b""
    with suppress(OSError):  # how a terminal ends
        while some := os.read(terminal, 1 << 16):
            shown += some
            if interrupt_at is not None and interrupt_at in shown:
                interrupt_at = None
                os.write(terminal, b"\x03")
    os.close(terminal)
    return shown.decode(), process.wait()


def test_terminals_colours_and_interrupts(checkout: Path, root: Path) -> None:
    settings = {"FIM_DATA_ROOT": str(root), "TERM": "xterm-256color"}
    colour = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-8]|9[0-7])[;m]")
    shown, status = in_a_terminal("fim-assets doctor", checkout, settings)
    assert status == 0
    assert colour.search(shown)
    assert "\x1b[?25l" in shown, "what is being done is shown meanwhile"
    shown, status = in_a_terminal(
        "fim-assets preview a --no-tokens", checkout, settings | {"NO_COLOR": "1"}
    )
    assert status == 0
    assert not colour.search(shown)
    shown, status = in_a_terminal("fim-assets verify", checkout, settings | {"TERM": "dumb"})
    assert (status, "\x1b" in shown) == (1, False), "nothing is there to verify"
    shown, status = in_a_terminal("fim-assets doctor", checkout, settings, b"DAGSTER_HOME")
    assert status == 130
    assert "Traceback" not in shown
    assert "Aborted" not in shown
    piped = run("fim-assets preview a --no-tokens", checkout, settings)
    assert piped.returncode == 0
    assert "\x1b" not in piped.stdout + piped.stderr
