"""What is said of trainers: whom it names, and its numbers."""

import pytest

from fim_assets.recipe import Recipe
from fim_assets.token_arrays.advice import trainer_advice
from fim_assets.token_arrays.effective_rate import EffectiveRates, Seen


def said(recipe: Recipe, rates: EffectiveRates | None = None) -> str:
    return "\n".join(trainer_advice(recipe, rates))


def in_context(longer: str = "unchanged", **tokens: object) -> Recipe:
    fields = {"context": {"tokens": 4096, "longer": longer}, "tokens": tokens}
    return Recipe.model_validate(fields)


@pytest.mark.parametrize(
    ("layout", "named"),
    [
        ("dolma", ["NumpyPackedFSLDataset", "long_doc_strategy"]),
        ("megatron", ["--split 100,0,0", "shuffles documents"]),
        ("datatrove", ["DatatroveFolderDataset"]),
    ],
)
def test_each_layout_names_its_trainer_and_the_length(layout: str, named: list[str]) -> None:
    text = said(in_context(layout=layout))
    assert all(name in text for name in [*named, "4096"])


def test_without_a_context_the_section_is_named() -> None:
    assert "context: {tokens: 8192, longer: pieces}" in said(Recipe())
    assert "context:" not in said(in_context())


def test_what_the_recipe_asks_for_decides_what_is_said() -> None:
    assert "long_doc_strategy" not in said(in_context("pieces"))
    assert "use_array_if_local" not in said(in_context(align=True))
    assert "use_array_if_local" in said(in_context(align="pad", label_mask="middle"))
    assert "NumpyFSLDataset or" in said(in_context(align=True))
    assert "multiple" in said(in_context(align=True))
    assert "multiple" not in said(in_context(align=True, layout="datatrove"))
    assert "NumpyVSLDataset" in said(in_context(label_mask="middle"))


def test_numbers_are_those_of_the_way_that_the_trainer_cuts() -> None:
    recipe = in_context()
    nothing = EffectiveRates.of({}, recipe)
    seen = Seen(whole_files=3, whole_tokens=30, lost_ends=1, discarded_tokens=25)
    ways = nothing.ways | {"fragments": {4096: seen}, "truncated": {4096: seen}}
    rates = nothing.model_copy(update={"files": 4, "tokens": 100, "ways": ways})
    text = said(recipe, rates)
    assert "(75.0% are whole)" in text  # 3 of 4 files
    assert "(25.0% of all tokens)" in text  # 25 of 100 tokens
    assert "(0.0% are whole)" in text  # in chunks none
    assert "%" not in said(recipe, nothing)


def test_packing_is_advised_without_what_it_discards_by_default() -> None:
    """Of the sample corpus it would be a third of all tokens."""
    for recipe in (Recipe(), in_context()):
        first, second, *_ = trainer_advice(recipe)
        assert "long_doc_strategy fragment" in first
        assert "long_doc_strategy truncate" in second
    assert "longer: pieces" in said(Recipe())
