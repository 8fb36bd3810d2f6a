"""Packed bytes: gzip, zstd or neither, as a file's name ends; unpacked in pieces, damage named."""

import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import zstandard

from fim_assets.files import HashingReader

MAX_EXPANSION = 1000
"""Times its packed size that a file may unpack to, once it is past `EXPANSION_FREE`: a gigabyte
that comes of less than a megabyte is no code, but made to keep a machine busy."""

EXPANSION_FREE = 1 << 30

_PIECE_BYTES = 1 << 18
_INPUT_BYTES = 1 << 11
"""Packed bytes that are unpacked at once: little, since they can expand to 32,768 times."""

SIGNATURES = {
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"PK\x03\x04": "zip",
    b"PAR1": "parquet",
}


class PackingError(ValueError):
    """Bytes that cannot be unpacked; the message says what is wrong and at which packed byte."""


class CutShortError(PackingError):
    """Bytes that end inside of a frame."""


class _Unpacker(Protocol):
    """Unpacks one frame, see `zlib.decompressobj`."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


class _Packing(NamedTuple):
    """A way of packing.

    Attributes:
        name: What it is called.
        frame: What one of its frames is called.
        unpacker: Begins a frame.
        padding: What may stand between frames and behind them.
    """

    name: str
    frame: str
    unpacker: Callable[[], _Unpacker]
    padding: bytes = b""


_PACKINGS = {
    ".zst": _Packing("zstd", "zstd frame", lambda: zstandard.ZstdDecompressor().decompressobj()),
    ".gz": _Packing("gzip", "gzip member", lambda: zlib.decompressobj(zlib.MAX_WBITS + 16), b"\0"),
}


def unpack(file: HashingReader, ending: str) -> Iterator[bytes]:
    """A file's content, in pieces of any size.

    Several frames are one content; zstd's skippable frames are passed over, as is zero padding
    behind gzip's members. Memory is bounded, whatever the file holds.

    Args:
        file: What to read, from its beginning.
        ending: `.zst`, `.gz`, or another one: then the content is not packed.

    Raises:
        PackingError: If the content is not packed as the ending says, is damaged, cut short or
            followed by other bytes, needs a window of more than 128 MiB, or is a decompression
            bomb.
    """
    packing = _PACKINGS.get(ending)
    if packing is None:
        yield from _not_packed(file)
    else:
        yield from _unpacked(file, packing)


def _not_packed(file: HashingReader) -> Iterator[bytes]:
    piece = file.read(_PIECE_BYTES)
    if found := _packed_as(piece):
        raise PackingError(f"named as not packed, but its content is {found}")
    while piece:
        yield piece
        piece = file.read(_PIECE_BYTES)


def _unpacked(file: HashingReader, packing: _Packing) -> Iterator[bytes]:
    frame = None
    head = padding = b""
    begin = packed = size = 0
    for part in _inputs(file):
        data = part
        packed += len(data)
        while data:
            if frame is None:
                head = data = data.lstrip(padding) if padding else data
                if not data:
                    break
                frame, begin = packing.unpacker(), packed - len(data)
            try:
                piece = frame.decompress(data)
            except (zstandard.ZstdError, zlib.error) as error:
                raise PackingError(_in_words(error, packing, begin, head)) from error
            size += len(piece)
            if size > max(EXPANSION_FREE, MAX_EXPANSION * packed):
                raise PackingError(
                    f"its first {packed:,} bytes unpack to more than {size:,}, over "
                    f"{MAX_EXPANSION:,} times their number: this is a decompression bomb"
                )
            if piece:
                yield piece
            data = frame.unused_data if frame.eof else b""
            if frame.eof:
                frame, padding = None, packing.padding
    if frame is not None:
        raise CutShortError(f"ends inside the {packing.frame} that begins at byte {begin:,}")


def _inputs(file: HashingReader) -> Iterator[bytes]:
    while block := file.read(_PIECE_BYTES):
        for begin in range(0, len(block), _INPUT_BYTES):
            yield block[begin : begin + _INPUT_BYTES]


def _packed_as(content: bytes) -> str | None:
    return next((name for sign, name in SIGNATURES.items() if content.startswith(sign)), None)


def _in_words(error: Exception, packing: _Packing, begin: int, head: bytes) -> str:
    message = str(error)
    if "too much memory" in message:
        return (
            f"the {packing.frame} at byte {begin:,} needs a window of more than 128 MiB; "
            "pack it again without --long or --ultra"
        )
    if "Unknown frame descriptor" in message or "incorrect header check" in message:
        shown = head[:8].hex(" ")
        if begin:
            return f"behind a whole {packing.frame}, at byte {begin:,}, follow other bytes: {shown}"
        found = _packed_as(head)
        return f"named as {packing.name}, but its content is {found or f'not: {shown}'}"
    return f"the {packing.frame} at byte {begin:,} is damaged: {message}"
