"""The cut method `lines`: the middle is one or more whole lines."""

from collections.abc import Sequence

import numpy as np

from fim_assets.cuts.base import Attempt, Cut, Cuts, distinct_pairs
from fim_assets.cuts.files import Files
from fim_assets.draws import Ints, UInts

_LINE_FEED = ord("\n")


def line_starts(text: str) -> Ints:
    """Where lines start, in code points: at 0 and behind each line feed, shape (lines,)."""
    if text.isascii():
        feeds = np.flatnonzero(np.frombuffer(text.encode(), np.uint8) == _LINE_FEED)
    else:
        feeds = np.flatnonzero(np.frombuffer(text.encode("utf-32-le"), "<u4") == _LINE_FEED)
    return np.append(0, feeds + 1)


def line_cuts(keys: UInts, files: Ints, starts: Sequence[Ints]) -> Cuts:
    """Draw two distinct line starts uniformly, of at least two each, and sort them."""
    pairs = distinct_pairs(keys, files, np.fromiter(map(len, starts), np.int64, len(starts)))
    cuts = (
        np.array([of_file[line] for of_file, line in zip(starts, lines, strict=True)], np.int64)
        for lines in (numbers.tolist() for numbers in pairs)
    )
    return Cuts(*cuts)


def _cut(files: Files, rows: Ints) -> Attempt:
    starts = {row: line_starts(files.texts[row]) for row in rows.tolist()}
    # A second line that is empty, behind a last line feed, is none.
    one_line = {
        row: "one_line"
        for row, of_file in starts.items()
        if len(of_file) < 2 or of_file[1] == files.lengths[row]
    }
    served = np.array([row for row in starts if row not in one_line], np.int64)
    cuts = line_cuts(
        files.keys[served], files.indices[served], [starts[row] for row in served.tolist()]
    )
    return Attempt(served, cuts, one_line)


CUT = Cut(
    name="lines",
    text="two distinct line starts",
    cut=_cut,
    reasons={"one_line": "has one line, and lines are to be cut between lines"},
)
