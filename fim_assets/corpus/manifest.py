"""Manifests: tables that pin which shards there are, their content, and which are one partition.

A line is a shard. Lines with one key, which stand together, are the members of a `ShardGroup`;
which shards become a group is decided in `groups`.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from fim_assets.corpus.keys import KEY_RULE, NAME_RULE, SHARD_NAME, fits
from fim_assets.corpus.raw_shard import REQUESTS_AT_ONCE, RawInput, RawShard, ShardGroup
from fim_assets.errors import ShardError
from fim_assets.io.compression import FAILED_DOWNLOAD, NOTHING_COMPRESSED
from fim_assets.io.hashing import record_file
from fim_assets.io.locations import Location, StorageError, is_remote, is_url, url_of_storage
from fim_assets.io.other_formats import ENDINGS, advice_for
from fim_assets.io.storage import etag, fetched, read_bytes
from fim_assets.wording import shortened

MANIFEST_SUFFIX = ".tsv"
COLUMNS = ("key", "url", "bytes", "etag", "blake2b")
"""A manifest's columns; `etag` or `blake2b` may be empty."""

_BLAKE2B = re.compile(r"[0-9a-f]{64}")


def read_manifest(manifest: Location) -> dict[str, RawInput]:
    """The shards that a manifest pins, by partition key; none of them is looked at.

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
        problem = f"{manifest}, line 1: a manifest begins with {' '.join(COLUMNS)}, by tabs"
        raise ShardError(
            problem, f"if it is a table of documents, {ENDINGS[MANIFEST_SUFFIX].advice}"
        )
    members: dict[str, dict[str, RawShard]] = {}
    last = ""
    for number, row in enumerate(rows, 2):
        where = f"{manifest}, line {number:,}"
        if len(row) != len(COLUMNS):
            raise ShardError(f"{where}: {len(row)} columns, a manifest has {len(COLUMNS)}")
        key, url, size, tag, blake2b = row
        if not fits(key):
            raise ShardError(f"{where}: key {key!r}: {KEY_RULE}")
        if key != last and key in members:
            problem = "stands there already, and not in the line before"
            raise ShardError(f"{where}: key {key}: {problem}: the shards of a key stand together")
        if not (size.isascii() and size.isdigit()):
            raise ShardError(f"{where}: bytes {size!r}: not a whole number")
        if blake2b and not _BLAKE2B.fullmatch(blake2b):
            raise ShardError(f"{where}: blake2b {blake2b!r}: not 64 hex digits")
        if not SHARD_NAME.search(url):
            raise ShardError(f"{where}: url {url!r}: {NAME_RULE}", advice_for([url]))
        try:
            path = url_of_storage(url) if is_url(url) else str(manifest.parent / url)
        except StorageError as error:
            raise ShardError(f"{where}: url {error}") from error
        of_key = members.setdefault(key, {})
        if path in of_key:
            raise ShardError(f"{where}: url {url} stands there twice: its documents would count so")
        of_key[path] = RawShard(path, int(size), tag, blake2b, where)
        last = key
    groups = {key: tuple(of_key.values()) for key, of_key in members.items()}
    return {key: ShardGroup(of) if len(of) > 1 else of[0] for key, of in groups.items()}


def _rows(text: str, manifest: Location) -> Iterator[list[str]]:
    rows = csv.reader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE)
    try:
        yield from rows
    except csv.Error as error:
        raise ShardError(f"{manifest}, line {rows.line_num:,}: {error}") from error


def manifest_rows(shards: Mapping[str, RawInput], *, content: bool) -> Iterator[str]:
    """A manifest's lines, each shard pinned as it is now.

    `content`: whether the content of shards on object storage is read and hashed too; that of files
    always is. A ShardError is raised if a shard is gone, is compressed and has 0 bytes, or its path
    holds a tab or a line feed.
    """
    listed = [(key, member) for key, shard in shards.items() for member in shard.members]
    if empty := [member.place for _, member in listed if member.lacks_content]:
        raise ShardError(f"{shortened(empty)}: {NOTHING_COMPRESSED}", FAILED_DOWNLOAD)
    yield "\t".join(COLUMNS) + "\n"
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        pinned = pool.map(lambda row: _pin(row[1], content=content), listed)
        for (key, _), shard in zip(listed, pinned, strict=True):
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
