"""Small tokenizers, trained or written by hand in the test."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import Fim
from fim_assets.recipe.tokens import Tokenizer as TokenizerRecipe
from fim_assets.recipe.tokens import Tokens

NAMES = ["<eos>", "<pad>", "<pre>", "<mid>", "<suf>", "<sep>", "<repo>", "<end>"]

CODE = ["def add(a, b):\n    return a + b\n", "for i in range(10): print(i, 'é', \"日本\")"]


def byte_level_bpe(
    texts: Sequence[str],
    *,
    split: str | None = None,
    nfc: bool = False,
    size: int = 400,
    special: bool = True,
) -> str:
    """A byte-level BPE's tokenizer.json; `NAMES` are its added tokens.

    Without a split pattern it splits as GPT-2 does, and `NAMES` have the ids 0 to 7; with one they
    follow the vocabulary, as Qwen's do.
    """
    tokenizer = Tokenizer(models.BPE())
    if split is None:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(split), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    tokenizer.decoder = decoders.ByteLevel()
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=NAMES if split is None and special else [],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if split is not None or not special:
        tokenizer.add_tokens([AddedToken(n, special=special, normalized=False) for n in NAMES])
    return tokenizer.to_str()


def sentencepiece_like(*, prepend: bool, metaspace: bool = False) -> str:
    """A BPE with byte_fallback, written by hand; see `SENTENCEPIECE` for its ids."""
    tokenizer = Tokenizer(
        models.BPE(
            vocab=SENTENCEPIECE,
            merges=[("a", "b"), ("▁", "ab"), ("c", "d")],
            byte_fallback=True,
            unk_token="<unk>",
            fuse_unk=True,
        )
    )
    if metaspace:
        scheme = "always" if prepend else "never"
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    else:
        steps: list[Any] = [normalizers.Replace(" ", "▁")]
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), *steps] if prepend else steps
        )
    tokenizer.add_tokens([AddedToken(name, special=True, normalized=False) for name in NAMES])
    return tokenizer.to_str()


SENTENCEPIECE = {
    "<unk>": 0,
    **{f"<0x{byte:02X}>": byte + 1 for byte in range(256)},
    **{piece: 257 + n for n, piece in enumerate(["▁", *"abcd", "ab", "▁ab", "cd"])},
}
"""`<unk>` 0, bytes 1 to 256, ▁ 257, a to d 258 to 261, ab 262, ▁ab 263, cd 264."""


def save(folder: Path, content: str) -> dict[str, int]:
    """Write a tokenizer's folder; ids by added token."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(content, "utf-8")
    config = '{"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<eos>"}'
    (folder / "tokenizer_config.json").write_text(config)
    return {token["content"]: token["id"] for token in json.loads(content)["added_tokens"]}


def small_recipe(
    folder: Path,
    ids: dict[str, int],
    tokens: Mapping[str, object] | None = None,
    fim: Mapping[str, object] | None = None,
    **tokenizer: object,
) -> Recipe:
    """A recipe with a small tokenizer's ids."""
    settings = {
        "name_or_path": str(folder),
        "eos_token_id": ids["<eos>"],
        "pad_token_id": ids["<pad>"],
    }
    sentinels = {
        "file_separator_token": "<sep>",
        "fim_prefix_token": "<pre>",
        "fim_middle_token": "<mid>",
        "fim_suffix_token": "<suf>",
    }
    return Recipe(
        fim=Fim.model_validate(sentinels | dict(fim or {})),
        tokens=Tokens.model_validate(
            {
                "tokenizer": TokenizerRecipe.model_validate(settings | tokenizer),
                "dtype": "uint16",
            }
            | dict(tokens or {})
        ),
    )
