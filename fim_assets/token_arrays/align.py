"""The order in which no rearranged document is cut where a trainer's sequences end.

A trainer that concatenates and chunks cuts each array at every multiple of its window: `tokens` of
the recipe's `context`, and what its layout's trainer takes with them. Rearranged documents that are
cut lose their middles; unchanged ones may be cut anywhere. Each array's documents are therefore
ordered among themselves, so that rearranged ones stand inside of windows and unchanged ones across
their ends. A window of 8 tokens, with rearranged (r) and unchanged (u) documents of these sizes:

    as shuffled     r5 r4 u2 u6 r6 r1 r2 r3 …
    as aligned      r5 u6.. | ..u6 r4 u2.. | ..u2 r6 r1 | r2 r3 …

They stay in their order as long as it does no harm. `r4` does not fit behind `r5`, in 3 tokens, so
that the first unchanged document goes there which crosses and leaves `r4` room: `u6`, not `u2`. If
there is none, the last few documents of the window are chosen anew: some that fill it, or fill it
up to where an unchanged one does. Which sums documents have is one integer, bit t of which says
whether some take t tokens. Where nothing helps, for want of unchanged or of short documents, a
rearranged one is cut all the same, or padding takes its place.

No document moves by as many as `LOOK_AHEAD` places, so that the mix along an array stays the
shuffle's, and memory holds few documents at once next to some numbers for each.
"""

from collections.abc import Iterator
from itertools import count, islice, pairwise, starmap
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fim_assets.token_arrays.shuffle_buffer import Ints

Flags = npt.NDArray[np.bool_]

LOOK_AHEAD = 256
"""Places that a document may move by, less one: more cost time, and leave few more uncut."""

_LAST = 64
"""Documents at an array's end of which rearranged ones go first: the trainer drops what is left
there of a window, and where no more documents come, unchanged ones must not run out first."""

_CHOSEN_ANEW = 4
"""Documents before a window's end that others may take the place of."""

_AT_ONCE = 1 << 16


class Aligned(NamedTuple):
    """Documents in the order of the arrays: each one's index, and its first token in its array.

    Both have shape (n,). A document that starts at 0 begins the next array; where one starts behind
    the end of that before it, what is between is padding.
    """

    order: Ints
    starts: Ints


def align(
    order: Ints, sizes: Ints, rearranged: Flags, window: int, max_size: int, *, pad: bool
) -> Aligned:
    """Order the documents of each array, so that windows cut as few rearranged ones as can be.

    Args:
        order: Indices of documents, as they fill arrays of at most `max_size` tokens, shape (n,).
        sizes: Their tokens, none more than `max_size`, by index.
        rearranged: Which have a rearranged file, by index.
        window: Tokens that a trainer takes at once.
        max_size: Padding is not counted in it.
        pad: Whether padding takes the place of what would be cut.
    """
    # What is longer than a window is cut in any order, and as good as an unchanged document.
    whole = (rearranged & (sizes <= window))[order]
    sizes = sizes[order]
    placed = np.empty((len(order), 2), np.int64)
    for own in _arrays(sizes, max_size):
        places = _Array(sizes[own], whole[own], window, pad=pad).places()
        for part in _parts(own):
            some = islice(places, part.stop - part.start)
            placed[part] = np.fromiter(some, np.dtype((np.int64, 2)))
            placed[part, 0] = order[placed[part, 0] + own.start]
    return Aligned(placed[:, 0], placed[:, 1])


def count_cut(aligned: Aligned, sizes: Ints, rearranged: Flags, window: int) -> dict[str, int]:
    """What became of the rearranged documents; sizes and flags are by index, as for `align`.

    `rearranged_crossing` are those that a window's end cuts, `rearranged_dropped` those in what is
    left of a window at an array's end, which trainers drop.
    """
    begins = [*np.flatnonzero(aligned.starts == 0).tolist(), len(aligned.starts)]
    crossing = dropped = tokens = 0
    for own in starmap(slice, pairwise(begins)):
        size = int(aligned.starts[own.stop - 1] + sizes[aligned.order[own.stop - 1]])
        tokens += size
        for part in _parts(own):
            documents = aligned.order[part][rearranged[aligned.order[part]]]
            starts = aligned.starts[part][rearranged[aligned.order[part]]]
            ends = starts + sizes[documents]
            crosses = starts // window != (ends - 1) // window
            crossing += int(crosses.sum())
            dropped += int((~crosses & (ends > size // window * window)).sum())
    return {
        "rearranged_documents": int(rearranged.sum()),
        "rearranged_crossing": crossing,
        "rearranged_dropped": dropped,
        "padding_tokens": tokens - int(sizes.sum()),
    }


def _arrays(sizes: Ints, max_size: int) -> list[slice]:
    """The documents of each array."""
    tokens = np.cumsum(sizes)
    arrays: list[slice] = []
    end = before = 0
    while end < len(sizes):
        begin, end = end, int(np.searchsorted(tokens, before + max_size, "right"))
        before = int(tokens[end - 1])
        arrays.append(slice(begin, end))
    return arrays


def _parts(documents: slice) -> Iterator[slice]:
    """An array's documents, some at a time."""
    for begin in range(documents.start, documents.stop, _AT_ONCE):
        yield slice(begin, min(begin + _AT_ONCE, documents.stop))


class _Document(NamedTuple):
    """A document that waits: its place in the given order, its tokens, whether to keep it whole."""

    number: int
    size: int
    whole: bool


class _Array:
    """An array's documents, of which `sizes` and `whole` are given in order, shape (n,)."""

    def __init__(self, sizes: Ints, whole: Flags, window: int, *, pad: bool) -> None:
        self._sizes = sizes
        self._whole = whole
        self._window = window
        self._pad = pad
        self._waiting: list[_Document] = []

    def places(self) -> Iterator[tuple[int, int]]:
        """Numbers of the documents in their new order, and each one's first token."""
        waiting, documents = self._waiting, self._documents()
        following, at = next(documents, None), 0
        while waiting or following is not None:
            while following is not None and (
                not waiting or following.number < waiting[0].number + LOOK_AHEAD
            ):
                waiting.append(following)
                following = next(documents, None)
            if following is None and len(waiting) <= _LAST:
                waiting.sort(key=lambda document: -document.size * document.whole)
            chosen, stuck = self._next(self._window - at % self._window, more=following is not None)
            for place in chosen:
                yield waiting[place].number, at
                at += waiting[place].size
            for place in sorted(chosen, reverse=True):
                del waiting[place]
            if stuck and self._pad:
                at += -at % self._window

    def _documents(self) -> Iterator[_Document]:
        for part in _parts(slice(0, len(self._sizes))):
            sizes, whole = self._sizes[part].tolist(), self._whole[part].tolist()
            yield from map(_Document, count(part.start), sizes, whole)

    def _next(self, room: int, *, more: bool) -> tuple[list[int], bool]:
        """Places of the waiting documents that go next, `room` tokens before a window's end.

        And whether nothing helps the one that is to stand whole behind them.
        """
        left, fitting = room, 0
        for _, size, whole in self._waiting:
            if left <= 0 or (whole and size > left):
                break
            left -= size
            fitting += 1
        if left <= 0:
            return list(range(fitting)), False
        if more and (fitting == len(self._waiting) or fitting > LOOK_AHEAD // 2):
            # What comes later decides, and the first few can go.
            return list(range(max(1, fitting // 2))), False
        if fitting == len(self._waiting):
            return list(range(fitting)), False
        # How far into a window the next document may begin.
        latest = self._window - self._waiting[fitting].size
        for place in range(fitting + 1, len(self._waiting) if more else 0):
            _, size, whole = self._waiting[place]
            if not whole and size >= left and (size - left) % self._window <= latest:
                return [*range(fitting), place], False
        return self._choose_anew(room, fitting, latest)

    def _choose_anew(self, room: int, fitting: int, latest: int) -> tuple[list[int], bool]:
        """As `_next`, where so many documents fit in their order and none helps behind them."""
        kept = max(0, fitting - _CHOSEN_ANEW)
        left = room - sum(document.size for document in self._waiting[:kept])
        sums, all_sums = 1, (1 << left + 1) - 1
        before: list[tuple[int, int]] = []
        for place in range(kept, len(self._waiting)):
            _, size, whole = self._waiting[place]
            if not whole:
                taken = self._before_crossing(sums, left, size, latest)
                if taken is not None:
                    return [*range(kept), *self._summing(taken, before), place], False
            if size <= left:
                before.append((place, sums))
                sums |= sums << size & all_sums
                if sums >> left:
                    return [*range(kept), *self._summing(left, before)], False
        if self._pad:
            return [*range(kept), *self._summing(sums.bit_length() - 1, before)], True
        return list(range(fitting + 1)), True

    def _before_crossing(self, sums: int, left: int, size: int, latest: int) -> int | None:
        """The most of some sums from which a document crosses, and ends where the next one fits.

        `left` tokens before a window's end, a document of `size` tokens behind `taken` ones ends
        `taken + size - left` tokens behind it, of which whole windows do not count.
        """
        first = (left - size) % self._window
        for begin in (first, first - self._window):
            low, high = max(begin, left - size, 0), min(begin + latest, left)
            possible = sums >> low & (1 << max(high - low + 1, 0)) - 1
            if possible:
                return low + possible.bit_length() - 1
        return None

    def _summing(self, tokens: int, before: list[tuple[int, int]]) -> list[int]:
        """Places of documents that take so many tokens, by the sums that there were before each."""
        places = []
        for place, sums in reversed(before):
            if not sums >> tokens & 1:
                places.append(place)
                tokens -= self._waiting[place].size
        return places[::-1]
