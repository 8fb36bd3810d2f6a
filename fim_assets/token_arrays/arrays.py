"""Token arrays: encoded documents to files of ids, each with its index, mask and parquet rows."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fim_assets.corpus.staging import Staging
from fim_assets.fim_shards.arrangements import ORDERS, PARTS
from fim_assets.io.hashing import HashingWriter
from fim_assets.io.parquet import TableWriter
from fim_assets.layouts.registry import LAYOUTS, Entry, Index
from fim_assets.recipe.fim import Fim
from fim_assets.recipe.tokens import Tokens
from fim_assets.token_arrays.shuffle_buffer import DOCUMENT, FILE, Ids, SpooledDocument

_TOKENS_AT_ONCE = 1 << 22
_ROWS_AT_ONCE = 1 << 16

FORMAT = "1"

_FILES = pa.struct(
    [
        ("file_order", pa.string()),
        ("file_start", pa.int64()),
        ("file_end", pa.int64()),
        *((f"{part}_{edge}", pa.int64()) for part in PARTS for edge in ("start", "end")),
    ]
)

SCHEMA = pa.schema(
    [
        ("line", pa.int64()),
        ("id", pa.string()),
        ("array", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("tokens", pa.int64()),
        ("order", pa.string()),
        ("files", pa.list_(_FILES)),
        ("added_token_literals", pa.int64()),
        ("changed", pa.bool_()),
    ]
)
"""One row a document, in the arrays' order.

`order`: its files', `mixed` where they differ. `files`: each file's order, and where it and its
parts start and end, as tokens of the array like `start` and `end`; null for the parts of a file
left alone. `added_token_literals`: times a control token's name stands in the document's text, as
text. `changed`: whether the text does not come back from the ids exactly (`tokens.allow_lossy`).
"""


@dataclass(frozen=True)
class ArraySettings:
    """How arrays are written.

    Attributes:
        tokens: Layout, dtype, array size and label mask.
        fim: The law that made the documents.
        source: The FIM shard's path below the data root.
        tokenizer_hash: Content hash of the tokenizer that made the ids.
    """

    tokens: Tokens
    fim: Fim
    source: str
    tokenizer_hash: str

    def metadata(self) -> dict[str, str]:
        """The parquet's key-value metadata: all that is needed to read the arrays.

        Without the tokenizer's name, which says where it lies, not what it is.
        """
        where = {"tokenizer": {"name_or_path", "revision"}}
        return {
            "fim_assets.format": FORMAT,
            "fim_assets.fim": self.fim.model_dump_json(),
            "fim_assets.tokens": self.tokens.model_dump_json(exclude=where),
            "fim_assets.tokenizer_hash": self.tokenizer_hash,
        }


def label_mask(document: SpooledDocument, fim: Fim) -> npt.NDArray[np.bool_]:
    """Which tokens of a document are trained on, shape (tokens,).

    Of a rearranged file the middle, and the sentinel that ends it if there is one; all of a file
    left alone; and what ends a file: a separator, or EOS. BOS goes with the file that it begins.
    """
    trained = np.ones(len(document.tokens), np.bool_)
    for number, file in enumerate(document.files):
        if file["order"]:
            trained[file["start"] if number else 0 : file["end"]] = False
            trained[file["middle_start"] : file["middle_end"]] = True
            if fim.fim_end_token is not None:
                trained[file["end"] - 1] = True
    return trained


class ArrayReader:
    """Reads spans of ids from a file of little-endian ids without a header; a context manager.

    The file is read, not mapped: mapped pages would count as the process's memory, up to the whole
    array.

    Attributes:
        size: Ids in the file.
    """

    def __init__(self, path: Path, dtype: "np.dtype[Any]") -> None:
        self._dtype = dtype
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

    def blocks(self, begin: int = 0, end: int | None = None) -> Iterator[tuple[int, Ids]]:
        """The ids from `begin` to before `end`, or all: where each block begins, and its ids.

        Raises:
            EOFError: If the file ends before.
        """
        end = self.size if end is None else end
        for start in range(begin, end, _TOKENS_AT_ONCE):
            yield start, self.read(start, min(start + _TOKENS_AT_ONCE, end))


def write_arrays(
    documents: Iterable[SpooledDocument], settings: ArraySettings, staging: Staging
) -> None:
    """Write a partition's arrays, none of them empty, and its parquet in the arrays' order.

    Documents go into an array as long as they fit; none is split.

    Args:
        documents: What to write, in order; none has more than `max_size` tokens.
        settings: How.
        staging: Takes `-00000.npy`, `-00000.csv.gz` or what else the layout has, `-00001.npy` and
            so on, and `.parquet`.
    """
    most = settings.tokens.max_size
    with (
        TableWriter(staging.create(".parquet"), SCHEMA, settings.metadata()) as table,
        _Rows(table) as rows,
        ExitStack() as stack,
    ):
        number, current = 0, None
        for document in documents:
            if current is None or current.size + len(document.tokens) > most:
                stack.close()
                current = stack.enter_context(_Array(number, settings, staging))
                number += 1
            rows.add(document, current.name, current.size)
            current.add(document)


class _Array:
    """One array while it is written, with all that lies beside it; a context manager.

    Attributes:
        name: The file's name.
        size: Tokens written.
    """

    def __init__(self, number: int, settings: ArraySettings, staging: Staging) -> None:
        tokens, stem = settings.tokens, f"-{number:05d}"
        beside = LAYOUTS[tokens.layout]
        self.name = f"{staging.files.key}{stem}{beside.ending}"
        self.size = 0
        self._fim = settings.fim
        self._files: list[HashingWriter] = []

        def create(ending: str, folder: str | None = None) -> HashingWriter:
            self._files.append(staging.create(f"{stem}{ending}", folder))
            return self._files[-1]

        self._ids = create(beside.ending)
        self._index: Index = beside.open_index(create, tokens, settings.source)
        self._mask: HashingWriter | None = None
        if tokens.label_mask is not None:
            self._mask = create(beside.mask, beside.mask_folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the index and close the files: a partition may have very many."""
        if kind is None:
            self._index.close()
            for file in self._files:
                file.close()

    def add(self, document: SpooledDocument) -> None:
        """Write the next document."""
        start, self.size = self.size, self.size + len(document.tokens)
        self._ids.write(document.tokens.data)
        self._index.add(Entry(start, self.size, document.id, int(document.header["shard_line"][0])))
        if self._mask is not None:
            self._mask.write(label_mask(document, self._fim).data)


class _Rows:
    """The parquet's rows, gathered until there are many; a context manager."""

    def __init__(self, table: TableWriter) -> None:
        self._table = table
        # Copies: what a document was read as would stay in memory as a whole, tokens included.
        self._documents: list[bytes] = []
        self._files: list[bytes] = []
        self._ids: list[str | None] = []
        self._arrays: list[str] = []
        self._starts: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write what is left, unless something failed."""
        if kind is None:
            self._flush()

    def add(self, document: SpooledDocument, array: str, start: int) -> None:
        """Note a document that begins at a token of an array."""
        self._documents.append(document.header.tobytes())
        self._files.append(document.files.tobytes())
        self._ids.append(document.id)
        self._arrays.append(array)
        self._starts.append(start)
        if len(self._documents) == _ROWS_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        if not self._documents:
            return
        documents = np.frombuffer(b"".join(self._documents), DOCUMENT)
        files = np.frombuffer(b"".join(self._files), FILE)
        starts = np.array(self._starts, np.int64)
        base = np.repeat(starts, documents["files"])
        bounds = np.concatenate([[0], np.cumsum(documents["files"])])
        columns = [pa.array(np.array(ORDERS)[files["order"]])]
        for name in (field.name.removeprefix("file_") for field in list(_FILES)[1:]):
            nowhere = files[name] < 0
            columns.append(pa.array(files[name] + base, pa.int64(), mask=nowhere))
        names = [field.name for field in _FILES]
        low = np.minimum.reduceat(files["order"], bounds[:-1])
        high = np.maximum.reduceat(files["order"], bounds[:-1])
        orders = np.where(low == high, np.array(ORDERS)[low], "mixed")
        self._table.write(
            {
                "line": documents["line"],
                "id": self._ids,
                "array": self._arrays,
                "start": starts,
                "end": starts + documents["tokens"],
                "tokens": documents["tokens"],
                "order": orders,
                "files": pa.ListArray.from_arrays(
                    pa.array(bounds, pa.int32()), pa.StructArray.from_arrays(columns, names)
                ),
                "added_token_literals": documents["literals"],
                "changed": documents["changed"],
            }
        )
        for gathered in (self._documents, self._files, self._ids, self._arrays, self._starts):
            gathered.clear()
