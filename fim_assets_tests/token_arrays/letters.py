"""A tokenizer whose ids are worked out by hand: bytes are their own ids, and `abc` is `ab` `c`."""

import atexit
import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fim_assets.recipe import Recipe
from fim_assets.tokenizer.byte_level import BYTE_OF

AB, BC = 256, 257
EOS, BOS, PRE, MID, SUF, SEP, REPO, END, PAD = range(300, 309)
NAMES = ["<eos>", "<bos>", "<pre>", "<mid>", "<suf>", "<sep>", "<repo>", "<end>", "<pad>"]
UNUSED = 299
"""The ids from 258 to 299 are not used."""

SIZE = 309


def tokenizer_json(*, nfc: bool = False) -> dict[str, Any]:
    """The content of `tokenizer.json`."""
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": False,
    }
    vocab = dict(BYTE_OF)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": EOS + place,
                "content": name,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for place, name in enumerate(NAMES)
        ],
        "normalizer": {"type": "NFC"} if nfc else None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocab | {"ab": AB, "bc": BC} | {n: EOS + at for at, n in enumerate(NAMES)},
            "merges": [["a", "b"], ["b", "c"]],
        },
    }


@cache
def folder(*, nfc: bool = False) -> Path:
    """The tokenizer's folder, one for a process, so that it is loaded once."""
    temporary = TemporaryDirectory(prefix="letters-")
    atexit.register(temporary.cleanup)
    made = Path(temporary.name)
    (made / "tokenizer.json").write_text(json.dumps(tokenizer_json(nfc=nfc)), "utf-8")
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<eos>"}
    (made / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    return made


def letters_recipe(
    fim: dict[str, Any] | None = None,
    tokens: dict[str, Any] | None = None,
    tokenizer: dict[str, Any] | None = None,
    context: dict[str, Any] | None = None,
    repositories: dict[str, Any] | None = None,
) -> Recipe:
    """A recipe for it: every file rearranged, with repositories, without BOS."""
    lossy = (tokens or {}).get("allow_lossy", False)
    names = {
        "fim_rate": 1.0,
        "fim_prefix_token": "<pre>",
        "fim_middle_token": "<mid>",
        "fim_suffix_token": "<suf>",
        "file_separator_token": "<sep>",
        "repository_tokens": ["<repo>"],
    }
    ids = {"name_or_path": str(folder(nfc=lossy)), "eos_token_id": EOS, "pad_token_id": PAD}
    return Recipe.model_validate(
        {
            "fim": names | (fim or {}),
            "context": context,
            "repositories": repositories,
            "tokens": {"dtype": "uint16", "tokenizer": ids | (tokenizer or {})} | (tokens or {}),
        }
    )
