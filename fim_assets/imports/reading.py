"""Read a file's imports: what the process that parses is asked, see `parsing.parser_process`."""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

from tree_sitter import Node, Query, QueryCursor, Tree

from fim_assets.imports.base import Import, ImportRules, Match
from fim_assets.imports.registry import rules_of
from fim_assets.parsing.grammars import GRAMMARS
from fim_assets.parsing.tree import CannotParseError, language_of, parse

_NEAR_BYTES = 1 << 10
"""Words so near to each other are looked around at once."""


class Request(NamedTuple):
    """A file in UTF-8, and its grammar's index in `GRAMMARS`, one that has rules."""

    source: bytes
    grammar: int


class _Reader(NamedTuple):
    """A grammar's rules, ready."""

    rules: ImportRules
    query: Query
    words: tuple[bytes, ...]


def read_imports(request: Request) -> list[Import] | str:
    """A file's imports, or the reason why it cannot be parsed."""
    try:
        tree = parse(request.source, GRAMMARS[request.grammar])
    except CannotParseError as error:
        return error.reason
    reader, source = _reader(request.grammar), request.source
    matches = [
        Match(
            min(nodes[0].start_byte for nodes in captures.values()),
            {
                name: [source[node.start_byte : node.end_byte].decode() for node in nodes]
                for name, nodes in captures.items()
            },
        )
        for captures in _matches(reader, tree, source)
    ]
    found, names = reader.rules.read(matches), reader.rules.names
    return [*found, Import("names", "", names(source))] if names else found


def _matches(reader: _Reader, tree: Tree, source: bytes) -> Iterator[dict[str, list[Node]]]:
    cursor = QueryCursor(reader.query)
    seen = set()
    for begin, end in _places(reader.words, source):
        cursor.set_byte_range(begin, end)
        for pattern, captures in cursor.matches(tree.root_node):
            # What begins in one place and ends in another is found in both.
            found = pattern, *(node.id for nodes in captures.values() for node in nodes)
            if found not in seen:
                seen.add(found)
                yield captures


def _places(words: Sequence[bytes], source: bytes) -> Iterator[tuple[int, int]]:
    """Where a query looks, in bytes: the whole file, or around words."""
    if not words:
        yield 0, len(source)
    begin = end = -_NEAR_BYTES
    # Word by word: a text is searched for one word much faster than for one of several.
    for start, stop in sorted(f.span() for word in words for f in re.finditer(word, source)):
        if start - end >= _NEAR_BYTES:
            if end > 0:
                yield begin, end
            begin = start
        end = stop
    if end > 0:
        yield begin, end


@cache
def _reader(grammar: int) -> _Reader:
    rules = rules_of(grammar)
    if rules is None:
        raise LookupError(f"{GRAMMARS[grammar]} has no rules")
    query = Query(language_of(GRAMMARS[grammar]), rules.queries[GRAMMARS[grammar].names[0]])
    return _Reader(rules, query, tuple(re.escape(word).encode() for word in rules.words))
