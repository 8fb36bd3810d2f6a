"""Where documents are in the arrays, and hashes of rows whose order does not matter.

All documents of a partition are held at once, so that everything here is small numbers in arrays.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from fim_assets.draws import mix
from fim_assets.token_arrays.shuffle_buffer import Ints

Integers = npt.NDArray[np.integer]


class TokenSpan(NamedTuple):
    """Some tokens of an array: its name, the first of them, and one past the last."""

    array: str
    start: int
    end: int


@dataclass(frozen=True)
class DocumentSpans:
    """Where documents are, in the arrays' order: each field but the first has shape (n,).

    `lines` are those of the raw shard, and `pieces` says which piece of its document one is;
    `arrays` are indices of `names`; the tokens are those from `starts` to before `ends` there.
    `shard` has the lines and pieces of the FIM shard's documents in its order, where these do not
    ascend.
    """

    names: list[str]
    lines: Integers
    pieces: Integers
    arrays: Integers
    starts: Integers
    ends: Integers
    shard: tuple[Integers, Integers] | None = None

    @classmethod
    def gather(
        cls, frames: Iterable[pl.DataFrame], shard: Iterable[pl.DataFrame] | None = None
    ) -> "DocumentSpans":
        """From `line`, `array`, `start` and `end`, a few documents at a time.

        `piece` is 0 where there is no such column. `shard` are `line` and `piece` of the FIM
        shard's documents, in its order.
        """
        codes: dict[str, int] = {}
        columns: list[list[Integers]] = [[] for _ in range(5)]
        for frame in frames:
            for name in frame["array"].unique(maintain_order=True):
                codes.setdefault(name, len(codes))
            array = frame["array"].replace_strict(codes, return_dtype=pl.Int64)
            values = (frame["line"], array, frame["start"], frame["end"])
            line, *others = (_small(numbers.to_numpy()) for numbers in values)
            for column, numbers in zip(columns, (line, _pieces(frame), *others), strict=True):
                column.append(numbers)
        ordered = None
        if shard is not None:
            both = [(_small(frame["line"].to_numpy()), _pieces(frame)) for frame in shard]
            ordered = _together(line for line, _ in both), _together(piece for _, piece in both)
        lines, pieces, arrays, starts, ends = (_together(columns.pop(0)) for _ in range(5))
        return cls(list(codes), lines, pieces, arrays, starts, ends, ordered)

    def are_in(self, array: str) -> "npt.NDArray[np.bool_]":
        """Which documents are in an array, shape (n,)."""
        code = self.names.index(array) if array in self.names else len(self.names)
        return np.equal(self.arrays, code)

    def gaps(self, array: str) -> Ints:
        """What no document covers between an array's documents: starts and ends, shape (k, 2)."""
        inside = self.are_in(array)
        free = np.stack([self.ends[inside][:-1], self.starts[inside][1:]], axis=1)
        return free[free[:, 0] < free[:, 1]].astype(np.int64)

    def in_shard_order(self, begin: int, end: int) -> tuple[list[int], list[TokenSpan]]:
        """Lines and spans of some documents, counted in the FIM shard's order."""
        rows = self._in_order[begin:end]
        names = [self.names[code] for code in self.arrays[rows].tolist()]
        spans = map(TokenSpan, names, self.starts[rows].tolist(), self.ends[rows].tolist())
        return self.lines[rows].tolist(), list(spans)

    @cached_property
    def _in_order(self) -> Integers:
        return _small(self._shard_order(self.lines, self.pieces))

    def shard_order(self, rows: pl.DataFrame) -> Ints:
        """The FIM shard's order of rows of documents, by `line` and, if there is one, `piece`.

        A row of a document that is not there is the last; rows of one keep their order.
        """
        return self._shard_order(rows["line"].to_numpy(), _pieces(rows))

    def _shard_order(self, lines: Integers, pieces: Integers) -> Ints:
        if self.shard is None:
            return np.lexsort((pieces, lines))
        count = 1 + max(int(numbers.max(initial=0)) for numbers in (pieces, self.shard[1]))
        wanted, there = (
            line.astype(np.int64) * count + piece for line, piece in ((lines, pieces), self.shard)
        )
        order = np.argsort(there, kind="stable")
        found = np.append(order, len(order))[np.searchsorted(there, wanted, sorter=order)]
        places = np.where(np.append(there, -1)[found] == wanted, found, len(order))
        return np.argsort(places, kind="stable")


def _pieces(frame: pl.DataFrame) -> Integers:
    if "piece" in frame.columns:
        return _small(frame["piece"].to_numpy())
    return np.zeros(frame.height, np.uint8)


def _together(numbers: Iterable[Integers]) -> Integers:
    return np.concatenate([np.empty(0, np.uint8), *numbers])


def _small(values: Ints) -> Integers:
    # The smallest type that holds the numbers: all documents' are held at once.
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    return values.astype(np.promote_types(np.min_scalar_type(low), np.min_scalar_type(high)))


def unordered_rows_hash(columns: Sequence[pl.Series]) -> int:
    """A number that tables share which hold the same rows, in whatever order.

    It is a sum over the rows, so that the numbers of a table's parts add up to the table's, see
    `equal_hashes`; tables with other rows share it by chance only.
    """
    hashes = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        numbers = column.hash() if column.dtype == pl.String else column.cast(pl.UInt64)
        hashes = mix(mix(hashes) + numbers.to_numpy() + np.uint64(1))
    return int(hashes.sum(dtype=np.uint64))


def equal_hashes(one: int, other: int) -> bool:
    """Whether sums of `unordered_rows_hash` are of the same rows: equal modulo 2**64."""
    return (one - other) % (1 << 64) == 0
