import doctest
import importlib
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fim_assets
from fim_assets.errors import ShardError
from fim_assets.fim_shards.record import FimShardReader
from fim_assets.fim_shards.restore import restore_shard
from fim_assets.preview import notebook
from fim_assets.preview.documents import finished_documents
from fim_assets.preview.notebook import (
    TransformedText,
    transform_pieces,
    transform_text,
    transform_texts,
)
from fim_assets.raw_shards.documents import Document, RejectionError, read_document
from fim_assets.recipe import Recipe, parse_recipe
from fim_assets.token_arrays.reader import TokenArray
from fim_assets.tokenizer.load import load_tokenizer
from fim_assets_tests.corpora import documents, open_corpus, run_all, write_shard
from fim_assets_tests.end_to_end.commands import REPOSITORY

RECIPES = {
    "dolma": "raw: {text_field: body.code, id_field: body.name, language_field: lang}",
    "syntax and the rest": (
        "raw:\n"
        "  {text_field: body.code, id_field: body.name, language_field: lang, path_field: path}\n"
        "fim:\n"
        "  document_rate: 0.9\n"
        "  fim_rate: {default: 0.8, Python: 1.0}\n"
        "  split: {syntax: 0.6, lines: 0.2, uniform: 0.2}\n"
        "  spm_format: v2\n"
        '  repository_tokens: ["<|extra_id_1|>"]\n'
        "tokens: {tokenizer: {bos_token_id: 100276, segment_before_tokenization: true}}\n"
    ),
}


def real_documents() -> list[dict[str, Any]]:
    """Real code, and awkward texts; ids are texts, numbers or missing."""
    library = Path(sysconfig.get_paths()["stdlib"])
    code = [(path.name, path.read_text("utf-8")) for path in sorted(library.glob("*.py"))]
    rows = [
        {"body": {"code": text, "name": [name, number, None][number % 3]}, "path": name}
        for number, (name, text) in enumerate(islice(((n, t) for n, t in code if t), 80))
    ]
    repository = "<|extra_id_1|>repo<|file_sep|>a.py\ndef a(): pass\n<|file_sep|>b.py\nb = [1, 2]\n"
    others = [{"text": repository, "id": "repository"}, *documents(64)]
    return rows + [
        {
            "body": {"code": row["text"], "name": row["id"]},
            "lang": row.get("metadata", {}).get("language"),
        }
        for row in others
    ]


def transformed(
    documents: Sequence[Document], recipe: Recipe, key: str
) -> Iterator[TransformedText]:
    ids, texts, languages, paths = zip(*documents, strict=True)
    about = {"document_ids": ids, "languages": languages, "paths": paths}
    return transform_texts(texts, recipe, partition_key=key, **about)


@pytest.mark.parametrize("name", RECIPES)
def test_every_document_is_what_the_pipeline_wrote(tmp_path: Path, name: str) -> None:
    corpus = open_corpus(tmp_path, parse_recipe(RECIPES[name], name))
    recipe = corpus.recipe
    raw = write_shard(tmp_path / "raw" / "deep" / "shard.jsonl", real_documents())
    assert run_all(corpus, checks=())["deep__shard"].failure is None
    fim, arrays = corpus.files("fim_shards", "deep__shard"), tmp_path / "token_arrays"
    shard, parquet = fim.file(".jsonl.zst"), fim.file(".parquet")
    tokenizer = load_tokenizer(recipe)
    written = finished_documents(shard, parquet, blocks=1000)
    read = [read_document(line, recipe.raw) for line in raw.read_bytes().splitlines()]
    together = transformed(read, recipe, "deep__shard")
    made = {}
    for index, document in enumerate(read):
        ours = transform_text(
            document.text,
            recipe,
            partition_key="deep__shard",
            document_id=document.id,
            language=document.language,
            path=document.path,
        )
        theirs, one_of_many = next(written), next(together)
        assert (ours.text, ours.files) == (theirs.text, theirs.files)
        assert (one_of_many, one_of_many.files) == (ours, ours.files)
        assert (one_of_many.index, ours.index) == (index, 0)
        assert ours.restore() == one_of_many.restore() == document.text
        made[theirs.line] = one_of_many
    assert (next(written, None), next(together, None)) == (None, None)
    assert {file.order for ours in made.values() for file in ours.files} == {"none", "psm", "spm"}

    array = TokenArray(arrays / "deep__shard-00000.npy")
    assert len(array) == len(made)
    for stored in array:
        parts = made[stored.line].tokens(tokenizer)
        assert [(p.file, p.part, p.control, p.ids.tolist()) for p in parts] == [
            (p.file, p.part, p.control, p.ids.tolist()) for p in stored.parts
        ]
    assert len(list(restore_shard(shard, parquet))) == len(made)
    with FimShardReader(shard, parquet) as reader:
        assert reader.fim == recipe.fim


IN_PIECES = """
raw: {text_field: body.code, id_field: body.name, language_field: lang, path_field: path}
fim: {fim_rate: 0.8, split: {syntax: 0.5, dolma: 0.5}}
context: {tokens: 500, longer: pieces}
tokens: {label_mask: text}
"""


def test_every_piece_is_what_the_pipeline_wrote(tmp_path: Path) -> None:
    corpus = open_corpus(tmp_path, parse_recipe(IN_PIECES, "r"))
    recipe, rows = corpus.recipe, real_documents()[60:120]
    raw = write_shard(tmp_path / "raw" / "shard.jsonl", rows)
    assert run_all(corpus, checks=())["shard"].failure is None
    fim = corpus.files("fim_shards", "shard")
    written = finished_documents(fim.file(".jsonl.zst"), fim.file(".parquet"), blocks=1000)
    made = {}
    read = [read_document(line, recipe.raw) for line in raw.read_bytes().splitlines()]
    together = transformed(read, recipe, "shard")
    for line, document in enumerate(read, 1):
        about = {"document_id": document.id, "language": document.language, "path": document.path}
        pieces = transform_pieces(document.text, recipe, partition_key="shard", **about)
        for ours in pieces:
            theirs, one_of_many = next(written), next(together)
            assert (ours.text, ours.files, ours.piece) == (theirs.text, theirs.files, theirs.piece)
            assert (one_of_many, one_of_many.files) == (ours, ours.files)
            assert one_of_many.index == line - 1
            assert theirs.line == line
            made[line, ours.piece.piece] = ours
        if len(pieces) == 1:
            assert transform_text(document.text, recipe, partition_key="shard", **about) == ours
        else:
            with pytest.raises(
                ValueError, match=f"divided in {len(pieces)}: take transform_pieces"
            ):
                transform_text(document.text, recipe, partition_key="shard", **about)
    assert (next(written, None), next(together, None)) == (None, None)
    assert len(made) > 2 * len(rows)
    tokenizer, array = load_tokenizer(recipe), tmp_path / "token_arrays" / "shard-00000.npy"
    for stored in TokenArray(array):
        ours = made.pop((stored.line, stored.piece))
        assert stored.pieces == ours.piece.pieces
        assert stored.text(tokenizer) == ours.text
        assert np.concatenate([p.ids for p in ours.tokens(tokenizer)]).tolist() == list(stored.ids)
    assert not made


def test_parts_are_named_and_add_up() -> None:
    recipe = Recipe.model_validate({"fim": {"fim_rate": 1, "file_separator_token": "===="}})
    document = transform_text("first file\n====ab", recipe)
    first, second = document.files
    assert first.parts is not None
    assert "".join(first.parts) == "first file\n"
    assert first.lengths == tuple(map(len, first.parts))
    assert (second.order, second.reason, second.parts) == ("none", "too_short", None)
    assert document.restore() == "first file\n====ab"


@pytest.mark.parametrize(
    ("reason", "of_one"),
    [
        ("empty", {"texts": ""}),
        ("text_not_string", {"texts": None}),
        ("text_not_string", {"texts": b"a"}),
        ("id_not_string", {"document_ids": 1.0}),
        ("id_not_string", {"document_ids": True}),
        ("not_utf8", {"texts": "\ud800"}),
        ("not_utf8", {"document_ids": "\udfff"}),
        ("not_utf8", {"languages": "\ud800"}),
        ("not_utf8", {"paths": "\ud800"}),
    ],
)
def test_a_document_that_no_shard_can_hold_is_refused_by_its_index(
    reason: str, of_one: dict[str, Any]
) -> None:
    lists: dict[str, Any] = {"texts": ["a", "b", "c"], "document_ids": ["1", "2", "3"]}
    lists |= {"languages": [None, 2.5, None], "paths": [None] * 3}
    assert len([*transform_texts(recipe=Recipe(), **lists)]) == 3
    for name, value in of_one.items():
        lists[name] = [*lists[name][:2], value]
    with pytest.raises(RejectionError, match=re.escape("texts[2]: ")) as raised:
        list(transform_texts(recipe=Recipe(), **lists))
    assert raised.value.reason == reason


def test_one_text_that_no_shard_can_hold_is_refused() -> None:
    with pytest.raises(RejectionError, match="text is empty"):
        transform_text("", Recipe())
    with pytest.raises(RejectionError, match="no text that UTF-8 can hold"):
        transform_text("a", Recipe(), document_id="\udfff")


def test_a_text_that_cannot_be_divided_is_named() -> None:
    token = "漢é" * 100
    fim, context = {"repository_tokens": [token]}, {"tokens": 64, "longer": "pieces"}
    recipe = Recipe.model_validate({"fim": fim, "context": context})
    texts = transform_texts(["short", f"{token}name"], recipe, document_ids=["x", "y"])
    with pytest.raises(ShardError, match=re.escape("texts[1] (id 'y'): a part of it does not fit")):
        list(texts)


def test_each_text_has_an_id_or_none_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebook, "BLOCK_LINES", 1)
    for ids, ended in ((["1"], "document_ids has 1 values"), (["1", "2", "3"], "texts has 2 val")):
        documents = transform_texts(["a", "b"], Recipe(), document_ids=ids)
        assert next(documents).text == "a"
        with pytest.raises(ValueError, match=ended):
            list(documents)
    for given in ({"texts": "ab"}, {"texts": ["a", "b"], "languages": "Go"}):
        with pytest.raises(TypeError, match="is one string"):
            list(transform_texts(recipe=Recipe(), **given))
    assert [*transform_texts([], Recipe(), document_ids=[])] == []


def test_texts_are_read_as_results_are_taken_and_blocks_change_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts, recipe = [f"{number} = 1\n" * number for number in range(1, 40)], Recipe()
    numbers = range(39)
    at_once = [*transform_texts(texts, recipe, document_ids=numbers)]
    assert at_once == [*transform_texts(iter(texts), recipe, document_ids=map(str, numbers))], (
        "an id is a number as it is written"
    )
    monkeypatch.setattr(notebook, "BLOCK_BYTES", 1000)
    left = iter(texts)
    documents = transform_texts(left, recipe, document_ids=np.arange(39))
    first = next(documents)
    assert next(left) == texts[17], "so many have 1,026 characters"
    assert first == at_once[0]
    left = iter(texts)
    assert [*transform_texts(left, recipe, document_ids=numbers)] == at_once


class Reader(HTMLParser):
    """The tags and attributes of a page, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def read_html(text: str, recipe: Recipe) -> Reader:
    reader = Reader()
    reader.feed(transform_text(text, recipe)._repr_html_())
    return reader


def test_a_notebook_shows_parts_and_nothing_in_them_is_markup() -> None:
    hostile = "<img src=x onerror=alert(1)></pre><script>$x$</script>&amp;\u202e\x1b[2J'\" " * 3
    fim = {"fim_rate": 1, "file_separator_token": "====", "fim_middle_token": "<b onclick=x>"}
    shown = read_html(f"{hostile}===={hostile * 1000}====ab", Recipe.model_validate({"fim": fim}))
    assert shown.tags == {"div", "b", "code", "pre"}
    assert shown.attributes == {"style"}
    for expected in ("prefix", "middle", "suffix", "<img src=x", "&amp;", "‹U+202E›", "␛[2J"):
        assert expected in shown.text
    assert "<b onclick=x>" in shown.text
    assert "too_short" in shown.text
    assert "characters …" in shown.text


def test_many_files_are_counted_not_shown() -> None:
    recipe = Recipe.model_validate({"fim": {"file_separator_token": "====", "fim_rate": 0}})
    assert "12 files not shown" in read_html("====".join(["a file"] * 20), recipe).text


@pytest.mark.parametrize("name", ["fim_assets", "fim_assets.preview.notebook"])
def test_the_docstrings_examples(name: str) -> None:
    outcome = doctest.testmod(importlib.import_module(name))
    assert outcome.attempted > 4
    assert outcome.failed == 0


def test_importing_the_package_loads_nothing_of_it() -> None:
    code = "import sys, fim_assets; assert not [m for m in sys.modules if 'fim_assets.' in m]"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)
    assert set(fim_assets.__all__) <= set(dir(fim_assets))
    for name in fim_assets.__all__:
        assert getattr(fim_assets, name).__module__.startswith("fim_assets.")
    with pytest.raises(AttributeError, match="has no attribute nothing"):
        _ = fim_assets.nothing


def test_types_are_known_to_whoever_imports_the_package() -> None:
    """The type checker reads this: an ignored error that is none would be one."""
    text: str = transform_text("x = 1", Recipe()).text
    wrong: int = transform_text("x = 1", Recipe()).text  # type: ignore[assignment]
    assert text == str(wrong)
    assert (files("fim_assets") / "py.typed").is_file()
