"""Object storage: whole files moved between a bucket and this machine's disk, and tried again.

Work is done on local files. A raw shard is fetched block by block before it is read, an output is
uploaded in parts once it is finished and checked; an object appears with its last part, which takes
the place of renaming.
"""

import errno
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from stat import S_ISDIR
from tempfile import TemporaryDirectory, gettempdir, mkdtemp
from typing import Any, TypeVar

from filelock import FileLock, Timeout
from fsspec.utils import glob_translate
from platformdirs import user_cache_path
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential
from typing_extensions import TypeIs
from upath import UPath

log = logging.getLogger(__name__)

Location = Path | UPath
"""A file or folder: of this machine, or, as a `UPath`, of object storage."""

TRIES = 5
"""Times that an operation is tried, beside what the storage's own client tries again."""

REQUESTS_AT_ONCE = 32
"""Small files that are read at once: each waits for an answer far longer than it works."""

_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)
"""What file systems without locks answer: of networks, of clusters, in user space."""

_LONGEST_PAUSE = 20.0

_PART_BYTES = 8 << 20

_IN_USE = ".in_use"

_UPLOAD_OPTIONS: Mapping[str, dict[str, Any]] = {
    # Ten parts of these are held in memory at once; the client's own 50 MB would be 500.
    "s3": {"chunksize": _PART_BYTES},
    "gs": {"chunksize": _PART_BYTES},
}

_FINAL = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, ValueError)
"""What no second try mends."""

_FINAL_OF_BOTOCORE = {
    *("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "ConfigParseError"),
    *("SSOTokenLoadError", "UnauthorizedSSOTokenError", "ParamValidationError"),
}
"""The same in botocore's words, which are no OSError."""

_CHAIN = "::"
"""What links URLs for fsspec, and would lead to another file than the one that is named."""

_EXTRAS = {"s3": "s3", "gs": "gcs", "gcs": "gcs", "abfs": "azure", "abfss": "azure", "az": "azure"}
"""Extras of the package that serve a kind of object storage."""

WILDCARD = re.compile(r"[*?\[]")
"""What makes a name a glob."""

T = TypeVar("T")


class StorageError(OSError):
    """Object storage that does not do what it is asked; the message names the URL."""


class MissingError(StorageError, FileNotFoundError):
    """A file or bucket that is not there; the message names the URL."""


def expand_home(text: str) -> Path:
    """A path as a person writes it: `~` and `~name` before the first slash are home folders.

    Raises:
        FileNotFoundError: If there is no such home.
    """
    path = os.path.expanduser(text)  # noqa: PTH111 - pathlib takes `./~name` for a home too
    if text.startswith("~") and path == text:
        name = text.partition("/")[0]
        raise FileNotFoundError(
            f"{text}: no home folder is known for {name}; name an absolute path, or ./{name} for a "
            "folder of this name"
        )
    return Path(path)


def is_url(text: str) -> bool:
    """Whether a text names a place on object storage."""
    return "://" in text


def url_of_storage(text: str) -> str:
    """A URL, if it is one of object storage.

    Raises:
        StorageError: If there is no such kind of storage, or it names no bucket or what no URL can
            hold.
    """
    protocol, _, path = text.partition("://")
    if protocol not in _EXTRAS:
        raise StorageError(f"{text}: {protocol}:// is not supported; s3://, gs:// and abfs:// are")
    if not path.partition("/")[0]:
        raise StorageError(f"{text}: names no bucket")
    _refuse_chain(text)
    return text


def parse_url(text: str) -> UPath:
    """A place on object storage.

    Raises:
        StorageError: If it is none, or what serves it is not installed.
    """
    protocol = url_of_storage(text).partition("://")[0]
    try:
        # Other processes write there too: no listing is kept.
        location = UPath(text.rstrip("/"), use_listings_cache=False)
        _ = location.fs
    except ImportError as error:
        how = f"pip install 'fim_assets[{_EXTRAS[protocol]}]'"
        raise StorageError(f"{text}: what serves {protocol}:// is not installed: {how}") from error
    return location


def _refuse_chain(text: str) -> None:
    if _CHAIN in text:
        raise StorageError(f"{text}: {_CHAIN} in a name cannot be told from a chain of URLs")


def is_remote(location: Location) -> TypeIs[UPath]:
    """Whether it lies on object storage."""
    return not isinstance(location, Path)


@contextmanager
def working_folder() -> Iterator[Path]:
    """A folder of this machine for a partition's files, in the system's temporary folder.

    What a killed process left of its own is deleted by the same user's next one.
    """
    # All that lies in it is of this kind, and may be deleted.
    parent = _own_folder("work")
    with ExitStack() as in_use:
        with lock(parent / "lock"):
            for left in parent.glob("tmp*"):
                with suppress(Timeout, OSError), _native_lock(left / _IN_USE).acquire(timeout=0):
                    shutil.rmtree(left, ignore_errors=True)
            folder = Path(mkdtemp(prefix="tmp", dir=parent))
            in_use.enter_context(lock(folder / _IN_USE))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _own_folder(name: str) -> Path:
    """A folder in the system's temporary one in which nobody but this user writes.

    Raises:
        PermissionError: If another user has made it.
    """
    folder = Path(gettempdir(), f"fim_assets.{name}.{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(f"{folder}: not made by this user; set TMPDIR to a folder of yours")
    return folder


@contextmanager
def some_home() -> Iterator[None]:
    """Give a user without a home the temporary folder for one, for a library that must have it."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = gettempdir()
        try:
            yield
        finally:
            del os.environ["HOME"]
    else:
        yield


def cache_folders() -> list[Path]:
    """Folders for what can be made again, the best first: the user's cache, and a temporary one.

    A home may be missing, full, read-only or a file: whoever reads or writes tries each in turn,
    and where none serves does without.
    """
    folders = []
    with suppress(RuntimeError):  # this user has no home
        folders.append(user_cache_path("fim_assets", appauthor=False))
    with suppress(OSError):
        folders.append(_own_folder("cache"))
    return folders


def _native_lock(path: Path) -> FileLock:
    """A lock that goes with its process; none of those that a dead one of another host leaves."""
    return FileLock(path, fallback_to_soft=False)


def why_no_locks(folder: Path) -> str | None:
    """Why files in a folder cannot be locked, None if they can.

    Raises:
        OSError: If nothing can be written there.
    """
    with TemporaryDirectory(dir=folder, prefix=".trial-") as trial:
        try:
            with _native_lock(Path(trial, "lock")):
                return None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            return str(error.strerror)


@contextmanager
def lock(path: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold a file's lock, or go on without one where the file system has none (`why_no_locks`).

    So too where the file is another user's, who lets nobody else write it.

    Args:
        path: The file, made if it is not there.
        on_wait: Called once if another process holds it.

    Raises:
        OSError: If the file cannot be made.
    """
    native = _native_lock(path)
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


def fetch(location: Location, folder: Path, expected_bytes: int | None = None) -> Path:
    """Copy a file from object storage into a folder; one of this machine stays where it is.

    Args:
        location: The file.
        folder: Takes it, under its own name.
        expected_bytes: Its size; None takes what the storage says now.

    Raises:
        FileNotFoundError: If there is none.
        StorageError: If it cannot be read, or is not of that size.
    """
    if not is_remote(location):
        return location
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / location.name

    def copy() -> None:
        before = _state_now(location)
        location.fs.get_file(location.path, str(path))
        came, size = path.stat().st_size, before[0] if expected_bytes is None else expected_bytes
        if came != size:
            raise StorageError(f"{came:,} bytes came, it has {size:,}")
        # It comes in parts: they would be of two files.
        if _state_now(location) != before:
            raise StorageError("it has changed meanwhile")

    _tried("fetched", location, copy)
    return path


@contextmanager
def fetched(location: Location, expected_bytes: int | None = None) -> Iterator[Path]:
    """A file on this machine, one of object storage for as long as it is looked at; see `fetch`."""
    if not is_remote(location):
        yield location
        return
    with working_folder() as folder:
        yield fetch(location, folder, expected_bytes)


def store(path: Path, location: UPath) -> tuple[int, str]:
    """Upload a file; what `etag` says of it then.

    Raises:
        StorageError: If it cannot be written, or arrives with another size.
    """
    size = path.stat().st_size

    def copy() -> tuple[int, str]:
        options = _UPLOAD_OPTIONS.get(location.protocol, {})
        location.fs.put_file(str(path), location.path, **options)
        state = _state_now(location)
        if state[0] != size:
            raise StorageError(f"{state[0]:,} bytes arrived of {size:,}")
        return state

    return _tried("written", location, copy)


def read_bytes(location: Location, most: int | None = None) -> bytes:
    """A small file's content, or so many bytes of its beginning at most.

    Raises:
        FileNotFoundError: If there is none.
        StorageError: If it cannot be read.
    """
    if not is_remote(location):
        with location.open("rb") as file:
            return file.read(-1 if most is None else most)
    return _tried("read", location, lambda: bytes(location.fs.cat_file(location.path, end=most)))


def read_beginning(location: Location, most: int) -> bytes:
    """A file's first bytes, at most so many.

    Raises:
        FileNotFoundError: If there is none.
        StorageError: If it cannot be read.
    """
    if not is_remote(location):
        with location.open("rb") as file:
            return file.read(most)
    end = min(most, etag(location)[0])
    if not end:
        return b""  # of an empty object, no part can be asked for
    fs, path = location.fs, location.path
    return _tried("read", location, lambda: bytes(fs.cat_file(path, start=0, end=end)))


def write_bytes(location: Location, content: bytes) -> None:
    """Write a small file, which takes the place of an old one at once.

    Raises:
        StorageError: If it cannot be written.
    """
    if is_remote(location):
        _tried("written", location, lambda: location.fs.pipe_file(location.path, content))
        return
    location.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=location.parent, prefix=f".{location.name}.") as folder:
        temporary = Path(folder, "content")
        temporary.write_bytes(content)
        temporary.replace(location)


def remove(locations: Iterable[Location]) -> None:
    """Delete files; one that is not there is passed over.

    Raises:
        StorageError: If one cannot be deleted.
    """
    for location in locations:
        if is_remote(location):
            _tried("deleted", location, partial(_remove_object, location))
        else:
            location.unlink(missing_ok=True)


def _remove_object(location: UPath) -> None:
    try:
        location.fs.rm_file(location.path)
    except FileNotFoundError:
        return


def sizes_below(folder: UPath, prefix: str = "") -> dict[str, int]:
    """Sizes of a remote folder's own files by name, those whose names begin with a prefix.

    Raises:
        StorageError: If it cannot be listed.
    """
    try:
        found = _below(folder, prefix)
    except FileNotFoundError:
        return {}
    return {name: info["size"] for name, info in found.items() if "/" not in name}


def names_in(folder: Location) -> list[str]:
    """What lies in a folder, of object storage its own files alone; nothing where there is none.

    Raises:
        StorageError: If it cannot be listed.
    """
    if is_remote(folder):
        return list(sizes_below(folder))
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def objects(folder: UPath, pattern: str) -> dict[UPath, dict[str, Any]]:
    """The files below a folder that a glob matches, and what the storage says of each (size, ETag).

    As on a disk, what is hidden is matched only by a glob that names what begins with a dot.

    Raises:
        StorageError: If nothing can be listed.
    """
    wildcard = WILDCARD.search(pattern)
    if wildcard is None:
        return _object(folder / pattern)
    try:
        matches = re.compile(glob_translate(pattern)).match
    except ValueError as error:
        raise StorageError(f"{folder / pattern}: {error}") from error
    found = _below(folder, pattern[: wildcard.start()])
    matching = {
        folder.joinpath(name): info
        for name, info in found.items()
        if matches(name) and ("/." in f"/{pattern}" or "/." not in f"/{name}")
    }
    for location in matching:
        _refuse_chain(str(location))
    return matching


def _object(location: UPath) -> dict[UPath, dict[str, Any]]:
    try:
        info = _tried("looked at", location, lambda: dict(location.fs.info(location.path)))
    except FileNotFoundError:
        return {}
    return {location: info} if info["type"] == "file" else {}


def _below(folder: UPath, prefix: str) -> dict[str, dict[str, Any]]:
    """All files below a folder, those whose names begin with a prefix, by their names from there.

    Not level by level, nor by the client's own globs: these pass in silence over a folder that
    cannot be listed, and over a file whose name is that of a folder too.
    """
    root = f"{folder.path.rstrip('/')}/"
    found = _tried(
        "listed", folder, lambda: dict(folder.fs.find(folder.path, detail=True, prefix=prefix))
    )
    return {
        path.removeprefix(root): info
        for path, info in found.items()
        if path.startswith(f"{root}{prefix}")
        and info["type"] == "file"
        and not path.endswith("/")  # an empty object that stands for a folder
    }


def etag(location: UPath) -> tuple[int, str]:
    """A file's size and the tag of its content, '' where the storage gives none.

    Raises:
        FileNotFoundError: If there is none.
        StorageError: If the storage does not say.
    """
    return _tried("looked at", location, lambda: _state_now(location))


def tag_of(info: Mapping[str, Any]) -> str:
    """The tag of a file's content, from what the storage says of it."""
    return str(info.get("ETag") or info.get("etag") or "").strip('"')


def _state_now(location: UPath) -> tuple[int, str]:
    info = location.fs.info(location.path, refresh=True)
    return int(info["size"]), tag_of(info)


def _tried(what: str, location: UPath, operation: Callable[[], T]) -> T:
    """Do something with object storage, again where it fails for a reason that may pass."""
    _refuse_chain(str(location))
    retrying = Retrying(
        stop=stop_after_attempt(TRIES),
        wait=wait_random_exponential(multiplier=0.5, max=_LONGEST_PAUSE),
        retry=retry_if_exception(lambda e: isinstance(e, Exception) and not _is_final(e)),
        before_sleep=lambda state: log.warning(
            "%s: could not be %s, try %s of %s: %s",
            location,
            what,
            state.attempt_number,
            TRIES,
            state.outcome and state.outcome.exception(),
        ),
        reraise=True,
    )
    try:
        return retrying(operation)
    except Exception as error:
        kind = MissingError if isinstance(error, FileNotFoundError) else StorageError
        reason = " ".join(str(error).split()) or type(error).__name__
        if reason == location.path:
            reason = "there is none"
        raise kind(f"{location}: could not be {what}: {reason}") from error


def _is_final(error: BaseException) -> bool:
    return isinstance(error, _FINAL) or type(error).__name__ in _FINAL_OF_BOTOCORE
