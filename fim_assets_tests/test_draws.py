import tracemalloc
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest

from fim_assets import draws
from fim_assets.draws import RandomStream, document_keys, draw_bits, integers, shuffled, uniforms

SEED = 0x0123456789ABCDEF
MANY = 100_000
PINNED_KEYS = ["2392e6826a30d2c6", "36b1c087b93bf924"]
PINNED_UNIFORMS = [0.4132377421853173, 0.2178076532257509]


def keys_of(count: int, seed: int = SEED) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return document_keys(seed, [str(n) for n in range(count)], ["text"] * count)


def test_key_depends_on_id_text_and_seed() -> None:
    base = document_keys(SEED, ["a"], ["text"])[0]
    others = [
        document_keys(SEED, ["b"], ["text"])[0],
        document_keys(SEED, ["a"], ["texT"])[0],
        document_keys(SEED + 1, ["a"], ["text"])[0],
        document_keys(SEED, [None], ["text"])[0],
        document_keys(SEED, [""], ["text"])[0],
        document_keys(SEED, ["atext"], [""])[0],
    ]
    assert len({base, *others}) == 7


@given(st.lists(st.tuples(st.none() | st.text(), st.text()), min_size=2), st.randoms())
def test_key_of_a_document_does_not_depend_on_the_others(
    rows: list[tuple[str | None, str]], random: Random
) -> None:
    alone = {row: document_keys(SEED, [row[0]], [row[1]])[0] for row in rows}
    random.shuffle(rows)
    together = document_keys(SEED, [row[0] for row in rows], [row[1] for row in rows])
    assert [alone[row] for row in rows] == together.tolist()


def test_numbers_are_pinned() -> None:
    """They change only with the stages' versions; the last are the worked example's."""
    keys = document_keys(SEED, ["a", None], ["text", "täxt"])
    assert [f"{key:016x}" for key in keys.tolist()] == PINNED_KEYS
    drawn = uniforms(keys, np.array([0, 3]), RandomStream.SELECT)
    assert drawn.tolist() == PINNED_UNIFORMS
    key = document_keys(1, ["a"], ["x"])
    assert key.tolist() == [0x0556A54B48CCDEDB]
    assert draw_bits(key, np.array([2]), RandomStream.SPLIT).tolist() == [0xE4C54A6ED76322BE]
    assert uniforms(key, np.array([2]), RandomStream.SPLIT)[0] == pytest.approx(0.8936, abs=1e-4)


def test_uniforms_are_uniform_for_every_draw_and_file() -> None:
    keys = keys_of(MANY)
    for draw in RandomStream:
        for file in (0, 1, 255):
            drawn = uniforms(keys, np.full(MANY, file), draw)
            assert drawn.min() >= 0
            assert drawn.max() < 1
            assert kstest(drawn, "uniform").pvalue > 1e-6


def test_draws_are_independent_of_each_other() -> None:
    keys = keys_of(MANY)
    first, other_file = np.zeros(MANY, np.int64), np.ones(MANY, np.int64)
    streams = [uniforms(keys, first, draw) for draw in RandomStream]
    streams.append(uniforms(keys, other_file, RandomStream.SELECT))
    for i, one in enumerate(streams):
        for other in streams[:i]:
            cells = np.histogram2d(one, other, bins=8, range=[[0, 1], [0, 1]])[0]
            assert chisquare(cells.ravel()).pvalue > 1e-6


def test_integers_stay_below_their_bound_and_are_uniform() -> None:
    largest = 1 - 2.0**-53
    for bound in (1, 2, 3, 1000, 2**31, 2**52 + 1):
        assert integers(np.array([0.0, largest]), np.array([bound])).tolist() == [0, bound - 1]
    drawn = integers(
        uniforms(keys_of(MANY), np.zeros(MANY, np.int64), RandomStream.ORDER), np.array([7])
    )
    assert chisquare(np.bincount(drawn, minlength=7)).pvalue > 1e-6


def test_shuffle_is_a_permutation_that_other_documents_do_not_change() -> None:
    keys = keys_of(1000)
    order = shuffled(keys)
    assert sorted(order.tolist()) == list(range(1000))
    assert order.tolist() != list(range(1000))
    kept = np.arange(0, 1000, 3)
    assert keys[order][np.isin(order, kept)].tolist() == keys[kept][shuffled(keys[kept])].tolist()


def test_shuffle_spreads_exact_duplicates() -> None:
    keys = np.repeat(keys_of(50), 20)
    order = shuffled(keys)
    assert sorted(order.tolist()) == list(range(1000))
    neighbours = (np.diff(keys[order].astype(np.float64)) == 0).sum()
    assert neighbours < 60  # 20 are expected of a random order, 950 if copies stood together


def test_shuffle_of_nothing() -> None:
    assert shuffled(np.empty(0, np.uint64)).tolist() == []


@pytest.mark.parametrize("kinds", [1, 1 << 17, 1 << 18])
def test_copies_take_no_more_memory_to_shuffle(kinds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than three arrays as large as the keys, the order among them."""
    monkeypatch.setattr(draws, "_KEYS_AT_ONCE", 1 << 12)
    keys = np.arange(1 << 18, dtype=np.uint64) % np.uint64(kinds)
    tracemalloc.start()
    try:
        shuffled(keys)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * keys.nbytes
