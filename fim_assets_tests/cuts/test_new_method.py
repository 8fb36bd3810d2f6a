"""A cut method that this module defines, taken the whole way: it shows what adding one takes."""

import json
from html import unescape
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from fim_assets.cli.main import main
from fim_assets.corpus.receipts import Receipt, read_receipt
from fim_assets.cuts.base import Attempt, Cut, distinct_pairs
from fim_assets.cuts.files import Files
from fim_assets.cuts.registry import CUTS
from fim_assets.definitions import build_definitions
from fim_assets.draws import Ints
from fim_assets.fim_shards.rates import rates
from fim_assets.fim_shards.record import FimShardReader, record_metadata
from fim_assets.recipe import Recipe, load_recipe, parse_recipe, recipe_yaml
from fim_assets.recipe.errors import RecipeError
from fim_assets.recipe.fim import Fim
from fim_assets.recipe.raw import Raw
from fim_assets.settings import Settings
from fim_assets.stages import ASSETS
from fim_assets_tests.corpora import fingerprint, open_corpus, run_all, write_shard
from fim_assets_tests.defs.test_assets import assets_of, made_now, materialized, verdicts


def cut_at_spaces(files: Files, rows: Ints) -> Attempt:
    answers: dict[int, tuple[int, int] | str] = {}
    for row in rows.tolist():
        starts = [n + 1 for n, character in enumerate(files.texts[row]) if character == " "]
        if len(starts) < 2:
            answers[row] = "few_words"
            continue
        bound = np.array([len(starts)])
        [first], [second] = distinct_pairs(files.keys[[row]], files.indices[[row]], bound)
        answers[row] = starts[first], starts[second]
    return Attempt.of(answers)


WORDS = Cut(
    name="words",
    text="two distinct words, each behind a space",
    cut=cut_at_spaces,
    min_chars=3,
    reasons={"few_words": "has fewer than two spaces"},
)

SPLITS = {"alone": "words", "drawn": "{words: 0.6, uniform: 0.4}"}

DOCUMENTS = [{"id": f"{n}", "text": f"one{' more' * (n % 4)} {n}"} for n in range(600)]
"""A quarter of them have one space."""


@pytest.fixture(autouse=True)
def words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CUTS, "words", WORDS)


def recipe_of(split: str, **fim: Any) -> Recipe:
    recipe = parse_recipe(f"fim: {{fim_rate: 1, split: {split}, split_fallback: uniform}}", "r")
    return recipe.model_copy(update={"fim": recipe.fim.model_copy(update=fim)})


def materialize(
    root: Path, recipe: Recipe, instance: dg.DagsterInstance, *, skip: bool = False
) -> dg.ExecuteInProcessResult:
    """Materialize a partition and the report in this process, which alone knows the method."""
    ends = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
    return dg.materialize(
        assets_of(build_definitions(recipe, Settings(root, root, "r.yaml", workers=1))),
        instance=instance,
        tags=dict.fromkeys(ends, "a"),
        run_config={"ops": {"raw_shards_to_token_arrays": {"config": {"skip_complete": skip}}}},
        raise_on_error=False,
    )


def receipt_of(root: Path, recipe: Recipe) -> Receipt:
    receipt = read_receipt(open_corpus(root, recipe).files("fim_shards", "a"))
    assert receipt is not None
    return receipt


@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS)
def test_a_new_method_goes_the_whole_way(
    split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shard(tmp_path / "raw" / "a.jsonl", DOCUMENTS)
    recipe, instance = recipe_of(split), dg.DagsterInstance.ephemeral()
    assert materialize(tmp_path, recipe, instance).success

    # The record: every file is cut at spaces, or by the fallback for the method's own reason.
    table = pl.read_parquet(tmp_path / "fim_shards" / "a.parquet")
    fallen = table.filter(pl.col("reason") == "few_words")
    by_words = table.filter(pl.col("split") == "words")
    assert set(fallen["split"]) == {"uniform"}
    assert by_words["reason"].null_count() == len(by_words) > 200
    texts = {document["id"]: document["text"] for document in DOCUMENTS}
    for name, first, middle in by_words.select("id", "prefix_chars", "middle_chars").iter_rows():
        assert texts[name][first - 1] == texts[name][first + middle - 1] == " "
    assert all(texts[name].count(" ") < 2 for name in fallen["id"])

    # Statistics and checks: what fell back counts for the method that was drawn.
    receipt = receipt_of(tmp_path, recipe)
    counts = receipt.result.counts
    drawn = len(by_words) + len(fallen)
    assert counts["distinct_drawn:words"] == drawn
    assert counts["fallback:few_words"] == len(fallen) > 50
    assert {"rates_within_bounds", "split_law"} <= set(receipt.made.checks)
    if "{" in split:
        share = rates(counts, recipe)["words_share"]
        assert (share.hits, share.trials, share.within) == (drawn, len(table), True)
        assert 0.5 < drawn / len(table) < 0.7
    [split_law] = [v.metadata for v in verdicts(instance) if v.check_name == "split_law"]
    ways = ("uniform", "their_content")
    assert [split_law[f"looked_at_files_cut_by_{way}"].value for way in ways] == [
        len(table) - len(by_words),
        len(by_words),
    ]
    assert materialized(instance, "fim_shards")["a"]["fallback_few_words"] == len(fallen)

    # The report.
    report = tmp_path / "corpus_report"
    for page in ("report.html", "README.md"):
        shown = unescape((report / page).read_text())
        for name in ("words", WORDS.text, "few_words", WORDS.reasons["few_words"]):
            assert name in shown, (page, name)
    summary = json.loads((report / "summary.json").read_text())
    assert summary["splits"]["words"] == len(by_words)
    assert summary["fallbacks"] == {"few_words": len(fallen)}
    assert ("words_share" in summary["rates"]) is ("{" in split)

    # Commands, by a recipe from a file.
    path = tmp_path / "r.yaml"
    path.write_text(recipe_yaml(recipe))
    assert load_recipe(path) == recipe
    monkeypatch.setenv("FIM_DATA_ROOT", str(tmp_path))
    monkeypatch.setenv("FIM_RECIPE", str(path))
    monkeypatch.setenv("FIM_WORKERS", "1")
    line = int(by_words["line"][0])
    preview = CliRunner().invoke(main, ["preview", "a", "--line", str(line), "--no-tokens"])
    assert "cut by words" in preview.stdout
    line = int(fallen["line"][0])
    preview = CliRunner().invoke(main, ["preview", "a", "--line", str(line), "--no-tokens"])
    assert "cut by uniform as the fallback: few_words" in preview.stdout
    for command in ("verify", "doctor"):
        assert CliRunner().invoke(main, [command]).exit_code == 0

    # A second run has nothing to do, unless another method is asked for.
    assert materialize(tmp_path, recipe, instance, skip=True).success
    assert made_now(instance) == set()
    other = recipe_of("lines")
    assert materialize(tmp_path, other, instance, skip=True).success
    assert made_now(instance) == {(asset, "a") for asset in ASSETS[1:]}


@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS)
def test_its_recipes_have_fingerprints_of_their_own(split: str) -> None:
    recipe = recipe_of(split)
    assert recipe.fim.identity(Raw())["fim"]["split_fallback"] == "uniform"
    fingerprints = {
        fingerprint(other, "fim_shards", "t")
        for other in (
            recipe,
            recipe_of(split, split_fallback="dolma"),
            recipe_of("lines"),
            recipe_of("{words: 0.5, uniform: 0.5}"),
        )
    }
    assert len(fingerprints) == 4
    unused = recipe_of(split, syntax_max_bytes=5)
    assert fingerprint(unused, "fim_shards", "t") == fingerprint(recipe, "fim_shards", "t")


def test_what_it_names_decides_the_fingerprints_of_its_recipes_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipes = recipe_of("words"), recipe_of("lines")
    before = [fingerprint(recipe, "fim_shards", "t") for recipe in recipes]
    described = {"identity": lambda: {"words": 3}, "raw_fields": ("path_field",)}
    monkeypatch.setitem(CUTS, "words", Cut(**{**vars(WORDS), **described}))
    after = [fingerprint(recipe, "fim_shards", "t") for recipe in recipes]
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, True]
    parts = recipes[0].fim.identity(Raw(path_field="p"))
    assert (parts["words"], parts["raw"]) == (3, {"path_field": "p"})


def test_a_record_names_it_only_where_it_is_used() -> None:
    """The four methods of the record's format stand there with zeros, as ever."""

    def recorded(split: str) -> str:
        metadata = record_metadata(recipe_of(split), 1)["fim_assets.fim"]
        assert Fim.model_validate_json(metadata) == recipe_of(split).fim
        return json.dumps(json.loads(metadata)["split"])

    zeros = '{"dolma": 0.25, "uniform": 0.75, "lines": 0.0, "syntax": 0.0'
    assert recorded("{uniform: 0.75, dolma: 0.25}") == zeros + "}"
    assert recorded("{words: 0, uniform: 0.75, dolma: 0.25}") == zeros + "}"
    used = '{"dolma": 0.0, "uniform": 0.4, "lines": 0.0, "syntax": 0.0, "words": 0.6}'
    assert recorded(SPLITS["drawn"]) == used
    assert recipe_yaml(recipe_of(SPLITS["drawn"])).count("words: 0.6") == 1


@pytest.mark.parametrize(
    ("fim", "message"),
    [
        ("split: word", "fim.split = \"word\": Input should be 'dolma', 'uniform', 'lines', "),
        ("split: word", "'syntax' or 'words'"),
        ("split: {word: 1}", "fim.split.word: unknown field; did you mean words? allowed: dolma, "),
        ("split: {words: 2}", "fim.split.words = 2: a probability is a share from 0 to 1"),
        ("split: {words: 0.5}", "fim.split: weights must add up to 1, these to 0.5"),
        ("split: words, max_middle: {lines: 3}", "fim: max_middle: words cannot keep a middle so"),
        ("split_fallback: words", "fim.split_fallback = \"words\": Input should be 'dolma' or 'un"),
    ],
)
def test_mistakes_are_told_with_its_name(fim: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(f"fim: {{{fim}}}", "r")
    assert message in str(caught.value)


@pytest.mark.parametrize("reason", ["one_line", "no_grammar", "too_short", "not_selected"])
def test_a_reason_belongs_to_one_method(reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        CUTS["other"] = Cut("other", "", cut_at_spaces, reasons={reason: ""})
    assert "other" not in CUTS
    with pytest.raises(ValueError, match="registered as"):
        CUTS["other"] = WORDS


@pytest.mark.parametrize("reasons", [{}, {0: "one_line"}, {0: "unheard_of"}, {0: "few_words"}])
def test_a_method_that_does_not_answer_for_each_file_is_refused(
    reasons: dict[int, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two files; else they would be cut at 0, for no reason."""

    def careless(_files: Files, _rows: Ints) -> Attempt:
        return Attempt.of(reasons)

    monkeypatch.setitem(CUTS, "words", Cut(**{**vars(WORDS), "cut": careless}))
    write_shard(tmp_path / "raw" / "a.jsonl", DOCUMENTS[:2])
    outcome = run_all(open_corpus(tmp_path, recipe_of("words")), ["fim_shards"])["a"]
    assert "words must cut each file, or give one of its reasons" in (outcome.failure or "")


def test_a_shard_of_it_is_read_without_knowing_more(tmp_path: Path) -> None:
    write_shard(tmp_path / "raw" / "a.jsonl", DOCUMENTS[:5])
    corpus = open_corpus(tmp_path, recipe_of(SPLITS["drawn"]))
    assert run_all(corpus, ["fim_shards"])["a"].failure is None
    place = corpus.files("fim_shards", "a")
    with FimShardReader(place.file(".jsonl.zst"), place.file(".parquet")) as reader:
        assert reader.fim == recipe_of(SPLITS["drawn"]).fim
