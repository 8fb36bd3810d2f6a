"""The cut method `lines`: the middle is one or more whole lines."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fim_assets.cuts.base import Attempt, Cut, Cuts, distinct_pairs
from fim_assets.cuts.bounded import Answer, Bound, first_fitting

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


def fitting_line_cuts(files: "Files", starts: "dict[int, Ints]", bound: Bound) -> dict[int, Answer]:
    """Draw two line starts of each file, of those whose lines fit: all pairs as likely.

    `starts` are by the file's index. Pairs fit by the ids of the whole file, where ids are bound,
    and the first that is drawn and fits alone is taken.
    """
    import numpy as np

    from fim_assets.draws import RandomStream, draw_bits, integers, uniforms

    texts = {row: files.texts[row] for row in starts}
    fitting = {}
    for (row, text), ends in zip(texts.items(), bound.ends([*texts.values()]), strict=True):
        lines = np.arange(len(starts[row]))
        counts = np.maximum(bound.last_fitting(text, ends, starts[row]) - lines, 0)
        fitting[row] = np.cumsum(counts)

    def draw(rows: Sequence[int], turn: int) -> dict[int, Answer]:
        some = np.array(rows)
        seeds = draw_bits(files.keys[some], files.indices[some], RandomStream.FIRST_CUT)
        uniform = uniforms(seeds, np.full(len(some), turn), RandomStream.SECOND_CUT)
        pairs = integers(uniform, np.array([fitting[row][-1] for row in rows]))
        answers: dict[int, Answer] = {}
        for row, pair in zip(rows, pairs.tolist(), strict=True):
            # Pairs are numbered by the first line, then by the second: the last that the first
            # line has is one less than the sum so far.
            first = int(np.searchsorted(fitting[row], pair, side="right"))
            second = first + 1 + pair - (int(fitting[row][first - 1]) if first else 0)
            answers[row] = int(starts[row][first]), int(starts[row][second])
        return answers

    some = {row: text for row, text in texts.items() if fitting[row][-1]}
    nothing: dict[int, Answer] = dict.fromkeys(texts.keys() - some.keys(), _NO_LINES_FIT)
    return nothing | first_fitting(draw, some, bound, _NO_LINES_FIT)


def _cut(files: "Files", rows: "Ints", *, max_middle: Bound | None) -> Attempt:
    starts = {row: line_starts(files.texts[row]) for row in rows.tolist()}
    # A second line that is empty, behind a last line feed, is none.
    one_line = {
        row: "one_line"
        for row, of_file in starts.items()
        if len(of_file) < 2 or of_file[1] == files.lengths[row]
    }
    if max_middle is not None:
        others = {row: of_file for row, of_file in starts.items() if row not in one_line}
        return Attempt.of(one_line | fitting_line_cuts(files, others, max_middle))
    several = rows[[row not in one_line for row in starts]]
    keys, indices = files.keys[several], files.indices[several]
    cuts = line_cuts(keys, indices, [starts[row] for row in several.tolist()])
    return Attempt(several, cuts, one_line)


_NO_LINES_FIT = "no_lines_fit"

CUT = Cut(
    name="lines",
    text="two distinct line starts",
    cut=_cut,
    reasons={
        "one_line": "has one line, and lines are to be cut between lines",
        _NO_LINES_FIT: "has no line that is within fim.max_middle",
    },
    fields=("max_middle",),
)
