import random
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fim_assets.token_arrays import shuffle_buffer as spool
from fim_assets.token_arrays.shuffle_buffer import DOCUMENT, FILE, Spool, SpooledDocument

IDS = st.one_of(st.none(), st.just(""), st.text(st.characters(codec="utf-8"), max_size=8))


class Written(NamedTuple):
    tokens: list[int]
    files: int
    id: str | None
    line: int
    changed: bool


BLOCKS = st.lists(
    st.lists(
        st.builds(
            Written,
            st.lists(st.integers(0, 2**16 - 1), max_size=6),
            st.integers(0, 3),
            IDS,
            st.integers(1, 2**40),
            st.booleans(),
        ),
        min_size=1,
        max_size=6,
    ),
    max_size=4,
)


def append(to: Spool, block: list[Written]) -> None:
    documents = np.zeros(len(block), DOCUMENT)
    documents["tokens"] = [len(one.tokens) for one in block]
    documents["files"] = [one.files for one in block]
    documents["line"] = [one.line for one in block]
    documents["shard_line"] = [one.line + 1 for one in block]
    documents["literals"] = [one.line + 2 for one in block]
    documents["changed"] = [one.changed for one in block]
    files = np.zeros(sum(one.files for one in block), FILE)
    files["start"] = [one.line + n for one in block for n in range(one.files)]
    files["suffix_end"] = -1
    tokens = np.array([token for one in block for token in one.tokens], np.uint32)
    to.append(tokens, documents, files, [one.id for one in block])


def assert_same(found: SpooledDocument, one: Written, dtype: str) -> None:
    assert found.tokens.dtype == np.dtype(dtype)
    assert found.tokens.tolist() == one.tokens
    assert found.id == one.id
    assert type(found.id) is type(one.id), "an empty id is not a missing one"
    assert found.files["start"].tolist() == [one.line + n for n in range(one.files)]
    assert found.files["suffix_end"].tolist() == [-1] * one.files
    assert found.header[["line", "shard_line", "literals", "changed"]].tolist() == [
        (one.line, one.line + 1, one.line + 2, one.changed)
    ]


def assert_comes_back(
    folder: Path, blocks: list[list[Written]], order: Iterable[int], dtype: str
) -> None:
    whole = [one for block in blocks for one in block]
    with Spool(folder, np.dtype(dtype)) as found:
        for block in blocks:
            append(found, block)
        for number in order:
            assert_same(found[number], whole[number], dtype)


@given(BLOCKS, st.randoms(use_true_random=False), st.sampled_from(["<u2", "<u4", "<i4"]))
@settings(deadline=None)
@pytest.mark.parametrize("in_memory", [64 << 20, 200, 1])
def test_what_is_appended_comes_back_in_any_order(
    in_memory: int, blocks: list[list[Written]], draws: random.Random, dtype: str
) -> None:
    order = list(range(sum(map(len, blocks))))
    draws.shuffle(order)
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        patch.setattr(spool, "_IN_MEMORY", in_memory)
        assert_comes_back(Path(folder), blocks, [*order, *order], dtype)
        assert list(Path(folder).iterdir()) == [], "the file has no name"


def test_a_spool_rolls_over_to_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "_IN_MEMORY", 1000)
    block = [Written([7] * 300, 1, "é", 5, False), Written([], 0, None, 6, True)]
    with Spool(tmp_path, np.dtype("<u4")) as found:
        append(found, block[1:])
        assert found._file.name is None
        append(found, block)
        assert found._file.name is not None
        for number, one in enumerate([block[1], *block]):
            assert_same(found[number], one, "<u4")


def test_a_folder_that_is_gone_fails_only_what_does_not_fit_in_memory(tmp_path: Path) -> None:
    assert_comes_back(tmp_path / "none", [[Written([1], 1, "a", 1, False)]], [0], "<u4")


def test_large_ids_come_back_as_they_are(tmp_path: Path) -> None:
    top = {"<u2": 2**16 - 1, "<u4": 2**32 - 1, "<i4": 2**31 - 1}
    for dtype, highest in top.items():
        assert_comes_back(tmp_path, [[Written([highest, 0], 1, None, 1, False)]], [0], dtype)


def test_a_block_without_documents_changes_nothing(tmp_path: Path) -> None:
    one, other = Written([1, 2], 1, "a", 1, False), Written([3], 2, None, 2, True)
    assert_comes_back(tmp_path, [[], [one], [], [other], []], [1, 0], "<u4")
