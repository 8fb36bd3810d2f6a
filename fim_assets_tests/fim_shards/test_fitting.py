"""Which documents are too long for a context: those of more ids than the token stage may write."""

from collections import Counter
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fim_assets.cuts.base import LONGER
from fim_assets.recipe import Recipe
from fim_assets_tests.corpora import documents, open_corpus, run_all, write_shard
from fim_assets_tests.fim_shards.both_stages import Made, make, texts_of
from fim_assets_tests.fim_shards.recipes_in_context import NAMES, in_context, recipe_named
from fim_assets_tests.token_arrays.letters import letters_recipe

LEAST = 64
"""The shortest context."""


def made_at(texts: list[str], recipe: Recipe, rate: float) -> list[Made]:
    fim = recipe.fim.model_copy(update={"fim_rate": rate})
    return make(texts, recipe.model_copy(update={"fim": fim}))


def longest(texts: list[str], recipe: Recipe) -> list[int]:
    """The most ids that documents may have, as the token stage writes them.

    A document of one file is as long as it is rearranged, if it can be; of several files each may
    be drawn or not.
    """
    always, never = made_at(texts, recipe, 1.0), made_at(texts, recipe, 0.0)
    sizes = []
    for drawn, came in zip(always, never, strict=True):
        pairs = zip(drawn.of_files, came.of_files, strict=True)
        files = [max(pair) for pair in pairs] if len(drawn.of_files) > 1 else drawn.of_files
        assert drawn.ids - sum(drawn.of_files) == came.ids - sum(came.of_files)
        sizes.append(drawn.ids - sum(drawn.of_files) + sum(files))
    return sizes


def is_longer(made: Made) -> bool:
    """Whether a document was left unchanged for its length, all of its files alike."""
    reasons = {reason for reason in made.reasons if reason not in {"repository", "too_short"}}
    assert LONGER not in reasons or reasons == {LONGER}
    return LONGER in reasons


def can_be_drawn(made: Made) -> bool:
    return any(reason not in {"repository", "too_short"} for reason in made.reasons)


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
@settings(max_examples=12)
def test_what_stays_unchanged_would_be_longer_and_nothing_else_changes(
    name: str, data: st.DataObject
) -> None:
    """Both sides of the bound, at three rates, against arrays without the section."""
    recipe = recipe_named(name)
    more = [recipe.fim.file_separator_token or "\n", *recipe.fim.repository_tokens]
    texts = data.draw(st.lists(texts_of(*more), min_size=1, max_size=6))
    sizes = longest(texts, recipe)
    size = data.draw(st.sampled_from(sizes))
    for tokens in (max(size, LEAST), max(size - 1, LEAST)):
        for rate in (1.0, 0.5, 0.1):
            plain = made_at(texts, recipe, rate)
            made = made_at(texts, in_context(recipe, tokens), rate)
            for its, before, ids in zip(made, plain, sizes, strict=True):
                assert is_longer(its) == (ids > tokens and can_be_drawn(before))
                if is_longer(its):
                    assert {row["order"] for row in its.rows} == {"none"}
                else:
                    assert its == before
                    assert its.ids <= tokens or {row["order"] for row in its.rows} == {"none"}


def test_both_sides_of_the_bound_by_hand() -> None:
    """Sixty letters, three sentinels and EOS: 64 ids."""
    texts = ["x" * 60, "x" * 61, "\u00e9" * 30, "\u00e9" * 30 + "x"]
    made = make(texts, letters_recipe(context={"tokens": 64}))
    assert [its.reasons for its in made] == [[None], [LONGER], [None], [LONGER]]
    assert [its.ids for its in made] == [64, 62, 64, 62]
    (with_bos,) = make(
        ["x" * 60], letters_recipe(context={"tokens": 64}, tokenizer={"bos_token_id": 301})
    )
    assert (with_bos.reasons, with_bos.ids) == ([LONGER], 62)


def test_files_and_separators_by_hand() -> None:
    """Two files of 28 letters, with 3 sentinels each, a separator and EOS: 64 ids."""
    recipe = letters_recipe(context={"tokens": 64})
    texts = ["x" * 28 + "<sep>" + "x" * 28, "x" * 28 + "<sep>" + "x" * 29]
    made = make([*texts, "x" * 60 + "<sep>", "x" * 59 + "<sep>"], recipe)
    assert [its.reasons for its in made] == [
        [None, None],
        [LONGER, LONGER],
        [LONGER, "too_short"],
        [None, "too_short"],
    ]
    assert [its.ids for its in made] == [64, 59, 62, 64]


def test_texts_that_normalizing_makes_longer_are_measured() -> None:
    """U+0958 has three bytes, and six in NFC: bytes bound no ids."""
    texts = ["\u0958" * 10, "\u0958" * 11]
    recipe = letters_recipe(tokens={"allow_lossy": True}, context={"tokens": 64})
    assert [(its.reasons, its.ids) for its in make(texts, recipe)] == [([None], 64), ([LONGER], 67)]


def test_what_it_costs_is_counted_by_language(tmp_path: Path) -> None:
    """One document of three files, of which one is too short, and two of one."""
    rows = [
        {"text": "x" * 61, "metadata": {"language": "C"}},
        {"text": "x" * 40 + "<sep>ab<sep>" + "x" * 40, "metadata": {"language": "C"}},
        {"text": "y" * 99},
        *({"text": f"{n} short", "metadata": {"language": "Python"}} for n in range(20)),
    ]
    write_shard(tmp_path / "raw" / "a.jsonl", rows)
    recipe = letters_recipe(context={"tokens": 64})
    assert run_all(open_corpus(tmp_path, recipe))["a"].failure is None
    counts = orjson.loads((tmp_path / "fim_shards" / "a.json").read_bytes())["result"]["counts"]
    found = {name: n for name, n in counts.items() if "longer" in name or "pieces" in name}
    assert found == {
        "longer_than_context": 4,
        "longer_files:C": 3,
        "longer_files:": 1,
        "longer_documents:C": 2,
        "longer_documents:": 1,
    }
    assert (counts["distinct_eligible"], counts["distinct_eligible:C"]) == (20, 0)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_rates_are_tested_over_the_files_that_fit(tmp_path: Path, rate: float) -> None:
    """Two thirds of the documents are too long: over all files the rate would be out of bounds."""
    rows = [
        {"id": f"{n}", "text": row["text"] + "#" * (0 if n % 3 else 5) + "abc z\n" * (n % 3 * 40)}
        for n, row in enumerate(documents(1500))
    ]
    write_shard(tmp_path / "raw" / "a.jsonl", rows)
    recipe = Recipe.model_validate({"fim": {"fim_rate": rate}, "context": {"tokens": 100}})
    outcome = run_all(open_corpus(tmp_path, recipe))["a"]
    assert outcome.failure is None, outcome.details
    result = orjson.loads((tmp_path / "fim_shards" / "a.json").read_bytes())["result"]
    counts = Counter(result["counts"])
    rearranged = counts["psm"] + counts["spm"]
    assert rearranged + counts["not_selected"] == counts["distinct_eligible"]
    assert counts[LONGER] > counts["distinct_eligible"]
