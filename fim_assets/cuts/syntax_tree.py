"""Parse a file and choose the middle for `syntax`: a syntax node, or an aligned run of siblings.

After AST-FIM (arXiv 2506.00204), with tree-sitter's parsers.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self

import numpy as np
from tree_sitter import Node, Tree

from fim_assets.draws import Ints, RandomStream, draw_bits, integers, uniforms
from fim_assets.parsing.grammars import GRAMMARS, Grammar
from fim_assets.parsing.parser_process import ask
from fim_assets.parsing.tree import CannotParseError, code_point_at, parse

LEVELS = 32
"""Levels of nodes below the root that a node is chosen from; deeper ones are small and left out."""

_TRIES = 1024
_TRIES_AT_ONCE = 64


class CannotCutError(ValueError):
    """A file that was parsed and has no middle, for one of the reasons of `syntax.CUT`."""

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


class Request(NamedTuple):
    """A file in UTF-8, its grammar's index in `GRAMMARS`, its document's key, its index there.

    Where there is a limit, so many middles within it are passed over.
    """

    source: bytes
    grammar: int
    key: int
    file: int
    limit: Limit | None = None
    passed: int = 0


Answer = Span | str
"""The middle, or the reason why there is none, see `syntax.CUT`."""


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
    return Span(code_point_at(source, start), code_point_at(source, end))


def find_middles(requests: Sequence[Request]) -> list[Answer]:
    """Find the middle of each file in the process that parses, see `find_middle`.

    Raises:
        ParserError: As `parser_process.ask`.
    """
    return ask(_answer, requests)


def _answer(request: Request) -> Answer:
    try:
        return find_middle(**request._asdict() | {"grammar": GRAMMARS[request.grammar]})
    except (CannotParseError, CannotCutError) as error:
        return error.reason


def _tries(key: int, positions: int, others: int) -> Iterator[list[int]]:
    """Two positions, of so many each, and a level, drawn over and over."""
    keys = np.full(_TRIES_AT_ONCE, key, np.uint64)
    streams = RandomStream.POSITION, RandomStream.OTHER_POSITION, RandomStream.LEVEL
    bounds = np.array([positions, others, LEVELS])
    for begin in range(0, _TRIES, _TRIES_AT_ONCE):
        tries = np.arange(begin, begin + _TRIES_AT_ONCE)
        numbers = np.array([uniforms(keys, tries, stream) for stream in streams])
        yield from integers(numbers.T, bounds).tolist()


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
