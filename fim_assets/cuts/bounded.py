"""Middles of bounded length: the law of `fim.max_middle`, once for all units and methods.

The law is that of Fast-LLM's FIM with a greatest length of the middle: its length is uniform in
0..min(most, units of the file), then its start is uniform in what is left. A method that looks at
the text draws its cuts among those that fit instead.

What a unit is stands in `Bound`. Characters and lines add up: a middle that holds so many units of
its file has as many alone. Ids do not, since a tokenizer may cut a part otherwise than the whole,
so that what is drawn by the file's ids is encoded alone too, and shortened or drawn again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from fim_assets.cuts.base import Attempt, Cuts, Ranks, RanksOf

if TYPE_CHECKING:
    from fim_assets.cuts.files import Files
    from fim_assets.draws import Ints, UInts

TRIES = 16
"""Cuts that a method draws for a file, of which the first is taken that fits when it is alone."""

BOUNDED_TEXT = "a length of the middle, then its start"
"""Where methods that keep the law cut, as the report says it."""

Unit = Literal["chars", "lines", "tokens"]

EndsOf: TypeAlias = "Callable[[list[str]], list[Ints]]"
"""Where the units of each text end, in bytes of its UTF-8, the last at the text's end."""

Answer = tuple[int, int] | str
"""The two cuts of a file in code points, or the reason why it has none."""


def _code_point_ends(texts: list[str]) -> "list[Ints]":
    import numpy as np

    data = (np.frombuffer(text.encode(), np.uint8) for text in texts)
    return [np.append(np.flatnonzero((of & 0xC0) != 0x80), len(of))[1:] for of in data]


def _line_ends(texts: list[str]) -> "list[Ints]":
    import numpy as np

    found = []
    for text in texts:
        data = np.frombuffer(text.encode(), np.uint8)
        feeds = np.flatnonzero(data == ord("\n")) + 1
        found.append(feeds if text.endswith("\n") or not text else np.append(feeds, len(data)))
    return found


ENDS: dict[str, EndsOf] = {"chars": _code_point_ends, "lines": _line_ends}
"""By unit; where ids end, a tokenizer says."""


@dataclass(frozen=True)
class Bound:
    """The longest middle that is allowed: so many of a unit.

    Attributes:
        unit: Code points, lines (a part of one counts as one), or ids of a tokenizer.
        most: At least 1.
        ends: Where they end in a text that is taken alone.
    """

    unit: Unit
    most: int
    ends: EndsOf

    def positions(self, texts: list[str], before: int, behind: int) -> "list[range | Ints]":
        """Where a middle may begin and end in each text, code points, in order.

        These are the text's beginning and the ends of units that are no part of a code point;
        those among the first `before` code points or the last `behind` move to where these end.
        """
        import numpy as np

        if self.unit == "chars":
            return [range(before, len(text) - behind + 1) for text in texts]
        found: list[range | Ints] = []
        for text, ends in zip(texts, self.ends(texts), strict=True):
            at, whole = _code_points(text, ends)
            every = np.concatenate([[0], at[whole], [len(text)]]).clip(before, len(text) - behind)
            found.append(every[np.append(True, every[1:] > every[:-1])])
        return found

    def last_fitting(self, text: str, ends: "Ints", starts: "Ints") -> "Ints":
        """For each of some positions the last one that may end a middle which begins there.

        Positions are code points, and what is given is their indices. `ends` are the text's.
        """
        import numpy as np

        at, _ = _code_points(text, ends)
        unit_at = np.searchsorted(at, starts, side="right")
        unit_before = np.searchsorted(at, starts) + 1
        return np.searchsorted(unit_before, unit_at + self.most, side="right") - 1

    def too_long(self, middles: Mapping[int, str]) -> "dict[int, Ints]":
        """Those that have more units than allowed, with their ends."""
        ends = self.ends([*middles.values()])
        rows = zip(middles, ends, strict=True)
        return {row: of_middle for row, of_middle in rows if len(of_middle) > self.most}


def _code_points(text: str, ends: "Ints") -> "tuple[Ints, Ints]":
    """Bytes as code points, rounded up, and the indices of those that did not need it."""
    import numpy as np

    if text.isascii():
        return ends, np.arange(len(ends))
    data = np.frombuffer(text.encode(), np.uint8)
    starts = np.append(np.flatnonzero((data & 0xC0) != 0x80), len(data))
    at = np.searchsorted(starts, ends)
    return at, np.flatnonzero(starts[at] == ends)


class BoundedLaw(NamedTuple):
    """The law for a method that cuts by position: the fewest code points that each part has.

    Where a middle must not be empty, its length is drawn from 1 on.
    """

    prefix: int
    middle: Literal[0, 1]
    suffix: int

    def cut(self, files: "Files", rows: "Ints", bound: Bound) -> Attempt:
        """Cut files, each of which has more code points than the parts together.

        A middle that has too many units alone ends earlier: where the last allowed one ends, and
        again until it fits. It may be left empty then: one code point can be several ids.
        """
        import numpy as np

        texts = [files.texts[row] for row in rows.tolist()]
        positions = bound.positions(texts, self.prefix, self.suffix)
        steps = np.fromiter(map(len, positions), np.int64, len(positions)) - 1
        drawn = self.draw(files.keys[rows], files.indices[rows], steps, bound.most)
        first, second = (
            [int(of_file[step]) for of_file, step in zip(positions, of_cut.tolist(), strict=True)]
            for of_cut in drawn
        )
        waiting = [*range(len(texts))]
        while waiting:
            middles = {row: texts[row][first[row] : second[row]] for row in waiting}
            waiting = []
            for row, ends in bound.too_long(middles).items():
                source, chars = middles[row].encode(), len(middles[row])
                fitting = source[: ends[bound.most - 1]].decode(errors="ignore")
                second[row] = first[row] + min(len(fitting), chars - 1)
                waiting.append(row)
        return Attempt(rows, Cuts(np.array(first, np.int64), np.array(second, np.int64)))

    def or_without(self, unbounded: "Callable[[Files, Ints], Attempt]") -> Callable[..., Attempt]:
        """The `cut` of a method that cuts by this law where there is a bound."""

        def cut(files: "Files", rows: "Ints", *, max_middle: Bound | None) -> Attempt:
            if max_middle is None:
                return unbounded(files, rows)
            return self.cut(files, rows, max_middle)

        return cut

    def draw(self, keys: "UInts", files: "Ints", steps: "Ints", most: int) -> Cuts:
        """Indices of two positions in files of so many positions less one, shape (n,) each."""
        import numpy as np

        from fim_assets.draws import RandomStream, integers, uniforms

        # Three steps, at most two: a middle of 0, 1 or 2 steps has 1/3 each, and then one of 4, 3
        # or 2 starts.
        lengths = np.minimum(most, steps) - self.middle + 1
        middle = self.middle + integers(uniforms(keys, files, RandomStream.FIRST_CUT), lengths)
        starts = steps - middle + 1
        first = integers(uniforms(keys, files, RandomStream.SECOND_CUT), starts)
        return Cuts(first, first + middle)

    def ranks(self, most: int) -> RanksOf:
        """The ranks of cuts where the unit is code points: of the middle's length and its start."""

        def ranks(keys: "UInts", files: "Ints", lengths: "Ints", cuts: Cuts) -> Ranks:
            import numpy as np

            from fim_assets.draws import RandomStream, uniforms

            steps = (lengths - self.prefix - self.suffix).astype(np.float64)
            middle, first = cuts.second - cuts.first, cuts.first - self.prefix
            v, w = (
                uniforms(keys, files, stream)
                for stream in (RandomStream.FIRST_RANK, RandomStream.SECOND_RANK)
            )
            # A cut that cannot be may divide by 0; what comes of it is not in [0, 1].
            with np.errstate(divide="ignore", invalid="ignore"):
                of_length = (middle - self.middle + v) / (np.minimum(most, steps) - self.middle + 1)
                return Ranks(of_length, (first + w) / (steps - middle + 1))

        return ranks


def first_fitting(
    draw: Callable[[Sequence[int], int], Mapping[int, Answer]],
    texts: Mapping[int, str],
    bound: Bound,
    reason: str,
) -> dict[int, Answer]:
    """The first of `TRIES` cuts of each file whose middle fits when it is alone, else the reason.

    `draw` is given the files to cut, and how often they have been.
    """
    answers: dict[int, Answer] = {}
    waiting: Sequence[int] = [*texts]
    for turn in range(TRIES):
        if not waiting:
            break
        drawn = draw(waiting, turn)
        middles = {
            row: texts[row][slice(*answer)]
            for row, answer in drawn.items()
            if not isinstance(answer, str)
        }
        waiting = [*bound.too_long(middles)]
        answers |= drawn
    return answers | dict.fromkeys(waiting, reason)
