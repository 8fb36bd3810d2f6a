"""Makes every `Corpus`: of a recipe, its tokenizer's hash and the settings."""

from collections.abc import Sequence

from fim_assets.corpus.corpus import Corpus
from fim_assets.recipe import Recipe
from fim_assets.settings import Settings
from fim_assets.stages import stages_of
from fim_assets.tokenizer.find import content_hash, find_tokenizer


def open_corpus(
    recipe: Recipe,
    settings: Settings,
    key_prefix: Sequence[str] = (),
    tokenizer_hash: str | None = None,
) -> Corpus:
    """Open the corpus of a recipe, with `key_prefix` as folders below the data root.

    By default the hash is that of the tokenizer's files, and a TokenizerError if there are none.
    Where no output is compared with the recipe, '' spares finding and reading them.
    """
    if tokenizer_hash is None:
        tokenizer_hash = content_hash(find_tokenizer(recipe.tokens.tokenizer))
    stages = stages_of(recipe)
    return Corpus(recipe, tokenizer_hash, settings.data_root, stages, tuple(key_prefix))
