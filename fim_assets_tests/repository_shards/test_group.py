"""Which files are one repository."""

from pathlib import Path

import pytest

from fim_assets.errors import ShardError
from fim_assets_tests.repository_shards.shards import file_of, grouped, recipe_of

MIXED = [
    file_of("1", "a", "r"),
    file_of("2", "b", "s"),
    file_of("3", "c", None),
    file_of("4", "d", "r"),
    file_of("5", "e", 7),
    file_of("6", "f", "資料"),
    file_of("7", "g", ""),
    file_of("8", "h", "7"),
]


def names_and_lines(lines: list[dict[str, object]], tmp_path: Path, section: str = "{}") -> object:
    found = grouped(lines, tmp_path, recipe_of(section))
    return [(one.group and tuple(one.group), [file.number for file in one.files]) for one in found]


def test_files_of_a_repository_lie_anywhere_and_others_are_alone(tmp_path: Path) -> None:
    """A whole number is a name as it is written, so that 7 and "7" are one."""
    assert names_and_lines(MIXED, tmp_path) == [
        (("r", None), [1, 4]),
        (("s", None), [2]),
        (None, [3]),
        (("7", None), [5, 8]),
        (("資料", None), [6]),
        (None, [7]),
    ]


@pytest.mark.parametrize("name", [["r"], {"r": 1}, True, 1.5])
def test_what_is_no_name_is_none(name: object, tmp_path: Path) -> None:
    assert names_and_lines([file_of("1", "a", name)], tmp_path) == [(None, [1])]


def test_the_files_of_each_language_are_a_document_by_language(tmp_path: Path) -> None:
    lines = [file_of(str(n), "x", "r", language) for n, language in enumerate(["C", "Go", "C"])]
    assert names_and_lines(lines, tmp_path, "{by_language: true}") == [
        (("r", "C"), [1, 3]),
        (("r", "Go"), [2]),
    ]


@pytest.mark.parametrize("group", ["shard", "neighbours"])
def test_neighbours_are_grouped_like_any(group: str, tmp_path: Path) -> None:
    lines = [file_of("1", "a"), file_of("2", "b"), file_of("3", "c", None), file_of("4", "d", "s")]
    expected = [(("r", None), [1, 2]), (None, [3]), (("s", None), [4])]
    assert names_and_lines(lines, tmp_path, f"{{group: {group}}}") == expected


@pytest.mark.parametrize("between", [file_of("2", "b", "s"), file_of("2", "b", None)])
def test_a_repository_that_comes_again_is_an_error_with_its_line(
    between: dict[str, object], tmp_path: Path
) -> None:
    lines = [file_of("1", "a"), between, file_of("3", "c")]
    with pytest.raises(ShardError, match=r"line 3: .*'r'.* ended at line 1"):
        grouped(lines, tmp_path, recipe_of("{group: neighbours}"))


@pytest.mark.parametrize("group", ["shard", "neighbours"])
def test_a_repository_has_a_greatest_size(group: str, tmp_path: Path) -> None:
    lines = [file_of("1", "a" * 300), file_of("1", "a" * 300, "s"), file_of("2", "b" * 300)]
    section = f"{{max_repository_bytes: 600, group: {group}}}"
    if group == "neighbours":
        lines = [lines[0], lines[2]]
    with pytest.raises(ShardError, match=rf"line {len(lines)}: .*'r'.* 600 bytes"):
        grouped(lines, tmp_path, recipe_of(section))
    assert grouped(lines[:1], tmp_path, recipe_of(section))


def test_lines_are_what_they_were_but_for_the_text(tmp_path: Path) -> None:
    lines = [b' {"text": "a" , "metadata":{"repo_name":"r"}}\r', b'{"id":1.50,"text":"\\u00e9"}']
    found = grouped([*lines, b"", b"no document"], tmp_path)
    expected = [b' {"text": "" , "metadata":{"repo_name":"r"}}\r', b'{"id":1.50,"text":""}']
    assert [one.files[0].member for one in found] == expected
    assert [one.files[0].document.id for one in found] == [None, "1.50"]
