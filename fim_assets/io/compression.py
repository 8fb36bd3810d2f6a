"""Compressed files: gzip, zstd or neither, as the name ends; read in pieces, damage named.

A file is frames (gzip's members) one behind another, and its content is theirs joined: `zstd("a")
+ skippable + zstd("b")` is `ab`. Bytes are numbered from 0 in the compressed file.
"""

import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import zstandard

from fim_assets.io.hashing import HashingReader

MAX_EXPANSION = 1000
"""Times its compressed size that a file may expand to, once it is past `EXPANSION_FREE`: a gigabyte
that comes of less than a megabyte is no code, but made to keep a machine busy."""

EXPANSION_FREE = 1 << 30

NOTHING_COMPRESSED = "0 bytes, and a file so named that holds nothing has some"
FAILED_DOWNLOAD = "did a download fail? fetch it again"

_NO_DICTIONARY = "decompress it with that (`zstd -d -D <dictionary>`) and compress it again without"

_SHOWN_BYTES = 16
_PIECE_BYTES = 1 << 18
_INPUT_BYTES = 1 << 11
"""Compressed bytes that are expanded at once: little, since they can expand to 32,768 times."""

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

INSTEAD = {
    b"version https://git-lfs.github.com/spec/": (
        "a Git LFS pointer, which only names the file",
        "run `git lfs pull` in its repository, or fetch the file itself",
    ),
    b"<!doctype html": _PAGE,
    b"<html": _PAGE,
    b"<?xml": ("an XML document, as storage sends one in place of a file", _FETCH_AGAIN),
}
"""What bears a shard's name where the shard was not fetched: how it begins, in lower case, what it
is, and what to do."""


class CompressionError(ValueError):
    """Bytes that cannot be decompressed: why, at which compressed byte, and what `advice` helps."""

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


class CutShortError(CompressionError):
    """Bytes that end inside of a frame."""


class _Format(NamedTuple):
    """A format of compression; `padding` may stand between frames and behind them."""

    name: str
    frame: str
    decompressor: Callable[[], Any]  # begins a frame, as `zlib.decompressobj` does
    padding: bytes = b""


_FORMATS = {
    ".zst": _Format("zstd", "zstd frame", lambda: zstandard.ZstdDecompressor().decompressobj()),
    ".gz": _Format("gzip", "gzip member", lambda: zlib.decompressobj(zlib.MAX_WBITS + 16), b"\0"),
}

COMPRESSED_ENDINGS = tuple(_FORMATS)


def decompress(file: HashingReader, ending: str) -> Iterator[bytes]:
    """A file's content, in pieces of any size; `ending` is `.zst`, `.gz` or that of a plain file.

    zstd's skippable frames are passed over, as is zero padding behind gzip's members. Memory is
    bounded, whatever the file holds.

    Raises:
        CompressionError: If the content is not compressed as the ending says, is damaged, cut short
            or followed by other bytes, has no frame at all, needs a dictionary or a window of more
            than 128 MiB, is a decompression bomb, or is what stands in place of a file that was
            not fetched.
    """
    form = _FORMATS.get(ending)
    pieces = _plain(file) if form is None else _decompressed(file, form)
    first = next(pieces, b"")
    if instead := _instead(first):
        raise CompressionError(f"its content is {instead[0]}", instead[1])
    yield first
    yield from pieces


def _plain(file: HashingReader) -> Iterator[bytes]:
    piece = file.read(_PIECE_BYTES)
    if name := _format_of(piece):
        raise CompressionError(f"named as not compressed, but its content is {name}")
    while piece:
        yield piece
        piece = file.read(_PIECE_BYTES)


def _decompressed(file: HashingReader, form: _Format) -> Iterator[bytes]:
    frame = None
    head = padding = b""
    begin = compressed = size = size_before = 0
    for part in _inputs(file):
        data = part
        compressed += len(data)
        while data:
            if frame is None:
                head = data = data.lstrip(padding) if padding else data
                if not data:
                    break
                frame, begin, size_before = form.decompressor(), compressed - len(data), size
            try:
                piece = frame.decompress(data)
            except (zstandard.ZstdError, zlib.error) as error:
                raise _refusal(error, form, begin, head, size - size_before) from error
            size += len(piece)
            if size > max(EXPANSION_FREE, MAX_EXPANSION * compressed):
                expand = f"its first {compressed:,} bytes expand to more than {size:,}"
                bomb = "times their number: this is a decompression bomb"
                raise CompressionError(f"{expand}, over {MAX_EXPANSION:,} {bomb}")
            if piece:
                yield piece
            data = frame.unused_data if frame.eof else b""
            if frame.eof:
                frame, padding = None, form.padding
    if not compressed:
        raise CompressionError(NOTHING_COMPRESSED, FAILED_DOWNLOAD)
    if frame is not None:
        raise CutShortError(f"ends inside the {form.frame} that begins at byte {begin:,}")


def _inputs(file: HashingReader) -> Iterator[bytes]:
    while block := file.read(_PIECE_BYTES):
        for begin in range(0, len(block), _INPUT_BYTES):
            yield block[begin : begin + _INPUT_BYTES]


def what_it_is(beginning: bytes) -> tuple[str, str]:
    """What a file is that begins so, and is not what its name says; and what to do, '' if unknown.

    A file of no known kind is told by its first bytes.
    """
    shown = f"not: {_shown(beginning[:_SHOWN_BYTES])}"
    return _instead(beginning) or (_format_of(beginning) or shown, "")


def _format_of(content: bytes) -> str | None:
    return next((name for sign, name in SIGNATURES.items() if content.startswith(sign)), None)


def _instead(beginning: bytes) -> tuple[str, str] | None:
    """What a beginning of no JSON lines is, and what to do; None where it is not known."""
    start = beginning[:_INPUT_BYTES].lstrip().lower()
    return next((known for sign, known in INSTEAD.items() if start.startswith(sign)), None)


def _refusal(
    error: Exception, form: _Format, begin: int, head: bytes, size: int
) -> CompressionError:
    """Why the frame from byte `begin` on, `head`, fails after `size` bytes of content."""
    message, frame = str(error), f"the {form.frame} at byte {begin:,}"
    if "too much memory" in message:
        problem = f"{frame} needs a window of more than 128 MiB"
        return CompressionError(problem, "compress it again without --long or --ultra")
    if "Dictionary mismatch" in message:
        return CompressionError(f"{frame} needs the dictionary {_dictionary(head)}", _NO_DICTIONARY)
    if "Unknown frame descriptor" in message or "incorrect header check" in message:
        if begin:
            where = f"behind a whole {form.frame}, at byte {begin:,}"
            shown = _shown(head[:_SHOWN_BYTES])
            return CompressionError(f"{where}, follow other bytes: {shown}")
        what, advice = what_it_is(head)
        return CompressionError(f"named as {form.name}, but its content is {what}", advice)
    if form.name == "zstd" and not size and "corruption" in message:
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
    try:
        return f"with the id {zstandard.get_frame_parameters(head).dict_id}"
    except zstandard.ZstdError:
        return "that it names"
