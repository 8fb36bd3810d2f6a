import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer

from fim_assets.layouts.registry import LAYOUTS
from fim_assets_tests.token_arrays.checks.faults import (
    DECODES,
    GRAMMAR,
    NO_EOS,
    ONE_EOS,
    OTHER_FILES,
    PSM,
    REFERENCE,
    REPOSITORY,
    SHORT,
    SPM,
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
    EOS,
    MID,
    PRE,
    SEP,
    SUF,
    letters_recipe,
)
from fim_assets_tests.tokenizer.small_tokenizers import (
    NAMES,
    byte_level_bpe,
    save,
    small_recipe,
)
from fim_assets_tests.tokenizer.splits import QWEN_2

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


def a_sentinel_in_a_file_unchanged(partition: Partition) -> dict[str, str]:
    its = Document(partition, REPOSITORY)
    at = its.files[0]["file_end"] - 1
    put(partition, at, PRE)
    return {GRAMMAR: its.sentinel(at), DECODES: its.other_text, REFERENCE: its.other_ids}


def a_sentinel_in_place_of_the_last_eos(partition: Partition) -> dict[str, str]:
    its = Document(partition, partition.table()["line"][-1])
    put(partition, its.end - 1, MID)
    message = its.sentinel(its.end - 1)
    return {ONE_EOS: NO_EOS, GRAMMAR: message, REFERENCE: its.other_ids}


FAULTS = [
    two_sentinels_swapped,
    a_sentinel_doubled,
    a_sentinel_removed,
    a_sentinel_moved,
    a_sentinel_in_a_file_unchanged,
    a_sentinel_in_place_of_the_last_eos,
]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_sentinels_is_found_by_these_checks_and_no_other(
    partition: Partition, fault: Fault
) -> None:
    assert_found(partition, fault(partition))


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
        assert holds(message, f"of line {line} at tokens … document, {its.start} to {its.end}")
    else:
        span = f"tokens {new['file_start']} to {new['file_end']}"
        assert holds(message, f"parts of the file at {span} … sentinels")


@pytest.mark.parametrize("edge", ["file_start", "file_end"])
@pytest.mark.parametrize("by", [-1, 1])
@pytest.mark.parametrize(("line", "file"), [(SHORT, 0), (REPOSITORY, 0), (REPOSITORY, 3)])
def test_an_offset_of_a_file_unchanged_off_by_one_is_found(
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
    assert_found(partition, {GRAMMAR: OTHER_FILES})


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
    assert_found(partition, {GRAMMAR: f"{partition.mask()}: true and false"})


@pytest.mark.parametrize("by", [-1, 1])
def test_a_mask_of_another_length_is_found(partition: Partition, by: int) -> None:
    tokens = len(partition.ids())
    partition.edit_mask(lambda mask: (mask + b"\1")[: tokens + by])
    message = f"{tokens + by} values for {tokens} tokens"
    assert_found(partition, {GRAMMAR: f"{partition.mask()}: {message}"})


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
def test_a_boundary_of_two_files_unchanged_off_by_one_is_found(finish: Finish, by: int) -> None:
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
    content = json.loads(byte_level_bpe(["abc"], split=QWEN_2)) | {"added_tokens": []}
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
