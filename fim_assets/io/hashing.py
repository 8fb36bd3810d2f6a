"""Files by their bytes: counted and hashed while they are read or written."""

from collections.abc import Sequence
from hashlib import blake2b
from io import BufferedIOBase, BufferedWriter, RawIOBase
from pathlib import Path

from typing_extensions import Buffer

from fim_assets.io.frozen_model import FrozenModel

DIGEST_BYTES = 32
_BLOCK_BYTES = 1 << 20


class FileRecord(FrozenModel):
    """A file's identity: name without folder, size, and 64 hex digits as of `b2sum -l 256`."""

    name: str
    bytes: int
    blake2b: str


class _HashingFile(RawIOBase):
    """A file whose bytes are hashed and counted as they pass."""

    def __init__(self, file: BufferedIOBase) -> None:
        self._file = file
        self._digest = blake2b(digest_size=DIGEST_BYTES)
        self._bytes = 0

    def _count(self, data: memoryview) -> int:
        self._digest.update(data)
        self._bytes += data.nbytes
        return data.nbytes

    def _record(self, name: str) -> FileRecord:
        return FileRecord(name=name, bytes=self._bytes, blake2b=self._digest.hexdigest())

    def close(self) -> None:
        """Close the file; where none could be opened, Python still closes what holds it."""
        if hasattr(self, "_file"):
            self._file.close()
        super().close()


class HashingReader(_HashingFile):
    """A file that hashes all bytes that are read from it.

    Attributes:
        unhashed: The file itself, for who reads it in another order before it is hashed.
    """

    def __init__(self, path: Path) -> None:
        self.unhashed = path.open("rb")
        super().__init__(self.unhashed)
        self._name = path.name

    def readable(self) -> bool:
        """Return true: this is the whole interface, with `readinto`."""
        return True

    def readinto(self, buffer: Buffer) -> int:
        """Read into a buffer and hash what was read."""
        view = memoryview(buffer)
        return self._count(view[: self._file.readinto(view)])

    def record(self) -> FileRecord:
        """Read what is left and return the whole file's identity."""
        while self.read(_BLOCK_BYTES):
            pass
        return self._record(self._name)


class HashingWriter(_HashingFile):
    """A new file that hashes all bytes written to it; it cannot seek."""

    def __init__(self, path: Path) -> None:
        super().__init__(BufferedWriter(path.open("xb", 0), _BLOCK_BYTES))

    def writable(self) -> bool:
        """Return true: this is the whole interface, with `write`."""
        return True

    def write(self, data: Buffer) -> int:
        """Write all of a buffer and hash it."""
        self._file.write(data)
        return self._count(memoryview(data))

    def tell(self) -> int:
        """Bytes written so far."""
        return self._bytes

    def record(self, name: str) -> FileRecord:
        """The identity of what was written, under its final name."""
        return self._record(name)


def record_file(path: Path) -> FileRecord:
    """Hash a file at rest."""
    with HashingReader(path) as file:
        return file.record()


def joined_record(records: Sequence[FileRecord]) -> FileRecord:
    """The identity of files that are read one behind another; that of a single file is its own.

    The hash of several is that of their hashes, as hex digits, so that it is known where these are.
    """
    if len(records) == 1:
        return records[0]
    digests = "".join(record.blake2b for record in records).encode()
    return FileRecord(
        name=joined_name([record.name for record in records]),
        bytes=sum(record.bytes for record in records),
        blake2b=blake2b(digests, digest_size=DIGEST_BYTES).hexdigest(),
    )


def joined_name(names: Sequence[object]) -> str:
    """What several files that are read one behind another are called."""
    more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
    return f"{names[0]}{more}"
