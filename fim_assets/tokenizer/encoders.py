"""What an encoder is, and the reference, Hugging Face tokenizers, which serves every tokenizer.

The faster one is `gigatoken_encoder`; which of them serves a tokenizer, `choose` decides.
"""

from collections.abc import Callable, Iterator
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
        encoded = self._encoded(self._tokenizer.encode_batch_fast, texts)
        return [np.array(encoding.ids, np.uint32) for encoding in encoded]

    def ends(self, texts: list[str]) -> list[npt.NDArray[np.int64]]:
        """Where the ids of each text end: how many code points an id and those before it need.

        Errors are those of `encode`.
        """
        encoded = self._encoded(self._tokenizer.encode_batch, texts)
        found = []
        for text, encoding in zip(texts, encoded, strict=True):
            begins, ends = np.array(encoding.offsets, np.int64).reshape(-1, 2).T
            # What is in no id, as a mark that was composed with its letter, is the id's before it.
            next_begins = np.append(begins, len(text))[1:]
            found.append(np.maximum.accumulate(np.maximum(ends, next_begins)))
        return found

    def _encoded(
        self, encode: Callable[..., list[tokenizers.Encoding]], texts: list[str]
    ) -> list[tokenizers.Encoding]:
        try:
            return encode(texts, add_special_tokens=False)
        except BaseException as error:
            if not is_panic(error):
                raise
            # A panic does not say which text it was: raise for the first that cannot be encoded.
            for index, text in enumerate(texts):
                with _naming_the_text(index, text):
                    encode([text], add_special_tokens=False)
            raise

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
