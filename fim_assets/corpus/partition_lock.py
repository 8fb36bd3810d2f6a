"""One run at a time writes a partition."""

from collections.abc import Iterator
from contextlib import contextmanager

from fim_assets.io.locations import Location, is_remote
from fim_assets.io.locks import lock_for_a_while, why_no_locks

LOCKS = ".locks"
"""The folder of the locks, next to those of the assets."""


def no_locks_warning(folder: Location) -> str | None:
    """What to warn of where two runs of a partition do not wait for each other, None if they do.

    `folder` holds the assets' folders. Object storage never has locks, and gets no warning; a
    folder that cannot be written fails with the first file.
    """
    if is_remote(folder):
        return None
    locks = folder / LOCKS
    try:
        locks.mkdir(parents=True, exist_ok=True)
        reason = why_no_locks(locks)
    except OSError:
        return None
    return reason and (
        f"{folder}: its file system has no locks ({reason}): two runs of one partition do not wait "
        "for each other; what each finishes is whole"
    )


@contextmanager
def partition_lock(folder: Location, key: str) -> Iterator[None]:
    """Hold a partition for this run alone: another run that wants it waits, and says so.

    `folder` holds the assets' folders. The lock goes with the process that holds it, so that a
    killed run leaves none behind. Object storage and some file systems have none: there nobody
    waits (`no_locks_warning`).
    """
    if is_remote(folder):
        yield
        return
    path = folder / LOCKS / f"{key}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with lock_for_a_while(path, f"{key}: another run is writing this partition"):
        yield
