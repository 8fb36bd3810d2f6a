from collections.abc import Callable
from dataclasses import replace
from math import exp
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import polars as pl
import pytest
from scipy.stats import binom

from fim_assets.corpus.receipts import Receipt
from fim_assets.corpus.stage import CheckOutcome, Finished
from fim_assets.cuts.base import Cuts, cut_by_length
from fim_assets.cuts.dolma import dolma_cuts
from fim_assets.cuts.registry import CUTS
from fim_assets.draws import Ints, UInts
from fim_assets.fim_shards.checks import rates_within_bounds
from fim_assets.fim_shards.rates import DISTINCT, rates, rates_by_language
from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import Fim, LanguageRates, SplitWeights
from fim_assets.run.partition import Outcome
from fim_assets_tests.corpora import (
    CHECKS_OF,
    TOLERANT,
    documents,
    open_corpus,
    partition_files,
    run_all,
    write_shard,
)
from fim_assets_tests.token_arrays.edits import Partition

RECIPE = Recipe(raw=TOLERANT, fim=Fim(fim_rate=1.0, psm_spm_split=1.0))


@pytest.fixture
def finished(tmp_path: Path) -> Partition:
    rows = documents(60)
    write_shard(tmp_path / "raw" / "a.jsonl", [*rows[:30], b"refused", *rows[30:]])
    outcome = run_all(open_corpus(tmp_path, RECIPE), ["raw_shards", "fim_shards"])["a"]
    assert outcome.failure is None
    return Partition(tmp_path, RECIPE)


@pytest.mark.parametrize("name", CHECKS_OF["fim_shards"])
def test_checks_pass_alone_on_what_lies_there(finished: Partition, name: str) -> None:
    check = finished.check(name)
    assert check.passed
    assert check.numbers


def change_character(lines: list[bytes]) -> list[bytes]:
    return [*lines[:7], lines[7].replace(b"code", b"c0de").replace(b"# ", b"@ "), *lines[8:]]


def change_language(lines: list[bytes]) -> list[bytes]:
    return [lines[0].replace(b"Python", b"Pithon"), *lines[1:]]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (change_character, "line 8: another text comes back"),
        (change_language, "line 1: bytes outside the text differ"),
        (lambda lines: lines[:-1], "the parquet has more documents"),
        (lambda lines: [*lines, lines[0]], "the parquet has fewer documents"),
        (lambda lines: [lines[8], *lines[1:8], lines[0], *lines[9:]], ""),
    ],
)
def test_lossless_notices(
    finished: Partition, edit: Callable[[list[bytes]], list[bytes]], message: str
) -> None:
    finished.edit_lines(edit)
    check = finished.check("lossless")
    assert not check.passed
    assert message in check.description


def test_lossless_notices_a_document_lost_in_both_files(finished: Partition) -> None:
    finished.edit_lines(lambda lines: lines[:-1])
    finished.edit_table(
        "fim_shards", lambda table: table.filter(pl.col("line") < table["line"].max())
    )
    check = finished.check("lossless")
    assert not check.passed
    assert "line 61 is not in the FIM shard" in check.description


def test_failed_check_takes_the_receipt_away(finished: Partition) -> None:
    finished.edit_lines(change_character)
    finished.check("lossless")
    assert not (finished.root / "fim_shards" / "a.json").exists()


def outcome_of(root: Path, recipe: Recipe, checks: list[str]) -> Outcome:
    return run_all(open_corpus(root, recipe), ["raw_shards", "fim_shards"], checks)["a"]


def test_rates_outside_their_bounds_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Draws that always select would be a rate of 1 where 0.5 was asked for."""
    write_shard(tmp_path / "raw" / "a.jsonl", documents(100))
    monkeypatch.setattr(
        "fim_assets.fim_shards.decisions.uniforms", lambda keys, _files, _draw: np.zeros(len(keys))
    )
    outcome = outcome_of(tmp_path, Recipe(), ["rates_within_bounds"])
    assert outcome.failure is not None
    assert "check rates_within_bounds failed: outside the bounds: fim_rate: " in outcome.failure
    assert "at a probability of 0.5" in outcome.failure
    assert not (tmp_path / "fim_shards" / "a.json").exists()


def test_rates_count_exact_duplicates_once(tmp_path: Path) -> None:
    """A thousand copies of one document all fare alike: no evidence against the rate."""
    write_shard(tmp_path / "raw" / "a.jsonl", [documents(1)[0]] * 1000)
    outcome = outcome_of(tmp_path, Recipe(), ["rates_within_bounds"])
    assert outcome.failure is None
    receipt = outcome.stages[-1].receipt
    assert receipt is not None
    assert receipt.result.counts["copies"] == 999
    assert receipt.result.counts["distinct_eligible"] == 1


def test_a_language_that_acts_on_terminals_is_made_visible(tmp_path: Path) -> None:
    """One outside its bounds, which a failed run's message names, and one too rare for bounds."""
    counts = counts_of({"\x1b[2J\u202eC": (60, 30, 30), "\x1b]0;D\x07": (3, 0, 0)})
    check = check_rates(tmp_path, counts, Recipe())
    assert check.description.isprintable()
    assert "outside the bounds: fim_rate: 60 of 63" in check.description
    assert "␛[2J‹U+202E›C: fim_rate: 60 of 60" in check.description
    assert "for any bound: ␛]0;D␇" in check.description


def test_one_language_outside_its_bounds_is_noticed(tmp_path: Path) -> None:
    """60 files of C all rearranged, and 540 of Python at 0.45, are 0.5 over all of them."""
    counts = counts_of({"Python": (540, 122, 121), "C": (60, 30, 30), "": (3, 0, 0)})
    check = check_rates(tmp_path, counts, Recipe())
    assert not check.passed
    assert "C: fim_rate: 60 of 60 at a probability of 0.5" in check.description
    assert "Python" not in check.description
    assert "left out, with too few files for any bound: (none named)" in check.description
    assert (check.numbers["languages_tested"], check.numbers["languages_left_out"]) == (2, 1)


def test_one_languages_orders_outside_their_bounds_are_noticed(tmp_path: Path) -> None:
    """All of C in PSM order and all of Rust in SPM order are half of each over both."""
    counts = counts_of({"C": (200, 100, 0), "Rust": (200, 0, 100)})
    check = check_rates(tmp_path, counts, Recipe())
    assert not check.passed
    assert "C: psm_share: 100 of 100 at a probability of 0.5" in check.description
    assert "Rust: psm_share: 0 of 100 at a probability of 0.5" in check.description


def test_all_tests_together_refuse_a_right_partition_once_in_a_thousand_million() -> None:
    counts = counts_of({"Python": (4000, 1000, 1000), "C": (900, 225, 225)})
    by_language = rates_by_language(counts, Recipe()).values()
    tested = [*rates(counts, Recipe()).values(), *(r for its in by_language for r in its.values())]
    assert len(tested) == 6
    refused = sum(
        binom.cdf(rate.low - 1, rate.trials, rate.asked)
        + binom.sf(rate.high, rate.trials, rate.asked)
        for rate in tested
    )
    assert 1e-10 < refused <= 1e-9


def test_rates_by_language_are_compared_with_their_own_probabilities(tmp_path: Path) -> None:
    counts = counts_of({"Python": (100, 50, 50), "C": (100, 0, 0)})
    rate = LanguageRates.model_validate({"default": 0.0, "Python": 1.0})
    check = check_rates(tmp_path, counts, Recipe(fim=Fim(fim_rate=rate)))
    assert check.passed
    assert check.numbers["fim_rate_asked"] == 0.5
    assert not check_rates(tmp_path, counts, Recipe()).passed


def test_gated_documents_are_counted_as_clusters(tmp_path: Path) -> None:
    """Half of the documents are candidates: of 100 files each, none or about half fares."""
    files = "<|file_sep|>".join(f"file {n} of code" for n in range(100))
    rows = [{"id": str(n), "text": files} for n in range(200)]
    write_shard(tmp_path / "raw" / "a.jsonl", rows)
    recipe = Recipe(fim=Fim(document_rate=0.5))
    receipt = run_all(open_corpus(tmp_path, recipe), ["fim_shards"])["a"].stages[0].receipt
    assert receipt is not None
    rate = rates(receipt.result.counts, recipe)["document_rate"]
    assert rate.trials == 200
    assert 60 <= rate.hits <= 140
    assert receipt.result.counts["distinct_eligible"] == rate.hits * 100
    other = Recipe(fim=Fim(document_rate=0.99))
    assert not check_rates(tmp_path, receipt.result.counts, other).passed


def test_shares_of_methods_are_tested(tmp_path: Path) -> None:
    drawn = {"distinct_drawn:syntax": 450, "distinct_drawn:uniform": 50}
    counts = counts_of({"": (1000, 250, 250)}) | drawn
    for weight, passed in ((0.9, True), (0.5, False)):
        weights = SplitWeights(syntax=weight, uniform=1 - weight)
        check = check_rates(tmp_path, counts, Recipe(fim=Fim(split=weights)))
        assert check.passed is passed
        assert check.numbers["syntax_share_hits"] == 450


def counts_of(languages: dict[str, tuple[int, int, int]]) -> dict[str, int]:
    """Counts of a receipt: files that could be rearranged, in PSM and in SPM order, by language."""
    counts = {}
    for place, name in enumerate(DISTINCT):
        counts[name] = sum(numbers[place] for numbers in languages.values())
        counts |= {f"{name}:{language}": its[place] for language, its in languages.items()}
    return counts


def receipt_with(root: Path, counts: dict[str, int]) -> Receipt:
    write_shard(root / "raw" / "a.jsonl", documents(1))
    receipt = run_all(open_corpus(root), ["fim_shards"])["a"].stages[0].receipt
    assert receipt is not None
    return receipt.model_copy(
        update={"result": receipt.result.model_copy(update={"counts": counts})}
    )


def check_rates(folder: Path, counts: dict[str, int], recipe: Recipe) -> CheckOutcome:
    files = partition_files(folder / "fim_shards", "a")
    receipt = receipt_with(folder, counts)
    return rates_within_bounds(Finished(recipe, "", files, receipt, Mock(), Mock(), None))


def cut_everything(root: Path, recipe: Recipe, count: int = 3000) -> Outcome:
    rows = [{"id": str(n), "text": "0123456789" * (1 + n % 40)} for n in range(count)]
    write_shard(root / "raw" / "a.jsonl", rows)
    return run_all(open_corpus(root, recipe), ["fim_shards"])["a"]


@pytest.mark.parametrize("split", ["dolma", "uniform", SplitWeights(dolma=0.5, lines=0.5)])
def test_cuts_that_follow_their_distribution_pass(
    tmp_path: Path, split: str | SplitWeights
) -> None:
    outcome = cut_everything(tmp_path, Recipe(fim=Fim(fim_rate=1.0, split=split)))
    assert outcome.failure is None
    check = outcome.stages[0].checks[-1]
    assert check.name == "split_law"
    assert any(name.endswith("first_cut_distance") for name in check.numbers)
    # Two cuts a method, each within the bound of Dvoretzky, Kiefer and Wolfowitz.
    numbers = {name: n for name, n in check.numbers.items() if isinstance(n, int | float)}
    refused = sum(
        4 * exp(-2 * numbers[f"{method}_files"] * numbers[f"{method}_most_accepted"] ** 2)
        for method in CUTS.rank_functions()
        if f"{method}_files" in numbers
    )
    assert 1e-10 < refused < 1.001e-9


def replace_dolma(
    monkeypatch: pytest.MonkeyPatch, cuts: Callable[[UInts, Ints, Ints], Cuts]
) -> None:
    monkeypatch.setitem(CUTS, "dolma", replace(CUTS["dolma"], cut=cut_by_length(cuts), fields=()))


def test_cuts_of_another_distribution_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cuts in the first half of a file alone."""
    replace_dolma(monkeypatch, lambda keys, files, lengths: dolma_cuts(keys, files, lengths // 2))
    outcome = cut_everything(tmp_path, Recipe(fim=Fim(fim_rate=1.0)))
    assert outcome.failure is not None
    assert "check split_law failed: dolma, first cut: 0." in outcome.failure
    assert not (tmp_path / "fim_shards" / "a.json").exists()


def test_a_cut_that_its_method_cannot_give_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_dolma(monkeypatch, lambda _keys, _files, lengths: Cuts(lengths - 2, lengths - 1))
    outcome = cut_everything(tmp_path, Recipe(fim=Fim(fim_rate=1.0)), 10)
    assert outcome.failure is not None
    assert "line 1, file 0: a prefix of 8 and a middle of 1 in 10 characters" in outcome.failure
    assert "are no cut by dolma" in outcome.failure


def record(root: Path, recipe: Recipe, edit: Callable[[pl.DataFrame], pl.DataFrame]) -> str:
    """The verdict on a record that was edited, as if another recipe had made it."""
    outcome = cut_everything(root, recipe, 50)
    assert outcome.failure is None
    Partition(root, recipe).edit_table("fim_shards", edit)
    task = run_all(open_corpus(root, recipe), [], ["split_law"])["a"]
    assert task.failure is not None
    return task.failure


@pytest.mark.parametrize(
    ("split", "reason"), [("uniform", None), ("lines", None), ("dolma", "one_line")]
)
def test_another_method_than_the_recipes_is_noticed(
    tmp_path: Path, split: str, reason: str | None
) -> None:
    message = record(
        tmp_path,
        Recipe(fim=Fim(fim_rate=1.0)),
        lambda table: table.with_columns(
            split=pl.lit(split), reason=pl.lit(reason, dtype=pl.String)
        ),
    )
    assert "a.parquet: line 1, file 0 is cut by a method that the recipe does not name" in message
    assert f"split {split}, reason {reason}" in message


def test_another_fallback_than_the_recipes_is_noticed(tmp_path: Path) -> None:
    message = record(
        tmp_path,
        Recipe(fim=Fim(fim_rate=1.0, split="lines", split_fallback="uniform")),
        lambda table: table.with_columns(split=pl.lit("dolma")),
    )
    assert "has fallen back on another method than split_fallback" in message


def test_files_wrongly_unchanged_as_too_short_are_noticed(tmp_path: Path) -> None:
    message = record(
        tmp_path,
        Recipe(fim=Fim(fim_rate=0.0)),
        lambda table: table.with_columns(reason=pl.lit("too_short")),
    )
    assert "is unchanged as too_short, or should be: 10 characters" in message


def test_copies_in_two_languages_count_once_for_each(tmp_path: Path) -> None:
    """A document of A that is never rearranged, and its copies as B, which always are."""
    rows = [
        {"text": f"some code {n}", "metadata": {"language": language}}
        for n in range(300)
        for language in ("A", "B")
    ]
    write_shard(tmp_path / "raw" / "a.jsonl", rows)
    rate = LanguageRates.model_validate({"default": 0.0, "B": 1.0})
    outcome = run_all(open_corpus(tmp_path, Recipe(fim=Fim(fim_rate=rate))), ["fim_shards"])["a"]
    assert outcome.failure is None
    receipt = outcome.stages[0].receipt
    assert receipt is not None
    counts = receipt.result.counts
    assert (counts["distinct_eligible:A"], counts["distinct_eligible:B"]) == (300, 300)
    assert counts["distinct_psm"] + counts["distinct_spm"] == 300
    assert outcome.stages[0].checks[-1].numbers["dolma_files"] == 300


def test_languages_that_the_recipe_names_and_nobody_has_are_said(tmp_path: Path) -> None:
    counts = counts_of({"Python": (9, 2, 2)})
    rate = LanguageRates.model_validate({"default": 0.5, "python": 0.9})
    check = check_rates(tmp_path, counts, Recipe(fim=Fim(fim_rate=rate)))
    assert check.passed
    assert "no file of python, though fim_rate names it" in check.description


def test_a_partition_without_cuts_has_nothing_to_compare(tmp_path: Path) -> None:
    outcome = cut_everything(tmp_path, Recipe(fim=Fim(fim_rate=0.0)), 10)
    assert outcome.failure is None
    assert outcome.stages[0].checks[-1].description == "no file was cut."
