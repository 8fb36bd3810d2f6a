"""Compressed files: gzip, zstd, bzip2, xz or none, as the name ends; in pieces, damage named.

A file is frames (gzip's members, bzip2's and xz's streams) one behind another, and its content is
theirs joined: `zstd("a") + skippable + zstd("b")` is `ab`. Bytes are numbered from 0 in the
compressed file.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import zstandard

from fim_assets.io.hashing import HashingReader
from fim_assets.io.other_formats import Other, known_content, known_format

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
"""Compressed bytes that are expanded at once: little, since they can expand to 32,768 times. Of
bzip2 and xz, which can expand them further, no more than a piece is taken at once."""

_MOST_MEMORY = 1 << 27
"""Bytes of a window: zstd's own bound, and so xz's."""


class CompressionError(ValueError):
    """Bytes that cannot be decompressed: why, at which compressed byte, and what `advice` helps."""

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


class CutShortError(CompressionError):
    """Bytes that end inside of a frame."""


class _Format(NamedTuple):
    """A format of compression.

    Attributes:
        decompressor: Begins a frame, as `zlib.decompressobj` does.
        padding: May stand between frames and behind them.
        sign: How a frame begins, where the decompressor does not tell what is none from damage.
        stepwise: Whether a piece is taken at a time, as of `bz2.BZ2Decompressor`.
    """

    name: str
    frame: str
    decompressor: Callable[[], Any]
    padding: bytes = b""
    sign: bytes = b""
    stepwise: bool = False


def _xz() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, _MOST_MEMORY)


_FORMATS = {
    ".zst": _Format("zstd", "zstd frame", lambda: zstandard.ZstdDecompressor().decompressobj()),
    ".gz": _Format("gzip", "gzip member", lambda: zlib.decompressobj(zlib.MAX_WBITS + 16), b"\0"),
    ".bz2": _Format("bzip2", "bzip2 stream", bz2.BZ2Decompressor, b"", b"BZh", stepwise=True),
    ".xz": _Format("xz", "xz stream", _xz, b"\0", b"\xfd7zXZ\0", stepwise=True),
}

COMPRESSED_ENDINGS = tuple(_FORMATS)


def decompress(file: HashingReader, ending: str) -> Iterator[bytes]:
    """A file's content, in pieces of any size.

    `ending` is that of its name: `.zst`, `.gz`, `.bz2` or `.xz`; any other is a plain file's.
    zstd's skippable frames are passed over, as is zero padding behind gzip's members and xz's
    streams. Memory is bounded, whatever the file holds.

    Raises:
        CompressionError: If the content is not compressed as the ending says, is damaged, cut short
            or followed by other bytes, has no frame at all, needs a dictionary or a window of more
            than 128 MiB, is a decompression bomb, a tar of files, or what stands in place of a file
            that was not fetched.
    """
    form = _FORMATS.get(ending)
    pieces = _plain(file) if form is None else _decompressed(file, form)
    first = next(pieces, b"")
    if other := known_content(first):
        raise CompressionError(f"its content is {other.what}", other.advice)
    yield first
    yield from pieces


def _plain(file: HashingReader) -> Iterator[bytes]:
    piece = file.read(_PIECE_BYTES)
    if other := known_format(piece):
        problem = f"named as not compressed, but its content is {other.what}"
        raise CompressionError(problem, other.advice)
    while piece:
        yield piece
        piece = file.read(_PIECE_BYTES)


def _decompressed(file: HashingReader, form: _Format) -> Iterator[bytes]:
    frame = None
    most = (_PIECE_BYTES,) if form.stepwise else ()
    head = padding = b""
    begin = compressed = size = size_before = 0
    for part in _inputs(file):
        data, waits = part, False
        compressed += len(data)
        while data or waits:
            if frame is None:
                head = data = data.lstrip(padding) if padding else data
                if not data:
                    break
                frame, begin, size_before = form.decompressor(), compressed - len(data), size
                if not data.startswith(form.sign[: len(data)]):
                    raise _other_bytes(form, begin, head)
            try:
                piece = frame.decompress(data, *most)
            except (zstandard.ZstdError, zlib.error, lzma.LZMAError, OSError) as error:
                raise _refusal(error, form, begin, head, size - size_before) from error
            size += len(piece)
            if size > max(EXPANSION_FREE, MAX_EXPANSION * compressed):
                expand = f"its first {compressed:,} bytes expand to more than {size:,}"
                bomb = "times their number: this is a decompression bomb"
                raise CompressionError(f"{expand}, over {MAX_EXPANSION:,} {bomb}")
            if piece:
                yield piece
            data = frame.unused_data if frame.eof else b""
            waits = form.stepwise and not (frame.eof or frame.needs_input)
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


def _refusal(
    error: Exception, form: _Format, begin: int, head: bytes, size: int
) -> CompressionError:
    """Why the frame from byte `begin` on, `head`, fails after `size` bytes of content."""
    message, frame = str(error), f"the {form.frame} at byte {begin:,}"
    if "too much memory" in message:
        problem = f"{frame} needs a window of more than 128 MiB"
        return CompressionError(problem, "compress it again without --long or --ultra")
    if "Memory usage limit" in message:
        problem = f"{frame} needs a window of 128 MiB or more"
        return CompressionError(problem, "compress it again, as `xz -9` does")
    if "Dictionary mismatch" in message:
        return CompressionError(f"{frame} needs the dictionary {_dictionary(head)}", _NO_DICTIONARY)
    if "Unknown frame descriptor" in message or "incorrect header check" in message:
        return _other_bytes(form, begin, head)
    if form.name == "zstd" and not size and "corruption" in message:
        # A frame need not name its dictionary, and is then nonsense without it.
        return CompressionError(
            f"{frame} is damaged, or needs a dictionary that it does not name: {message}",
            f"fetch it again; if it was compressed with a dictionary, {_NO_DICTIONARY}",
        )
    return CompressionError(f"{frame} is damaged: {message}")


def _other_bytes(form: _Format, begin: int, head: bytes) -> CompressionError:
    """Why no frame begins at byte `begin`, with `head`."""
    if begin:
        where = f"behind a whole {form.frame}, at byte {begin:,}"
        return CompressionError(f"{where}, follow other bytes: {_shown(head[:_SHOWN_BYTES])}")
    what, advice = what_it_is(head)
    return CompressionError(f"named as {form.name}, but its content is {what}", advice)


def what_it_is(beginning: bytes) -> Other:
    """What a file is that begins so, and is not what its name says.

    One of no known kind is told by its first bytes.
    """
    shown = Other(f"not: {_shown(beginning[:_SHOWN_BYTES])}")
    return known_content(beginning) or known_format(beginning) or shown


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
