"""Surroundings: installed without a repository, no home, a shared folder, no locks."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from fim_assets.corpus_report.summary import CORPUS_REPORT
from fim_assets.recipe import Recipe
from fim_assets.stages import ASSETS
from fim_assets.tokenizer.load import load_tokenizer
from fim_assets_tests.corpora import documents, write_shard
from fim_assets_tests.end_to_end.commands import REPOSITORY, environment
from fim_assets_tests.faults.corpus import outputs
from fim_assets_tests.faults.run import NO_LOCKS

NOBODY, ANOTHER, GROUP = 54321, 54322, 54320


def python(
    code: str, *arguments: str, variables: Mapping[str, str], folder: Path, user: int | None = None
) -> str:
    """What Python code prints, run with no variables of the project's but these, perhaps as a user
    without a name and a home.
    """
    given = {**environment(REPOSITORY), **variables}
    if user is not None:
        del given["HOME"]
    prefix = [] if user is None else as_user(user)
    done = subprocess.run(
        [*prefix, sys.executable, "-c", code, *arguments],
        env=given,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        umask=0o002,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def as_user(user: int) -> list[str]:
    """How a command begins that runs as a user of `GROUP`; only root may become others."""
    if os.getuid() or shutil.which("setpriv") is None:
        pytest.skip("needs root, and setpriv")
    become = ["setpriv", "--reuid", str(user), "--regid", str(user), "--groups", str(GROUP)]
    # Where Python itself lies in root's home, it takes the right to read that too.
    read = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    for choice in (become, [*become, *read]):
        if subprocess.run([*choice, sys.executable, "-c", ""], check=False).returncode == 0:
            return choice
    pytest.skip("this Python cannot be run by another user")


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user of `GROUP` writes; pytest's own are one user's."""
    with tempfile.TemporaryDirectory(prefix="fim-assets-tests-") as folder:
        if not os.getuid():
            os.chown(folder, -1, GROUP)
        Path(folder).chmod(0o2775)
        yield Path(folder)


# Installed.


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    [file] = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """The `site-packages` of an environment with the wheel, and the libraries of this one."""
    new = wheel.parent / "environment"
    venv.create(new, symlinks=True)
    [folder] = new.glob("lib/python*/site-packages")
    (folder / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    uv = [str(Path(sys.prefix) / "bin" / "uv"), "pip", "install", "--offline", "--no-deps"]
    install = [*uv, "--python", str(new), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    return folder


def test_the_wheel_has_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    package = REPOSITORY / "fim_assets"
    files = {path.relative_to(REPOSITORY) for path in package.rglob("*") if path.is_file()}
    wanted = {path.as_posix() for path in files if path.suffix != ".pyc"}
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == wanted
    assert "fim_assets/py.typed" in packed


def test_the_wheel_alone_takes_a_partition_from_an_empty_folder_to_the_report(
    installed: Path, tmp_path: Path
) -> None:
    data, empty = tmp_path / "share" / "fim_assets", tmp_path / "empty"
    empty.mkdir()
    write_shard(data / "raw" / "a.jsonl", documents(3))
    dagster = [str(installed.parents[2] / "bin" / "python"), "-I", "-m", "dagster", "asset"]
    materialize = [*dagster, "materialize", "-m", "fim_assets.definitions", "--select", "*"]
    done = subprocess.run(
        [*materialize, "--partition", "a"],
        cwd=empty,
        env=environment(REPOSITORY, {"XDG_DATA_HOME": str(tmp_path / "share")}),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in data.iterdir() if path.name[0] != "."} == {
        "raw",
        *ASSETS,
        CORPUS_REPORT,
    }
    assert {f"{asset}/a.json" for asset in ASSETS} <= outputs(data).keys()
    assert (data / "corpus_report" / "report.html").is_file()
    assert list(empty.iterdir()) == []


_WHERE = """
import sys
import fim_assets
from click.testing import CliRunner
from fim_assets.cli.main import main
print(fim_assets.__file__)
for command in sys.argv[1:]:
    *variables, name = command.split()
    done = CliRunner().invoke(main, [name], env=dict(v.split("=") for v in variables))
    print(done.exit_code, done.stderr, "|", done.stdout)
"""


def test_an_installation_writes_to_a_folder_of_the_users_and_says_so(
    installed: Path, tmp_path: Path
) -> None:
    data, empty = tmp_path / "share" / "fim_assets", tmp_path / "empty"
    empty.mkdir()
    write_shard(data / "raw" / "a.jsonl", documents(3))
    given = {"PYTHONPATH": str(installed), "XDG_DATA_HOME": str(tmp_path / "share")}
    relative = "FIM_DATA_ROOT=../share/fim_assets keys"
    printed = python(_WHERE, "keys", "summary", relative, variables=given, folder=empty)
    assert printed.startswith(str(installed))
    said = f"FIM_DATA_ROOT is not set: outputs are in {data}\n |"
    assert f"0 {said} a\n" in printed
    assert f"1 {said} " in printed, "nothing is complete"
    assert "make dev" not in printed
    assert printed.endswith("\n0  | a\n\n"), "a relative root starts from the working folder"
    assert list(empty.iterdir()) == []
    assert not (installed / "data").exists()


def test_an_installation_without_a_home_asks_for_a_data_root(wheel: Path, shared: Path) -> None:
    zipfile.ZipFile(wheel).extractall(shared)
    given = {"PYTHONPATH": str(shared)}
    printed = python(_WHERE, "keys", variables=given, folder=shared, user=NOBODY)
    assert "1 Error: FIM_DATA_ROOT is not set, and no home folder is known" in printed


# No home.

_WITHOUT_A_HOME = """
from pathlib import Path
from fim_assets.corpus_report.write import write_report
from fim_assets_tests.corpora import open_corpus, run_all
corpus = open_corpus(Path("data").absolute())
[outcome] = run_all(corpus).values()
assert outcome.failure is None, outcome.failure
print(outcome.stages[2].receipt.made.engine)
write_report(corpus, ["a"])
"""


def test_a_user_without_a_home_makes_all_with_the_fast_engine(
    shared: Path, cache_home: Path
) -> None:
    """The encoder's proof lies in the temporary folder, and nothing in a folder called `~`."""
    fast = load_tokenizer(Recipe()).encoder.name
    write_shard(shared / "data" / "raw" / "a.jsonl.zst", documents(40))
    (shared / "data").chmod(0o777)
    temporary = shared / "tmp"
    kept = temporary / f"fim_assets.cache.{NOBODY}"
    shutil.copytree(cache_home / "fim_assets", kept)
    for path in (temporary, kept, *kept.rglob("*")):
        if not os.getuid():
            os.chown(path, NOBODY, NOBODY)
    given = {"TMPDIR": str(temporary), "XDG_CACHE_HOME": ""}
    engine = python(_WITHOUT_A_HOME, variables=given, folder=shared, user=NOBODY)
    assert engine == f"{fast}\n"
    assert "<svg" in (shared / "data" / "corpus_report" / "report.html").read_text("utf-8")
    assert {path.name for path in shared.iterdir()} == {"data", "tmp"}


# A shared folder.

_BEGIN = """
import os, sys
from pathlib import Path
from fim_assets.corpus.partition_files import Outputs, PartitionFiles
from fim_assets.corpus.partition_lock import partition_lock
from fim_assets.corpus.staging import Staging
files = PartitionFiles(Path("raw_shards").absolute(), "a", Outputs((".parquet",)))
with partition_lock(Path(), "a"), Staging(files) as staging:
    staging.create(".parquet").write(b"begun")
    if sys.argv[1] == "die":
        os._exit(0)
    staging.publish()
"""


def test_another_user_of_a_shared_folder_goes_on_where_one_was_killed(shared: Path) -> None:
    for user, end in ((NOBODY, "publish"), (ANOTHER, "die"), (NOBODY, "publish")):
        python(_BEGIN, end, variables={}, folder=shared, user=user)
        names = {path.name for path in (shared / "raw_shards").iterdir()}
        assert names == {"a.parquet"} | ({".a.staging"} if end == "die" else set())
        assert (shared / ".locks" / "a.lock").exists() == (end == "die")
    (shared / ".locks" / "a.lock").write_bytes(b"")
    (shared / ".locks" / "a.lock").chmod(0o644)  # root's, who lets nobody else write it
    python(_BEGIN, "publish", variables={}, folder=shared, user=NOBODY)
    assert list((shared / ".locks").iterdir()) == []


def test_a_temporary_folder_that_another_user_made_is_not_used(tmp_path: Path) -> None:
    given = {"TMPDIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    for name in ("work", "cache"):
        (tmp_path / f"fim_assets.{name}.{os.getuid()}").symlink_to(tmp_path)
    code = """
from fim_assets.io.machine_folders import cache_folders, working_folder
print(len(cache_folders()))
try:
    working_folder().__enter__()
except PermissionError as error:
    print(error)
"""
    printed = python(code, variables=given, folder=tmp_path).splitlines()
    assert printed[0] == "1"
    assert "set TMPDIR to a folder of yours" in printed[1]


# No locks.

_WITHOUT_LOCKS = """
import errno, sys
from pathlib import Path
from fim_assets_tests.faults.no_locks import without_locks
without_locks(getattr(errno, sys.argv[1]))
from fim_assets.corpus.partition_lock import no_locks_warning, partition_lock
from fim_assets.io.machine_folders import working_folder
with partition_lock(Path(), "a"), working_folder(), working_folder():
    print(no_locks_warning(Path()))
"""


@pytest.mark.parametrize("error", NO_LOCKS)
def test_a_file_system_without_locks_is_told_and_gone_on_with(tmp_path: Path, error: str) -> None:
    """What a dead process of another host left in place of a lock is not waited for, and goes."""
    left = tmp_path / ".locks" / "a.lock"
    left.parent.mkdir()
    left.write_text("4711\nanother-host\n")
    printed = python(_WITHOUT_LOCKS, error, variables={"TMPDIR": str(tmp_path)}, folder=tmp_path)
    assert "its file system has no locks (" in printed
    assert list(left.parent.iterdir()) == []
    [work] = tmp_path.glob("fim_assets.work.*")
    assert [path.name for path in work.iterdir()] == ["lock"]


_RUN_WITHOUT_LOCKS = """
import errno
from pathlib import Path
from dagster import DagsterInstance
from fim_assets_tests.faults.no_locks import without_locks
without_locks(errno.ENOLCK)
from fim_assets_tests.defs.test_assets import materialize
instance = DagsterInstance.ephemeral()
result = materialize(Path().absolute(), ["raw_shards"], "a", instance=instance)
assert result.success
for entry in instance.all_logs(result.run_id):
    if not entry.is_dagster_event:
        print(entry.level, entry.user_message)
"""


def test_a_run_says_first_where_its_outputs_lie_and_warns_once_of_no_locks(tmp_path: Path) -> None:
    write_shard(tmp_path / "raw" / "a.jsonl", documents(3))
    said = python(_RUN_WITHOUT_LOCKS, variables={}, folder=tmp_path).splitlines()
    assert said[0] == f"20 outputs lie in {tmp_path}"
    assert [line.split()[0] for line in said if "has no locks" in line] == ["30"]
