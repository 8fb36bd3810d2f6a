"""Encoders: two ways from ordinary text to ids, behind one interface.

The reference, Hugging Face tokenizers, serves every tokenizer. quicktok is many times faster; which
of them serves a tokenizer, `choose` decides.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import tokenizers

from fim_assets.wording import plural

TokenIds = npt.NDArray[np.uint32]
Offsets = npt.NDArray[np.int64]

TABLES = "tables"
"""The name by which quicktok finds a tokenizer's tables in their folder."""


class UnencodableTextError(ValueError):
    """A text that the reference cannot encode: its regex gives up on runs of millions of spaces.

    `index` is the text's among those that were given.
    """

    def __init__(self, index: int, text: str, reason: BaseException) -> None:
        size = plural(len(text), "character")
        super().__init__(f"{ReferenceEncoder.name} cannot encode a text of {size}: {reason}")
        self.index = index


def is_panic(error: BaseException) -> bool:
    """Whether an error is a panic in Rust, which is no `Exception` and cannot be imported."""
    return type(error).__name__ == "PanicException"


class Encoder(Protocol):
    """Encodes ordinary text: no added token is matched in it."""

    @property
    def name(self) -> str:
        """Library and version."""

    def encode(self, texts: list[str]) -> tuple[TokenIds, Offsets]:
        """Encode texts: flat ids, and n + 1 offsets of where each text's ids begin in them.

        An UnencodableTextError is raised if the reference has to encode a text that it cannot.
        """


class ReferenceEncoder:
    """Hugging Face tokenizers, which serves every tokenizer.

    `plain` is `tokenizer.json` without added tokens and without a post-processor.
    """

    name = f"tokenizers {tokenizers.__version__}"

    def __init__(self, plain: str) -> None:
        self._tokenizer = tokenizers.Tokenizer.from_str(plain)

    def encode(self, texts: list[str]) -> tuple[TokenIds, Offsets]:
        """See `Encoder`."""
        try:
            rows = self._rows(texts)
        except BaseException as error:
            if not is_panic(error):
                raise
            self._refuse_first(texts)
            raise
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        return np.fromiter(chain.from_iterable(rows), np.uint32, int(offsets[-1])), offsets

    def _rows(self, texts: list[str]) -> list[list[int]]:
        encoded = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in encoded]

    def _refuse_first(self, texts: list[str]) -> None:
        """Raise for the first text that cannot be encoded: a panic does not say which it was."""
        for index, text in enumerate(texts):
            with _naming_the_text(index, text):
                self._rows([text])

    def normalize(self, text: str) -> str:
        """The text as the tokenizer's normalizer leaves it."""
        normalizer = self._tokenizer.normalizer
        return text if normalizer is None else str(normalizer.normalize_str(text))

    def pieces(self, text: str) -> list[str]:
        """What the model is given: the normalized text as the pre-tokenizer cuts it.

        An UnencodableTextError is raised if it cannot be cut.
        """
        normal = self.normalize(text)
        pre_tokenizer = self._tokenizer.pre_tokenizer
        if pre_tokenizer is None:
            return [normal]
        with _naming_the_text(0, text):
            return [piece for piece, _ in pre_tokenizer.pre_tokenize_str(normal)]


@contextmanager
def _naming_the_text(index: int, text: str) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        if not is_panic(error):
            raise
        raise UnencodableTextError(index, text, error) from None


class QuicktokEncoder:
    """quicktok, for the byte-level BPE tokenizers whose splitting it knows, its tables in `folder`.

    Texts that the tokenizer's normalizer changes, and texts with mismatching code points, go to the
    reference. `normalizes`: whether there is a normalizer, one that leaves ASCII unchanged.
    """

    def __init__(
        self,
        folder: Path,
        mismatches: Sequence[int],
        reference: ReferenceEncoder,
        token_bytes: Sequence[bytes | None],
        *,
        normalizes: bool,
    ) -> None:
        import quicktok

        self.name = f"quicktok {version('quicktok-v1')}"
        self._tokenizer = quicktok.Tokenizer(TABLES, str(folder))
        self._reference = reference
        self._normalizes = normalizes
        self._mismatches = frozenset(map(chr, mismatches))
        self._may_mismatch = _can_begin(mismatches, token_bytes) if mismatches else None

    def encode(self, texts: list[str]) -> tuple[TokenIds, Offsets]:
        """See `Encoder`."""
        ids, offsets = self._tokenizer.encode_batch(texts, 1)
        others = [
            index
            for index, text in enumerate(texts)
            if not text.isascii() and self._differs(text, ids[offsets[index] : offsets[index + 1]])
        ]
        if not others:
            return ids, offsets
        rows = np.split(ids, offsets[1:-1])
        try:
            exact, bounds = self._reference.encode([texts[index] for index in others])
        except UnencodableTextError as error:
            error.index = others[error.index]
            raise
        for index, row in zip(others, np.split(exact, bounds[1:-1]), strict=True):
            rows[index] = row
        return np.concatenate(rows), np.cumsum([0, *map(len, rows)], dtype=np.int64)

    def _differs(self, text: str, ids: TokenIds) -> bool:
        # Ids tell which few texts to search: searching them all would cost as much as encoding.
        may_mismatch = self._may_mismatch is not None and self._may_mismatch[ids].any()
        if may_mismatch and not self._mismatches.isdisjoint(text):
            return True
        return self._normalizes and self._reference.normalize(text) != text


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
