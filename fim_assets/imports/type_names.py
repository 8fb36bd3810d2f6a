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
_NAME = re.compile(r"\b[^\W\da-z_]\w*")


def type_names(text: str) -> set[str]:
    """The names of a text that may be types."""
    return set(_NAME.findall(_COMMENT_OR_STRING.sub(" ", text)))
