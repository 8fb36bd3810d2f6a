"""The one place that makes a `Corpus`: of a recipe, its tokenizer's hash and the settings.

It stands above `tokenizer`, which finds and hashes the files that decide bytes too.
"""

from collections.abc import Sequence

from fim_assets.corpus.corpus import Corpus
from fim_assets.recipe import Recipe
from fim_assets.settings import Settings
from fim_assets.stages import STAGES


def open_corpus(
    recipe: Recipe,
    settings: Settings,
    key_prefix: Sequence[str] = (),
    tokenizer_hash: str | None = None,
) -> Corpus:
    """Open the corpus of a recipe.

    Args:
        recipe: What decides the bytes.
        settings: Where outputs are.
        key_prefix: Folders between the data root and the assets' folders.
        tokenizer_hash: The content hash of the recipe's tokenizer; by default that of its files.
            Where no output is compared with the recipe, '' spares finding and reading them.

    Raises:
        TokenizerError: If the hash is not given, and there is no such tokenizer.
    """
    if tokenizer_hash is None:
        # Loads the tokenizers' library, for which listing the shards should not wait.
        from fim_assets.tokenizer.find import content_hash, find_tokenizer

        tokenizer_hash = content_hash(find_tokenizer(recipe.tokens.tokenizer))
    return Corpus(recipe, tokenizer_hash, settings.data_root, STAGES, tuple(key_prefix))
