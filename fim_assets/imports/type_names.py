"""The names of types that a text uses, of languages in which types need not be imported one by one.

A walk through the tree for these would take as long as all other reading together. Whatever begins
with no small letter, outside of comments and strings, may be a type: it counts only where a file of
the right package declares it.
"""

import re

# What is not closed ends with the file: else each beginning would be searched for its end anew.
_COMMENT_OR_STRING = re.compile(
    rb"//.*"
    rb"|/\*(?s:.*?)(?:\*/|\Z)"
    rb'|@"(?:[^"]|"")*"'
    rb'|"(?:""(?s:.*?)(?:"""|\Z)|[^"\\\n]*(?:\\.[^"\\\n]*)*"?)'
    rb"|'(?:\\.)?[^'\n]*'"
)
_WORD = re.compile(rb"[\w\x80-\xff]")
_BYTES = [bytes([byte]) for byte in range(0x100)]
_WITHOUT_DOTS = b"".join(byte if _WORD.match(byte) else b" " for byte in _BYTES)
_WITH_DOTS = b"".join(byte if byte == b"." or _WORD.match(byte) else b" " for byte in _BYTES)
_FIRST = frozenset(byte[0] for byte in _BYTES if re.match(rb"[A-Z\x80-\xff]", byte))


def type_names(source: bytes, *, behind_dots: bool) -> tuple[str, ...]:
    """The names of a text that may be types, each once, sorted.

    Args:
        source: A file's text in UTF-8.
        behind_dots: Whether names behind a dot may be, as where members begin with small letters.
    """
    code = _COMMENT_OR_STRING.sub(b" ", source)
    words = {*code.translate(_WITHOUT_DOTS if behind_dots else _WITH_DOTS).split()}
    names = {word.partition(b".")[0] for word in words if word[0] in _FIRST}
    return tuple(sorted(name.decode() for name in names))
