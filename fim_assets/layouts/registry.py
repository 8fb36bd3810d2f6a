"""Layouts: how trainers find documents in an array of ids; one class a layout, all used alike.

In every layout the array itself is little-endian ids without a header, so that one reader serves
them all; they differ in what lies beside it.
"""

import csv
import gzip
from array import array
from collections.abc import Callable
from io import TextIOWrapper
from typing import Any, NamedTuple, Protocol, cast

import humanize
import numpy as np

from fim_assets.io.hashing import HashingWriter
from fim_assets.recipe.tokens import Layout, Tokens

_GZIP_LEVEL = 6

LABEL_MASKS = "label_masks"
"""The folder, beside `token_arrays`, of label masks in layouts that know none of their own."""


class Entry(NamedTuple):
    """A document's place in an array.

    Attributes:
        start: Its first token.
        end: One past its last token.
        id: Its id, None where it has none.
        line: Its line in the FIM shard, 1-based.
    """

    start: int
    end: int
    id: str | None
    line: int


class Index(Protocol):
    """What lies beside an array and says where its documents are."""

    def add(self, entry: Entry) -> None:
        """Note the next document."""

    def close(self) -> None:
        """Write what is not written yet."""


Create = Callable[[str], HashingWriter]
"""Creates the file beside the array whose name has this ending in the array's place."""


class DolmaIndex:
    """`.csv.gz`: start, end, id, FIM shard and line of each document, as `dolma tokens` writes it.

    No header row, CRLF; CR and LF in an id are backslash-escaped, since readers split lines.
    """

    def __init__(self, create: Create, _tokens: Tokens, source: str) -> None:
        self._source = source
        self._packed = gzip.GzipFile("", "wb", _GZIP_LEVEL, create(".csv.gz"), mtime=0)
        self._text = TextIOWrapper(self._packed, "utf-8", newline="")
        self._rows = csv.writer(self._text)

    def add(self, entry: Entry) -> None:
        """See `Index`."""
        identifier = (entry.id or "").replace("\r", "\\r").replace("\n", "\\n")
        self._rows.writerow((entry.start, entry.end, identifier, self._source, entry.line))

    def close(self) -> None:
        """See `Index`."""
        self._text.close()
        self._packed.close()


_MEGATRON_MAGIC = b"MMIDIDX\0\0"
_MEGATRON_VERSION = 1
_MEGATRON_CODES = {"<i4": 4, "<u2": 8}


class MegatronIndex:
    """`.idx`: each document is a sequence, with its length and where it begins.

    Source: Megatron-LM, `megatron/core/datasets/indexed_dataset.py`.
    """

    def __init__(self, create: Create, tokens: Tokens, _source: str) -> None:
        self._file = create(".idx")
        self._dtype = id_dtype(tokens)
        self._lengths = array("i")

    def add(self, entry: Entry) -> None:
        """See `Index`."""
        self._lengths.append(entry.end - entry.start)

    def close(self) -> None:
        """See `Index`."""
        lengths = np.frombuffer(self._lengths, np.int32)
        ends = np.cumsum(lengths, dtype=np.int64) * self._dtype.itemsize
        self._file.write(_MEGATRON_MAGIC)
        self._file.write(np.uint64(_MEGATRON_VERSION).astype("<u8").tobytes())
        self._file.write(np.uint8(_MEGATRON_CODES[self._dtype.str]).tobytes())
        self._file.write(np.array([len(lengths), len(lengths) + 1], "<u8").tobytes())
        self._file.write(lengths.astype("<i4").tobytes())
        self._file.write(np.concatenate([[0], ends[:-1]]).astype("<i8").tobytes())
        self._file.write(np.arange(len(lengths) + 1, dtype="<i8").tobytes())


class DatatroveIndex:
    """`.ds.index`: where each document ends; `.ds.metadata`: tokenizer and number of tokens.

    Source: datatrove, `TokenizedFile`.
    """

    def __init__(self, create: Create, tokens: Tokens, _source: str) -> None:
        self._index = create(".ds.index")
        self._metadata = create(".ds.metadata")
        self._tokenizer = f"{tokens.tokenizer.name_or_path}|{id_dtype(tokens).itemsize}"
        self._ends = array("Q")

    def add(self, entry: Entry) -> None:
        """See `Index`."""
        self._ends.append(entry.end)

    def close(self) -> None:
        """See `Index`."""
        self._index.write(np.frombuffer(self._ends, np.uint64).astype("<u8").tobytes())
        total = self._ends[-1]
        rows = [self._tokenizer, str(total), humanize.metric(total, unit="T")]
        self._metadata.write("\n".join(rows).encode())


class Beside(NamedTuple):
    """What a layout puts beside an array's ids.

    Attributes:
        ending: How the array's own name ends.
        open_index: Begins what says where its documents are.
        mask: How the name of its label mask ends.
        mask_folder: In which folder beside `token_arrays` the mask lies, None for the same folder.
    """

    ending: str
    open_index: Callable[[Create, Tokens, str], Index]
    mask: str
    mask_folder: str | None


LAYOUTS: dict[Layout, Beside] = {
    "dolma": Beside(".npy", DolmaIndex, ".npy", LABEL_MASKS),
    "megatron": Beside(".bin", MegatronIndex, ".npy", LABEL_MASKS),
    "datatrove": Beside(".ds", DatatroveIndex, ".ds.loss", None),
}


def mask_name(array: str, layout: Layout) -> str:
    """The name of an array's label mask, as a receipt has it; see `receipts.Place.output`."""
    beside = LAYOUTS[layout]
    name = array.removesuffix(beside.ending) + beside.mask
    return name if beside.mask_folder is None else f"{beside.mask_folder}/{name}"


def id_dtype(tokens: Tokens) -> "np.dtype[Any]":
    """The type of an id in an array, little-endian."""
    if tokens.layout == "megatron" and tokens.dtype == "uint32":
        return np.dtype("<i4")
    return cast("np.dtype[Any]", np.dtype(tokens.dtype).newbyteorder("<"))


def array_endings() -> tuple[str, ...]:
    """How files of token arrays end, over all layouts."""
    return (
        *(".npy", ".csv.gz", ".bin", ".idx"),
        *(".ds", ".ds.index", ".ds.metadata", ".ds.loss"),
    )


def array_folders() -> tuple[str, ...]:
    """Folders next to `token_arrays` that hold label masks, over all layouts."""
    return (LABEL_MASKS,)
