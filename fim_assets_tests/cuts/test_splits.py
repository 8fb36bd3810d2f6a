from collections import Counter
from itertools import combinations, permutations, product

import numpy as np
import pytest
from scipy.stats import chisquare, kstest

from fim_assets.cuts.splits import (
    MIN_CHARS,
    Cuts,
    Ranks,
    character_cuts,
    character_ranks,
    dolma_cuts,
    line_cuts,
    line_starts,
    min_chars,
    uniform_cuts,
)
from fim_assets.draws import Ints, UInts, document_keys
from fim_assets.recipe.fim import CharacterSplit, Fim, Split, SplitWeights

MANY = 50_000


def many_keys(seed: int = 1, count: int = MANY) -> UInts:
    return document_keys(seed, [str(n) for n in range(count)], ["x"] * count)


def pairs_of(cuts: Cuts) -> Counter[tuple[int, int]]:
    return Counter(zip(cuts.first.tolist(), cuts.second.tolist(), strict=True))


def many_cuts(split: CharacterSplit, length: int) -> Counter[tuple[int, int]]:
    files = np.full(MANY, length % 3)
    return pairs_of(character_cuts(split, many_keys(), files, np.full(MANY, length)))


def assert_follows(drawn: Counter[tuple[int, int]], law: Counter[tuple[int, int]]) -> None:
    assert set(drawn) == set(law)
    pairs, count, total = sorted(law), sum(drawn.values()), sum(law.values())
    if len(pairs) > 1:
        expected = [law[pair] / total * count for pair in pairs]
        assert chisquare([drawn[pair] for pair in pairs], expected).pvalue > 1e-6


@pytest.mark.parametrize("length", [5, 6, 7, 8, 12, 40])
def test_dolma_follows_the_enumerated_law(length: int) -> None:
    """Two distinct positions from {0..L-4}, plus one, sorted: each unordered pair as likely."""
    pairs = permutations(range(length - 3), 2)
    law = Counter((min(pair) + 1, max(pair) + 1) for pair in pairs)
    assert_follows(many_cuts("dolma", length), law)


@pytest.mark.parametrize("length", [1, 2, 3, 5, 12, 40])
def test_uniform_follows_the_enumerated_law(length: int) -> None:
    """Two independent positions from {0..L}, sorted: different ones are twice as likely."""
    pairs = product(range(length + 1), repeat=2)
    law = Counter((min(pair), max(pair)) for pair in pairs)
    assert_follows(many_cuts("uniform", length), law)


def test_shortest_file_of_dolma_has_one_cut() -> None:
    """L = 5: positions 0 and 1, so always prefix 1, middle 1, suffix 3."""
    assert set(many_cuts("dolma", MIN_CHARS["dolma"])) == {(1, 2)}


def test_mean_lengths_at_twenty() -> None:
    """L = 20. dolma: positions 0..16, so means 6, 6, 8. uniform: E min = 20 · 41/126 = 6.508."""
    for cut, means in ((dolma_cuts, (6, 6, 8)), (uniform_cuts, (6.508, 6.984, 6.508))):
        first, second = cut(many_keys(), np.zeros(MANY, np.int64), np.full(MANY, 20))
        found = first.mean(), (second - first).mean(), (20 - second).mean()
        assert found == pytest.approx(means, abs=0.08)


@pytest.mark.parametrize(("split", "smallest"), [("dolma", (1, 1, 3)), ("uniform", (0, 0, 0))])
def test_parts_reach_their_smallest_sizes_and_no_smaller(
    split: CharacterSplit, smallest: tuple[int, int, int]
) -> None:
    lengths = np.arange(MANY) % 300 + MIN_CHARS[split]
    first, second = character_cuts(split, many_keys(2), np.zeros(MANY, np.int64), lengths)
    assert (first.min(), (second - first).min(), (lengths - second).min()) == smallest


@pytest.mark.parametrize(
    ("text", "starts"),
    [
        ("", [0]),
        ("one line", [0]),
        ("carriage\rreturns\r", [0]),
        ("\x0b\x0c\x1c\x85\u2028\u2029", [0]),
        ("\n", [0, 1]),
        ("a\n", [0, 2]),
        ("a\nb", [0, 2]),
        ("a\r\nb\r\n", [0, 3, 6]),
        ("\n\nc", [0, 1, 2]),
        ("é\n🚀🚀\ne\u0301\n", [0, 2, 5, 8]),
        ("\u0a0a\u010a\U0001000a\n.", [0, 4]),
        ("\x00\n\x00", [0, 2]),
    ],
)
def test_lines_start_behind_line_feeds_alone(text: str, starts: list[int]) -> None:
    assert line_starts(text).tolist() == starts


@pytest.mark.parametrize(
    "text",
    [
        "a\nb",
        "a\nb\n",
        "one\r\ntwo\r\n\r\nfour\r\n",
        "\n\n\n\n\n",
        "é\n🚀 launch\n\ne\u0301nd",
        "".join(f"{'ü' * (n % 4)}{n}\n" for n in range(12)),
    ],
)
def test_lines_follows_the_enumerated_law(text: str) -> None:
    """Two distinct line starts, sorted: each unordered pair as likely; the middle, whole lines."""
    starts = [n for n in range(len(text) + 1) if n == 0 or text[n - 1] == "\n"]
    drawn = pairs_of(line_cuts(many_keys(), np.full(MANY, 1), [line_starts(text)] * MANY))
    assert_follows(drawn, Counter(combinations(starts, 2)))
    assert all(text[first:second].endswith("\n") for first, second in drawn)


def test_lines_of_different_files_are_cut_alike_together_and_alone() -> None:
    texts = ["a\n" * (n % 9 + 1) for n in range(500)]
    keys, files = many_keys(3, 500), np.arange(500) % 4
    together = line_cuts(keys, files, [line_starts(text) for text in texts])
    for n, text in enumerate(texts):
        alone = line_cuts(keys[n : n + 1], files[n : n + 1], [line_starts(text)])
        assert (alone.first[0], alone.second[0]) == (together.first[n], together.second[n])
        assert 0 <= alone.first[0] < alone.second[0] <= len(text)
    assert line_cuts(keys[:0], files[:0], []).first.tolist() == []


@pytest.mark.parametrize(
    ("split", "fallback", "chars"),
    [
        ("dolma", "dolma", 5),
        ("lines", "uniform", 1),
        ("lines", "dolma", 5),
        ("syntax", "uniform", 1),
        ("syntax", "dolma", 5),
        (SplitWeights(uniform=0.5, dolma=0.5), "uniform", 5),
        (SplitWeights(lines=0.5, syntax=0.5), "uniform", 1),
    ],
)
def test_shortest_file_of_a_recipe_is_one_that_every_law_cuts(
    split: Split | SplitWeights, fallback: CharacterSplit, chars: int
) -> None:
    assert min_chars(Fim(split=split, split_fallback=fallback)) == chars


def test_a_fallback_that_is_never_used_keeps_no_file_out() -> None:
    assert min_chars(Fim(split="uniform")) == 1


# Ranks

LENGTHS = {
    "tiny": np.arange(MANY) % 4,
    "short": np.arange(MANY) % 300,
    "long": 10 ** (np.arange(MANY) % 7) + np.arange(MANY) % 97,
}
"""Code points beyond the shortest file's."""


def ranks_of(cut: CharacterSplit, held: CharacterSplit, lengths: Ints, seed: int = 1) -> Ranks:
    keys, files = many_keys(seed, len(lengths)), np.arange(len(lengths)) % 3
    return character_ranks(held, keys, files, lengths, character_cuts(cut, keys, files, lengths))


@pytest.mark.parametrize("split", ["dolma", "uniform"])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_ranks_are_uniform_and_independent_under_their_law(
    split: CharacterSplit, lengths: Ints
) -> None:
    first, second = ranks_of(split, split, lengths + MIN_CHARS[split])
    for rank in (first, second):
        assert rank.min() >= 0
        assert rank.max() <= 1
        assert kstest(rank, "uniform").pvalue > 1e-6
    cells = np.histogram2d(first, second, bins=10, range=[[0, 1], [0, 1]])[0]
    assert chisquare(cells.ravel()).pvalue > 1e-6


@pytest.mark.parametrize("split", ["dolma", "uniform"])
@pytest.mark.parametrize("length", [0, 1, 2, 9])
def test_ranks_are_uniform_at_each_length(split: CharacterSplit, length: int) -> None:
    first, second = ranks_of(split, split, np.full(MANY, length + MIN_CHARS[split]), seed=length)
    assert kstest(first, "uniform").pvalue > 1e-6
    assert kstest(second, "uniform").pvalue > 1e-6


def test_ranks_by_hand() -> None:
    """The first cut's rank lies in its step of the distribution, the second's in that given it."""
    keys, files = many_keys(4, 1000), np.zeros(1000, np.int64)
    lengths = np.full(1000, 6)
    # dolma at L = 6: (1, 2), (1, 3), (2, 3) with 1/3 each.
    ranks = character_ranks("dolma", keys, files, lengths, Cuts(files + 1, files + 3))
    assert (ranks.first.min(), ranks.first.max()) == pytest.approx((0, 2 / 3), abs=0.01)
    assert (ranks.second.min(), ranks.second.max()) == pytest.approx((1 / 2, 1), abs=0.01)
    # uniform at L = 1: (0, 0) 1/4, (0, 1) 1/2, (1, 1) 1/4.
    ranks = character_ranks("uniform", keys, files, files + 1, Cuts(files, files + 1))
    assert (ranks.first.min(), ranks.first.max()) == pytest.approx((0, 3 / 4), abs=0.01)
    assert (ranks.second.min(), ranks.second.max()) == pytest.approx((1 / 3, 1), abs=0.01)


@pytest.mark.parametrize(("cut", "held"), [("dolma", "uniform"), ("uniform", "dolma")])
def test_ranks_are_far_from_uniform_under_the_other_law(
    cut: CharacterSplit, held: CharacterSplit
) -> None:
    lengths = np.arange(MANY) % 30 + 5
    assert max(kstest(rank, "uniform").statistic for rank in ranks_of(cut, held, lengths)) > 0.02


@pytest.mark.parametrize("split", ["dolma", "uniform"])
def test_ranks_show_a_small_fault(split: CharacterSplit) -> None:
    """One file in twenty whose middle starts at its first possible place."""
    lengths = np.full(MANY, 50)
    keys, files = many_keys(), np.zeros(MANY, np.int64)
    cuts = character_cuts(split, keys, files, lengths)
    cuts.first[::20] = split == "dolma"
    ranks = character_ranks(split, keys, files, lengths, cuts)
    assert kstest(ranks.first, "uniform").pvalue < 1e-9


def test_a_cut_that_dolma_cannot_give_lies_outside() -> None:
    one, length = np.ones(1, np.int64), np.full(1, 20)
    keys = many_keys(1, 1)
    for first, second in ((0, 5), (3, 3), (3, 18), (18, 19)):
        ranks = character_ranks("dolma", keys, one * 0, length, Cuts(one * first, one * second))
        assert not all(0 <= rank[0] <= 1 for rank in ranks), (first, second)
