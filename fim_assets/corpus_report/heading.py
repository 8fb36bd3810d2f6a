"""What stands over the report: which corpus it is of, by which recipe, when, and its verdict."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from pydantic import BaseModel

from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus_report.summary import Summary
from fim_assets.corpus_report.verdict import corpus_verdict, faults
from fim_assets.recipe import Recipe, built_in_recipes, load_recipe
from fim_assets.wording import shortened, shown_name

SECTIONS = ("raw", "repositories", "fim", "tokens", "tokenizer")
"""Fields of a recipe that hold fields."""

_FIELDS_NAMED = 3


class Heading(NamedTuple):
    """The corpus's name, what made it, when the report was written, and the verdict.

    `wrong` is whether something is: a partition incomplete, or what `faults` finds.
    """

    name: str
    recipe: str
    tokenizer: str
    written: str
    verdict: str
    wrong: bool


def make_heading(corpus: Corpus, summary: Summary, written: datetime) -> Heading:
    """The heading of a report that is written now."""
    # The key prefix tells corpora of one data root apart; of the root only its own name shows.
    name = "/".join(corpus.prefix) or corpus.data_root.name or str(corpus.data_root)
    complete = 0 < summary.partitions.complete == summary.partitions.total
    return Heading(
        name=shown_name(name),
        recipe=recipe_name(corpus.recipe),
        tokenizer=corpus.recipe.tokens.tokenizer.name_or_path,
        written=f"{written:%Y-%m-%d %H:%M} UTC",
        verdict=corpus_verdict(summary),
        wrong=not complete or any(faults(summary)),
    )


def recipe_name(recipe: Recipe) -> str:
    """The built-in recipe that it is, or is nearest to, and the fields in which it differs from it.

    Where its shards are, which changes no byte, does not count.
    """
    others = {name: [*_differing(recipe, load_recipe(name), "")] for name in built_in_recipes()}
    nearest = min(others, key=lambda name: len(others[name]))
    if not others[nearest]:
        return nearest
    return f"{nearest} with other {shortened(others[nearest], _FIELDS_NAMED)}"


def _differing(recipe: BaseModel, other: BaseModel, section: str) -> Iterator[str]:
    for field in type(recipe).model_fields:
        value, its, name = getattr(recipe, field), getattr(other, field), f"{section}{field}"
        if field in SECTIONS and isinstance(value, BaseModel) and type(value) is type(its):
            yield from _differing(value, its, f"{name}.")
        elif value != its and name != "raw.documents":
            yield name
