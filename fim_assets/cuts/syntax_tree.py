"""Parse a file and choose the middle for `syntax`: a syntax node, or an aligned run of siblings.

After AST-FIM (arXiv 2506.00204), with tree-sitter's parsers. Nothing depends on a clock: a file is
parsed whole or not at all, within bounds that count what the parser does. `parser_process` runs
this apart from the pipeline's own processes, in the C locale.
"""

from bisect import bisect_right
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import NamedTuple, Self

import numpy as np
from tree_sitter import Language, Node, Parser, Tree

from fim_assets.cuts.grammars import Grammar
from fim_assets.draws import Ints, RandomStream, draw_bits, integers, uniforms

LEVELS = 32
"""Levels of nodes below the root that a node is chosen from; deeper ones are small and left out."""

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

_TRIES = 1024
_TRIES_AT_ONCE = 64

_LETTERS_FOR_OTHERS = bytes(byte if byte < 0x80 else ord("z") for byte in range(256))


@cache
def _parser(grammar: Grammar) -> Parser:
    return Parser(Language(getattr(import_module(grammar.module), grammar.function)()))


class CannotCutError(ValueError):
    """A file that `syntax` cannot cut, for one of the reasons of `syntax.CUT`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Span(NamedTuple):
    """Where a middle stands in a source: bytes, the end exclusive."""

    start: int
    end: int


class Limit(NamedTuple):
    """The longest middle that is allowed: so many units of which it holds a part.

    Attributes:
        most: At least 1.
        ends: Where the units of the file end in bytes, as the bytes of an array of uint32.
    """

    most: int
    ends: bytes

    @classmethod
    def of(cls, most: int, ends: Ints) -> Self:
        """From ends of shape (units,), the last of which is the file's."""
        return cls(most, ends.astype(np.uint32).tobytes())


class _Limit:
    """A limit, opened; `reach` is the most bytes that such a middle has."""

    def __init__(self, limit: Limit) -> None:
        self._most = limit.most
        self._ends = np.frombuffer(limit.ends, np.uint32)
        begins = np.append(0, self._ends).astype(np.int64)
        most = min(limit.most, len(self._ends))
        self.reach = int((begins[most:] - begins[: len(begins) - most]).max())

    def allows(self, span: Span) -> bool:
        """Whether a span that is not empty is within it."""
        positions = np.array(span, np.uint32)
        ended = np.searchsorted(self._ends, positions[0], side="right")
        return bool(np.searchsorted(self._ends, positions[1]) - ended < self._most)


def parse(source: bytes, grammar: Grammar) -> Tree:
    """Parse a file in UTF-8.

    Raises:
        CannotCutError: If the file holds a long repetition, takes more than `MOST_STEPS` or
            `MOST_READ`, or more than half of it is ERROR nodes.
    """
    if _repeats(source):
        raise CannotCutError("repetitive")
    if grammar.ascii_only:
        # A letter for each byte keeps every position: "é}" is read as "zz}".
        source = source.translate(_LETTERS_FOR_OTHERS)
    tree = _parse_within_bounds(_parser(grammar), source)
    if 2 * _error_bytes(tree.root_node) > len(source):
        raise CannotCutError("syntax_errors")
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
        return source[offset : _code_point_at(source, offset + _CHUNK_BYTES)]

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
        raise CannotCutError("too_complex") from None
    if read > MOST_READ * size:
        raise CannotCutError("too_complex")
    return tree


def choose_span(
    tree: Tree, size: int, key: int, file: int, limit: Limit | None = None, passed: int = 0
) -> Span:
    """Draw a syntax node or an aligned run of siblings, half each.

    A node is drawn in proportion to its size, from the named nodes below the root that are no ERROR
    and at most `LEVELS` levels deep. A run is what fits a random span best: of the children of the
    smallest node around the span, those in a row whose extent has the largest intersection over
    union with it. `size` is the file's, in bytes; `key` its document's, `file` its index there.

    With a limit, nodes and runs are drawn again until one is within it, and random spans are drawn
    from those within it alone; the first `passed` that are found are passed over.

    Raises:
        CannotCutError: If the tree has no such node, or so little of the file is in one that none
            was hit; or if none that was hit is within the limit.
    """
    opened = None if limit is None else _Limit(limit)
    hit = False
    keys, files = np.array([key], np.uint64), np.array([file])
    as_run = uniforms(keys, files, RandomStream.NODE_OR_RUN)[0] < 0.5
    seed = int(draw_bits(keys, files, RandomStream.SYNTAX)[0])
    for first, second, level in _tries(seed, size + 1, (opened.reach if opened else size) + 1):
        if as_run:
            start, end = sorted((first, second))
            if opened is not None:
                start, end = first, first + second
                if end > size or not opened.allows(Span(start, end)):
                    continue
            span = _aligned_run(tree.root_node, start, end)
        else:
            # Draw a byte and a level until there is a node: each node is hit in proportion to its
            # size, without a walk over all of them.
            span = _node_at(tree, first, level)
        if span is None:
            continue
        if opened is None:
            return span
        hit = True
        if opened.allows(span):
            if not passed:
                return span
            passed -= 1
    raise CannotCutError("no_node_fits" if hit else "no_node")


def find_middle(
    source: bytes,
    grammar: Grammar,
    key: int,
    file: int,
    limit: Limit | None = None,
    passed: int = 0,
) -> Span:
    """Parse one file and choose its middle, at whole code points; see `parse` and `choose_span`."""
    start, end = choose_span(parse(source, grammar), len(source), key, file, limit, passed)
    return Span(_code_point_at(source, start), _code_point_at(source, end))


def _code_point_at(source: bytes, position: int) -> int:
    """Where the code point around a position begins: a node can begin within `z`s for one."""
    while position < len(source) and source[position] & 0xC0 == 0x80:
        position -= 1
    return position


def _tries(key: int, positions: int, others: int) -> Iterator[list[int]]:
    """Two positions, of so many each, and a level, drawn over and over."""
    keys = np.full(_TRIES_AT_ONCE, key, np.uint64)
    streams = RandomStream.POSITION, RandomStream.OTHER_POSITION, RandomStream.LEVEL
    bounds = np.array([positions, others, LEVELS])
    for begin in range(0, _TRIES, _TRIES_AT_ONCE):
        tries = np.arange(begin, begin + _TRIES_AT_ONCE)
        numbers = np.array([uniforms(keys, tries, stream) for stream in streams])
        yield from integers(numbers.T, bounds).tolist()


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


def _node_at(tree: Tree, position: int, level: int) -> Span | None:
    """The node around a byte, so many levels below the topmost; unnamed and ERROR do not count."""
    cursor = tree.walk()
    while cursor.goto_first_child_for_byte(position) is not None:
        node = cursor.node
        if node is None or not node.start_byte <= position < node.end_byte:
            return None
        if node.is_named and not node.is_error:
            if level == 0:
                return Span(node.start_byte, node.end_byte)
            level -= 1
    return None


def _aligned_run(root: Node, start: int, end: int) -> Span | None:
    """The extent of children in a row of the smallest node around a span that fits it best."""
    around = root.descendant_for_byte_range(start, end)
    if around is None or start == end:
        return None
    runs = [Span(around.start_byte, around.end_byte)]
    if around.child_count:
        # Children inside the span only add to the fit: the question is those at its ends.
        before = _first_beyond(around, start) - 1
        after = _first_beyond(around, end)
        last = around.child_count - 1
        lefts = range(max(before, 0), min(before + 2, last) + 1)
        rights = range(max(after - 2, 0), min(after + 1, last) + 1)
        child = {index: around.child(index) for index in {*lefts, *rights}}
        runs = [
            Span(first.start_byte, final.end_byte)
            for left in lefts
            for right in rights
            if left <= right and (first := child[left]) and (final := child[right])
        ]
    span = Span(start, end)
    fit, best = max(((_overlap(run, span), run) for run in runs), key=lambda scored: scored[0])
    return best if fit > 0 else None


def _first_beyond(node: Node, position: int) -> int:
    """The index of the first child that ends behind a position, their number if none does."""

    def end(index: int) -> int:
        child = node.child(index)
        return child.end_byte if child else node.end_byte

    return bisect_right(range(node.child_count), position, key=end)


def _overlap(run: Span, span: Span) -> float:
    """Intersection over union of two spans, not above 0 where they do not meet."""
    shared = min(run.end, span.end) - max(run.start, span.start)
    return shared / (max(run.end, span.end) - min(run.start, span.start))
