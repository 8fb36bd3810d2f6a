"""The walk: in which order, in which repository, by which rules."""

from pathlib import Path
from typing import Any

import pytest

from fim_assets.collect.collect import collect_files
from fim_assets.collect.walk import license_file, name_of_origin
from fim_assets.errors import UserError
from fim_assets_tests.collect.trees import (
    checkout,
    collected,
    git,
    paths_and_reasons,
    write_tree,
)


def where(*sources: Path) -> list[tuple[str, str]]:
    """Repository and path of each document."""
    documents: list[Any] = [file for file in collected(*sources) if isinstance(file, dict)]
    return [(d["metadata"]["repository"], d["metadata"]["path"]) for d in documents]


def test_files_come_by_the_bytes_of_their_paths(tmp_path: Path) -> None:
    names = ["a/b", "a.b", "a0", "A", "é/z", "ｚ", "𐀀", "a/b.c/d", "a/b0", "Z/a", "a-b/c"]
    write_tree(tmp_path / "tree", dict.fromkeys(names, "text"))
    assert [path for _, path in where(tmp_path / "tree")] == sorted(names, key=str.encode)


def test_a_checkout_below_a_source_is_a_repository_of_its_own(tmp_path: Path) -> None:
    root = checkout(
        tmp_path / "outer",
        {
            ".gitignore": "*.log\nbuild/\n",
            "LICENSE": "MIT",
            "a.py": "a",
            "a.log": "a",
            "inner/vendor/x.py": "others'",
            "z.py": "z",
        },
        "https://user:secret@example.com/org/outer.git",
    )
    checkout(root / "vendor" / "inner", {"b.log": "b", "src/b.py": "b", "COPYING.md": "GPL"})
    checkout(root / "build" / "lost", {"c.py": "c"}, "https://example.com/org/lost")
    worktree = write_tree(root / "linked", {".git": "gitdir: /elsewhere", "d.py": "d"})
    assert worktree.name == "linked"
    assert where(root) == [
        ("org/outer", "LICENSE"),
        ("org/outer", "a.py"),
        ("linked", "d.py"),
        ("inner", "COPYING.md"),
        ("inner", "b.log"),
        ("inner", "src/b.py"),
        ("org/outer", "z.py"),
    ]
    documents: list[Any] = [file for file in collected(root) if isinstance(file, dict)]
    licenses = {d["metadata"]["repository"]: d["metadata"].get("license_file") for d in documents}
    assert licenses == {"org/outer": "LICENSE", "linked": None, "inner": "COPYING.md"}
    reasons = paths_and_reasons(root)
    assert reasons["build/lost/c.py"] == "ignored"
    assert reasons["inner/vendor/x.py"] == "vendored"
    assert not any(".git/" in path for path in reasons)


def test_two_sources_of_one_name_both_stay(tmp_path: Path) -> None:
    first = write_tree(tmp_path / "one" / "name", {"a.py": "a"})
    second = write_tree(tmp_path / "two" / "name", {"a.py": "b"})
    assert where(second, first) == [("name", "a.py"), ("name", "a.py")]
    texts = [file["text"] for file in collected(second, first) if isinstance(file, dict)]
    assert texts == ["b", "a"]


def test_a_source_begins_where_it_is_named(tmp_path: Path) -> None:
    """The rules above it do not count, nor what it is called by a link."""
    root = checkout(tmp_path / "outer", {".gitignore": "*", "src/a.py": "a"})
    (tmp_path / "link").symlink_to(root / "src")
    for source in (root / "src", tmp_path / "link", root / "src" / ".." / "src"):
        assert where(source) == [("src", "a.py")]


def test_attributes_of_the_tree_count_where_they_stand(tmp_path: Path) -> None:
    root = write_tree(
        tmp_path / "tree",
        {
            ".gitattributes": "vendor/mine/* -linguist-vendored\nsrc/*.h linguist-language=C++\n",
            "vendor/a.py": "a",
            "vendor/mine/b.py": "b",
            "vendor/mine/deep/c.py": "c",
            "src/d.h": "int d;",
            "src/.gitattributes": "e.py linguist-generated\nf.py linguist-vendored=true",
            "src/e.py": "e",
            "src/f.py": "f",
            "e.py": "e",
        },
    )
    reasons = paths_and_reasons(root)
    assert {path for path, reason in reasons.items() if reason == "document"} == {
        "vendor/mine/b.py",
        "src/d.h",
        "e.py",
    }
    assert (reasons["src/e.py"], reasons["src/f.py"]) == ("generated", "vendored")
    documents: list[Any] = [file for file in collected(root) if isinstance(file, dict)]
    [header] = [d for d in documents if d["metadata"]["path"] == "src/d.h"]
    assert header["metadata"]["language"] == "C++"


def test_ignored_folders_are_counted_and_not_looked_at(tmp_path: Path) -> None:
    root = write_tree(
        tmp_path / "tree",
        {
            ".gitignore": "out/\n!out/keep.py\n",
            "out/keep.py": "k",
            "out/.gitignore": "!*",
            "out/deep/.gitattributes": "* -linguist-vendored",
            "out/deep/x": b"\0",
        },
    )
    ignored = {path: r for path, r in paths_and_reasons(root).items() if path.startswith("out/")}
    assert set(ignored.values()) == {"ignored"}
    assert len(ignored) == 4


def test_rules_of_a_megabyte_are_refused(tmp_path: Path) -> None:
    write_tree(tmp_path / "tree", {"src/.gitignore": b"#" * (1 << 20)})
    assert where(tmp_path / "tree") == []
    write_tree(tmp_path / "tree", {"src/.gitignore": b"#" * ((1 << 20) + 1)})
    with pytest.raises(UserError, match=r"src/\.gitignore of tree is over 1,048,576 bytes"):
        collected(tmp_path / "tree")


def test_an_output_in_a_source_is_passed_over(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "tree", {"a.py": "a", "out/b.py": "b", "output.py": "c"})
    assert len(list(collect_files([root], root / "out", 10))) == 2
    assert len(list(collect_files([root / "out"], root, 10))) == 1
    with pytest.raises(UserError, match="is a source and the output too"):
        list(collect_files([root / "out" / ".." / "out"], root / "out", 10))


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.com/org/name.git", "org/name"),
        ("https://user:secret@example.com:8443/org/name", "org/name"),
        ("https://secret@example.com/group/sub/name.git/", "group/sub/name"),
        ("git@example.com:org/name.git", "org/name"),
        ("example.com:org/name", "org/name"),
        ("ssh://git@example.com:22/org/name.git", "org/name"),
        ("https://example.com/org/name?token=secret#secret", "org/name"),
        ("https://example.com/", None),
        ("/home/someone/name.git", None),
        ("file:///home/someone/name.git", None),
        ("../name", None),
        ("C:/Users/someone/name", None),
    ],
)
def test_a_repositorys_name_is_its_origins(tmp_path: Path, url: str, name: str | None) -> None:
    root = checkout(tmp_path / "tree", {}, url)
    git(root, "remote", "add", "upstream", "https://example.com/other/other")
    assert name_of_origin((root / ".git" / "config").read_bytes()) == name


def test_a_repository_without_origin_has_none() -> None:
    assert name_of_origin(b'[remote "upstream"]\n\turl = https://a.b/c/d\n') is None
    assert (
        name_of_origin(b'[remote "origin"]\n\tfetch = x\n[core]\n\turl = https://a.b/c/d\n') is None
    )
    assert name_of_origin(b"\xff[") is None


@pytest.mark.parametrize(
    ("names", "name"),
    [
        ("README", None),
        ("LICENSE README", "LICENSE"),
        ("LICENSE.txt LICENSE-MIT LICENSE-APACHE", "LICENSE-APACHE"),
        ("COPYING License.md", "License.md"),
        ("copying.lesser UNLICENSE", "copying.lesser"),
        ("unlicense", "unlicense"),
        ("LICENCE", "LICENCE"),
        ("licensed.py MY_LICENSE", None),
    ],
)
def test_the_usual_names_of_licences(names: str, name: str | None) -> None:
    assert license_file(set(names.encode().split())) == name
