"""Previews and arrays show what stands beside the files of a repository."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from fim_assets.errors import ShardError
from fim_assets.preview.documents import (
    document_at_line,
    document_with_id,
    finished_documents,
    first_rearranged,
)
from fim_assets.preview.markdown import preview_markdown
from fim_assets.preview.notebook import transform_texts
from fim_assets.preview.terminal import render, render_document
from fim_assets.token_arrays.reader import TokenArray
from fim_assets.tokenizer.load import load_tokenizer
from fim_assets_tests.corpora import open_corpus, run_all, write_shard
from fim_assets_tests.repository_shards.shards import file_of
from fim_assets_tests.token_arrays.edits import Partition
from fim_assets_tests.token_arrays.letters import letters_recipe

ROWS = [
    file_of("q.py", "abc def\n" * 3, "r", id="second"),
    file_of(None, "alone, and some text\n", None, id="alone"),
    file_of("p.py", "uvw xyz\n" * 3, "r", id="first"),
]
RECIPE = letters_recipe(
    tokens={"label_mask": "middle", "shuffle": False},
    repositories={"layout": "qwen2.5-coder", "order": "path"},
)
SEED = RECIPE.partition_seed("a")
ENDINGS = (".jsonl.zst", ".parquet")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("shown")
    write_shard(made / "raw" / "a.jsonl", ROWS)
    assert run_all(open_corpus(made, RECIPE))["a"].failure is None
    return made


def printed(what: object) -> str:
    console = Console(file=StringIO(), width=200)
    console.print(what)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_a_preview_of_a_raw_shard_is_what_the_stages_write(root: Path) -> None:
    raw = root / "raw" / "a.jsonl"
    shard, parquet = (root / "fim_shards" / f"a{end}" for end in ENDINGS)
    repository, alone = finished_documents(shard, parquet, blocks=1)
    assert [file.row.line for file in repository.files] == [3, 1]
    first = first_rearranged(raw, SEED, RECIPE)
    assert (first.text, first.files, first.line) == (repository.text, repository.files, 3)
    for found in (
        document_at_line(raw, SEED, RECIPE, 1),
        document_at_line(raw, SEED, RECIPE, 3),
        document_with_id(raw, SEED, RECIPE, "second"),
        document_with_id(raw, SEED, RECIPE, "r"),
    ):
        assert found == first
    assert document_with_id(raw, SEED, RECIPE, "alone").text == alone.text
    assert document_at_line(raw, SEED, RECIPE, 2).files == alone.files
    with pytest.raises(ShardError, match="no document has the id"):
        document_with_id(raw, SEED, RECIPE, "r2")


def test_names_separators_and_paths_are_shown(root: Path) -> None:
    preview = first_rearranged(root / "raw" / "a.jsonl", SEED, RECIPE)
    shard, parquet = (root / "fim_shards" / f"a{end}" for end in ENDINGS)
    terminal = printed(render(preview, RECIPE.fim))
    markdown = preview_markdown(shard, parquet, RECIPE, None).documents
    for shown in (terminal, markdown):
        assert [shown.count(text) for text in ("<repo>", "p.py", "q.py")] == [1, 1, 1]
        assert shown.count("<sep>") == 2


def test_an_array_says_what_stands_beside_a_file(root: Path) -> None:
    tokenizer = load_tokenizer(RECIPE)
    document, alone = TokenArray(root / "token_arrays" / "a-00000.npy")
    beside = [
        (part.file, part.part, tokenizer.decode(part.ids).decode())
        for part in document.parts
        if part.part in {"name", "separator", "header", "tail"}
    ]
    assert beside == [
        (0, "name", "<repo>r\n"),
        (0, "separator", "<sep>"),
        (0, "header", "p.py\n"),
        (0, "tail", "\n"),
        (1, "separator", "<sep>"),
        (1, "header", "q.py\n"),
    ]
    assert b"".join(tokenizer.decode(part.ids) for part in document.parts[:-1]).decode() == (
        document.text(tokenizer)
    )
    assert {part.part for part in alone.parts} == {None, "prefix", "middle", "suffix"}
    shown = printed(render_document(document, 0, tokenizer, tokens=False))
    assert [shown.count(text) for text in ("name <repo>", "header p.py", "header q.py")] == [1] * 3


def test_a_mask_trains_on_what_ends_a_file_and_on_no_path(root: Path) -> None:
    """Of each file the middle, and behind it the line feed and separator, or EOS."""
    document, _ = TokenArray(root / "token_arrays" / "a-00000.npy")
    mask = Partition(root, RECIPE).mask().read_bytes()
    names = {part.part or "" for part in document.parts}
    assert {"name", "header", "tail"} <= names
    at = 0
    for part in document.parts:
        trained = {*mask[at : at + len(part.ids)]}
        at += len(part.ids)
        is_middle = part.part in {"middle", "tail"} or (part.part == "separator" and part.file == 1)
        is_eos = part.file is None
        assert trained <= {int(is_middle or is_eos)}


def test_one_text_is_a_file_without_a_repository(root: Path) -> None:
    shard, parquet = (root / "fim_shards" / f"a{end}" for end in ENDINGS)
    _, alone = finished_documents(shard, parquet, blocks=1)
    texts, ids = [row["text"] for row in ROWS], [row["id"] for row in ROWS]
    found = [*transform_texts(texts, RECIPE, partition_key="a", document_ids=ids)]
    assert [document.restore() for document in found] == texts
    assert (found[1].text, len(found[1].files)) == (alone.text, 1)
    [of_found], [file] = found[1].files, alone.files
    assert of_found == file._replace(row=file.row._replace(line=1))
    assert "<repo>" not in "".join(document.text for document in found)
