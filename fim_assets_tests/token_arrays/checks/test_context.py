import gzip
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from fim_assets.corpus.receipts import read_receipt
from fim_assets.recipe import Recipe
from fim_assets.stages import STAGES
from fim_assets.token_arrays.reader import TokenArray
from fim_assets.token_arrays.shuffle_buffer import Ids
from fim_assets.tokenizer.load import load_tokenizer
from fim_assets_tests.corpora import partition_files
from fim_assets_tests.token_arrays.checks.faults import (
    ALIGNED,
    ALL,
    DECODES,
    GRAMMAR,
    ONE_EOS,
    assert_found,
)
from fim_assets_tests.token_arrays.conftest import Finish
from fim_assets_tests.token_arrays.edits import Partition
from fim_assets_tests.token_arrays.letters import BOS, PAD, letters_recipe

LENGTH = 64
"""Tokens of a sequence."""

ROWS = [
    {"id": f"d{number}", "text": f"{number} {'xyz' * (number * 7 % 9 + 1)}\n"}
    for number in range(200)
]
"""Documents of 7 to 33 tokens with their EOS, and 3 more where they are rearranged."""


def aligned_recipe(
    rate: float = 0.5,
    tokenizer: dict[str, Any] | None = None,
    longer: str = "unchanged",
    **tokens: Any,
) -> Recipe:
    fields = letters_recipe({"fim_rate": rate}, tokenizer=tokenizer).model_dump()
    fields["context"] = {"tokens": LENGTH, "longer": longer}
    fields["tokens"] |= {"align": True} | tokens
    return Recipe.model_validate(fields)


def counts(partition: Partition) -> dict[str, int]:
    receipt = read_receipt(partition_files(partition.root / "token_arrays", "a"))
    assert receipt is not None
    return receipt.result.counts


def arrays(partition: Partition) -> list[TokenArray]:
    names = sorted(partition.table()["array"].unique())
    return [TokenArray(partition.root / "token_arrays" / name) for name in names]


def cut_or_dropped(partition: Partition, window: int) -> tuple[int, int, int]:
    """Rearranged documents, those that a reader of whole windows does not see whole, and padding.

    Looks at ids alone: a document that is whole in a window has its EOS there.
    """
    rearranged = whole = padding = 0
    for array in arrays(partition):
        windows = array.ids[: len(array.ids) // window * window].reshape(-1, window)
        seen = {bytes(array.ids[d.start : d.end]) for d in array if d.orders != ("none",)}
        assert len(seen) == sum(d.orders != ("none",) for d in array), "no two are the same"
        rearranged += len(seen)
        for ids in windows:
            content = bytes(ids)
            whole += sum(document in content for document in seen)
        padding += len(array.ids) - sum(len(document.ids) for document in array)
    return rearranged, rearranged - whole, padding


def lines(path: Path) -> list[str]:
    return gzip.decompress(path.read_bytes()).decode().splitlines()


VARIANTS = [
    {"layout": layout, "shuffle": shuffle, "max_size": max_size}
    for layout, shuffle, max_size in product(("dolma", "datatrove"), (True, False), (1000, 1 << 30))
]


@pytest.mark.parametrize("bos", [None, BOS])
@pytest.mark.parametrize("variant", VARIANTS)
def test_documents_are_whole_in_the_windows_of_a_trainer(
    finish: Finish, variant: dict[str, Any], bos: int | None
) -> None:
    recipe = aligned_recipe(0.5, {"bos_token_id": bos}, label_mask="middle", **variant)
    partition = finish(recipe, ROWS)
    assert recipe.window == LENGTH + (variant["layout"] == "datatrove")
    rearranged, lost, padding = cut_or_dropped(partition, recipe.window or 0)
    assert rearranged > 70
    assert lost <= len(arrays(partition))
    assert padding == 0
    found = counts(partition)
    assert found["rearranged_documents"] == rearranged
    assert found["rearranged_crossing"] + found["rearranged_dropped"] == lost
    numbers = partition.check(ALIGNED).numbers
    assert numbers == {"window": recipe.window} | {name: found[name] for name in [*numbers][1:]}


@pytest.mark.parametrize("layout", ["dolma", "datatrove"])
@pytest.mark.parametrize("longer", ["unchanged", "pieces"])
def test_of_longer_documents_none_is_cut_but_what_is_unchanged(
    finish: Finish, longer: str, layout: str
) -> None:
    """Of 1 to 9 lines, each of some 20 tokens and unlike all others."""
    texts = [
        "".join(f"{number}.{line} {'xyz' * 5}\n" for line in range(1 + number % 3 * number % 9))
        for number in range(300)
    ]
    rows = [{"id": f"d{number}", "text": text} for number, text in enumerate(texts)]
    recipe = aligned_recipe(0.4, longer=longer, layout=layout, label_mask="middle")
    partition = finish(recipe, rows)
    rearranged, lost, _ = cut_or_dropped(partition, recipe.window or 0)
    assert rearranged > 50
    assert lost <= 1
    longest = partition.table()["tokens"].to_numpy().max()
    assert (longest > LENGTH) == (longer == "unchanged"), longest


def test_without_align_a_quarter_is_cut(finish: Finish) -> None:
    """What the tests above would see if nothing was aligned."""
    partition = finish(letters_recipe({"fim_rate": 0.5}), ROWS)
    rearranged, lost, _ = cut_or_dropped(partition, LENGTH)
    assert lost > rearranged / 4
    assert "rearranged_documents" not in counts(partition)


@pytest.mark.parametrize("mask", ["middle", "text"])
@pytest.mark.parametrize("max_size", [1000, 1 << 30])
def test_padding_takes_the_place_of_what_would_be_cut(
    finish: Finish, mask: str, max_size: int
) -> None:
    recipe = aligned_recipe(1.0, align="pad", label_mask=mask, max_size=max_size)
    partition = finish(recipe, ROWS)
    _, lost, padding = cut_or_dropped(partition, LENGTH)
    found = counts(partition)
    assert (found["rearranged_crossing"], found["rearranged_dropped"]) == (0, lost)
    assert found["padding_tokens"] == padding > 0
    index = partition.root.glob("token_arrays/a-*.csv.gz")
    listed = [row.split(",")[:2] for path in sorted(index) for row in lines(path)]
    spans = partition.table().select("start", "end").cast(pl.String)
    assert listed == [list(row) for row in spans.iter_rows()]
    tokenizer = load_tokenizer(recipe)
    texts: dict[int, str] = {}
    for number, array in enumerate(arrays(partition)):
        covered = np.zeros(len(array.ids), np.bool_)
        for document in array:
            covered[document.start : document.end] = True
            texts[document.line] = document.text(tokenizer)
        assert ((array.ids == PAD) == ~covered).all()
        trained = np.frombuffer(partition.mask(number).read_bytes(), np.bool_)
        assert not trained[~covered].any()
        assert trained[covered].all() == (mask == "text")
    assert len(texts) == len(ROWS)


@pytest.mark.parametrize("align", [True, "pad"])
def test_metadata_say_what_became_of_rearranged_documents(finish: Finish, align: object) -> None:
    recipe = aligned_recipe(0.9, align=align, label_mask="middle")
    partition = finish(recipe, ROWS)
    receipt = read_receipt(partition_files(partition.root / "token_arrays", "a"))
    assert receipt is not None
    facts = STAGES[-1].facts(recipe, receipt).numbers
    rearranged, lost, padding = cut_or_dropped(partition, LENGTH)
    assert facts["rearranged_documents"] == rearranged
    assert facts["rearranged_whole"] == round(1 - lost / rearranged, 6)
    assert facts["padding_tokens"] == padding


# Faults.


@pytest.fixture
def padded(finish: Finish) -> Partition:
    return finish(aligned_recipe(1.0, align="pad", label_mask="middle"), ROWS)


def gap(partition: Partition) -> tuple[int, int]:
    """The first padding of at least two tokens."""
    table = partition.table()
    for end, start in zip(table["end"][:-1], table["start"][1:], strict=True):
        if start - end > 1:
            return end, start
    raise AssertionError("no padding")


def shifted(partition: Partition, end: int, by: int) -> None:
    """Move the document in front of some padding, with all that says where it is."""
    (row,) = partition.table().filter(pl.col("end") == end).iter_rows(named=True)
    start, line = row["start"], row["line"]

    def move(files: list[dict[str, Any]]) -> None:
        for file in files:
            file |= {name: at + by for name, at in file.items() if isinstance(at, int)}

    def rotate(values: Any) -> None:
        values[start : end + by] = np.roll(values[start : end + by], by)

    def mask(content: bytes) -> bytes:
        trained = np.frombuffer(content, np.bool_).copy()
        rotate(trained)
        return trained.tobytes()

    partition.edit_files(line, move)
    moved = pl.col("line") == line
    partition.edit_table(
        "token_arrays",
        lambda table: table.with_columns(
            pl.when(moved).then(pl.col(name) + by).otherwise(name).alias(name)
            for name in ("start", "end")
        ),
    )
    partition.edit_ids(rotate)
    partition.edit_mask(mask)


def test_padding_that_ends_elsewhere_than_a_window_is_found(padded: Partition) -> None:
    end, _ = gap(padded)
    shifted(padded, end, 1)
    assert_found(padded, {ALIGNED: "a-00000.npy: padding ends elsewhere … 64"})


def test_other_ids_than_padding_between_documents_are_found(padded: Partition) -> None:
    end, _ = gap(padded)

    def edit(ids: Ids) -> None:
        ids[end] = ord("x")

    padded.edit_ids(edit)
    assert_found(padded, {ONE_EOS: "a-00000.npy: padding "})


def test_padding_inside_of_documents_is_found(padded: Partition) -> None:
    end, _ = gap(padded)

    def edit(ids: Ids) -> None:
        ids[end - 2] = PAD

    padded.edit_ids(edit)
    assert {ONE_EOS, DECODES} <= padded.token_faults().keys()


def test_padding_that_is_trained_on_is_found(padded: Partition) -> None:
    end, _ = gap(padded)
    padded.edit_mask(lambda mask: mask[:end] + b"\1" + mask[end + 1 :])
    assert_found(padded, {GRAMMAR: "a-00000.npy: true and false "})


@pytest.mark.parametrize(
    "name",
    ["rearranged_documents", "rearranged_crossing", "rearranged_dropped", "padding_tokens"],
)
@pytest.mark.parametrize("stated", [9999, None])
def test_other_numbers_in_the_receipt_are_found(
    padded: Partition, name: str, stated: int | None
) -> None:
    def edit(result: dict[str, Any]) -> None:
        del result["counts"][name]
        if stated is not None:
            result["counts"][name] = stated

    padded.edit_receipt("token_arrays", edit)
    assert_found(padded, {ALIGNED: f"{name}: … the receipt says {stated}"})


def test_gaps_without_a_recipe_for_padding_are_found(finish: Finish) -> None:
    """A document whose last token belongs to none."""
    partition = finish(aligned_recipe(0.5), ROWS)
    last = pl.col("end") == pl.col("end").first()
    partition.edit_table(
        "token_arrays",
        lambda table: table.with_columns(
            end=pl.when(last).then(pl.col("end") - 1).otherwise("end"),
            tokens=pl.when(last).then(pl.col("tokens") - 1).otherwise("tokens"),
        ),
    )
    assert ONE_EOS in partition.token_faults()


@pytest.mark.parametrize("rows", [[], [{"text": "abcdefgh"}]], ids=["none", "one"])
@pytest.mark.parametrize("align", [True, "pad"])
def test_partitions_of_few_documents_are_aligned(
    finish: Finish, rows: list[Any], align: object
) -> None:
    partition = finish(aligned_recipe(1.0, align=align, label_mask="middle"), rows)
    assert all(check.passed for check in partition.verdicts(ALL).values())
    assert counts(partition)["rearranged_documents"] == len(rows)
    assert counts(partition)["rearranged_dropped"] == len(rows)


LONG = {"id": "long", "text": "abcd efgh\n" * 30}
"""A document of 271 tokens."""


@pytest.mark.parametrize("longer", ["unchanged", "pieces"])
def test_what_has_to_fit_does(finish: Finish, longer: str) -> None:
    partition = finish(aligned_recipe(1.0, longer=longer, align=False), rows=[*ROWS, LONG])
    verdict = partition.check("fits_context")
    table = partition.table()
    rearranged = table.filter(pl.col("order") != "none")
    assert verdict.passed
    assert verdict.numbers["limit"] == LENGTH
    assert verdict.numbers["rearranged_documents"] == rearranged.height
    divided = longer == "pieces"
    assert verdict.numbers["pieces"] == (table.height - len(ROWS) if divided else 0)
    assert (table["tokens"].max() == 271) != divided


@pytest.mark.parametrize("order", ["none", "psm"])
def test_a_document_that_does_not_fit_is_found(finish: Finish, order: str) -> None:
    """Only of those that are divided must unchanged ones fit too."""

    def longer(table: pl.DataFrame) -> pl.DataFrame:
        row = int((table["order"] == order).arg_max() or 0)
        at = pl.int_range(pl.len()) == row
        end = pl.when(at).then(pl.col("start") + LENGTH + 1).otherwise(pl.col("end"))
        return table.with_columns(end=end)

    for divides in ("unchanged", "pieces"):
        partition = finish(aligned_recipe(longer=divides, align=False), rows=[*ROWS, LONG])
        partition.edit_table("token_arrays", longer)
        found = not partition.check("fits_context").passed
        assert found == (order != "none" or divides == "pieces")


def test_a_piece_may_be_shorter_than_the_context(finish: Finish) -> None:
    """Aligned pieces take half a sequence: one of more is found, though it fits."""
    partition = finish(aligned_recipe(longer="pieces"), rows=[*ROWS, LONG])

    def longer(table: pl.DataFrame) -> pl.DataFrame:
        of_half = pl.col("start") + LENGTH // 2 + 1
        return table.with_columns(
            end=pl.when(pl.col("pieces") > 1).then(of_half).otherwise(pl.col("end"))
        )

    assert partition.check("fits_context").passed
    partition.edit_table("token_arrays", longer)
    assert not partition.check("fits_context").passed
