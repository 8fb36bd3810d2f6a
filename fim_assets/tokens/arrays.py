"""Token arrays in Dolma's layout: little-endian ids without a header, a csv.gz beside each."""

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fim_assets.files import HashingWriter
from fim_assets.receipts import Staging
from fim_assets.tables import TableWriter

Ints = npt.NDArray[np.int64]
Ids = npt.NDArray[np.unsignedinteger]

_TOKENS_AT_ONCE = 1 << 22
_ROWS_AT_ONCE = 1 << 16
_GZIP_LEVEL = 6

SCHEMA = pa.schema(
    [
        ("line", pa.int64()),
        ("id", pa.string()),
        ("array", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("tokens", pa.int64()),
        ("added_token_literals", pa.int64()),
    ]
)
"""`added_token_literals`: times a control token's name stands in the document's text, as text."""


class ArrayReader:
    """Reads spans of ids from a file of little-endian ids without a header; a context manager.

    The file is read, not mapped: mapped pages would count as the process's memory, up to the whole
    array.

    Attributes:
        size: Ids in the file.
    """

    def __init__(self, path: Path, dtype: str) -> None:
        self._dtype = np.dtype(dtype).newbyteorder("<")
        self._file = path.open("rb", buffering=0)
        self.size = path.stat().st_size // self._dtype.itemsize

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, start: int, end: int) -> Ids:
        """The ids from `start` to before `end`.

        Raises:
            EOFError: If the file ends before.
        """
        ids = np.empty(end - start, self._dtype)
        left = memoryview(ids.data).cast("B")
        self._file.seek(start * self._dtype.itemsize)
        while left:
            count = self._file.readinto(left)
            if not count:
                raise EOFError(f"{self._file.name} ends before token {end}")
            left = left[count:]
        return ids

    def blocks(self) -> Iterator[tuple[int, Ids]]:
        """The whole array: where each block begins, and its ids."""
        for start in range(0, self.size, _TOKENS_AT_ONCE):
            yield start, self.read(start, min(start + _TOKENS_AT_ONCE, self.size))


@dataclass(frozen=True)
class EncodedDocuments:
    """A partition's encoded documents, in the FIM shard's order.

    Attributes:
        tokens: Their ids one after the other, BOS and EOS included.
        lengths: Tokens of each document, shape (n,).
        lines: Each document's line in the raw shard, shape (n,).
        literals: Added tokens' names in each document's text, shape (n,).
        ids: Each document's id or null, n large strings.
        source: The FIM shard's path below the data root.
    """

    tokens: ArrayReader
    lengths: Ints
    lines: Ints
    literals: Ints
    ids: pa.LargeStringArray
    source: str


def fill_arrays(lengths: Ints, max_size: int) -> list[slice]:
    """Which documents go into which array: in order, none split, none over `max_size` tokens.

    Args:
        lengths: Tokens of each document in the order of writing, none over `max_size`, shape (n,).
        max_size: Tokens in one array at most.
    """
    ends = np.cumsum(lengths)
    slices = []
    first = 0
    while first < len(lengths):
        before = ends[first] - lengths[first]
        stop = int(np.searchsorted(ends, before + max_size, side="right"))
        slices.append(slice(first, stop))
        first = stop
    return slices


def write_arrays(documents: EncodedDocuments, order: Ints, max_size: int, staging: Staging) -> None:
    """Write a partition's arrays, none of them empty, and its parquet in the arrays' order.

    Args:
        documents: What to write.
        order: Indices of the documents in the order of writing, shape (n,).
        max_size: Tokens in one array at most.
        staging: Takes `-00000.npy`, `-00000.csv.gz` and so on, and `.parquet`.
    """
    with TableWriter(staging.create(".parquet"), SCHEMA) as table:
        for number, part in enumerate(fill_arrays(documents.lengths[order], max_size)):
            ending = f"-{number:05d}"
            _write_tokens(documents, order[part], staging.create(f"{ending}.npy"))
            name = f"{staging.place.key}{ending}.npy"
            _write_rows(documents, order[part], staging.create(f"{ending}.csv.gz"), table, name)


def _write_tokens(documents: EncodedDocuments, chosen: Ints, file: HashingWriter) -> None:
    ends = np.cumsum(documents.lengths)[chosen]
    begins = ends - documents.lengths[chosen]
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        file.write(documents.tokens.read(begin, end).data)


def _write_rows(
    documents: EncodedDocuments,
    chosen: Ints,
    file: HashingWriter,
    table: TableWriter,
    array: str,
) -> None:
    lengths = documents.lengths[chosen]
    ends = np.cumsum(lengths)
    with (
        gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0) as packed,
        TextIOWrapper(packed, "utf-8", newline="") as text,
    ):
        rows = csv.writer(text)
        for at in range(0, len(chosen), _ROWS_AT_ONCE):
            some = slice(at, at + _ROWS_AT_ONCE)
            ids = documents.ids.take(pa.array(chosen[some]))
            starts = ends[some] - lengths[some]
            rows.writerows(
                zip(
                    starts.tolist(),
                    ends[some].tolist(),
                    map(_one_line, ids.to_pylist()),
                    [documents.source] * len(ids),
                    (chosen[some] + 1).tolist(),
                    strict=True,
                )
            )
            table.write(
                {
                    "line": documents.lines[chosen[some]],
                    "id": ids.cast(pa.string()),
                    "array": [array] * len(ids),
                    "start": starts,
                    "end": ends[some],
                    "tokens": lengths[some],
                    "added_token_literals": documents.literals[chosen[some]],
                }
            )


def _one_line(identifier: str | None) -> str:
    return (identifier or "").replace("\r", "\\r").replace("\n", "\\n")
