"""Encoded documents on their way from the shard's order to the arrays': written once, read once.

All that arrays and parquet need of a document lies together, so that memory holds two numbers a
document, and a small partition never touches the disk. A document with 3 tokens of 2 bytes, 1 file
and the id `a7`:

    offset 0    `DOCUMENT`, 49 bytes: tokens 3, files 1, id_bytes 2, …
          49    `FILE`, 65 bytes
         114    its token ids, 6 bytes
         120    its id, 2 bytes
"""

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from fim_assets.fim_shards.arrangements import PARTS

Ints = npt.NDArray[np.int64]
Ids = npt.NDArray[np.unsignedinteger]

_IN_MEMORY = 64 << 20

DOCUMENT = np.dtype(
    [
        ("tokens", "<i8"),
        ("files", "<i8"),
        ("id_bytes", "<i8"),
        ("line", "<i8"),
        ("shard_line", "<i8"),
        ("literals", "<i8"),
        ("changed", "?"),
    ]
)
"""A document: numbers of its tokens, files and bytes of its id (-1: it has none), its line in the
raw shard and in the FIM shard, how often added tokens' names stand in its text, and whether
encoding changes it."""

FILE = np.dtype(
    [
        ("order", "u1"),
        ("start", "<i8"),
        ("end", "<i8"),
        *((f"{part}_{edge}", "<i8") for part in PARTS for edge in ("start", "end")),
    ]
)
"""A file: its order, by its index in `arrangements.ORDERS`, and where it and its parts lie among
its document's tokens, ends exclusive; -1 for the parts of a file that is not rearranged."""

Records = npt.NDArray[np.void]


class SpooledDocument(NamedTuple):
    """A document as it was appended.

    Attributes:
        tokens: Its ids, shape (tokens,).
        header: One `DOCUMENT`, shape (1,).
        files: Its `FILE`s, shape (files,).
        id: Its id, None where it has none.
    """

    tokens: Ids
    header: Records
    files: Records
    id: str | None


class Spool:
    """Holds encoded documents, in memory or in a nameless file; a context manager.

    Args:
        folder: Where the file lies, if one is needed.
        dtype: Of the token ids.
    """

    def __init__(self, folder: Path, dtype: "np.dtype[Any]") -> None:
        self._dtype = dtype
        self._file = SpooledTemporaryFile(_IN_MEMORY, "w+b", dir=str(folder))  # noqa: SIM115 - see __exit__
        self._ends: list[Ints] = [np.zeros(1, np.int64)]
        self._bounds: Ints | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(
        self, tokens: Ids, documents: Records, files: Records, ids: Sequence[str | None]
    ) -> None:
        """Append the documents of a block.

        Args:
            tokens: Their ids, one document after the other.
            documents: `DOCUMENT`s, shape (n,); `id_bytes` is filled in here.
            files: `FILE`s of all of them, in order.
            ids: Their ids, n of them.
        """
        if not len(documents):
            return
        encoded = [None if identifier is None else identifier.encode() for identifier in ids]
        documents["id_bytes"] = [-1 if content is None else len(content) for content in encoded]
        headers = memoryview(documents.tobytes())
        records = memoryview(files.tobytes())
        content = tokens.astype(self._dtype, copy=False).view(np.uint8).data
        size = np.maximum(documents["id_bytes"], 0) + DOCUMENT.itemsize
        size += documents["files"] * FILE.itemsize + documents["tokens"] * self._dtype.itemsize
        self._ends.append(self._ends[-1][-1] + np.cumsum(size))
        self._file.writelines(
            chain.from_iterable(
                zip(
                    _cut(headers, np.full(len(documents), DOCUMENT.itemsize)),
                    _cut(records, documents["files"] * FILE.itemsize),
                    _cut(content, documents["tokens"] * self._dtype.itemsize),
                    (identifier or b"" for identifier in encoded),
                    strict=True,
                )
            )
        )

    def __getitem__(self, number: int) -> SpooledDocument:
        """The document with this number in the order of appending, 0-based, once all are there."""
        if self._bounds is None:
            self._bounds = np.concatenate(self._ends)
            self._ends.clear()
        begin, end = self._bounds[number : number + 2].tolist()
        self._file.seek(begin)
        content = self._file.read(end - begin)
        header: Records = np.frombuffer(content, DOCUMENT, 1)
        tokens, files, id_bytes = header[["tokens", "files", "id_bytes"]][0].tolist()
        at = DOCUMENT.itemsize
        records: Records = np.frombuffer(content, FILE, files, at)
        at += files * FILE.itemsize
        ids: Ids = np.frombuffer(content, self._dtype, tokens, at)
        at += tokens * self._dtype.itemsize
        return SpooledDocument(
            ids, header, records, None if id_bytes < 0 else content[at:].decode()
        )


def _cut(data: memoryview, sizes: Ints) -> Iterator[memoryview]:
    """Cut data into pieces of these sizes."""
    bounds = [0, *np.cumsum(sizes).tolist()]
    return (data[begin:end] for begin, end in pairwise(bounds))
