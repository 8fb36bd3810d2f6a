"""The fast encoder, gigatoken: a byte-level BPE that remembers the ids of each pretoken.

A pretoken is what the pre-tokenizer cuts a text into. What gigatoken cannot be trusted with goes to
the reference; that it gives the reference's ids for the rest, `proof` shows.
"""

import re
from collections.abc import Sequence
from importlib.metadata import version
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import psutil

from fim_assets.tokenizer.encoders import (
    EncoderError,
    ReferenceEncoder,
    TokenIds,
    UnencodableTextError,
)
from fim_assets.tokenizer.vocabulary import flattened

MEMORY_BYTES = 128 << 20
"""What a process may grow by before gigatoken forgets its pretokens, of which it has no bound."""

_DIGIT = re.compile("([0-9])")
_STEPS = {"ByteLevel", "Digits", "Split"}
_DIGITS_ALONE = {"type": "Digits", "individual_digits": True}


def gigatoken_version() -> str:
    """Library and version; an ImportError if it is not installed."""
    return f"gigatoken {version('gigatoken')}"


class Gigatoken:
    """gigatoken by itself, of a `tokenizer.json` without added tokens and normalizer.

    It encodes in the calling thread, one text at a time. Digits that a pre-tokenizer cuts out one
    by one, as StarCoder's does, are cut out here, since gigatoken does not know that step: of
    `x = 42` it is given `x = `, `4` and `2`. Those outside of ASCII are left, and mismatch.

    Raises:
        EncoderError: If gigatoken refuses the tokenizer.
    """

    def __init__(self, content: dict[str, Any]) -> None:
        steps = flattened(content["pre_tokenizer"], "pretokenizers")
        for step in steps:
            if step["type"] not in _STEPS or "String" in step.get("pattern", {}):
                # It would pass over the step without a word.
                raise EncoderError(f"does not know a step of the pre-tokenizer: {step}"[:200])
        self._cuts_digits = steps[:1] == [_DIGITS_ALONE] and len(steps) > 1
        steps = steps[1:] if self._cuts_digits else steps
        split = steps[0] if len(steps) == 1 else {"type": "Sequence", "pretokenizers": steps}
        self._json = orjson.dumps(content | {"pre_tokenizer": split})
        self._process = psutil.Process()
        self._begin()

    def _begin(self) -> None:
        import gigatoken

        self._backend: Any = None  # what it remembers goes before there is another one
        try:
            backend = gigatoken.Tokenizer.from_json(self._json).backend
        except (RuntimeError, ValueError) as error:
            # Behind the first line, it says where in its own source.
            reason = str(error).partition("\n")[0]
            raise EncoderError(f"refuses the tokenizer: {reason}") from error
        if not isinstance(backend, gigatoken.gigatoken_rs.BPETokenizer):
            raise EncoderError("refuses the tokenizer: no byte-level BPE")
        self._backend, self._least = backend, inf

    def encode(self, texts: list[str]) -> list[TokenIds]:
        """The ids of each text; see `Encoder`."""
        encode = self._encode_cut if self._cuts_digits else self._backend.encode
        rows = [encode(text) for text in texts]
        # It does not tell how much it remembers: the process does.
        resident = self._process.memory_info().rss
        self._least = min(self._least, resident)
        if resident - self._least > MEMORY_BYTES:
            self._begin()
        return rows

    def _encode_cut(self, text: str) -> TokenIds:
        encode = self._backend.encode
        pieces = [encode(piece) for piece in _DIGIT.split(text) if piece]
        return np.concatenate([np.empty(0, np.uint32), *pieces])


class GigatokenEncoder:
    """gigatoken where it gives the ids of the reference, and the reference for the other texts.

    These are texts that the tokenizer's normalizer changes, and texts with mismatching code points.
    """

    def __init__(
        self,
        gigatoken: Gigatoken,
        mismatches: Sequence[int],
        reference: ReferenceEncoder,
        token_bytes: Sequence[bytes | None],
    ) -> None:
        self.name = gigatoken_version()
        self._gigatoken, self._reference = gigatoken, reference
        self._mismatches = frozenset(map(chr, mismatches))
        self._may_mismatch = _can_begin(mismatches, token_bytes) if mismatches else None

    def encode(self, texts: list[str]) -> list[TokenIds]:
        """See `Encoder`."""
        rows = self._gigatoken.encode(texts)
        others = [
            index
            for index, (text, ids) in enumerate(zip(texts, rows, strict=True))
            if not text.isascii() and self._differs(text, ids)
        ]
        try:
            exact = self._reference.encode([texts[index] for index in others])
        except UnencodableTextError as error:
            error.index = others[error.index]
            raise
        for index, row in zip(others, exact, strict=True):
            rows[index] = row
        return rows

    def _differs(self, text: str, ids: TokenIds) -> bool:
        # Ids tell which few texts to search: searching them all would cost as much as encoding.
        may_mismatch = self._may_mismatch is not None and self._may_mismatch[ids].any()
        if may_mismatch and not self._mismatches.isdisjoint(text):
            return True
        return self._reference.normalize(text) != text


def _can_begin(points: Sequence[int], token_bytes: Sequence[bytes | None]) -> npt.NDArray[np.bool_]:
    """Which ids can hold the beginning of one of these characters, or all of it, as UTF-8.

    U+0CDC is E0 B3 9C: of the tokens `x E0 B3 9C y`, `E0 B3` and `B3 9C`, the first two.
    """
    encoded = [chr(point).encode() for point in points]
    beginnings = {content[:size] for content in encoded for size in range(1, len(content) + 1)}
    sizes = {content[0]: len(content) for content in encoded}
    can = np.zeros(len(token_bytes), np.bool_)
    for token, content in enumerate(token_bytes):
        if content is None or content.isascii():
            continue
        firsts = (at for at, byte in enumerate(content) if byte in sizes)
        can[token] = any(content[at : at + sizes[content[at]]] in beginnings for at in firsts)
    return can
