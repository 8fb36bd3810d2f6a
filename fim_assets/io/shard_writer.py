"""Lines to a compressed shard: one zstd stream, the same bytes however they come."""

from collections.abc import Iterable
from typing import IO, Self, cast

import zstandard

from fim_assets.io.hashing import HashingWriter

ZSTD_LEVEL = 3

Line = bytes | memoryview


class ShardWriter:
    """Writes lines as one zstd stream of one thread; a context manager.

    Bytes depend on the lines alone, not on how many are written at once. The stream ends in a
    checksum of its content, so that whoever reads it notices damage.
    """

    def __init__(self, file: HashingWriter) -> None:
        compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True)
        self._stream = compressor.stream_writer(cast("IO[bytes]", file), closefd=False)

    def write(self, lines: Iterable[Line]) -> None:
        """Append lines, each without its line feed."""
        write = self._stream.write
        for line in lines:
            write(line)
            write(b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the stream, unless something failed."""
        if kind is None:
            self._stream.close()
