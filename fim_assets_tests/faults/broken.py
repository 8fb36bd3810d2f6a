"""Broken and hostile shards: content, and what must come of it."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from typing import NamedTuple

import zstandard

from fim_assets.io.compression import EXPANSION_FREE
from fim_assets_tests.corpora import documents, json_lines, parquet

ROWS = documents(20)
LINES = json_lines(ROWS)
SKIPPABLE = (0x184D2A50).to_bytes(4, "little") + (3).to_bytes(4, "little") + b"abc"
LONG_LINE = 80_000_000
BOMB = EXPANSION_FREE + (1 << 24)


class Broken(NamedTuple):
    """A shard that is not as it should be.

    Attributes:
        ending: How its name ends.
        content: Makes its bytes.
        documents: Documents that must come through, None where the partition must fail.
        seen: The reason that its rejected lines must have, or what the failure must say.
        rejected: Lines that must be rejected.
    """

    ending: str
    content: Callable[[], bytes]
    documents: int | None
    seen: str = ""
    rejected: int = 0


def _line(line: bytes, reason: str) -> Broken:
    """A line among others that must be rejected."""
    return Broken(".jsonl", lambda: LINES + line + b"\n" + LINES, 40, reason, 1)


def _read(content: bytes, count: int, ending: str = ".jsonl") -> Broken:
    """Nothing is wrong with it, though it may look so."""
    return Broken(ending, lambda: content, count)


def _fails(content: bytes, seen: str, ending: str = ".jsonl.zst") -> Broken:
    return Broken(ending, lambda: content, None, seen)


def _packed(content: bytes, window_log: int = 20) -> bytes:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=window_log)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return compressor.compress(content) + compressor.flush()


def _nested(depth: int) -> bytes:
    return b'{"text":"a","x":' + b"[" * depth + b"]" * depth + b"}"


_ZSTD, _GZIP = zstandard.compress(LINES), gzip.compress(LINES, mtime=0)
_BZIP2, _XZ = bz2.compress(LINES), lzma.compress(LINES)


_ROWS = parquet(ROWS, compression="none", use_dictionary=False, write_page_checksum=True)
_FLIPPED = _ROWS.replace(ROWS[0]["text"].encode(), ROWS[0]["text"].upper().encode(), 1)

SHARDS = {
    "zstd cut short": _fails(_ZSTD[:-5], "ends inside the zstd frame"),
    "gzip cut short": _fails(_GZIP[:-5], "ends inside the gzip member", ".jsonl.gz"),
    "bzip2 cut short": _fails(_BZIP2[:-5], "ends inside the bzip2 stream", ".jsonl.bz2"),
    "xz cut short": _fails(_XZ[:-5], "ends inside the xz stream", ".jsonl.xz"),
    "a .zst of 0 bytes": _fails(b"", "0 bytes"),
    "a .gz of 0 bytes": _fails(b"", "0 bytes", ".jsonl.gz"),
    "a Git LFS pointer": _fails(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"
    ),
    "an HTML page": _fails(b"<!doctype html><title>404</title>", "an HTML page", ".jsonl"),
    "a zstd frame of nothing": _read(zstandard.compress(b""), 0, ".jsonl.zst"),
    "only skippable zstd frames": _read(SKIPPABLE * 2, 0, ".jsonl.zst"),
    "other bytes behind zstd": _fails(_ZSTD + b"tail", "follow other bytes: 74 61 69 6c"),
    "other bytes behind gzip": _fails(_GZIP + b"tail", "follow other bytes", ".jsonl.gz"),
    "gzip named .zst": _fails(_GZIP, "named as zstd, but its content is gzip"),
    "zstd named as not compressed": _fails(_ZSTD, "named as not compressed", ".jsonl"),
    "several zstd frames, some skippable": _read(
        SKIPPABLE + _ZSTD + SKIPPABLE + _ZSTD, 40, ".jsonl.zst"
    ),
    "several gzip members": _read(_GZIP * 3, 60, ".json.gz"),
    "several bzip2 streams": _read(_BZIP2 * 3, 60, ".json.bz2"),
    "several xz streams and their padding": _read((_XZ + bytes(8)) * 3, 60, ".jsonl.xz"),
    "zstd with a window of 1 GiB": _fails(_packed(LINES, 30), "a window of more than 128 MiB"),
    "decompression bomb": Broken(
        ".jsonl.zst",
        lambda: zstandard.ZstdCompressor(level=1).compress(bytes(BOMB)),
        None,
        "decompression bomb",
    ),
    "not UTF-8": _line(b'{"text":"\xff"}', "not_utf8"),
    "a byte-order mark": Broken(
        ".jsonl", lambda: b"\xef\xbb\xbf" + LINES, 19, "byte_order_mark", 1
    ),
    "not JSON": _line(b"def f(): pass", "not_json"),
    "JSON that is no object": _line(b'["text"]', "not_an_object"),
    "no text": _line(b'{"id":"x"}', "no_text"),
    "text null": _line(b'{"text":null}', "no_text"),
    "text that is a number": _line(b'{"text":1}', "text_not_string"),
    "empty text": _line(b'{"text":""}', "empty"),
    "no ids": _read(b'{"text":"a"}\n{"text":"b"}\n', 2),
    "the same id twice": _read(b'{"text":"a","id":"1"}\n{"text":"b","id":"1"}\n', 2),
    "ids that are numbers": _read(b'{"text":"a","id":1}\n{"text":"b","id":1.50}\n', 2),
    "an id that is a list": _line(b'{"text":"a","id":[1]}', "id_not_string"),
    "a line of 80 MB": Broken(
        ".jsonl",
        lambda: LINES + b'{"text":"' + b"x" * LONG_LINE + b'"}\n' + LINES,
        40,
        "too_long",
        1,
    ),
    "nested 10,000 deep": _line(_nested(10_000), "nested_too_deep"),
    "the same key twice: the last counts": _read(b'{"text":"a","text":"b"}\n', 1),
    "NaN": _line(b'{"text":"a","x":NaN}', "not_json"),
    "half a surrogate pair": _line(b'{"text":"\\ud800"}', "not_json"),
    "lines that end in CRLF": _read(LINES.replace(b"\n", b"\r\n"), 20),
    "no line feed at the end": _read(LINES[:-1], 20),
    "an empty shard": _read(b"", 0),
    "only blank lines": _read(b"\n \r\n\n", 0),
    "Parquet": _read(_ROWS, 20, ".parquet"),
    "Parquet of no rows": _read(parquet([]), 0, ".parquet"),
    "Parquet cut short": _fails(_ROWS[:-1], "cut short", ".parquet"),
    "Parquet with a page that changed": _fails(_FLIPPED, "checksum", ".parquet"),
    "Parquet with a row without a text": Broken(
        ".parquet", lambda: parquet([*ROWS, {**ROWS[0], "text": None}]), 20, "no_text", 1
    ),
    "JSON lines named as Parquet": _fails(LINES, "named as Parquet", ".parquet"),
}
