"""Read a file's imports: what the process that parses is asked, see `parsing.parser_process`."""

import re
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from tree_sitter import Query, QueryCursor, Tree

from fim_assets.imports.base import Import, Match
from fim_assets.imports.registry import rules_of
from fim_assets.parsing.grammars import GRAMMARS
from fim_assets.parsing.tree import CannotParseError, language_of, parse

_CLOSE = 512
"""Bytes between words that are looked at as one stretch."""

_MOST_STRETCHES = 64


class Request(NamedTuple):
    """A file in UTF-8, and its grammar's index in `GRAMMARS`, one that has rules."""

    source: bytes
    grammar: int


def read_imports(request: Request) -> list[Import] | str:
    """A file's imports, or the reason why it cannot be parsed."""
    rules = rules_of(request.grammar)
    if rules is None:
        raise LookupError(f"{GRAMMARS[request.grammar]} has no rules")
    source = request.source
    try:
        tree = parse(source, GRAMMARS[request.grammar])
    except CannotParseError as error:
        return error.reason
    found = rules.read(_matches(_query(request.grammar), tree, source, rules.words))
    return [*found, Import("names", "", rules.names(source.decode()))] if rules.names else found


def _matches(query: Query, tree: Tree, source: bytes, words: Sequence[bytes]) -> list[Match]:
    """The matches around the words, each once, in the order of the text."""
    cursor = QueryCursor(query)
    matches: dict[tuple[int, ...], Match] = {}
    for start, end in _stretches(source, words):
        cursor.set_byte_range(start, end)
        for pattern, captures in cursor.matches(tree.root_node):
            nodes = [node for group in captures.values() for node in group]
            key = pattern, *(node.id for node in nodes)
            if key not in matches:
                texts = {
                    name: [source[node.start_byte : node.end_byte].decode() for node in group]
                    for name, group in captures.items()
                }
                matches[key] = Match(min(node.start_byte for node in nodes), texts)
    return [*matches.values()]


def _stretches(source: bytes, words: Sequence[bytes]) -> list[tuple[int, int]]:
    """Where the words stand, as few stretches: for each one the query begins at the tree's root."""
    if not words:
        return [(0, len(source))]
    close = max(_CLOSE, len(source) // _MOST_STRETCHES)
    stretches: list[tuple[int, int]] = []
    spans = (found.span() for word in words for found in re.finditer(re.escape(word), source))
    for start, end in sorted(spans):
        if stretches and start - stretches[-1][1] < close:
            stretches[-1] = stretches[-1][0], end
        else:
            stretches.append((start, end))
    return stretches


@cache
def _query(grammar: int) -> Query:
    rules = rules_of(grammar)
    if rules is None:
        raise LookupError(f"{GRAMMARS[grammar]} has no rules")
    return Query(language_of(GRAMMARS[grammar]), rules.queries[GRAMMARS[grammar].names[0]])
