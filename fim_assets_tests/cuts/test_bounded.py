"""The law of `fim.max_middle`, enumerated for each unit and for methods that cut by position."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import combinations
from math import lcm
from typing import Any

import numpy as np
import pytest
from scipy.stats import kstest

from fim_assets import draws
from fim_assets.cuts.base import Cuts
from fim_assets.cuts.bounded import ENDS, TRIES, Bound, EndsOf, Unit
from fim_assets.cuts.files import Files
from fim_assets.cuts.registry import CUTS
from fim_assets.draws import Floats, Ints, RandomStream, UInts
from fim_assets_tests.cuts.frequencies import MANY, Pairs, assert_follows, many_keys

Law = dict[tuple[int, int], Fraction]

LEAST = {"uniform": 0, "dolma": 1}
"""The shortest middle that is drawn, in units."""


def by_twos(texts: list[str]) -> list[Ints]:
    """Ids of a tokenizer that takes two bytes for one, and the last alone."""
    sizes = [len(text.encode()) for text in texts]
    return [np.append(np.arange(2, size, 2), [size] * (size > 0)).astype(int) for size in sizes]


def bound_of(unit: Unit, most: int) -> Bound:
    return Bound(unit, most, (ENDS | {"tokens": by_twos})[unit])


def copies(text: str, count: int = MANY) -> Files:
    nothing = [None] * count
    return Files.split([text] * count, many_keys(count=count), nothing, nothing, None, ())


def drawn(split: str, text: str, bound: Bound, count: int = MANY) -> Counter[Any]:
    """How often each pair is drawn; where a reason is given, it stands for the pair."""
    attempt = CUTS[split].cut(copies(text, count), np.arange(count), max_middle=bound)
    pairs = zip(attempt.cuts.first.tolist(), attempt.cuts.second.tolist(), strict=True)
    return Counter([*pairs, *attempt.reasons.values()])


def law_of(positions: Sequence[int], most: int, least: int) -> Law:
    """Length uniform in least..min(most, steps), then the start uniform in what is left."""
    steps = len(positions) - 1
    lengths = range(least, min(most, steps) + 1)
    return {
        (positions[start], positions[start + length]): Fraction(
            1, len(lengths) * (steps - length + 1)
        )
        for length in lengths
        for start in range(steps - length + 1)
    }


def weights(law: Law) -> Pairs:
    whole = lcm(*(share.denominator for share in law.values()))
    return Counter({pair: int(share * whole) for pair, share in law.items()})


def inside(positions: Sequence[int], text: str) -> list[int]:
    """Dolma's positions: those among the first code point and the last three move inwards."""
    return sorted({min(max(position, 1), len(text) - 3) for position in positions})


@pytest.fixture
def grid(monkeypatch: pytest.MonkeyPatch) -> int:
    """Every draw of two uniform numbers out of so many each, in place of keyed ones."""
    count = 60

    def uniforms(keys: UInts, _files: Ints, stream: RandomStream) -> Floats:
        numbers = np.arange(len(keys))
        of_stream = numbers // count if stream == RandomStream.FIRST_CUT else numbers % count
        return (of_stream + 0.5) / count

    monkeypatch.setattr(draws, "uniforms", uniforms)
    return count * count


# By position.


def test_the_law_by_hand(grid: int) -> None:
    """Three characters, at most two; and six of dolma, where positions are 1, 2 and 3."""
    twelfth, ninth, sixth = (Fraction(1, n) for n in (12, 9, 6))
    law: Law = {(n, n): twelfth for n in range(4)}
    law |= dict.fromkeys([(0, 1), (1, 2), (2, 3)], ninth) | dict.fromkeys([(0, 2), (1, 3)], sixth)
    assert law == law_of(range(4), 2, 0)
    found = drawn("uniform", "abc", bound_of("chars", 2), grid)
    assert {pair: Fraction(n, grid) for pair, n in found.items()} == law

    found = drawn("dolma", "abcdef", bound_of("chars", 2), grid)
    assert found == {(1, 2): grid // 4, (2, 3): grid // 4, (1, 3): grid // 2}


@pytest.mark.parametrize("split", LEAST)
@pytest.mark.parametrize("length", [1, 2, 3, 5])
@pytest.mark.parametrize("most", [1, 2, 3, 4, 9, 1 << 53])
def test_characters_follow_the_law_in_every_draw(
    split: str, length: int, most: int, grid: int
) -> None:
    """Steps of one character; dolma's positions are 1 to L - 3."""
    text = "é" * (length + 4 * LEAST[split])
    positions = range(1, len(text) - 2) if split == "dolma" else range(len(text) + 1)
    law = law_of(positions, most, LEAST[split])
    found = drawn(split, text, bound_of("chars", most), grid)
    assert {pair: Fraction(n, grid) for pair, n in found.items()} == law


PLACES: dict[Unit, dict[str, list[int]]] = {
    "chars": {"": [0], "aé🚀": [0, 1, 2, 3]},
    "lines": {
        "": [0],
        "ab\ncd\nef": [0, 3, 6, 8],
        "\n\n\n\n\n": [0, 1, 2, 3, 4, 5],
        "é🚀\n\nend\r\n": [0, 3, 4, 9],
        "one line": [0, 8],
        "one line\n": [0, 9],
    },
    # Two bytes for an id: those of the last three end in characters too.
    "tokens": {
        "": [0],
        "abcdefghi": [0, 2, 4, 6, 8, 9],
        "éabüc": [0, 1, 3, 4, 5],
        "🚀🚀ab": [0, 1, 2, 4],
        "aé": [0, 2],
        "日本語": [0, 2, 3],
    },
}
"""Where middles begin and end."""

TEXTS = [(unit, text, at) for unit, places in PLACES.items() for text, at in places.items()]


@pytest.mark.parametrize(("unit", "text", "positions"), TEXTS)
def test_positions_are_the_ends_of_units_that_are_no_part_of_a_character(
    unit: Unit, text: str, positions: list[int]
) -> None:
    [found] = bound_of(unit, 1).positions([text], 0, 0)
    assert [*found] == positions
    if len(text) >= 5:
        [found] = bound_of(unit, 1).positions([text], 1, 3)
        assert [*found] == inside(positions, text)


@pytest.mark.parametrize("split", LEAST)
@pytest.mark.parametrize(
    ("unit", "text"),
    [*(("lines", text) for text in PLACES["lines"] if text), ("tokens", "abcdefghi")],
)
@pytest.mark.parametrize("most", [1, 2, 4, 10])
def test_lines_and_ids_follow_the_law_in_every_draw(
    split: str, unit: Unit, text: str, most: int, grid: int
) -> None:
    positions = PLACES[unit][text]
    if split == "dolma":
        positions = inside(positions, text)
    law = law_of(positions, most, LEAST[split])
    found = drawn(split, text, bound_of(unit, most), grid)
    assert {pair: Fraction(n, grid) for pair, n in found.items()} == law


@pytest.mark.parametrize("split", LEAST)
@pytest.mark.parametrize("unit", ENDS)
@pytest.mark.parametrize("most", [1, 3, 30])
def test_keyed_draws_follow_the_law(split: str, unit: Unit, most: int) -> None:
    text = "one\n\ntwo\r\nthr€e\nfour\n"
    feeds = [n + 1 for n, character in enumerate(text) if character == "\n"]
    positions = [*range(len(text) + 1)] if unit == "chars" else [0, *feeds]
    if split == "dolma":
        positions = inside(positions, text)
    found = drawn(split, text, bound_of(unit, most))
    assert_follows(found, weights(law_of(positions, most, LEAST[split])))


def test_dolma_cuts_one_line_of_five_characters_as_ever() -> None:
    for unit in ("chars", "lines", "tokens"):
        assert drawn("dolma", "abcde", bound_of(unit, 1), 100) == {(1, 2): 100}


# Shortened where what is drawn has too many ids alone.


def alone(text: str, ends_of_part: Callable[[str], Sequence[int]]) -> EndsOf:
    """A tokenizer for which a whole text is one id, and a part is what is said of it."""

    def ends(texts: list[str]) -> list[Ints]:
        return [
            np.array([len(text.encode())] if part == text else ends_of_part(part), np.int64)
            for part in texts
        ]

    return ends


@pytest.mark.parametrize(
    ("text", "most", "cuts"),
    [
        ("abcdefgh", 2, (1, 3)),
        ("🚀🚀🚀🚀🚀🚀", 4, (1, 2)),
        ("🚀🚀🚀🚀🚀🚀", 7, (1, 2)),
        ("🚀🚀🚀🚀🚀🚀", 1, (1, 1)),
    ],
)
def test_a_middle_with_too_many_ids_alone_ends_where_the_last_allowed_one_does(
    text: str, most: int, cuts: tuple[int, int]
) -> None:
    """An id of each byte; where a character has more than are allowed, nothing is left."""
    ends = alone(text, lambda part: range(1, len(part.encode()) + 1))
    assert drawn("dolma", text, Bound("tokens", most, ends), 50) == {cuts: 50}


def test_a_middle_is_shortened_until_it_fits() -> None:
    """Ids that come otherwise where a part is cut: each round takes one character away."""

    def ends_of_part(part: str) -> list[int]:
        size = len(part)
        return [size - 1, size] if size > 11 else [size] * (size > 0)

    bound = Bound("tokens", 1, alone("x" * 20, ends_of_part))
    assert drawn("dolma", "x" * 20, bound, 50) == {(1, 12): 50}


# Ranks.

LENGTHS = {"tiny": np.arange(MANY) % 4, "short": np.arange(MANY) % 300}


def bounded_cuts(split: str, lengths: Ints, most: int) -> tuple[UInts, Ints, Cuts]:
    keys, files = many_keys(7), np.arange(MANY) % 3
    least = LEAST[split]
    law = CUTS[split].bounded
    assert law is not None
    first, second = law.draw(keys, files, lengths - 4 * least, most)
    return keys, files, Cuts(first + least, second + least)


@pytest.mark.parametrize("split", LEAST)
@pytest.mark.parametrize("most", [1, 2, 40, 1000])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_ranks_are_uniform_and_independent(split: str, most: int, lengths: Ints) -> None:
    lengths = lengths + CUTS[split].min_chars
    keys, files, cuts = bounded_cuts(split, lengths, most)
    first, second = CUTS.bounded_rank_functions(most)[split](keys, files, lengths, cuts)
    for rank in (first, second):
        assert 0 <= rank.min() <= rank.max() <= 1
        assert kstest(rank, "uniform").pvalue > 1e-6
    cells = np.histogram2d(first, second, bins=10, range=[[0, 1], [0, 1]])[0]
    assert cells.min() > MANY / 100 * 0.7


@pytest.mark.parametrize("split", LEAST)
def test_ranks_tell_another_bound_and_no_bound(split: str) -> None:
    lengths = np.full(MANY, 50)
    keys, files, cuts = bounded_cuts(split, lengths, 20)
    ranks = CUTS.bounded_rank_functions(24)[split](keys, files, lengths, cuts)
    assert kstest(ranks.first, "uniform").statistic > 0.1
    assert CUTS.bounded_rank_functions(19)[split](keys, files, lengths, cuts).first.max() > 1
    unbounded = CUTS.rank_functions()[split](keys, files, lengths, cuts)
    assert max(kstest(rank, "uniform").statistic for rank in unbounded) > 0.1


@pytest.mark.parametrize(
    ("split", "first", "second"),
    [
        *(("dolma", *pair) for pair in [(0, 2), (3, 3), (3, 9), (15, 18), (18, 19), (5, 3)]),
        *(("uniform", *pair) for pair in [(0, 6), (18, 21), (5, 3), (-1, 2)]),
    ],
)
def test_a_cut_that_the_law_cannot_give_lies_outside(split: str, first: int, second: int) -> None:
    """Twenty characters, at most five."""
    one, keys = np.ones(1, np.int64), many_keys(1, 1)
    ranks_of = CUTS.bounded_rank_functions(5)[split]
    ranks = ranks_of(keys, one * 0, one * 20, Cuts(one * first, one * second))
    assert not all(0 <= rank[0] <= 1 for rank in ranks)


# Lines: pairs of line starts that fit.


def fitting_pairs(text: str, bound: Bound) -> Pairs:
    starts = [n for n in range(len(text) + 1) if n == 0 or text[n - 1] == "\n"]
    pairs = combinations(starts, 2)
    return Counter(p for p in pairs if not bound.too_long({0: text[slice(*p)]}))


def ids_touched(text: str, first: int, second: int) -> int:
    """Ids of two bytes that a part of a file has a byte of."""
    begin, end = (len(text[:cut].encode()) for cut in (first, second))
    return (end - 1) // 2 - begin // 2 + 1


LINES = ["a\nbb\n\ncccc\nd\n", "a\nb", "\n\n\n\n", "é\n🚀🚀🚀🚀 long\nx\nyy\r\nz"]


def pairs_asked(text: str, bound: Bound) -> Pairs:
    """Ids of two bytes: those of a part are never more than those of the file that it touches."""
    pairs = fitting_pairs(text, bound)
    if bound.unit == "tokens":
        return Counter(pair for pair in pairs if ids_touched(text, *pair) <= bound.most)
    return pairs


@pytest.mark.parametrize("text", LINES)
@pytest.mark.parametrize("unit", ["chars", "lines", "tokens"])
@pytest.mark.parametrize("most", [1, 2, 3, 5, 100])
def test_each_pair_of_line_starts_that_fits_has_one_draw(
    text: str, unit: Unit, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many numbers as there are pairs, evenly spaced: all pairs are as likely."""
    bound = bound_of(unit, most)
    asked = pairs_asked(text, bound)
    count = len(asked) or 5
    monkeypatch.setattr(draws, "uniforms", lambda keys, *_: (np.arange(len(keys)) + 0.5) / count)
    assert drawn("lines", text, bound, count) == (asked or {"no_lines_fit": count})


@pytest.mark.parametrize(("unit", "most"), [("chars", 5), ("lines", 3), ("tokens", 5)])
def test_keyed_draws_of_line_starts_follow_the_law(unit: Unit, most: int) -> None:
    for text in LINES[::3]:
        bound = bound_of(unit, most)
        assert_follows(drawn("lines", text, bound), pairs_asked(text, bound))


def test_lines_that_do_not_fit_alone_are_drawn_again_and_then_given_up() -> None:
    """Of the file's ids each line is one; alone, a line with x in it is two."""

    def ends(texts: list[str]) -> list[Ints]:
        def of(text: str) -> Iterator[int]:
            for n, character in enumerate(text, 1):
                if character == "\n" or ("x" in text and n == 1 and text.count("\n") < 2):
                    yield n

        return [np.array([*of(text)], np.int64) for text in texts]

    mixed = "x\na\nb\nx\nc\n"
    assert_follows(
        drawn("lines", mixed, Bound("tokens", 1, ends), 20_000), Counter([(2, 4), (4, 6), (8, 10)])
    )
    hopeless = "x\nx\nx\n"
    asked: list[int] = []

    def counted(texts: list[str]) -> list[Ints]:
        asked.append(len(texts))
        return ends(texts)

    assert drawn("lines", hopeless, Bound("tokens", 1, counted), 10) == {"no_lines_fit": 10}
    assert asked == [10] * (1 + TRIES)


def test_one_line_has_its_own_reason() -> None:
    for text in ("one line", "one line\n"):
        assert drawn("lines", text, bound_of("chars", 3), 5) == {"one_line": 5}
