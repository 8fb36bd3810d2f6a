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
    """Where documents are, in the arrays' order: each field but the names has shape (n,).

    `lines` are those of the raw shard, and `pieces` says which piece of its document one is;
    `arrays` are indices of `names`; the tokens are those from `starts` to before `ends` there.
    """

    names: list[str]
    lines: Integers
    pieces: Integers
    arrays: Integers
    starts: Integers
    ends: Integers

    @classmethod
    def gather(cls, frames: Iterable[pl.DataFrame]) -> "DocumentSpans":
        """From `line`, `array`, `start` and `end`, a few documents at a time.

        `piece` is 0 where there is no such column.
        """
        codes: dict[str, int] = {}
        columns: list[list[Integers]] = [[np.empty(0, np.uint8)] for _ in range(5)]
        for frame in frames:
            for name in frame["array"].unique(maintain_order=True):
                codes.setdefault(name, len(codes))
            arrays = frame["array"].replace_strict(codes, return_dtype=pl.Int64)
            pieces = frame["piece"] if "piece" in frame.columns else arrays * 0
            values = frame["line"], pieces, arrays, frame["start"], frame["end"]
            for column, numbers in zip(columns, values, strict=True):
                column.append(_small(numbers.to_numpy()))
        return cls(list(codes), *(np.concatenate(columns.pop(0)) for _ in range(5)))

    def are_in(self, array: str) -> "npt.NDArray[np.bool_]":
        """Which documents are in an array, shape (n,)."""
        code = self.names.index(array) if array in self.names else len(self.names)
        return np.equal(self.arrays, code)

    def gaps(self, array: str) -> Ints:
        """What no document covers between an array's documents: starts and ends, shape (k, 2)."""
        inside = self.are_in(array)
        free = np.stack([self.ends[inside][:-1], self.starts[inside][1:]], axis=1)
        return free[free[:, 0] < free[:, 1]].astype(np.int64)

    def rows(self, lines: Sequence[int], pieces: Sequence[int]) -> Ints:
        """Which documents these are, by their lines and pieces; -1 for those that are not there."""
        if not len(self.lines):
            return np.full(len(lines), -1)
        keys = self._key(np.array(lines), np.array(pieces))
        order, ordered = self._by_line
        at = np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)
        return np.where(ordered[at] == keys, order[at], -1).astype(np.int64)

    def name(self, row: int) -> str:
        """The array in which a document is."""
        return self.names[int(self.arrays[row])]

    def spans(self, rows: Ints) -> list[TokenSpan]:
        """Where some documents are."""
        names = map(self.name, rows.tolist())
        return [*map(TokenSpan, names, self.starts[rows].tolist(), self.ends[rows].tolist())]

    @cached_property
    def _by_line(self) -> tuple[Integers, Integers]:
        """The documents by lines and pieces: their indices, and their keys."""
        keys = self._key(self.lines, self.pieces)
        order = np.argsort(keys, kind="stable")
        return _small(order), _small(keys[order])

    def _key(self, lines: Integers, pieces: Integers) -> Ints:
        most = int(self.pieces.max(initial=0)) + 1
        return np.where(pieces < most, lines.astype(np.int64) * most + pieces, -1)


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
