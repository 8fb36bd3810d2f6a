"""A checkout of its own for a test, in which the project's commands run as a person runs them."""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from click.testing import CliRunner
from dagster import DagsterInstance, DagsterRunStatus

from fim_assets.cli.main import main

REPOSITORY = Path(__file__).resolve().parents[2]
_SETTINGS = (
    "FIM_DATA_ROOT",
    "FIM_INPUT_ROOT",
    "FIM_RECIPE",
    "FIM_WORKERS",
    "FIM_PARTITIONS_PER_RUN",
    "FIM_ENGINE",
    "RAY_ADDRESS",
    "DAGSTER_HOME",
)
_PROJECT = {
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "dagster.yaml",
    "deploy",
    "docs",
    "fim_assets",
    "fim_assets_tests",
    "pyproject.toml",
    "requirements-dev.lock",
    "requirements.lock",
    "workspace.yaml",
}
"""What a checkout has, beside which people put data of theirs."""


def copy_checkout(folder: Path) -> Path:
    """Copy the project without state and outputs; the environment in use stands as its `.venv`."""
    shutil.copytree(
        REPOSITORY,
        folder,
        ignore=lambda path, names: set(names) - _PROJECT if Path(path) == REPOSITORY else set(),
    )
    (folder / ".venv").symlink_to(Path(sys.prefix))
    # Older than the environment's stamps: `make` would install the copy into it.
    for name in ("pyproject.toml", "requirements.lock", "requirements-dev.lock"):
        os.utime(folder / name, (0, 0))
    return folder


def environment(folder: Path, settings: dict[str, str] | None = None) -> dict[str, str]:
    """This process's environment with the checkout's code and no settings but these."""
    kept = {name: value for name, value in os.environ.items() if name not in _SETTINGS}
    path = f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return kept | {"PATH": path, "PYTHONPATH": str(folder)} | (settings or {})


def run(
    command: str, folder: Path, settings: dict[str, str] | None = None, seconds: float = 240
) -> subprocess.CompletedProcess[str]:
    """Run a shell command in a folder, with the environment's programs and no settings but these.

    Args:
        command: What a person would type.
        folder: Where.
        settings: Variables of the environment.
        seconds: Time after which it is stopped.
    """
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment(folder, settings),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def runs_of(home: Path) -> list[DagsterRunStatus]:
    """What became of the runs whose record lies in a DAGSTER_HOME, newest first."""
    with DagsterInstance.from_config(str(home)) as instance:
        return [run.status for run in instance.get_runs()]


def kill_a_command(home: Path, root: Path, keys: str, after: float = 0) -> None:
    """Materialize a range from the command line, and kill the run while it works.

    Args:
        home: DAGSTER_HOME.
        root: The data root, which takes the command's log too.
        keys: The range.
        after: Seconds that it works.
    """
    command = [str(Path(sys.prefix) / "bin" / "dagster"), "asset", "materialize"]
    command += ["-m", "fim_assets.definitions", "--select", "*", "--partition-range", keys]
    settings = {"DAGSTER_HOME": str(home), "FIM_DATA_ROOT": str(root)}
    variables, before = environment(REPOSITORY, settings), set(home.rglob("processes/*.lock"))
    with running(command, root / "command.log", variables, root, stop=signal.SIGKILL) as process:
        while set(home.rglob("processes/*.lock")) == before:
            assert process.poll() is None, (root / "command.log").read_text()
            time.sleep(0.01)
        time.sleep(after)


def ask(command: str, settings: Mapping[str, str]) -> str:
    """What `fim-assets` prints, run in this process, where starting it is not what is tested.

    Args:
        command: What a person would type behind `fim-assets`; it must end well.
        settings: Variables of the environment, in place of all others of the project's.
    """
    variables = dict.fromkeys(_SETTINGS) | dict(settings)
    done = CliRunner().invoke(main, shlex.split(command), env=variables)
    assert done.exit_code == 0, f"{command}\n{done.output}"
    return done.output


def needed(program: str | None, package: str) -> str:
    """A server or browser that pip cannot bring: without it, a test fails in CI alone.

    Elsewhere it is left out, since `make test` promises to need no more than Python, make and pip.

    Args:
        program: Where it is, None if it is not.
        package: The system's package that brings it.
    """
    if program is None:
        leave = pytest.fail if os.environ.get("CI") else pytest.skip
        leave(f"not on this machine: {package}; apt-get install {package}")
    return program


def free_port() -> int:
    """A port of the loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str],
    folder: Path | None = None,
    user: str | None = None,
    stop: signal.Signals = signal.SIGTERM,
) -> Iterator[subprocess.Popen[bytes]]:
    """Keep a program running; in the end nothing that it started is left.

    Args:
        command: The program and its arguments.
        log: Where its output goes.
        environment: Its variables.
        folder: Where it runs.
        user: As whom, if not as this process.
        stop: The signal that asks it to end.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=folder,
            user=user,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _end(process, stop)


def _end(process: subprocess.Popen[bytes], stop: signal.Signals) -> None:
    """Ask the leader of a session to end, then kill what is left of it."""
    process.send_signal(stop)
    with suppress(subprocess.TimeoutExpired):
        process.wait(30)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
