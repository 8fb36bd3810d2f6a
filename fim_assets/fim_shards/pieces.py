"""Documents that do not fit, divided in pieces that do: files first, then lines.

    document of 3 files, room 100 ids   40 · 50 · 260
    pieces                              40 + 50 | 87 | 86 | 87

Pieces are as even as the lines allow, not full ones and a crumb, since each becomes a document. A
line that does not fit alone is cut between code points, and between graphemes where there are any.
What follows one another, with the file separator where a file begins, is the document again.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, islice, pairwise
from typing import NamedTuple

import numpy as np
import regex

from fim_assets.draws import Ints
from fim_assets.fim_shards.fitting import Fitting
from fim_assets.raw_shards.shard_reader import KnownFile
from fim_assets.tokenizer.encoders import TokenIds

_WINDOW = 256
"""Bytes on each side of a cut in which graphemes are looked for, at most."""

_INDICATOR, _INDICATOR_BYTES = b"\xf0\x9f\x87", 4
"""How a regional indicator begins in UTF-8, and its size."""

_CUTTING = 4
"""Ids that cutting a text in several usually costs."""


class PieceText(NamedTuple):
    """A piece's text.

    Attributes:
        continued: Whether it goes on in the file in which the piece before it ends.
        files: Where a stage has joined the files: what is in it of which.
    """

    text: str
    continued: bool
    files: tuple[KnownFile, ...] = ()


class Division:
    """A document that is to be divided, and how closely its pieces are filled.

    Args:
        files: Its files' texts, where a stage has joined them with path and what is behind them.
        leads: What stands before each.
        ids: Their ids as they came, without `leads`.
        fitting: What its pieces have to fit in.
        known: Where a stage has joined them: where each is in the document. Else a lead is a
            separator, and no part of a piece that begins behind it.
    """

    def __init__(
        self,
        files: Sequence[str],
        leads: Sequence[str],
        ids: Sequence[TokenIds],
        fitting: Fitting,
        known: Sequence[KnownFile] = (),
    ) -> None:
        self._files = files
        self._leads = leads
        self._ids = ids
        self._fitting = fitting
        self._known = known
        self._sentinels = fitting.sentinels + _CUTTING
        self._of_leads = fitting.of_leads(leads)
        self._room = fitting.limit - fitting.ends
        self._less = _CUTTING

    def pieces(self) -> list[PieceText]:
        """The pieces; each further time smaller ones, since what was counted may not add up.

        A ValueError is raised if one character alone does not fit.
        """
        room, of_text = self._room, self._room - self._sentinels
        if of_text <= 0:
            raise ValueError(
                f"a part of it does not fit in {self._fitting.limit} tokens, the most of a piece: "
                "raise context.tokens, or take the document out of the raw shard"
            )
        self._room -= min(self._less, -(-of_text // 2))
        self._less *= 2
        return list(self._divided(room))

    def _divided(self, room: int) -> Iterator[PieceText]:
        # Every file counts a lead, though a piece may begin without one.
        lead = max(self._of_leads)
        sizes = [len(ids) + self._sentinels + lead for ids in self._ids]
        run: list[slice] = []
        for files in _with_text(self._files):
            file = next((n for n in range(files.start, files.stop) if self._files[n]), None)
            if file is None or sum(sizes[files]) <= room:
                run.append(files)
                continue
            yield from self._joined(run, sizes, room)
            run = []
            yield from self._cut(files, file, room)
        yield from self._joined(run, sizes, room)

    def _cut(self, files: slice, file: int, room: int) -> Iterator[PieceText]:
        """A file that does not fit, with empty ones next to it."""
        room -= self._sentinels
        if self._known:
            room -= self._of_leads[file]
        texts = divide_text(self._files[file], self._ids[file], max(room, 1), self._fitting)
        if not self._known:
            # An empty file next to it can be no piece: a document has a text.
            texts[0] = "".join(self._leads[files.start + 1 : file + 1]) + texts[0]
            texts[-1] += "".join(self._leads[file + 1 : files.stop])
            yield from (PieceText(text, number > 0) for number, text in enumerate(texts))
            return
        ends = [*accumulate(map(len, texts), initial=0)]
        for text, (begin, end) in zip(texts, pairwise(ends), strict=True):
            lead = "" if begin else self._leads[file]
            yield PieceText(lead + text, begin > 0, (_part(self._known[file], begin, end),))

    def _joined(self, run: list[slice], sizes: list[int], room: int) -> Iterator[PieceText]:
        """Files that each fit, together in as few pieces as hold them."""
        if not run:
            return
        edges = np.cumsum([0, *(sum(sizes[files]) for files in run)])
        for begin, end in pairwise(even_bounds(edges, room).tolist()):
            files = slice(run[begin].start, run[end - 1].stop)
            texts = chain.from_iterable(zip(self._leads[files], self._files[files], strict=True))
            first = 0 if self._known else 1
            yield PieceText("".join(islice(texts, first, None)), False, (*self._known[files],))


def _part(file: KnownFile, begin: int, end: int) -> KnownFile:
    """What of a file is between two places in it, counted from behind its lead."""
    ends = [*accumulate((file.header, file.chars, file.tail), initial=0)]
    places = [min(max(place, begin), end) for place in ends]
    header, chars, tail = (after - before for before, after in pairwise(places))
    lead = 0 if begin else file.lead
    return file._replace(lead=lead, header=header, chars=chars, tail=tail)


def _with_text(files: Sequence[str]) -> list[slice]:
    """A document's files, an empty one together with the next, or the last with the one before."""
    found: list[slice] = []
    begin = 0
    while begin < len(files):
        end = begin + 1 if files[begin] else begin + 2
        if end > len(files):
            begin, end = found.pop().start, len(files)
        found.append(slice(begin, end))
        begin = end
    return found


def even_bounds(edges: Ints, room: int) -> Ints:
    """Which edges to cut at: as few as can be, and these as evenly as the edges allow.

    Args:
        edges: Where cuts may be, ascending, the first and the last included.
        room: The most between two cuts; a step between two edges that is larger stands alone.

    Returns:
        Indices of edges, the first and the last included: of the edges 0 4 5 9 14 20 and a room of
        12 it is the first, the one at 9, and the last.
    """
    # From the end: the first edge from which one piece suffices, then two, and so on.
    earliest = [len(edges) - 1]
    while earliest[-1]:
        least = int(np.searchsorted(edges, edges[earliest[-1]] - room))
        earliest.append(min(least, earliest[-1] - 1))
    count, total = len(earliest) - 1, int(edges[-1] - edges[0])
    bounds = [0]
    for number, least in enumerate(reversed(earliest[:-1]), 1):
        wanted = int(edges[0]) + total * number // count
        after = int(np.searchsorted(edges, wanted))
        nearest = after - int(edges[after] - wanted > wanted - edges[after - 1])
        reached = int(np.searchsorted(edges, edges[bounds[-1]] + room, side="right")) - 1
        bounds.append(min(max(nearest, least), max(reached, bounds[-1] + 1)))
    return np.array(bounds)


def divide_text(text: str, ids: TokenIds, room: int, fitting: Fitting) -> list[str]:
    """A text in pieces of about `room` ids at most, at line starts; lines above that are cut too.

    `ids` are those of the whole text. Those of a piece alone may be a few more.
    """
    content = text.encode()
    # Where ids end, in bytes. A normal form is longer or shorter: it is taken to be so evenly.
    ends = np.cumsum(fitting.tokenizer.vocabulary.sizes[ids])
    if ends[-1] != len(content):
        ends = ends * len(content) // max(int(ends[-1]), 1)
    is_feed = np.frombuffer(content, np.uint8)[:-1] == ord("\n")
    lines = np.flatnonzero(np.concatenate([[True], is_feed, [True]]))
    edges = np.searchsorted(ends, lines, side="right")
    is_long = np.diff(edges) > room
    if not is_long.any():
        chosen = lines[even_bounds(edges, room)].tolist()
    else:
        of_line = np.searchsorted(lines, ends) - 1
        places = np.sort(np.concatenate([lines, ends[is_long[of_line]]]))
        cuts = places[even_bounds(np.searchsorted(ends, places, side="right"), room)]
        between_lines = lines[np.searchsorted(lines, cuts)] == cuts
        # A cut that is moved back by more than a piece's size would make the next as large again.
        window = min(_WINDOW, room)
        chosen = [0]
        for at, is_start in zip(cuts[1:].tolist(), between_lines[1:].tolist(), strict=True):
            chosen.append(at if is_start else _between(content, at, chosen[-1], window, fitting))
        chosen = sorted({*chosen})
    return [content[begin:end].decode() for begin, end in pairwise(chosen)]


def _between(content: bytes, at: int, before: int, window: int, fitting: Fitting) -> int:
    """The last place up to a byte that is between two graphemes, or else between code points.

    `before` is another such place, before it.
    """
    begin, at = _code_point(content, max(at - window, before)), _code_point(content, at)
    # Two regional indicators are a flag: which two is counted from the first of them on.
    while begin > before and content.startswith(_INDICATOR, begin - _INDICATOR_BYTES):
        begin -= _INDICATOR_BYTES
    text = content[begin : _code_point(content, at + window)].decode()
    place, between = begin, at  # one grapheme may be longer than the window
    for grapheme in regex.findall(r"\X", text):
        place += len(grapheme.encode())
        if place > at:
            break
        between = place
    # A repository token that is cut in two would be none.
    for token in map(str.encode, fitting.recipe.fim.repository_tokens):
        found = content.rfind(token, max(between - len(token) + 1, 0), between + len(token) - 1)
        if found >= 0:
            between = found
    return between


def _code_point(content: bytes, at: int) -> int:
    """The last place up to a byte where a code point begins, or the end."""
    while at < len(content) and content[at] & 0xC0 == 0x80:
        at -= 1
    return min(at, len(content))
