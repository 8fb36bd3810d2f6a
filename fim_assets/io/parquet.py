"""Parquet tables: written in row groups of a fixed size, so that bytes do not depend on blocks."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from fim_assets.io.hashing import HashingWriter

ROW_GROUP_ROWS = 1 << 16


class TableWriter:
    """Writes one parquet file, column batch by column batch; a context manager."""

    def __init__(
        self, file: HashingWriter, schema: pa.Schema, metadata: Mapping[str, str] | None = None
    ) -> None:
        self._schema = schema.with_metadata(dict(metadata)) if metadata else schema
        self._writer = pq.ParquetWriter(file, self._schema, compression="zstd")
        self._pending: list[pa.Table] = []
        self._rows = 0

    def write(self, columns: Mapping[str, Any]) -> None:
        """Append rows: equally long lists, numpy arrays or arrow arrays by column name."""
        arrays = [pa.array(columns[field.name], type=field.type) for field in self._schema]
        table = pa.Table.from_arrays(arrays, schema=self._schema)
        self._pending.append(table)
        self._rows += table.num_rows
        if self._rows >= ROW_GROUP_ROWS:
            self._flush(keep=self._rows % ROW_GROUP_ROWS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Write what is left and the footer; after a failure, let go of the file."""
        if kind is None:
            self._flush(keep=0)
            self._writer.close()
        else:
            with suppress(OSError):
                self._writer.close()

    def _flush(self, keep: int) -> None:
        table = pa.concat_tables([self._schema.empty_table(), *self._pending])
        complete = self._rows - keep
        if complete:
            # One chunk a column: where pages end would otherwise depend on the blocks.
            rows = table.slice(0, complete).combine_chunks()
            self._writer.write_table(rows, row_group_size=ROW_GROUP_ROWS)
        self._pending = [table.slice(complete)] if keep else []
        self._rows = keep


class TableReader:
    """Reads some columns of a parquet file in order, a group of rows at a time."""

    def __init__(self, path: Path, columns: list[str]) -> None:
        self._file = pq.ParquetFile(path)
        self._columns = columns
        # One group's reader after the other's: a reader keeps the dictionaries of all it has read.
        self._batches = chain.from_iterable(
            self._file.iter_batches(
                ROW_GROUP_ROWS, row_groups=[group], columns=columns, use_threads=False
            )
            for group in range(self._file.num_row_groups)
        )
        self._rest = self._file.schema_arrow.empty_table().select(columns)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __iter__(self) -> Iterator[pa.Table]:
        """All rows that were not taken, a group of rows at a time."""
        while not self.exhausted():
            yield self._rest
            self._rest = self._rest.slice(0, 0)

    def take_groups(self, column: str, count: int) -> pa.Table:
        """The next rows that make up so many groups; fewer where the file ends.

        `column` is 0 in each group's first row and nowhere else.
        """
        taken = [self._rest.slice(0, 0)]
        while not self.exhausted():
            starts = np.flatnonzero(self._rest.column(column).to_numpy() == 0)
            end = int(starts[count]) if len(starts) > count else self._rest.num_rows
            count -= min(len(starts), count)
            taken.append(self._rest.slice(0, end))
            self._rest = self._rest.slice(end)
            if self._rest.num_rows:
                break
        return pa.concat_tables(taken)

    def take(self, count: int) -> pa.Table:
        """The next rows; fewer where the file ends."""
        taken = [self._rest.slice(0, 0)]
        while count and not self.exhausted():
            taken.append(self._rest.slice(0, count))
            self._rest = self._rest.slice(taken[-1].num_rows)
            count -= taken[-1].num_rows
        return pa.concat_tables(taken)

    def exhausted(self) -> bool:
        """Whether no row is left."""
        while self._rest.num_rows == 0:
            batch = next(self._batches, None)
            if batch is None:
                return True
            self._rest = pa.Table.from_batches([batch])
        return False


def read_frames(path: Path, columns: list[str]) -> Iterator[pl.DataFrame]:
    """Some columns of a parquet file in order, a group of rows at a time."""
    with TableReader(path, columns) as reader:
        for table in reader:
            yield pl.DataFrame(table)


def read_columns(path: Path) -> list[str]:
    """Names of a parquet file's columns."""
    return list(pq.read_schema(path).names)


def column_paths(path: Path) -> list[str]:
    """A parquet file's leaf columns, fields of lists and structs by their paths."""
    return [column.path for column in pq.ParquetFile(path).schema]


def count_rows(path: Path) -> int:
    """How many rows a parquet file has."""
    return int(pq.read_metadata(path).num_rows)


def read_metadata(path: Path) -> dict[str, str]:
    """A parquet file's key-value metadata."""
    stored = pq.read_schema(path).metadata or {}
    return {key.decode(): value.decode() for key, value in stored.items()}
