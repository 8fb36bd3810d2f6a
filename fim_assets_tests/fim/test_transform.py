from pathlib import Path
from random import Random

import orjson
import polars as pl
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from fim_assets.fim.draws import document_keys
from fim_assets.fim.record import FimShardReader, restore_document
from fim_assets.fim.transform import transform_block, transform_shard, transform_text
from fim_assets.receipts import Place, Staging
from fim_assets.recipe import Fim, Raw, Recipe
from fim_assets.shards import Documents, ShardReader, Totals
from fim_assets_tests.corpora import documents, json_lines, write_shard

SEED = 7
ALWAYS = Recipe(fim=Fim(fim_rate=1.0))


def transform(shard: Path, folder: Path, recipe: Recipe) -> tuple[Place, Totals]:
    place = Place(folder, "a")
    with Staging(place) as staging:
        totals = transform_shard(shard, SEED, recipe, staging)
        staging.publish()
    return place, totals


def lines_of(place: Place) -> list[bytes]:
    data = (
        zstandard.ZstdDecompressor()
        .decompressobj()
        .decompress(place.file(".jsonl.zst").read_bytes())
    )
    return data.split(b"\n")[:-1]


def block_of(rows: list[tuple[str | None, str]]) -> Documents:
    lines = [orjson.dumps({"id": i, "text": t}) for i, t in rows]
    return Documents(
        numbers=list(range(1, len(rows) + 1)),
        lines=lines,
        ids=[i for i, _ in rows],
        texts=[t for _, t in rows],
        languages=[None] * len(rows),
    )


def test_lines_left_alone_are_as_they_came_and_others_differ_in_the_text_alone(
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
    result = transform_block(block_of([("a", "one<|file_sep|>two three")]), SEED, recipe)
    assert len(result.rows["file"]) == 1


rows = st.lists(
    st.tuples(
        st.none() | st.text(max_size=5),
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=60)
        | st.lists(
            st.sampled_from(["<|file_sep|>", "code;\n", "<|fim_middle|>", "é"]), min_size=1
        ).map("".join),
    ),
    min_size=1,
    max_size=12,
)


@given(rows, st.randoms())
@settings(max_examples=60)
def test_what_happens_to_a_document_depends_on_no_other(
    rows: list[tuple[str | None, str]], random: Random
) -> None:
    alone = {row: transform_block(block_of([row]), SEED, ALWAYS).lines[0] for row in rows}
    random.shuffle(rows)
    together = transform_block(block_of(rows), SEED, ALWAYS)
    assert together.lines == [alone[row] for row in rows]


def test_transform_text_is_what_the_shard_gets() -> None:
    pairs: list[tuple[str | None, str]] = [(row["id"], row["text"]) for row in documents(64)]
    block = block_of(pairs)
    keys = document_keys(SEED, block.ids, block.texts)
    texts = [orjson.loads(line)["text"] for line in transform_block(block, SEED, ALWAYS).lines]
    assert texts == [
        transform_text(text, int(key), ALWAYS.fim)
        for text, key in zip(block.texts, keys, strict=True)
    ]


@pytest.mark.parametrize("block_bytes", [1, 1000, 1 << 30])
def test_rows_and_lines_do_not_depend_on_the_block_size(tmp_path: Path, block_bytes: int) -> None:
    shard = write_shard(tmp_path / "a.jsonl", documents(100))
    whole = transform_block(block_of_shard(shard, 1 << 20)[0], SEED, Recipe())
    parts = [transform_block(b, SEED, Recipe()) for b in block_of_shard(shard, block_bytes)]
    assert [line for part in parts for line in part.lines] == whole.lines
    for name, column in whole.rows.items():
        assert [v for part in parts for v in list(part.rows[name])] == list(column)
    assert sum(part.chars for part in parts) == whole.chars


def block_of_shard(shard: Path, block_bytes: int) -> list[Documents]:
    with ShardReader(shard, Raw(), block_bytes) as reader:
        return list(reader)


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
