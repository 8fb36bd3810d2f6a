import shutil
from itertools import product
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fim_assets.corpus.partition import Partition as WorkedOn
from fim_assets.corpus.raw_shard import RawShard
from fim_assets.fim_shards.record import FimShardReader
from fim_assets.recipe import Recipe
from fim_assets.token_arrays.checks import partition as opened
from fim_assets.token_arrays.checks.partition import TokenPartition
from fim_assets.token_arrays.checks.sample import DOCUMENT_TOKENS, SAMPLE_TOKENS
from fim_assets.token_arrays.stage import TOKEN_ARRAYS
from fim_assets.tokenizer.load import load_tokenizer
from fim_assets_tests.corpora import open_corpus, run_all, write_shard
from fim_assets_tests.token_arrays.checks.faults import (
    DECODES,
    LAST,
    REFERENCE,
    Document,
    assert_found,
    holds,
    put,
)
from fim_assets_tests.token_arrays.conftest import Finish
from fim_assets_tests.token_arrays.edits import Partition
from fim_assets_tests.token_arrays.letters import (
    BC,
    letters_recipe,
)


def test_a_normal_form_is_what_lossy_ids_decode_to(finish: Finish) -> None:
    """One document of `conftest.ROWS` is not in NFC; another letter is noticed all the same."""
    partition = finish(letters_recipe(tokens={"allow_lossy": True}))
    check = partition.check(DECODES)
    assert check.numbers["changed_documents"] == 1
    assert holds(check.description, "normal form … 23 of 23; … text of 1.")
    its = Document(partition, LAST)
    put(partition, its.files[0]["suffix_start"], ord("~"))
    assert_found(partition, {DECODES: its.other_text, REFERENCE: its.other_ids})


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
    assert DOCUMENT_TOKENS == 1 << 18
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
    shard = RawShard(str(root / "raw" / "a.jsonl"))
    opened = WorkedOn(open_corpus(root, recipe), "a", shard, root)
    finished = opened.opened(TOKEN_ARRAYS, opened.finished(TOKEN_ARRAYS))
    partition = TokenPartition(finished, finished.before(), load_tokenizer(recipe))
    lines = [document.line for document in partition.sampled]
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
        assert all(holds(found[name], words) for name, words in expected.items())


@pytest.mark.parametrize("names", [[DECODES], [REFERENCE], [DECODES, REFERENCE]])
def test_texts_are_read_once_whichever_checks_run(
    finish: Finish, monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    partition = finish(letters_recipe())
    every = partition.verdicts([DECODES, REFERENCE])
    readings: list[Path] = []

    class Counted(FimShardReader):
        def __init__(self, shard: Path, parquet: Path) -> None:
            readings.append(shard)
            super().__init__(shard, parquet)

    monkeypatch.setattr(opened, "FimShardReader", Counted)
    assert partition.verdicts(names) == {name: every[name] for name in names}
    assert readings == [partition.root / "fim_shards" / "a.jsonl.zst"]
