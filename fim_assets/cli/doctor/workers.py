"""Who works on partitions: how many workers, whether memory holds them, and on which executor."""

import os
from pathlib import Path

from fim_assets.cli.doctor.findings import Finding
from fim_assets.io.locations import is_remote
from fim_assets.settings import Settings, usable_cores
from fim_assets.wording import file_size, plural

WORKER_BYTES = 600_000_000  # what a worker needs at most, whatever the shard's size


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
    from fim_assets.run.on_ray import ClusterError, cluster_cpus

    try:
        cpus = cluster_cpus()
    except ClusterError as error:
        return 1, Finding("mend", "engine", str(error), "start it, or set RAY_ADDRESS")
    shared = "" if is_remote(settings.data_root) else "; every node must share the data root"
    text = f"ray: a cluster of {plural(cpus, 'CPU')} answers{shared}"
    return max(cpus, 1), Finding("ok", "engine", text)
