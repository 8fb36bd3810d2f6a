"""Proof that an encoder gives the reference's ids, by comparing them on many texts.

First every code point that Unicode may have assigned, since libraries know different versions of
it: those that mismatch go to the reference ever after. Then texts without these.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain

import numpy as np

from fim_assets.tokenizer.encoders import EncoderError, ReferenceEncoder, TokenIds

PROOF_VERSION = 4
"""Raised when a proof looks at more, so that kept ones are made again."""

Encode = Callable[[list[str]], list[TokenIds]]

_MOST_MISMATCHES = 1 << 14
_SURROGATES = range(0xD800, 0xE000)
_DENSE = (range(0x34000), range(0xE0000, 0xE0200))
_SPARSE = range(0x34000, 0x110000, 97)
"""Unicode has assigned code points in the dense ranges alone: of the others few are looked at."""

_POINTS_IN_A_TEXT = 16

EDGE_CASE_TEXTS = (
    "",
    " ",
    "def add(a, b):\n    return a + b\n",
    "\r\nwindows\r\nlines\r\n\r\n",
    "\tfor (;;) {\n\t\t\n\t}   \n   \t \n",
    "don't CAN'T we'Ve I'LL 'tis ''s",
    "1234567 3.14159 0xDEADBEEF ½ ² ٣٤٥٦",
    "日本語のコメント // émoji 🚀🔥 👩‍👩‍👧 e\u0301 ﷽ \u200b\u00a0\u3000\u2028 \ufeff",
    "ǅungla ſtraße ΑΒΓ İı K's ﬁ",
    "\x00\x01\x7f\x85\u0085 \x1c\x1d",
    "<|endoftext|> <|fim_prefix|> |||EMAIL_ADDRESS||| <s> </s> [MID]",
    "/* **** */ ####### -------- ======== ;;;; }}}} ))))",
    "naïve café Zürich Ω≈ç√∫ हिन्दी 한국어 עברית العربية ไทย",
)
"""Texts on which encoders have differed."""

_RUN = 100_000
_RANDOM_TEXTS = 4000
_ALPHABETS = (
    "abcdefghij ABCDEFGHIJ",
    " \n\r\t",
    " \n\r\t.,;(){}[]'\"/*#<>|=-_",
    "'sStTlLvVrReEdDmM ſK",
    "0123456789.xe_ ½٣",
    "aé日本語Ωд한ไहन् \u0301\u200d\ufe0f🚀👩",
    "\x00\x7f\x85\xa0\u2028\u3000\ufeff\U0010ffff a1\n",
)


def find_mismatches(encode: Encode, reference: ReferenceEncoder) -> list[int]:
    """The code points with which an encoder gives other ids than the reference.

    Every one that Unicode may have assigned is tried, in contexts that show whether it is taken for
    a letter, a number, white space or none of these. An EncoderError is raised if they differ on
    ASCII or on too many code points.
    """
    points = sorted({*chain(*_DENSE, _SPARSE)} - {*_SURROGATES})
    begins = range(0, len(points), _POINTS_IN_A_TEXT)
    groups = [points[begin : begin + _POINTS_IN_A_TEXT] for begin in begins]
    texts = ["".join(map(_in_context, group)) for group in groups]
    suspects = [point for i in _differences(texts, encode, reference) for point in groups[i]]
    alone = [_in_context(point) for point in suspects]
    mismatches = [suspects[i] for i in _differences(alone, encode, reference)]
    if mismatches and (mismatches[0] < 0x80 or len(mismatches) > _MOST_MISMATCHES):
        which = f"{len(mismatches)} code points, the first of them U+{mismatches[0]:04X}"
        raise EncoderError(f"differs from {reference.name} on {which}")
    return mismatches


def prove(
    encode: Encode, reference: ReferenceEncoder, texts: Iterable[str], mismatches: Sequence[int]
) -> None:
    """Compare an encoder with the reference on texts, from which mismatching code points are taken.

    An EncoderError is raised if they differ.
    """
    without = str.maketrans("", "", "".join(map(chr, mismatches)))
    texts = [text.translate(without) for text in texts]
    texts = [text for text in texts if reference.normalize(text) == text]
    for index in _differences(texts, encode, reference):
        raise EncoderError(f"differs from {reference.name} on {texts[index][:60]!r}")


def proof_texts(token_bytes: Sequence[bytes | None], names: Sequence[str]) -> Iterator[str]:
    """Edge cases, every token's text, long runs, random texts of characters that matter, of tokens.

    `token_bytes` are None where an id is not used; `names` are those of the added tokens.
    """
    yield from EDGE_CASE_TEXTS
    yield from names
    tokens = []
    for content in token_bytes:
        if content is not None:
            with suppress(UnicodeDecodeError):
                tokens.append(content.decode())
    yield from tokens
    for character in "a \n=é0日🚀\t\r_":
        yield character * _RUN
    draws = random.Random(PROOF_VERSION)  # noqa: S311 - texts to try, nothing secret
    for _ in range(_RANDOM_TEXTS):
        alphabet = "".join(draws.sample(_ALPHABETS, 2))
        yield "".join(draws.choices(alphabet, k=draws.randrange(1, 60)))
        yield "".join(draws.choices(tokens, k=draws.randrange(2, 5)))


def _in_context(point: int) -> str:
    return "_{0}'ll 1{0}2 {0}\na{0}bA{0}b a{0}B!A{0}B {0}{0} ".format(chr(point))


def _differences(texts: list[str], encode: Encode, reference: ReferenceEncoder) -> list[int]:
    """Which texts get other ids; those that the reference normalizes are left out."""
    rows = zip(encode(texts), reference.encode(texts), strict=True)
    unequal = [index for index, (own, other) in enumerate(rows) if not np.array_equal(own, other)]
    return [index for index in unequal if reference.normalize(texts[index]) == texts[index]]
