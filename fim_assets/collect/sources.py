"""What a source holds, a folder or an archive: names with kinds, and the content of one file.

Names are bytes, as a file system has them. No link is followed, and nothing of an archive is ever
written under a name that it gives.
"""

import bz2
import errno
import gzip
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Literal, NamedTuple, Protocol, cast

import zstandard
from typing_extensions import Buffer

from fim_assets.errors import UserError
from fim_assets.io.compression import EXPANSION_FREE, FAILED_DOWNLOAD, MAX_EXPANSION

Kind = Literal["file", "folder", "link", "special"]
"""What a name stands for; special are pipes, sockets and devices."""

RULES_BYTES = 1 << 20
"""The most that a file of rules, as `.gitignore`, may hold."""

_ZSTD = zstandard.ZstdDecompressor()

_UNPACKING: dict[str, Callable[[IO[bytes]], Any]] = {
    ".tar": lambda file: file,
    ".tar.gz": lambda file: gzip.GzipFile(fileobj=file),
    ".tgz": lambda file: gzip.GzipFile(fileobj=file),
    ".tar.bz2": bz2.BZ2File,
    ".tar.xz": lzma.LZMAFile,
    ".tar.zst": lambda file: _ZSTD.stream_reader(file, read_across_frames=True),
}

ARCHIVES = (*_UNPACKING, ".zip")
"""How the names of archives end."""

_DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, zstandard.ZstdError),
    *(EOFError, NotImplementedError, UnicodeDecodeError),
)
"""What the libraries raise where an archive is no such archive, or not a whole one."""

_OF_DAMAGE = (None, errno.EINVAL)
"""Numbers of such errors of the system's: gzip and bzip2 give none, and a zip may lead before its
beginning.
"""

_ENCRYPTED, _UTF_8 = 1 << 0, 1 << 11
_PIECE_BYTES = 1 << 18


class Entry(NamedTuple):
    """A name in a folder, and what it stands for."""

    name: bytes
    kind: Kind


class Source(Protocol):
    """A folder or an archive; folders and files are named by their path in it, `a/b`.

    Attributes:
        name: What it is called.
        outside: Members of an archive whose names lead out of it.
    """

    name: str
    outside: list[str]

    def entries(self, folder: bytes) -> list[Entry]:
        """What is in a folder, in any order; a PermissionError if this may not be read."""

    def read(self, path: bytes, most: int) -> bytes | None:
        """A file's content, None if it holds more bytes; a PermissionError if it is not to read."""


def ending_of_archive(name: str) -> str:
    """How the name of an archive ends, '' for another name."""
    return next((name[-len(end) :] for end in ARCHIVES if name.lower().endswith(end)), "")


def archive_ending(path: Path) -> str | None:
    """How an archive's name ends, None for a folder; a UserError if a source is neither."""
    if path.is_dir():
        return None
    if not path.exists():
        raise UserError("there is no such folder or archive", location=path)
    for ending in ARCHIVES:
        if path.is_file() and path.name.lower().endswith(ending):
            return ending
    endings = ", ".join(ARCHIVES)
    raise UserError(f"is neither a folder nor a file whose name ends in {endings}", location=path)


@contextmanager
def open_source(path: Path, most: int) -> Iterator[Source]:
    """Open a folder, or an archive of which files of at most so many bytes will be read.

    Raises:
        UserError: If it is neither, or is damaged, encrypted, or a decompression bomb.
    """
    ending = archive_ending(path)
    if ending is None:
        yield _Folder(path)
        return
    name = path.name[: -len(ending)]
    unpack = _UNPACKING.get(ending)
    try:
        with (
            _zip(path, name, most) if unpack is None else _tar(path, name, most, unpack) as archive
        ):
            yield archive
    except _DAMAGE as error:
        raise _damaged(path, error) from error
    except OSError as error:
        if error.errno not in _OF_DAMAGE:
            raise
        raise _damaged(path, error) from error


def _damaged(path: Path, error: object) -> UserError:
    return UserError(f"is damaged or cut short: {error}", FAILED_DOWNLOAD, path)


def _most_unpacked(path: Path) -> int:
    return max(EXPANSION_FREE, MAX_EXPANSION * path.stat().st_size)


def _bomb(path: Path) -> UserError:
    problem = f"expands to over {MAX_EXPANSION:,} times its size: a decompression bomb"
    return UserError(problem, location=path)


class _Folder:
    """A folder of this machine."""

    def __init__(self, path: Path) -> None:
        self.name = os.fsencode(path.resolve().name).decode("utf-8", "replace")
        self.outside: list[str] = []
        self._path = os.fsencode(path) + b"/"

    def entries(self, folder: bytes) -> list[Entry]:
        with os.scandir(os.fsdecode(self._path + folder)) as found:
            return [Entry(os.fsencode(entry.name), _kind(entry)) for entry in found]

    def read(self, path: bytes, most: int) -> bytes | None:
        place = os.fsdecode(self._path + path)
        # It may have become a link or a pipe since it was listed.
        opened = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(opened, "rb", buffering=0) as file:
            if os.fstat(opened).st_size > most:
                return None
            content = file.read()
        return None if len(content) > most else content


def _kind(entry: os.DirEntry[str]) -> Kind:
    if entry.is_symlink():
        return "link"
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    return "file" if entry.is_file(follow_symlinks=False) else "special"


class _Archive:
    """The members of an archive by folder; of several with one name, the last one counts.

    Where all lie in a single folder, this is the archive.
    """

    def __init__(self, name: str, read: Callable[[bytes, int], bytes | None]) -> None:
        self.name, self.outside = name, list[str]()
        self._read, self._top = read, b""
        self._folders: dict[bytes, dict[tuple[bytes, bool], Entry]] = {b"": {}}

    def add(self, name: bytes, kind: Kind) -> bytes | None:
        """Add a member; its path, None if its name leads out of the archive."""
        parts = [part for part in name.split(b"/") if part not in {b"", b"."}]
        if name.startswith(b"/") or b".." in parts:
            self.outside.append(name.decode("utf-8", "replace"))
            return None
        path = b"/".join(parts)
        while parts:
            *above, last = parts
            folder = b"/".join(above)
            is_new = folder not in self._folders
            # A file and a folder of one name are both looked at.
            inside = self._folders.setdefault(folder, {})
            inside[last, kind == "folder"] = Entry(last, kind)
            parts, kind = above if is_new else [], "folder"
        return path

    def complete(self) -> "_Archive":
        """The archive, once all its members are added."""
        if len(self._folders[b""]) == 1:
            [(top, kind)] = self._folders[b""].values()
            if kind == "folder":
                self._top, self.name = top + b"/", top.decode("utf-8", "replace")
        return self

    def entries(self, folder: bytes) -> list[Entry]:
        return list(self._folders.get((self._top + folder).rstrip(b"/"), {}).values())

    def read(self, path: bytes, most: int) -> bytes | None:
        return self._read(self._top + path, most)


@contextmanager
def _zip(path: Path, name: str, most: int) -> Iterator[_Archive]:
    members: dict[bytes, zipfile.ZipInfo] = {}
    with zipfile.ZipFile(path) as file:

        def read(member: bytes, most: int) -> bytes | None:
            info = members[member]
            if info.file_size > most:
                return None
            with file.open(info) as content:
                return content.read(info.file_size)  # and no more, if it holds more than it says

        archive = _Archive(name, read)
        for info in file.infolist():
            if info.flag_bits & _ENCRYPTED:
                raise UserError(f"{info.filename} is encrypted", "unpack it", path)
            if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
                problem = f"{info.filename} is compressed by another method than deflate"
                raise UserError(problem, "unpack it", path)
            # What is not marked as UTF-8 are bytes, which the library reads as code page 437.
            encoding = "utf-8" if info.flag_bits & _UTF_8 else "cp437"
            kind = _zipped(info)
            added = archive.add(info.orig_filename.encode(encoding), kind)
            if added is not None and kind == "file":
                members[added] = info
        # Members may share their bytes. Each is held to its size when it is read.
        sizes = (info.file_size for info in members.values() if info.file_size <= most)
        if sum(sizes) > _most_unpacked(path):
            raise _bomb(path)
        yield archive.complete()


def _zipped(info: zipfile.ZipInfo) -> Kind:
    if info.is_dir():
        return "folder"
    mode = stat.S_IFMT(info.external_attr >> 16)
    if mode == stat.S_IFLNK:
        return "link"
    return "file" if mode in {0, stat.S_IFREG} else "special"


@contextmanager
def _tar(
    path: Path, name: str, most: int, unpack: Callable[[IO[bytes]], Any]
) -> Iterator[_Archive]:
    """Rules may stand behind what they ignore: the members are kept in a temporary file."""
    members: dict[bytes, tuple[int, int]] = {}
    with TemporaryFile() as kept, path.open("rb") as file:

        def read(member: bytes, most: int) -> bytes | None:
            begin, size = members.get(member, (0, most + 1))
            if size > most:
                return None
            kept.seek(begin)
            return kept.read(size)

        archive = _Archive(name, read)
        unpacked = _Unpacked(unpack(file), path)
        with tarfile.open(
            fileobj=cast("IO[bytes]", unpacked),
            mode="r|",
            tarinfo=_Member,
            encoding="utf-8",
            errors="surrogateescape",
        ) as tar:
            for member in tar:
                kind: Kind = "file" if member.isreg() else "special"
                kind = "folder" if member.isdir() else kind
                kind = "link" if member.issym() or member.islnk() else kind
                added = archive.add(member.name.encode("utf-8", "surrogateescape"), kind)
                if added is None or kind != "file":
                    continue
                members.pop(added, None)
                if member.size <= max(most, RULES_BYTES):
                    content = tar.extractfile(member)
                    members[added] = kept.tell(), member.size
                    kept.write(content.read() if content is not None else b"")
            # What is compressed has its checksum at its end.
            while piece := cast("IO[bytes]", tar.fileobj).read(_PIECE_BYTES):
                if piece.strip(b"\0"):
                    advice = "unpack it, as `tar -x --ignore-zeros` does, and collect the folder"
                    raise UserError("other bytes follow its end", advice, path)
        yield archive.complete()


class _Unpacked:
    """What an archive unpacks to, as far as this is no decompression bomb."""

    def __init__(self, file: Any, path: Path) -> None:
        self._file, self._path, self._bytes = file, path, 0
        self._most = _most_unpacked(path)

    def read(self, size: int) -> bytes:
        piece: bytes = self._file.read(size)
        self._bytes += len(piece)
        if self._bytes > self._most:
            raise _bomb(self._path)
        return piece


class _Member(tarfile.TarInfo):
    """A header that is read, or is an error.

    The library takes a damaged header, or none, for the archive's end.
    """

    @classmethod
    def frombuf(cls, buf: Buffer, encoding: str, errors: str) -> "_Member":
        block = bytes(buf)
        try:
            return super().frombuf(block, encoding, errors)
        except tarfile.HeaderError as error:
            if block and not any(block):
                raise  # the block of zeros at the end
            reason = f"a header of a member: {error}" if block else "it has no end"
            raise tarfile.ReadError(reason) from error
