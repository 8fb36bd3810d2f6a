"""Locks of files: held by a process and gone with it, where the file system has any."""

import errno
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)

_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
"""What file systems without locks answer: of networks, of clusters, in user space."""


def native_lock(path: Path) -> FileLock:
    """A lock of the system's; a soft one would stay behind when its process dies."""
    return FileLock(path, fallback_to_soft=False)


def why_no_locks(folder: Path) -> str | None:
    """Why files in a folder cannot be locked, None if they can; an OSError if none is written."""
    with TemporaryDirectory(dir=folder, prefix=".trial-") as trial:
        try:
            with native_lock(Path(trial, "lock")):
                return None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            return str(error.strerror)


@contextmanager
def lock(path: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold a file's lock, or go on without one where the file system has none (`why_no_locks`).

    So too where the file is another user's, who lets nobody else write it. `on_wait` is called once
    if another process holds it.
    """
    native = native_lock(path)
    try:
        try:
            native.acquire(timeout=0)
        except Timeout:
            if on_wait is not None:
                on_wait()
            native.acquire()
    except PermissionError as error:
        if not path.exists():
            raise
        log.warning("%s: %s; going on without this lock", path, error.strerror)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    try:
        yield
    finally:
        native.release()


@contextmanager
def lock_for_a_while(path: Path, held: str) -> Iterator[None]:
    """A `lock` whose file is deleted in the end; `held` is the warning while it is another's."""

    def on_wait() -> None:
        log.warning("%s; waiting for it", held)

    with lock(path, on_wait):
        try:
            yield
        finally:
            with suppress(OSError):
                path.unlink()
