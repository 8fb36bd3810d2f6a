"""Packed bytes: gzip, zstd or neither, as a file's name ends; unpacked in pieces, damage named."""

import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import zstandard

from fim_assets.io.hashing import HashingReader

MAX_EXPANSION = 1000
"""Times its packed size that a file may unpack to, once it is past `EXPANSION_FREE`: a gigabyte
that comes of less than a megabyte is no code, but made to keep a machine busy."""

EXPANSION_FREE = 1 << 30

NOTHING_COMPRESSED = "0 bytes, and a compressed file of nothing has some"
FAILED_DOWNLOAD = "did a download fail? fetch it again"

_NO_DICTIONARY = "decompress it with that (`zstd -d -D <dictionary>`) and compress it again without"

_SHOWN_BYTES = 16
_PIECE_BYTES = 1 << 18
_INPUT_BYTES = 1 << 11
"""Packed bytes that are unpacked at once: little, since they can expand to 32,768 times."""

_FETCH_AGAIN = "look at what it says, and fetch the file again"
_PAGE = ("an HTML page, as a server sends one in place of a file", _FETCH_AGAIN)

SIGNATURES = {
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"PK\x03\x04": "zip",
    b"PAR1": "parquet",
    b"\x04\x22\x4d\x18": "lz4",
    b"\x37\xa4\x30\xec": "a zstd dictionary",
}

_INSTEAD = {
    b"version https://git-lfs.github.com/spec/": (
        "a Git LFS pointer, which only names the file",
        "run `git lfs pull` in its repository, or fetch the file itself",
    ),
    b"<!doctype html": _PAGE,
    b"<html": _PAGE,
    b"<?xml": ("an XML document, as storage sends one in place of a file", _FETCH_AGAIN),
}
"""What stands under a shard's name where the shard was not fetched: how it begins, in lower case,
what it is, and what to do."""


class CompressionError(ValueError):
    """Bytes that cannot be unpacked; the message says what is wrong and at which packed byte.

    Attributes:
        advice: What to do, '' where it is not known.
    """

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


class CutShortError(CompressionError):
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

COMPRESSED_ENDINGS = tuple(_PACKINGS)


def decompress(file: HashingReader, ending: str) -> Iterator[bytes]:
    """A file's content, in pieces of any size.

    Several frames are one content; zstd's skippable frames are passed over, as is zero padding
    behind gzip's members. Memory is bounded, whatever the file holds.

    Args:
        file: What to read, from its beginning.
        ending: `.zst`, `.gz`, or another one: then the content is not packed.

    Raises:
        CompressionError: If the content is not packed as the ending says, is damaged, cut short or
            followed by other bytes, has no frame at all, needs a dictionary or a window of more
            than 128 MiB, is a decompression bomb, or is what stands in place of a file that was
            not fetched.
    """
    packing = _PACKINGS.get(ending)
    pieces = _not_packed(file) if packing is None else _unpacked(file, packing)
    first = next(pieces, b"")
    if instead := _instead(first):
        what, advice = instead
        raise CompressionError(f"its content is {what}", advice)
    yield first
    yield from pieces


def _not_packed(file: HashingReader) -> Iterator[bytes]:
    piece = file.read(_PIECE_BYTES)
    if found := _packed_as(piece):
        raise CompressionError(f"named as not packed, but its content is {found}")
    while piece:
        yield piece
        piece = file.read(_PIECE_BYTES)


def _unpacked(file: HashingReader, packing: _Packing) -> Iterator[bytes]:
    frame = None
    head = padding = b""
    begin = packed = size = unpacked = 0
    for part in _inputs(file):
        data = part
        packed += len(data)
        while data:
            if frame is None:
                head = data = data.lstrip(padding) if padding else data
                if not data:
                    break
                frame, begin, unpacked = packing.unpacker(), packed - len(data), size
            try:
                piece = frame.decompress(data)
            except (zstandard.ZstdError, zlib.error) as error:
                raise _refusal(error, packing, begin, head, size - unpacked) from error
            size += len(piece)
            if size > max(EXPANSION_FREE, MAX_EXPANSION * packed):
                raise CompressionError(
                    f"its first {packed:,} bytes unpack to more than {size:,}, over "
                    f"{MAX_EXPANSION:,} times their number: this is a decompression bomb"
                )
            if piece:
                yield piece
            data = frame.unused_data if frame.eof else b""
            if frame.eof:
                frame, padding = None, packing.padding
    if not packed:
        raise CompressionError(NOTHING_COMPRESSED, FAILED_DOWNLOAD)
    if frame is not None:
        raise CutShortError(f"ends inside the {packing.frame} that begins at byte {begin:,}")


def _inputs(file: HashingReader) -> Iterator[bytes]:
    while block := file.read(_PIECE_BYTES):
        for begin in range(0, len(block), _INPUT_BYTES):
            yield block[begin : begin + _INPUT_BYTES]


def _packed_as(content: bytes) -> str | None:
    return next((name for sign, name in SIGNATURES.items() if content.startswith(sign)), None)


def _instead(beginning: bytes) -> tuple[str, str] | None:
    """What a beginning of no JSON lines is, and what to do; None where it is not known."""
    start = beginning[:_INPUT_BYTES].lstrip().lower()
    return next((told for sign, told in _INSTEAD.items() if start.startswith(sign)), None)


def _refusal(
    error: Exception, packing: _Packing, begin: int, head: bytes, size: int
) -> CompressionError:
    """Why a frame cannot be unpacked.

    Args:
        error: What the library says.
        packing: How it should be packed.
        begin: The packed byte at which it begins.
        head: How it begins.
        size: Bytes that came of it before.
    """
    message, frame = str(error), f"the {packing.frame} at byte {begin:,}"
    if "too much memory" in message:
        return CompressionError(
            f"{frame} needs a window of more than 128 MiB",
            "pack it again without --long or --ultra",
        )
    if "Dictionary mismatch" in message:
        return CompressionError(f"{frame} needs the dictionary {_dictionary(head)}", _NO_DICTIONARY)
    if "Unknown frame descriptor" in message or "incorrect header check" in message:
        shown = _shown(head[:_SHOWN_BYTES])
        if begin:
            return CompressionError(
                f"behind a whole {packing.frame}, at byte {begin:,}, follow other bytes: {shown}"
            )
        what, advice = _instead(head) or (_packed_as(head) or f"not: {shown}", "")
        return CompressionError(f"named as {packing.name}, but its content is {what}", advice)
    if packing.name == "zstd" and not size and "corruption" in message:
        # A frame need not name its dictionary, and is then nonsense without it.
        return CompressionError(
            f"{frame} is damaged, or needs a dictionary that it does not name: {message}",
            f"fetch it again; if it was compressed with a dictionary, {_NO_DICTIONARY}",
        )
    return CompressionError(f"{frame} is damaged: {message}")


def _shown(content: bytes) -> str:
    """Bytes as numbers, and their first line as text where it is one."""
    line = content.partition(b"\n")[0].decode("ascii", "replace")
    text = f' ("{line}")' if line.isascii() and line.isprintable() and line else ""
    return content.hex(" ") + text


def _dictionary(head: bytes) -> str:
    """The id of the dictionary that a zstd frame needs, in words."""
    try:
        return f"with the id {zstandard.get_frame_parameters(head).dict_id}"
    except zstandard.ZstdError:
        return "that it names"
