"""Git's rules in a tree: what `.gitignore` ignores, and what `.gitattributes` says of a path.

Paths and patterns are bytes, as they are for Git. A pattern matches a path itself; that what is in
an ignored folder is ignored too, whoever walks the tree knows.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Generic, NamedTuple, TypeVar

from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SPACES_BEHIND = re.compile(rb"(?<!\\) +$")

_CLASS = re.compile(rb"(\[[^]/]*)\[:(\w+):\]")
_CLASSES = {
    b"alnum": b"0-9A-Za-z",
    b"alpha": b"A-Za-z",
    b"blank": b" \t",
    b"cntrl": b"\x01-\x1f\x7f",
    b"digit": b"0-9",
    b"graph": b'"-.0-~!',
    b"lower": b"a-z",
    b"print": b" -.0-~",
    b"punct": b'"-.:-@[-`{-~!',
    b"space": b"\t\n\r ",
    b"upper": b"A-Z",
    b"xdigit": b"0-9A-Fa-f",
}
"""POSIX's classes as the library, which does not know them, takes them in a bracket: ASCII but for
the slash, which no bracket matches, and no `!` in front, which would mean all others."""

V = TypeVar("V")

Attributes = dict[str, str | bool | None]
"""Attributes by name: set or not, a value, or None where a line says `!name`."""


class _Rule(NamedTuple, Generic[V]):
    regex: re.Pattern[bytes]
    folders_only: bool
    value: V

    def matches(self, path: bytes, *, folder: bool) -> bool:
        if self.folders_only and not folder:
            return False
        found = self.regex.search(path)
        # What the library finds with its group is in a folder of this name.
        return found is not None and found.lastgroup is None


class Rules(NamedTuple, Generic[V]):
    """The rules of one file, and the folder that it lies in: '' or with a slash behind."""

    folder: bytes
    rules: list[_Rule[V]]


def read_ignored(content: bytes, folder: bytes) -> Rules[bool]:
    """The rules of a `.gitignore`: whether what a pattern matches is ignored."""
    rules = []
    for line in _lines(content):
        with suppress(ValueError):  # no pattern; Git matches nothing with it
            pattern = _pattern(line[:-1] if line.endswith(b"/") else line)
            if pattern.regex is not None:
                rules.append(_Rule(pattern.regex, line.endswith(b"/"), bool(pattern.include)))
    return Rules(folder, rules)


def is_ignored(path: bytes, rules: Sequence[Rules[bool]], *, folder: bool) -> bool:
    """Whether a path is ignored by the rules of the folders above it, the outermost first."""
    for of_folder in reversed(rules):
        inside = path[len(of_folder.folder) :]
        for rule in reversed(of_folder.rules):
            if rule.matches(inside, folder=folder):
                return rule.value
    return False


def read_attributes(content: bytes, folder: bytes, names: frozenset[str]) -> Rules[Attributes]:
    """The rules of a `.gitattributes` that say something of the attributes `names`."""
    rules = []
    for line in _lines(content):
        pattern, *words = _words(line) or [""]
        said = {name: value for name, value in map(_attribute, words) if name in names}
        if said and not pattern.startswith(("!", "[attr]")) and not pattern.endswith("/"):
            with suppress(ValueError):
                compiled = _pattern(pattern.encode("utf-8", "surrogateescape"))
                if compiled.regex is not None:
                    rules.append(_Rule(compiled.regex, False, said))
    return Rules(folder, rules)


def attributes_of(path: bytes, rules: Sequence[Rules[Attributes]]) -> Attributes:
    """What the rules of the folders above a file say of it, the outermost first."""
    said: Attributes = {}
    for of_folder in rules:
        inside = path[len(of_folder.folder) :]
        for rule in of_folder.rules:
            if rule.matches(inside, folder=False):
                said |= rule.value
    return said


def _pattern(glob: bytes) -> GitIgnoreSpecPattern:
    while (of := _CLASS.search(glob)) and of[2] in _CLASSES:
        glob = glob[: of.end(1)] + _CLASSES[of[2]] + glob[of.end() :]
    return GitIgnoreSpecPattern(glob)


def _lines(content: bytes) -> Iterator[bytes]:
    for line in content.removeprefix(_BYTE_ORDER_MARK).split(b"\n"):
        yield _SPACES_BEHIND.sub(b"", line.removesuffix(b"\r"))


def _words(line: bytes) -> list[str]:
    text = line.decode("utf-8", "surrogateescape")
    if text.startswith("#"):
        return []
    with suppress(ValueError):  # a quotation without an end is a pattern like any other
        if text.startswith('"'):
            return shlex.split(text)
    return text.split()


def _attribute(word: str) -> tuple[str, str | bool | None]:
    if word.startswith("-"):
        return word[1:], False
    if word.startswith("!"):
        return word[1:], None
    name, equals, value = word.partition("=")
    return name, value if equals else True
