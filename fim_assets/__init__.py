r"""Reproducible, lossless fill-in-the-middle data as partitioned Dagster assets.

The names of `__all__` are for notebooks and scripts; each is loaded when it is first used.

>>> from fim_assets import Recipe, transform_text
>>> recipe = Recipe.model_validate({"fim": {"fim_rate": 1, "psm_spm_split": 1}})
>>> document = transform_text("def add(a, b):\n    return a + b\n", recipe)
>>> document.text
'<|fim_prefix|>def add<|fim_suffix|>  return a + b\n<|fim_middle|>(a, b):\n  '
>>> document.restore()
'def add(a, b):\n    return a + b\n'
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fim_assets.component import FimCorpus
    from fim_assets.fim_shards.restore import restore_shard
    from fim_assets.preview.notebook import (
        TransformedText,
        transform_pieces,
        transform_text,
        transform_texts,
    )
    from fim_assets.recipe import Recipe, load_recipe
    from fim_assets.recipe.errors import RecipeError
    from fim_assets.token_arrays.reader import TokenArray
    from fim_assets.tokenizer.load import load_tokenizer

__all__ = [
    "FimCorpus",
    "Recipe",
    "RecipeError",
    "TokenArray",
    "TransformedText",
    "load_recipe",
    "load_tokenizer",
    "restore_shard",
    "transform_pieces",
    "transform_text",
    "transform_texts",
]

_HOMES = {
    "FimCorpus": "component",
    "Recipe": "recipe",
    "RecipeError": "recipe",
    "TokenArray": "token_arrays.reader",
    "TransformedText": "preview.notebook",
    "load_recipe": "recipe",
    "load_tokenizer": "tokenizer.load",
    "restore_shard": "fim_shards.restore",
    "transform_pieces": "preview.notebook",
    "transform_text": "preview.notebook",
    "transform_texts": "preview.notebook",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
