from collections import Counter

import pytest

from fim_assets.fim_shards.unmatched import Occurrences, unmatched_languages, unmatched_names
from fim_assets.recipe import Recipe


@pytest.mark.parametrize(
    ("named", "present", "unmatched"),
    [
        ({"Markdown"}, {"markdown", "Python"}, [("Markdown", ["markdown"])]),
        ({"Markdown"}, {"Markdown", "markdown"}, []),
        ({"PHP"}, {"Php", "php", "C"}, [("PHP", ["Php", "php"])]),
        ({"Phyton"}, {"Python", "C"}, [("Phyton", ["Python"])]),
        ({"JavaScript", "TypeScript"}, {"JavaScript"}, [("TypeScript", [])]),
        ({"C"}, {"C++", ""}, [("C", [])]),
        ({"b", "a"}, set(), [("a", []), ("b", [])]),
        (set(), {"C"}, []),
    ],
)
def test_names_that_are_close_and_no_others(
    named: set[str], present: set[str], unmatched: list[tuple[str, list[str]]]
) -> None:
    assert unmatched_languages(named, present) == unmatched


BY_LANGUAGE = Recipe.model_validate({"fim": {"fim_rate": {"default": 0.5, "Markdown": 0, "C": 1}}})
SYNTAX = Recipe.model_validate({"fim": {"split": {"syntax": 0.5, "dolma": 0.5}}})

THE_STACK = {"schema": "the-stack"}
BY_MEANING, SYNTAX_BY_MEANING = (
    Recipe.model_validate({"raw": THE_STACK, "fim": recipe.fim.model_dump()})
    for recipe in (BY_LANGUAGE, SYNTAX)
)


@pytest.mark.parametrize(
    ("recipe", "counts", "in_all", "in_a_part"),
    [
        (BY_LANGUAGE, {"documents:C": 3, "documents:markdown": 1}, ["Markdown"], ["Markdown"]),
        (BY_LANGUAGE, {"distinct_eligible:C": 3, "distinct_eligible:ADA": 1}, ["Markdown"], []),
        (BY_LANGUAGE, {"documents:C": 3, "documents:Markdown": 1}, [], []),
        (BY_LANGUAGE, {"documents:": 3}, ["C, Markdown"], ["C, Markdown"]),
        (BY_LANGUAGE, {"rejected:not_json": 3}, [], []),
        (SYNTAX, {"fallback:no_grammar": 7, "split:dolma": 9}, ["syntax"], ["syntax"]),
        (SYNTAX, {"fallback:no_grammar": 7, "split:syntax": 1}, [], []),
        (SYNTAX, {"fallback:too_large": 7}, [], []),
        (Recipe(), {"documents:": 3, "fallback:no_grammar": 7}, [], []),
        (BY_MEANING, {"documents:c": 3, "documents:MD": 1}, [], []),
        (BY_MEANING, {"documents:c": 3, "documents:Ada": 1}, ["Markdown, which no document"], []),
        (BY_MEANING, {"documents:": 3}, ["raw.language_field, lang: "], ["C, Markdown"]),
        (SYNTAX_BY_MEANING, {"fallback:no_grammar": 7}, ["max_stars_repo_path"], ["lang"]),
    ],
)
def test_of_a_part_what_another_part_may_hold_is_not_told(
    recipe: Recipe, counts: dict[str, int], in_all: list[str], in_a_part: list[str]
) -> None:
    for complete, told in ((True, in_all), (False, in_a_part)):
        occurrences = Occurrences()
        occurrences.add(counts)
        warnings = unmatched_names(recipe, occurrences, complete=complete)
        assert len(warnings) == len(told)
        assert all(name in warning for name, warning in zip(told, warnings, strict=True))


def test_with_a_schema_a_name_that_is_matched_is_close_to_no_other() -> None:
    rates = {"default": 0.5, "Python": 1, "Pythn": 0}
    recipe = Recipe.model_validate({"raw": THE_STACK, "fim": {"fim_rate": rates}})
    [told] = unmatched_names(recipe, Occurrences(Counter({"python": 3, "C": 1})), complete=True)
    assert told.endswith("language Pythn, which no document names; they name python, C")


def test_names_are_shown_without_what_acts_and_not_all_of_many() -> None:
    languages = Counter({f"language {n}": 1 for n in range(8)} | {"\u202eevil\n": 9})
    recipe = Recipe.model_validate({"fim": {"fim_rate": {"default": 0.5, "\x1bevil\n": 0}}})
    [warning] = unmatched_names(recipe, Occurrences(languages), complete=True)
    assert warning.isprintable()
    [many] = unmatched_names(BY_LANGUAGE, Occurrences(languages + Counter({"C": 1})), complete=True)
    assert many.endswith(" and 5 more")
