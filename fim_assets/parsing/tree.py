"""Parse a file within bounds, or say why not.

Nothing depends on a clock: a file is parsed whole or not at all, within bounds that count what the
parser does. `parser_process` runs this apart from the pipeline's own processes, in the C locale.
"""

from functools import cache
from importlib import import_module

import numpy as np
from tree_sitter import Language, Node, Parser, Tree

from fim_assets.parsing.grammars import Grammar

_CHUNK_BYTES = 1 << 12
_STEPS_BETWEEN_CALLS = 100
"""Steps of its own that tree-sitter counts before it asks whether to go on."""

MOST_STEPS = 20
"""Steps a byte that a file may take: source code takes up to 2.2, and some broken code no end."""

MOST_READ = 200
"""Times its size that is read of a file at most: of source code up to 14 times, and some scanners
look from each position to the end."""

_FREE_BYTES = 1 << 14
"""Added to a file's size, since a small one may take more a byte."""

_LONGEST_PERIOD = 8
_STRETCH_BYTES = 512

_LETTERS_FOR_OTHERS = bytes(byte if byte < 0x80 else ord("z") for byte in range(256))


class CannotParseError(ValueError):
    """A file that is not parsed; `reason` is the name of one."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@cache
def language_of(grammar: Grammar) -> Language:
    """A grammar, loaded."""
    return Language(getattr(import_module(grammar.module), grammar.function)())


@cache
def _parser(grammar: Grammar) -> Parser:
    return Parser(language_of(grammar))


def parse(source: bytes, grammar: Grammar) -> Tree:
    """Parse a file in UTF-8.

    Raises:
        CannotParseError: If the file holds a long repetition, takes more than `MOST_STEPS` or
            `MOST_READ`, or more than half of it is ERROR nodes.
    """
    if _repeats(source):
        raise CannotParseError("repetitive")
    if grammar.ascii_only:
        # A letter for each byte keeps every position: "é}" is read as "zz}".
        source = source.translate(_LETTERS_FOR_OTHERS)
    tree = _parse_within_bounds(_parser(grammar), source)
    if 2 * _error_bytes(tree.root_node) > len(source):
        raise CannotParseError("syntax_errors")
    return tree


def _parse_within_bounds(parser: Parser, source: bytes) -> Tree:
    size = len(source) + _FREE_BYTES
    steps = read = 0

    def chunk(offset: int, _point: object) -> bytes:
        nonlocal read
        read += _CHUNK_BYTES
        if read > MOST_READ * size:
            return b""  # as at the file's end: the parser soon asks whether to go on
        # Whole code points: tree-sitter crashes where it finds an end within one.
        return source[offset : code_point_at(source, offset + _CHUNK_BYTES)]

    def is_too_much(_offset: int, _has_error: bool) -> bool:
        nonlocal steps
        steps += _STEPS_BETWEEN_CALLS
        return steps > MOST_STEPS * size or read > MOST_READ * size

    try:
        tree = parser.parse(chunk, progress_callback=is_too_much)
    except ValueError:
        if steps <= MOST_STEPS * size and read <= MOST_READ * size:
            raise
        parser.reset()  # it would go on with this file
        raise CannotParseError("too_complex") from None
    if read > MOST_READ * size:
        raise CannotParseError("too_complex")
    return tree


def code_point_at(source: bytes, position: int) -> int:
    """Where the code point around a position begins: a node can begin within `z`s for one."""
    while position < len(source) and source[position] & 0xC0 == 0x80:
        position -= 1
    return position


def _repeats(source: bytes) -> bool:
    """Whether a stretch of a file repeats with a period of some bytes.

    Parsers keep all readings of an ambiguous text, and some need time and memory that grow with the
    square of a repetition's length: minutes and gigabytes for kilobytes of `x=>`.
    """
    data = np.frombuffer(source, np.uint8)
    for period in range(1, _LONGEST_PERIOD + 1):
        same = data[period:] == data[:-period]
        end = len(same) // _STRETCH_BYTES * _STRETCH_BYTES
        if same[:end].reshape(-1, _STRETCH_BYTES).all(axis=1).any():
            return True
    return False


def _error_bytes(root: Node) -> int:
    total = 0
    nodes = [root] if root.has_error else []
    while nodes:
        node = nodes.pop()
        if node.is_error:
            total += node.end_byte - node.start_byte
        else:
            nodes += [child for child in node.children if child.has_error]
    return total
