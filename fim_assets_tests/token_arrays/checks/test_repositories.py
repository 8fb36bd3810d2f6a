"""The checks of arrays whose documents are repositories: all hold, and every fault is found."""

import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fim_assets.recipe import Recipe
from fim_assets.recipe.repositories import REPOSITORY_LAYOUTS
from fim_assets_tests.corpora import open_corpus, run_all, write_shard
from fim_assets_tests.repository_shards.shards import file_of
from fim_assets_tests.token_arrays.checks.faults import DECODES, GRAMMAR, Document, put
from fim_assets_tests.token_arrays.conftest import Finish
from fim_assets_tests.token_arrays.edits import Partition
from fim_assets_tests.token_arrays.letters import PRE, REPO, SEP, letters_recipe

NAMES = ["a/r", "<sep>", "b<repo>", "資料", None]
FILES = [
    file_of(
        [f"src/{number}.py", None, f"<sep>{number}", f"ü/{number}.sql"][number % 4],
        f"abc <sep> {number}\n\nxyz <repo> é <pre>\n" * (1 + number % 5),
        NAMES[number * 3 % 5],
        ["Python", None, "SQL"][number % 3],
        id=number,
    )
    for number in range(25)
]
"""Files of four repositories and of none; texts, names and paths hold names of controls."""

CONTEXTS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "unchanged": {"tokens": 900},
    "pieces": {"tokens": 300, "longer": "pieces"},
}


@pytest.mark.parametrize(
    ("layout", "context", "files", "paragraphs"),
    [
        (layout, context, ("each", "last")[(n + m) % 2], bool((n // 2 + m) % 2))
        for (n, layout), (m, context) in product(enumerate(REPOSITORY_LAYOUTS), enumerate(CONTEXTS))
    ],
)
def test_all_checks_hold(
    finish: Finish, layout: str, context: str, files: str, paragraphs: bool
) -> None:
    """Each layout with each context, and of all else every two values together."""
    names = {} if layout == "dolma" else {"names": 0.7}
    recipe = letters_recipe(
        fim={"files": files, "fim_rate": 0.7, "spm_format": "v2", "fim_end_token": "<end>"},
        tokens={"label_mask": "middle"},
        tokenizer={"segment_before_tokenization": paragraphs},
        context=CONTEXTS[context],
        repositories={"layout": layout, "order": "random"} | names,
    )
    table = finish(recipe, [*FILES, b"refused"]).table()
    assert table["line"].is_sorted() is False
    files_of = table.explode("files")["files"].struct.unnest()
    assert files_of["file_order"].is_in(["psm", "spm"]).any()
    has = {name: files_of[f"{name}_start"].is_not_null().any() for name in ("name", "separator")}
    assert has == {
        "name": layout in {"starcoder2", "qwen2.5-coder"},
        "separator": layout != "deepseek-coder",
    }


def test_pieces_are_cut_between_files_first(finish: Finish) -> None:
    """Files of 50 ids, pieces of 130: two files each, whole, and no file but the longest is cut."""
    long = 4
    texts = [f"{n}{'abxyz' * (60 if n == long else 9)}\n" for n in range(7)]
    rows = [file_of(f"{n}.py", text, "r") for n, text in enumerate(texts)]
    partition = finish(
        letters_recipe(
            context={"tokens": 130, "longer": "pieces"},
            repositories={"layout": "starcoder2", "order": "given"},
        ),
        rows,
    )
    record = partition.table("fim_shards")
    pieces = record.group_by("line", maintain_order=True).agg(pl.col("piece"))
    of_file = dict(pieces.iter_rows())
    assert [len(of_file[line]) for line in range(1, 8)] == [
        1,
        1,
        1,
        1,
        len(of_file[long + 1]),
        1,
        1,
    ]
    assert len(of_file[long + 1]) > 1
    assert of_file[1] == of_file[2]
    assert of_file[3] == of_file[4] == [of_file[1][0] + 1]
    assert of_file[6] == of_file[7]
    assert record.filter(pl.col("piece") == 0)["lead_chars"].to_list() == [len("<repo>r<sep>"), 5]


# Faults.

FIRST, SECOND = 1, 3
"""Lines of the first files of a repository with three files, and of a file alone."""

REPOSITORY = [
    file_of("p.py", "abc def\n" * 3, "r"),
    file_of("q.py", "uvw xyz\n" * 3, "r"),
    file_of(None, "alone, and some text\n", None),
    file_of("s.py", "one more file here\n" * 3, "r"),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Partition:
    """Qwen's layout, every file rearranged, with names, paths outside and line feeds behind."""
    recipe = recipe_of_faults()
    root = tmp_path_factory.mktemp("whole")
    write_shard(root / "raw" / "a.jsonl", REPOSITORY)
    outcome = run_all(open_corpus(root, recipe))["a"]
    assert outcome.failure is None, outcome.details
    return Partition(root, recipe)


def recipe_of_faults() -> Recipe:
    return letters_recipe(
        tokens={"label_mask": "middle"}, repositories={"layout": "qwen2.5-coder", "order": "given"}
    )


@pytest.fixture
def repository(whole: Partition, tmp_path: Path) -> Partition:
    """A copy of it to be harmed."""
    shutil.copytree(whole.root, tmp_path / "root")
    return Partition(tmp_path / "root", whole.recipe)


def test_where_all_stands(whole: Partition) -> None:
    """`<repo>` and `r\\n`, `<sep>` and `p.py\\n`, 24 characters and 3 sentinels, a line feed."""
    ids = whole.ids()
    files, start = Document(whole, FIRST).files, Document(whole, FIRST).start
    at = {name: value - start for name, value in files[0].items() if isinstance(value, int)}
    assert (at["name_start"], at["name_end"], at["separator_start"], at["separator_end"]) == (
        *(0, 3),
        *(3, 4),
    )
    assert (at["header_start"], at["header_end"], at["file_start"]) == (4, 9, 9)
    assert at["tail_start"] == at["file_end"]
    assert at["tail_end"] == at["tail_start"] + 1
    assert ids[start] == REPO
    assert [ids[file["separator_start"]] for file in files] == [SEP] * 3
    assert files[1]["name_start"] is None
    assert files[2]["tail_start"] is None
    (alone,) = Document(whole, SECOND).files
    assert alone["separator_start"] is alone["header_start"] is None


def separator_lost(its: Document) -> tuple[int, int]:
    return its.files[1]["separator_start"], ord("z")


def separator_in_a_path(its: Document) -> tuple[int, int]:
    return its.files[1]["header_start"], SEP


def separator_in_a_text(its: Document) -> tuple[int, int]:
    return its.files[0]["suffix_start"], SEP


def separator_behind_a_file(its: Document) -> tuple[int, int]:
    return its.files[0]["tail_start"], SEP


def repository_token_lost(its: Document) -> tuple[int, int]:
    return its.files[0]["name_start"], ord("z")


def repository_token_twice(its: Document) -> tuple[int, int]:
    return its.files[0]["name_start"] + 1, REPO


def repository_token_before_another_file(its: Document) -> tuple[int, int]:
    return its.files[2]["separator_start"], REPO


def sentinel_in_a_path(its: Document) -> tuple[int, int]:
    return its.files[2]["header_start"], PRE


@pytest.mark.parametrize(
    "fault",
    [
        separator_lost,
        separator_in_a_path,
        separator_in_a_text,
        separator_behind_a_file,
        repository_token_lost,
        repository_token_twice,
        repository_token_before_another_file,
        sentinel_in_a_path,
    ],
)
def test_a_control_elsewhere_is_found(
    repository: Partition, fault: Callable[[Document], tuple[int, int]]
) -> None:
    at, value = fault(Document(repository, FIRST))
    assert repository.ids()[at] != value
    put(repository, at, value)
    found = repository.token_faults()
    assert f"token {at}" in found[GRAMMAR]
    assert DECODES in found


def test_a_control_in_a_file_alone_is_found(repository: Partition) -> None:
    put(repository, Document(repository, SECOND).files[0]["suffix_start"], REPO)
    assert not repository.check(GRAMMAR).passed


EDGES = [
    f"{name}_{edge}"
    for name in ("name", "separator", "header", "tail", "file")
    for edge in ("start", "end")
]


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("by", [-1, 1, None])
def test_an_offset_beside_a_file_off_by_one_or_lost_is_found(
    repository: Partition, edge: str, by: int | None
) -> None:
    file = Document(repository, FIRST).files[0]
    value = None if by is None else file[edge] + by
    repository.edit_files(FIRST, lambda files: files[0].update({edge: value}))
    assert not repository.check(GRAMMAR).passed


@pytest.mark.parametrize("name", ["name", "separator", "header", "tail"])
def test_what_stands_beside_a_file_is_what_the_fim_shard_says(
    repository: Partition, name: str
) -> None:
    """The parquet of the arrays alone would agree with itself."""
    gone: dict[str, Any] = {f"{name}_start": None, f"{name}_end": None}
    repository.edit_files(FIRST, lambda files: files[0].update(gone))
    assert "fim_shards/a.parquet" in repository.check(GRAMMAR).description
