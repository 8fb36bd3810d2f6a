"""Arrays read back as their trainers do, by code that shares nothing with the writer."""

import csv
import gzip
import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fim_assets.corpus.partition_files import PartitionFiles
from fim_assets.corpus.receipts import read_receipt
from fim_assets.corpus.staging import Staging
from fim_assets.layouts.registry import LAYOUTS, array_endings, array_folders
from fim_assets.raw_shards import shard_reader as shards
from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import Fim
from fim_assets.recipe.tokens import Tokens
from fim_assets.token_arrays.arrays import ArraySettings, id_dtype, write_arrays
from fim_assets.token_arrays.shuffle_buffer import DOCUMENT, FILE, SpooledDocument
from fim_assets.token_arrays.stage import TOKEN_ARRAYS
from fim_assets_tests.corpora import (
    documents,
    file_bytes,
    open_corpus,
    partition_files,
    run_all,
    write_shard,
)
from fim_assets_tests.tokenizer.small_tokenizers import CODE, byte_level_bpe, save, small_recipe

Documents = list[list[int]]


def read_dolma(stem: Path, dtype: str) -> Documents:
    """As OLMo-core: rows of the index, split at commas, are spans of the raw ids."""
    ids = np.fromfile(f"{stem}.npy", dtype)
    with gzip.open(f"{stem}.csv.gz", "rt", encoding="utf-8") as rows:
        spans = [tuple(map(int, row.split(",")[:2])) for row in rows]
    assert [start for start, _ in spans] == [0, *(end for _, end in spans[:-1])]
    assert spans[-1][1] == len(ids)
    return [ids[start:end].tolist() for start, end in spans]


def read_megatron(stem: Path, dtype: str) -> Documents:
    """As Megatron-LM's `_IndexReader`, field by field."""
    index = Path(f"{stem}.idx").read_bytes()
    assert index[:9] == b"MMIDIDX\x00\x00"
    (version,) = struct.unpack_from("<Q", index, 9)
    (code,) = struct.unpack_from("<B", index, 17)
    sequences, bounds = struct.unpack_from("<QQ", index, 18)
    assert version == 1
    # Megatron's enumeration of types: 4 is int32, 8 is uint16.
    letter, size = {4: ("i", 4), 8: ("H", 2)}[code]
    assert dtype == {4: "<i4", 8: "<u2"}[code]
    at = 34
    lengths = struct.unpack_from(f"<{sequences}i", index, at)
    at += 4 * sequences
    pointers = struct.unpack_from(f"<{sequences}q", index, at)
    at += 8 * sequences
    document_bounds = struct.unpack_from(f"<{bounds}q", index, at)
    assert at + 8 * bounds == len(index)
    assert document_bounds == tuple(range(sequences + 1)), "each document is one sequence"
    content = Path(f"{stem}.bin").read_bytes()
    assert pointers[0] == 0
    assert pointers[-1] + lengths[-1] * size == len(content)
    return [
        list(struct.unpack_from(f"<{length}{letter}", content, pointer))
        for pointer, length in zip(pointers, lengths, strict=True)
    ]


def read_datatrove(stem: Path, dtype: str) -> Documents:
    """As datatrove: ends of documents, in tokens; the size of a token is in the metadata."""
    tokenizer, count, metric = Path(f"{stem}.ds.metadata").read_text().split("\n")
    size = int(tokenizer.rpartition("|")[2])
    assert size == np.dtype(dtype).itemsize
    packed = Path(f"{stem}.ds.index").read_bytes()
    ends = struct.unpack(f"<{len(packed) // 8}Q", packed)
    content = Path(f"{stem}.ds").read_bytes()
    ids = struct.unpack(f"<{len(content) // size}{'H' if size == 2 else 'I'}", content)
    assert int(count) == len(ids) == ends[-1]
    assert metric.endswith("T")
    return [list(ids[a:b]) for a, b in zip((0, *ends), ends, strict=False)]


class Reader(NamedTuple):
    read: Callable[[Path, str], Documents]
    wide: str


READERS: dict[str, Reader] = {
    "dolma": Reader(read_dolma, "<u4"),
    "megatron": Reader(read_megatron, "<i4"),
    "datatrove": Reader(read_datatrove, "<u4"),
}


def write(folder: Path, rows: Documents, **tokens: object) -> PartitionFiles:
    law = Tokens.model_validate(tokens)
    spooled = []
    for number, row in enumerate(rows, 1):
        header, files = np.zeros(1, DOCUMENT), np.full(1, -1, FILE)
        header["tokens"], header["files"], header["shard_line"] = len(row), 1, number
        files["order"], files["start"], files["end"] = 0, 0, len(row) - 1
        spooled.append(SpooledDocument(np.array(row, id_dtype(law)), header, files, f'{number},"'))
    place = partition_files(folder / "token_arrays", "a")
    with Staging(place) as staging:
        arrays = ArraySettings(law, Fim(), "fim_shards/a.jsonl.zst", "0" * 32)
        write_arrays(spooled, arrays, staging)
        staging.publish()
    return place


def read_all(place: PartitionFiles, layout: str, dtype: str) -> list[Documents]:
    reader, ending = READERS[layout], LAYOUTS[layout].ending
    stems = sorted(str(path).removesuffix(ending) for path in place.folder.glob(f"*{ending}"))
    return [reader.read(Path(stem), "<u2" if dtype == "uint16" else reader.wide) for stem in stems]


def test_what_a_run_deletes_of_an_earlier_one_are_the_files_of_all_layouts() -> None:
    """Corpora have these names: a run would leave files whose ending is not known any more."""
    assert array_endings() == (
        *(".npy", ".csv.gz", ".bin", ".idx"),
        *(".ds", ".ds.index", ".ds.metadata", ".ds.loss"),
    )
    assert array_folders() == ("label_masks",)
    assert TOKEN_ARRAYS.outputs.folders == array_folders()


@pytest.mark.parametrize("layout", READERS)
@pytest.mark.parametrize(("dtype", "highest"), [("uint16", 65_535), ("uint32", 100_277)])
def test_each_layout_is_read_back_as_its_trainer_reads_it(
    tmp_path: Path, layout: str, dtype: str, highest: int
) -> None:
    """Nine tokens an array: 4 + 5 are exactly full, then 9, then 1 + 2."""
    rows = [[1, 2, 3, highest], [5, 0, 7, 8, 9], [highest] * 9, [4], [3, 2]]
    place = write(tmp_path, rows, layout=layout, dtype=dtype, max_size=9)
    assert read_all(place, layout, dtype) == [rows[:2], rows[2:3], rows[3:]]


@given(
    st.lists(st.lists(st.integers(0, 65_535), min_size=1, max_size=7), max_size=8),
    st.integers(7, 15),
    st.sampled_from(list(READERS)),
    st.sampled_from(["uint16", "uint32"]),
)
@settings(max_examples=60, deadline=None)
def test_any_documents_are_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    rows: Documents,
    max_size: int,
    layout: str,
    dtype: str,
) -> None:
    folder = tmp_path_factory.mktemp("arrays")
    place = write(folder, rows, layout=layout, dtype=dtype, max_size=max_size)
    arrays = read_all(place, layout, dtype)
    assert [row for array in arrays for row in array] == rows
    assert all(sum(map(len, array)) <= max_size for array in arrays)


def test_megatrons_index_by_hand(tmp_path: Path) -> None:
    """Two documents of 3 and 2 ids of two bytes."""
    place = write(tmp_path, [[1, 2, 3], [4, 5]], layout="megatron", dtype="uint16")
    assert place.file("-00000.bin").read_bytes() == bytes([1, 0, 2, 0, 3, 0, 4, 0, 5, 0])
    assert place.file("-00000.idx").read_bytes() == (
        b"MMIDIDX\0\0"
        b"\1\0\0\0\0\0\0\0"
        b"\x08"
        b"\2\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0"
        b"\3\0\0\0\2\0\0\0"
        b"\0\0\0\0\0\0\0\0\6\0\0\0\0\0\0\0"
        b"\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0"
    )


def test_datatroves_files_by_hand(tmp_path: Path) -> None:
    place = write(tmp_path, [[1, 2, 3], [4, 5]], layout="datatrove", dtype="uint16")
    assert place.file("-00000.ds").read_bytes() == bytes([1, 0, 2, 0, 3, 0, 4, 0, 5, 0])
    assert place.file("-00000.ds.index").read_bytes() == b"\3" + bytes(7) + b"\5" + bytes(7)
    metadata = place.file("-00000.ds.metadata").read_text()
    assert metadata == "allenai/dolma2-tokenizer|2\n5\n5.00 T"


def test_a_thousand_tokens_are_a_kilo_in_datatroves_metadata(tmp_path: Path) -> None:
    place = write(tmp_path, [[1] * 1234], layout="datatrove")
    metadata = place.file("-00000.ds.metadata").read_text()
    assert metadata == "allenai/dolma2-tokenizer|4\n1234\n1.23 kT"


def test_dolmas_index_by_hand(tmp_path: Path) -> None:
    place = write(tmp_path, [[1, 2, 3], [4, 5]], dtype="uint16")
    text = gzip.decompress(place.file("-00000.csv.gz").read_bytes()).decode()
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert rows == [
        ["0", "3", '1,"', "fim_shards/a.jsonl.zst", "1"],
        ["3", "5", '2,"', "fim_shards/a.jsonl.zst", "2"],
    ]


# Whole partitions.

FILES = {
    ("dolma", None): {"-00000.npy", "-00000.csv.gz"},
    ("dolma", "middle"): {"-00000.npy", "-00000.csv.gz", "label_masks/"},
    ("megatron", "middle"): {"-00000.bin", "-00000.idx", "label_masks/"},
    ("datatrove", "middle"): {
        "-00000.ds",
        "-00000.ds.index",
        "-00000.ds.metadata",
        "-00000.ds.loss",
    },
}


@pytest.mark.parametrize(("layout", "mask"), FILES)
@pytest.mark.parametrize("small", [False, True])
def test_every_layout_passes_every_check_with_every_type(
    tmp_path: Path, layout: str, mask: str | None, small: bool
) -> None:
    tokens = {"layout": layout, "label_mask": mask}
    recipe = Recipe(tokens=Tokens.model_validate(tokens))
    if small:
        ids = save(tmp_path / "bpe", byte_level_bpe(CODE))
        recipe = small_recipe(tmp_path / "bpe", ids, tokens)
    write_shard(tmp_path / "raw" / "a.jsonl", documents(60))
    corpus = open_corpus(tmp_path, recipe)
    outcome = run_all(corpus)["a"]
    assert outcome.failure is None
    expected = {
        "label_masks/a-00000.npy" if name == "label_masks/" else f"token_arrays/a{name}"
        for name in {*FILES[layout, mask], ".parquet"}
    }
    found = {*file_bytes(tmp_path)}
    assert {name for name in found if not name.startswith(("raw", "fim", "bpe"))} == expected
    named = LAYOUTS[layout].endings
    assert all(name.endswith((*named, ".parquet")) for name in expected)
    receipt = read_receipt(corpus.files("token_arrays", "a"))
    assert receipt is not None
    assert {output.name for output in receipt.result.outputs} == {
        name.removeprefix("token_arrays/") for name in expected
    }
    table = pl.read_parquet(tmp_path / "token_arrays" / "a.parquet")
    dtype = "<u2" if small else READERS[layout].wide
    rows = READERS[layout].read(tmp_path / "token_arrays" / "a-00000", dtype)
    assert list(map(len, rows)) == table["tokens"].to_list()


def outputs(root: Path) -> dict[str, bytes]:
    return {
        name: content
        for name, content in file_bytes(root).items()
        if name.startswith(("token_arrays", "label_masks"))
    }


def run(root: Path, count: int, **tokens: object) -> dict[str, bytes]:
    """Run all stages with a small tokenizer, which lies beside the roots of all runs."""
    bpe = root.parent / "bpe"
    recipe = small_recipe(bpe, save(bpe, byte_level_bpe(CODE)), tokens)
    write_shard(root / "raw" / "a.jsonl", documents(count))
    assert run_all(open_corpus(root, recipe))["a"].failure is None
    return outputs(root)


def test_a_rerun_leaves_nothing_old_behind(tmp_path: Path) -> None:
    """Fewer arrays, other layouts, no mask: each time only what a first run would leave."""
    laws: list[tuple[int, dict[str, object]]] = [
        (40, {"max_size": 4000, "label_mask": "middle"}),
        (9, {"max_size": 4000, "label_mask": "middle"}),
        (9, {"layout": "megatron", "label_mask": "middle"}),
        (9, {"layout": "datatrove", "label_mask": "middle"}),
        (9, {"layout": "datatrove"}),
        (9, {"layout": "megatron", "label_mask": "middle"}),
        (9, {}),
    ]
    other = tmp_path / "all" / "label_masks" / "ab-00000.npy"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"another partition's")
    sizes = []
    for number, (count, law) in enumerate(laws):
        found = run(tmp_path / "all", count, **law)
        assert found.pop("label_masks/ab-00000.npy") == b"another partition's"
        assert found == run(tmp_path / str(number), count, **law)
        sizes.append(len(found))
    assert sizes[0] > sizes[1] > 1
    assert sizes[2:] == [4, 5, 4, 4, 3]


@pytest.mark.parametrize("layout", READERS)
def test_blocks_and_runs_change_no_byte(
    tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    law: dict[str, object] = {"layout": layout, "label_mask": "middle", "max_size": 4000}
    first = run(tmp_path / "1", 40, **law)
    assert run(tmp_path / "2", 40, **law) == first
    assert run(tmp_path / "1", 40, **law) == first
    for block_bytes in (1, 1000):
        # The default of ShardReader's argument is bound when the class is made.
        monkeypatch.setattr(shards.ShardReader.__init__, "__defaults__", (block_bytes, None))
        assert run(tmp_path / str(block_bytes), 40, **law) == first


@pytest.mark.parametrize("layout", [layout for layout in READERS if layout != "datatrove"])
def test_where_a_tokenizer_lies_changes_no_byte(tmp_path: Path, layout: str) -> None:
    """As the fingerprint promises, which is the same for both; datatrove's metadata names it."""
    law: dict[str, object] = {"layout": layout, "label_mask": "middle"}
    assert run(tmp_path / "here" / "1", 9, **law) == run(tmp_path / "there" / "1", 9, **law)


def test_the_parquet_says_how_to_read_the_arrays_and_not_where_the_tokenizer_lies(
    tmp_path: Path,
) -> None:
    place = write(tmp_path, [[1, 2]], layout="megatron", dtype="uint16", max_size=77)
    metadata = pl.read_parquet_metadata(place.file(".parquet"))
    assert metadata["fim_assets.tokenizer_hash"] == "0" * 32
    tokens = json.loads(metadata["fim_assets.tokens"])
    assert (tokens["layout"], tokens["dtype"], tokens["max_size"]) == ("megatron", "uint16", 77)
    assert {"name_or_path", "revision"}.isdisjoint(tokens["tokenizer"])
    assert Fim.model_validate_json(metadata["fim_assets.fim"]) == Fim()
