"""Links from the page to the corpus's files: relative, so that they hold wherever both lie."""

from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote

from fim_assets.corpus_report.gather import Partition
from fim_assets.corpus_report.summary import Summary
from fim_assets.fim_shards.stage import FIM_SHARDS
from fim_assets.layouts.registry import LAYOUTS
from fim_assets.recipe import recipe_yaml
from fim_assets.token_arrays.stage import TOKEN_ARRAYS


class Link(NamedTuple):
    """Where a link leads, its text, and what is there."""

    href: str
    text: str
    about: str = ""


def corpus_links(summary: Summary) -> Iterator[Link]:
    """Files about the whole corpus, the recipe, which no file holds, and folders that are there."""
    recipe, arrays = summary.recipe, TOKEN_ARRAYS.name
    content = f"data:text/yaml;charset=utf-8,{quote(recipe_yaml(recipe))}"
    yield Link("summary.json", "summary.json", "all numbers of this page, and every array")
    yield Link("README.md", "README.md", "the corpus as a dataset card")
    yield Link(content, "recipe.yaml", "what differs from the default recipe")
    if LAYOUTS[recipe.tokens.layout].has_mix:
        yield Link(f"../{arrays}/mix.txt", "mix.txt", "the arrays as an OLMo-core mix")
    if summary.partitions.complete:
        yield Link(f"../{arrays}/", f"{arrays}/", "the arrays, with their indexes")
        yield Link(f"../{FIM_SHARDS.name}/", f"{FIM_SHARDS.name}/", "the documents as JSON lines")


def partition_links(row: Partition) -> Iterator[Link]:
    """A partition's FIM shard, its array, the first of several, and the receipt of its arrays."""
    arrays, number = TOKEN_ARRAYS.name, row.totals.arrays
    yield Link(_href(FIM_SHARDS.name, f"{row.key}{FIM_SHARDS.shard}"), "shard")
    if number:
        array = f"{row.key}{TOKEN_ARRAYS.data_ending(row.counts.recipe)}"
        yield Link(_href(arrays, array), "array" if number == 1 else f"{number:,} arrays")
    yield Link(_href(arrays, f"{row.key}.json"), "receipt")


def _href(asset: str, name: str) -> str:
    return f"../{asset}/{quote(name)}"
