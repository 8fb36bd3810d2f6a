"""Documents in pieces come back whole, or the error names the line at which they do not."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from fim_assets.corpus.staging import Staging
from fim_assets.errors import ShardError
from fim_assets.fim_shards.record import FimShardReader, record_schema
from fim_assets.fim_shards.restore import count_record, restore_shard, restored_documents
from fim_assets.fim_shards.transform import transform_block, transform_shard
from fim_assets.raw_shards.shard_reader import ShardReader
from fim_assets.recipe import Recipe
from fim_assets.tokenizer.load import load_tokenizer
from fim_assets_tests.corpora import json_lines, partition_files, write_shard
from fim_assets_tests.token_arrays.letters import letters_recipe

RECIPE = letters_recipe(context={"tokens": 64, "longer": "pieces"})

ROWS: list[dict[str, Any]] = [
    {"id": "short", "text": "abcabc\n", "about": 1.5},
    # Pieces: two of the first file, and the others together.
    {
        "id": "long",
        "text": "abc x\n" * 12 + "<sep>" + "y = 1\n" * 3 + "<sep>z\n",
        "about": [1, "é"],
    },
    {"text": "abcabc\n"},
    {"id": "same", "text": "line\n" * 40},
    {"id": "same", "text": "line\n" * 40},
]

FIRST = 2
"""The line of the FIM shard where the first piece of the long document is; it has three."""


def transform(folder: Path, recipe: Recipe = RECIPE) -> tuple[Path, Path]:
    """A FIM shard and its parquet."""
    raw, files = write_shard(folder / "a.jsonl", ROWS), partition_files(folder / "fim", "a")
    with Staging(files) as staging:
        transform_shard(raw, 7, recipe, staging, tokenizer=load_tokenizer(recipe))
        staging.publish()
    return files.file(".jsonl.zst"), files.file(".parquet")


Document = tuple[bytes, list[dict[str, Any]]]
"""A line of the FIM shard, and its files' rows."""


def read(shard: Path, parquet: Path) -> list[Document]:
    lines = zstandard.ZstdDecompressor().decompressobj().decompress(shard.read_bytes()).split(b"\n")
    rows = pq.read_table(parquet).to_pylist()
    firsts = [number for number, row in enumerate(rows) if row["file"] == 0]
    groups = [rows[begin:end] for begin, end in pairwise([*firsts, len(rows)])]
    return list(zip(lines[:-1], groups, strict=True))


def rewrite(shard: Path, parquet: Path, documents: list[Document]) -> None:
    shard.write_bytes(zstandard.compress(b"".join(line + b"\n" for line, _ in documents)))
    rows = [row for _, group in documents for row in group]
    pq.write_table(pa.Table.from_pylist(rows, schema=pq.read_schema(parquet)), parquet)


def test_every_document_comes_back_byte_for_byte(tmp_path: Path) -> None:
    shard, parquet = transform(tmp_path)
    documents = read(shard, parquet)
    assert [group[0]["line"] for _, group in documents] == [1, 2, 2, 2, 3, *[4] * 4, *[5] * 4]
    about = [
        (group[0]["piece"], group[0]["pieces"], group[0]["continued"]) for _, group in documents
    ]
    assert about[:5] == [(0, 1, False), (0, 3, False), (1, 3, True), (2, 3, False), (0, 1, False)]
    assert b"".join(line + b"\n" for line in restore_shard(shard, parquet)) == json_lines(ROWS)
    files = [row["order"] for _, group in documents for row in group]
    assert count_record(parquet) == (5, len(files) - files.count("none"))
    # Copies get equal pieces: all but the line is the same.
    for (line, rows), (other_line, other_rows) in zip(documents[5:9], documents[9:], strict=True):
        assert line == other_line
        assert [{**row, "line": 5} for row in rows] == other_rows


@pytest.mark.parametrize("block_bytes", [1, 100, 250, 1 << 20])
def test_blocks_do_not_matter(tmp_path: Path, block_bytes: int) -> None:
    """Neither those in which documents are divided, nor those in which pieces are read."""
    shard, parquet = transform(tmp_path)
    tokenizer, lines, rows = load_tokenizer(RECIPE), [], []
    with ShardReader(tmp_path / "a.jsonl", RECIPE.raw, block_bytes) as raw:
        for block in raw:
            done = transform_block(block, 7, RECIPE, tokenizer)
            lines += [bytes(line) for line in done.lines]
            rows += pa.Table.from_pydict(done.rows, record_schema(RECIPE)).to_pylist()
    documents = read(shard, parquet)
    assert lines == [line for line, _ in documents]
    assert rows == [row for _, group in documents for row in group]
    with FimShardReader(shard, parquet, block_bytes) as reader:
        restored = list(restored_documents(reader))
    assert [its.text for its in restored] == [row["text"] for row in ROWS]
    assert [its.number for its in restored] == [1, 2, 5, 6, 10]
    assert [its.raw_number for its in restored] == [1, 2, 3, 4, 5]
    assert [len(its.keys) for its in restored] == [1, 3, 1, 4, 4]
    assert [its.changed for its in restored] == [True, True, True, True, True]


def test_a_divided_document_of_which_no_file_is_rearranged_has_changed(tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"fim": RECIPE.fim.model_copy(update={"fim_rate": 0.0})})
    shard, parquet = transform(tmp_path, recipe)
    with FimShardReader(shard, parquet) as reader:
        assert [its.changed for its in restored_documents(reader)] == [
            False,
            True,
            False,
            True,
            True,
        ]
    assert b"".join(line + b"\n" for line in restore_shard(shard, parquet)) == json_lines(ROWS)


def lose(*numbers: int) -> Callable[[list[Document]], list[Document]]:
    return lambda some: [its for number, its in enumerate(some, 1) if number not in numbers]


def swap(one: int, other: int) -> Callable[[list[Document]], list[Document]]:
    def swapped(some: list[Document]) -> list[Document]:
        some[one - 1], some[other - 1] = some[other - 1], some[one - 1]
        return some

    return swapped


def double(number: int) -> Callable[[list[Document]], list[Document]]:
    return lambda some: [*some[:number], some[number - 1], *some[number:]]


def set_in(number: int, **values: object) -> Callable[[list[Document]], list[Document]]:
    def changed(some: list[Document]) -> list[Document]:
        for row in some[number - 1][1]:
            row.update(values)
        return some

    return changed


def of_other(number: int, other: int) -> Callable[[list[Document]], list[Document]]:
    """A piece of a copy's line: the same text, and another line of the raw shard."""
    return lambda some: [*some[: number - 1], some[other - 1], *some[number:]]


def around(number: int) -> Callable[[list[Document]], list[Document]]:
    def changed(some: list[Document]) -> list[Document]:
        content = orjson.loads(some[number - 1][0])
        some[number - 1] = orjson.dumps(content | {"about": 7}), some[number - 1][1]
        return some

    return changed


MISSING, LAST = "a piece of a document is missing", "its last piece is missing"
HASH = "its id and text have another hash"


@pytest.mark.parametrize(
    ("damage", "number", "problem"),
    [
        (lose(FIRST), FIRST, MISSING),
        (lose(FIRST + 1), FIRST + 1, MISSING),
        (lose(FIRST + 2), FIRST + 2, MISSING),
        (lose(13), 10, LAST),
        (lose(11, 12, 13), 10, LAST),
        (double(FIRST), FIRST + 1, MISSING),
        (double(FIRST + 1), FIRST + 2, MISSING),
        (double(FIRST + 2), FIRST + 3, MISSING),
        (swap(FIRST, FIRST + 1), FIRST, MISSING),
        (swap(FIRST + 1, FIRST + 2), FIRST + 1, MISSING),
        (of_other(7, 11), 7, MISSING),
        (around(FIRST + 1), FIRST, "its pieces differ in more than their texts"),
        (around(FIRST + 2), FIRST, "its pieces differ in more than their texts"),
        (set_in(FIRST + 1, continued=False), FIRST, HASH),
        (set_in(FIRST + 2, continued=True), FIRST, HASH),
        (set_in(FIRST + 1, draw_key=5), FIRST, HASH),
        (set_in(FIRST + 2, draw_key=5), FIRST, HASH),
        (set_in(FIRST, piece=1), FIRST, MISSING),
        (set_in(FIRST, pieces=1), FIRST, HASH),
        (set_in(FIRST + 1, pieces=4), FIRST + 1, MISSING),
        (set_in(FIRST + 2, pieces=4), FIRST + 2, MISSING),
        (set_in(1, pieces=2), 2, MISSING),
    ],
)
def test_damaged_pieces_are_told(
    tmp_path: Path,
    damage: Callable[[list[Document]], list[Document]],
    number: int,
    problem: str,
) -> None:
    shard, parquet = transform(tmp_path)
    rewrite(shard, parquet, damage(read(shard, parquet)))
    with pytest.raises(ShardError) as raised:
        list(restore_shard(shard, parquet))
    where = f"{shard} and {parquet} disagree at line {number} of the FIM shard, if it is one: "
    assert str(raised.value) == where + problem
