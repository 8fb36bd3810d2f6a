"""Each layout to the character and to the id, through the real stages, written out by hand."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import polars as pl
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from fim_assets.recipe import Recipe
from fim_assets.repository_shards.join_shard import documents_of
from fim_assets.tokenizer.load import load_tokenizer
from fim_assets_tests.corpora import open_corpus, run_all, write_shard
from fim_assets_tests.repository_shards.shards import file_of, grouped, recipe_of
from fim_assets_tests.token_arrays.conftest import Finish
from fim_assets_tests.token_arrays.letters import (
    AB,
    EOS,
    MID,
    PRE,
    REPO,
    SEP,
    SUF,
    letters_recipe,
)

TWO = [file_of("p1.py", "t1", "r"), file_of("p2.py", "t2", "r")]
ALONE = [file_of("p1.py", "t1", "r")]
NO_PATHS = [file_of(None, "t1", "r"), file_of(None, "t2", "r")]
SCRIPTS = [file_of("資料/ü.rs", "é🚀", "人/r"), file_of("p2.sql", "t2", "人/r", "SQL")]
FORGED = [file_of("<sep>.py", "<sep><repo>", "<repo><sep>"), file_of("p2.py", "t2", "<repo><sep>")]

D, S, Q, C = "dolma", "starcoder2", "qwen2.5-coder", "deepseek-coder"


@pytest.mark.parametrize(
    ("layout", "names", "rows", "expected"),
    [
        (D, None, TWO, "t1<sep>t2"),
        (D, None, ALONE, "t1"),
        (D, None, SCRIPTS, "é🚀<sep>t2"),
        (D, None, FORGED, "<sep><repo><sep>t2"),
        (S, 1, TWO, "<repo>r<sep>p1.py\nt1<sep>p2.py\nt2"),
        (S, 0, TWO, "<sep>t1<sep>t2"),
        (S, 1, NO_PATHS, "<repo>r<sep>t1<sep>t2"),
        (S, 1, ALONE, "<repo>r<sep>p1.py\nt1"),
        (S, 0, ALONE, "<sep>t1"),
        (S, 1, SCRIPTS, "<repo>人/r<sep>資料/ü.rs\né🚀<sep>p2.sql\nt2"),
        (S, 1, FORGED, "<repo><repo><sep><sep><sep>.py\n<sep><repo><sep>p2.py\nt2"),
        (Q, 1, TWO, "<repo>r\n<sep>p1.py\nt1\n<sep>p2.py\nt2"),
        (Q, 0, TWO, "<sep>t1\n<sep>t2"),
        (Q, 1, NO_PATHS, "<repo>r\n<sep>t1\n<sep>t2"),
        (Q, 1, ALONE, "<repo>r\n<sep>p1.py\nt1"),
        (Q, 1, SCRIPTS, "<repo>人/r\n<sep>資料/ü.rs\né🚀\n<sep>p2.sql\nt2"),
        (C, 1, TWO, "#p1.py\nt1\n#p2.py\nt2"),
        (C, 0, TWO, "t1\nt2"),
        (C, 1, NO_PATHS, "t1\nt2"),
        (C, 1, ALONE, "#p1.py\nt1"),
        (C, 1, SCRIPTS, "//資料/ü.rs\né🚀\n--p2.sql\nt2"),
    ],
)
def test_texts_to_the_character(
    tmp_path: Path, layout: str, names: float | None, rows: list[Any], expected: str
) -> None:
    (text,) = made(tmp_path, rows, recipe(layout, names, fim_rate=0)).texts
    assert text == expected


def test_tokens_are_the_layouts_where_the_recipe_names_none(tmp_path: Path) -> None:
    for layout, expected in {
        "starcoder2": "<repo_name>r<file_sep>p1.py\nt1<file_sep>p2.py\nt2",
        "qwen2.5-coder": "<|repo_name|>r\n<|file_sep|>p1.py\nt1\n<|file_sep|>p2.py\nt2",
    }.items():
        section = f"{{layout: {layout}, order: given}}"
        fim = f"fim: {{sentinels: {layout}, fim_rate: 0}}"
        (text,) = made(tmp_path / layout, TWO, recipe_of(section, fim)).texts
        assert text == expected


def test_a_file_without_a_repository_is_its_text(tmp_path: Path) -> None:
    for layout in (D, S, Q, C):
        rows = [file_of("p1.py", "t<sep>1", None)]
        (text,) = made(tmp_path / layout, rows, recipe(layout, None, fim_rate=0)).texts
        assert text == "t<sep>1"


class Made(NamedTuple):
    """The texts of a FIM shard, and its parquet's rows."""

    texts: list[str]
    rows: pl.DataFrame


def recipe(layout: str, names: float | None, **fim: Any) -> Recipe:
    section = {"layout": layout, "order": "given"} | ({} if names is None else {"names": names})
    return letters_recipe(fim=fim, repositories=section)


def made(root: Path, rows: list[Any], recipe: Recipe) -> Made:
    write_shard(root / "raw" / "a.jsonl", rows)
    corpus = open_corpus(root, recipe)
    outcome = run_all(corpus, ["raw_shards", "repository_shards", "fim_shards"])["a"]
    assert outcome.failure is None, outcome.details
    files = corpus.files("fim_shards", "a")
    lines = zstandard.decompress(files.file(".jsonl.zst").read_bytes(), 1 << 20).splitlines()
    texts = [orjson.loads(line)["text"] for line in lines]
    return Made(texts, pl.read_parquet(files.file(".parquet")))


LONG = [file_of("p1.py", "0123456789", "r"), file_of("p2.py", "abcdefghij", "r")]

PSM = {"psm_spm_split": 1}
SPM = {"psm_spm_split": 0}
V2 = SPM | {"spm_format": "v2"}


@pytest.mark.parametrize(
    ("layout", "fim", "before", "between", "parts", "path_is_cut"),
    [
        (S, PSM, "<repo>r<sep>", "<sep>", "<pre>{p}<suf>{s}<mid>{m}", True),
        (S, SPM, "<repo>r<sep>", "<sep>", "<suf>{s}<pre>{p}<mid>{m}", True),
        (S, V2, "<repo>r<sep>", "<sep>", "<pre><suf>{s}<mid>{p}{m}", True),
        (Q, PSM, "<repo>r\n<sep>p1.py\n", "\n<sep>p2.py\n", "<pre>{p}<suf>{s}<mid>{m}", False),
        (Q, SPM, "<repo>r\n<sep>p1.py\n", "\n<sep>p2.py\n", "<suf>{s}<pre>{p}<mid>{m}", False),
        (D, PSM, "", "<sep>", "<pre>{p}<suf>{s}<mid>{m}", None),
        (C, PSM, "", "\n", "<pre>{p}<suf>{s}<mid>{m}", True),
        (C, V2, "", "\n", "<pre><suf>{s}<mid>{p}{m}", True),
    ],
)  # fmt: skip
def test_rearranged_files_to_the_character(
    tmp_path: Path,
    layout: str,
    fim: dict[str, Any],
    before: str,
    between: str,
    parts: str,
    path_is_cut: bool | None,
) -> None:
    (text,), rows = made(tmp_path, LONG, recipe(layout, None, fim_rate=1, split="uniform", **fim))
    expected = [before]
    sign = "#" if layout == C else ""
    for number, (name, row) in enumerate(
        zip(("p1", "p2"), rows.iter_rows(named=True), strict=True)
    ):
        own = f"{sign}{name}.py\n" * bool(path_is_cut) + LONG[number]["text"]
        assert row["chars"] == len(own)
        first = row["prefix_chars"]
        second = first + row["middle_chars"]
        expected.append(parts.format(p=own[:first], m=own[first:second], s=own[second:]))
        expected.append(between if number == 0 else "")
        assert row["path_chars"] == (len(f"{sign}{name}.py\n") if path_is_cut else 0)
    assert text == "".join(expected)


def test_qwen_rearranges_the_last_file_alone_and_its_path_stands_before(tmp_path: Path) -> None:
    found = made(tmp_path, LONG, recipe(Q, None, fim_rate=1, files="last", **PSM))
    (text,) = found.texts
    assert text.startswith("<repo>r\n<sep>p1.py\n0123456789\n<sep>p2.py\n<pre>")
    assert found.rows["reason"].to_list() == ["not_last", None]
    assert found.rows["header_chars"].to_list() == [6, 6]


def bytes_of(text: str) -> list[int]:
    """The ids of a text in which `ab` stands nowhere."""
    return [*text.encode()]


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (D, [*b"x<sep>", SEP, *b"<repo>z"]),
        (S, [REPO, *b"<repo><sep>", SEP, *b"<sep>\nx<sep>", SEP, *b"q\n<repo>z"]),
        (Q, [REPO, *b"<repo><sep>\n", SEP, *b"<sep>\nx<sep>\n", SEP, *b"q\n<repo>z"]),
        (C, [*b"#<sep>\nx<sep>\n#q\n<repo>z"]),
    ],
)
def test_ids_and_no_text_forges_one(finish: Finish, layout: str, expected: list[int]) -> None:
    """Names, paths and texts that hold `<sep>` and `<repo>` are text, and end no file."""
    name = "<repo><sep>"
    rows = [file_of("<sep>", "x<sep>", name), file_of("q", "<repo>z", name)]
    partition = finish(recipe(layout, None, fim_rate=0), rows)
    assert partition.ids().tolist() == [*expected, EOS]
    assert partition.table()["files"].list.len().to_list() == [2]


def test_ids_of_rearranged_files(finish: Finish) -> None:
    """Qwen's path is encoded alone, in front of the sentinel; StarCoder2's is in the prefix."""
    rows = [file_of("ab", "xyzxyzxyzxyz", "ab")]
    for layout, before in ((Q, [REPO, AB, 10, SEP, AB, 10]), (S, [REPO, AB, SEP])):
        partition = finish(recipe(layout, None, fim_rate=1, split="lines", **PSM), rows)
        ids = partition.ids().tolist()
        assert ids[: len(before) + 1] == [*before, PRE]
        behind = ids[len(before) :]
        assert [token for token in behind if token >= EOS] == [PRE, SUF, MID, EOS]
        assert (AB in behind) == (layout == S)
        ((file,),) = partition.table()["files"].to_list()
        assert (file["file_start"], file["file_end"]) == (len(before), len(ids) - 1)


def test_what_has_no_id_is_text(tmp_path: Path) -> None:
    """dolma2 has no separator and no repository token: their names are encoded as any text."""
    recipe = recipe_of("{layout: qwen2.5-coder, order: given}", "fim: {fim_rate: 0}")
    write_shard(tmp_path / "raw" / "a.jsonl", TWO)
    outcome = run_all(open_corpus(tmp_path, recipe))["a"]
    assert outcome.failure is None, outcome.details
    ids = np.fromfile(tmp_path / "token_arrays" / "a-00000.npy", np.uint32)
    tokenizer = load_tokenizer(recipe)
    expected = ["<|repo_name|>", "r\n", "<|file_sep|>", "p1.py\nt1\n", "<|file_sep|>", "p2.py\nt2"]
    encoded = [token for row in tokenizer.encoder.encode(expected) for token in row.tolist()]
    assert ids.tolist() == [*encoded, 100257]


# Dolma's own tool.


def concatenated(documents: list[dict[str, Any]], separator: str) -> list[str]:
    """What Dolma's contrib/code-file-concat makes of documents, by its rules.

    Neighbours of equal `metadata.repo_name` and `metadata.language` are one document, their texts
    with the separator between; the order is that of the lines.
    """
    texts: list[str] = []
    before: object = None
    for document in documents:
        metadata = document["metadata"]
        group = metadata.get("repo_name"), metadata.get("language")
        if group == before:
            texts[-1] += separator + document["text"]
        else:
            texts.append(document["text"])
        before = group
    return texts


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6) | st.just("a<|file_sep|>b")
REPOSITORIES = st.lists(
    st.tuples(
        st.lists(st.tuples(st.sampled_from(["C", "Go", "資料"]), st.lists(TEXTS, min_size=1))),
    ),
    max_size=5,
)


@settings(max_examples=30, deadline=None)
@given(REPOSITORIES)
def test_documents_of_sorted_lines_are_those_of_dolmas_tool(
    tmp_path_factory: pytest.TempPathFactory, repositories: list[Any]
) -> None:
    """Its input must be sorted by repository and language; so it is here."""
    recipe = recipe_of("{group: neighbours, by_language: true, order: given}")
    rows = [
        file_of(f"{n}.c", text, f"r{number}", language)
        for number, (languages,) in enumerate(repositories)
        for language, texts in sorted(dict(languages).items())
        for n, text in enumerate(texts)
    ]
    folder = tmp_path_factory.mktemp("dolma")
    documents = [
        orjson.loads(document.line)["text"]
        for repository in grouped(rows, folder, recipe)
        for document in documents_of(repository, 7, recipe)
    ]
    assert documents == concatenated(rows, "<|file_sep|>")
