"""Read a file's imports: what the process that parses is asked, see `parsing.parser_process`."""

from functools import cache
from typing import NamedTuple

from tree_sitter import Query, QueryCursor

from fim_assets.imports.base import Import, Match
from fim_assets.imports.registry import rules_of
from fim_assets.parsing.grammars import GRAMMARS
from fim_assets.parsing.tree import CannotParseError, language_of, parse


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
    return rules.read(
        [
            Match(
                min(nodes[0].start_byte for nodes in captures.values()),
                {
                    name: [source[node.start_byte : node.end_byte].decode() for node in nodes]
                    for name, nodes in captures.items()
                },
            )
            for _, captures in QueryCursor(_query(request.grammar)).matches(tree.root_node)
        ]
    )


@cache
def _query(grammar: int) -> Query:
    rules = rules_of(grammar)
    if rules is None:
        raise LookupError(f"{GRAMMARS[grammar]} has no rules")
    return Query(language_of(GRAMMARS[grammar]), rules.queries[GRAMMARS[grammar].names[0]])
