"""What a tokenizer's ids stand for, and which texts come back from them.

Two ways of writing bytes in a vocabulary are known: `byte_level`, a printable character for each
byte; and SentencePiece's, `▁` for a space and `<0xNN>` for a byte that no piece holds: " é" may be
one token `▁é`, or the three `▁`, `<0xC3>` and `<0xA9>`. `content` is a `tokenizer.json` everywhere.
"""

import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import chain, product
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from tokenizers import Tokenizer

from fim_assets.tokenizer.byte_level import BYTE_OF, to_bytes

PUTS_SPACE = "it puts a space before text"

_SPACE = "▁"
_CANONICAL = {"NFC", "NFD", "NFKC", "NFKD"}
"""Unicode's normal forms, which leave ASCII text unchanged."""

_KEEPING = {
    *("ByteLevel", "Digits", "FixedLength", "Metaspace"),
    *("Punctuation", "Split", "UnicodeScripts"),
}
"""Pre-tokenizers that only cut, unless an option has them remove what they match."""

_NEVER_IN_UTF8 = {0xC0, 0xC1, *range(0xF5, 0x100)}


def flattened(part: dict[str, Any] | None, steps: str) -> list[dict[str, Any]]:
    """The steps of a normalizer or pre-tokenizer, those of sequences one by one.

    `steps` is where a sequence holds its steps: `normalizers` or `pretokenizers`.
    """
    if part is None:
        return []
    if part["type"] == "Sequence":
        return [step for inner in part[steps] for step in flattened(inner, steps)]
    return [part]


def why_unusable(content: Mapping[str, Any]) -> str | None:
    """Why a tokenizer cannot encode every text, or not twice alike; None if it can."""
    model = content["model"]
    if model.get("dropout"):
        return f"it draws merges at random (dropout {model['dropout']})"
    if model["type"] not in {"BPE", "Unigram"}:
        return f"a {model['type']} model does not tell from its tokens where words touched"
    for field in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(field):
            return f"its tokens carry the mark {model[field]} ({field})"
    if not _is_byte_level(content):
        if not model.get("byte_fallback"):
            return "a character outside of its vocabulary is lost (no byte_fallback)"
        if model["type"] == "Unigram" or model.get("ignore_merges"):
            return "it reads <0x41> in text as the byte 0x41"
    missing = set(range(256)) - _NEVER_IN_UTF8 - _ids_of_bytes(content).keys()
    return f"it has no token for the byte 0x{min(missing):02X}" if missing else None


def byte_ids(content: Mapping[str, Any]) -> set[int]:
    """The ids of single bytes, which any text may give."""
    return set(_ids_of_bytes(content).values())


def _ids_of_bytes(content: Mapping[str, Any]) -> dict[int, int]:
    numbers = vocabulary_ids(content)
    tokens = BYTE_OF if _is_byte_level(content) else _FALLBACK
    return {byte: numbers[token] for token, byte in tokens.items() if token in numbers}


def why_lossy(content: Mapping[str, Any]) -> list[str]:
    """Why texts may not come back from their ids exactly; empty if they do."""
    normalizers = flattened(content.get("normalizer"), "normalizers")
    reasons = [f"it normalizes text ({step['type']})" for step in normalizers]
    if any(step["type"] == "Prepend" for step in normalizers):
        reasons.append(PUTS_SPACE)
    if not _is_byte_level(content):
        reasons.append(f"it writes a space as {_SPACE}, as which it reads a {_SPACE} in text too")
    for step in flattened(content.get("pre_tokenizer"), "pretokenizers"):
        if step["type"] not in _KEEPING or _removes(step):
            reasons.append(f"its pre-tokenizer may leave characters out ({step['type']})")
        if step.get("add_prefix_space") or step.get("prepend_scheme", "never") != "never":
            reasons.append(PUTS_SPACE)
    return reasons


def _removes(step: Mapping[str, Any]) -> bool:
    """Whether a pre-tokenizer that cuts leaves characters out."""
    if step.get("behavior") != "Removed":
        return False
    # With `invert`, what the pattern does not match is removed: nothing, if it matches every
    # character, as GPT-4's does.
    return not step.get("invert") or not _matches_all(step)


def _matches_all(step: Mapping[str, Any]) -> bool:
    """Whether a pattern matches characters of every kind: alone, in runs, and in pairs."""
    empty = {"type": "BPE", "vocab": {}, "merges": []}
    cutter = Tokenizer.from_str(json.dumps({"pre_tokenizer": dict(step), "model": empty}))
    kinds = _characters_of_every_kind()
    texts = (*kinds, *(kind * 3 for kind in kinds), "".join(chain(*product(kinds, kinds))))
    return all(
        "".join(piece for piece, _ in cutter.pre_tokenizer.pre_tokenize_str(text)) == text
        for text in texts
    )


@cache
def _characters_of_every_kind() -> list[str]:
    """The first and the last character of each of Unicode's categories, surrogates aside."""
    of_kind: dict[str, list[str]] = {}
    for character in map(chr, range(sys.maxunicode + 1)):
        kind = of_kind.setdefault(unicodedata.category(character), [character, character])
        kind[1] = character
    return [character for kind, pair in of_kind.items() if kind != "Cs" for character in pair]


def vocabulary_ids(content: Mapping[str, Any]) -> dict[str, int]:
    """The model's tokens and their ids, added tokens aside."""
    vocab = content["model"]["vocab"]
    if isinstance(vocab, dict):
        return vocab
    return {piece: number for number, (piece, _) in enumerate(vocab)}


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer's ids and their bytes.

    Attributes:
        token_bytes: Each id's bytes, None where an id is not used, up to the highest id.
        byte_level: Whether the model is given bytes as printable characters.
        lossy: Why texts may not come back exactly, empty if they do.
        ascii_comes_back: Whether at least every ASCII text does.
    """

    token_bytes: tuple[bytes | None, ...]
    byte_level: bool
    lossy: tuple[str, ...]
    ascii_comes_back: bool

    def decode(self, ids: npt.NDArray[np.integer]) -> bytes:
        """The bytes of ids, control tokens by their names; a ValueError for an unused id."""
        if len(ids) and not 0 <= ids.min() <= ids.max() < len(self.token_bytes):
            raise ValueError(f"an id is outside of the vocabulary of {len(self.token_bytes):,}")
        taken = self._column.take(pa.array(ids))
        if taken.null_count:
            unused = ids[taken.is_null().to_numpy(zero_copy_only=False)][0]
            raise ValueError(f"the vocabulary does not use the id {unused}")
        content = taken.buffers()[2]
        return b"" if content is None else content.to_pybytes()

    @cached_property
    def used(self) -> npt.NDArray[np.bool_]:
        """Which ids are used, shape (vocabulary,)."""
        return np.array([content is not None for content in self.token_bytes], np.bool_)

    @cached_property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Bytes that each id stands for, 0 where it is not used, shape (vocabulary,)."""
        return np.array([len(content or b"") for content in self.token_bytes], np.int64)

    @cached_property
    def _column(self) -> pa.BinaryArray:
        return pa.array(self.token_bytes, pa.binary())

    def spell(self, pieces: Iterable[str]) -> bytes:
        """The bytes of what the model was given."""
        text = "".join(pieces)
        if self.byte_level:
            return bytes(map(BYTE_OF.__getitem__, text))
        return text.replace(_SPACE, " ").encode()


def read_vocabulary(content: Mapping[str, Any]) -> Vocabulary:
    """The vocabulary of a tokenizer that is not `why_unusable`."""
    numbers = vocabulary_ids(content)
    added = content["added_tokens"]
    size = 1 + max(chain(numbers.values(), (token["id"] for token in added)))
    table: list[bytes | None] = [None] * size
    is_byte_level = _is_byte_level(content)
    for token, number in numbers.items():
        table[number] = to_bytes(token) if is_byte_level else _sentencepiece(token)
    for token in added:
        # An added token that the model knows too can be made of ordinary text, unless special.
        if token["special"] or token["content"] not in numbers:
            table[token["id"]] = token["content"].encode()
    lossy = tuple(why_lossy(content))
    steps = flattened(content.get("normalizer"), "normalizers")
    keeps_ascii = len(lossy) == len(steps) and all(step["type"] in _CANONICAL for step in steps)
    return Vocabulary(tuple(table), is_byte_level, lossy, keeps_ascii)


_FALLBACK = {f"<0x{byte:02X}>": byte for byte in range(256)}


def _is_byte_level(content: Mapping[str, Any]) -> bool:
    steps = flattened(content.get("pre_tokenizer"), "pretokenizers")
    return any(step["type"] == "ByteLevel" for step in steps)


def _sentencepiece(token: str) -> bytes:
    if token in _FALLBACK:
        return bytes([_FALLBACK[token]])
    return token.replace(_SPACE, " ").encode()
