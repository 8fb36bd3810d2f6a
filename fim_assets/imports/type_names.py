"""The names of types that a text uses, of languages in which types need not be imported one by one.

A walk through the tree for these would take as long as all other reading together. Whatever begins
with no small letter, outside of comments and strings, may be a type: it counts only where a file of
the right package declares it.
"""

import re

_COMMENT_OR_STRING = re.compile(
    r"//[^\n]*"
    r"|/\*.*?\*/"
    r'|"""(?:[^\\]|\\.)*?"""'
    r'|@"(?:[^"]|"")*"'
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'(?:[^'\\\n]|\\.)*'",
    re.DOTALL,
)
_NAME = r"[^\W\da-z_]\w*"
_ANY = re.compile(rf"\b{_NAME}")
_NO_MEMBER = re.compile(rf"(?<![\w.]){_NAME}")


def type_names(text: str, *, behind_dots: bool) -> tuple[str, ...]:
    """The names of a text that may be types, each once, sorted.

    Args:
        text: A file's.
        behind_dots: Whether names behind a dot may be, as where members begin with small letters.
    """
    code = _COMMENT_OR_STRING.sub(" ", text)
    return tuple(sorted({*(_ANY if behind_dots else _NO_MEMBER).findall(code)}))
