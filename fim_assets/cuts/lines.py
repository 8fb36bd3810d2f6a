"""The cut method `lines`: the middle is one or more whole lines."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fim_assets.cuts.base import Attempt, Cut, Cuts, distinct_pairs

if TYPE_CHECKING:
    from fim_assets.cuts.files import Files
    from fim_assets.draws import Ints, UInts


def line_starts(text: str) -> "Ints":
    """Where lines start, in code points: at 0 and behind each line feed, shape (lines,)."""
    import numpy as np

    encoding, dtype = ("ascii", "u1") if text.isascii() else ("utf-32-le", "<u4")
    feeds = np.flatnonzero(np.frombuffer(text.encode(encoding), dtype) == ord("\n"))
    return np.append(0, feeds + 1)


def line_cuts(keys: "UInts", files: "Ints", starts: "Sequence[Ints]") -> Cuts:
    """Draw two distinct line starts uniformly, of at least two each, and sort them."""
    import numpy as np

    pairs = distinct_pairs(keys, files, np.fromiter(map(len, starts), np.int64, len(starts)))
    cuts = [
        np.array([of_file[line] for of_file, line in zip(starts, lines, strict=True)], np.int64)
        for lines in pairs
    ]
    return Cuts(*cuts)


def _cut(files: "Files", rows: "Ints") -> Attempt:
    starts = {row: line_starts(files.texts[row]) for row in rows.tolist()}
    # A second line that is empty, behind a last line feed, is none.
    one_line = {
        row: "one_line"
        for row, of_file in starts.items()
        if len(of_file) < 2 or of_file[1] == files.lengths[row]
    }
    several = rows[[row not in one_line for row in starts]]
    keys, indices = files.keys[several], files.indices[several]
    cuts = line_cuts(keys, indices, [starts[row] for row in several.tolist()])
    return Attempt(several, cuts, one_line)


_REASONS = {"one_line": "has one line, and lines are to be cut between lines"}

CUT = Cut("lines", "two distinct line starts", _cut, reasons=_REASONS)
