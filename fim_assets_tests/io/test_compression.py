import bz2
import gzip
import io
import lzma
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import zstandard

from fim_assets.io import compression
from fim_assets.io.compression import CompressionError, decompress
from fim_assets.io.hashing import HashingReader

LINES = b'{"text":"a"}\n' * 50
NOISE = np.random.default_rng(0).bytes(300_000)
SKIPPABLE = (0x184D2A53).to_bytes(4, "little") + (3).to_bytes(4, "little") + b"abc"
CHECKED = zstandard.ZstdCompressor(write_checksum=True).compress(NOISE)
ZSTD, GZIP = zstandard.compress(LINES), gzip.compress(LINES, mtime=0)
BZIP2, XZ = bz2.compress(LINES), lzma.compress(LINES)


def decompressed(folder: Path, content: bytes, ending: str) -> bytes:
    path = folder / f"a.jsonl{ending}"
    path.write_bytes(content)
    with HashingReader(path) as file:
        return b"".join(decompress(file, ending))


@pytest.mark.parametrize(
    ("content", "ending", "expected"),
    [
        (LINES, ".jsonl", LINES),
        (b"", ".jsonl", b""),
        (ZSTD, ".zst", LINES),
        (GZIP, ".gz", LINES),
        (ZSTD * 3, ".zst", LINES * 3),
        (GZIP * 3, ".gz", LINES * 3),
        (SKIPPABLE + ZSTD + SKIPPABLE * 2 + ZSTD + SKIPPABLE, ".zst", LINES * 2),
        (SKIPPABLE, ".zst", b""),
        (SKIPPABLE * 3, ".zst", b""),
        (zstandard.compress(b""), ".zst", b""),
        (gzip.compress(b"", mtime=0), ".gz", b""),
        (zstandard.compress(b"") + ZSTD, ".zst", LINES),
        (GZIP + bytes(700), ".gz", LINES),
        (GZIP + bytes(100_000) + GZIP, ".gz", LINES * 2),
        (zstandard.compress(NOISE) * 2, ".zst", NOISE * 2),
        (gzip.compress(NOISE, mtime=0) * 2, ".gz", NOISE * 2),
        (BZIP2, ".bz2", LINES),
        (BZIP2 * 3, ".bz2", LINES * 3),
        (bz2.compress(b""), ".bz2", b""),
        (bz2.compress(b"") + BZIP2, ".bz2", LINES),
        (bz2.compress(NOISE, 1) * 2, ".bz2", NOISE * 2),
        (bz2.compress(bytes(10**7)) * 2, ".bz2", bytes(2 * 10**7)),
        (XZ, ".xz", LINES),
        (XZ * 3, ".xz", LINES * 3),
        (lzma.compress(b""), ".xz", b""),
        (XZ + bytes(700), ".xz", LINES),
        (XZ + bytes(100_000) + XZ, ".xz", LINES * 2),
        (lzma.compress(NOISE, check=lzma.CHECK_SHA256) * 2, ".xz", NOISE * 2),
        (lzma.compress(bytes(10**7)) * 2, ".xz", bytes(2 * 10**7)),
    ],
)
def test_all_frames_are_one_content(
    tmp_path: Path, content: bytes, ending: str, expected: bytes
) -> None:
    assert decompressed(tmp_path, content, ending) == expected


def flipped(content: bytes, place: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 0xFF
    return bytes(changed)


def with_window(log: int) -> bytes:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=log)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return compressor.compress(LINES) + compressor.flush()


def with_dictionary_size(size: int) -> bytes:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": size}]
    return lzma.compress(LINES, filters=filters)


def tar(form: int = tarfile.PAX_FORMAT, /, **files: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


SAMPLES = tar(**{"0001.py": b"a = 1\n", "0001.json": b"{}"})


DICTIONARY = zstandard.train_dictionary(4096, [b"def f%d(a, b): return a" % n for n in range(2000)])


def with_dictionary(*, named: bool = True) -> bytes:
    compressor = zstandard.ZstdCompressor(dict_data=DICTIONARY, write_dict_id=named)
    return compressor.compress(b"def f7(a, b): return a" * 20)


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
HTML = b"<!DOCTYPE html><html><head><title>404</title>"
XML = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'


@pytest.mark.parametrize(
    ("content", "ending", "what", "advice"),
    [
        (b"", ".zst", "^0 bytes", "fetch it again"),
        (b"", ".gz", "^0 bytes", "fetch it again"),
        (b"", ".bz2", "^0 bytes", "fetch it again"),
        (b"", ".xz", "^0 bytes", "fetch it again"),
        (LFS, ".xz", "named as xz, but its content is a Git LFS pointer", "git lfs pull"),
        (HTML, ".bz2", "named as bzip2, but its content is an HTML page", "fetch"),
        (ZSTD, ".jsonl", "named as not compressed, but its content is zstd", "end in .zst"),
        (XZ, ".bz2", "named as bzip2, but its content is xz", "end in .xz"),
        (BZIP2, ".xz", "named as xz, but its content is bzip2", "end in .bz2"),
        (b"\x04\x22\x4d\x18rest", ".zst", "content is lz4$", "lz4 -dc"),
        (b"PK\x03\x04rest", ".jsonl", "its content is zip$", "fim-assets collect"),
        (SAMPLES, ".jsonl", "^its content is a tar of files$", "fim-assets collect"),
        (tar(tarfile.GNU_FORMAT, a=b""), ".jsonl", "^its content is a tar of files$", ""),
        (SAMPLES, ".xz", "named as xz, but its content is a tar", "fim-assets collect"),
        (gzip.compress(SAMPLES), ".gz", "^its content is a tar", "fim-assets collect"),
        (zstandard.compress(SAMPLES), ".zst", "^its content is a tar", "fim-assets collect"),
        (bz2.compress(SAMPLES), ".bz2", "^its content is a tar", "fim-assets collect"),
        (lzma.compress(SAMPLES), ".xz", "^its content is a tar", "fim-assets collect"),
        (LFS, ".zst", "named as zstd, but its content is a Git LFS pointer", "git lfs pull"),
        (LFS, ".gz", "named as gzip, but its content is a Git LFS pointer", "git lfs pull"),
        (LFS, ".jsonl", "^its content is a Git LFS pointer", "git lfs pull"),
        (HTML, ".zst", "named as zstd, but its content is an HTML page", "fetch"),
        (HTML, ".gz", "named as gzip, but its content is an HTML page", "fetch"),
        (b"\n " + HTML.lower()[15:], ".jsonl", "^its content is an HTML page", "fetch"),
        (gzip.compress(HTML, mtime=0), ".gz", "^its content is an HTML page", "fetch"),
        (zstandard.compress(XML), ".zst", "^its content is an XML document", "fetch"),
        (XML, ".jsonl", "^its content is an XML document", "fetch"),
        (
            with_dictionary(),
            ".zst",
            f"frame at byte 0 needs the dictionary with the id {DICTIONARY.dict_id()}$",
            "zstd -d -D",
        ),
        (
            ZSTD + with_dictionary(),
            ".zst",
            f"byte {len(ZSTD)} needs the dictionary with the id {DICTIONARY.dict_id()}$",
            "zstd -d -D",
        ),
        (with_dictionary(named=False), ".zst", "or needs a dictionary", "zstd -d -D"),
        (DICTIONARY.as_bytes(), ".zst", "its content is a zstd dictionary", ""),
    ],
)
def test_what_lies_in_place_of_a_shard_is_named_with_what_to_do(
    tmp_path: Path, content: bytes, ending: str, what: str, advice: str
) -> None:
    with pytest.raises(CompressionError, match=what) as caught:
        decompressed(tmp_path, content, ending)
    assert advice in caught.value.advice


def test_a_line_that_names_tars_magic_where_a_tar_has_it_is_a_line(tmp_path: Path) -> None:
    line = b'{"text":"'.ljust(257, b"x") + b'ustar is its magic"}\n'
    assert decompressed(tmp_path, line, ".jsonl") == line


@pytest.mark.parametrize(
    ("content", "ending", "message"),
    [
        (ZSTD[:-1], ".zst", "ends inside the zstd frame that begins at byte 0"),
        (ZSTD[:2], ".zst", "ends inside the zstd frame that begins at byte 0"),
        (ZSTD + ZSTD[:7], ".zst", f"ends inside the zstd frame that begins at byte {len(ZSTD)}"),
        (ZSTD + SKIPPABLE[:-1], ".zst", f"ends inside the zstd frame .* byte {len(ZSTD)}"),
        (GZIP[:-1], ".gz", "ends inside the gzip member that begins at byte 0"),
        (GZIP + GZIP[:5], ".gz", f"ends inside the gzip member that begins at byte {len(GZIP)}"),
        (ZSTD + b"tail", ".zst", f"zstd frame, at byte {len(ZSTD)}, follow other bytes: 74 61"),
        (GZIP + b"tail", ".gz", f"gzip member, at byte {len(GZIP)}, follow other bytes: 74 61"),
        (ZSTD + bytes(9), ".zst", f"zstd frame, at byte {len(ZSTD)}, follow other bytes: 00"),
        (GZIP, ".zst", "named as zstd, but its content is gzip"),
        (ZSTD, ".gz", "named as gzip, but its content is zstd"),
        (LINES, ".zst", r'named as zstd, but its content is not: 7b 22 74 .*\("{"text'),
        (b"404: Not Found", ".zst", r'content is not: 34 30 .*\("404: Not Found"\)'),
        (LINES, ".gz", "named as gzip, but its content is not: 7b 22 74"),
        (b"PAR1rest", ".zst", "named as zstd, but its content is parquet"),
        (ZSTD, ".jsonl", "named as not compressed, but its content is zstd"),
        (GZIP, ".json", "named as not compressed, but its content is gzip"),
        (b"\xfd7zXZ\0rest", ".jsonl", "named as not compressed, but its content is xz"),
        (flipped(GZIP, -6), ".gz", "the gzip member at byte 0 is damaged: .*data check"),
        (flipped(CHECKED, 30), ".zst", "the zstd frame at byte 0 is damaged: .*checksum"),
        (with_window(30), ".zst", "the zstd frame at byte 0 needs a window of more than 128 MiB"),
        (BZIP2[:-1], ".bz2", "ends inside the bzip2 stream that begins at byte 0"),
        (XZ[:-1], ".xz", "ends inside the xz stream that begins at byte 0"),
        (XZ[:5], ".xz", "ends inside the xz stream that begins at byte 0"),
        (XZ + XZ[:-9], ".xz", f"ends inside the xz stream that begins at byte {len(XZ)}"),
        (BZIP2 + BZIP2[:9], ".bz2", f"ends inside the bzip2 stream .* byte {len(BZIP2)}"),
        (BZIP2 + b"tail", ".bz2", f"bzip2 stream, at byte {len(BZIP2)}, follow other .*: 74 61"),
        (BZIP2 + bytes(9), ".bz2", f"bzip2 stream, at byte {len(BZIP2)}, follow other .*: 00"),
        (XZ + b"tail", ".xz", f"xz stream, at byte {len(XZ)}, follow other bytes: 74 61"),
        (LINES, ".bz2", r'named as bzip2, but its content is not: 7b 22 74 .*\("{"text'),
        (b"404\n", ".xz", r'named as xz, but its content is not: 34 30 34 .*\("404"\)'),
        (flipped(BZIP2, -6), ".bz2", "the bzip2 stream at byte 0 is damaged: Invalid data"),
        (XZ + flipped(XZ, 40), ".xz", f"the xz stream at byte {len(XZ)} is damaged: Corrupt"),
        (with_dictionary_size(1 << 27), ".xz", "xz stream at byte 0 needs a window of 128 MiB"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: bytes, ending: str, message: str) -> None:
    with pytest.raises(CompressionError, match=message):
        decompressed(tmp_path, content, ending)


def test_the_largest_usual_window_is_read(tmp_path: Path) -> None:
    assert decompressed(tmp_path, with_window(27), ".zst") == LINES
    assert decompressed(tmp_path, with_dictionary_size(96 << 20), ".xz") == LINES


@pytest.mark.parametrize(
    ("ending", "bomb"),
    [
        (".zst", lambda size: zstandard.ZstdCompressor(level=19).compress(bytes(size))),
        (".gz", lambda size: gzip.compress(bytes(size), 9)),
        (".bz2", lambda size: bz2.compress(bytes(size))),
        (".xz", lambda size: lzma.compress(bytes(size))),
    ],
)
def test_a_bomb_is_refused_in_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, bomb: object
) -> None:
    monkeypatch.setattr(compression, "EXPANSION_FREE", 1 << 24)
    assert callable(bomb)
    path = tmp_path / f"a{ending}"
    path.write_bytes(bomb(1 << 28))
    tracemalloc.start()
    with HashingReader(path) as file, pytest.raises(CompressionError, match="decompression bomb"):
        for _ in decompress(file, ending):
            pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 << 26
