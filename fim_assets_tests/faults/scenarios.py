"""Each fault: how it is put in, and what the user sees; all return a `Finding`."""

import os
import random
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from unittest.mock import patch
from uuid import uuid4

import dagster as dg
import orjson
import zstandard
from click.testing import CliRunner
from dagster import DagsterRunStatus

from fim_assets.cli.main import main
from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus.receipts import read_receipt
from fim_assets.fim_shards.restore import restore_shard
from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import Fim
from fim_assets.stages import ASSETS
from fim_assets_tests.corpora import documents, open_corpus, run_all, write_shard
from fim_assets_tests.end_to_end.commands import (
    REPOSITORY,
    environment,
    kill_a_command,
    running,
    runs_of,
)
from fim_assets_tests.end_to_end.commands import (
    run as run_command,
)
from fim_assets_tests.faults import told
from fim_assets_tests.faults.broken import SHARDS
from fim_assets_tests.faults.corpus import KEYS, Damage, FaultCorpus, differing, outputs, reasons
from fim_assets_tests.faults.run import READY

_SECONDS_OF_THE_QUEUE = 180
"""Within which a queue that waits for nothing has made a run of three small shards."""


@dataclass(frozen=True)
class Finding:
    """A row of the table.

    Attributes:
        fault: What was done.
        injected: How often.
        damage: What was wrong in the end, over all times; must be nothing.
        seen: What the user sees, of the last time.
        unnoticed: Times that the user was not told, though something was wrong; must be none.
    """

    fault: str
    injected: int
    damage: Damage
    seen: str
    unnoticed: int = 0


def command(root: Path, *options: str) -> list[str]:
    """A run in a process of its own."""
    return [sys.executable, "-m", "fim_assets_tests.faults.run", str(root), *options]


def started(root: Path, *options: str) -> "subprocess.Popen[str]":
    """A run that has loaded all that it needs and begins."""
    run = subprocess.Popen(command(root, *options), stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    line = run.stdout.readline()
    if line.strip() != READY:
        raise RuntimeError(f"the run did not begin: {line}")
    return run


def killed(corpus: FaultCorpus, asset: str, times: int, seed: int) -> Finding:
    """SIGKILL at a random moment while an asset is made; then the next run."""
    source = random.Random(seed)
    root = corpus.finished(f"killed-{asset}")
    seconds = corpus.seconds(asset)
    damage, interrupted = Damage(), 0
    while interrupted < times:
        with started(root, "--asset", asset) as run:
            time.sleep(source.uniform(0, seconds))
            run.kill()
            interrupted += run.wait() < 0
        damage += corpus.seen_by_readers(root)
        failures = corpus.finish(root)
        damage += corpus.damage(root)
        if failures:
            raise RuntimeError(failures[0])
    return Finding(f"SIGKILL during {asset}", interrupted, damage, "the next run goes on")


def killed_often(corpus: FaultCorpus, times: int, seed: int) -> Finding:
    """SIGKILL one run after the other, all assets and two workers, and only then a whole run."""
    source = random.Random(seed)
    root = corpus.fresh("killed-often")
    damage, interrupted = Damage(), 0
    while interrupted < times:
        with started(root, "--workers", "2") as run:
            time.sleep(source.uniform(0, 2))
            run.kill()
            interrupted += run.wait() < 0
        damage += corpus.seen_by_readers(root)
    corpus.finish(root)
    damage += corpus.damage(root)
    return Finding(
        "SIGKILL of a run with two workers, again and again", times, damage, "the next run goes on"
    )


def dead_run(corpus: FaultCorpus, times: int, seed: int) -> Finding:
    """SIGKILL of a command's run; then the queue, of one run at once, must take the next one."""
    source = random.Random(seed)
    damage, unnoticed = Damage(), 0
    for _ in range(times):
        root = corpus.fresh("dead")
        home = root / "home"
        home.mkdir()
        shutil.copy(REPOSITORY / "dagster.yaml", home)
        kill_a_command(home, root, f"{KEYS[0]}...{KEYS[-1]}", source.uniform(0, 0.5))
        settings = {"DAGSTER_HOME": str(home), "FIM_DATA_ROOT": str(root)}
        of_definitions = ["-m", "fim_assets.definitions"]
        launch = shlex.join(
            ["dagster", "job", "launch", *of_definitions, "-j", "raw_shards_to_corpus_report"]
        )
        if run_command(launch, root, settings | {"PYTHONPATH": str(REPOSITORY)}).returncode:
            raise RuntimeError(launch)
        daemon = [str(Path(sys.prefix) / "bin" / "dagster-daemon"), "run", *of_definitions]
        with running(daemon, root / "daemon.log", environment(REPOSITORY, settings), root):
            end = time.monotonic() + _SECONDS_OF_THE_QUEUE
            while (found := runs_of(home))[0] != DagsterRunStatus.SUCCESS:
                if time.monotonic() > end:
                    break
                time.sleep(0.5)
        unnoticed += found != [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE]
        # The report writes it, of which the undisturbed run made none.
        (root / "token_arrays" / "mix.txt").unlink(missing_ok=True)
        damage += corpus.damage(root)
    seen = "the run is failed: its process is gone; the next one begins"
    return Finding("SIGKILL of a command's run, then the queue", times, damage, seen, unnoticed)


ASKS: dict[str, list[tuple[signal.Signals, bool]]] = {
    "Terminate in the UI": [(signal.SIGINT, False)],
    "SIGTERM of a command's run": [(signal.SIGTERM, False)],
    "Ctrl-C": [(signal.SIGINT, True)],
    "Ctrl-C twice": [(signal.SIGINT, True)] * 2,
}
"""Ways to tell a run to end: signals, and whether all processes of a terminal hear them."""

MARK = "FIM_TEST_MARK"
"""A variable that all processes of a run inherit."""

TINY_SHARDS = 100
SECONDS_TO_END = 60.0
"""Much more than a slow machine needs; what is left then stays for ever."""

_MOMENTS = range(20, TINY_SHARDS // 2)
"""Partitions that are finished when a run is told to end: the first of them are recorded."""


def told_to_end(folder: Path, ask: str, times: int, seed: int) -> Finding:
    """Tell Dagster's run over tiny shards to end, at random moments; then the next run.

    A process that is left counts as a file that is, and a partition that Dagster has recorded and
    that has no receipt as one not told.
    """
    source = random.Random(seed)
    undisturbed = folder / "tiny"
    if not undisturbed.exists():
        for number in range(TINY_SHARDS):
            name = f"{number:03}"
            write_shard(undisturbed / "raw" / f"{name}.jsonl", documents(1, name))
        run_all(open_corpus(undisturbed), told.MADE, [])
    expected = outputs(undisturbed)
    root = folder / f"told-{ask.split(maxsplit=1)[0]}"
    damage, unnoticed = Damage(), 0
    for _ in range(times):
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(undisturbed / "raw", root / "raw")
        with told_run(root, launched=ask.startswith("Terminate")) as (run, process, mark):
            wait_for_partitions(root, run, source.choice(_MOMENTS))
            time.sleep(source.uniform(0, 0.02))
            for number, (sent, to_all) in enumerate(ASKS[ask]):
                time.sleep(0.1 * number)
                with suppress(ProcessLookupError):
                    (os.killpg if to_all else os.kill)(run.pid if to_all else process, sent)
            left = processes_left(mark, SECONDS_TO_END)
        found, complete = outputs(root), recorded(root)
        unnoticed += not complete
        unnoticed += sum(f"{asset}/{key}.json" not in found for asset, key in complete)
        wrong = sum(
            differing(content, expected.get(name, b""))
            for name, content in found.items()
            if ".staging" not in name
        )
        run_all(open_corpus(root), told.MADE, [], skip_complete=True)
        wrong += outputs(root) != expected
        stale = [path for asset in told.MADE for path in (root / asset).glob(".*")]
        damage += Damage(0, wrong, len(left) + len(stale))
    seen = "CANCELED; what is recorded stays, and the next run goes on"
    return Finding(f"told to end: {ask}", times, damage, seen, unnoticed)


@contextmanager
def told_run(
    root: Path, *options: str, launched: bool = False
) -> Iterator[tuple["subprocess.Popen[str]", int, str]]:
    """Dagster's run in a session of its own; the command, the run's process, and its mark.

    In the end nothing of it is left.
    """
    mark = uuid4().hex
    arguments = [str(root), *options, *(["--launched"] if launched else [])]
    run = subprocess.Popen(
        [sys.executable, "-m", "fim_assets_tests.faults.told", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {MARK: mark},
        start_new_session=True,
    )
    try:
        assert run.stdout is not None
        yield run, int(run.stdout.readline()), mark
    finally:
        for process in marked(mark):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        run.communicate()


def wait_for_partitions(root: Path, run: "subprocess.Popen[str]", count: int) -> None:
    """Wait until a run has finished some partitions.

    Raises:
        RuntimeError: If it ends before.
    """
    while len(list(root.glob("raw_shards/*.json"))) < count:
        if run.poll() is not None:
            raise RuntimeError("the run has ended")
        time.sleep(0.005)


def marked(mark: str) -> set[int]:
    """Processes that live and have a mark in their environment."""
    found: set[int] = set()
    wanted = f"{MARK}={mark}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it may end meanwhile, or be another user's
            if wanted in (process / "environ").read_bytes().split(b"\0"):
                found.add(int(process.name))
    return found


def processes_left(mark: str, seconds: float) -> set[int]:
    """Processes with a mark that do not end within some seconds."""
    end = time.monotonic() + seconds
    while (left := marked(mark)) and time.monotonic() < end:
        time.sleep(0.05)
    return left


def recorded(root: Path) -> set[tuple[str, str]]:
    """Assets and partitions that Dagster's record says are materialized."""
    with dg.DagsterInstance.local_temp(str(root / "dagster")) as instance:
        return {
            (asset, key)
            for asset in told.MADE
            for key in instance.get_materialized_partitions(dg.AssetKey(asset))
        }


@contextmanager
def disk(folder: Path, size: int) -> Iterator[Path]:
    """A disk of so many bytes.

    Raises:
        PermissionError: If this process may not mount one.
    """
    folder.mkdir(exist_ok=True)
    mount(folder, size)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def mount(folder: Path, size: int, *options: str) -> None:
    """Mount a disk in memory, or change the one that is mounted there."""
    choice = ",".join([f"size={size}", *options])
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", choice, "tmpfs", folder], capture_output=True, check=False
    )
    if done.returncode:
        raise PermissionError(done.stderr.decode().strip())


def full_disk(corpus: FaultCorpus, folder: Path, times: int) -> Finding:
    """A disk that is full after ever more bytes; then it has room."""
    whole = sum(map(len, corpus.expected.values()))
    damage, told, seen = Damage(), 0, ""
    for number in range(times):
        size = whole * (number + 1) // (times + 1) // 4096 * 4096 + 4096
        with disk(folder, size) as root:
            link_raw(corpus, root)
            failures = corpus.finish(root)
            damage += corpus.seen_by_readers(root)
            told += any("No space left on device" in failure for failure in failures)
            seen = failures[0] if failures else ""
            mount(folder, 4 * whole, "remount")
            corpus.finish(root)
            damage += corpus.damage(root)
    return Finding("disk full", times, damage, seen, times - told)


def link_raw(corpus: FaultCorpus, root: Path) -> None:
    """Have a root read the undisturbed one's raw shards."""
    (root / "raw").symlink_to(corpus.undisturbed / "raw", target_is_directory=True)


def limited_files(corpus: FaultCorpus, times: int) -> Finding:
    """No file may grow past a size, which the kernel enforces for whoever may not mount a disk."""
    largest = max(map(len, corpus.expected.values()))
    root = corpus.fresh("limited")
    damage, told, seen = Damage(), 0, ""
    for number in range(times):
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        limit = largest * (number + 1) // (times + 1)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            failures = corpus.finish(root, skip_complete=False)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        damage += corpus.seen_by_readers(root)
        told += any("File too large" in failure for failure in failures)
        seen = failures[0] if failures else ""
        corpus.finish(root)
        damage += corpus.damage(root)
    return Finding("no file may grow further", times, damage, seen, times - told)


def read_only(corpus: FaultCorpus, folder: Path) -> Finding:
    """A target that cannot be written; then it can."""
    size = 4 * sum(map(len, corpus.expected.values()))
    with disk(folder, size) as root:
        link_raw(corpus, root)
        mount(folder, size, "remount", "ro")
        failures = corpus.finish(root)
        told = len(failures) == len(KEYS) and all("Read-only" in failure for failure in failures)
        mount(folder, size, "remount", "rw")
        corpus.finish(root)
        return Finding("read-only target", 1, corpus.damage(root), failures[0], int(not told))


def two_at_once(corpus: FaultCorpus, times: int, no_locks: str | None = None) -> Finding:
    """Two runs over the same partitions at the same time; without locks, one may fail.

    Args:
        corpus: What they make.
        times: How often.
        no_locks: The error's name that a file system without locks answers.
    """
    lock = no_locks is None
    damage, seen = Damage(), "both succeed" if lock else "the one that comes second fails, or none"
    unnoticed = 0
    for _ in range(times):
        root = corpus.fresh("two")
        options = [] if no_locks is None else ["--without-locks", no_locks]
        runs = [started(root, *options) for _ in range(2)]
        told = [run.communicate()[0] for run in runs]
        unnoticed += sum(
            bool(run.returncode) != bool(text) for run, text in zip(runs, told, strict=True)
        )
        unnoticed += lock and any(run.returncode for run in runs)
        damage += corpus.seen_by_readers(root)
        if lock:
            damage += corpus.damage(root)
        else:
            corpus.finish(root)
            damage += corpus.damage(root)
    name = "two runs of the same partitions at once"
    if not lock:
        name += f", on a file system without locks ({no_locks})"
    return Finding(name, times, damage, seen, unnoticed)


def flip(path: Path) -> None:
    """Flip a bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    """Cut a file's last byte."""
    os.truncate(path, path.stat().st_size - 1)


CHANGES: dict[str, Callable[[Path], object]] = {
    "with a flipped bit": flip,
    "cut short": cut,
    "gone": Path.unlink,
}


def damaged_at_rest(corpus: FaultCorpus, change: Callable[[Path], object], name: str) -> Finding:
    """Every output in its turn; `fim-assets verify` tells, and the partition is made again."""
    root = corpus.finished("at-rest")
    files = [
        path
        for asset in ASSETS
        for path in sorted((root / asset).iterdir())
        if path.suffix != ".json"
    ]
    damage, told, seen = Damage(), 0, ""
    for path in files:
        change(path)
        done = CliRunner(env={"FIM_DATA_ROOT": str(root), "FIM_RECIPE": ""}).invoke(
            main, ["verify"]
        )
        told += done.exit_code == 1 and str(path) in done.output
        seen = next(line for line in done.output.splitlines() if line.startswith("fault"))
        key = path.name.partition(".")[0].partition("-")[0]
        for asset in ASSETS:
            (root / asset / f"{key}.json").unlink()
        corpus.finish(root)
        damage += corpus.damage(root)
    return Finding(f"an output {name}", len(files), damage, seen, len(files) - told)


def shard_replaced(corpus: FaultCorpus) -> Finding:
    """The raw shard, or the FIM shard, is another one when the next stage reads it."""
    seen, told = "", 0
    for replaced in ("raw/a.jsonl.zst", "fim_shards/a.jsonl.zst"):
        root = corpus.finished("replaced")
        shutil.copy(root / replaced.replace("a.", "b."), root / replaced)
        stage = "fim_shards" if replaced.startswith("raw") else "token_arrays"
        seen = run_all(open_corpus(root), [stage])["a"].failure or ""
        told += bool(seen)
        shutil.copy(corpus.undisturbed / replaced, root / replaced)
        corpus.finish(root)
    return Finding("a shard replaced between stages", 2, corpus.damage(root), seen, 2 - told)


def broken_shard(corpus: FaultCorpus, name: str) -> Finding:
    """A shard of `broken.SHARDS` beside a good one, which must not suffer."""
    broken = SHARDS[name]
    root = corpus.fresh("broken")
    for key in KEYS[1:]:
        (root / "raw" / f"{key}.jsonl.zst").unlink()
    shard = root / "raw" / f"broken{broken.ending}"
    shard.write_bytes(broken.content())
    failures = corpus.finish(root)
    place = open_corpus(root).files("token_arrays", "broken")
    receipt = read_receipt(place)
    if broken.documents is None:
        told = len(failures) == 1 and str(shard) in failures[0] and broken.seen in failures[0]
        return Finding(name, 1, Damage(), "".join(failures), int(not told or receipt is not None))
    raw = read_receipt(open_corpus(root).files("raw_shards", "broken"))
    if raw is None or receipt is None:
        return Finding(name, 1, Damage(lost=broken.documents), "".join(failures), 1)
    found = Counter(reasons(place.local.parent / "raw_shards" / "broken.rejected.jsonl"))
    told = found == Counter({broken.seen: broken.rejected} if broken.seen else {})
    seen = f"{raw.result.documents} documents"
    seen += "".join(f", {n} rejected: {reason}" for reason, n in found.items())
    lost = abs(broken.documents - receipt.result.documents)
    lost += raw.result.lines - raw.result.blank - raw.result.rejected - raw.result.documents
    restored = restore_shard(
        root / "fim_shards" / "broken.jsonl.zst", root / "fim_shards" / "broken.parquet"
    )
    lost += abs(broken.documents - sum(1 for _ in restored))
    return Finding(name, 1, Damage(lost), seen, int(not told) + len(failures))


def too_many_rejected(corpus: FaultCorpus) -> Finding:
    """More lines that are no documents than the recipe allows."""
    root = corpus.fresh("rejected")
    shard = write_shard(root / "raw" / "a.jsonl.zst", [*documents(500), b"no", b"{}"])
    outcome = run_all(open_corpus(root, max_rejected_share=0.001))["a"]
    seen = outcome.failure or ""
    told = f"{shard}: 2 of 502 lines rejected" in seen and "line 501: not_json" in seen
    return Finding("more rejected lines than allowed", 1, Damage(), seen, int(not told))


def address_space(corpus: FaultCorpus, times: int) -> Finding:
    """Ever more address space for two workers (`ulimit -v`), until a run has enough; then no limit.

    With too little, native code ends its process, or what asks for memory or a thread is refused.
    It begins where the libraries can be loaded: with less, OpenBLAS never comes to an end.
    """
    damage, unnoticed, seen, tried = Damage(), 0, "", 0
    for number in range(times):
        root = corpus.fresh("address-space")
        limit = 1_100_000 + 900_000 * number // times
        shell = f'ulimit -v {limit} && exec "$@"'
        run = subprocess.run(
            ["sh", "-c", shell, "sh", *command(root, "--workers", "2")],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        tried += 1
        said = (run.stdout + run.stderr).replace(READY, "").strip().splitlines()
        unnoticed += run.returncode != 0 and not said
        if run.returncode:
            seen = next((line for line in said if "raw_shards: " in line), said[-1])
        damage += corpus.seen_by_readers(root)
        corpus.finish(root)
        damage += corpus.damage(root)
    return Finding("too little address space", tried, damage, seen or "it was enough", unnoticed)


def other_encodings(corpus: FaultCorpus) -> Finding:
    """Commands whose output is no UTF-8, of a terminal and of a locale without letters."""
    root = corpus.finished("encodings")
    write_shard(root / "raw" / "\u65e5.jsonl", documents(9))
    environment = os.environ | {"FIM_DATA_ROOT": str(root), "FIM_RECIPE": ""}
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    settings = [{"PYTHONIOENCODING": name} for name in ("ascii", "latin-1", "cp1252")]
    shard = root / "fim_shards" / "a"
    unnoticed = 0
    for setting in settings:
        for arguments in (
            ["keys"],
            ["summary"],
            ["preview", "a", "--line", "2"],
            ["preview", "\u65e5"],
            ["show", str(root / "token_arrays" / "a-00000.npy")],
            ["restore", f"{shard}.jsonl.zst", f"{shard}.parquet"],
        ):
            done = _fim_assets(arguments, environment | setting)
            unnoticed += done.returncode != 0
    told = _fim_assets(["keys"], environment | plain).stderr.decode("utf-8", "replace")
    seen = "what cannot be shown is replaced; " + " ".join(told.split())
    unnoticed += "Traceback" in told
    return Finding("other encodings than UTF-8", 4, corpus.damage(root), seen, unnoticed)


def _fim_assets(
    arguments: list[str], environment: dict[str, str]
) -> "subprocess.CompletedProcess[bytes]":
    program = [sys.executable, "-c", "from fim_assets.cli.main import main; main()"]
    return subprocess.run([*program, *arguments], env=environment, capture_output=True, check=False)


def long_runs(corpus: FaultCorpus) -> Finding:
    """More spaces in a row than the reference's regex bears, in documents that are left whole.

    The fast engine encodes them; what only the reference may encode is refused by line and id.
    """
    root = corpus.fresh("runs")
    for key in KEYS:
        (root / "raw" / f"{key}.jsonl.zst").unlink()
    spaces = " " * 10_100_000
    write_shard(root / "raw" / "a.jsonl.zst", [*documents(2), {"id": "run", "text": spaces}])
    letter = {"id": "run", "text": f"\u0cdc{spaces}"}
    write_shard(root / "raw" / "b.jsonl.zst", [*documents(1), b"", letter])
    outcomes = run_all(open_corpus(root, Recipe(fim=Fim(fim_rate=0.0))))
    seen = outcomes["b"].failure or ""
    told = "the document of line 2 (id 'run', line 3 of the raw shard) cannot be encoded" in seen
    passed_over = {
        check.numbers["passed_over"]
        for stage in outcomes["a"].stages
        for check in stage.checks
        if check.name == "matches_reference_tokenizer"
    }
    lost = 3 if outcomes["a"].failure else 0
    return Finding(
        "10,100,000 spaces in a row", 2, Damage(lost), seen, 2 - told - (passed_over == {1})
    )


_LOOKS = 10
"""Runs in which a worker may be caught at work on a shard."""


def worker_killed(corpus: FaultCorpus, times: int, *, again: bool) -> Finding:
    """The kernel kills whoever works on one shard, once or each time."""
    damage, unnoticed, seen = Damage(), 0, "the run goes on: the shard is worked on again, alone"
    for _ in range(times):
        for _ in range(_LOOKS):
            root = corpus.fresh("worker")
            shard = root / "raw" / "b.jsonl.zst"
            with killing_who_opens(shard, 1000 if again else 1) as killed:
                outcomes = run_all(open_corpus(root), ["raw_shards", "fim_shards"], workers=2)
            # On a busy machine the shard may be read between two looks, and nobody is killed.
            if len(killed) == (2 if again else 1):
                break
        failed = {key: outcome.failure for key, outcome in outcomes.items() if outcome.failure}
        told = list(failed) == (["b"] if again else []) and outcomes["b"].interrupted
        unnoticed += not told or len(killed) != (2 if again else 1)
        seen = failed.get("b") or seen
        unnoticed += again and not seen.startswith(f"{shard}: a worker process died")
        corpus.finish(root)
        damage += corpus.damage(root)
    name = "a worker killed by the kernel"
    return Finding(f"{name}, each time" if again else name, times, damage, seen, unnoticed)


_GO_FILES = 2
"""In a shard: each is tried in three processes."""


def grammar_crashes(folder: Path) -> Finding:
    """Go's grammar ends whatever process imports it, in a run of two workers."""
    recipe = Recipe(fim=Fim(fim_rate=1, split="syntax"))
    languages = ("Python", "Go")
    rows = [
        {
            "id": str(number),
            "text": f"import a\na = {number}\n",
            "metadata": {"language": languages[number % 2]},
        }
        for number in range(2 * _GO_FILES)
    ]
    for key in KEYS:
        write_shard(folder / "raw" / f"{key}.jsonl", rows)
    corpus = open_corpus(folder, recipe)
    stages = ["raw_shards", "fim_shards"]
    sound = {key: fim_lines(corpus, key) for key in run_all(corpus, stages)}
    (folder / "tree_sitter_go.py").write_text("import os\ndef language(): os.abort()\n")
    with patch.object(sys, "path", [str(folder), *sys.path]):
        outcomes = run_all(corpus, stages, workers=2)
    lost = wrong = crashed = 0
    for key, outcome in outcomes.items():
        if outcome.failure:
            return Finding("a grammar that crashes", 1, Damage(lost=len(rows)), outcome.failure, 1)
        place = corpus.files("fim_shards", key)
        originals = restore_shard(place.file(".jsonl.zst"), place.file(".parquet"))
        lost += sum(line != orjson.dumps(row) for line, row in zip(originals, rows, strict=True))
        found = fim_lines(corpus, key)
        wrong += sum(map(differing, sound[key][::2], found[::2]))
        receipt = outcome.stages[-1].receipt
        crashed += receipt.result.counts.get("fallback:parser_crashed", 0) if receipt else 0
    return Finding(
        "a grammar that crashes its process",
        len(KEYS) * _GO_FILES,
        Damage(lost, wrong),
        f"its files are cut by the fallback: parser_crashed {crashed}",
        len(KEYS) * _GO_FILES - crashed,
    )


def fim_lines(corpus: Corpus, key: str) -> list[bytes]:
    """The lines of a partition's FIM shard."""
    shard = corpus.files("fim_shards", key).file(".jsonl.zst")
    return zstandard.ZstdDecompressor().stream_reader(shard.read_bytes()).read().splitlines()


def children(parent: int) -> set[int]:
    """Processes that one started, none if it has ended."""
    found: set[int] = set()
    with suppress(OSError):
        for listed in Path(f"/proc/{parent}/task").glob("*/children"):
            found.update(map(int, listed.read_text().split()))
    return found


def workers_of(parent: int) -> set[int]:
    """Processes two below one: its fork server's children."""
    return {worker for child in children(parent) for worker in children(child)}


@contextmanager
def killing_who_opens(path: Path, times: int) -> Iterator[list[int]]:
    """Kill workers of this process, as the kernel does, that have a file open; their ids."""
    killed: list[int] = []
    stop = Event()

    def watch() -> None:
        while not stop.wait(0.001) and len(killed) < times:
            for worker in workers_of(os.getpid()) - set(killed):
                with suppress(OSError):
                    opened = [link.readlink() for link in Path(f"/proc/{worker}/fd").iterdir()]
                    if path in opened:
                        os.kill(worker, signal.SIGKILL)
                        killed.append(worker)

    thread = Thread(target=watch)
    thread.start()
    try:
        yield killed
    finally:
        stop.set()
        thread.join()
