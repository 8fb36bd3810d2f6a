from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fim_assets.io.hashing import HashingWriter
from fim_assets.io.parquet import (
    ROW_GROUP_ROWS,
    TableReader,
    TableWriter,
    count_rows,
    read_metadata,
)

SCHEMA = pa.schema([("file", pa.int64()), ("name", pa.string()), ("key", pa.uint64())])


def rows(begin: int, end: int) -> dict[str, Any]:
    """Groups of 1, 2, 3, 1, 2, 3, … rows; names with a null now and then."""
    numbers = np.arange(begin, end)
    return {
        "file": np.array([0, 0, 1, 0, 1, 2])[numbers % 6],
        "name": [f"name-{n % 1000}-{n}" if n % 7 else None for n in numbers.tolist()],
        "key": numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15),
    }


def write(path: Path, cuts: list[int], metadata: Mapping[str, str] | None = None) -> bytes:
    with HashingWriter(path) as file, TableWriter(file, SCHEMA, metadata) as table:
        for begin, end in pairwise(cuts):
            table.write(rows(begin, end))
    return path.read_bytes()


def every(step: int, count: int) -> list[int]:
    return [*range(0, count, step), count]


@pytest.mark.parametrize("count", [3 * ROW_GROUP_ROWS + 1, 2 * ROW_GROUP_ROWS])
def test_bytes_do_not_depend_on_batches(tmp_path: Path, count: int) -> None:
    whole = write(tmp_path / "whole", [0, count])
    for number, cuts in enumerate(
        [
            every(1009, count),
            every(ROW_GROUP_ROWS, count),
            every(ROW_GROUP_ROWS - 1, count),
            every(ROW_GROUP_ROWS + 1, count),
            [0, 1, 1, 2, 100_000, count],
        ]
    ):
        assert write(tmp_path / str(number), cuts) == whole, cuts[:5]


@pytest.mark.parametrize(
    ("count", "groups"),
    [
        (0, []),
        (1, [1]),
        (ROW_GROUP_ROWS - 1, [ROW_GROUP_ROWS - 1]),
        (ROW_GROUP_ROWS, [ROW_GROUP_ROWS]),
        (ROW_GROUP_ROWS + 1, [ROW_GROUP_ROWS, 1]),
        (2 * ROW_GROUP_ROWS + 5, [ROW_GROUP_ROWS, ROW_GROUP_ROWS, 5]),
    ],
)
def test_row_groups_have_a_fixed_size(tmp_path: Path, count: int, groups: list[int]) -> None:
    for name, step in (("whole", max(count, 1)), ("parts", 40_000)):
        write(tmp_path / name, every(step, count))
        footer = pq.ParquetFile(tmp_path / name).metadata
        sizes = [footer.row_group(index).num_rows for index in range(footer.num_row_groups)]
        assert sizes == groups


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    count = ROW_GROUP_ROWS + 1000
    write(tmp_path / "a", every(777, count))
    assert pq.read_table(tmp_path / "a").to_pydict() == pa.table(rows(0, count)).to_pydict()
    assert pq.read_table(tmp_path / "a").schema == SCHEMA


def test_lists_numpy_arrow_and_polars_columns_give_the_same_bytes(tmp_path: Path) -> None:
    lists = {"file": [0, 1], "name": ["a", None], "key": [5, 1 << 63]}
    kinds: list[Mapping[str, Any]] = [
        lists,
        lists | {"file": np.array([0, 1], np.int8), "key": np.array([5, 1 << 63], np.uint64)},
        {name: pa.array(values, SCHEMA.field(name).type) for name, values in lists.items()},
        {
            "file": pl.Series([0, 1]),
            "name": pl.Series(["a", None]),
            "key": pl.Series([5, 1 << 63], dtype=pl.UInt64),
        },
    ]
    contents = set()
    for number, columns in enumerate(kinds):
        path = tmp_path / str(number)
        with HashingWriter(path) as file, TableWriter(file, SCHEMA) as table:
            table.write(columns)
        contents.add(path.read_bytes())
    assert len(contents) == 1
    assert pq.read_table(tmp_path / "0").to_pydict() == lists


def test_a_missing_column_is_an_error(tmp_path: Path) -> None:
    with HashingWriter(tmp_path / "a") as file, TableWriter(file, SCHEMA) as table:
        with pytest.raises(KeyError, match="key"):
            table.write({"file": [0], "name": ["a"]})
        table.write({"file": [0], "name": ["a"], "key": [1]})
    assert pq.read_table(tmp_path / "a").num_rows == 1


def test_a_writer_lets_a_failure_through(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyError, match="name"),
        HashingWriter(tmp_path / "a") as file,
        TableWriter(file, SCHEMA) as table,
    ):
        table.write({"file": [0]})


@pytest.mark.parametrize(
    "metadata", [{"fim_assets.format": "1", "fim_assets.fim": '{"a": "ü\\n"}'}, {"a": ""}]
)
@pytest.mark.parametrize("count", [0, 10])
def test_metadata_comes_back(tmp_path: Path, metadata: dict[str, str], count: int) -> None:
    write(tmp_path / "a", [0, count], metadata)
    assert read_metadata(tmp_path / "a") == metadata


def test_no_metadata_is_an_empty_mapping(tmp_path: Path) -> None:
    write(tmp_path / "a", [0, 10])
    assert read_metadata(tmp_path / "a") == {}


def table_of(path: Path, files: list[int]) -> Path:
    schema = pa.schema([("line", pa.int64()), ("file", pa.int64())])
    with HashingWriter(path) as file, TableWriter(file, schema, {"k": "v"}) as table:
        table.write({"line": range(len(files)), "file": files})
    return path


def test_groups_are_taken_whole_and_in_order(tmp_path: Path) -> None:
    path = table_of(tmp_path / "a", [0, 0, 1, 2, 0, 1, 0])
    with TableReader(path, ["line", "file"]) as table:
        taken = [table.take_groups("file", count).to_pydict() for count in (1, 0, 2, 5, 5)]
    assert taken == [
        {"line": [0], "file": [0]},
        {"line": [], "file": []},
        {"line": [1, 2, 3, 4, 5], "file": [0, 1, 2, 0, 1]},
        {"line": [6], "file": [0]},
        {"line": [], "file": []},
    ]


def test_a_reader_knows_when_it_is_exhausted(tmp_path: Path) -> None:
    with TableReader(table_of(tmp_path / "a", [0, 1, 0]), ["file"]) as table:
        assert not table.exhausted()
        table.take_groups("file", 1)
        assert not table.exhausted()
        table.take_groups("file", 1)
        assert table.exhausted()
    with TableReader(table_of(tmp_path / "b", []), ["file"]) as table:
        assert table.exhausted()
        assert table.take_groups("file", 3).num_rows == 0


@pytest.mark.parametrize("columns", [["line", "file"], ["file", "line"], ["file"]])
def test_only_the_columns_asked_for_are_read(tmp_path: Path, columns: list[str]) -> None:
    with TableReader(table_of(tmp_path / "a", [0, 1, 0]), columns) as table:
        assert table.take_groups("file", 9).column_names == columns
        assert table.take_groups("file", 9).column_names == columns


@settings(max_examples=100, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), max_size=12), counts=st.lists(st.integers(0, 5), max_size=12)
)
def test_taken_groups_are_the_groups(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], counts: list[int]
) -> None:
    files = [index for size in sizes for index in range(size)]
    path = table_of(tmp_path_factory.mktemp("tables") / "a", files)
    done = 0
    with TableReader(path, ["file"]) as table:
        for count in counts:
            expected = [index for size in sizes[done : done + count] for index in range(size)]
            assert table.take_groups("file", count).column("file").to_pylist() == expected
            done += count
        assert table.exhausted() == (done >= len(sizes))


@pytest.mark.parametrize("border", [-2, -1, 0, 1, 2])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_group_across_a_row_group_border_is_whole(tmp_path: Path, border: int, size: int) -> None:
    """One group of `size` rows begins `border` rows from the end of the first row group."""
    before = ROW_GROUP_ROWS + border
    path = table_of(tmp_path / "a", [0] * before + list(range(size)) + [0, 1])
    with TableReader(path, ["line", "file"]) as table:
        assert table.take_groups("file", before).num_rows == before
        middle = table.take_groups("file", 1)
        assert middle.column("line").to_pylist() == list(range(before, before + size))
        assert table.take_groups("file", 1).column("file").to_pylist() == [0, 1]
        assert table.exhausted()


def test_a_group_may_span_several_row_groups(tmp_path: Path) -> None:
    length = 2 * ROW_GROUP_ROWS + 10
    path = table_of(tmp_path / "a", [0, *range(length), 0])
    with TableReader(path, ["file"]) as table:
        assert table.take_groups("file", 1).num_rows == 1
        assert table.take_groups("file", 1).column("file").to_pylist() == list(range(length))
        assert table.take_groups("file", 1).num_rows == 1
        assert table.exhausted()


def test_memory_of_a_reader_does_not_grow_with_groups_of_rows(tmp_path: Path) -> None:
    names = pa.array([f"{n:0200}" for n in range(20_000)])
    pq.write_table(pa.table({"name": names}), tmp_path / "a", row_group_size=1000)
    before, held = pa.total_allocated_bytes(), []
    with TableReader(tmp_path / "a", ["name"]) as table:
        for rows in table:
            assert rows.num_rows == 1000
            held.append(pa.total_allocated_bytes() - before)
    assert len(held) == 20
    assert max(held) < 1.5 * held[0]


@pytest.mark.parametrize("sizes", [[], [0], [0, 3, 0, 0, 1, 2, 0], [ROW_GROUP_ROWS + 1, 1]])
def test_groups_of_rows_may_have_any_size(tmp_path: Path, sizes: list[int]) -> None:
    files = np.arange(sum(sizes)) % 2
    with pq.ParquetWriter(tmp_path / "a", pa.schema([("file", pa.int64())])) as writer:
        for begin, end in pairwise(np.cumsum([0, *sizes]).tolist()):
            writer.write_table(pa.table({"file": files[begin:end]}))
    with TableReader(tmp_path / "a", ["file"]) as table:
        assert all(0 < rows.num_rows <= ROW_GROUP_ROWS for rows in table)
        assert table.exhausted()
    with TableReader(tmp_path / "a", ["file"]) as table:
        taken = [table.take_groups("file", 500) for _ in range(0, sum(sizes), 1000)]
        assert table.exhausted()
    assert [n for rows in taken for n in rows["file"].to_pylist()] == files.tolist()
    assert count_rows(tmp_path / "a") == sum(sizes)
