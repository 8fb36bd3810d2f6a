import shutil
from collections.abc import Callable

import polars as pl
import pytest

from fim_assets_tests.corpora import open_corpus, run_all
from fim_assets_tests.token_arrays.checks.faults import (
    COVER,
    DECODES,
    GRAMMAR,
    LAST,
    LOST,
    ONE_EOS,
    OTHER_FILES,
    PSM,
    REFERENCE,
    SHORT,
    SPM,
    Document,
    Fault,
    assert_found,
)
from fim_assets_tests.token_arrays.conftest import Finish
from fim_assets_tests.token_arrays.edits import Partition
from fim_assets_tests.token_arrays.letters import letters_recipe

# Rows of the three parquets.


OTHER_IDS = "token_arrays has other lines, or other ids … fim_shards"
RAW_IDS = "raw_shards has other lines, or other ids … fim_shards"


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
    more = "arrays hold more documents"
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
    fewer = "fewer documents … line 23 "
    return {
        GRAMMAR: OTHER_FILES,
        LOST: "fim_shards, characters: ",
        DECODES: fewer,
        REFERENCE: fewer,
    }


def a_row_of_fim_doubled(partition: Partition) -> dict[str, str]:
    partition.edit_table("fim_shards", double(LAST))
    more = "parquet has more documents"
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
    more = "parquet has more documents"
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


def test_raw_shards_of_another_recipe_are_no_fault_of_the_arrays(finish: Finish) -> None:
    """They are not complete, and so as good as not materialized."""
    partition = finish(letters_recipe(), [{"id": "a", "key": "b", "text": "abc"}])
    recipe = partition.recipe.model_copy(
        update={"raw": partition.recipe.raw.model_copy(update={"id_field": "key"})}
    )
    outcome = run_all(open_corpus(partition.root, recipe), ["fim_shards", "token_arrays"])["a"]
    assert outcome.failure is None
