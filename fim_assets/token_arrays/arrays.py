"""Token arrays: encoded documents to files of ids, each with its index, mask and parquet rows.

What the files of an array are called and what stands in them is its layout's, see `layouts/`; which
documents go into which array, and what a label mask trains on, is decided here.
"""

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fim_assets.corpus.staging import Staging
from fim_assets.fim_shards.arrangements import ORDERS
from fim_assets.io.hashing import HashingWriter
from fim_assets.io.parquet import TableWriter
from fim_assets.layouts.base import ArrayInfo, IndexEntry
from fim_assets.layouts.registry import LAYOUTS
from fim_assets.recipe.fim import Fim
from fim_assets.recipe.tokens import Tokens
from fim_assets.token_arrays.shuffle_buffer import (
    BESIDE_EDGES,
    DOCUMENT,
    FILE,
    PART_EDGES,
    Ids,
    SpooledDocument,
)

_TOKENS_AT_ONCE = 1 << 22
_ROWS_AT_ONCE = 1 << 16

FORMAT = "1"

_FILE_EDGES = ("file_start", "file_end", *PART_EDGES)


def _files(edges: Iterable[str]) -> pa.StructType:
    return pa.struct({"file_order": pa.string(), **dict.fromkeys(edges, pa.int64())})


SCHEMA = pa.schema(
    {"line": pa.int64(), "id": pa.string(), "array": pa.string()}
    | dict.fromkeys(("start", "end", "tokens"), pa.int64())
    | {"order": pa.string(), "files": pa.list_(_files(_FILE_EDGES))}
    | {"added_token_literals": pa.int64(), "changed": pa.bool_()}
)
"""One row a document, in the arrays' order.

`order`: its files', `mixed` where they differ. `files`: each file's order, and where it and its
parts start and end, as tokens of the array like `start` and `end`; null for the parts of a file
that is not rearranged. `added_token_literals`: times a control token's name stands in the
document's text, as text. `changed`: whether the text does not come back from the ids exactly
(`tokens.allow_lossy`).
"""


_PIECES = [("piece", pa.int64()), ("pieces", pa.int64())]
"""Of a document that was divided, which piece a row is, 0-based, and how many there are."""


def array_schema(*, divided: bool, joined: bool) -> pa.Schema:
    """The parquet's columns.

    With those of pieces where documents may be divided; where a stage has joined their files, with
    what stands beside each, null for what it does not have.
    """
    schema = SCHEMA
    if joined:
        files = pa.list_(_files((*_FILE_EDGES, *BESIDE_EDGES)))
        schema = schema.set(schema.get_field_index("files"), pa.field("files", files))
    return pa.schema([*schema, *_PIECES]) if divided else schema


@dataclass(frozen=True)
class ArraySettings:
    """How arrays are written.

    Attributes:
        source: The FIM shard's path below the data root.
        divided: Whether documents may be in pieces, which their rows then say.
        window: Tokens that a trainer takes at once, see `Recipe.window`.
        joined: Whether a stage has joined the documents' files.
    """

    tokens: Tokens
    fim: Fim
    source: str
    tokenizer_hash: str
    divided: bool = False
    window: int | None = None
    joined: bool = False

    @property
    def schema(self) -> pa.Schema:
        """The parquet's columns."""
        return array_schema(divided=self.divided, joined=self.joined)

    def metadata(self) -> dict[str, str]:
        """The parquet's key-value metadata: what reading needs, not where the tokenizer is."""
        where = {"tokenizer": {"name_or_path", "revision"}}
        return {
            "fim_assets.format": FORMAT,
            "fim_assets.fim": self.fim.model_dump_json(),
            "fim_assets.tokens": self.tokens.model_dump_json(exclude=where),
            "fim_assets.tokenizer_hash": self.tokenizer_hash,
        }


def id_dtype(tokens: Tokens) -> "np.dtype[Any]":
    """The type of an id in an array."""
    return np.dtype(LAYOUTS[tokens.layout].id_type(tokens.dtype))


def label_mask(document: SpooledDocument, kind: str, fim: Fim) -> npt.NDArray[np.bool_]:
    """Which tokens of a document are trained on, shape (tokens,).

    Of the kind `text`, all; of the kind `middle`, of a rearranged file the middle, and the sentinel
    that ends it if there is one; all of any other file; and what ends a file: a separator, or EOS.
    BOS goes with the file that it begins, and so do a name at the document's beginning, and the
    path of a rearranged file. Not trained on, in both, is EOS behind unchanged text
    that goes on in the document's next piece: it ends no text.
    """
    trained = np.ones(len(document.tokens), np.bool_)
    piece, pieces = document.header["piece"][0], document.header["pieces"][0]
    if piece + 1 < pieces and not document.files[-1]["order"]:
        trained[-1] = False
    for number, file in enumerate(document.files):
        if file["order"] and kind == "middle":
            header = file["header_start"]
            begin = file["start"] if header < 0 else header
            trained[begin if number else 0 : file["end"]] = False
            trained[file["middle_start"] : file["middle_end"]] = True
            if fim.fim_end_token is not None:
                trained[file["end"] - 1] = True
    return trained


class ArrayReader:
    """Reads ids, or a label mask's values, from a file of `size` values; a context manager.

    The file is read, not mapped: mapped pages would count as the process's memory, up to the whole
    array. `header_bytes` are in front of the first value.
    """

    def __init__(self, path: Path, dtype: "np.dtype[Any]", header_bytes: int = 0) -> None:
        self._dtype = dtype
        self._begin = header_bytes
        self._file = path.open("rb", buffering=0)
        self.size = (path.stat().st_size - header_bytes) // dtype.itemsize

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, start: int, end: int) -> Ids:
        """The ids from `start` to before `end`; an EOFError if the file ends before."""
        ids = np.empty(end - start, self._dtype)
        left = memoryview(ids.data).cast("B")
        self._file.seek(self._begin + start * self._dtype.itemsize)
        while left:
            size = self._file.readinto(left)
            if not size:
                raise EOFError(f"{self._file.name} ends before token {end}")
            left = left[size:]
        return ids

    def blocks(self, begin: int = 0, end: int | None = None) -> Iterator[tuple[int, Ids]]:
        """The ids from `begin` to before `end`, or all: where each block begins, and its ids."""
        end = self.size if end is None else end
        for start in range(begin, end, _TOKENS_AT_ONCE):
            yield start, self.read(start, min(start + _TOKENS_AT_ONCE, end))


def write_arrays(
    documents: Iterable[SpooledDocument],
    settings: ArraySettings,
    staging: Staging,
    starts: Iterable[int] | None = None,
) -> None:
    """Write a partition's arrays, none of them empty, and its parquet in the arrays' order.

    Documents go into an array as long as they fit; none is split, or has more than `max_size`
    tokens. Where `starts` says which token of its array each begins at, 0 begins the next array,
    and padding fills what is left free. `staging` takes `-00000.npy`, `-00000.csv.gz` or what else
    the layout has, `-00001.npy` and so on, and `.parquet`.
    """
    schema = settings.schema
    with TableWriter(staging.create(".parquet"), schema, settings.metadata()) as table:
        rows = _fill_arrays(documents, settings, staging, starts)
        while some := list(islice(rows, _ROWS_AT_ONCE)):
            table.write(_columns(some, schema))


class _Row(NamedTuple):
    """A document's `DOCUMENT`, its `FILE`s, its id, its array, and its first token there.

    In copies: a view would keep all that it was read with.
    """

    document: bytes
    files: bytes
    id: str | None
    array: str
    start: int


def _fill_arrays(
    documents: Iterable[SpooledDocument],
    settings: ArraySettings,
    staging: Staging,
    starts: Iterable[int] | None,
) -> Iterator[_Row]:
    numbers, array = count(), None
    placed = None if starts is None else iter(starts)
    for document in documents:
        start = None if placed is None else int(next(placed))
        if array is None or start == 0 or (start is None and not array.takes(document)):
            if array is not None:
                array.close()
            array = _Array(next(numbers), settings, staging)
        if start is not None:
            array.pad(start - array.size)
        header, files = document.header.tobytes(), document.files.tobytes()
        yield _Row(header, files, document.id, array.name, array.size)
        array.add(document)
    if array is not None:
        array.close()


class _Array:
    """One array while it is written, with the files next to it; `size` counts its tokens."""

    def __init__(self, number: int, settings: ArraySettings, staging: Staging) -> None:
        tokens, stem = settings.tokens, f"-{number:05d}"
        self._layout = LAYOUTS[tokens.layout]
        self.name = f"{staging.files.key}{stem}{self._layout.ending}"
        self.size = 0
        self._tokens = tokens
        self._fim = settings.fim
        self._files: list[HashingWriter] = []

        def create(ending: str, folder: str | None = None) -> HashingWriter:
            self._files.append(staging.create(f"{stem}{ending}", folder))
            return self._files[-1]

        id_type = self._layout.id_type(tokens.dtype)
        self._info = ArrayInfo(id_type, settings.source, tokens.tokenizer.name_or_path)
        self._array = create(self._layout.ending)
        self._index = self._layout.open_index(
            self._info, [create(ending) for ending in self._layout.index_endings]
        )
        self._mask: HashingWriter | None = None
        self._mask_kind = tokens.label_mask or ""
        if tokens.label_mask is not None:
            self._mask = create(self._layout.mask_ending, self._layout.mask_folder)
        # A header says how many ids follow, which the last document decides, and an array is hashed
        # from its first byte on while it is written: the ids wait for it in a nameless file.
        self._waiting: IO[bytes] | None = None
        if self._layout.header is not None:
            self._waiting = TemporaryFile(dir=staging.folder)  # noqa: SIM115 - see close
        self._ids = self._waiting or self._array

    def close(self) -> None:
        """Write what is left and close the files: a partition may have very many."""
        self._index.close()
        if self._layout.header is not None and self._waiting is not None:
            self._array.write(self._layout.header(self._info, self.size))
            self._waiting.seek(0)
            shutil.copyfileobj(self._waiting, self._array)
            self._waiting.close()
        for file in self._files:
            file.close()

    def takes(self, document: SpooledDocument) -> bool:
        """Whether there is room for a document."""
        return self.size + len(document.tokens) <= self._tokens.max_size

    def pad(self, tokens: int) -> None:
        """Write padding, which belongs to no document and is not trained on."""
        if not tokens:
            return
        padding = self._tokens.tokenizer.pad_token_id
        self._ids.write(np.full(tokens, padding, self._info.id_type).data)
        if self._mask is not None:
            self._mask.write(bytes(tokens))
        self.size += tokens

    def add(self, document: SpooledDocument) -> None:
        """Write the next document."""
        start, self.size = self.size, self.size + len(document.tokens)
        self._ids.write(document.tokens.data)
        line = int(document.header["shard_line"][0])
        self._index.add(IndexEntry(start, self.size, document.id, line))
        if self._mask is not None:
            self._mask.write(label_mask(document, self._mask_kind, self._fim).data)


def _columns(rows: list[_Row], schema: pa.Schema) -> dict[str, Any]:
    documents = np.frombuffer(b"".join(row.document for row in rows), DOCUMENT)
    files = np.frombuffer(b"".join(row.files for row in rows), FILE)
    starts = np.array([row.start for row in rows], np.int64)
    # Offsets become the array's. Two documents, at token 0 with 1 file and at token 9 with 2 files:
    # starts = [0, 9]; base = [0, 9, 9], one a file; bounds = [0, 1, 3], where each document's files
    # begin. Prefixes that start at [1, -1, 4] of their documents start at [1, null, 13] here.
    base = np.repeat(starts, documents["files"])
    bounds = np.concatenate([[0], np.cumsum(documents["files"])])
    fields = list(schema.field("files").type.value_type)
    edges = [files[field.name.removeprefix("file_")] for field in fields[1:]]
    offsets = [pa.array(edge + base, pa.int64(), mask=edge < 0) for edge in edges]
    orders = np.array(ORDERS)
    columns = [pa.array(orders[files["order"]]), *offsets]
    structs = pa.StructArray.from_arrays(columns, fields=fields)
    low = np.minimum.reduceat(files["order"], bounds[:-1])
    high = np.maximum.reduceat(files["order"], bounds[:-1])
    return {
        "line": documents["line"],
        "id": [row.id for row in rows],
        "array": [row.array for row in rows],
        "start": starts,
        "end": starts + documents["tokens"],
        "tokens": documents["tokens"],
        "order": np.where(low == high, orders[low], "mixed"),
        "files": pa.ListArray.from_arrays(pa.array(bounds, pa.int32()), structs),
        "piece": documents["piece"],
        "pieces": documents["pieces"],
        "added_token_literals": documents["literals"],
        "changed": documents["changed"],
    }
