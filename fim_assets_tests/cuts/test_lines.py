from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from fim_assets.cuts.lines import line_cuts, line_starts
from fim_assets_tests.cuts.frequencies import MANY, assert_follows, many_keys, pairs_of


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
def test_lines_follows_the_enumerated_distribution(text: str) -> None:
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
