"""Raw shards before they are read: one file or object, or a group of them that is one partition."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from fim_assets.corpus.keys import PARQUET
from fim_assets.errors import ShardError
from fim_assets.io.compression import COMPRESSED_ENDINGS
from fim_assets.io.hashing import FileRecord, joined_name, joined_record
from fim_assets.io.locations import Location, is_remote, is_url, parse_url
from fim_assets.io.storage import etag, fetch

REQUESTS_AT_ONCE = 8
"""Shards that are looked at at once."""


class Member(FileRecord):
    """A shard of a group as it was read: its identity, and how many lines it has."""

    lines: int


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
    def members(self) -> tuple["RawShard", ...]:
        """It alone; a `ShardGroup` has several."""
        return (self,)

    @property
    def location(self) -> Location:
        """Its path or URL, as what reads it takes it."""
        return parse_url(self.place) if is_url(self.place) else Path(self.place)

    @property
    def real_place(self) -> str:
        """Its URL, or its path without links: what two names of one file have in common."""
        return self.place if is_url(self.place) else str(Path(self.place).resolve())

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
        """Whether it has 0 bytes though one of its name that holds nothing has some."""
        return self.place.endswith((*COMPRESSED_ENDINGS, PARQUET)) and self.size == 0

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


@dataclass(frozen=True)
class ShardGroup:
    """Several raw shards that are one partition, read one behind another."""

    members: tuple[RawShard, ...]

    def __str__(self) -> str:
        """The first one's path or URL, and how many more there are."""
        return joined_name(self.members)

    @property
    def size(self) -> int:
        """The size of them all, see `RawShard.size`."""
        return sum(member.size for member in self.members)

    @property
    def lacks_content(self) -> bool:
        """Whether one of them does, see `RawShard.lacks_content`."""
        return any(member.lacks_content for member in self.members)

    def known_record(self) -> FileRecord | None:
        """Their identity, where it is known of each without reading it."""
        with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
            known = list(pool.map(RawShard.known_record, self.members))
        records = [record for record in known if record is not None]
        return joined_record(records) if len(records) == len(known) else None


RawInput = RawShard | ShardGroup
"""What a partition is made of."""


def fetch_all(shard: RawInput, folder: Path) -> tuple[Path, ...]:
    """The files of a partition, fetched into a folder from elsewhere, one by one."""
    folders = zip(shard.members, _folders(shard, folder), strict=True)
    return tuple(member.fetch(below) for member, below in folders)


def fetched_names(shard: RawInput, folder: Path) -> Iterator[tuple[str, str]]:
    """Where each object is once it is fetched into a folder, and its URL."""
    for member, below in zip(shard.members, _folders(shard, folder), strict=True):
        yield str(below / member.location.name), str(member)


def _folders(shard: RawInput, folder: Path) -> list[Path]:
    # Members of several folders may have one name, and a folder's name may tell the language.
    several = isinstance(shard, ShardGroup)
    return [
        (folder / str(n) if several else folder) / member.location.parent.name
        for n, member in enumerate(shard.members)
    ]
