"""What an encoder is, and the reference, Hugging Face tokenizers, which serves every tokenizer.

The faster one is `gigatoken_encoder`; which of them serves a tokenizer, `choose` decides.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import numpy.typing as npt
import tokenizers

from fim_assets.wording import plural

TokenIds = npt.NDArray[np.uint32]


class EncoderError(ValueError):
    """An encoder that cannot serve a tokenizer; the message says why."""


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

    def encode(self, texts: list[str]) -> list[TokenIds]:
        """The ids of each text.

        An UnencodableTextError is raised if the reference has to encode a text that it cannot.
        """


class ReferenceEncoder:
    """Hugging Face tokenizers, which serves every tokenizer.

    `plain` is `tokenizer.json` without added tokens and without a post-processor.
    """

    name = f"tokenizers {tokenizers.__version__}"

    def __init__(self, plain: str) -> None:
        self._tokenizer = tokenizers.Tokenizer.from_str(plain)

    def encode(self, texts: list[str]) -> list[TokenIds]:
        """See `Encoder`."""
        try:
            return self._rows(texts)
        except BaseException as error:
            if not is_panic(error):
                raise
            self._refuse_first(texts)
            raise

    def _rows(self, texts: list[str]) -> list[TokenIds]:
        encoded = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [np.array(encoding.ids, np.uint32) for encoding in encoded]

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
