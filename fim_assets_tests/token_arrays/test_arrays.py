import csv
import gzip
import io
import itertools
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fim_assets.corpus.partition_files import PartitionFiles
from fim_assets.corpus.staging import Staging
from fim_assets.fim_shards.arrangements import ORDERS, Order
from fim_assets.recipe.fim import Fim
from fim_assets.recipe.tokens import Tokens
from fim_assets.token_arrays import arrays
from fim_assets.token_arrays import shuffle_buffer as spool
from fim_assets.token_arrays.arrays import ArrayReader, ArraySettings, label_mask, write_arrays
from fim_assets.token_arrays.shuffle_buffer import DOCUMENT, FILE, Records, Spool, SpooledDocument
from fim_assets_tests.corpora import partition_files

IDS = ["a", None, 'q"uote', "com,ma", "li\nne\r", "=HYPERLINK(1)"]

Span = tuple[int, int]


def file_record(order: Order, whole: Span, **parts: Span) -> Records:
    """A file; the spans of its parts are -1 where none are given."""
    record = np.full(1, -1, FILE)
    record["order"] = ORDERS.index(order)
    record["start"], record["end"] = whole
    for part, (start, end) in parts.items():
        record[f"{part}_start"], record[f"{part}_end"] = start, end
    return record


def document(
    tokens: Sequence[int] | npt.NDArray[Any],
    files: Sequence[Records] | None = None,
    dtype: str = "<u4",
    identifier: str | None = None,
    line: int = 1,
    piece: tuple[int, int] = (0, 1),
) -> SpooledDocument:
    ids = np.array(tokens, dtype)
    records = np.concatenate(files or [file_record("none", (0, len(ids) - 1))])
    header = np.zeros(1, DOCUMENT)
    header["tokens"], header["files"] = len(ids), len(records)
    header["line"], header["shard_line"] = 2 * line - 1, line
    header["literals"], header["changed"] = line * 10, line % 2
    header["piece"], header["pieces"] = piece
    return SpooledDocument(ids, header, records, identifier)


def numbered(lengths: list[int]) -> list[SpooledDocument]:
    """Documents whose tokens count on from 70,000."""
    bounds = np.cumsum([70_000, *lengths])
    return [
        document(np.arange(begin, end), identifier=IDS[n] if n < len(IDS) else None, line=n + 1)
        for n, (begin, end) in enumerate(itertools.pairwise(bounds))
    ]


def write(
    folder: Path,
    documents: Sequence[SpooledDocument],
    fim: Fim | None = None,
    *,
    divided: bool = False,
    **tokens: object,
) -> PartitionFiles:
    place = partition_files(folder / "token_arrays", "a")
    law = Tokens.model_validate(tokens)
    with Staging(place) as staging:
        source = "fim_shards/a.jsonl.zst"
        settings_ = ArraySettings(law, fim or Fim(), source, "0" * 32, divided)
        write_arrays(documents, settings_, staging)
        staging.publish()
    return place


def names(place: PartitionFiles) -> list[str]:
    return sorted(path.name for path in place.folder.iterdir())


@pytest.mark.parametrize(
    ("max_size", "expected"),
    [
        (7, [[3, 4], [2, 5], [1, 1]]),
        (5, [[3], [4], [2], [5], [1, 1]]),
        (9, [[3, 4, 2], [5, 1, 1]]),
        (16, [[3, 4, 2, 5, 1, 1]]),
    ],
)
def test_filling_by_hand(tmp_path: Path, max_size: int, expected: list[list[int]]) -> None:
    place = write(tmp_path, numbered([3, 4, 2, 5, 1, 1]), max_size=max_size)
    table = pl.read_parquet(place.file(".parquet"))
    filled = table.group_by("array", maintain_order=True).agg("tokens")
    assert filled["tokens"].to_list() == expected
    assert filled["array"].to_list() == [f"a-{n:05d}.npy" for n in range(len(expected))]
    sizes = [place.file(f"-{n:05d}.npy").stat().st_size for n in range(len(expected))]
    assert sizes == [4 * sum(lengths) for lengths in expected]


@given(st.lists(st.integers(1, 9), max_size=12), st.integers(9, 30))
@settings(max_examples=40, deadline=None)
def test_arrays_hold_every_document_whole_and_as_many_as_fit(
    lengths: list[int], max_size: int
) -> None:
    with TemporaryDirectory() as folder:
        place = write(Path(folder), numbered(lengths), max_size=max_size)
        table = pl.read_parquet(place.file(".parquet"))
        arrays = [np.fromfile(path, "<u4") for path in sorted(place.local.glob("*.npy"))]
    assert table["tokens"].to_list() == lengths
    together = np.concatenate([np.empty(0, "<u4"), *arrays])
    assert np.array_equal(together, np.arange(70_000, 70_000 + sum(lengths)))
    firsts = table.group_by("array", maintain_order=True).first()["tokens"].to_list()
    assert len(firsts) == len(arrays)
    assert all(len(array) <= max_size for array in arrays)
    assert all(
        len(array) + following > max_size
        for array, following in zip(arrays, firsts[1:], strict=False)
    )


def test_layout_by_hand(tmp_path: Path) -> None:
    """Documents of 2, 3, 1 and 4 tokens, written in the order 2, 0, 3, 1, five to an array."""
    documents = numbered([2, 3, 1, 4])
    place = write(tmp_path, [documents[n] for n in (2, 0, 3, 1)], max_size=5)
    arrays = [np.fromfile(place.file(f"-0000{n}.npy"), "<u4") - 70_000 for n in range(3)]
    assert [array.tolist() for array in arrays] == [[5, 0, 1], [6, 7, 8, 9], [2, 3, 4]]
    table = pl.read_parquet(place.file(".parquet"))
    assert table["line"].to_list() == [5, 1, 7, 3]
    assert table["id"].to_list() == ['q"uote', "a", "com,ma", None]
    assert table["array"].to_list() == [f"a-0000{n}.npy" for n in (0, 0, 1, 2)]
    assert table["start"].to_list() == [0, 1, 0, 0]
    assert table["end"].to_list() == [1, 3, 4, 3]
    assert table["tokens"].to_list() == [1, 2, 4, 3]
    assert table["order"].to_list() == ["none"] * 4
    assert table["added_token_literals"].to_list() == [30, 10, 40, 20]
    assert table["changed"].to_list() == [True, True, False, False]
    files = table["files"].to_list()
    assert [[file["file_start"], file["file_end"]] for (file,) in files] == [
        *([0, 0], [1, 2], [0, 3], [0, 2])
    ]


# Files of documents, with hand-worked spans. Ids: PRE 1, MID 2, SUF 3, END 4, SEP 5, BOS 8, EOS 9;
# of a rearranged file the prefix is 11s, the middle 22s, the suffix 33s; others are 7.


@dataclass(frozen=True)
class Case:
    ids: list[int]
    files: list[Records]
    mask: str
    fim: dict[str, Any] = field(default_factory=dict)
    piece: tuple[int, int] = (0, 1)
    text: str = ""


CASES = {
    "psm": Case(
        [1, 11, 11, 3, 33, 2, 22, 22, 9],
        [file_record("psm", (0, 8), prefix=(1, 3), suffix=(4, 5), middle=(6, 8))],
        "000000111",
    ),
    "spm": Case(
        [3, 33, 1, 11, 11, 2, 22, 9],
        [file_record("spm", (0, 7), prefix=(3, 5), suffix=(1, 2), middle=(6, 7))],
        "00000011",
    ),
    "spm v2": Case(
        [1, 3, 33, 2, 11, 11, 22, 22, 9],
        [file_record("spm", (0, 8), prefix=(4, 6), suffix=(2, 3), middle=(6, 8))],
        "000000111",
        {"spm_format": "v2"},
    ),
    "end token": Case(
        [1, 11, 3, 33, 2, 22, 4, 9],
        [file_record("psm", (0, 7), prefix=(1, 2), suffix=(3, 4), middle=(5, 6))],
        "00000111",
        {"fim_end_token": "<end>"},
    ),
    "empty middle": Case(
        [1, 11, 3, 33, 2, 9],
        [file_record("psm", (0, 5), prefix=(1, 2), suffix=(3, 4), middle=(5, 5))],
        "000001",
    ),
    "one unchanged, one rearranged": Case(
        [7, 7, 5, 1, 11, 3, 33, 2, 22, 9],
        [
            file_record("none", (0, 2)),
            file_record("psm", (3, 9), prefix=(4, 5), suffix=(6, 7), middle=(8, 9)),
        ],
        "1110000011",
    ),
    "one rearranged, one unchanged": Case(
        [1, 11, 3, 33, 2, 22, 5, 7, 7, 9],
        [
            file_record("psm", (0, 6), prefix=(1, 2), suffix=(3, 4), middle=(5, 6)),
            file_record("none", (7, 9)),
        ],
        "0000011111",
    ),
    "BOS before a rearranged file": Case(
        [8, 1, 11, 3, 33, 2, 22, 9],
        [file_record("psm", (1, 7), prefix=(2, 3), suffix=(4, 5), middle=(6, 7))],
        "00000011",
    ),
    "BOS before an unchanged file": Case([8, 7, 7, 9], [file_record("none", (1, 3))], "1111"),
    "an unchanged piece that goes on": Case(
        [8, 7, 7, 9], [file_record("none", (1, 3))], "1110", piece=(0, 2), text="1110"
    ),
    "an unchanged piece in between": Case(
        [7, 7, 9], [file_record("none", (0, 2))], "110", piece=(1, 3), text="110"
    ),
    "the last piece, unchanged": Case(
        [7, 7, 9], [file_record("none", (0, 2))], "111", piece=(2, 3)
    ),
    "a rearranged piece that goes on": Case(
        [1, 11, 3, 33, 2, 22, 9],
        [file_record("psm", (0, 6), prefix=(1, 2), suffix=(3, 4), middle=(5, 6))],
        "0000011",
        piece=(0, 2),
    ),
    "a piece that goes on behind an unchanged file": Case(
        [1, 11, 3, 33, 2, 22, 5, 7, 9],
        [
            file_record("psm", (0, 6), prefix=(1, 2), suffix=(3, 4), middle=(5, 6)),
            file_record("none", (7, 8)),
        ],
        "000001110",
        piece=(0, 2),
        text="111111110",
    ),
    "a piece that goes on behind a rearranged file": Case(
        [7, 5, 1, 11, 3, 33, 2, 22, 9],
        [
            file_record("none", (0, 1)),
            file_record("psm", (2, 8), prefix=(3, 4), suffix=(5, 6), middle=(7, 8)),
        ],
        "110000011",
        piece=(0, 2),
    ),
}
"""With the mask of the kind `middle`; that of the kind `text` where it is not 1 throughout."""


def bits(text: str) -> list[bool]:
    return [bit == "1" for bit in text]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_label_masks_by_hand(case: Case) -> None:
    its, fim = document(case.ids, case.files, piece=case.piece), Fim.model_validate(case.fim)
    for kind, expected in (("middle", case.mask), ("text", case.text or "1" * len(case.ids))):
        mask = label_mask(its, kind, fim)
        assert mask.dtype == np.bool_
        assert mask.tolist() == bits(expected)


@pytest.mark.parametrize("divided", [True, False])
def test_pieces_are_columns_where_documents_may_be_divided(tmp_path: Path, divided: bool) -> None:
    documents = [document([7, 9], piece=(n, 2)) for n in range(2)] + [document([7, 7, 9])]
    place = write(tmp_path, documents, divided=divided)
    table = pl.read_parquet(place.file(".parquet"))
    found = table.select(pl.col("^piece.*$")).to_dict(as_series=False)
    assert found == ({"piece": [0, 1, 0], "pieces": [2, 2, 1]} if divided else {})


MASKS = {
    "dolma": "label_masks/a-00000.npy",
    "megatron": "label_masks/a-00000.npy",
    "datatrove": "token_arrays/a-00000.ds.loss",
}
ENDINGS = {"dolma": ".npy", "megatron": ".bin", "datatrove": ".ds"}


@pytest.mark.parametrize("layout", MASKS)
@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_label_masks_lie_beside_the_arrays_as_raw_bytes(
    tmp_path: Path, layout: str, dtype: str
) -> None:
    chosen = [CASES[name] for name in ("psm", "one unchanged, one rearranged", "spm")]
    little = "<u2" if dtype == "uint16" else "<u4"
    documents = [document(case.ids, case.files, little) for case in chosen]
    place = write(tmp_path, documents, layout=layout, label_mask="middle", dtype=dtype)
    mask = (tmp_path / MASKS[layout]).read_bytes()
    assert mask == bytes(map(int, "".join(case.mask for case in chosen)))
    array = place.file(f"-00000{ENDINGS[layout]}").read_bytes()
    assert len(array) == len(mask) * (2 if dtype == "uint16" else 4)
    assert np.frombuffer(array, little).tolist() == [i for case in chosen for i in case.ids]


def test_each_array_has_a_mask_of_its_length(tmp_path: Path) -> None:
    documents = [document(case.ids, case.files) for case in (CASES["psm"], CASES["spm"])]
    write(tmp_path, documents, layout="dolma", label_mask="middle", max_size=9)
    masks = sorted((tmp_path / "label_masks").iterdir())
    assert [path.name for path in masks] == ["a-00000.npy", "a-00001.npy"]
    assert [np.fromfile(path, bool).tolist() for path in masks] == [
        *(bits(CASES["psm"].mask), bits(CASES["spm"].mask))
    ]


def test_offsets_are_the_arrays_and_null_for_files_unchanged(tmp_path: Path) -> None:
    """The second document begins at token 9 of the array, so its spans are 9 higher."""
    chosen = [CASES["psm"], CASES["one unchanged, one rearranged"]]
    place = write(tmp_path, [document(case.ids, case.files) for case in chosen])
    table = pl.read_parquet(place.file(".parquet"))
    assert table["order"].to_list() == ["psm", "mixed"]
    (first,), (alone, second) = table["files"].to_list()
    fields = ["file_order", "file_start", "file_end"]
    fields += [
        f"{part}_{edge}" for part in ("prefix", "middle", "suffix") for edge in ("start", "end")
    ]
    assert list(first) == fields
    assert list(first.values()) == ["psm", 0, 8, 1, 3, 6, 8, 4, 5]
    assert list(alone.values()) == ["none", 9, 11, *[None] * 6]
    assert list(second.values()) == ["psm", 12, 18, 13, 14, 17, 18, 15, 16]


def test_rows_are_the_same_however_many_are_written_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [document(case.ids, case.files, line=n) for n, case in enumerate(CASES.values())]
    parquets = []
    for rows in (1 << 16, 4, 1):
        monkeypatch.setattr(arrays, "_ROWS_AT_ONCE", rows)
        place = write(tmp_path / str(rows), documents, max_size=20)
        parquets.append(place.file(".parquet").read_bytes())
    assert parquets[0] == parquets[1] == parquets[2]


def test_csv_is_dolmas(tmp_path: Path) -> None:
    place = write(tmp_path, numbered([1] * 6))
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


@pytest.mark.parametrize("layout", ENDINGS)
def test_no_document_no_array(tmp_path: Path, layout: str) -> None:
    place = write(tmp_path, [], layout=layout, label_mask="middle")
    assert names(place) == ["a.parquet"]
    assert not (tmp_path / "label_masks").exists()
    table = pl.read_parquet(place.file(".parquet"))
    assert table.height == 0
    assert table.columns[:3] == ["line", "id", "array"]


def test_documents_as_large_as_an_array(tmp_path: Path) -> None:
    place = write(tmp_path, numbered([5, 5]), max_size=5)
    assert [place.file(f"-0000{n}.npy").stat().st_size for n in (0, 1)] == [20, 20]


@pytest.mark.parametrize("layout", ENDINGS)
def test_one_document_an_array(tmp_path: Path, layout: str) -> None:
    place = write(tmp_path, numbered([1] * 30), layout=layout, max_size=1, label_mask="middle")
    arrays = [place.file(f"-{n:05d}{ENDINGS[layout]}").read_bytes() for n in range(30)]
    assert [int.from_bytes(array, "little") for array in arrays] == list(range(70_000, 70_030))
    beside = {"dolma": 2, "megatron": 2, "datatrove": 4}
    assert len(names(place)) == 30 * beside[layout] + 1


@pytest.mark.parametrize("size", [2, 5, 1 << 22])
def test_an_array_is_read_in_blocks_and_spans(tmp_path: Path, size: int) -> None:
    path = tmp_path / "ids"
    np.arange(size, dtype="<u4").tofile(path)
    with ArrayReader(path, np.dtype("<u4")) as reader:
        assert reader.size == size
        blocks = list(reader.blocks())
        assert [begin for begin, _ in blocks] == [0]
        assert np.array_equal(np.concatenate([ids for _, ids in blocks]), np.arange(size))
        assert reader.read(1, 2).tolist() == [1]
        assert reader.read(1, 1).tolist() == []
        with pytest.raises(EOFError, match=f"ends before token {size + 1}"):
            reader.read(0, size + 1)


def test_an_array_larger_than_a_block_is_read_in_several(tmp_path: Path) -> None:
    path = tmp_path / "ids"
    np.arange((1 << 22) + 3, dtype="<u4").tofile(path)
    with ArrayReader(path, np.dtype("<u4")) as reader:
        blocks = list(reader.blocks())
    assert [(begin, len(ids)) for begin, ids in blocks] == [(0, 1 << 22), (1 << 22, 3)]
    assert blocks[1][1].tolist() == [1 << 22, (1 << 22) + 1, (1 << 22) + 2]


def test_rows_that_wait_to_be_written_hold_no_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """60 documents of 1 MB each on the disk: never many of them in memory at once."""
    monkeypatch.setattr(spool, "_IN_MEMORY", 1)
    one = document(np.zeros(250_000, "<u4"))
    place = partition_files(tmp_path / "token_arrays", "a")
    law = ArraySettings(Tokens(), Fim(), "fim_shards/a.jsonl.zst", "0" * 32)
    with Staging(place) as staging, Spool(staging.folder, np.dtype("<u4")) as documents:
        for _ in range(60):
            documents.append(one.tokens, one.header, one.files, [None])
        tracemalloc.start()
        try:
            write_arrays(map(documents.__getitem__, range(60)), law, staging)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 15e6
