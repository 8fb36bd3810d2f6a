"""Where the ids of a text end in it, of texts that are encoded as the token stage encodes them."""

from collections.abc import Iterable
from itertools import chain

import numpy as np

from fim_assets.draws import Ints
from fim_assets.tokenizer.load import LoadedTokenizer
from fim_assets.tokenizer.paragraphs import paragraphs


def token_ends(tokenizer: LoadedTokenizer, texts: list[str]) -> list[Ints]:
    """Where each id of each text ends, in bytes of the text's UTF-8; as many as the text has ids.

    Of a tokenizer that changes texts, an id ends where the code point ends of which it is a part.

    Raises:
        UnencodableTextError: If the tokenizer cannot encode a text.
    """
    parts = [paragraphs(text) if tokenizer.paragraphs else [text] for text in texts]
    ends = iter(_ends(tokenizer, [*chain.from_iterable(parts)]))
    return [_joined(zip(of_text, ends, strict=False)) for of_text in parts]


def _ends(tokenizer: LoadedTokenizer, texts: list[str]) -> list[Ints]:
    if not tokenizer.vocabulary.lossy:
        sizes = tokenizer.vocabulary.sizes
        return [np.cumsum(sizes[ids]) for ids in tokenizer.encoder.encode(texts)]
    found = tokenizer.encoders.reference.ends(texts)
    return [_in_bytes(text, ends) for text, ends in zip(texts, found, strict=True)]


def _in_bytes(text: str, ends: Ints) -> Ints:
    data = np.frombuffer(text.encode(), np.uint8)
    starts = np.append(np.flatnonzero((data & 0xC0) != 0x80), len(data))
    return starts[ends]


def _joined(parts: Iterable[tuple[str, Ints]]) -> Ints:
    found, begin = [np.empty(0, np.int64)], 0
    for text, ends in parts:
        found.append(ends + begin)
        begin += len(text.encode())
    return np.concatenate(found)
