"""Sorted runs and their merge, and where shards are cut."""

from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import pytest

from fim_assets.errors import UserError
from fim_assets.regroup import runs as module
from fim_assets.regroup.names import BUCKETS, bucket
from fim_assets.regroup.runs import Entry, Index, RunWriter, merge
from fim_assets.regroup.write import Range, cut

LAST = (1 << 64) - 1


def entries(count: int) -> list[Entry]:
    """Entries of a few hashes, the lowest and the highest among them, in no order."""
    random = Random(count)
    hashes = [0, 5, 1 << 63, LAST]
    return [
        Entry(
            random.choice(hashes),
            random.choice([b"", b"a", "é".encode()]),
            number % 3,
            number,
            b"x" * random.randrange(50),
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("run_bytes", [1, 2_000, 1 << 26])
@pytest.mark.parametrize("block_bytes", [1, 100, 1 << 16])
def test_all_entries_come_sorted_and_each_range_holds_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_bytes: int, block_bytes: int
) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", block_bytes)
    own = entries(200)
    with RunWriter(tmp_path / "runs", run_bytes) as writer:
        for entry in own:
            writer.add(entry)
        assert [*writer.merged()] == sorted(own)
        index = Index.from_bytes(writer.finish().to_bytes())
    assert (len(index.runs) - 1 == 200) == (run_bytes == 1)
    for first, last in [(0, 0), (0, 4), (1, 4), (5, 5), (6, LAST), (LAST, LAST), (0, LAST)]:
        found = merge(index.segments(tmp_path / "runs", first, last))
        inside = [entry for entry in found if first <= entry.hashed <= last]
        assert inside == [entry for entry in sorted(own) if first <= entry.hashed <= last]


def test_a_range_is_read_without_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", 1)
    with RunWriter(tmp_path / "runs", 1 << 20) as writer:
        for number in range(100):
            writer.add(Entry(number, b"", 0, number, b"line"))
        [segment] = writer.finish().segments(tmp_path / "runs", 40, 41)
    # The block before the first one may end in the range.
    assert [entry.hashed for entry in merge([segment])] == [39, 40, 41]


def test_damage_is_an_error(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "runs", 1 << 20) as writer:
        writer.add(Entry(1, b"a", 0, 1, b"line" * 100))
        index = writer.finish()
    content = bytearray((tmp_path / "runs").read_bytes())
    content[-1] ^= 1
    (tmp_path / "runs").write_bytes(content)
    with pytest.raises(UserError, match="/runs: is damaged: "):
        list(merge(index.segments(tmp_path / "runs", 0, LAST)))


@pytest.mark.parametrize(
    ("sizes", "most", "shards"),
    [
        ([3, 0, 4, 9, 1], 8, [[3, 0, 4], [9], [1]]),
        ([3, 0, 4, 9, 1], 7, [[3, 0, 4], [9], [1]]),
        ([3, 0, 4, 9, 1], 6, [[3], [0, 4], [9], [1]]),
        ([3, 0, 4, 9, 1], 17, [[3, 0, 4, 9, 1]]),
        ([0, 0], 5, []),
    ],
)
def test_shards_are_cut_at_their_size(sizes: list[int], most: int, shards: list[list[int]]) -> None:
    totals = np.zeros(BUCKETS, np.int64)
    totals[: len(sizes)] = sizes
    ranges = cut(totals, most)
    assert [sizes[bucket(r.first) : bucket(r.last) + 1] for r in ranges] == shards
    assert [r.number for r in ranges] == [*range(len(shards))]
    for before, after in pairwise(ranges):
        assert before.last + 1 == after.first
    assert [r.first for r in ranges[:1]] == [0] * bool(shards)


def test_shards_are_named_by_their_number() -> None:
    names = [Range(number, 0, 0).name for number in (7, 123_456)]
    assert names == ["repositories-00007.jsonl.zst", "repositories-123456.jsonl.zst"]
