"""Folders of this machine for what is no output: work in progress and caches.

A home may be missing, full, read-only or a file, and a temporary folder another user's: whoever
asks gets a folder that serves.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from stat import S_ISDIR
from tempfile import gettempdir, mkdtemp

from filelock import Timeout
from platformdirs import user_cache_path

from fim_assets.io.locks import lock, native_lock

_IN_USE = ".in_use"


@contextmanager
def working_folder() -> Iterator[Path]:
    """A folder for a partition's files, in the system's temporary folder.

    What a killed process left of its own is deleted by the same user's next one.
    """
    # All that is in it is of this kind, and may be deleted.
    parent = _own_folder("work")
    with ExitStack() as in_use:
        with lock(parent / "lock"):
            for left in parent.glob("tmp*"):
                with suppress(Timeout, OSError), native_lock(left / _IN_USE).acquire(timeout=0):
                    shutil.rmtree(left, ignore_errors=True)
            folder = Path(mkdtemp(prefix="tmp", dir=parent))
            in_use.enter_context(lock(folder / _IN_USE))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _own_folder(name: str) -> Path:
    """A folder in the system's temporary one in which nobody but this user writes."""
    folder = Path(gettempdir(), f"fim_assets.{name}.{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    state = folder.lstat()
    if not S_ISDIR(state.st_mode) or state.st_uid != os.getuid():
        raise PermissionError(f"{folder}: not made by this user; set TMPDIR to a folder of yours")
    return folder


def cache_folders() -> list[Path]:
    """Folders for what can be made again, the best first: the user's cache, and a temporary one.

    Whoever reads or writes tries each in turn, and where none serves does without.
    """
    folders = []
    with suppress(RuntimeError):  # this user has no home
        folders.append(user_cache_path("fim_assets", appauthor=False))
    with suppress(OSError):
        folders.append(_own_folder("cache"))
    return folders
