"""Links from the page to the corpus's files: relative, so that they hold wherever both lie."""

from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote

from fim_assets.corpus_report.gather import Partition
from fim_assets.corpus_report.summary import Summary
from fim_assets.fim_shards.stage import FIM_SHARDS
from fim_assets.layouts.registry import LAYOUTS
from fim_assets.recipe import Recipe, recipe_yaml
from fim_assets.token_arrays.stage import TOKEN_ARRAYS
from fim_assets.wording import plural


class Link(NamedTuple):
    """Where a link leads, its text, and what is there."""

    href: str
    text: str
    about: str = ""


def corpus_links(summary: Summary) -> Iterator[Link]:
    """Files about the whole corpus."""
    yield Link("summary.json", "summary.json", "all numbers of this page, and every array")
    yield Link("README.md", "README.md", "the corpus as a data-set card")
    if LAYOUTS[summary.recipe.tokens.layout].has_mix:
        yield Link(f"../{TOKEN_ARRAYS.name}/mix.txt", "mix.txt", "the arrays as an OLMo-core mix")
    yield Link(
        f"../{TOKEN_ARRAYS.name}/", f"{TOKEN_ARRAYS.name}/", "the arrays, with their indexes"
    )
    yield Link(f"../{FIM_SHARDS.name}/", f"{FIM_SHARDS.name}/", "the documents as JSON lines")
    yield Link(recipe_link(summary.recipe), "recipe.yaml", "what differs from the default recipe")


def recipe_link(recipe: Recipe) -> str:
    """The recipe itself: no file holds it."""
    return f"data:text/yaml;charset=utf-8,{quote(recipe_yaml(recipe))}"


def partition_links(row: Partition) -> Iterator[Link]:
    """A partition's FIM shard, its first array, and the receipt of its arrays."""
    yield Link(_href(FIM_SHARDS.name, f"{row.key}{FIM_SHARDS.shard}"), "shard")
    receipt = row.receipts[TOKEN_ARRAYS.name]
    names = {output.name for output in receipt.result.outputs}
    array = f"{row.key}{TOKEN_ARRAYS.data_ending(row.counts.recipe)}"
    if array in names:
        number = row.totals.arrays
        yield Link(
            _href(TOKEN_ARRAYS.name, array), plural(number, "array") if number > 1 else "array"
        )
    yield Link(_href(TOKEN_ARRAYS.name, f"{row.key}.json"), "receipt")


def _href(asset: str, name: str) -> str:
    return f"../{asset}/{quote(name)}"
