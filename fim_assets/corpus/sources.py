"""Raw shards: which there are, by globs of files or URLs, or by a manifest that pins them."""

import csv
import glob
import io
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from upath import UPath

from fim_assets.errors import ShardError
from fim_assets.io.compression import COMPRESSED_ENDINGS, FAILED_DOWNLOAD, NOTHING_COMPRESSED
from fim_assets.io.hashing import FileRecord, record_file
from fim_assets.io.locations import (
    WILDCARD,
    Location,
    StorageError,
    expand_home,
    is_remote,
    is_url,
    parse_url,
    url_of_storage,
)
from fim_assets.io.storage import etag, fetch, fetched, objects, read_bytes, tag_of

log = logging.getLogger(__name__)

MANIFEST_SUFFIX = ".tsv"
COLUMNS = ("key", "url", "bytes", "etag", "blake2b")
"""A manifest's columns; `etag` or `blake2b` may be empty."""

_SHARD_NAME = re.compile(r"\.jsonl?(\.gz|\.zst)?$")
_KEY_REFUSED = re.compile(r"[\x00-\x1f\x7f-\x9f,\[\](){}\\]|\.\.\.|^[.-]|\.$")
_KEY_BYTES = 200
_PATHS_SHOWN = 10
_BLAKE2B = re.compile(r"[0-9a-f]{64}")
_FETCHED_AT_ONCE = 8


@dataclass(frozen=True)
class RawShard:
    """A raw shard, and what is known of it before it is read; None and '' are unknown.

    `place` is its path or URL, `etag` the storage's tag of its content, `blake2b` 64 hex digits.
    `pinned_by` is the manifest and its line, which it must agree with; '' where none names it.
    """

    place: str
    bytes: int | None = None
    etag: str = ""
    blake2b: str = ""
    pinned_by: str = ""

    def __str__(self) -> str:
        """Its path or URL."""
        return self.place

    @property
    def location(self) -> Location:
        """Its path or URL, as what reads it takes it."""
        return parse_url(self.place) if is_url(self.place) else Path(self.place)

    @property
    def size(self) -> int:
        """Its size as far as it is known, else that of the file, 0 where there is none."""
        if self.bytes is not None:
            return self.bytes
        try:
            return Path(self.place).stat().st_size
        except OSError:
            return 0

    @property
    def lacks_content(self) -> bool:
        """Whether it has 0 bytes though its name says that it is compressed."""
        return self.place.endswith(COMPRESSED_ENDINGS) and self.size == 0

    def fetch(self, folder: Path) -> Path:
        """Its file on this machine, fetched into a folder from elsewhere; see `refuse_changed`."""
        self.refuse_changed()
        # Where nothing pins it, what was listed may be days old.
        return fetch(self.location, folder, self.bytes if self.pinned_by else None)

    def known_record(self) -> FileRecord | None:
        """Its identity, where a manifest says it and the storage says that it is unchanged."""
        if not (self.blake2b and self.etag and self.bytes is not None):
            return None
        if not self.refuse_changed():
            return None
        return FileRecord(name=self.location.name, bytes=self.bytes, blake2b=self.blake2b)

    def refuse_other(self, record: FileRecord) -> None:
        """Raise a ShardError for a content that is not the manifest's."""
        if self.blake2b and record.blake2b != self.blake2b:
            self._refuse("blake2b", self.blake2b, record.blake2b)

    def refuse_changed(self) -> bool:
        """Refuse what is seen to have changed; whether the tag of its content was looked at.

        A ShardError is raised if it is gone, or is not what its manifest says.
        """
        if not self.pinned_by:
            return False
        location = self.location
        try:
            if is_remote(location):
                size, tag = etag(location)
            else:
                size, tag = location.stat().st_size, ""
        except FileNotFoundError as error:
            raise ShardError(f"{self}: is gone; {self.pinned_by} names it") from error
        if self.bytes is not None and size != self.bytes:
            self._refuse("bytes", str(self.bytes), str(size))
        if self.etag and tag and tag != self.etag:
            self._refuse("etag", self.etag, tag)
        return bool(self.etag and tag)

    def _refuse(self, field: str, expected: str, actual: str) -> None:
        problem = f"has changed: {self.pinned_by} says {field} {expected}, it has {actual}"
        raise ShardError(f"{self}: {problem}; list the shards again with `fim-assets manifest`")


def find_shards(documents: Iterable[str], root: Location) -> dict[str, RawShard]:
    """List the shards that globs of files or URLs match, or manifests (`.tsv`) name.

    `documents` are absolute, or relative to `root`.

    Returns:
        Shards by partition key, sorted by key. The key is the path below the glob's fixed part (the
        folders before the first wildcard), `/` as `__`, without `.json[l][.gz|.zst]`; a manifest
        says it.

    Raises:
        ShardError: If a matched file is no shard by its name, two shards have one key, a shard has
            two, a key holds what Dagster or a file name cannot carry, or a manifest is none.
    """
    shards: dict[str, RawShard] = {}
    keys: dict[str, str] = {}
    for pattern in documents:
        for key, shard in _listed_by(pattern, root):
            known = shards.setdefault(key, shard)
            if known.place != shard.place:
                raise ShardError(f"two shards have the key {key}: {known} and {shard}")
            if not known.pinned_by:
                shards[key] = shard
            # Two globs may reach a file, by a link too; in a manifest each line was looked at.
            real = shard.place if shard.pinned_by else _real(shard.location)
            if keys.setdefault(real, key) != key:
                problem = f"has two keys, {keys[real]} and {key}: its documents would count twice"
                raise ShardError(f"{shard} {problem}; do globs overlap, or is there a link?")
    return dict(sorted(shards.items()))


def refuse_outputs(shards: Iterable[RawShard], folders: Iterable[Location]) -> None:
    """Refuse globs that match what was made of shards, which is in these folders."""
    outputs = tuple(f"{folder}{os.sep}" for folder in folders)
    for shard in shards:
        if str(shard).startswith(outputs):
            advice = "narrow the glob, or set FIM_INPUT_ROOT to the folder of the raw shards"
            raise ShardError(f"{shard}: raw.documents matches this output; {advice}")


def _listed_by(pattern: str, root: Location) -> Iterator[tuple[str, RawShard]]:
    if pattern.endswith(MANIFEST_SUFFIX) and not WILDCARD.search(pattern):
        yield from read_manifest(_absolute(pattern, root)).items()
        return
    start, rest = _start(pattern, root)
    if is_remote(start):
        yield from _objects(rest, start)
        return
    base, paths = _expand(rest, start)
    if not paths:
        log.warning("raw.documents: %s matches nothing below %s", pattern, root)
    _refuse_other_files(paths)
    for path in paths:
        yield _key(path, path.relative_to(base).as_posix()), RawShard(str(path))


def _absolute(pattern: str, root: Location) -> Location:
    if is_url(pattern):
        return parse_url(pattern)
    try:
        local = expand_home(pattern)
    except FileNotFoundError as error:
        raise ShardError(f"raw.documents: {error}") from error
    return local if local.is_absolute() else root / pattern


def _start(pattern: str, root: Location) -> tuple[Location, str]:
    """The folder that a glob starts from, whose own name is none, and the glob from there."""
    path = _absolute(pattern, Path())
    if is_remote(path):
        bucket, _, rest = path.path.partition("/")
        if not rest or WILDCARD.search(bucket):
            raise ShardError(f"raw.documents: {pattern}: name the bucket in full, and files in it")
        return path.parents[-1], rest
    return (Path(path.anchor), str(path)) if path.is_absolute() else (root, pattern)


def _real(location: Location) -> str:
    return str(location) if is_remote(location) else str(location.resolve())


def _objects(pattern: str, root: UPath) -> Iterator[tuple[str, RawShard]]:
    parts = pattern.rstrip("/").split("/")
    wild = _first_wild(parts)
    base, rest = root.joinpath(*parts[:wild]), "/".join(parts[wild:])
    matching = objects(base, rest)
    if not matching:
        log.warning("raw.documents: %s matches nothing", base / rest)
    _refuse_other_names(matching)
    for location, info in matching.items():
        key = _key(location, location.path.removeprefix(f"{base.path.rstrip('/')}/"))
        yield key, RawShard(str(location), int(info["size"]), tag_of(info))


def _first_wild(parts: Sequence[str]) -> int:
    return next((i for i, part in enumerate(parts) if WILDCARD.search(part)), len(parts) - 1)


def read_manifest(manifest: Location) -> dict[str, RawShard]:
    """The shards that a manifest pins, none of which is looked at.

    Paths that are relative start from the manifest's folder. A ShardError names line, column and
    value if it is no manifest.
    """
    try:
        text = read_bytes(manifest).decode()
    except FileNotFoundError as error:
        raise ShardError(f"{manifest}: no such manifest") from error
    except UnicodeDecodeError as error:
        raise ShardError(f"{manifest}: not UTF-8: {error}") from error
    rows = _rows(text, manifest)
    if tuple(next(rows, ())) != COLUMNS:
        raise ShardError(f"{manifest}, line 1: a manifest begins with {' '.join(COLUMNS)}, by tabs")
    shards: dict[str, RawShard] = {}
    for number, row in enumerate(rows, 2):
        where = f"{manifest}, line {number:,}"
        if len(row) != len(COLUMNS):
            raise ShardError(f"{where}: {len(row)} columns, a manifest has {len(COLUMNS)}")
        key, url, size, tag, blake2b = row
        if not _fits(key):
            raise ShardError(f"{where}: key {key!r}: {_KEY_RULE}")
        if key in shards:
            raise ShardError(f"{where}: key {key} stands there twice")
        if not (size.isascii() and size.isdigit()):
            raise ShardError(f"{where}: bytes {size!r}: not a whole number")
        if blake2b and not _BLAKE2B.fullmatch(blake2b):
            raise ShardError(f"{where}: blake2b {blake2b!r}: not 64 hex digits")
        if not _SHARD_NAME.search(url):
            raise ShardError(f"{where}: url {url!r}: {_NAME_RULE}")
        try:
            path = url_of_storage(url) if is_url(url) else str(manifest.parent / url)
        except StorageError as error:
            raise ShardError(f"{where}: url {error}") from error
        shards[key] = RawShard(path, int(size), tag, blake2b, where)
    return shards


def _rows(text: str, manifest: Location) -> Iterator[list[str]]:
    rows = csv.reader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE)
    try:
        yield from rows
    except csv.Error as error:
        raise ShardError(f"{manifest}, line {rows.line_num:,}: {error}") from error


def manifest_rows(shards: Mapping[str, RawShard], *, content: bool) -> Iterator[str]:
    """A manifest's lines, each shard pinned as it is now.

    `content`: whether the content of shards on object storage is read and hashed too; that of files
    always is. A ShardError is raised if a shard is gone, is compressed and has 0 bytes, or its path
    holds a tab or a line feed.
    """
    if empty := [shard.location for shard in shards.values() if shard.lacks_content]:
        raise ShardError(f"{_shown(empty)}: {NOTHING_COMPRESSED}", FAILED_DOWNLOAD)
    yield "\t".join(COLUMNS) + "\n"
    with ThreadPoolExecutor(_FETCHED_AT_ONCE) as pool:
        pinned = pool.map(lambda shard: _pin(shard, content=content), shards.values())
        for key, shard in zip(shards, pinned, strict=True):
            columns = (key, str(shard), str(shard.bytes), shard.etag, shard.blake2b)
            if any(set(column) & set("\t\r\n") for column in columns):
                raise ShardError(f"{shard}: a tab or line feed in its name: rename the shard")
            yield "\t".join(columns) + "\n"


def _pin(shard: RawShard, *, content: bool) -> RawShard:
    location = shard.location
    if not is_remote(location):
        record = record_file(location)
        return RawShard(str(location.absolute()), record.bytes, "", record.blake2b)
    size, tag = etag(location)
    if not content:
        return RawShard(shard.place, size, tag)
    with fetched(location, size) as path:
        return RawShard(shard.place, size, tag, record_file(path).blake2b)


def _expand(pattern: str, root: Path) -> tuple[Path, list[Path]]:
    parts = Path(pattern).parts
    if not parts or parts[-1] in ("**", "/"):
        raise ShardError(f"raw.documents: {pattern!r} names no files; should it end in **/*?")
    wild = _first_wild(parts)
    base = root.joinpath(*parts[:wild])
    _refuse_unreadable(base)
    names = glob.glob(str(Path(*parts[wild:])), root_dir=base, recursive=True)  # noqa: PTH207 - follows links
    paths = [base / name for name in names]
    return base, sorted(path for path in paths if not path.is_dir())


def _refuse_unreadable(base: Path) -> None:
    """Raise where a folder cannot be listed: globs would pass over it in silence."""

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise ShardError(f"{error.filename}: cannot be listed: {error.strerror}") from error

    for _ in os.walk(base, onerror=refuse):
        pass


def _refuse_other_files(paths: list[Path]) -> None:
    if missing := [path for path in paths if not path.exists()]:
        raise ShardError(f"{_shown(missing)}: a link to nothing")
    if special := [path for path in paths if not path.is_file()]:
        raise ShardError(f"{_shown(special)}: no file, but a pipe, a socket or a device")
    _refuse_other_names(paths)


_NAME_RULE = "a shard's name ends in .json or .jsonl, with .gz or .zst behind it or not"


def _refuse_other_names(locations: Iterable[Location]) -> None:
    if others := [location for location in locations if not _SHARD_NAME.search(location.name)]:
        problem = f"raw.documents matches what is no shard by its name; {_NAME_RULE}"
        raise ShardError(f"{_shown(others)}: {problem}: narrow the glob or move the files")


def _shown(locations: Iterable[Location]) -> str:
    names = list(map(str, locations))
    more = f" and {len(names) - _PATHS_SHOWN} more" if len(names) > _PATHS_SHOWN else ""
    return ", ".join(islice(names, _PATHS_SHOWN)) + more


_KEY_RULE = (
    f"a key has at most {_KEY_BYTES} bytes, holds no control characters, commas, brackets, "
    "backslashes or '...', does not begin with '.' or '-' nor end with '.'"
)


def _fits(key: str) -> bool:
    fits = key and not _KEY_REFUSED.search(key) and key.isprintable()
    return bool(fits) and len(key.encode()) <= _KEY_BYTES


def _key(location: Location, name: str) -> str:
    """The partition key of a shard, from its path below its glob's fixed part."""
    key = _SHARD_NAME.sub("", name).replace("/", "__")
    if not _fits(key):
        raise ShardError(f"{location}: its key would be {key!r}; {_KEY_RULE}: rename the shard")
    return key
