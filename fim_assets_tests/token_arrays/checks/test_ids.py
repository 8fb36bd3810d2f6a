from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from fim_assets.layouts.registry import LAYOUTS
from fim_assets.recipe import Recipe
from fim_assets.recipe.tokens import Tokens
from fim_assets.token_arrays.shuffle_buffer import Ids
from fim_assets_tests.corpora import documents, open_corpus, run_all
from fim_assets_tests.token_arrays.checks.faults import (
    ALL,
    COVER,
    DECODES,
    GRAMMAR,
    NO_BOS,
    NO_EOS,
    ONE_EOS,
    PSM,
    REFERENCE,
    REPOSITORY,
    SHORT,
    SPM,
    VOCABULARY,
    Document,
    Fault,
    assert_found,
    holds,
    put,
    swap,
)
from fim_assets_tests.token_arrays.conftest import Finish
from fim_assets_tests.token_arrays.edits import Partition
from fim_assets_tests.token_arrays.letters import (
    AB,
    BC,
    BOS,
    EOS,
    PAD,
    SEP,
    SIZE,
    UNUSED,
    letters_recipe,
)

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
    return f"{its.array}: token {at} is {PAD}, … padding"


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
    return {ONE_EOS: "a-00000.npy: … once at each document", REFERENCE: its.other_ids}


FAULTS = [
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
]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_ids_is_found_by_these_checks_and_no_other(
    partition: Partition, fault: Fault
) -> None:
    assert_found(partition, fault(partition))


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (SIZE, f"outside … {SIZE}"),
        (SIZE + 3, f"outside … {SIZE}"),
        (65535, f"outside … {SIZE}"),
        (UNUSED, f"not use the id {UNUSED}"),
        (258, "not use the id 258"),
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
        VOCABULARY: f"{its.array}: token {at} is {number}, … vocabulary of {SIZE} ",
        REFERENCE: its.other_ids,
    }
    more = {DECODES: its.undecodable(why)} if place != "last" else {ONE_EOS: NO_EOS}
    assert_found(partition, expected | more)


def test_negative_ids_are_found_in_megatrons_int32(finish: Finish) -> None:
    partition = finish(Recipe(tokens=Tokens(layout="megatron")), documents(20))
    assert partition.ids().dtype == np.dtype("<i4")
    put(partition, 2, -1)
    found = partition.token_faults()
    assert holds(found[VOCABULARY], "a-00000.bin: token 2 is -1, … vocabulary of 100,278 ")
    assert holds(found[DECODES], "do not decode … outside … 100,278")


@pytest.mark.parametrize(("column", "by"), [("end", -1), ("end", 1), ("start", 1)])
def test_documents_that_overlap_or_leave_a_gap_do_not_cover_their_array(
    partition: Partition, column: str, by: int
) -> None:
    first = pl.col("start") == 0
    moved = pl.when(first).then(pl.col(column) + by).otherwise(column).alias(column)
    partition.edit_table("token_arrays", lambda table: table.with_columns(moved))
    assert holds(partition.check(ONE_EOS).description, COVER)


def test_arrays_that_the_parquet_does_not_know_are_named(partition: Partition) -> None:
    other = pl.lit("b-00000.npy").alias("array")
    partition.edit_table("token_arrays", lambda table: table.with_columns(other))
    check = partition.check(ONE_EOS)
    assert holds(check.description, "parquet … b-00000.npy … a-00000.npy")


def test_an_id_more_than_the_parquet_says_is_found(partition: Partition) -> None:
    size = len(partition.ids())
    partition.edit_ids(lambda ids: np.append(ids, ids[2:3]))
    assert_found(partition, {ONE_EOS: f"{COVER}{size + 1} tokens"})


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
    expected = {ONE_EOS: f"{name}: EOS ", DECODES: its.other_text, REFERENCE: its.other_ids}
    assert_found(partition, expected)


def test_bos_that_is_eos_stands_at_both_ends_and_nowhere_else(finish: Finish) -> None:
    partition = finish(letters_recipe(tokenizer={"bos_token_id": EOS}))
    its = Document(partition, SHORT)
    assert partition.ids()[its.start : its.end].tolist() == [EOS, AB, EOS]
    put(partition, its.start, ord("z"))
    assert_found(partition, {ONE_EOS: NO_EOS, REFERENCE: its.other_ids})


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
