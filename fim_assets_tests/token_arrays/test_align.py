import tracemalloc
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fim_assets.draws import shuffled
from fim_assets.token_arrays import align as module
from fim_assets.token_arrays.align import LOOK_AHEAD, Aligned, Flags, align, count_cut
from fim_assets.token_arrays.shuffle_buffer import Ints

Sized = tuple[int, bool]
"""A document's tokens, and whether it has a rearranged file."""

WINDOW = 64


def aligned_in_order(
    documents: Sequence[Sized], window: int, max_size: int = 1 << 40, *, pad: bool = False
) -> Aligned:
    """Documents whose indices are their order."""
    sizes = np.array([size for size, _ in documents], np.int64)
    flags = np.array([flag for _, flag in documents], np.bool_)
    return align(np.arange(len(documents)), sizes, flags, window, max_size, pad=pad)


def parsed(text: str) -> list[Sized]:
    """`r5 u3` are a rearranged document of 5 tokens and an unchanged one of 3."""
    return [(int(word[1:]), word[0] == "r") for word in text.split()]


def counts(documents: Sequence[Sized], aligned: Aligned, window: int) -> dict[str, int]:
    """What `count_cut` should say, one document after the other."""
    arrays: list[list[tuple[int, int, bool]]] = []
    padding = 0
    for index, start in zip(aligned.order.tolist(), aligned.starts.tolist(), strict=True):
        size, flag = documents[index]
        if start == 0:
            arrays.append([])
        else:
            padding += start - arrays[-1][-1][1]
        arrays[-1].append((start, start + size, flag))
    crossing = dropped = 0
    for array in arrays:
        end_of_windows = array[-1][1] // window * window
        for start, end, flag in array:
            cut = any(start < at < end for at in range(0, end, window))
            crossing += flag and cut
            dropped += flag and not cut and end > end_of_windows
    return {
        "rearranged_documents": sum(flag for _, flag in documents),
        "rearranged_crossing": crossing,
        "rearranged_dropped": dropped,
        "padding_tokens": padding,
    }


def as_filled(documents: Sequence[Sized], max_size: int) -> list[list[int]]:
    """Which documents an array has without alignment."""
    arrays: list[list[int]] = []
    size = 0
    for index, (tokens, _) in enumerate(documents):
        if not arrays or size + tokens > max_size:
            arrays.append([])
            size = 0
        arrays[-1].append(index)
        size += tokens
    return arrays


def test_the_example_of_the_module_by_hand() -> None:
    first = "r5 r4 u2 u6 r6 r1 r2 r3"
    documents = [*parsed(first), *[(8, False)] * 300]
    order, starts = aligned_in_order(documents, 8)
    names = [first.split()[index] for index in order[:8].tolist()]
    assert names == ["r5", "u6", "r4", "u2", "r6", "r1", "r2", "r3"]
    assert starts[:9].tolist() == [0, 5, 11, 15, 17, 23, 24, 26, 29]


@pytest.mark.parametrize(
    ("given_order", "expected"),
    [
        # The last documents of an array: rearranged ones first, the largest of them before others.
        ("r5 r4 u2 u6 r3 r1", "r5 r3 r4 r1 u2 u6"),
        # None is short enough for what is left, and nothing unchanged is there to cross.
        ("r5 r5 r5", "r5 r5 r5"),
        # A document that is longer than a window is cut wherever it stands, and may cross too.
        ("r5 r5 r11", "r5 r11 r5"),
        # An unchanged one that ends too far in the next window for `r7` does not help.
        ("r7 r7 u4 u1", "r7 u1 r7 u4"),
    ],
)
def test_a_few_documents_by_hand(given_order: str, expected: str) -> None:
    documents = parsed(given_order)
    order = aligned_in_order(documents, 8).order
    assert [given_order.split()[index] for index in order.tolist()] == expected.split()


def test_a_window_may_hold_more_documents_than_are_looked_at() -> None:
    """255 of 2 tokens leave 2 for the next one, and what helps comes behind it."""
    documents = [*[(2, True)] * 255, (3, True), *[(3, False)] * 100]
    found = count_cut(aligned_in_order(documents, 512), *columns(documents), 512)
    assert found["rearranged_crossing"] == 0


def test_memory_holds_a_few_numbers_a_document(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 1 << 8)
    documents = 100_000
    sizes, flags = np.full(documents, 700), np.arange(documents) % 2 == 0
    order = np.arange(documents)
    tracemalloc.start()
    align(order, sizes, flags, 2048, 1 << 40, pad=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 36 * documents


def test_padding_by_hand() -> None:
    """What fits best goes in front of it: 3 tokens are left, of which `r2` takes 2."""
    documents = [*parsed("r5 r5 r2"), *parsed("r5") * 300]
    aligned = aligned_in_order(documents, 8, pad=True)
    assert aligned.order[:3].tolist() == [0, 2, 1]
    assert aligned.starts[:4].tolist() == [0, 5, 8, 16]
    found = count_cut(aligned, *columns(documents), 8)
    assert found["rearranged_crossing"] == 0
    assert found["padding_tokens"] == 1 + 3 * 300


def columns(documents: Sequence[Sized]) -> tuple[Ints, Flags]:
    return (
        np.array([size for size, _ in documents], np.int64),
        np.array([flag for _, flag in documents], np.bool_),
    )


some_documents = st.lists(st.tuples(st.integers(1, 100), st.booleans()), max_size=400)


@given(some_documents, st.sampled_from([8, 37, 64]), st.integers(100, 4000), st.booleans())
@settings(max_examples=300)
def test_each_array_keeps_its_documents_and_none_moves_far(
    documents: list[Sized], window: int, max_size: int, pad: bool
) -> None:
    aligned = aligned_in_order(documents, window, max_size, pad=pad)
    begins = np.flatnonzero(aligned.starts == 0).tolist()
    own = [aligned.order[a:b].tolist() for a, b in pairwise([*begins, len(documents)])]
    assert [sorted(array) for array in own] == as_filled(documents, max_size)
    assert (abs(aligned.order - np.arange(len(documents))) < LOOK_AHEAD).all()
    found = count_cut(aligned, *columns(documents), window)
    assert found == counts(documents, aligned, window)
    sizes, flags = columns(documents)
    ends = aligned.starts + sizes[aligned.order]
    gaps = np.where(aligned.starts[1:] == 0, 0, aligned.starts[1:] - ends[:-1])
    assert ((gaps >= 0) & (gaps < window)).all()
    assert (aligned.starts[1:][gaps > 0] % window == 0).all()
    if pad:
        assert found["rearranged_crossing"] == (flags & (sizes > window)).sum()
    else:
        assert found["padding_tokens"] == 0


@given(some_documents, st.integers(1, 9), st.booleans(), st.randoms())
@settings(max_examples=100)
def test_the_order_is_a_function_of_what_is_given(
    documents: list[Sized], at_once: int, pad: bool, random: Any
) -> None:
    """Neither of the size of blocks nor of which index a document has."""
    first = aligned_in_order(documents, WINDOW, 900, pad=pad)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_AT_ONCE", at_once)
        again = aligned_in_order(documents, WINDOW, 900, pad=pad)
    order = list(range(len(documents)))
    random.shuffle(order)
    sizes, flags = columns(documents)
    renamed = np.empty_like(sizes), np.empty_like(flags)
    renamed[0][order], renamed[1][order] = sizes, flags
    other = align(np.array(order, np.int64), *renamed, WINDOW, 900, pad=pad)
    assert np.array_equal(first.order, again.order)
    assert np.array_equal(first.starts, again.starts)
    assert [order[index] for index in first.order.tolist()] == other.order.tolist()
    assert np.array_equal(first.starts, other.starts)


rearranged = st.tuples(st.integers(1, WINDOW // 2), st.just(True))
unchanged = st.tuples(st.integers(WINDOW // 8, WINDOW // 2), st.just(False))
group = st.tuples(rearranged, st.lists(unchanged, min_size=16, max_size=20), st.randoms())


@given(st.lists(group, max_size=40))
@settings(max_examples=200)
def test_nothing_is_cut_where_unchanged_text_suffices(groups: list[Any]) -> None:
    """Documents take half a window at most, and each rearranged one has two windows of others."""
    documents: list[Sized] = []
    for one, others, random in groups:
        own = [one, *others]
        random.shuffle(own)
        documents += own
    aligned = aligned_in_order(documents, WINDOW)
    found = count_cut(aligned, *columns(documents), WINDOW)
    assert found["rearranged_crossing"] == found["rearranged_dropped"] == 0


@given(st.lists(st.integers(1, WINDOW - 1), min_size=1, max_size=60), st.randoms())
def test_windows_are_filled_exactly_where_nothing_is_unchanged(
    cuts: list[int], random: Any
) -> None:
    """Windows of two documents each, of 1 and 63 tokens to 32 and 32, and few others to choose."""
    documents = [(size, True) for cut in cuts for size in (cut, WINDOW - cut)]
    random.shuffle(documents)
    aligned = aligned_in_order(documents, WINDOW, pad=True)
    found = count_cut(aligned, *columns(documents), WINDOW)
    assert found["rearranged_crossing"] == 0
    assert found["padding_tokens"] < len(cuts) * WINDOW / 2


def like_code(seed: int, rate: float, window: int, *, in_pieces: bool) -> tuple[Ints, Flags]:
    """Documents as long as files of code: half over 1,060 tokens, a tenth over 6,725.

    What is longer than a window is unchanged; in pieces, all are divided evenly, into at most half
    a window.
    """
    random = np.random.default_rng(seed)
    sizes = np.exp(random.normal(np.log(1060), 1.44, 8000)).astype(np.int64) + 10
    if in_pieces:
        pieces = -(-sizes // (window // 2 - 16))
        sizes = np.repeat(sizes // pieces, pieces)
        sizes += random.integers(-6, 7, len(sizes))
    return sizes, (random.random(len(sizes)) < rate) & (sizes <= window)


@pytest.mark.parametrize("in_pieces", [False, True], ids=["unchanged", "pieces"])
@pytest.mark.parametrize("window", [2048, 8192])
def test_code_is_aligned_and_stays_as_it_was_shuffled(window: int, in_pieces: bool) -> None:
    sizes, flags = like_code(1, 0.5, window, in_pieces=in_pieces)
    keys = np.random.default_rng(2).integers(1 << 63, size=len(sizes)).astype(np.uint64)
    order = shuffled(keys)
    aligned = align(order, sizes, flags, window, 1 << 40, pad=False)
    found = count_cut(aligned, sizes, flags, window)
    cut = found["rearranged_crossing"] + found["rearranged_dropped"]
    assert cut <= 0.001 * found["rearranged_documents"]

    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    before = place[aligned.order]
    moved = abs(before - np.arange(len(order)))
    assert moved.max() < LOOK_AHEAD
    assert moved.mean() < 10
    assert np.quantile(moved, 0.9) < 30
    # Places are ranks, so that this is Spearman's correlation.
    assert np.corrcoef(before, np.arange(len(order)))[0, 1] > 0.9999
    for one, other in zip(
        np.array_split(flags[order], 10), np.array_split(flags[aligned.order], 10), strict=True
    ):
        assert abs(one.mean() - other.mean()) < 0.03
    # Of neighbours in the shard, two are expected side by side, whatever the number of documents.
    assert (abs(np.diff(aligned.order)) == 1).sum() <= 10


@pytest.mark.parametrize("window", [2048, 8192])
@pytest.mark.parametrize("in_pieces", [False, True], ids=["unchanged", "pieces"])
def test_padding_is_little_where_unchanged_text_is_rare(window: int, in_pieces: bool) -> None:
    sizes, flags = like_code(3, 0.9, window, in_pieces=in_pieces)
    aligned = align(np.arange(len(sizes)), sizes, flags, window, 1 << 40, pad=True)
    found = count_cut(aligned, sizes, flags, window)
    assert found["rearranged_crossing"] == 0
    assert found["padding_tokens"] < 0.04 * sizes.sum()
