"""Encoded documents on their way from the shard's order to the arrays': written once, read once.

All that arrays and parquet need of a document is together, so that memory holds two numbers a
document, and a small partition never touches the disk. A document with 3 tokens of 2 bytes, 1 file
and the id `a7`:

    offset 0    `DOCUMENT`, 65 bytes: tokens 3, files 1, id_bytes 2, …
          65    `FILE`, 129 bytes
         194    its token ids, 6 bytes
         200    its id, 2 bytes
"""

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from fim_assets.fim_shards.arrangements import BESIDE, PARTS

Ints = npt.NDArray[np.int64]
Ids = npt.NDArray[np.unsignedinteger]

_IN_MEMORY = 64 << 20

_COUNTS = ("tokens", "files", "id_bytes", "line", "shard_line", "literals", "piece", "pieces")
DOCUMENT = np.dtype([*((name, "<i8") for name in _COUNTS), ("changed", "?")])
"""A document: numbers of its tokens, files and bytes of its id (-1: it has none), its line in the
raw shard and in the FIM shard, how often added tokens' names stand in its text, which of how many
pieces of a document it is, and whether encoding changes it."""

PART_EDGES = tuple(f"{part}_{edge}" for part in PARTS for edge in ("start", "end"))
BESIDE_EDGES = tuple(f"{beside}_{edge}" for beside in BESIDE for edge in ("start", "end"))
_EDGES = ("start", "end", *PART_EDGES, *BESIDE_EDGES)
FILE = np.dtype([("order", "u1"), *((name, "<i8") for name in _EDGES)])
"""A file: its order, by its index in `arrangements.ORDERS`, and where it, its parts and what stands
beside it are among its document's tokens, ends exclusive; -1 for what it does not have."""

Records = npt.NDArray[np.void]


class SpooledDocument(NamedTuple):
    """A document as it was appended: ids of shape (tokens,), one `DOCUMENT`, and its `FILE`s."""

    tokens: Ids
    header: Records
    files: Records
    id: str | None


class Spool:
    """Holds encoded documents, in memory or in a nameless file in `folder`; a context manager."""

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
        """Append the n documents of a block.

        `tokens` are their ids, one document after the other; `documents` n `DOCUMENT`s, in which
        `id_bytes` is filled in here; `files` the `FILE`s of all of them, in order; `ids` n names.
        """
        if not len(documents):
            return
        encoded = [None if identifier is None else identifier.encode() for identifier in ids]
        documents["id_bytes"] = [-1 if content is None else len(content) for content in encoded]
        content = tokens.astype(self._dtype, copy=False).view(np.uint8).data
        file_bytes = documents["files"] * FILE.itemsize
        token_bytes = documents["tokens"] * self._dtype.itemsize
        size = np.maximum(documents["id_bytes"], 0) + DOCUMENT.itemsize + file_bytes + token_bytes
        self._ends.append(self._ends[-1][-1] + np.cumsum(size))
        headers = _cut(memoryview(documents.tobytes()), np.full(len(documents), DOCUMENT.itemsize))
        records = _cut(memoryview(files.tobytes()), file_bytes)
        names = (identifier or b"" for identifier in encoded)
        pieces = zip(headers, records, _cut(content, token_bytes), names, strict=True)
        self._file.writelines(chain.from_iterable(pieces))

    def __getitem__(self, number: int) -> SpooledDocument:
        """The document with this number in the order of appending, 0-based, once all are there."""
        if self._bounds is None:
            self._bounds = np.concatenate(self._ends)
            self._ends.clear()
        begin, end = self._bounds[number : number + 2].tolist()
        self._file.seek(begin)
        content = self._file.read(end - begin)
        header: Records = np.frombuffer(content, DOCUMENT, 1)
        tokens, files, id_bytes = header.item()[:3]
        at = DOCUMENT.itemsize
        records: Records = np.frombuffer(content, FILE, files, at)
        at += files * FILE.itemsize
        ids: Ids = np.frombuffer(content, self._dtype, tokens, at)
        at += tokens * self._dtype.itemsize
        name = None if id_bytes < 0 else content[at:].decode()
        return SpooledDocument(ids, header, records, name)


def _cut(data: memoryview, sizes: Ints) -> Iterator[memoryview]:
    bounds = [0, *np.cumsum(sizes).tolist()]
    return (data[begin:end] for begin, end in pairwise(bounds))
