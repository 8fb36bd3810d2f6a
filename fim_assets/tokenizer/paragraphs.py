"""How a text is cut before it is encoded, where `segment_before_tokenization` asks for it."""

import re

_PARAGRAPH = re.compile(r"(?:\A\n*|\n+)[^\n]*")


def paragraphs(text: str) -> list[str]:
    """A text cut before each run of line feeds, except one at its beginning.

    This is what Dolma's `segment_before_tokenization` encodes one by one.
    """
    return _PARAGRAPH.findall(text)
