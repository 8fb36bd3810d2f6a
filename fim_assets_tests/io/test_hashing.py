import subprocess
import sys
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from shutil import copyfileobj

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fim_assets.io.hashing import FileRecord, HashingReader, HashingWriter, record_file

CONTENT = bytes(range(256)) * 12_345


def expected(name: str, content: bytes) -> FileRecord:
    digest = blake2b(content, digest_size=32).hexdigest()
    return FileRecord(name=name, bytes=len(content), blake2b=digest)


@pytest.mark.parametrize("content", [b"", b"\n", b"a", CONTENT])
def test_a_file_at_rest_is_hashed_whole(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    assert record_file(path) == expected("a.bin", content)


def test_the_hash_is_the_one_that_b2sum_prints(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert record_file(path).blake2b == (
        "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"
    )


@pytest.mark.parametrize("count", [0, 1, 1000, len(CONTENT), len(CONTENT) + 1])
def test_a_record_after_a_partial_read_covers_the_whole_file(tmp_path: Path, count: int) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(CONTENT)
    with HashingReader(path) as file:
        assert file.read(count) == CONTENT[:count]
        assert file.record() == expected("a.bin", CONTENT)
        assert file.record() == expected("a.bin", CONTENT)


def test_a_reader_gives_the_bytes_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(CONTENT)
    copy = BytesIO()
    with HashingReader(path) as file:
        copyfileobj(file, copy, 999)
        assert file.record() == expected("a.bin", CONTENT)
    assert copy.getvalue() == CONTENT


@settings(deadline=None)
@given(pieces=st.lists(st.binary(max_size=50), max_size=20))
def test_a_writer_hashes_what_it_wrote(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]
) -> None:
    path = tmp_path_factory.mktemp("files") / "temporary"
    content = b"".join(pieces)
    with HashingWriter(path) as file:
        for piece in pieces:
            assert file.write(piece) == len(piece)
        assert file.tell() == len(content)
    assert path.read_bytes() == content
    assert file.record("final") == expected("final", content)


def test_a_writer_counts_bytes_not_elements(tmp_path: Path) -> None:
    array = np.arange(1000, dtype=np.uint32)
    with HashingWriter(tmp_path / "a") as file:
        assert file.write(array.data) == 4000
    assert file.record("a") == expected("a", array.tobytes())


def test_a_writer_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(FileExistsError):
        HashingWriter(path)
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("kind", ["HashingReader", "HashingWriter"])
def test_a_file_that_cannot_be_opened_is_one_error_and_no_second(tmp_path: Path, kind: str) -> None:
    """Python's development mode shows what it ignores when it drops an object, 3.13 always."""
    program = (
        "from pathlib import Path\n"
        f"from fim_assets.io.hashing import {kind} as Kind\n"
        f"try: Kind(Path({str(tmp_path / 'none' / 'a')!r}))\n"
        "except FileNotFoundError: print('told')\n"
    )
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", program], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("told\n", "")


def test_closing_closes_the_file_beneath(tmp_path: Path) -> None:
    writer = HashingWriter(tmp_path / "a")
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.write(b"late")
    reader = HashingReader(tmp_path / "a")
    reader.close()
    with pytest.raises(ValueError, match="closed"):
        reader.read(1)
