"""Data whose spellings of a language differ from the recipe's, taken through the stages."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fim_assets.corpus.receipts import Receipt
from fim_assets.fim_shards.stage import FIM_SHARDS
from fim_assets.io.parquet import read_metadata
from fim_assets.preview.notebook import transform_text
from fim_assets.recipe import Recipe, parse_recipe
from fim_assets.recipe.schemas import SCHEMAS
from fim_assets.statistics.counts import counted
from fim_assets_tests.corpora import open_corpus, run_all, write_shard

SOURCE = """#!/bin/sh
for file in "$@"; do
  if [ -f "$file" ]; then
    wc -l "$file" | awk '{ print $1 + %d }'
  fi
done
"""

RATES = "{default: 0.5, C++: 1, Markdown: 0, Shell: 1, Rust: 0, Phyton: 0}"

SPELLINGS = [
    "C++",
    "cpp",
    "Cpp",
    "MD",
    "markdown",
    "shell-script",
    "zsh",
    "Python",
    "Klingon",
    None,
]


def rows(schema: str, spellings: Sequence[str | None] = SPELLINGS) -> list[dict[str, Any]]:
    """Documents of a data set, in one language after another."""
    fields = SCHEMAS[schema]
    return [
        {
            fields.text_field: SOURCE % number,
            fields.id_field: f"document {number}",
            fields.language_field: spellings[number % len(spellings)],
        }
        for number in range(600)
    ]


def run(
    root: Path, recipe: Recipe, documents: list[dict[str, Any]]
) -> tuple[pl.DataFrame, Receipt]:
    """The record of one shard and its receipt."""
    write_shard(root / "raw" / "a.jsonl.zst", documents)
    outcome = run_all(open_corpus(root, recipe), ["raw_shards", "fim_shards"])["a"]
    assert outcome.failure is None, "the checks compare every language's rate with what was asked"
    receipt = outcome.stages[-1].receipt
    assert receipt is not None
    return pl.read_parquet(root / "fim_shards" / "a.parquet"), receipt


def recipe(raw: str, split: str = "{syntax: 0.5, uniform: 0.5}") -> Recipe:
    return parse_recipe(f"raw: {raw}\nfim: {{fim_rate: {RATES}, split: {split}}}", "r")


def rearranged(frame: pl.DataFrame) -> dict[str | None, float]:
    shares = frame.group_by("language").agg((pl.col("order") != "none").mean())
    return dict(shares.iter_rows())


@pytest.mark.parametrize("schema", ["the-stack", "stack-edu", "github-code-loaded"])
def test_a_rate_is_for_every_spelling_of_its_language(tmp_path: Path, schema: str) -> None:
    by_name = recipe(f"{{schema: {schema}}}")
    frame, receipt = run(tmp_path, by_name, rows(schema))
    shares = rearranged(frame)
    assert {*shares} == {*SPELLINGS}, "the data's own spellings are recorded"
    assert {shares[name] for name in ("C++", "cpp", "Cpp", "shell-script", "zsh")} == {1.0}
    assert {shares[name] for name in ("MD", "markdown")} == {0.0}
    assert all(0.2 < shares[name] < 0.8 for name in ("Python", "Klingon", None))

    eligible = counted(receipt.result.counts, "distinct_eligible")
    assert eligible == dict.fromkeys(sorted(name or "" for name in SPELLINGS), 60)
    facts = FIM_SHARDS.facts(by_name, receipt)
    asked = {row["language"]: row["asked"] for row in facts.tables["rates_by_language"].rows}
    assert [asked[name] for name in ("cpp", "MD", "zsh", "Klingon")] == [1.0, 0.0, 1.0, 0.5]
    [warning] = [row["warning"] for row in facts.tables["warnings"].rows]
    assert "Phyton" in str(warning)
    assert "Python" in str(warning)


def test_the_check_names_the_languages_that_no_spelling_is_of(tmp_path: Path) -> None:
    write_shard(tmp_path / "raw" / "a.jsonl", rows("the-stack"))
    outcome = run_all(open_corpus(tmp_path, recipe("{schema: the-stack}")), ["fim_shards"])["a"]
    [check] = [c for c in outcome.stages[-1].checks if c.name == "rates_within_bounds"]
    assert check.passed
    assert check.description.endswith("no file of Phyton, Rust, though fim_rate names it.")


def test_a_notebook_does_to_a_text_what_the_stage_does(tmp_path: Path) -> None:
    by_name = recipe("{schema: the-stack}", "syntax")
    frame, _ = run(tmp_path, by_name, rows("the-stack"))
    for number, row in enumerate(frame.head(40).iter_rows(named=True)):
        document = transform_text(
            SOURCE % number,
            by_name,
            partition_key="a",
            document_id=row["id"],
            language=row["language"],
        )
        [file] = document.files
        assert (file.order, file.split, file.reason) == (row["order"], row["split"], row["reason"])


def test_a_record_names_the_fields_and_not_their_schema(tmp_path: Path) -> None:
    """It must say where the text is even to a version whose schema names other fields."""
    run(tmp_path, recipe("{schema: the-stack}"), rows("the-stack"))
    raw = json.loads(read_metadata(tmp_path / "fim_shards" / "a.parquet")["fim_assets.raw"])
    assert raw == SCHEMAS["the-stack"]._asdict()


def test_syntax_finds_its_grammar_by_any_name(tmp_path: Path) -> None:
    fields = "{text_field: content, id_field: hexsha, language_field: lang}"
    grammars = {}
    for name, raw in (("exact", fields), ("by_name", "{schema: the-stack}")):
        frame, _ = run(tmp_path / name, recipe(raw, "syntax"), rows("the-stack"))
        cut = frame.filter(pl.col("order") != "none")
        grammars[name] = Counter(cut.filter(pl.col("reason") == "no_grammar")["language"].to_list())
        assert "C++" not in grammars[name]
    assert {"zsh", "shell-script", "Klingon", None} <= grammars["exact"].keys()
    assert grammars["by_name"].keys() == {"Klingon", None}


def test_another_spelling_changes_no_draw_and_no_cut(tmp_path: Path) -> None:
    frames = []
    for number, spellings in enumerate((["C++", "Shell", "JSX"], ["cpp", "bash", "JSX"])):
        documents = rows("the-stack", spellings)
        frame, receipt = run(tmp_path / str(number), recipe("{schema: the-stack}"), documents)
        assert receipt.result.counts["distinct_eligible"] == 600
        frames.append(frame)
    assert frames[0].drop("language").equals(frames[1].drop("language"))
    assert not frames[0].equals(frames[1])


def test_without_a_schema_names_are_compared_as_they_are_written(tmp_path: Path) -> None:
    raw = "{text_field: content, id_field: hexsha, language_field: lang}"
    frame, receipt = run(tmp_path, recipe(raw), rows("the-stack"))
    shares = rearranged(frame)
    assert shares["C++"] == 1.0
    assert all(0.2 < shares[name] < 0.8 for name in SPELLINGS if name != "C++")
    tables = FIM_SHARDS.facts(recipe(raw), receipt).tables
    markdown, phyton = (str(row["warning"]) for row in tables["warnings"].rows)
    assert "language Markdown, " in markdown
    assert "close: markdown" in markdown
    assert "language Phyton, " in phyton
