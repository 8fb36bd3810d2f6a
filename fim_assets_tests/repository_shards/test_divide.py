"""Large repositories are divided between files."""

from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim_assets.repository_shards.divide import divide


@pytest.mark.parametrize(
    ("sizes", "parts", "expected"),
    [
        ([4, 3, 5, 6, 2, 4, 3], [0, 0, 1, 2, 2, 2, 2], [2, 1, 2, 2]),
        ([4, 3, 5], [0, 1, 2], [2, 1]),
        # A part that fits in a document of its own is not cut to fill the one before.
        ([4, 5, 5], [0, 1, 1], [1, 2]),
        ([4, 5, 6], [0, 1, 1], [2, 1]),
        # A file that is too large is alone.
        ([20, 1, 30, 2, 2], [0, 1, 2, 3, 4], [1, 1, 1, 2]),
        ([10], [0], [1]),
        ([0, 0], [0, 1], [2]),
    ],
)
def test_by_hand(sizes: list[int], parts: list[int], expected: list[int]) -> None:
    assert divide(sizes, parts, 10) == expected


@given(st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=1, max_size=40))
def test_no_document_is_too_large_and_no_part_cut_that_fits(files: list[tuple[int, bool]]) -> None:
    sizes = [size for size, _ in files]
    parts = [*accumulate(new for _, new in files)]
    counts = divide(sizes, parts, 10)
    assert sum(counts) == len(sizes)
    assert 0 not in counts
    for begin, end in pairwise([0, *accumulate(counts)]):
        assert sum(sizes[begin:end]) <= 10 or end == begin + 1
        if end < len(sizes) and parts[end] == parts[end - 1]:
            assert sum(s for s, part in zip(sizes, parts, strict=True) if part == parts[end]) > 10
