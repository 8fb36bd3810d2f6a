import json
import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tokenizers import AddedToken, Tokenizer

from fim_assets.corpus.partition_files import PartitionFiles
from fim_assets.corpus.receipts import read_receipt
from fim_assets.layouts.registry import LAYOUTS
from fim_assets.recipe import ASSETS, Recipe
from fim_assets.recipe.fim import Fim
from fim_assets.recipe.tokens import Tokens
from fim_assets.run.partition import CHECKS_OF
from fim_assets.token_arrays.checks.partition import TokenPartition
from fim_assets.token_arrays.checks.texts import (
    _SAMPLE_DOCUMENT_TOKENS,
    SAMPLE_TOKENS,
    _sample,
)
from fim_assets.token_arrays.shuffle_buffer import Ids
from fim_assets.tokenizer.load import load_tokenizer
from fim_assets_tests.corpora import documents, open_corpus, run_all, write_shard
from fim_assets_tests.token_arrays.conftest import Finish
from fim_assets_tests.token_arrays.edits import Partition
from fim_assets_tests.token_arrays.letters import (
    AB,
    BC,
    BOS,
    EOS,
    MID,
    PAD,
    PRE,
    SEP,
    SIZE,
    SUF,
    UNUSED,
    letters_recipe,
)
from fim_assets_tests.tokenizer.small_tokenizers import (
    NAMES,
    QWEN_SPLIT,
    byte_level_bpe,
    save,
    small_recipe,
)

ONE_EOS = "one_eos_per_document"
VOCABULARY = "ids_in_vocabulary"
GRAMMAR = "sentinel_grammar"
LOST = "nothing_lost"
DECODES = "decodes_to_fim_text"
REFERENCE = "matches_reference_tokenizer"
ALL = [ONE_EOS, VOCABULARY, GRAMMAR, LOST, DECODES, REFERENCE]

REPOSITORY, SHORT, PSM, SPM = 1, 2, 4, 5
"""Lines of the raw shard of `conftest.ROWS`: of four files, left alone, PSM and SPM order."""

Fault = Callable[[Partition], dict[str, str]]
"""Harms a partition; which checks find it, and what they say."""


def test_the_checks_run_in_this_order_and_describe_themselves() -> None:
    assert list(CHECKS_OF["token_arrays"]) == ALL
    assert all(text.endswith(".") for text in CHECKS_OF["token_arrays"].values())


class Document:
    """A document of a partition that is not harmed yet."""

    def __init__(self, partition: Partition, line: int) -> None:
        (row,) = partition.table().filter(pl.col("line") == line).iter_rows(named=True)
        self.array: str = row["array"]
        self.line = line
        self.start: int = row["start"]
        self.end: int = row["end"]
        self.files: list[dict[str, Any]] = row["files"]
        lines = partition.table()["line"].sort().to_list()
        self.shard_line = lines.index(line) + 1

    @property
    def other_text(self) -> str:
        return (
            f"{self.array}: tokens {self.start} to {self.end} decode to another text than line "
            f"{self.shard_line} of the FIM shard"
        )

    def undecodable(self, why: str) -> str:
        return (
            f"{self.array}: tokens {self.start} to {self.end} do not decode ({why}): line "
            f"{self.shard_line} of the FIM shard"
        )

    @property
    def other_ids(self) -> str:
        return (
            f"{self.array}: tokens {self.start} to {self.end}, the document of line "
            f"{self.shard_line} of the FIM shard, are not what tokenizers"
        )

    def sentinel(self, at: int) -> str:
        return (
            f"{self.array}: the document at tokens {self.start} to {self.end}, line {self.line} of "
            f"the raw shard, has a sentinel too many, too few or another one at token {at}"
        )

    @property
    def missing(self) -> str:
        return f"line {self.shard_line} of the FIM shard is in no array"


def put(partition: Partition, at: int, *values: int) -> None:
    def edit(ids: Ids) -> None:
        ids[at : at + len(values)] = values

    partition.edit_ids(edit)


def swap(partition: Partition, one: int, other: int) -> None:
    def edit(ids: Ids) -> None:
        assert ids[one] != ids[other]
        ids[[one, other]] = ids[[other, one]]

    partition.edit_ids(edit)


# Ids edited in the array.


def a_letter_changed(partition: Partition) -> dict[str, str]:
    its = Document(partition, SHORT)
    put(partition, its.start + 1, ord("z"))
    return {DECODES: its.other_text, REFERENCE: its.other_ids}


def a_part_of_one_file_changed(partition: Partition) -> dict[str, str]:
    its = Document(partition, REPOSITORY)
    put(partition, its.files[2]["suffix_end"] - 1, ord("z"))
    return {DECODES: its.other_text, REFERENCE: its.other_ids}


def two_ids_swapped(partition: Partition) -> dict[str, str]:
    its = Document(partition, PSM)
    at = its.files[0]["prefix_start"]
    swap(partition, at, at + 1)
    return {DECODES: its.other_text, REFERENCE: its.other_ids}


def an_equally_decoding_split(partition: Partition) -> dict[str, str]:
    """`abc` as `a` `bc`, which BPE does not give, and which spells the same text."""
    its = Document(partition, REPOSITORY)
    ids = partition.ids()[its.start : its.end].tolist()
    at = next(n for n in range(len(ids)) if ids[n : n + 2] == [AB, ord("c")])
    put(partition, its.start + at, ord("a"), BC)
    return {REFERENCE: its.other_ids}


def a_separator_replaced(partition: Partition) -> dict[str, str]:
    its = Document(partition, REPOSITORY)
    at = its.files[1]["file_end"]
    assert partition.ids()[at] == SEP
    put(partition, at, PAD)
    return {
        VOCABULARY: padding(its, at),
        GRAMMAR: its.sentinel(at),
        DECODES: its.other_text,
        REFERENCE: its.other_ids,
    }


def padding_inside(partition: Partition) -> dict[str, str]:
    its = Document(partition, SHORT)
    put(partition, its.start + 1, PAD)
    return {
        VOCABULARY: padding(its, its.start + 1),
        DECODES: its.other_text,
        REFERENCE: its.other_ids,
    }


def padding(its: Document, at: int) -> str:
    return (
        f"{its.array}: token {at} is {PAD}, which no document has: it is padding, or a control "
        "token that the recipe lacks"
    )


# BOS and EOS.

NO_EOS = "a-00000.npy: EOS does not stand once at each document's end"
NO_BOS = "a-00000.npy: BOS does not stand once at each document's beginning"


def an_eos_inside(partition: Partition) -> dict[str, str]:
    its = Document(partition, PSM)
    put(partition, its.files[0]["suffix_start"], EOS)
    return {ONE_EOS: NO_EOS, DECODES: its.other_text, REFERENCE: its.other_ids}


def an_eos_moved(partition: Partition) -> dict[str, str]:
    its = Document(partition, SHORT)
    swap(partition, its.end - 1, its.end - 2)
    return {ONE_EOS: NO_EOS, DECODES: its.other_text, REFERENCE: its.other_ids}


def an_eos_missing(partition: Partition) -> dict[str, str]:
    its = Document(partition, SHORT)
    put(partition, its.end - 1, ord("z"))
    return {ONE_EOS: NO_EOS, REFERENCE: its.other_ids}


def a_bos_missing(partition: Partition) -> dict[str, str]:
    its = Document(partition, SPM)
    put(partition, its.start, ord("z"))
    return {ONE_EOS: NO_BOS, REFERENCE: its.other_ids}


def a_bos_inside(partition: Partition) -> dict[str, str]:
    its = Document(partition, SHORT)
    put(partition, its.start + 1, BOS)
    return {ONE_EOS: NO_BOS, DECODES: its.other_text, REFERENCE: its.other_ids}


def bos_and_eos_swapped(partition: Partition) -> dict[str, str]:
    its = Document(partition, SPM)
    swap(partition, its.start, its.end - 1)
    return {ONE_EOS: "does not stand once at each document's", REFERENCE: its.other_ids}


# Sentinels.


def two_sentinels_swapped(partition: Partition) -> dict[str, str]:
    its = Document(partition, PSM)
    file = its.files[0]
    swap(partition, file["file_start"], file["middle_start"] - 1)
    message = its.sentinel(file["file_start"])
    return {GRAMMAR: message, DECODES: its.other_text, REFERENCE: its.other_ids}


def a_sentinel_doubled(partition: Partition) -> dict[str, str]:
    its = Document(partition, SPM)
    at = its.files[0]["suffix_start"]
    put(partition, at, SUF)
    return {GRAMMAR: its.sentinel(at), DECODES: its.other_text, REFERENCE: its.other_ids}


def a_sentinel_removed(partition: Partition) -> dict[str, str]:
    its = Document(partition, SPM)
    at = its.files[0]["middle_start"] - 1
    assert partition.ids()[at] == MID
    put(partition, at, ord("z"))
    return {GRAMMAR: its.sentinel(at), DECODES: its.other_text, REFERENCE: its.other_ids}


def a_sentinel_moved(partition: Partition) -> dict[str, str]:
    its = Document(partition, PSM)
    at = its.files[0]["suffix_start"] - 1
    swap(partition, at - 1, at)
    return {GRAMMAR: its.sentinel(at - 1), DECODES: its.other_text, REFERENCE: its.other_ids}


def a_sentinel_in_a_file_left_alone(partition: Partition) -> dict[str, str]:
    its = Document(partition, REPOSITORY)
    at = its.files[0]["file_end"] - 1
    put(partition, at, PRE)
    return {GRAMMAR: its.sentinel(at), DECODES: its.other_text, REFERENCE: its.other_ids}


def a_sentinel_in_place_of_the_last_eos(partition: Partition) -> dict[str, str]:
    its = Document(partition, partition.table()["line"][-1])
    put(partition, its.end - 1, MID)
    message = its.sentinel(its.end - 1)
    return {ONE_EOS: NO_EOS, GRAMMAR: message, REFERENCE: its.other_ids}


FAULTS_OF_IDS = [
    a_letter_changed,
    a_part_of_one_file_changed,
    two_ids_swapped,
    an_equally_decoding_split,
    a_separator_replaced,
    padding_inside,
    an_eos_inside,
    an_eos_moved,
    an_eos_missing,
    a_bos_missing,
    a_bos_inside,
    bos_and_eos_swapped,
    two_sentinels_swapped,
    a_sentinel_doubled,
    a_sentinel_removed,
    a_sentinel_moved,
    a_sentinel_in_a_file_left_alone,
    a_sentinel_in_place_of_the_last_eos,
]


def assert_found(partition: Partition, expected: dict[str, str]) -> None:
    """Exactly these checks fail, with messages that begin so."""
    found = partition.token_faults()
    assert found.keys() == expected.keys(), found
    for name, message in expected.items():
        assert message in found[name]
    assert not (partition.root / "token_arrays" / "a.json").exists()


@pytest.mark.parametrize("fault", FAULTS_OF_IDS)
def test_a_fault_of_ids_is_found_by_these_checks_and_no_other(
    partition: Partition, fault: Fault
) -> None:
    assert_found(partition, fault(partition))


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (SIZE, f"an id is outside of the vocabulary of {SIZE}"),
        (SIZE + 3, f"an id is outside of the vocabulary of {SIZE}"),
        (65535, f"an id is outside of the vocabulary of {SIZE}"),
        (UNUSED, f"the vocabulary does not use the id {UNUSED}"),
        (258, "the vocabulary does not use the id 258"),
    ],
)
@pytest.mark.parametrize("place", ["first", "inside", "last"])
def test_ids_beyond_the_vocabulary_and_in_its_gaps_are_named(
    partition: Partition, number: int, why: str, place: str
) -> None:
    """A model's embedding may be padded beyond the tokenizer's 309 ids: no such id is right."""
    its = Document(partition, partition.table()["line"][0 if place == "first" else -1])
    at = its.start + 3 if place != "last" else its.end - 1
    put(partition, at, number)
    expected = {
        VOCABULARY: f"{its.array}: token {at} is {number}, which the vocabulary of {SIZE} does not "
        "use",
        REFERENCE: its.other_ids,
    }
    more = {DECODES: its.undecodable(why)} if place != "last" else {ONE_EOS: NO_EOS}
    assert_found(partition, expected | more)


def test_negative_ids_are_found_in_megatrons_int32(finish: Finish) -> None:
    partition = finish(Recipe(tokens=Tokens(layout="megatron")), documents(20))
    assert partition.ids().dtype == np.dtype("<i4")
    put(partition, 2, -1)
    found = partition.token_faults()
    assert found[VOCABULARY] == (
        "a-00000.bin: token 2 is -1, which the vocabulary of 100,278 does not use"
    )
    assert "do not decode (an id is outside of the vocabulary of 100,278)" in found[DECODES]


# Rows of the three parquets.

COVER = "a-00000.npy: its documents do not cover its "
OTHER_FILES = "documents have other files, or in other orders, than "
OTHER_IDS = "token_arrays has other lines, or other ids for them, than fim_shards"
RAW_IDS = "raw_shards has other lines, or other ids for them, than fim_shards"


def lose(line: int) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda table: table.filter(pl.col("line") != line)


def double(line: int) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda table: pl.concat([table, table.filter(pl.col("line") == line)])


def rename(line: int) -> Callable[[pl.DataFrame], pl.DataFrame]:
    its = pl.col("line") == line
    return lambda table: table.with_columns(id=pl.when(its).then(pl.lit("x")).otherwise("id"))


def move(line: int) -> Callable[[pl.DataFrame], pl.DataFrame]:
    its = pl.col("line") == line
    return lambda table: table.with_columns(line=pl.when(its).then(99).otherwise("line"))


LAST = 24
"""The last line of the raw shard."""


def a_row_of_tokens_lost(partition: Partition) -> dict[str, str]:
    its = Document(partition, PSM)
    tokens = partition.table()["tokens"].sum()
    left = tokens - (its.end - its.start)
    partition.edit_table("token_arrays", lose(PSM))
    return {
        ONE_EOS: COVER,
        GRAMMAR: OTHER_FILES,
        LOST: f"token_arrays, tokens: {left}, expected {tokens}",
        DECODES: its.missing,
        REFERENCE: its.missing,
    }


def a_row_of_tokens_doubled(partition: Partition) -> dict[str, str]:
    partition.edit_table("token_arrays", double(LAST))
    more = "the arrays hold more documents than the FIM shard"
    return {
        ONE_EOS: COVER,
        GRAMMAR: OTHER_FILES,
        LOST: "token_arrays, tokens: ",
        DECODES: more,
        REFERENCE: more,
    }


def sizes_changed_in_tokens(partition: Partition) -> dict[str, str]:
    """One document's number of tokens is one more, another's one less."""
    change = pl.when(line=PSM).then(1).when(line=SPM).then(-1).otherwise(0)
    partition.edit_table(
        "token_arrays", lambda table: table.with_columns(tokens=pl.col("tokens") + change)
    )
    return {
        LOST: "token_arrays, documents whose tokens are not those from start to end: 2, expected 0"
    }


def another_id_in_tokens(partition: Partition) -> dict[str, str]:
    partition.edit_table("token_arrays", rename(PSM))
    return {LOST: OTHER_IDS}


def another_line_in_tokens(partition: Partition) -> dict[str, str]:
    its = Document(partition, PSM)
    partition.edit_table("token_arrays", move(PSM))
    return {GRAMMAR: OTHER_FILES, LOST: OTHER_IDS, DECODES: its.missing, REFERENCE: its.missing}


def two_documents_swapped_in_tokens(partition: Partition) -> dict[str, str]:
    """Lines and ids of two documents in PSM order: only their content tells them apart."""
    one, other = 4, 6
    its = Document(partition, one)
    new = {one: other, other: one}
    ids = {one: "d2", other: "d0"}
    partition.edit_table(
        "token_arrays",
        lambda table: table.with_columns(
            line=pl.col("line").replace(new),
            id=pl.col("line").replace_strict(ids, default=pl.col("id")),
        ),
    )
    now = Document(partition, one)
    assert (now.shard_line, now.start) != (its.shard_line, its.start)
    return {DECODES: now.other_text, REFERENCE: now.other_ids}


def a_row_of_fim_lost(partition: Partition) -> dict[str, str]:
    partition.edit_table("fim_shards", lose(LAST))
    fewer = "the parquet has fewer documents, none for line 23 of the FIM shard"
    return {
        GRAMMAR: OTHER_FILES,
        LOST: "fim_shards, characters: ",
        DECODES: fewer,
        REFERENCE: fewer,
    }


def a_row_of_fim_doubled(partition: Partition) -> dict[str, str]:
    partition.edit_table("fim_shards", double(LAST))
    more = "the parquet has more documents"
    return {
        GRAMMAR: OTHER_FILES,
        LOST: "fim_shards, characters: ",
        DECODES: more,
        REFERENCE: more,
    }


def another_id_in_fim(partition: Partition) -> dict[str, str]:
    partition.edit_table("fim_shards", rename(PSM))
    return {LOST: OTHER_IDS}


def another_line_in_fim(partition: Partition) -> dict[str, str]:
    its = Document(partition, LAST)
    partition.edit_table("fim_shards", move(LAST))
    return {GRAMMAR: OTHER_FILES, LOST: OTHER_IDS, DECODES: its.missing, REFERENCE: its.missing}


def another_order_in_fim(partition: Partition) -> dict[str, str]:
    """A record that says SPM of a document that lies there in PSM order."""
    its = pl.col("line") == PSM
    partition.edit_table(
        "fim_shards",
        lambda table: table.with_columns(order=pl.when(its).then(pl.lit("spm")).otherwise("order")),
    )
    return {GRAMMAR: OTHER_FILES, REFERENCE: "<suf> expected at character 0"}


def fim_text_changed(partition: Partition) -> dict[str, str]:
    its = Document(partition, SHORT)
    partition.edit_lines(lambda lines: [line.replace(b'"ab"', b'"az"') for line in lines])
    return {DECODES: its.other_text, REFERENCE: its.other_ids}


def fim_line_lost(partition: Partition) -> dict[str, str]:
    partition.edit_lines(lambda lines: lines[:-1])
    more = "the parquet has more documents"
    return {DECODES: more, REFERENCE: more}


def raw(edit: Callable[[int], Callable[[pl.DataFrame], pl.DataFrame]], line: int) -> Fault:
    def fault(partition: Partition) -> dict[str, str]:
        partition.edit_table("raw_shards", edit(line))
        return {LOST: RAW_IDS}

    fault.__name__ = f"raw_{edit.__name__}_{line}"
    return fault


FAULTS_OF_ROWS: list[Fault] = [
    a_row_of_tokens_lost,
    a_row_of_tokens_doubled,
    sizes_changed_in_tokens,
    another_id_in_tokens,
    another_line_in_tokens,
    two_documents_swapped_in_tokens,
    a_row_of_fim_lost,
    a_row_of_fim_doubled,
    another_id_in_fim,
    another_line_in_fim,
    another_order_in_fim,
    fim_text_changed,
    fim_line_lost,
    *(raw(edit, line) for edit in (lose, double, rename, move) for line in (PSM, LAST)),
]


@pytest.mark.parametrize("fault", FAULTS_OF_ROWS)
def test_a_fault_of_rows_or_lines_is_found_by_these_checks_and_no_other(
    partition: Partition, fault: Fault
) -> None:
    assert_found(partition, fault(partition))


@pytest.mark.parametrize(("column", "by"), [("end", -1), ("end", 1), ("start", 1)])
def test_documents_that_overlap_or_leave_a_gap_do_not_cover_their_array(
    partition: Partition, column: str, by: int
) -> None:
    first = pl.col("start") == 0
    moved = pl.when(first).then(pl.col(column) + by).otherwise(column).alias(column)
    partition.edit_table("token_arrays", lambda table: table.with_columns(moved))
    assert partition.check(ONE_EOS).description.startswith(COVER)


def test_arrays_that_the_parquet_does_not_know_are_named(partition: Partition) -> None:
    other = pl.lit("b-00000.npy").alias("array")
    partition.edit_table("token_arrays", lambda table: table.with_columns(other))
    check = partition.check(ONE_EOS)
    assert check.description == "the parquet names ['b-00000.npy'], not ['a-00000.npy']"


def test_an_id_more_than_the_parquet_says_is_found(partition: Partition) -> None:
    size = len(partition.ids())
    partition.edit_ids(lambda ids: np.append(ids, ids[2:3]))
    assert_found(partition, {ONE_EOS: f"{COVER}{size + 1} tokens"})


# Offsets of files and parts.

EDGES = [
    *("file_start", "file_end"),
    *(f"{part}_{edge}" for part in ("prefix", "middle", "suffix") for edge in ("start", "end")),
]


@pytest.mark.parametrize(("line", "file"), [(PSM, 0), (SPM, 0), (REPOSITORY, 1), (REPOSITORY, 2)])
@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("by", [-1, 1])
def test_an_offset_off_by_one_is_found(
    partition: Partition, line: int, file: int, edge: str, by: int
) -> None:
    its = Document(partition, line)
    new = its.files[file] | {edge: its.files[file][edge] + by}
    partition.edit_files(line, lambda files: files[file].update(new))
    found = partition.token_faults()
    assert found.keys() == {GRAMMAR}
    message = found[GRAMMAR]
    assert message.startswith(its.array)
    if edge.startswith("file"):
        # Where a file begins a token too late or ends too early, what is beside it may be named.
        assert f"of line {line} at tokens " in message
        assert f"does not fit in its document, {its.start} to {its.end}" in message
    else:
        span = f"tokens {new['file_start']} to {new['file_end']}"
        assert f"the parts of the file at {span} and their sentinels do not make it up" in message


@pytest.mark.parametrize("edge", ["file_start", "file_end"])
@pytest.mark.parametrize("by", [-1, 1])
@pytest.mark.parametrize(("line", "file"), [(SHORT, 0), (REPOSITORY, 0), (REPOSITORY, 3)])
def test_an_offset_of_a_file_left_alone_off_by_one_is_found(
    partition: Partition, line: int, file: int, edge: str, by: int
) -> None:
    its = Document(partition, line)
    new = its.files[file] | {edge: its.files[file][edge] + by}
    partition.edit_files(line, lambda files: files[file].update(new))
    found = partition.token_faults()
    assert found.keys() == {GRAMMAR}
    assert found[GRAMMAR].startswith(f"{its.array}: a file of line {line} at tokens ")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("prefix_end", "suffix_start"),
        ("suffix_end", "middle_start"),
        ("file_start", "prefix_start"),
    ],
)
@pytest.mark.parametrize("by", [-1, 1])
def test_two_offsets_off_by_one_around_a_sentinel_are_found(
    partition: Partition, one: str, other: str, by: int
) -> None:
    its = Document(partition, PSM)
    file = its.files[0]
    moved = {one: file[one] + by, other: file[other] + by}
    partition.edit_files(PSM, lambda files: files[0].update(moved))
    found = partition.token_faults()
    assert found.keys() == {GRAMMAR}
    assert (
        f"tokens {its.start} to {its.end}" in found[GRAMMAR]
        or "a file of line 4" in (found[GRAMMAR])
    )


@pytest.mark.parametrize(
    "edit",
    [
        lambda files: files[1].update(
            file_order="psm" if files[1]["file_order"] != "psm" else "spm"
        ),
        lambda files: files[1].update(file_order="none"),
        lambda files: files[0].update(file_order="psm"),
        lambda files: files[0].update(file_order=None),
        lambda files: files[0].update(file_order="PSM"),
        lambda files: files.pop(),
        lambda files: files.append(files[-1]),
        lambda files: files.insert(0, files[0]),
    ],
)
def test_other_files_and_orders_than_the_records_are_found(
    partition: Partition, edit: Callable[[list[dict[str, Any]]], Any]
) -> None:
    partition.edit_files(REPOSITORY, edit)
    record = partition.root / "fim_shards" / "a.parquet"
    assert_found(partition, {GRAMMAR: f"{OTHER_FILES}{record} says"})


def test_files_in_another_order_of_the_column_are_found(partition: Partition) -> None:
    partition.edit_files(REPOSITORY, lambda files: files.reverse())
    assert partition.token_faults().keys() == {GRAMMAR}


# Label masks.


@pytest.mark.parametrize(
    "edit",
    [
        lambda mask: bytes([1 - mask[0]]) + mask[1:],
        lambda mask: mask[:-1] + b"\0",
        lambda mask: bytes(1 - value for value in mask),
        lambda mask: b"\1" * len(mask),
        lambda mask: b"\0" * len(mask),
        lambda mask: mask[1:] + mask[:1],
    ],
)
def test_a_mask_that_is_not_the_middles_is_found(
    partition: Partition, edit: Callable[[bytes], bytes]
) -> None:
    partition.edit_mask(edit)
    message = "true and false do not change where middles begin and their files do"
    assert_found(partition, {GRAMMAR: f"{partition.mask()}: {message}"})


@pytest.mark.parametrize("by", [-1, 1])
def test_a_mask_of_another_length_is_found(partition: Partition, by: int) -> None:
    tokens = len(partition.ids())
    partition.edit_mask(lambda mask: (mask + b"\1")[: tokens + by])
    message = f"{tokens + by} values for {tokens} tokens"
    assert_found(partition, {GRAMMAR: f"{partition.mask()}: {message}"})


# Receipts.


@pytest.mark.parametrize(
    ("asset", "field", "what"),
    [
        ("raw_shards", "lines", "raw_shards, lines: 25, expected 24"),
        ("raw_shards", "blank", "raw_shards, blank lines: 1, expected 0"),
        ("raw_shards", "rejected", "raw_shards, rejected lines: 2, expected 1"),
        ("raw_shards", "documents", "raw_shards, documents: 24, expected 23"),
        ("raw_shards", "chars", "raw_shards, characters: "),
        ("fim_shards", "lines", "fim_shards, lines: 25, expected 24"),
        ("fim_shards", "blank", "fim_shards, lines: 24, expected 25"),
        ("fim_shards", "rejected", "fim_shards, lines: 24, expected 25"),
        ("fim_shards", "documents", "fim_shards, lines: 24, expected 25"),
        ("fim_shards", "files", "token_arrays, files: 26, expected 27"),
        ("fim_shards", "chars", "fim_shards, characters: "),
        ("token_arrays", "lines", "token_arrays, lines: 24, expected 23"),
        ("token_arrays", "files", "token_arrays, files: 27, expected 26"),
        ("token_arrays", "chars", "token_arrays, characters: "),
        ("token_arrays", "tokens", "token_arrays, tokens: "),
    ],
)
def test_receipts_with_another_count_are_found(
    partition: Partition, asset: str, field: str, what: str
) -> None:
    """24 lines, one of them rejected; 23 documents, one of them of 4 files."""
    partition.edit_receipt(asset, lambda result: result.update({field: result[field] + 1}))
    assert_found(partition, {LOST: what})


def test_a_receipt_of_another_number_of_documents_is_found_twice(partition: Partition) -> None:
    partition.edit_receipt("token_arrays", lambda result: result.update(documents=24))
    message = "token_arrays, documents: 24, expected 23"
    assert_found(partition, {ONE_EOS: "23 documents, expected 24", LOST: message})


def test_arrays_are_not_judged_without_the_fim_shards_receipt(partition: Partition) -> None:
    receipt = partition.root / "fim_shards" / "a.json"
    receipt.unlink()
    with pytest.raises(AssertionError, match=f"{receipt}: no receipt"):
        partition.check(LOST)
    assert (partition.root / "token_arrays" / "a.json").exists()


def test_raw_shards_that_are_not_materialized_are_said(finish: Finish) -> None:
    partition = finish(letters_recipe())
    three = partition.check(LOST)
    shutil.rmtree(partition.root / "raw_shards")
    two = partition.check(LOST)
    assert two.passed
    assert (three.numbers["stages"], two.numbers["stages"]) == (3, 2)
    assert "came through all three stages" in three.description
    assert "came through two stages; raw_shards is not materialized" in two.description


# What is right passes.

LAYOUTS_AND_BOS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    f"{layout}, {name}": ({}, {"layout": layout, "label_mask": "middle"}, {"bos_token_id": bos})
    for layout, (name, bos) in product(
        LAYOUTS, {"no BOS": None, "BOS": BOS, "BOS = EOS": EOS}.items()
    )
}

OTHERS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "without a mask": ({}, {}, {}),
    "several arrays": ({}, {"max_size": 120}, {}),
    "several arrays with masks": (
        {},
        {"max_size": 120, "label_mask": "middle", "layout": "datatrove"},
        {"bos_token_id": BOS},
    ),
    "in the shard's order": ({}, {"shuffle": False}, {}),
    "nothing rearranged": ({"fim_rate": 0.0}, {"label_mask": "middle"}, {}),
    "half rearranged": ({"fim_rate": 0.5}, {"label_mask": "middle"}, {"bos_token_id": EOS}),
    "a separator without an id": (
        {"file_separator_token": "# sep #", "repository_tokens": []},
        {"label_mask": "middle"},
        {},
    ),
    "no separator": (
        {"file_separator_token": None, "repository_tokens": []},
        {"label_mask": "middle"},
        {},
    ),
    "parts without text, BigCode's SPM, and an end": (
        {"split": "uniform", "spm_format": "v2", "fim_end_token": "<end>"},
        {"label_mask": "middle"},
        {"bos_token_id": BOS},
    ),
    "no middle sentinel": (
        {"fim_middle_token": None, "psm_spm_split": 0.0},
        {"label_mask": "middle"},
        {},
    ),
    "paragraph by paragraph": ({}, {}, {"segment_before_tokenization": True}),
    "a tokenizer that normalizes": ({}, {"allow_lossy": True}, {"bos_token_id": BOS}),
}

VARIANTS = LAYOUTS_AND_BOS | OTHERS


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_what_is_right_passes_every_check(
    finish: Finish, variant: tuple[dict[str, Any], dict[str, Any], dict[str, Any]]
) -> None:
    partition = finish(letters_recipe(*variant))
    verdicts = partition.verdicts(ALL)
    for check in verdicts.values():
        assert check.passed, check
        assert check.description.endswith(".")
        assert check.numbers
    assert verdicts[LOST].numbers["chars"] == 452, "of the originals, however they are cut"


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("rows", [[], [b"refused", b""]], ids=["no line", "no document"])
def test_a_partition_without_documents_passes_every_check(
    finish: Finish,
    variant: tuple[dict[str, Any], dict[str, Any], dict[str, Any]],
    rows: list[object],
) -> None:
    partition = finish(letters_recipe(*variant), rows)
    verdicts = partition.verdicts(ALL)
    assert all(check.passed for check in verdicts.values()), verdicts
    assert verdicts[ONE_EOS].numbers == {"documents": 0, "arrays": 0}
    assert verdicts[REFERENCE].numbers == {"documents": 0, "tokens": 0}
    assert [path.name for path in partition.root.rglob("*-0*")] == []


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_published_tokenizer_passes_in_every_layout(finish: Finish, layout: str) -> None:
    """Awkward texts, with quicktok beside the reference."""
    tokens = Tokens.model_validate({"layout": layout, "label_mask": "middle", "max_size": 4000})
    partition = finish(Recipe(fim=Fim(fim_rate=0.8), tokens=tokens), documents(100))
    verdicts = partition.verdicts(ALL)
    assert all(check.passed for check in verdicts.values())
    arrays = verdicts[ONE_EOS].numbers["arrays"]
    assert isinstance(arrays, int)
    assert arrays > 1
    receipt = read_receipt(PartitionFiles(partition.root / "token_arrays", "a"))
    assert receipt is not None
    assert verdicts[VOCABULARY].numbers == {
        "highest_id": 100260,
        "vocabulary": 100278,
        "tokens": receipt.result.tokens,
    }


def test_numbers_by_hand(finish: Finish) -> None:
    """`abc` is two tokens, `é` two bytes; the repository is 1 + 1 + 1 + 1 tokens and EOS."""
    rows = [{"text": "abc"}, {"text": "é"}, {"text": "<repo>x<sep>y"}, b"", b"refused"]
    recipe = letters_recipe({"fim_rate": 0.0}, tokenizer={"bos_token_id": BOS})
    verdicts = finish(recipe, rows).verdicts(ALL)
    assert {name: check.numbers for name, check in verdicts.items()} == {
        ONE_EOS: {"documents": 3, "arrays": 1},
        VOCABULARY: {"highest_id": 306, "vocabulary": 309, "tokens": 4 + 4 + 6},
        GRAMMAR: {"psm": 0, "spm": 0},
        LOST: {"documents": 3, "chars": 3 + 1 + 13, "sentinel_chars": 0, "stages": 3},
        DECODES: {"documents": 3, "bytes": 3 + 2 + 13, "changed_documents": 0},
        REFERENCE: {"documents": 3, "tokens": 4 + 4 + 6},
    }


def test_a_normal_form_is_what_lossy_ids_decode_to(finish: Finish) -> None:
    """One document of `conftest.ROWS` is not in NFC; another letter is noticed all the same."""
    partition = finish(letters_recipe(tokens={"allow_lossy": True}))
    check = partition.check(DECODES)
    assert check.numbers["changed_documents"] == 1
    assert check.description == (
        "Documents whose ids decode to the normal form of their FIM texts: 23 of 23; it differs "
        "from the text of 1."
    )
    its = Document(partition, LAST)
    put(partition, its.files[0]["suffix_start"], ord("~"))
    assert_found(partition, {DECODES: its.other_text, REFERENCE: its.other_ids})


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_fault_in_a_later_array_is_found_there(finish: Finish, layout: str) -> None:
    recipe = letters_recipe(tokens={"layout": layout, "max_size": 120, "label_mask": "middle"})
    partition = finish(recipe)
    name = f"a-00001{LAYOUTS[recipe.tokens.layout].ending}"
    rows = partition.table().filter(pl.col("array") == name)
    assert 1 < rows.height < 10
    its = Document(partition, rows["line"][1])
    assert (its.array, its.start) == (name, rows["tokens"][0])

    def edit(ids: Ids) -> None:
        ids[its.start + 1] = EOS

    partition.edit_ids(edit, 1)
    message = f"{name}: EOS does not stand once at each document's end"
    expected = {ONE_EOS: message, DECODES: its.other_text, REFERENCE: its.other_ids}
    assert_found(partition, expected)


def test_bos_that_is_eos_stands_at_both_ends_and_nowhere_else(finish: Finish) -> None:
    partition = finish(letters_recipe(tokenizer={"bos_token_id": EOS}))
    its = Document(partition, SHORT)
    assert partition.ids()[its.start : its.end].tolist() == [EOS, AB, EOS]
    put(partition, its.start, ord("z"))
    assert_found(partition, {ONE_EOS: NO_EOS, REFERENCE: its.other_ids})


def test_a_repositorys_sentinels_and_separators_are_found_by_hand(finish: Finish) -> None:
    """A marker, a name and two separators: nothing is rearranged."""
    rows = [{"text": "<repo>x<sep>ab<sep>abc"}]
    partition = finish(letters_recipe({"fim_rate": 0.0}), rows)
    assert partition.ids().tolist() == [306, ord("x"), SEP, AB, SEP, AB, ord("c"), EOS]
    swap(partition, 2, 3)
    its = Document(partition, 1)
    expected = {GRAMMAR: its.sentinel(2), DECODES: its.other_text, REFERENCE: its.other_ids}
    assert_found(partition, expected)


@pytest.mark.parametrize("by", [-1, 1])
def test_a_boundary_of_two_files_left_alone_off_by_one_is_found(finish: Finish, by: int) -> None:
    """No sentinel shows it; the separator does."""
    partition = finish(letters_recipe({"fim_rate": 0.0}), [{"text": "abc<sep>abc<sep>abc"}])

    def move(files: list[dict[str, Any]]) -> None:
        files[0]["file_end"] += by
        files[1]["file_start"] += by

    partition.edit_files(1, move)
    assert partition.token_faults().keys() == {GRAMMAR}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_sentinel_may_have_the_highest_id_that_uint16_holds(
    finish: Finish, tmp_path: Path, layout: str
) -> None:
    content = json.loads(byte_level_bpe(["abc"], split=QWEN_SPLIT)) | {"added_tokens": []}
    vocab = content["model"]["vocab"]
    vocab |= {f"a{n}": n for n in range(len(vocab), 65_536 - len(NAMES))}
    tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.add_tokens([AddedToken(name, special=True, normalized=False) for name in NAMES])
    ids = save(tmp_path / "bpe", tokenizer.to_str())
    assert ids["<end>"] == 65_535
    fim = {"fim_end_token": "<end>", "fim_rate": 1.0}
    partition = finish(
        small_recipe(tmp_path / "bpe", ids, {"layout": layout}, fim), [{"text": "abc abc abc"}]
    )
    assert 65_535 in partition.ids()


@pytest.mark.parametrize("damage", ["tokens", "null"])
def test_a_record_that_cannot_be_read_is_a_fault_and_withdraws_the_receipt(
    partition: Partition, damage: str
) -> None:
    """The file's size stays, so that nobody else notices."""
    if damage == "null":
        partition.edit_table("token_arrays", lambda t: t.with_columns(start=pl.lit(None, pl.Int64)))
    else:
        path = partition.root / "token_arrays" / "a.parquet"
        path.write_bytes(b"\0" * path.stat().st_size)
    assert {ONE_EOS, DECODES} <= {*partition.token_faults()}
    assert not (partition.root / "token_arrays" / "a.json").exists()


# The sample of matches_reference_tokenizer.


def letters(count: int, size: int) -> list[object]:
    """Different documents of so many tokens each, EOS included."""
    return [{"id": str(n), "text": f"{n:04}".ljust(size - 1, "x")} for n in range(count)]


ALONE = {"fim_rate": 0.0}


@pytest.mark.parametrize(
    ("size", "sampled"), [(1024, 16), (1000, 17), (4096, 4), (4097, 4), (16384, 1), (20000, 1)]
)
def test_whole_documents_are_sampled_until_they_have_the_tokens(
    finish: Finish, size: int, sampled: int
) -> None:
    """16 * 1000 are fewer than 16,384 tokens, so that a 17th is taken."""
    assert SAMPLE_TOKENS == 16384
    partition = finish(letters_recipe(ALONE), letters(20, size))
    check = partition.check(REFERENCE)
    assert check.numbers == {"documents": sampled, "tokens": sampled * size}


@pytest.mark.parametrize(("size", "compared"), [(1 << 18, True), ((1 << 18) + 1, False)])
def test_documents_above_the_bound_are_passed_over(
    finish: Finish, size: int, compared: bool
) -> None:
    """`abc` as `a` `bc` in a document is found if it is compared, and only then."""
    assert _SAMPLE_DOCUMENT_TOKENS == 1 << 18
    text = "abc" + "x" * (size - 3)
    partition = finish(letters_recipe(ALONE), [{"text": text}])
    its = Document(partition, 1)
    assert (its.start, its.end) == (0, size)
    numbers = {"documents": 1, "tokens": size} if compared else {"documents": 0, "tokens": 0}
    assert partition.check(REFERENCE).numbers == numbers
    put(partition, 0, ord("a"), BC)
    found = partition.token_faults()
    assert found.keys() == ({REFERENCE} if compared else set())


def test_the_bound_leaves_the_sample_to_the_other_documents(finish: Finish) -> None:
    large = {"id": "large", "text": "x" * (1 << 18)}
    partition = finish(letters_recipe(ALONE), [large, *letters(20, 1024), large | {"id": "more"}])
    check = partition.check(REFERENCE)
    assert check.numbers == {"documents": 16, "tokens": 16384}


def sampled_ids(root: Path, recipe: Recipe) -> set[str]:
    """Ids of the documents in the sample."""
    raw, fim, tokens = (PartitionFiles(root / asset, "a") for asset in ASSETS)
    receipt = read_receipt(tokens)
    assert receipt is not None
    partition = TokenPartition(raw, fim, tokens, receipt, recipe, load_tokenizer(recipe))
    lines = _sample(partition)
    table = pl.read_parquet(root / "token_arrays" / "a.parquet")
    return set(table.filter(pl.col("line").is_in(lines))["id"].to_list())


def sample_of(root: Path, rows: list[object], tokens: dict[str, Any] | None = None) -> set[str]:
    write_shard(root / "raw" / "a.jsonl", rows)
    recipe = letters_recipe(ALONE, tokens)
    assert run_all(open_corpus(root, recipe))["a"].failure is None
    return sampled_ids(root, recipe)


def test_the_sample_is_drawn_by_keys_and_the_same_in_every_run(tmp_path: Path) -> None:
    """Neither the order of lines, nor that of the arrays, nor their layout changes it."""
    rows = letters(100, 1000)
    settings: list[dict[str, Any]] = [{}, {"shuffle": False}, {"layout": "megatron"}]
    cases = product((rows, rows[::-1]), settings)
    found = [sample_of(tmp_path / str(n), *case) for n, case in enumerate(cases)]
    assert len(found[0]) == 17
    assert all(ids == found[0] for ids in found)
    assert found[0] != {str(number) for number in range(17)}


def test_other_documents_take_no_more_than_room_in_the_sample(tmp_path: Path) -> None:
    rows = letters(60, 1000)
    of_all, of_half = sample_of(tmp_path / "all", rows), sample_of(tmp_path / "half", rows[:30])
    assert of_all & {str(number) for number in range(30)} <= of_half


def test_faults_that_only_the_reference_finds_are_found_in_the_sample_alone(
    tmp_path: Path,
) -> None:
    """Twenty documents of 1,500 tokens, of which eleven are compared: one harmed after another."""
    rows: list[object] = [{"id": str(n), "text": f"abc{n:02}".ljust(1500, "x")} for n in range(20)]
    sample = sample_of(tmp_path / "whole", rows)
    assert len(sample) == 11
    for number in range(20):
        partition = Partition(tmp_path / str(number), letters_recipe(ALONE))
        shutil.copytree(tmp_path / "whole", partition.root)
        its = Document(partition, number + 1)
        put(partition, its.start, ord("a"), BC)
        expected = {REFERENCE: its.other_ids} if str(number) in sample else {}
        found = partition.token_faults()
        assert found.keys() == expected.keys()
        assert all(message in found[name] for name, message in expected.items())


# Damage that no stage makes of itself.


def without_the_last_id(partition: Partition) -> None:
    partition.edit_ids(lambda ids: ids[:-1])


def an_end_beyond_the_array(partition: Partition) -> None:
    last = pl.col("end") == len(partition.ids())
    partition.edit_table(
        "token_arrays",
        lambda table: table.with_columns(
            end=pl.when(last).then(pl.col("end") + 9).otherwise("end")
        ),
    )


def another_array(partition: Partition) -> None:
    other = pl.lit("b-00000.npy").alias("array")
    partition.edit_table("token_arrays", lambda table: table.with_columns(other))


@pytest.mark.parametrize("harm", [without_the_last_id, an_end_beyond_the_array, another_array])
def test_spans_outside_of_arrays_are_verdicts_and_take_the_receipt_away(
    partition: Partition, harm: Callable[[Partition], None]
) -> None:
    harm(partition)
    outcome = run_all(open_corpus(partition.root, partition.recipe), [], ALL)["a"]
    assert outcome.details is None, outcome.details
    assert outcome.failure is not None
    assert f"check {ONE_EOS} failed: " in outcome.failure
    assert not (partition.root / "token_arrays" / "a.json").exists()


@pytest.mark.parametrize("edge", ["file_start", "file_end"])
@pytest.mark.parametrize(("line", "file"), [(SHORT, 0), (REPOSITORY, 0), (REPOSITORY, 3)])
def test_an_offset_that_is_null_is_found(
    partition: Partition, edge: str, line: int, file: int
) -> None:
    partition.edit_files(line, lambda files: files[file].update({edge: None}))
    assert partition.token_faults().keys() == {GRAMMAR}


@pytest.mark.parametrize(
    "fim",
    [
        {"spm_format": "v2", "psm_spm_split": 0.0},
        {"fim_middle_token": None, "psm_spm_split": 0.0},
    ],
    ids=["v2", "no middle sentinel"],
)
@pytest.mark.parametrize("by", [-1, 1])
def test_a_boundary_of_parts_without_a_sentinel_off_by_one_is_found(
    finish: Finish, fim: dict[str, Any], by: int
) -> None:
    """Prefix and middle touch, so that no sentinel tells where one ends."""
    partition = finish(letters_recipe(fim), [{"text": "uvwxyz" * 50}])
    (file,) = Document(partition, 1).files
    assert file["prefix_end"] == file["middle_start"]
    moved = {edge: file[edge] + by for edge in ("prefix_end", "middle_start")}
    partition.edit_files(1, lambda files: files[0].update(moved))
    assert partition.token_faults() != {}


def test_raw_shards_of_another_recipe_are_no_fault_of_the_arrays(finish: Finish) -> None:
    """They are not complete, and so as good as not materialized."""
    partition = finish(letters_recipe(), [{"id": "a", "key": "b", "text": "abc"}])
    recipe = partition.recipe.model_copy(
        update={"raw": partition.recipe.raw.model_copy(update={"id_field": "key"})}
    )
    outcome = run_all(open_corpus(partition.root, recipe), ["fim_shards", "token_arrays"])["a"]
    assert outcome.failure is None
