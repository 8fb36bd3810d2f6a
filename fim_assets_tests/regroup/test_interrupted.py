"""Runs that end before their time, and the ones that go on; finished ones; other plans."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fim_assets.corpus.sources import find_shards
from fim_assets.regroup import regroup as module
from fim_assets.regroup.read import ReadTask
from fim_assets.regroup.write import WriteTask
from fim_assets_tests.cli.running import PROGRAM
from fim_assets_tests.corpora import write_shard
from fim_assets_tests.end_to_end.commands import REPOSITORY, environment, running
from fim_assets_tests.faults.scenarios import workers_of
from fim_assets_tests.regroup import killed_at_each_step
from fim_assets_tests.regroup.corpora import (
    document,
    files,
    refuse_others,
    regroup,
    regrouped,
    shard_lines,
    write_inputs,
)

HIDDEN = Path("whole", ".repositories.regroup")


def test_a_run_that_is_killed_at_any_step_is_gone_on_with(root: Path) -> None:
    write_inputs(root, 20)
    done = subprocess.run(
        [sys.executable, "-m", killed_at_each_step.__name__, str(root), "5"],
        cwd=REPOSITORY,
        env=environment(REPOSITORY, {"FIM_DATA_ROOT": str(root), "FIM_WORKERS": "1"}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20


def test_workers_end_with_a_run_and_no_glob_matches_what_it_leaves(root: Path) -> None:
    lines: list[bytes] = []
    for number in range(5):
        rows = [
            document(n, text="x = 1\n" * 800) for n in range(number * 2000, number * 2000 + 2000)
        ]
        content = write_shard(root / "raw" / f"{number}.jsonl", rows).read_bytes()
        lines += content.split(b"\n")[:-1]
    command = [*PROGRAM, "regroup", "raw/*", "-o", "whole", "--shard-size", "5MB"]
    variables = environment(REPOSITORY, {"FIM_DATA_ROOT": str(root), "FIM_WORKERS": "2"})
    with running(command, root / "log", variables, root) as process:
        while not list((root / HIDDEN).glob("*.part")):
            assert process.poll() is None, (root / "log").read_text()
            time.sleep(0.005)
        workers = workers_of(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    end = time.monotonic() + 10
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < end, "a worker lives on"
        time.sleep(0.05)
    assert find_shards(["whole/**/*"], root) == {}
    refuse_others(lines, shard_lines(regrouped(root, "--shard-size", "5MB")))
    assert not HIDDEN.exists()


def count_tasks(patch: pytest.MonkeyPatch) -> list[str]:
    """The keys of the tasks that run from now on."""
    keys: list[str] = []
    for kind in (ReadTask, WriteTask):

        def run(task: Any, run: Callable[[Any], object] = kind.run) -> object:
            keys.append(task.key)
            return run(task)

        patch.setattr(kind, "run", run)
    return keys


def test_what_is_finished_is_not_done_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_inputs(root)
    monkeypatch.setattr(module, "_TASK_BYTES", 1)
    expected = regrouped(root, "--shard-size", "20kB")
    (root / "whole").rename(root / "expected")
    keys = count_tasks(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(WriteTask, "_write", lambda *_: os.close(-1))  # an OSError
        assert regroup("raw/**/*", "-o", "whole", "--shard-size", "20kB").exit_code == 1
    shards = sum(name.endswith(".zst") for name in expected)
    reads, writes = (
        [f"{kind} {n}" for n in range(k)] for kind, k in (("read", 4), ("write", shards))
    )
    assert keys == [*reads, *writes]
    keys.clear()
    assert regrouped(root, "--shard-size", "20kB") == expected
    assert keys == writes
    keys.clear()
    done = regroup("raw/**/*", "-o", "whole", "--shard-size", "20kB")
    assert done.stdout.startswith("finished already")
    assert keys == []
    assert regrouped(root, "--shard-size", "20kB", "--overwrite") == expected
    assert keys == [*reads, *writes]


def test_other_inputs_or_options_start_afresh(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_inputs(root)
    with monkeypatch.context() as patch:
        patch.setattr(WriteTask, "_write", lambda *_: os.close(-1))
        assert regroup("raw/**/*", "-o", "whole").exit_code == 1
    keys = count_tasks(monkeypatch)
    extra = [document(n) for n in range(1000, 1010)]
    lines = write_shard(root / "raw" / "x.jsonl", extra).read_bytes().split(b"\n")[:-1]
    done = regroup("raw/**/*", "-o", "whole", "--shard-size", "20kB")
    assert done.exit_code == 0
    assert "starting afresh, since --shard-size, the inputs changed" in caplog.text
    assert keys[0] == "read 0"
    written = [line for shard in shard_lines(files(root / "whole")) for line in shard]
    assert {*lines} < {*written}


def test_shards_of_other_inputs_stay_unless_all_are_replaced(root: Path) -> None:
    write_inputs(root)
    before = regrouped(root, "--shard-size", "4kB")
    (root / "whole" / "repositories-notes.jsonl.zst").write_bytes(b"mine")
    refused = regroup("raw/**/*", "-o", "whole", "--shard-size", "20kB")
    assert refused.exit_code == 1
    assert refused.stderr.startswith(
        f"Error: {root}/whole/repositories-00000.jsonl.zst: is there already"
    )
    notes = {"repositories-notes.jsonl.zst": b"mine"}
    assert files(root / "whole") == before | notes
    after = regrouped(root, "--shard-size", "20kB", "--overwrite")
    assert regroup("raw/**/*", "-o", "other", "--shard-size", "20kB").exit_code == 0
    assert after == files(root / "other") | notes
    assert len(after) < len(before)


def test_an_input_that_changes_while_it_is_read_is_an_error(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_inputs(root)
    states = iter(["10 1"] * 4 + ["10 2"])
    for name in ("read", "regroup"):
        monkeypatch.setattr(f"fim_assets.regroup.{name}.state_of", lambda _: next(states))
    done = regroup("raw/**/*", "-o", "whole")
    assert done.exit_code == 1
    assert f"{root}/raw/a.jsonl: was written to while it was read" in done.stderr
