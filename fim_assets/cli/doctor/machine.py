"""What a run starts on: workers and memory, their executor, and `DAGSTER_HOME`; not `storage`."""

import os
from collections.abc import Mapping
from pathlib import Path

import yaml
from dotenv import dotenv_values

from fim_assets.cli.doctor.findings import Finding
from fim_assets.cli.doctor.storage import nearest_existing
from fim_assets.io.locations import is_remote
from fim_assets.settings import Settings, usable_cores
from fim_assets.wording import file_size, plural

WORKER_BYTES = 600_000_000  # what a worker needs at most, whatever the shard's size
_NAME_A_HOME = "export DAGSTER_HOME=<a folder>, an absolute path"


def worker_finding(settings: Settings) -> Finding:
    """Whether cores and memory suffice for the number of workers."""
    cores, memory, workers = usable_cores(), _memory(), settings.workers
    text = f"{workers} on {plural(cores, 'core')}, {file_size(memory)} of memory"
    if workers * WORKER_BYTES > memory:
        text += f": one can need {file_size(WORKER_BYTES)}"
        fitting = min(max(1, memory // WORKER_BYTES), cores)
        advice = f"FIM_WORKERS={fitting}, or a machine with more memory"
        return Finding("look", "workers", text, advice)
    if workers > cores:
        return Finding("look", "workers", f"{text}: no more work at once", f"FIM_WORKERS={cores}")
    return Finding("ok", "workers", text)


def _memory() -> int:
    """Bytes that processes here may use: a container can have less than the machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):
        file = Path("/sys/fs/cgroup", limit)
        if file.is_file() and (text := file.read_text().strip()).isdigit():
            memory = min(memory, int(text))
    return memory


def executor_finding(settings: Settings) -> tuple[int, Finding]:
    """How many partitions are really worked on at once, and whether their executor answers."""
    if settings.engine == "local":
        workers = min(settings.workers, usable_cores())
        return workers, Finding("ok", "engine", "local: processes of this machine")
    from fim_assets.run.on_ray import cluster_cpus
    from fim_assets.run.tasks import ClusterError

    try:
        cpus = cluster_cpus()
    except ClusterError as error:
        return 1, Finding("mend", "engine", str(error), "start it, or set RAY_ADDRESS")
    shared = "" if is_remote(settings.data_root) else "; every node must share the data root"
    text = f"ray: a cluster of {plural(cpus, 'CPU')} answers{shared}"
    return max(cpus, 1), Finding("ok", "engine", text)


def dagster_finding(environment: Mapping[str, str]) -> Finding:
    """What is wrong with Dagster's home, or where Dagster keeps its records."""
    # A command of Dagster's sets what this folder's `.env` says.
    value = dotenv_values(".env").get("DAGSTER_HOME") or environment.get("DAGSTER_HOME")
    if not value:
        folder = nearest_existing(_with_home("~/.dagster"))
        if not (folder.is_dir() and os.access(folder, os.W_OK)):
            text = f"no DAGSTER_HOME, and {folder} cannot be written: dagster commands fail"
            return Finding("mend", "dagster", text, _NAME_A_HOME)
        text = "no DAGSTER_HOME: a command leaves no record of its run, and the UI will not show it"
        return Finding("look", "dagster", text, _NAME_A_HOME)
    text, home = f"DAGSTER_HOME={value}", _with_home(value)
    if not home.is_absolute() or not home.is_dir():
        problem = "is no folder" if home.is_absolute() else "is no absolute path"
        return Finding("mend", "dagster", f"{text} {problem}", "Dagster refuses it: name another")
    file = home / "dagster.yaml"
    if not file.is_file():
        settings = "a copy of this project's dagster.yaml, or `telemetry: {enabled: false}` in one"
        text += ", no dagster.yaml: Dagster sends statistics of its use"
        return Finding("look", "dagster", text, settings)
    try:
        content = yaml.safe_load(file.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        return Finding("mend", "dagster", f"{file}: {' '.join(str(error).split())}")
    storage = content.get("storage") if isinstance(content, dict) else None
    kind = next(iter(storage), "SQLite") if isinstance(storage, dict) else "SQLite"
    return Finding("ok", "dagster", f"{text}, dagster.yaml with storage in {kind}")


def _with_home(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)  # no home is known: Dagster takes the name as it is
