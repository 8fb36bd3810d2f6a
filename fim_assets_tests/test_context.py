"""The section `context` from raw shards to arrays, with texts that nobody would want to divide."""

from collections import defaultdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest

from fim_assets.fim_shards.restore import restore_shard
from fim_assets.layouts.registry import LAYOUTS
from fim_assets.recipe import Recipe
from fim_assets.token_arrays.reader import TokenArray, TokenDocument
from fim_assets.tokenizer.load import load_tokenizer
from fim_assets_tests.corpora import TEXTS, json_lines, open_corpus, run_all, write_shard
from fim_assets_tests.token_arrays.letters import letters_recipe

HOSTILE = {
    "no line feed": "def f(a): return a; " * 200,
    "equal characters": "x" * 20_000,
    "line feeds": "\n" * 9000,
    "white space": " " * 999 + "\t" * 999 + "\u3000" * 99 + "\n" * 999,
    "combining marks": "e\u0301" * 500 + "a" + "\u0301" * 3000 + ("z" + "\u0301" * 60) * 20,
    "family emoji": "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466" * 200,
    "flags": "\U0001f1e9\U0001f1ea" * 200,
    "Windows": "\r\n".join(f"line {n}" for n in range(300)),
    "old Macs": "\r".join(f"line {n}" for n in range(300)),
    "other line ends": "\u2028\u2029\x0b\x0c\x85".join(f"line {n}" for n in range(200)),
    "only separators": "<|file_sep|>" * 200,
    "empty files between": "<|file_sep|>".join("x = 1\n" * n for n in (0, 90, 0, 0, 2, 0, 90, 0)),
    "many files": "<|file_sep|>".join(f"x = {n}\n" * (n % 5) for n in range(99)),
    "sentinels as text": "<|fim_prefix|><|fim_suffix|><|fim_middle|><|endoftext|>\n" * 60,
    "half a separator": ("x" * 70 + "<|file_sep|" + "<|file_sep|>" + "|>") * 9,
    "nulls": "\x00" * 900,
    "quotes": "\"\\\n'" * 300,
    "one long line": "a = 1\n" * 20 + "b" * 999 + "\n" + "a = 1\n" * 20,
    "the last line long": "a = 1\n" * 20 + "b" * 999,
}

LANGUAGES = ["Python", "C", None]


def rows_of(texts: list[str]) -> list[dict[str, Any]]:
    return [
        {"id": f"{n}", "text": text, "metadata": {"language": LANGUAGES[n % 3], "n": 0.1}}
        for n, text in enumerate(texts)
    ]


ROWS = rows_of([*HOSTILE.values(), *TEXTS, HOSTILE["no line feed"]])
"""Hostile and other texts, and one that stands there twice under another name."""


def finish(root: Path, recipe: Recipe, rows: list[Any]) -> dict[str, int]:
    """Take rows through all stages and checks; the counts of the FIM shard."""
    write_shard(root / "raw" / "a.jsonl", rows)
    outcome = run_all(open_corpus(root, recipe))["a"]
    assert outcome.failure is None, outcome.details
    receipt = orjson.loads((root / "fim_shards" / "a.json").read_bytes())
    counts: dict[str, int] = receipt["result"]["counts"]
    return counts


def arrays_of(root: Path, recipe: Recipe) -> list[TokenArray]:
    ending = LAYOUTS[recipe.tokens.layout].ending
    return [TokenArray(path) for path in sorted((root / "token_arrays").glob(f"a-*{ending}"))]


def assert_all_there(root: Path, recipe: Recipe, rows: list[dict[str, Any]]) -> None:
    """The raw shard comes back from the FIM shard, and its texts from the arrays."""
    shard, parquet = root / "fim_shards" / "a.jsonl.zst", root / "fim_shards" / "a.parquet"
    assert b"".join(line + b"\n" for line in restore_shard(shard, parquet)) == json_lines(rows)
    tokenizer = load_tokenizer(recipe)
    limit = recipe.context.tokens if recipe.context else 0
    found: dict[int, list[TokenDocument]] = defaultdict(list)
    for array in arrays_of(root, recipe):
        for document in array:
            found[document.line].append(document)
            assert len(document.ids) <= limit or set(document.orders) == {"none"}
    assert sorted(found) == list(range(1, len(rows) + 1))
    for line, pieces in found.items():
        pieces.sort(key=lambda its: its.piece)
        count = len(pieces)
        assert [(its.piece, its.pieces) for its in pieces] == [(n, count) for n in range(count)]
        if count == 1 and set(pieces[0].orders) == {"none"}:
            assert pieces[0].text(tokenizer) == rows[line - 1]["text"]


@pytest.mark.parametrize(
    ("layout", "mask", "bos"),
    [*product(LAYOUTS, ["middle", "text"], [None, 100264]), ("dolma", None, 100257)],
)
def test_hostile_texts_in_pieces(
    tmp_path: Path, layout: str, mask: str | None, bos: int | None
) -> None:
    tokenizer = {"bos_token_id": bos, "segment_before_tokenization": bos is not None}
    tokens = {"layout": layout, "label_mask": mask, "max_size": 9000, "tokenizer": tokenizer}
    recipe = Recipe.model_validate(
        {
            "fim": {"document_rate": 0.8, "fim_rate": {"default": 0.9, "C": 0.4}},
            "context": {"tokens": 128, "longer": "pieces"},
            "tokens": tokens,
        }
    )
    counts = finish(tmp_path, recipe, ROWS)
    assert_all_there(tmp_path, recipe, ROWS)
    assert sum(n for name, n in counts.items() if name.startswith("divided_documents:")) > 15
    assert "longer_than_context" not in counts
    if mask is not None:
        assert_mask(tmp_path, recipe)


def assert_mask(root: Path, recipe: Recipe) -> None:
    """The masks are what the parts of each document say."""
    layout, held_back = LAYOUTS[recipe.tokens.layout], 0
    for array in sorted((root / "token_arrays").glob(f"a-*{layout.ending}")):
        name = layout.mask_name(array.name)
        mask = np.fromfile(root / ("" if "/" in name else "token_arrays") / name, np.bool_)
        for its in TokenArray(array):
            expected: list[bool] = []
            for run in its.parts:
                # BOS goes with the first file.
                file = run.file if expected else 0
                hidden = file is not None and its.orders[file] != "none" and run.part != "middle"
                hidden &= recipe.tokens.label_mask == "middle"
                expected += [not hidden] * len(run.ids)
            goes_on = its.piece + 1 < its.pieces and its.orders[-1] == "none"
            held_back += goes_on
            expected[-1] = not goes_on
            assert mask[its.start : its.end].tolist() == expected
    assert held_back > 100


def test_hostile_texts_unchanged(tmp_path: Path) -> None:
    recipe = Recipe.model_validate(
        {"fim": {"fim_rate": 1, "spm_format": "v2"}, "context": {"tokens": 128}}
    )
    counts = finish(tmp_path, recipe, ROWS)
    assert_all_there(tmp_path, recipe, ROWS)
    longer = {name: n for name, n in counts.items() if name.startswith("longer_documents:")}
    # All, and the one that stands there twice, and the long one of `TEXTS`; but for the one of
    # separators alone, whose files are too short.
    assert sum(longer.values()) == len(HOSTILE) + 2 - 1
    assert counts["not_selected"] == 0


LETTERS: dict[str, dict[str, Any]] = {
    "paragraphs, v2": {
        "fim": {"spm_format": "v2", "split": "uniform", "fim_end_token": "<end>"},
        "tokenizer": {"segment_before_tokenization": True},
    },
    "separator as text": {"fim": {"file_separator_token": "# sep #", "repository_tokens": []}},
    "no separator": {"fim": {"file_separator_token": None, "repository_tokens": []}},
    "no middle token": {"fim": {"fim_middle_token": None, "psm_spm_split": 0.0}},
    "lossy": {"tokens": {"allow_lossy": True}},
    "lines": {"fim": {"split": "lines", "split_fallback": "uniform", "fim_rate": 0.6}},
    "in order": {"tokens": {"shuffle": False, "max_size": 200, "label_mask": "text"}},
}


@pytest.mark.parametrize("longer", ["pieces", "unchanged"])
@pytest.mark.parametrize("law", LETTERS)
def test_a_tokenizer_of_bytes(tmp_path: Path, law: str, longer: str) -> None:
    """As many ids as bytes, which merges across cuts make more or fewer."""
    fields = {**LETTERS[law], "context": {"tokens": 100, "longer": longer}}
    if longer == "unchanged":
        fields["tokens"] = fields.get("tokens", {}) | {"label_mask": None, "max_size": 1 << 20}
    recipe = letters_recipe(**fields)
    texts = [
        *("abc" * 99, "bc" * 200 + "ab" * 200, "\u0958\u212b e\u0301" * 60, "\n\n\nab" * 90),
        *("<repo>me/tools<sep>" + "abc\n" * 90, "<repo>" * 300, "<sep>" * 300, "abc" * 31),
        "abc # sep # ab" * 40,
    ]
    rows = rows_of(texts)
    finish(tmp_path, recipe, rows)
    shard, parquet = tmp_path / "fim_shards" / "a.jsonl.zst", tmp_path / "fim_shards" / "a.parquet"
    assert b"".join(line + b"\n" for line in restore_shard(shard, parquet)) == json_lines(rows)
    table = pl.read_parquet(tmp_path / "token_arrays" / "a.parquet")
    bounded = table if longer == "pieces" else table.filter(pl.col("order") != "none")
    assert max(bounded["tokens"].to_list()) <= 100


@pytest.mark.parametrize("longer", ["pieces", "unchanged"])
def test_a_line_of_ten_megabytes(tmp_path: Path, longer: str) -> None:
    """Ten thousand bytes of code as one line, a thousand times, among others."""
    text = "".join(f"def f{n}(a, b): return a * {n} + b;" for n in range(300)) * 1000
    rows = rows_of(["x = 1\n", text[: 10 << 20], "y = 2\n" * 9])
    recipe = Recipe.model_validate({"context": {"tokens": 8192, "longer": longer}})
    finish(tmp_path, recipe, rows)
    assert_all_there(tmp_path, recipe, rows)
    table = pl.read_parquet(tmp_path / "token_arrays" / "a.parquet").filter(pl.col("line") == 2)
    if longer == "pieces":
        assert min(table["tokens"].to_list()) > 7900
    else:
        assert table.height == 1
