"""The four examples of CONTRIBUTING.md, each taken from raw shards to the report."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus.receipts import Result, read_receipt
from fim_assets.corpus_report.write import write_report
from fim_assets.cuts.registry import CUTS
from fim_assets.fim_shards.checks import CHECKS
from fim_assets.fim_shards.stage import FimShards
from fim_assets.layouts.registry import LAYOUTS
from fim_assets.recipe import Recipe
from fim_assets.stages import stages_of
from fim_assets.token_arrays.reader import TokenArray
from fim_assets_tests.corpora import documents, open_corpus, run_all, write_shard
from fim_assets_tests.end_to_end.commands import REPOSITORY

CODE = dict(
    re.findall(
        r"^## Add an? ([a-z ]+)\n.*?^```python\n(.*?)^```$",
        (REPOSITORY / "CONTRIBUTING.md").read_text("utf-8"),
        re.DOTALL | re.MULTILINE,
    )
)


def example(title: str) -> dict[str, Any]:
    """The names that an example defines."""
    names: dict[str, Any] = {}
    exec(compile(CODE[title], f"CONTRIBUTING.md, {title}", "exec"), names)
    return names


@pytest.fixture(autouse=True)
def _registered_for_a_test_alone() -> Iterator[None]:
    cuts, layouts = set(CUTS), set(LAYOUTS)
    yield
    for name in CUTS.keys() - cuts:
        del CUTS[name]
    for name in LAYOUTS.keys() - layouts:
        del LAYOUTS[name]


def made(corpus: Corpus) -> dict[str, Result]:
    """Results by stage of the corpus's one partition, which is then in the report."""
    outcome = run_all(corpus, corpus.names, [c.name for s in corpus.stages for c in s.checks])["a"]
    assert outcome.failure is None, outcome.details
    assert write_report(corpus, ["a"]).partitions.complete == 1
    receipts = {name: read_receipt(corpus.files(name, "a")) for name in corpus.names}
    return {name: receipt.result for name, receipt in receipts.items() if receipt is not None}


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    texts = [f"def f{n}():\n    return {n}\n" + "\n" * (n % 3) + "# end\n" * n for n in range(60)]
    rows = [{"id": f"f{n}", "text": text} for n, text in enumerate(texts)]
    return write_shard(tmp_path / "raw" / "a.jsonl", [*rows, *documents(10)])


def test_each_section_has_an_example() -> None:
    assert list(CODE) == ["cut method", "array layout", "check", "stage"]


@pytest.mark.usefixtures("shard")
def test_a_cut_method(tmp_path: Path) -> None:
    CUTS["blank_line"] = example("cut method")["CUT"]
    recipe = Recipe.model_validate({"fim": {"split": "blank_line", "fim_rate": 1}})
    counts = made(open_corpus(tmp_path, recipe))["fim_shards"].counts
    assert counts["split:blank_line"] > 0
    assert counts["split:dolma"] == counts["fallback:no_blank_line"] > 0
    assert "at a blank line" in (tmp_path / "corpus_report" / "report.html").read_text("utf-8")


@pytest.mark.usefixtures("shard")
def test_an_array_layout(tmp_path: Path) -> None:
    LAYOUTS["counted"] = example("array layout")["LAYOUT"]
    recipe = Recipe.model_validate({"tokens": {"layout": "counted", "label_mask": "middle"}})
    result = made(open_corpus(tmp_path, recipe))["token_arrays"]
    array = tmp_path / "token_arrays" / "a-00000.ids"
    assert np.fromfile(array, "<u8", 1)[0] == result.tokens
    ends = np.fromfile(array.with_suffix(".ends"), "<u8")
    assert [document.end for document in TokenArray(array)] == ends.tolist()


@pytest.mark.usefixtures("shard")
def test_a_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = example("check")["CHECK"]
    monkeypatch.setattr(FimShards, "checks", (*CHECKS, check))
    made(open_corpus(tmp_path))
    empty_middles = Recipe.model_validate({"fim": {"split": "uniform", "fim_rate": 1}})
    write_shard(tmp_path / "raw" / "a.jsonl", [{"text": f"{n:02}"} for n in range(100)])
    outcome = run_all(open_corpus(tmp_path, empty_middles), checks=[check.name])["a"]
    assert "middles_hold_text" in (outcome.failure or "")


@pytest.mark.usefixtures("shard")
def test_a_stage(tmp_path: Path) -> None:
    first, *others = stages_of(Recipe())
    stages = (first, example("stage")["LongDocuments"](), *others)
    results = made(replace(open_corpus(tmp_path), stages=stages))
    dropped = results["long_documents"].counts["dropped:short"]
    assert 0 < dropped < 70
    assert {name: result.documents for name, result in results.items()} == {
        "raw_shards": 70 - results["raw_shards"].rejected,
        **dict.fromkeys(("long_documents", "fim_shards", "token_arrays"), 70 - dropped),
    }
    rows = pl.read_parquet(tmp_path / "fim_shards" / "a.parquet")
    of_documents = rows.group_by("line").agg(pl.col("chars").sum())
    assert of_documents.filter(pl.col("chars") < 90).is_empty()
