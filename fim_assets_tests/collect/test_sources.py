"""Archives give what folders give, and what is no whole archive is one message."""

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import zstandard

from fim_assets.collect.collect import LeftOut
from fim_assets.errors import UserError
from fim_assets_tests.collect.trees import (
    checkout,
    collected,
    git,
    paths_and_reasons,
    write_tree,
    write_zip,
)

TREE: dict[str, str | bytes] = {
    "src/b.py": "b\r\n",
    "src/.gitignore": "*.log\n!keep.log\n",
    "src/a.log": "a",
    "src/keep.log": "k",
    "é.py": "é",
    "LICENSE": "MIT",
    "vendor/a.py": "a",
    "big.py": "#" * 5000,
    "binary": b"\0" * 10,
}
MOST = 1000


def tar_of(folder: Path, top: str = "") -> bytes:
    """A tar with the members in an order that no walk has."""
    with closing(io.BytesIO()) as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            paths = sorted(folder.rglob("*"), key=lambda path: path.name, reverse=True)
            for path in paths:
                name = path.relative_to(folder).as_posix()
                tar.add(path, f"{top}{name}", recursive=False)
        return file.getvalue()


PACK: dict[str, Callable[[bytes], bytes]] = {
    ".tar": bytes,
    ".tar.gz": gzip.compress,
    ".tgz": gzip.compress,
    ".tar.bz2": bz2.compress,
    ".tar.xz": lzma.compress,
    ".tar.zst": zstandard.compress,
    ".TAR.GZ": gzip.compress,
}


@pytest.mark.parametrize("ending", [*PACK, ".zip"])
@pytest.mark.parametrize("top", ["", "./", "name-1.0/", "./name-1.0/"])
def test_an_archive_is_the_folder_that_it_holds(tmp_path: Path, ending: str, top: str) -> None:
    folder = write_tree(tmp_path / "name-1.0", TREE)
    archive = tmp_path / f"{'other' if 'name' in top else 'name-1.0'}{ending}"
    if ending == ".zip":
        write_zip(archive, folder, top)
    else:
        archive.write_bytes(PACK[ending](tar_of(folder, top)))
    of_folder = [file for file in collected(folder, most=MOST) if isinstance(file, dict)]
    assert [file["text"] for file in of_folder] == ["MIT", "b\r\n", "k", "é"]
    assert [file for file in collected(archive, most=MOST) if isinstance(file, dict)] == of_folder
    assert paths_and_reasons(archive, MOST) == paths_and_reasons(folder, MOST)
    assert paths_and_reasons(archive, MOST)["big.py"] == "too_large"


@pytest.mark.parametrize("form", ["tar", "tar.gz", "zip"])
def test_what_git_archives_is_what_is_checked_out(tmp_path: Path, form: str) -> None:
    root = checkout(tmp_path / "name", TREE)
    git(root, "add", "--all")
    git(root, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "all")
    archive = tmp_path / f"x.{form}"
    archive.write_bytes(git(root, "archive", f"--format={form}", "--prefix=name/", "HEAD"))
    expected = [file for file in collected(root, most=MOST) if isinstance(file, dict)]
    assert len(expected) == 4
    assert [file for file in collected(archive, most=MOST) if isinstance(file, dict)] == expected


def test_a_checkout_in_an_archive_is_known_by_its_origin(tmp_path: Path) -> None:
    root = checkout(tmp_path / "x" / "name", {"a.py": "a"}, "git@example.com:org/name.git")
    checkout(root / "inner", {".gitignore": "*.o", "a.o": "o", "b.py": "b"})
    archive = tmp_path / "x.tar"
    archive.write_bytes(tar_of(tmp_path / "x"))
    documents: list[Any] = [file for file in collected(archive) if isinstance(file, dict)]
    assert [(d["metadata"]["repository"], d["metadata"]["path"]) for d in documents] == [
        ("org/name", "a.py"),
        ("inner", "b.py"),
    ]


def add(tar: tarfile.TarFile, name: str, content: bytes = b"text", kind: bytes = b"0") -> None:
    member = tarfile.TarInfo(name)
    member.type, member.size, member.linkname = kind, len(content), "a.py"
    tar.addfile(member, io.BytesIO(content))


def one_member(name: str, content: bytes) -> bytes:
    with closing(io.BytesIO()) as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            add(tar, name, content)
        return file.getvalue()


def test_links_and_names_that_lead_out_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "outside.py").write_text("outside")
    root = write_tree(tmp_path / "tree", {"a.py": "a", "folder/b.py": "b"})
    (root / "in.py").symlink_to("a.py")
    (root / "out.py").symlink_to(tmp_path / "outside.py")
    (root / "loop").symlink_to(root)
    (root / "gone").symlink_to("nowhere")
    os.mkfifo(root / "pipe")
    links = dict.fromkeys(("in.py", "out.py", "loop", "gone"), "link")
    of_folder = {"a.py": "document", "folder/b.py": "document", "pipe": "special"} | links
    assert paths_and_reasons(root) == of_folder

    archive = tmp_path / "a.tar"
    archive.write_bytes(tar_of(root))
    assert paths_and_reasons(archive) == of_folder
    outside = ("/etc/a.py", "../a.py", "folder/../../a.py")
    with tarfile.open(archive, "a") as tar:
        add(tar, "hard.py", b"", tarfile.LNKTYPE)
        add(tar, "device", b"", tarfile.CHRTYPE)
        for name in outside:
            add(tar, name)
    assert paths_and_reasons(archive) == of_folder | {
        "hard.py": "link",
        "device": "special",
        **dict.fromkeys(outside, "outside"),
    }

    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        link = zipfile.ZipInfo("link.py")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        zipped.writestr(link, "../outside.py")
        for name in ("top/a.py", "..\\..\\b.py", *outside):
            zipped.writestr(name, "text")
    left_out = [file for file in collected(tmp_path / "a.zip") if isinstance(file, LeftOut)]
    assert [file.reason for file in left_out] == ["outside"] * 3 + ["link"]
    assert [file.name for file in left_out[:3]] == [f"{tmp_path}/a.zip/{name}" for name in outside]
    assert not (tmp_path / "etc").exists()


def test_names_that_are_no_utf_8_are_left_out_alike(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "tree", {"a.py": "a"})
    (root / os.fsdecode(b"caf\xe9.py")).write_text("c")
    expected = {"a.py": "document", "caf\udce9.py": "not_text"}
    assert paths_and_reasons(root) == expected
    (tmp_path / "a.tar").write_bytes(tar_of(root))
    assert paths_and_reasons(tmp_path / "a.tar") == expected
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("a.py", "a")
        file.writestr("CAFE.py", "c")
        file.writestr("NAIVE.py", "n")
    content = (tmp_path / "a.zip").read_bytes()
    content = content.replace(b"CAFE", b"caf\xe9").replace(b"NAIVE", "naï".encode() + b"1")
    (tmp_path / "a.zip").write_bytes(content)
    assert paths_and_reasons(tmp_path / "a.zip") == expected | {"naï1.py": "document"}


def test_the_last_of_several_members_counts(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        add(tar, "a.py", b"old")
        add(tar, "b.py", b"old")
        add(tar, "./a.py", b"new")
        add(tar, "b.py", b"#" * 2 * MOST)
        add(tar, "a.py/c.py", b"a file below a file")
        add(tar, "d.py", b"old")
        add(tar, "d.py", b"", tarfile.SYMTYPE)
    link = zipfile.ZipInfo("d.py")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        zipped.writestr("a.py", "old")
        with pytest.warns(UserWarning, match="Duplicate name"):
            zipped.writestr("a.py", "new")
        zipped.writestr("b.py", b"#" * 2 * MOST)
        zipped.writestr("a.py/c.py", "a file below a file")
        zipped.writestr("a.py/", "")
        zipped.writestr(link, "a.py")
    for archive in (tmp_path / "a.tar", tmp_path / "a.zip"):
        files = collected(archive, most=MOST)
        texts = [file["text"] for file in files if isinstance(file, dict)]
        assert texts == ["new", "a file below a file"]
        reasons = paths_and_reasons(archive, MOST)
        assert (reasons["b.py"], reasons["d.py"]) == ("too_large", "link")


def zip_with(method: int, *, encrypted: bool = False) -> bytes:
    with closing(io.BytesIO()) as file:
        with zipfile.ZipFile(file, "w", method) as zipped:
            zipped.writestr("a.py", "text of a file\n" * 100)
        content = bytearray(file.getvalue())
    for header, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(header) + offset] |= encrypted
    return bytes(content)


def damaged(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


def cut_tar(size: int) -> bytes:
    """A tar of 40 members of a block each, with a header before each."""
    with closing(io.BytesIO()) as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            for number in range(40):
                add(tar, f"{number}.py", b"#" * 512)
        return file.getvalue()[:size]


WHOLE = cut_tar(1 << 20)


def zip_that_leads_before_itself() -> bytes:
    """Its directory is said to be nearer to its beginning than the member before it is long."""
    content = bytearray(zip_with(zipfile.ZIP_STORED))
    end = content.index(b"PK\5\6")
    content[end + 16 : end + 20] = (1 << 20).to_bytes(4, "little")
    return bytes(content)


UNREADABLE = {
    "no.tar": b"",
    "text.tar": b"text" * 1000,
    "text.zip": b"text" * 1000,
    "text.tar.gz": b"text" * 1000,
    "text.tar.bz2": b"text" * 1000,
    "text.tar.xz": b"text" * 1000,
    "text.tar.zst": b"text" * 1000,
    "between.tar": WHOLE[:20480],
    "header.tar": WHOLE[:20680],
    "content.tar": WHOLE[: 20480 + 700],
    "flipped.tar": damaged(WHOLE, 20480 + 10),
    "cut.tar.gz": gzip.compress(WHOLE)[:-20],
    "checksum.tar.gz": damaged(gzip.compress(WHOLE), -8),
    "cut.tar.bz2": bz2.compress(WHOLE)[:-20],
    "cut.tar.xz": lzma.compress(WHOLE)[:-20],
    "cut.tar.zst": zstandard.compress(WHOLE)[:-20],
    "cut.zip": zip_with(zipfile.ZIP_DEFLATED)[:-30],
    "flipped.zip": damaged(zip_with(zipfile.ZIP_STORED), 200),
    "before.zip": zip_that_leads_before_itself(),
    "encrypted.zip": zip_with(zipfile.ZIP_STORED, encrypted=True),
    "bzip2.zip": zip_with(zipfile.ZIP_BZIP2),
    "a.rar": b"Rar!",
    "a.py": b"import this",
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_is_no_whole_archive_is_one_message_that_names_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(UNREADABLE[name])
    with pytest.raises(UserError) as raised:
        collected(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert len(str(raised.value).removeprefix(f"{path}: ")) > 20


@pytest.mark.parametrize("between", [b"", bytes(1 << 20)])
def test_two_tars_in_one_file_are_not_taken_for_the_first(tmp_path: Path, between: bytes) -> None:
    (tmp_path / "two.tar.gz").write_bytes(gzip.compress(WHOLE + between + WHOLE))
    with pytest.raises(UserError, match=r"two\.tar\.gz: other bytes follow its end; unpack it"):
        collected(tmp_path / "two.tar.gz")
    (tmp_path / "padded.tar.gz").write_bytes(gzip.compress(WHOLE + between))
    assert collected(tmp_path / "padded.tar.gz")


def test_a_source_that_is_not_there_or_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tar")
    for name in ("nowhere", "nowhere.tar.gz", "pipe.tar"):
        with pytest.raises(UserError, match=name):
            collected(tmp_path / name)


def test_a_tar_of_several_zstd_frames_is_read_to_its_end(tmp_path: Path) -> None:
    half = len(WHOLE) // 2
    frames = zstandard.compress(WHOLE[:half]) + zstandard.compress(WHOLE[half:])
    (tmp_path / "a.tar.zst").write_bytes(frames)
    assert len(collected(tmp_path / "a.tar.zst")) == 40


def test_a_bomb_needs_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a zip nothing is unpacked; what a tar may unpack to is bounded."""
    monkeypatch.setattr("fim_assets.collect.sources.EXPANSION_FREE", 32 << 20)
    zeros = bytes(64 << 20)
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("a.py", zeros)
    (tmp_path / "a.tar.bz2").write_bytes(bz2.compress(one_member("a.py", zeros)))
    (tmp_path / "b.tar.bz2").write_bytes(bz2.compress(one_member("a.py", zeros[: 31 << 20])))
    del zeros
    tracemalloc.start()
    assert paths_and_reasons(tmp_path / "a.zip") == {"a.py": "too_large"}
    assert paths_and_reasons(tmp_path / "b.tar.bz2") == {"a.py": "too_large"}
    with pytest.raises(UserError, match="a decompression bomb"):
        collected(tmp_path / "a.tar.bz2")
    assert tracemalloc.get_traced_memory()[1] < 16e6
    tracemalloc.stop()


def test_what_a_zip_may_unpack_to_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each member may be small, and all of them share their bytes."""
    monkeypatch.setattr("fim_assets.collect.sources.MAX_EXPANSION", 4)
    for name, size, files in (("a", 900, 20), ("b", 9, 20)):
        tree = write_tree(tmp_path / name, {f"{n}.py": "#" * size for n in range(files)})
        write_zip(tmp_path / f"{name}.zip", tree)
    assert len(collected(tmp_path / "a.zip")) == 20, "no more than what is free"
    monkeypatch.setattr("fim_assets.collect.sources.EXPANSION_FREE", 1000)
    with pytest.raises(UserError, match=r"a\.zip: expands to over 4 times its size"):
        collected(tmp_path / "a.zip")
    assert len(collected(tmp_path / "b.zip")) == 20


def test_a_zip_whose_member_holds_more_than_it_says_is_damaged(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("a.py", bytes(30 << 20))
    size = (30 << 20).to_bytes(4, "little")
    content = (tmp_path / "a.zip").read_bytes()
    assert content.count(size) == 2
    (tmp_path / "a.zip").write_bytes(content.replace(size, (100).to_bytes(4, "little")))
    tracemalloc.start()
    with pytest.raises(UserError, match="is damaged or cut short"):
        collected(tmp_path / "a.zip")
    assert tracemalloc.get_traced_memory()[1] < 16e6
    tracemalloc.stop()
