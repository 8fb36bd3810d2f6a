"""Faults in documents in pieces, and the checks that find them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from fim_assets_tests.corpora import CHECKS_OF, open_corpus, run_all, write_shard
from fim_assets_tests.token_arrays.checks.faults import (
    ALL,
    DECODES,
    GRAMMAR,
    LOST,
    ONE_EOS,
    REFERENCE,
    put,
)
from fim_assets_tests.token_arrays.conftest import ROWS
from fim_assets_tests.token_arrays.edits import Partition
from fim_assets_tests.token_arrays.letters import BOS, letters_recipe

LOSSLESS = "lossless"

LONG = [
    *ROWS,
    {"id": "lines", "text": "".join(f"abc {n:04d}\n" for n in range(30))},
    {"id": "files", "text": "<sep>".join(f"{n} abc " * 8 for n in range(5))},
    {"id": "line", "text": "".join(f"{n:04d}" for n in range(40))},
]

LINES, FILES, LINE = 25, 26, 27
"""Lines of the raw shard: in pieces at line starts, at files, and anywhere."""


@pytest.fixture(scope="module")
def in_pieces(tmp_path_factory: pytest.TempPathFactory) -> Partition:
    """`LONG` in pieces of 64 ids, half of their files rearranged; to be copied."""
    root = tmp_path_factory.mktemp("in_pieces")
    recipe = letters_recipe(
        {"fim_rate": 0.5},
        {"label_mask": "middle"},
        {"bos_token_id": BOS},
        {"tokens": 64, "longer": "pieces"},
    )
    write_shard(root / "raw" / "a.jsonl", LONG)
    outcome = run_all(open_corpus(root, recipe))["a"]
    assert outcome.failure is None, outcome.details
    return Partition(root, recipe)


@pytest.fixture
def harmed(in_pieces: Partition, tmp_path: Path) -> Partition:
    """A copy of `in_pieces` to be harmed."""
    shutil.copytree(in_pieces.root, tmp_path / "root")
    return Partition(tmp_path / "root", in_pieces.recipe)


def is_piece(line: int, piece: int) -> pl.Expr:
    return (pl.col("line") == line) & (pl.col("piece") == piece)


def found(partition: Partition, asset: str = "token_arrays") -> set[str]:
    """Which checks of an asset fail."""
    verdicts = partition.verdicts(CHECKS_OF[asset])
    return {name for name, its in verdicts.items() if not its.passed}


def test_unharmed_pieces_pass(in_pieces: Partition) -> None:
    verdicts = in_pieces.verdicts(ALL)
    assert all(check.passed for check in verdicts.values()), verdicts
    chars = sum(len(row["text"]) for row in LONG if isinstance(row, dict))
    assert verdicts[LOST].numbers["chars"] == chars
    assert verdicts[LOST].numbers["documents"] == 26
    table = in_pieces.table()
    assert table.filter(pl.col("line").is_in([LINES, FILES, LINE])).height > 9


def lost(table: pl.DataFrame) -> pl.DataFrame:
    return table.filter(~is_piece(LINES, 1))


def doubled(table: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([table, table.filter(is_piece(LINES, 1))])


def renumbered(*numbers: int) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Gives two pieces of a document each the other's number."""
    one, other = numbers
    its = pl.col("line") == LINES
    swapped = pl.col("piece").replace({one: other, other: one})
    return lambda table: table.with_columns(piece=pl.when(its).then(swapped).otherwise("piece"))


def counted(table: pl.DataFrame) -> pl.DataFrame:
    its = is_piece(LINES, 1)
    return table.with_columns(pieces=pl.when(its).then(99).otherwise("pieces"))


def moved(table: pl.DataFrame) -> pl.DataFrame:
    """Says of a piece that it is another document's."""
    its = is_piece(LINES, 1)
    return table.with_columns(line=pl.when(its).then(LINE).otherwise("line"))


@pytest.mark.parametrize(
    ("edit", "names"),
    [
        (lost, {ONE_EOS, GRAMMAR, LOST, DECODES, REFERENCE}),
        (doubled, {ONE_EOS, GRAMMAR, LOST, DECODES, REFERENCE}),
        (renumbered(0, 1), {GRAMMAR, DECODES, REFERENCE}),
        (counted, {GRAMMAR}),
        (moved, {GRAMMAR, LOST, DECODES, REFERENCE}),
    ],
)
def test_pieces_that_the_arrays_parquet_has_wrong_are_found(
    harmed: Partition, edit: Callable[[pl.DataFrame], pl.DataFrame], names: set[str]
) -> None:
    harmed.edit_table("token_arrays", edit)
    assert found(harmed) == names


def test_a_piece_that_another_took_the_place_of_is_found(harmed: Partition) -> None:
    """Two pieces of a document with as many ids, one written twice."""
    table = harmed.table().filter(pl.col("line") == LINE, pl.col("order") == "none")
    sizes = table.group_by("tokens").agg("start").filter(pl.col("start").list.len() > 1)
    one, other, *_ = sizes["start"][0].to_list()
    size = sizes["tokens"][0]
    put(harmed, other, *harmed.ids()[one : one + size].tolist())
    assert found(harmed) == {DECODES, REFERENCE}


def flipped(partition: Partition, at: int) -> None:
    def edit(mask: bytes) -> bytes:
        return mask[:at] + bytes([1 - mask[at]]) + mask[at + 1 :]

    partition.edit_mask(edit)


@pytest.mark.parametrize("at", [0, -1])
@pytest.mark.parametrize("order", ["none", "rearranged", "last"])
def test_a_wrong_mask_at_the_eos_of_a_piece_is_found(
    harmed: Partition, order: str, at: int
) -> None:
    """Every kind of piece in turn: unchanged and not the last, rearranged, the last."""
    goes_on = pl.col("piece") + 1 < pl.col("pieces")
    chosen = {
        "none": goes_on & (pl.col("order") == "none"),
        "rearranged": goes_on & pl.col("order").is_in(["psm", "spm"]),
        "last": ~goes_on & (pl.col("pieces") > 1),
    }[order]
    ends = harmed.table().filter(chosen)["end"].to_list()
    mask = harmed.mask().read_bytes()
    assert ends
    assert {mask[end - 1] for end in ends} == ({0} if order == "none" else {1})
    flipped(harmed, ends[at] - 1)
    assert found(harmed) == {GRAMMAR}


# The FIM shard.


def lose_from_the_fim_shard(partition: Partition) -> None:
    documents = partition.table("fim_shards").filter(pl.col("file") == 0).with_row_index()
    number = documents.filter(is_piece(LINES, 1))["index"][0]
    partition.edit_lines(lambda lines: [*lines[:number], *lines[number + 1 :]])
    partition.edit_table("fim_shards", lost)


def test_a_piece_lost_from_the_fim_shard_is_found(harmed: Partition) -> None:
    lose_from_the_fim_shard(harmed)
    assert found(harmed, "fim_shards") == {LOSSLESS}


def test_a_piece_lost_from_the_fim_shard_alone_is_found_in_the_arrays(harmed: Partition) -> None:
    lose_from_the_fim_shard(harmed)
    assert found(harmed) == {GRAMMAR, LOST, DECODES, REFERENCE}


def not_continued(table: pl.DataFrame) -> pl.DataFrame:
    its = is_piece(LINES, 1)
    return table.with_columns(continued=~its & pl.col("continued"))


def continued(table: pl.DataFrame) -> pl.DataFrame:
    its = (pl.col("line") == FILES) & (pl.col("piece") > 0)
    return table.with_columns(continued=its | pl.col("continued"))


@pytest.mark.parametrize("edit", [renumbered(0, 1), renumbered(1, 2), counted, not_continued])
def test_what_the_fim_shards_parquet_has_wrong_is_found(
    harmed: Partition, edit: Callable[[pl.DataFrame], pl.DataFrame]
) -> None:
    harmed.edit_table("fim_shards", edit)
    assert found(harmed, "fim_shards") == {LOSSLESS}


@pytest.mark.parametrize("edit", [continued, not_continued])
def test_separators_between_pieces_are_counted(
    harmed: Partition, edit: Callable[[pl.DataFrame], pl.DataFrame]
) -> None:
    harmed.edit_table("fim_shards", edit)
    assert found(harmed) == {LOST}
