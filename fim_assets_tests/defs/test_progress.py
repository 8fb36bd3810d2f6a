"""Progress in words, and as a bar in a real terminal."""

import os
import pty
import re
import select
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from fim_assets.corpus.raw_shard import RawShard
from fim_assets.defs.progress import described, progress
from fim_assets.recipe import Recipe
from fim_assets.run.partition import Outcome, Task
from fim_assets_tests.corpora import corpus_of, documents, write_shard
from fim_assets_tests.end_to_end.commands import REPOSITORY, environment


def test_the_time_left_is_told_by_bytes_once_there_is_something_to_tell_it_by() -> None:
    told = described(done=25, failed=0, of=1_000, share=0.2, seconds=50)
    assert told == "25 of 1,000 partitions in 50 s, about 200 s left"
    assert described(1, 0, 8, 0.2, 56) == "1 of 8 partitions in 56 s", "the workers' start is in it"
    assert described(4, 0, 4, 1.0, 8) == "4 of 4 partitions in 8 s"
    assert described(1, 0, 1, 1.0, 8) == "1 of 1 partition in 8 s"


def test_the_log_tells_every_ten_seconds_at_most_and_when_all_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It begins at 0 s; one partition of 4 bytes and three of 2 are done after 5, 11, 12 and 13.

    The first of them fails.
    """
    seconds = iter([0.0, 5.0, 11.0, 12.0, 13.0])
    clock = SimpleNamespace(monotonic=lambda: next(seconds))
    monkeypatch.setattr("fim_assets.defs.progress.time", clock)
    corpus, context = corpus_of(Recipe(), Path("data")), Mock()
    tasks = [
        Task(corpus, key, RawShard(f"{key}.jsonl", size), frozenset(), frozenset())
        for key, size in {"a": 4, "b": 2, "c": 2, "d": 2}.items()
    ]
    with progress(tasks, context) as advance:
        for task in tasks:
            advance(Outcome(task.key, [], failure="why" if task.key == "a" else None))
    assert [call.args[0] for call in context.log.info.call_args_list] == [
        "1 of 4 partitions in 11 s, 1 failed, about 7 s left",
        "3 of 4 partitions in 13 s, 1 failed",
    ]


def test_a_bar_shows_in_a_terminal(tmp_path: Path) -> None:
    for key in ("a", "b"):
        write_shard(tmp_path / "raw" / f"{key}.jsonl", documents(20, key))
    command = (
        "dagster asset materialize -m fim_assets.definitions --select raw_shards "
        "--partition-range a...b"
    )
    variables = {
        "FIM_DATA_ROOT": str(tmp_path),
        "FIM_WORKERS": "1",
        "TERM": "xterm",
        "COLUMNS": "100",
    }
    main, terminal = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", "--wait", "bash", "-c", command],
        cwd=tmp_path,
        env=environment(REPOSITORY, variables),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    shown = read_all(main, process)
    assert process.wait() == 0, shown
    assert re.search(r"partitions \S*━", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown)), shown


def read_all(main: int, process: "subprocess.Popen[bytes]") -> str:
    """What a program shows in a terminal until it ends."""
    content = b""
    end = time.monotonic() + 90
    while time.monotonic() < end:
        ready, _, _ = select.select([main], [], [], 0.2)
        if ready:
            try:
                content += os.read(main, 1 << 16)
            except OSError:  # the other end is closed
                break
        elif process.poll() is not None:
            break
    return content.decode(errors="replace")
