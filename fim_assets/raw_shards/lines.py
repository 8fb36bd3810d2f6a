"""A shard's content cut into lines, block by block; what stands in a line is not looked at here."""

from collections.abc import Iterator
from hashlib import blake2b

from fim_assets.io.hashing import DIGEST_BYTES
from fim_assets.io.shard_writer import Line
from fim_assets.raw_shards.rejections import (
    CARRIAGE_RETURNS,
    RejectedLine,
    ends_in_carriage_returns,
    one_value,
)

_LONG_LINE_KEPT = 1 << 10
"""Bytes that are kept of a line over `raw.max_line_bytes`."""


class LongLine:
    """A line over the bound, of which the beginning, the size and the hash are kept."""

    def __init__(self, begin: Line) -> None:
        self.size = 0
        self._content = bytes(begin[:_LONG_LINE_KEPT])
        in_one_line = ends_in_carriage_returns(begin)
        self._advice = CARRIAGE_RETURNS if in_one_line else one_value(self._content)
        self._digest = blake2b(digest_size=DIGEST_BYTES)
        self.add(begin)

    def add(self, piece: Line) -> None:
        """Take the next piece of it."""
        self.size += len(piece)
        self._digest.update(piece)

    def rejected(self, number: int, bound: int) -> RejectedLine:
        """The record of a line over `bound` bytes, by its number."""
        detail = f"{self.size:,} bytes, raw.max_line_bytes is {bound:,}; its beginning is kept"
        identity = self.size, self._digest.hexdigest()
        return RejectedLine(number, "too_long", detail, self._content, identity, self._advice)


def blocks(
    pieces: Iterator[bytes], block_bytes: int, max_line_bytes: int
) -> Iterator["bytes | LongLine"]:
    r"""Whole lines, about `block_bytes` of them or one longer line, and lines over the bound.

    With 4 bytes to a block and a bound of 6, the pieces `ab\ncd`, `e\nfghijkl` and `m\nn` become
    `ab\n`, `cde\n`, the long line `fghijklm`, and `n`.
    """
    pending: list[bytes] = []
    size = unfinished = 0
    long: LongLine | None = None
    for read in pieces:
        piece = read
        if long is not None:
            rest = read.find(b"\n") + 1
            long.add(read[: rest - 1] if rest else read)
            if not rest:
                continue
            yield long
            long, piece = None, read[rest:]
        pending.append(piece)
        size += len(piece)
        end = piece.rfind(b"\n") + 1
        unfinished = len(piece) - end if end else unfinished + len(piece)
        if size >= block_bytes and end:
            pending[-1] = piece[:end]
            yield b"".join(pending)
            pending = [piece[end:]]
            size = len(pending[0])
        if unfinished > max_line_bytes:
            data = b"".join(pending)
            if size > unfinished:
                yield data[:-unfinished]
            long = LongLine(memoryview(data)[size - unfinished :])
            pending, size, unfinished = [], 0, 0
    if long is not None:
        yield long
    if size:
        yield b"".join(pending)


def split(data: bytes) -> Iterator[memoryview]:
    """The lines of a block, without their line feeds and without copying them."""
    view = memoryview(data)
    begin = 0
    while (end := data.find(b"\n", begin)) >= 0:
        yield view[begin:end]
        begin = end + 1
    if begin < len(data):
        yield view[begin:]
