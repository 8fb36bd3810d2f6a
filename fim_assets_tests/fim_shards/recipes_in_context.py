"""Recipes whose documents have to fit a context, with tokenizers of several kinds."""

import atexit
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fim_assets.recipe import Recipe
from fim_assets.recipe.context import Context
from fim_assets_tests.token_arrays.letters import BOS, letters_recipe
from fim_assets_tests.tokenizer.small_tokenizers import CODE, byte_level_bpe, save, small_recipe

_PLAIN: dict[str, Any] = {"repository_tokens": []}

_LETTERS: dict[str, dict[str, dict[str, Any]]] = {
    "letters": {},
    "BOS": {"tokenizer": {"bos_token_id": BOS}},
    "paragraphs": {"tokenizer": {"segment_before_tokenization": True}},
    "v2, parts may be empty": {"fim": {"spm_format": "v2", "split": "uniform"}},
    "end token": {"fim": {"fim_end_token": "<end>"}, "tokenizer": {"bos_token_id": BOS}},
    "no middle token": {"fim": {"fim_middle_token": None, "psm_spm_split": 0.0}},
    "separator as text": {"fim": _PLAIN | {"file_separator_token": "# sep #"}},
    "no separator": {"fim": _PLAIN | {"file_separator_token": None}},
    "lines": {"fim": {"split": "lines"}},
    "a mixture": {"fim": {"split": {"syntax": 0.5, "lines": 0.5}, "split_fallback": "uniform"}},
    "lossy": {"tokens": {"allow_lossy": True}, "tokenizer": {"bos_token_id": BOS}},
}

_DOLMA2: dict[str, dict[str, Any]] = {
    "dolma2": {},
    "dolma2, paragraphs": {"tokenizer": {"segment_before_tokenization": True}},
}

NAMES = [*_LETTERS, *_DOLMA2, "small BPE"]


@cache
def recipe_named(name: str) -> Recipe:
    """One of `NAMES`, without a section `context`; every file is drawn."""
    if name in _LETTERS:
        return letters_recipe(**_LETTERS[name])
    if name in _DOLMA2:
        return Recipe.model_validate({"fim": {"fim_rate": 1}, "tokens": _DOLMA2[name]})
    temporary = TemporaryDirectory(prefix="small-bpe-")
    atexit.register(temporary.cleanup)
    folder = Path(temporary.name)
    return small_recipe(folder, save(folder, byte_level_bpe(CODE)), fim={"fim_rate": 1.0})


def in_context(recipe: Recipe, tokens: int, longer: Any = "unchanged") -> Recipe:
    """A recipe with a section `context`."""
    return recipe.model_copy(update={"context": Context(tokens=tokens, longer=longer)})
