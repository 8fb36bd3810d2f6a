import csv
import gzip
import io
from itertools import zip_longest
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim_assets.receipts import Place, Staging
from fim_assets.tokens.arrays import ArrayReader, EncodedDocuments, fill_arrays, write_arrays

IDS = ["a", None, 'q"uote', "com,ma", "li\nne\r", "=HYPERLINK(1)"]


def write(folder: Path, lengths: list[int], order: list[int], max_size: int) -> Place:
    count = len(lengths)
    scratch = folder / "tokens.scratch"
    (np.arange(sum(lengths), dtype="<u4") + 70_000).tofile(scratch)
    documents = EncodedDocuments(
        tokens=ArrayReader(scratch, "uint32"),
        lengths=np.array(lengths, np.int64),
        lines=np.arange(count) * 2 + 1,
        literals=np.zeros(count, np.int64),
        ids=pa.array(IDS[:count], pa.large_string()),
        source="fim_shards/a.jsonl.zst",
    )
    place = Place(folder, "a")
    with Staging(place) as staging:
        write_arrays(documents, np.array(order, np.int64), max_size, staging)
        staging.publish()
    scratch.unlink()
    return place


def test_filling_by_hand() -> None:
    lengths = np.array([3, 4, 2, 5, 1, 1])
    assert fill_arrays(lengths, 7) == [slice(0, 2), slice(2, 4), slice(4, 6)]
    assert fill_arrays(lengths, 5) == [
        slice(0, 1),
        slice(1, 2),
        slice(2, 3),
        slice(3, 4),
        slice(4, 6),
    ]
    assert fill_arrays(lengths, 16) == [slice(0, 6)]
    assert fill_arrays(lengths[:0], 5) == []


@given(st.lists(st.integers(1, 50)), st.integers(50, 200))
def test_arrays_hold_every_document_whole_and_as_many_as_fit(
    lengths: list[int], max_size: int
) -> None:
    slices = fill_arrays(np.array(lengths, np.int64), max_size)
    assert [n for part in slices for n in range(part.start, part.stop)] == list(range(len(lengths)))
    for part, following in zip_longest(slices, slices[1:]):
        assert sum(lengths[part]) <= max_size
        if following is not None:
            assert sum(lengths[part]) + lengths[following.start] > max_size


def test_layout_by_hand(tmp_path: Path) -> None:
    """Documents of 2, 3, 1 and 4 tokens, written in the order 2, 0, 3, 1, five to an array."""
    place = write(tmp_path, [2, 3, 1, 4], [2, 0, 3, 1], 5)
    arrays = [np.fromfile(place.file(f"-0000{n}.npy"), "<u4") - 70_000 for n in range(3)]
    assert [array.tolist() for array in arrays] == [[5, 0, 1], [6, 7, 8, 9], [2, 3, 4]]
    table = pl.read_parquet(place.file(".parquet"))
    assert table["line"].to_list() == [5, 1, 7, 3]
    assert table["id"].to_list() == ['q"uote', "a", "com,ma", None]
    assert table["array"].to_list() == [f"a-0000{n}.npy" for n in (0, 0, 1, 2)]
    assert table["start"].to_list() == [0, 1, 0, 0]
    assert table["end"].to_list() == [1, 3, 4, 3]
    assert table["tokens"].to_list() == [1, 2, 4, 3]


def test_csv_is_dolmas(tmp_path: Path) -> None:
    place = write(tmp_path, [1] * 6, list(range(6)), 100)
    packed = place.file("-00000.csv.gz").read_bytes()
    assert packed[3] == 0, "no name in the gzip header"
    assert packed[4:8] == b"\0\0\0\0", "no time in the gzip header"
    text = gzip.decompress(packed).decode()
    lines = text.split("\r\n")
    assert lines[0] == "0,1,a,fim_shards/a.jsonl.zst,1"
    assert lines[1] == "1,2,,fim_shards/a.jsonl.zst,2"
    assert len(lines) == 7, "an id with a line break stays on its line"
    assert lines[6] == ""
    assert "\n" not in text.replace("\r\n", "")
    rows = list(csv.reader(io.StringIO(text, newline="")))
    ids = ["a", "", 'q"uote', "com,ma", "li\\nne\\r", "=HYPERLINK(1)"]
    assert [row[2] for row in rows] == ids
    assert [int(line.split(",")[0]) for line in lines[:6]] == list(range(6)), "as OLMo-core reads"


def test_no_document_no_array(tmp_path: Path) -> None:
    place = write(tmp_path, [], [], 10)
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]
    assert pl.read_parquet(place.file(".parquet")).height == 0


def test_document_as_large_as_an_array(tmp_path: Path) -> None:
    place = write(tmp_path, [5, 5], [0, 1], 5)
    assert [place.file(f"-0000{n}.npy").stat().st_size for n in (0, 1)] == [20, 20]


@pytest.mark.parametrize("max_size", [10_000_000, 5_000_000])
def test_many_tokens_pass_in_several_batches(tmp_path: Path, max_size: int) -> None:
    lengths = [3_000_000, 10, 4_999_000]
    place = write(tmp_path, lengths, [1, 2, 0], max_size)
    arrays = [np.fromfile(path, "<u4") for path in sorted(tmp_path.glob("*.npy"))]
    expected = np.arange(sum(lengths), dtype="<u4") + 70_000
    parts = np.split(expected, np.cumsum(lengths)[:-1])
    assert np.array_equal(np.concatenate(arrays), np.concatenate([parts[1], parts[2], parts[0]]))
    assert pl.read_parquet(place.file(".parquet")).height == 3
