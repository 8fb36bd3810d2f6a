"""A Parquet file's rows, batch by batch: the fields that a recipe names, and rows as lines.

A row as a line is one JSON object, its columns in the schema's order, as `row_values` says. Which
rows are documents is not decided here.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, reduce
from operator import getitem
from os import SEEK_END
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
from orjson import Fragment, dumps
from pyarrow.compute import struct_field
from pyarrow.types import is_dictionary, is_null, is_struct

from fim_assets.errors import ShardError
from fim_assets.io.compression import FAILED_DOWNLOAD, NOTHING_COMPRESSED, what_it_is
from fim_assets.io.locations import Location
from fim_assets.raw_shards.row_values import (
    base64,
    is_binary,
    is_string,
    json_values,
    refused_columns,
)
from fim_assets.recipe.raw import Raw
from fim_assets.recipe.values import field_names, field_path
from fim_assets.wording import plural, shortened

_BATCH_BYTES = 8 << 20
_BATCH_ROWS = 64
"""Rows that are decoded at once, however short most of a group are: some may be long."""

_BUFFER_BYTES = 1 << 20
"""Of each column, what is read at once: without it, pyarrow reads a group's column whole."""

_PARQUET, _ENCRYPTED = b"PAR1", b"PARE"
_SIGNATURE_BYTES = 1 << 10

_AGAIN = "fetch it again, or have it written again"
_NOT_ENCRYPTED = "have it written again without encryption"
_NAME_FIELDS = "name the fields in the recipe, or a raw.schema that has them"
_NAME_KEPT = "name columns that all shards have, or leave raw.keep_fields out for all"
_LEAVE_OUT = "leave the column out: raw.keep_fields names those that go on"


@dataclass(frozen=True)
class Rows:
    """Some rows of a file, in order.

    Attributes:
        objects: Each row as `orjson` takes it, with at least the recipe's fields; a text that is no
            UTF-8 is bytes.
        lines: Gives the rows as lines of JSON, with all fields that go on; such a text in base64.
    """

    objects: list[dict[str, Any]]
    lines: Callable[[], list[bytes]]


class RowReader:
    """Reads the rows of a Parquet file once; `rows` counts those that were read.

    With `lines`, all columns are decoded that go on; without, those of the recipe's fields, and the
    others where a row's line is asked for nevertheless.

    Raises:
        ShardError: If the file is no Parquet or damaged, its text column is missing or holds no
            text, or a column has no form in JSON; it names the column.
    """

    def __init__(self, file: IO[bytes], path: Location, raw: Raw, *, lines: bool) -> None:
        self.rows = 0
        self._path, self._raw, self._with_lines = path, raw, lines
        _refuse_other_files(file, path)
        with self._naming_rows():
            self._file = pq.ParquetFile(
                file,
                buffer_size=_BUFFER_BYTES,
                pre_buffer=False,
                # Spark's timestamps: as nanoseconds, the year 9999 would be another one.
                coerce_int96_timestamp_unit="us",
                page_checksum_verification=True,
            )
            self._schema = self._file.schema_arrow
        self._fields = {raw.text_field, raw.id_field, raw.language_field, raw.path_field}
        self._kept = None if raw.keep_fields is None else self._fields | {*raw.keep_fields}
        self._language = ""  # of all rows
        if raw.language_is_folder and _type_of(self._schema, raw.language_field) is None:
            self._language = path.parent.name
        self._refuse_columns()
        self._again, self._again_rows = self._batches(self._kept), 0
        self._waiting: list[tuple[int, pa.RecordBatch]] = []

    def __iter__(self) -> Iterator[Rows]:
        self._refuse_text()
        for batch in self._batches(self._kept if self._with_lines else self._fields):
            objects = self._objects(batch)
            lines = partial(_lines, objects)
            if not self._with_lines:
                lines = partial(self._lines_again, self.rows, self.rows + batch.num_rows)
            yield Rows(objects, lines)
            self.rows += batch.num_rows

    def unjudged(self) -> Iterator[list[bytes]]:
        """The rows as lines, some at once, also where the text's column is missing.

        The others tell which may be meant, unless `keep_fields` leaves these out. A line whose text
        is no UTF-8 is none either, so that it is judged as the row would be.
        """
        if self._kept is not None:
            self._refuse_text()
        for batch in self._batches(self._kept):
            yield [dumps(row, default=_no_utf_8) for row in self._objects(batch)]
            self.rows += batch.num_rows

    @property
    def total_rows(self) -> int:
        """How many rows the file has."""
        return int(self._file.metadata.num_rows)

    def _batches(self, fields: set[str] | None) -> Iterator[pa.RecordBatch]:
        """All rows, of some fields; None: of all columns."""
        columns = None if fields is None else [".".join(field_names(field)) for field in fields]
        kept, read = self._column_names(fields), 0
        with self._naming_rows():
            for number in range(self._file.num_row_groups):
                group = self._file.metadata.row_group(number)
                rows = _BATCH_BYTES * group.num_rows // max(group.total_byte_size, 1)
                # One group's reader after the other's: a reader keeps its dictionaries.
                for decoded in self._file.iter_batches(
                    min(max(rows, 1), _BATCH_ROWS), [number], columns, use_threads=False
                ):
                    # Its columns are in the order of `columns`, and `a.b` may be `b` of `a` too.
                    batch = decoded.select([name for name in kept if name in decoded.schema.names])
                    read += batch.num_rows
                    # A group's size counts what a dictionary holds once, and these are its copies.
                    some = max(_BATCH_BYTES * batch.num_rows // max(batch.nbytes, 1), 1)
                    for begin in range(0, batch.num_rows, some):
                        yield batch.slice(begin, some)
        if read != self.total_rows:
            # Arrow reads as many as each group says to have, and compares them with nothing.
            problem = f"its groups hold {plural(read, 'row')}, and its footer says that it has"
            raise ShardError(f"{problem} {self.total_rows:,}", _AGAIN, self._path)

    def _column_names(self, fields: set[str] | None) -> list[str]:
        """The columns that hold some fields, in the schema's order; None: all columns."""
        names: list[str] = self._schema.names
        if fields is None:
            return names
        wanted = {field_names(field)[0] for field in fields}
        return [name for name in names if name in wanted]

    def _lines_again(self, begin: int, end: int) -> list[bytes]:
        """Rows, of which not all columns were decoded, as lines; they are asked for in order."""
        while self._again_rows < end:
            batch = next(self._again)
            self._waiting.append((self._again_rows, batch))
            self._again_rows += batch.num_rows
            self._waiting = [(at, b) for at, b in self._waiting if at + b.num_rows > begin]
        return [
            line
            for at, batch in self._waiting
            for line in _lines(self._objects(batch.slice(max(begin - at, 0), end - max(begin, at))))
        ]

    def _objects(self, batch: pa.RecordBatch) -> list[dict[str, Any]]:
        names = batch.schema.names
        columns = [
            self._values(name, column) for name, column in zip(names, batch.columns, strict=True)
        ]
        rows = [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
        if self._language:
            for row in rows:
                row[self._raw.language_field] = self._language
        return rows

    def _values(self, name: str, column: pa.Array) -> list[Any]:
        text_column, *inner = field_names(self._raw.text_field)
        try:
            if name != text_column:
                return json_values(column)
            return _with_texts(column, inner) if inner else _texts(column)
        except (ValueError, pa.ArrowException) as error:
            where = f"rows {self.rows + 1:,} to {self.rows + len(column):,}, column {name}"
            raise ShardError(f"{where}: {error}", _LEAVE_OUT, self._path) from error

    def _refuse_text(self) -> None:
        """Refuse a file in which no row has a text where the recipe says."""
        text_field, schema = self._raw.text_field, self._schema
        strings = [field_path([f.name]) for f in schema if is_string(f.type) or is_binary(f.type)]
        columns = f"its columns of text are {shortened(strings)}" if strings else "it has no text"
        kind = _type_of(schema, text_field)
        if kind is None:
            problem = f"has no column {text_field}, which raw.text_field names; {columns}"
            raise ShardError(problem, _NAME_FIELDS, self._path)
        if not (is_string(kind) or is_binary(kind) or is_null(kind)):
            problem = f"column {text_field}, which raw.text_field names, is {kind}, no text"
            raise ShardError(f"{problem}; {columns}", _NAME_FIELDS, self._path)

    def _refuse_columns(self) -> None:
        """Refuse columns that are missing, or have no form in JSON."""
        schema = self._schema
        kept = self._column_names(self._kept)
        for name, why in refused_columns(schema):
            if name in kept:
                raise ShardError(f"column {name}: {why}", _LEAVE_OUT, self._path)
        for field in self._raw.keep_fields or ():
            if _type_of(schema, field) is None:
                problem = f"has no column {field}, which raw.keep_fields names"
                known = f"its columns are {shortened([field_path([f.name]) for f in schema])}"
                raise ShardError(f"{problem}; {known}", _NAME_KEPT, self._path)

    @contextmanager
    def _naming_rows(self) -> Iterator[None]:
        """Say after which row a file cannot be read."""
        try:
            yield
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            where = f"after row {self.rows:,}: " if self.rows else ""
            problem = f"cannot be read as Parquet: {' '.join(str(error).split())}"
            advice = _NOT_ENCRYPTED if "decrypt" in problem.lower() else _AGAIN
            refusal = ShardError(f"{where}{problem}", advice, self._path)
            refusal.fault = problem
            raise refusal from error


def _refuse_other_files(file: IO[bytes], path: Location) -> None:
    begin = file.read(_SIGNATURE_BYTES)
    if not begin:
        raise ShardError(NOTHING_COMPRESSED, FAILED_DOWNLOAD, path)
    if begin.startswith(_ENCRYPTED):
        raise ShardError("encrypted Parquet", _NOT_ENCRYPTED, path)
    if not begin.startswith(_PARQUET):
        what, advice = what_it_is(begin)
        raise ShardError(f"named as Parquet, but its content is {what}", advice, path)
    file.seek(-len(_PARQUET), SEEK_END)
    if file.read() != _PARQUET:
        problem = "does not end in a footer, as Parquet does: it is cut short, or grew"
        raise ShardError(problem, FAILED_DOWNLOAD, path)
    file.seek(0)


def _type_of(schema: pa.Schema, field: str) -> pa.DataType | None:
    """The type of a field, None where there is none."""
    name, *inner = field_names(field)
    if (number := schema.get_field_index(name)) < 0:
        return None
    kind = schema.field(number).type
    for name in inner:
        if not is_struct(kind) or kind.get_field_index(name) < 0:
            return None
        kind = kind.field(name).type
    return kind


def _lines(objects: list[dict[str, Any]]) -> list[bytes]:
    # What orjson returns takes several times its length in memory, and a copy does not.
    return [bytes(memoryview(dumps(row, default=base64))) for row in objects]


def _no_utf_8(text: bytes) -> Fragment:
    return Fragment(b'"%b"' % text.replace(b"\n", b" "))


def _texts(column: pa.Array) -> list[str | bytes | None]:
    """The texts of a column of strings or bytes; bytes where they are no UTF-8."""
    if is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not is_binary(column.type):
        try:
            texts: list[str | bytes | None] = column.to_pylist()
        except UnicodeDecodeError:
            column = column.cast(pa.large_binary())
        else:
            return texts
    return [value if value is None else _decoded(value) for value in column.to_pylist()]


def _decoded(text: bytes) -> str | bytes:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text


def _with_texts(column: pa.Array, path: Sequence[str]) -> list[Any]:
    """The values of a column of structs, in which a path leads to the text."""
    texts = _texts(struct_field(column, path))
    values = json_values(column.cast(_with_bytes(column.type, path)))
    for value, text in zip(values, texts, strict=True):
        if text is not None:
            reduce(getitem, path[:-1], value)[path[-1]] = text
    return values


def _with_bytes(kind: pa.DataType, path: Sequence[str]) -> pa.DataType:
    """A type of structs, in which a path leads to bytes: to convert these cannot fail."""
    if not path:
        return pa.large_binary()
    return pa.struct(
        [f.with_type(_with_bytes(f.type, path[1:])) if f.name == path[0] else f for f in kind]
    )
