from pathlib import Path
from random import Random
from typing import Any

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from fim_assets.corpus.partition_files import PartitionFiles
from fim_assets.corpus.stage import Totals
from fim_assets.corpus.staging import Staging
from fim_assets.cuts.registry import CUTS
from fim_assets.fim_shards.record import FimShardReader, restore_document
from fim_assets.fim_shards.transform import TransformedBlock, transform_block, transform_shard
from fim_assets.raw_shards.documents import Document
from fim_assets.raw_shards.measure import measure_shard
from fim_assets.raw_shards.shard_reader import Documents, ShardReader
from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import Fim
from fim_assets.recipe.raw import Raw
from fim_assets_tests.corpora import TOLERANT, documents, json_lines, partition_files, write_shard

SEED = 7
ALWAYS = Recipe(raw=TOLERANT, fim=Fim(fim_rate=1.0))


def transform(shard: Path, folder: Path, recipe: Recipe) -> tuple[PartitionFiles, Totals]:
    place = partition_files(folder, "a")
    with Staging(place) as staging:
        totals = transform_shard(shard, SEED, recipe, staging)
        staging.publish()
    return place, totals


def lines_of(place: PartitionFiles) -> list[bytes]:
    data = (
        zstandard.ZstdDecompressor()
        .decompressobj()
        .decompress(place.file(".jsonl.zst").read_bytes())
    )
    return data.split(b"\n")[:-1]


def block_of(rows: list[Document]) -> Documents:
    return Documents(
        numbers=list(range(1, len(rows) + 1)),
        lines=[orjson.dumps({"id": row.id, "text": row.text}) for row in rows],
        ids=[row.id for row in rows],
        texts=[row.text for row in rows],
        languages=[row.language for row in rows],
        paths=[row.path for row in rows],
    )


def test_lines_unchanged_are_as_they_came_and_others_differ_in_the_text_alone(
    tmp_path: Path,
) -> None:
    odd = b' {"z": 1.50, "n":12345678901234567890123, "text":"caf\\u00e9 %d \\/ tail" , "a":{}}\r'
    shard = write_shard(tmp_path / "a.jsonl", [odd % n for n in range(200)])
    place, _ = transform(shard, tmp_path / "fim", Recipe())
    orders = pl.read_parquet(place.file(".parquet"))["order"].to_list()
    assert {"none", "psm", "spm"} == set(orders)
    head, tail = odd.split(b'"caf\\u00e9 %d \\/ tail"')
    for number, (line, order) in enumerate(zip(lines_of(place), orders, strict=True)):
        if order == "none":
            assert line == odd % number
        else:
            assert line.startswith(head + b'"<|fim_')
            assert line.endswith(b'"' + tail)


def test_every_text_comes_back(tmp_path: Path) -> None:
    rows = documents(300)
    shard = write_shard(tmp_path / "a.jsonl.zst", rows)
    place, totals = transform(shard, tmp_path / "fim", ALWAYS)
    restored = []
    with FimShardReader(place.file(".jsonl.zst"), place.file(".parquet")) as reader:
        for block in reader:
            for text, files in zip(block.documents.texts, block.files, strict=True):
                restored.append(restore_document(text, files, reader.fim))
    assert restored == [row["text"] for row in rows]
    assert totals.documents == 300


def test_record_by_hand(tmp_path: Path) -> None:
    """A document of three files, one empty and one too short; another after a refused line."""
    shard = write_shard(
        tmp_path / "a.jsonl",
        [
            {"id": "x", "text": "<|file_sep|>abcd<|file_sep|>0123456789"},
            b"not json",
            b"",
            {"text": "0123456789"},
        ],
    )
    place, totals = transform(shard, tmp_path / "fim", ALWAYS)
    assert (totals.lines, totals.blank, totals.rejected, totals.documents) == (4, 1, 1, 2)
    table = pl.read_parquet(place.file(".parquet"))
    assert table["line"].to_list() == [1, 1, 1, 4]
    assert table["id"].to_list() == ["x", "x", "x", None]
    assert table["file"].to_list() == [0, 1, 2, 0]
    assert table["chars"].to_list() == [0, 4, 10, 10]
    assert table["reason"].to_list() == ["too_short", "too_short", None, None]
    assert table["split"].to_list() == [None, None, "dolma", "dolma"]
    assert table["order"].to_list()[:2] == ["none", "none"]
    parts = table.select(pl.sum_horizontal("prefix_chars", "middle_chars", "suffix_chars"))
    assert parts.to_series().to_list() == [0, 0, 10, 10]
    texts = [orjson.loads(line)["text"] for line in lines_of(place)]
    assert texts[0].startswith("<|file_sep|>abcd<|file_sep|><|fim_")


@pytest.mark.parametrize("rate", [0.0, 1.0])
@pytest.mark.parametrize("split", [0.0, 1.0])
def test_probabilities_zero_and_one_are_exact(tmp_path: Path, rate: float, split: float) -> None:
    shard = write_shard(tmp_path / "a.jsonl", documents(100))
    recipe = Recipe(fim=Fim(fim_rate=rate, psm_spm_split=split))
    place, _ = transform(shard, tmp_path / "fim", recipe)
    table = pl.read_parquet(place.file(".parquet")).filter(pl.col("chars") >= 5)
    expected = {0.0: "none", 1.0: "psm" if split else "spm"}[rate]
    assert set(table["order"]) == {expected}


def test_without_separator_a_document_is_one_file() -> None:
    recipe = Recipe(fim=Fim(fim_rate=1.0, file_separator_token=None))
    result = transform_block(block_of([Document("a", "one<|file_sep|>two three")]), SEED, recipe)
    assert len(result.rows["file"]) == 1


RECIPES: dict[str, dict[str, Any]] = {
    **{split: {"split": split} for split in CUTS},
    "mixture": {
        "split": {"dolma": 0.2, "uniform": 0.2, "lines": 0.3, "syntax": 0.3},
        "split_fallback": "uniform",
        "document_rate": 0.7,
        "fim_rate": {"Python": 0.8, "C": 0.3, "default": 0.6},
        "repository_tokens": ["<repo_name>"],
        "spm_format": "v2",
        "fim_end_token": "<end>",
    },
}

CODE = "def f(a):\n    return a\n"

documents_of_any_kind = st.builds(
    Document,
    st.none() | st.text(max_size=5),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=60)
    | st.lists(
        st.sampled_from(
            ["<|file_sep|>", "<repo_name>", "a.py\n", CODE, "code;\n", "<|fim_middle|>", "é"]
        ),
        min_size=1,
        max_size=8,
    ).map("".join),
    st.sampled_from([None, "Python", "C", "COBOL"]),
    st.sampled_from([None, "a.py", "b.c"]),
)


def of_each_document(result: TransformedBlock) -> list[tuple[bytes, list[tuple[object, ...]]]]:
    """Each document's line and its files' rows, line numbers left out."""
    columns = {
        name: pa.array(column).to_pylist() for name, column in result.rows.items() if name != "line"
    }
    found: list[tuple[bytes, list[tuple[object, ...]]]] = [
        (bytes(line), []) for line in result.lines
    ]
    for number, row in zip(
        pa.array(result.rows["line"]).to_pylist(), zip(*columns.values(), strict=True), strict=True
    ):
        found[number - 1][1].append(row)
    return found


@pytest.mark.parametrize("fim", RECIPES.values(), ids=RECIPES)
@given(st.lists(documents_of_any_kind, min_size=1, max_size=12), st.randoms())
@settings(max_examples=60, deadline=None)
def test_what_happens_to_a_document_depends_on_no_other(
    fim: dict[str, Any], rows: list[Document], random: Random
) -> None:
    recipe = Recipe(fim=Fim.model_validate({"fim_rate": 1.0} | fim))
    alone = {row: of_each_document(transform_block(block_of([row]), SEED, recipe)) for row in rows}
    random.shuffle(rows)
    some = rows[: random.randint(1, len(rows))] + rows[:1]
    together = of_each_document(transform_block(block_of(some), SEED, recipe))
    assert together == [alone[row][0] for row in some]


def block_of_shard(shard: Path, block_bytes: int) -> list[Documents]:
    with ShardReader(shard, Raw(), block_bytes) as reader:
        return list(reader)


@pytest.mark.parametrize("block_bytes", [1, 1000, 1 << 30])
@pytest.mark.parametrize("fim", RECIPES.values(), ids=RECIPES)
def test_rows_and_lines_do_not_depend_on_the_block_size(
    tmp_path: Path, fim: dict[str, Any], block_bytes: int
) -> None:
    recipe = Recipe(fim=Fim.model_validate(fim))
    shard = write_shard(tmp_path / "a.jsonl", documents(100))
    place, _ = transform(shard, tmp_path / "fim", recipe)
    parts = [transform_block(b, SEED, recipe) for b in block_of_shard(shard, block_bytes)]
    assert [line for part in parts for line in part.lines] == lines_of(place)
    table = pq.read_table(place.file(".parquet"))
    for name in table.column_names:
        expected = table[name].to_pylist()
        assert [v for part in parts for v in pa.array(part.rows[name]).to_pylist()] == expected


def test_same_input_same_bytes(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.jsonl", documents(500))
    first, _ = transform(shard, tmp_path / "1", Recipe())
    second, _ = transform(shard, tmp_path / "2", Recipe())
    for ending in (".jsonl.zst", ".parquet"):
        assert first.file(ending).read_bytes() == second.file(ending).read_bytes()


def test_packing_of_the_raw_shard_does_not_matter(tmp_path: Path) -> None:
    plain = write_shard(tmp_path / "a.jsonl", documents(50))
    packed = write_shard(tmp_path / "a.json.gz", documents(50))
    one, _ = transform(plain, tmp_path / "1", Recipe())
    other, _ = transform(packed, tmp_path / "2", Recipe())
    assert one.file(".jsonl.zst").read_bytes() == other.file(".jsonl.zst").read_bytes()
    assert json_lines(documents(50)) != b"\n".join([*lines_of(one), b""])


EDGE_CASE_TEXTS = [
    "e\u0301" * 20 + "\u0300",
    "line\r\nline\r\n\r\n" * 3,
    "\r\r\r\r\r\r",
    "\x00" * 9,
    "a\x00b\n\x00\n\x00",
    "\u2028\u2029\x85\x0b\x0c\x1c" * 2,
    "<|file_sep|>",
    "<|file_sep|>" * 7,
    "<|file_sep|>\n<|file_sep|>",
    "<|file_sep||file_sep|><|file_sep|>|>",
    "<|fim_prefix|><|fim_suffix|><|fim_middle|>",
    "<|fim_prefix|><|file_sep|><|fim_middle|>x<|fim_suffix|>",
    "\ufeff\ufeffint x;\ufeff",
    "👩‍👩‍👧 👨🏽‍🚀 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "\U0010ffff\uffff\ufffe\ufdd0x",
    "عربي ﷽ עברית \u202e txt",
    " " * 12,
    "\n" * 12,
    "\\ud800 \\u0000 \\",
]


@pytest.mark.parametrize("fim", RECIPES.values(), ids=RECIPES)
def test_awkward_texts_come_back(tmp_path: Path, fim: dict[str, Any]) -> None:
    texts = [text for text in EDGE_CASE_TEXTS for _ in range(20)]
    rows = [
        {"id": n, "text": text, "metadata": {"language": "C" if n % 2 else "Python"}}
        for n, text in enumerate(texts)
    ]
    recipe = Recipe(fim=Fim.model_validate({"fim_rate": 1.0} | fim))
    place, totals = transform(write_shard(tmp_path / "a.jsonl", rows), tmp_path / "fim", recipe)
    assert (totals.documents, totals.rejected) == (len(texts), 0)
    restored = []
    with FimShardReader(place.file(".jsonl.zst"), place.file(".parquet")) as reader:
        for block in reader:
            for text, files in zip(block.documents.texts, block.files, strict=True):
                restored.append(restore_document(text, files, reader.fim))
    assert restored == texts
    table = pl.read_parquet(place.file(".parquet"))
    parts = table.select(pl.sum_horizontal("prefix_chars", "middle_chars", "suffix_chars"))
    whole = table.select(pl.when(pl.col("order") != "none").then("chars").otherwise(0))
    assert parts.to_series().to_list() == whole.to_series().to_list()
    pieces = [piece for text in texts for piece in text.split("<|file_sep|>")]
    assert table["chars"].to_list() == list(map(len, pieces))


@pytest.mark.parametrize("escape", [rb"\ud800", rb"\udfff", rb"\udc00\ud800", rb"\ud83dx\ude00"])
def test_half_a_surrogate_pair_is_no_text(tmp_path: Path, escape: bytes) -> None:
    good = rb'{"text":"\ud83d\ude00 whole pair"}'
    lines = [b'{"text":"before ' + escape + b' after"}', good]
    place, totals = transform(
        write_shard(tmp_path / "a.jsonl", lines),
        tmp_path / "fim",
        Recipe(raw=TOLERANT, fim=Fim(fim_rate=0)),
    )
    assert (totals.lines, totals.rejected, totals.documents) == (2, 1, 1)
    assert lines_of(place) == [good]
    raw = partition_files(tmp_path / "raw_shards", "a")
    with Staging(raw) as staging:
        measure_shard(tmp_path / "a.jsonl", Recipe(raw=TOLERANT), staging)
        staging.publish()
    refused = orjson.loads(raw.file(".rejected.jsonl").read_bytes())
    assert (refused["line"], refused["reason"]) == (1, "not_json")
    assert refused["content"].encode() == lines[0]
