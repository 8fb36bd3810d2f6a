"""The order of a repository's files."""

from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fim_assets.raw_shards.shard_reader import ShardReader
from fim_assets.recipe import Recipe
from fim_assets.repository_shards.order import (
    PlacedFile,
    UnusableFileError,
    order_files,
    read_imports,
)
from fim_assets_tests.repository_shards.shards import file_of, grouped

IMPORTS = partial(read_imports, most_parsed=1 << 20)


def ordered(
    lines: list[dict[str, Any]], order: Any, folder: Path, seed: int = 7
) -> list[PlacedFile]:
    [repository] = grouped(lines, folder)
    return order_files(repository.files, order, seed, IMPORTS)


def paths(placed: list[PlacedFile]) -> list[str | None]:
    return [one.file.document.path for one in placed]


FILES = [
    file_of("main.py", "import utils, config"),
    file_of("config.py", "x = 1"),
    file_of("utils.py", "from helpers import f"),
    file_of("helpers.py", "def f(): pass"),
]


def test_given_is_the_order_of_the_lines(tmp_path: Path) -> None:
    files = [FILES[n] for n in (2, 0, 3, 1)]
    placed = ordered(files, "given", tmp_path)
    assert paths(placed) == ["utils.py", "main.py", "helpers.py", "config.py"]
    assert [one.place for one in placed] == ["given"] * 4


def test_paths_come_depth_first(tmp_path: Path) -> None:
    """A folder's files, then its folders; a file without a path is the first."""
    names = ["b.py", "a/c.py", "a/b/d.py", "a/z.py", "á.py", None, "a.py"]
    placed = ordered([file_of(name, f"{name}") for name in names], "path", tmp_path)
    assert paths(placed) == [None, "a.py", "b.py", "á.py", "a/c.py", "a/z.py", "a/b/d.py"]


@pytest.mark.parametrize("order", ["path", "random", "dependencies"])
def test_an_order_is_a_function_of_the_set_of_files(order: str, tmp_path: Path) -> None:
    copies = [*FILES[:2], FILES[0] | {"n": 1}, file_of(None, "same"), FILES[0]]
    expected = None
    for some in [*permutations(copies)][::17]:
        placed = ordered([*some], order, tmp_path)
        lines = [(one.file.member, one.file.document.text) for one in placed]
        expected = expected or (lines, [one.copy for one in placed])
        assert (lines, [one.copy for one in placed]) == expected
    assert expected
    assert sum(expected[1]) == 2


def test_dependencies_come_first(tmp_path: Path) -> None:
    placed = ordered(FILES, "dependencies", tmp_path)
    assert paths(placed) == ["config.py", "helpers.py", "utils.py", "main.py"]
    places = [one.place for one in placed]
    assert places == ["imports_none", "imports_none", "imports", "imports"]
    assert [one.depends_on for one in placed] == [(), (), (4,), (2, 3)]
    assert [one.component for one in placed] == [0] * 4


def test_cycles_and_unread_files_say_so(tmp_path: Path) -> None:
    files = [file_of("a.py", "import b"), file_of("b.py", "import a, os"), file_of("c.txt", "c")]
    placed = {one.file.document.path: one for one in ordered(files, "dependencies", tmp_path)}
    assert {path: one.place for path, one in placed.items()} == {
        "a.py": "cycle",
        "b.py": "cycle",
        "c.txt": "no_grammar",
    }
    assert placed["b.py"].unresolved == 1


def test_random_orders_are_drawn_by_repository(tmp_path: Path) -> None:
    """Of two files, each comes first in about half of 1,000 repositories."""
    [repository] = grouped(FILES[:2], tmp_path)
    first = [
        order_files(repository.files, "random", seed, IMPORTS)[0].file.number
        for seed in range(1000)
    ]
    assert 400 < np.equal(first, 1).sum() < 600


def test_an_unusable_file_is_told_once_with_its_line(tmp_path: Path) -> None:
    grouped(FILES, tmp_path)
    shard = tmp_path / "raw.jsonl"
    with ShardReader(shard, Recipe().raw) as reader:
        assert sum(len(block.lines) for block in reader) == len(FILES)
        error = UnusableFileError(3, "cannot be encoded", "take it out").in_shard(reader)
    assert str(error) == f"{shard}: line 3: cannot be encoded; take it out"
