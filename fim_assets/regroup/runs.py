"""Sorted runs of lines in a file, and their merge: memory is bounded, whatever is sorted.

A run is as many lines as are sorted in memory at once. It is written as blocks, each a zstd frame,
and an index has each block's first hash, so that the lines of a range of hashes are read without
the others.
"""

import heapq
import struct
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import zstandard

from fim_assets.errors import UserError

BLOCK_BYTES = 1 << 16
"""Of lines in a block, or one longer line: a merge holds a block of every run in memory."""

_LEVEL = 1
_HEAD = struct.Struct("<QIQII")  # hash, input, line, and how long name and content are
_OBJECT_BYTES = 300  # of memory that a line takes besides its bytes


class Entry(NamedTuple):
    """A line and its place: in this order lines stand in their shard.

    Attributes:
        hashed: 64 bits that decide which shard it is in.
        name: Its repository's name in UTF-8, empty where it has none.
        source: The number of its input.
        line: Its number in the input.
        content: Its bytes, without the line feed.
    """

    hashed: int
    name: bytes
    source: int
    line: int
    content: bytes


class Segment(NamedTuple):
    """Neighbouring blocks of a run: where each begins in a file, and where the last one ends."""

    path: Path
    offsets: list[int]


class Index(NamedTuple):
    """Where the blocks of a file's runs are.

    Attributes:
        runs: The first block of each run, and how many blocks there are.
        hashes: The first hash of each block.
        offsets: Where each block begins, and where the file ends.
    """

    runs: npt.NDArray[np.int64]
    hashes: npt.NDArray[np.uint64]
    offsets: npt.NDArray[np.int64]

    def segments(self, path: Path, first: int, last: int) -> Iterator[Segment]:
        """The blocks that hold hashes from `first` to `last`, of each run that has any."""
        for begin, end in zip(self.runs[:-1].tolist(), self.runs[1:].tolist(), strict=True):
            hashes = self.hashes[begin:end]
            # The block before the first one that begins in the range may end in it.
            low = max(int(np.searchsorted(hashes, np.uint64(first), "left")) - 1, 0)
            high = int(np.searchsorted(hashes, np.uint64(last), "right"))
            if low < high:
                yield Segment(path, self.offsets[begin + low : begin + high + 1].tolist())

    def to_bytes(self) -> bytes:
        """As a file's content."""
        file = BytesIO()
        np.savez(file, **self._asdict())
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """The index in a file's content."""
        arrays: Any = np.load(BytesIO(content))
        return cls(*(arrays[name] for name in cls._fields))


class RunWriter:
    """Writes entries to a new file as sorted runs; a context manager.

    Memory is about `run_bytes` and the longest line.
    """

    def __init__(self, path: Path, run_bytes: int) -> None:
        self._path, self._file, self._run_bytes = path, path.open("xb"), run_bytes
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
        self._waiting: list[Entry] = []
        self._waiting_bytes = 0
        self._runs, self._hashes, self._offsets = [0], list[int](), [0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, entry: Entry) -> None:
        """Take an entry."""
        self._waiting.append(entry)
        self._waiting_bytes += len(entry.content) + _OBJECT_BYTES
        if self._waiting_bytes >= self._run_bytes:
            self._write_run()

    def finish(self) -> Index:
        """Write what waits, and give the index of it all."""
        if self._waiting:
            self._write_run()
        self._file.close()
        return Index(
            np.array(self._runs, np.int64),
            np.array(self._hashes, np.uint64),
            np.array(self._offsets, np.int64),
        )

    def merged(self) -> Iterator[Entry]:
        """All entries in order."""
        index = self.finish()
        return merge(index.segments(self._path, 0, (1 << 64) - 1))

    def _write_run(self) -> None:
        self._waiting.sort()
        block: list[bytes] = []
        size = first = 0
        for hashed, name, source, line, content in self._waiting:
            if not block:
                first = hashed
            block += (_HEAD.pack(hashed, source, line, len(name), len(content)), name, content)
            size += len(content)
            if size >= BLOCK_BYTES:
                self._write_block(first, block)
                block, size = [], 0
        if block:
            self._write_block(first, block)
        self._runs.append(len(self._hashes))
        self._waiting, self._waiting_bytes = [], 0

    def _write_block(self, first: int, block: Iterable[bytes]) -> None:
        frame = self._compressor.compress(b"".join(block))
        self._file.write(frame)
        self._hashes.append(first)
        self._offsets.append(self._offsets[-1] + len(frame))


def merge(segments: Iterable[Segment]) -> Iterator[Entry]:
    """The entries of sorted segments, in order; a block of each is in memory."""
    # One for all: each takes as much memory as a block.
    decompressor = zstandard.ZstdDecompressor()
    return heapq.merge(*(_entries(segment, decompressor) for segment in segments))


def _entries(segment: Segment, decompressor: zstandard.ZstdDecompressor) -> Iterator[Entry]:
    for begin, end in zip(segment.offsets[:-1], segment.offsets[1:], strict=True):
        # Opened for each block: there may be more runs than files that a process may open.
        with segment.path.open("rb", buffering=0) as file:
            file.seek(begin)
            frame = file.read(end - begin)
        try:
            block = decompressor.decompress(frame)
        except zstandard.ZstdError as error:
            advice = "delete the folder that it is in, and run the same command again"
            raise UserError(f"is damaged: {error}", advice, segment.path) from error
        at = 0
        while at < len(block):
            hashed, source, line, of_name, of_content = _HEAD.unpack_from(block, at)
            at += _HEAD.size
            name, at = block[at : at + of_name], at + of_name
            yield Entry(hashed, name, source, line, block[at : at + of_content])
            at += of_content
