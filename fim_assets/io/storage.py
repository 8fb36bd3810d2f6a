"""Files of either kind of location, read, written and listed; object storage is tried again.

Work is done on local files. A raw shard is fetched block by block before it is read, an output is
uploaded in parts once it is finished and checked; an object appears with its last part, where a
file on a disk appears when it is renamed.

Where object storage goes on failing, any of these functions raises a `StorageError` that names the
URL, and of a file that is not there, a `MissingError`.
"""

import logging
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from fsspec.utils import glob_translate
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)
from upath import UPath

from fim_assets.io import hub
from fim_assets.io.locations import (
    WILDCARD,
    Location,
    StorageError,
    is_remote,
    on_hub,
    refuse_chain,
    url_of_storage,
)
from fim_assets.io.machine_folders import working_folder

log = logging.getLogger(__name__)

REQUESTS_AT_ONCE = 32
"""Small files that are read at once: each waits for an answer far longer than it works."""

_TRIES = 5  # times that an operation is tried, each with the retries of the storage's own client
_LONGEST_PAUSE = 20.0

# Ten parts of these are held in memory at once; the client's own 50 MB would be 500.
_UPLOAD_OPTIONS = {kind: {"chunksize": 8 << 20} for kind in ("s3", "gs")}

_FINAL = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, ValueError)
"""Errors that another try does not help against."""

_FINAL_OF_BOTOCORE = {
    *("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "ConfigParseError"),
    *("SSOTokenLoadError", "UnauthorizedSSOTokenError", "ParamValidationError"),
}
"""Such errors of botocore's, which are no OSError."""

T = TypeVar("T")


class MissingError(StorageError, FileNotFoundError):
    """A file or bucket that is not there; the message names the URL."""


def fetch(location: Location, folder: Path, expected_bytes: int | None = None) -> Path:
    """Copy a file from object storage into a folder; one of this machine stays where it is.

    A StorageError is raised if it has another size than expected; None expects what the storage
    says now.
    """
    if not is_remote(location):
        return location
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / location.name

    def copy() -> None:
        before = _state_now(location)
        if on_hub(location):
            hub.copy(location, path)
        else:
            location.fs.get_file(location.path, str(path))
        came, size = path.stat().st_size, before[0] if expected_bytes is None else expected_bytes
        if came != size:
            raise StorageError(f"{came:,} bytes came, it has {size:,}")
        # It comes in parts, which would be of two files.
        if _state_now(location) != before:
            raise StorageError("it has changed meanwhile")

    _tried("fetched", location, copy)
    return path


@contextmanager
def fetched(location: Location, expected_bytes: int | None = None) -> Iterator[Path]:
    """A file on this machine; one of object storage is fetched, and deleted in the end."""
    if not is_remote(location):
        yield location
        return
    with working_folder() as folder:
        yield fetch(location, folder, expected_bytes)


def store(path: Path, location: UPath) -> tuple[int, str]:
    """Upload a file; what `etag` says of it then."""
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
    """A small file's content, or so many bytes of its beginning at most."""
    if not is_remote(location):
        with location.open("rb") as file:
            return file.read(-1 if most is None else most)
    end = None if most is None else min(most, etag(location)[0])
    if end == 0:
        return b""  # of an empty object, no part can be asked for
    return _tried("read", location, lambda: bytes(location.fs.cat_file(location.path, end=end)))


def write_bytes(location: Location, content: bytes) -> None:
    """Write a small file, which takes the place of an old one at once."""
    if is_remote(location):
        _tried("written", location, lambda: location.fs.pipe_file(location.path, content))
        return
    location.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=location.parent, prefix=f".{location.name}.") as folder:
        temporary = Path(folder, "content")
        temporary.write_bytes(content)
        temporary.replace(location)


def fetch_part(location: UPath, begin: int, end: int, path: Path) -> None:
    """Copy some of a file's bytes from object storage to a new file."""

    def copy() -> None:
        content = location.fs.cat_file(location.path, start=begin, end=end)
        if len(content) != end - begin:
            raise StorageError(f"{len(content):,} bytes came of {end - begin:,}")
        path.write_bytes(content)

    _tried("fetched", location, copy)


def move(location: Location, target: Location) -> None:
    """Give a file another place on its disk, or in its storage, where it is copied for that."""
    if is_remote(location) and is_remote(target):
        _tried("copied", location, partial(location.fs.cp_file, location.path, target.path))
        remove([location])
    elif not is_remote(location) and not is_remote(target):
        location.replace(target)
    else:
        raise ValueError(f"{location} and {target} are on different storage")


def remove(locations: Iterable[Location]) -> None:
    """Delete files; one that is not there is passed over."""
    for location in locations:
        if is_remote(location):
            with suppress(MissingError):
                _tried("deleted", location, partial(location.fs.rm_file, location.path))
        else:
            location.unlink(missing_ok=True)


def sizes_below(folder: UPath, prefix: str = "") -> dict[str, int]:
    """Sizes of a remote folder's own files by name, those whose names begin with a prefix."""
    try:
        files = _below(folder, prefix)
    except FileNotFoundError:
        return {}
    return {name: info["size"] for name, info in files.items() if "/" not in name}


def sizes_in(folder: Location) -> dict[str, int]:
    """Sizes of a folder's own files by name; none where there is no folder."""
    if is_remote(folder):
        return sizes_below(folder)
    if not folder.is_dir():
        return {}
    return {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}


def remove_folder(folder: Location) -> None:
    """Delete a folder, of object storage its own files."""
    if is_remote(folder):
        with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
            list(pool.map(lambda name: remove([folder / name]), sizes_below(folder)))
    else:
        shutil.rmtree(folder, ignore_errors=True)


def names_in(folder: Location) -> list[str]:
    """Names in a folder, of object storage those of files alone; none where there is no folder."""
    if is_remote(folder):
        return list(sizes_below(folder))
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def objects(folder: UPath, pattern: str) -> dict[UPath, dict[str, Any]]:
    """The files below a folder that a glob matches, and what the storage says of each (size, ETag).

    As on a disk, what is hidden is matched only by a glob that names what begins with a dot.
    """
    wildcard = WILDCARD.search(pattern)
    if wildcard is None:
        return _object(folder / pattern)
    try:
        matches = re.compile(glob_translate(pattern)).match
    except ValueError as error:
        raise StorageError(f"{folder / pattern}: {error}") from error
    matching = {
        folder.joinpath(name): info
        for name, info in _below(folder, pattern[: wildcard.start()]).items()
        if matches(name) and ("/." in f"/{pattern}" or "/." not in f"/{name}")
    }
    for location in matching:
        refuse_chain(str(location))
    return matching


def _object(location: UPath) -> dict[UPath, dict[str, Any]]:
    try:
        info = _tried("looked at", location, lambda: dict(location.fs.info(location.path)))
    except FileNotFoundError:
        return {}
    return {location: info} if info["type"] == "file" else {}


def _below(folder: UPath, prefix: str) -> dict[str, dict[str, Any]]:
    """All files below a folder, those whose names begin with a prefix, by their names from there.

    The client's `walk` and `glob` are not used: they pass in silence over a folder that cannot be
    listed, and over a file whose name is that of a folder too.
    """
    root = f"{folder.path.rstrip('/')}/"
    narrower = {} if on_hub(folder) else {"prefix": prefix}
    find = partial(folder.fs.find, folder.path, detail=True, **narrower)
    below: dict[str, dict[str, Any]] = _tried("listed", folder, find)
    return {
        path.removeprefix(root): info
        for path, info in below.items()
        if path.startswith(f"{root}{prefix}")
        and info["type"] == "file"
        and not path.endswith("/")  # an empty object that stands for a folder
    }


def etag(location: UPath) -> tuple[int, str]:
    """A file's size and the tag of its content, '' where the storage gives none."""
    return _tried("looked at", location, lambda: _state_now(location))


def tag_of(info: Mapping[str, Any]) -> str:
    """The tag of a file's content, from what the storage says of it."""
    return str(info.get("ETag") or info.get("etag") or hub.tag_of(info)).strip('"')


def _state_now(location: UPath) -> tuple[int, str]:
    # A commit's files stay as they are, and of a file alone the Hub's client tells no tag.
    info = location.fs.info(location.path, refresh=not on_hub(location))
    return int(info["size"]), tag_of(info)


def _tried(what: str, location: UPath, operation: Callable[[], T]) -> T:
    """Do something with object storage, again where it fails for a reason that may pass."""
    refuse_chain(str(location))
    if on_hub(location):
        url_of_storage(str(location))  # a relative glob may lead out of the commit
    retrying = Retrying(
        stop=stop_after_attempt(_TRIES),
        wait=lambda state: _pause(state, location),
        retry=retry_if_exception(lambda e: isinstance(e, Exception) and not _is_final(e, location)),
        before_sleep=lambda state: log.warning(
            "%s: could not be %s, try %s of %s: %s",
            location,
            what,
            state.attempt_number,
            _TRIES,
            state.outcome and _reason(state.outcome.exception(), location)[0],
        ),
        reraise=True,
    )
    try:
        return retrying(operation)
    except Exception as error:
        reason, kind = _reason(error, location)
        raise kind(f"{location}: could not be {what}: {reason}") from error


def _reason(error: BaseException | None, location: UPath) -> tuple[str, type[StorageError]]:
    """Why something failed, in one line, and the error that says it."""
    if on_hub(location) and error is not None and (meaning := hub.explain(error, location.path)):
        return meaning, StorageError
    reason = " ".join(str(error).split()) or type(error).__name__
    if reason == location.path:
        reason = "there is none"
    return reason, MissingError if isinstance(error, FileNotFoundError) else StorageError


def _pause(state: RetryCallState, location: UPath) -> float:
    wait = wait_random_exponential(multiplier=0.5, max=_LONGEST_PAUSE)(state)
    if state.outcome is None or not on_hub(location):
        return wait
    return max(wait, hub.pause_asked(state.outcome.exception()))


def _is_final(error: BaseException, location: UPath) -> bool:
    if on_hub(location) and hub.is_final(error):
        return True
    return isinstance(error, _FINAL) or type(error).__name__ in _FINAL_OF_BOTOCORE
