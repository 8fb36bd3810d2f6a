"""The graph of a repository whatever its language: copies, paths, reasons, size."""

import random

import pytest

from fim_assets.imports.base import FileIndex, Import, normalised
from fim_assets.imports.graph import Graph, Source, dependency_graph, imports_identity
from fim_assets.imports.order import order_by_dependencies
from fim_assets_tests.imports.trees import MAX_BYTES, edges, graph


def of(*sources: tuple[str | None, str]) -> Graph:
    return dependency_graph([Source(path, "Python", text) for path, text in sources], MAX_BYTES)


def test_a_file_that_imports_itself_depends_on_nothing() -> None:
    assert graph({"a.py": "import a\nfrom . import a"}) == Graph([[]], [0], [None])


def test_files_of_one_path_are_all_meant_and_do_not_depend_on_each_other() -> None:
    found = of(("a.py", "import b, a"), ("b.py", "x = 1"), ("a.py", "import b, a"), ("./b.py", ""))
    assert found.depends_on == [[1, 3], [], [1, 3], []]


def test_a_file_without_a_path_imports_and_is_never_meant() -> None:
    found = of((None, "import a, b"), ("a.py", "import x"), ("", "x = 1"), (None, ""))
    assert found == Graph([[1], [], [], []], [1, 1, 0, 0], [None] * 4)


def test_paths_are_normalised_and_what_climbs_out_of_the_root_is_never_meant() -> None:
    files = {
        "/x/../a.py": "import b, c",
        "./d//../b.py": "",
        "../c.py": "",
        "../../d/e.py": "from .. import a",
    }
    assert edges(files) == {"/x/../a.py": {"./d//../b.py"}}


def test_reasons_say_why_imports_were_not_read() -> None:
    files = {
        "a.py": "import b",
        "b.py": "x = 1 # " + "y" * 50 + "\n",
        "c.py": "(" * 600,
        "d.py": ")]}" * 50 + "\nimport b",
        "e.py": "import b\n" + "# long\n" * 3000,
        "f.md": "import b",
        "g.sh": "source b.py",
        "h": "import b",
    }
    sources = [Source(path, None, text) for path, text in files.items()]
    found = dependency_graph(sources, 20_000)
    reasons = ["repetitive", "syntax_errors", "too_large", *["no_grammar"] * 3]
    assert found == Graph([[1], *([] for _ in range(7))], [0] * 8, [None, None, *reasons])


def test_a_file_whose_language_has_other_rules_is_not_meant() -> None:
    sources = [Source("a.py", None, "import b"), Source("b.py", "Ruby", "require 'a'")]
    assert dependency_graph(sources, MAX_BYTES).depends_on == [[], []]


def test_the_data_sets_name_of_a_language_decides() -> None:
    sources = [Source("bin/tool", "python3", "import lib"), Source("bin/lib.py", None, "")]
    assert dependency_graph(sources, MAX_BYTES).depends_on == [[1], []]


def test_permuting_the_files_changes_nothing() -> None:
    files = {
        **{f"p{n}/__init__.py": f"from . import a{n}\nimport p{(n + 1) % 5}" for n in range(5)},
        **{f"p{n}/a{n}.py": f"import util, p{(n * 2) % 5}.a{(n * 2) % 5}" for n in range(5)},
        **{f"q{n}/util.py": f"import p{n}" for n in range(5)},
    }
    expected = edges(files)
    draws = random.Random(1)
    for _ in range(5):
        shuffled = draws.sample([*files.items()], len(files))
        assert edges(dict(shuffled)) == expected


def test_what_decides_the_graph_are_the_grammars_and_a_version() -> None:
    assert {*imports_identity()} == {"grammars", "imports"}


def test_ten_thousand_files() -> None:
    """A hundred packages, each with names that the others have too."""
    files = {}
    for number in range(100):
        files[f"pkg{number}/__init__.py"] = ""
        for name in range(99):
            others = f"from . import m{name - 1}\n" if name else ""
            files[f"pkg{number}/m{name}.py"] = f"{others}import pkg{number // 2}.m{name}, os\n"
    found = graph(files)
    paths = [*files]
    assert sum(map(len, found.depends_on)) == 100 * 98 + 99 * 99 * 2
    placed = order_by_dependencies(found.depends_on, paths)
    at = {p.file: place for place, p in enumerate(placed)}
    assert all(at[o] < at[f] for f, others in enumerate(found.depends_on) for o in others)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a/b.py", "a/b.py"),
        (" /a//b.py ", "a/b.py"),
        ("a/./../b", "b"),
        ("a/../../b/../c", "../c"),
        ("../../a", "../../a"),
        (".", "../"),
        ("", "../"),
        (None, "../"),
        ("a\0b/..c/...", "a\0b/..c/..."),
    ],
)
def test_a_path_is_normalised(path: str | None, expected: str) -> None:
    assert normalised(path) == expected


def repository(*paths: str) -> FileIndex:
    return FileIndex(paths, [""] * len(paths), {file: [] for file in range(len(paths))})


def test_lookups_give_files_in_the_order_of_their_paths() -> None:
    found = repository("b/x.h", "a/x.h", "a/c/x.h", "x.h", "ax.h", "../x.h", "a/x.h")
    assert [*found.ending("x.h")] == [2, 1, 6, 0, 3]
    assert [*found.ending("a/x.h")] == [1, 6]
    assert [*found.at("a/x.h")] == [1, 6]
    assert [*found.inside("a")] == [1, 6]
    assert [*found.inside("")] == [4, 3]
    assert [*found.folders_ending("c")] == ["a/c"]
    assert [found.has_folder(folder) for folder in ("", "a", "a/c", "c", "..")] == [
        *[True] * 3,
        *[False] * 2,
    ]
    assert not found.at("../x.h")
    assert not found.ending("h")


def test_the_nearest_shares_most_folders_and_comes_first_by_its_path() -> None:
    paths = ("a/b/main", "a/b/c/x", "a/b/a/x", "a/d/x", "x", "z/x", "a/b/a/x")
    found = repository(*paths)

    def nearest(file: int, *others: int) -> list[int]:
        ordered = [other for other in found.ending("x") if other in others]
        return [*found.nearest(file, ordered)]

    assert nearest(0, 1, 2, 3, 4, 5, 6) == [2, 6]
    assert nearest(0, 1, 3, 4) == [1]
    assert nearest(0, 3, 4, 5) == [3]
    assert nearest(0, 4, 5) == [4]
    assert nearest(0, 5) == [5]
    assert nearest(0) == []
    assert found.nearest_folder(0, ["a/d", "a", "z"]) == "a"
    assert found.nearest_folder(0, ["y", "z"]) == "y"
    assert found.nearest_folder(0, []) is None


def test_declarations_and_project_files_are_found() -> None:
    imports = {0: [Import("package", "p")], 2: [Import("package", "p"), Import("import", "q")]}
    found = FileIndex(["b.go", "go.mod", "../", "a/go.mod"], ["", "x", "", "y"], imports)
    assert [*found.declaring("package", "p")] == [2, 0]
    assert found.project_files("go.mod") == {"": "x", "a": "y"}
    assert found.of(len_of_paths) == 4


def len_of_paths(repository: FileIndex) -> int:
    return len(repository.paths)
