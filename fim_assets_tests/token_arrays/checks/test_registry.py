from itertools import product
from typing import Any

import polars as pl
import pytest

from fim_assets.corpus.receipts import read_receipt
from fim_assets.layouts.registry import LAYOUTS
from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import Fim
from fim_assets.recipe.tokens import Tokens
from fim_assets.token_arrays.checks.registry import CHECKS
from fim_assets_tests.corpora import documents, partition_files
from fim_assets_tests.token_arrays.checks.faults import (
    ALIGNED,
    ALL,
    DECODES,
    FITS,
    GRAMMAR,
    LOST,
    ONE_EOS,
    REFERENCE,
    VOCABULARY,
)
from fim_assets_tests.token_arrays.conftest import Finish
from fim_assets_tests.token_arrays.edits import Partition
from fim_assets_tests.token_arrays.letters import (
    BOS,
    EOS,
    letters_recipe,
)


def test_the_checks_run_in_this_order_and_describe_themselves() -> None:
    assert [check.name for check in CHECKS] == [*ALL[:4], FITS, ALIGNED, *ALL[4:]]
    assert all(check.description.endswith(".") for check in CHECKS)


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
    """Awkward texts, with gigatoken next to the reference."""
    tokens = Tokens.model_validate({"layout": layout, "label_mask": "middle", "max_size": 4000})
    partition = finish(Recipe(fim=Fim(fim_rate=0.8), tokens=tokens), documents(100))
    verdicts = partition.verdicts(ALL)
    assert all(check.passed for check in verdicts.values())
    arrays = verdicts[ONE_EOS].numbers["arrays"]
    assert isinstance(arrays, int)
    assert arrays > 1
    receipt = read_receipt(partition_files(partition.root / "token_arrays", "a"))
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
