"""Names in several partitions: exactly from whole samples, within its error from parts of them."""

import numpy as np
import pytest

from fim_assets.draws import mix
from fim_assets.statistics import name_samples
from fim_assets.statistics.name_samples import MOST_HASHES, InSeveral, NameSample, NamesInSeveral


def hashes(begin: int, end: int) -> np.ndarray:
    """Hashes of the names that are numbered so."""
    return mix(np.arange(begin, end, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))


def counted(*partitions: np.ndarray) -> InSeveral:
    names = NamesInSeveral()
    for partition in partitions:
        sample = NameSample.of(partition)
        names.add(NameSample.model_validate_json(sample.model_dump_json()))
    return names.result()


def test_a_sample_by_hand() -> None:
    sample = NameSample.of(np.array([1 << 63, 2, 255], np.uint64))
    assert sample.model_dump() == {
        "names": 3,
        "hashes": ("0000000000000002", "00000000000000ff", "8000000000000000"),
    }
    assert len(NameSample.of(hashes(0, 1000)).hashes) == MOST_HASHES


def test_whole_samples_are_counted_exactly() -> None:
    """Of the names 0 to 299, 100 to 149 are in two partitions, of these 140 to 149 in three."""
    found = counted(hashes(0, 150), hashes(100, 300), hashes(140, 150), hashes(0, 0))
    assert found == InSeveral(names=300, in_several=50, low=50, high=50, exact=True, looked_at=300)


def test_without_names_nothing_is_known() -> None:
    nothing = InSeveral(names=0, in_several=0, low=0, high=0, exact=True, looked_at=0)
    assert counted() == counted(hashes(0, 0)) == nothing


def test_the_interval_by_hand() -> None:
    """Of half of the names 8 are in several: 16 + 1.92 ± √(17.92² - 16²), or 17.92 ± 8.07."""
    names = NamesInSeveral()
    names._bound = 1 << 63
    names._hashes, names._partitions = np.arange(20, dtype=np.uint64), np.repeat([2, 1], [8, 12])
    found = names.result()
    assert (found.names, found.in_several, found.looked_at) == (40, 16, 20)
    assert (found.low, found.high, found.exact) == (10, 26, False)


def test_one_large_partition_bounds_what_is_looked_at() -> None:
    """Its sample ends below most hashes of the small one, whose others are not looked at."""
    large, small = hashes(0, 100_000), hashes(99_900, 100_100)
    found = counted(large, small)
    assert not found.exact
    assert found.looked_at <= MOST_HASHES
    assert found.low <= 100 <= found.high


def test_most_intervals_hold_the_number() -> None:
    """Of 200 corpora, 95 % on average: fewer than 178 have a probability of 1e-4."""
    inside = 0
    for corpus in range(200):
        begin = corpus * 20_000
        parts = hashes(begin, begin + 3000), hashes(begin + 2000, begin + 6000)
        found = counted(*parts)
        inside += found.low <= 1000 <= found.high
    assert inside >= 178


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(name_samples, "_MOST_KEPT", 1000)
    names = NamesInSeveral()
    for partition in range(200):
        # Each shares half of its names with the next one.
        names.add(NameSample.of(hashes(partition * 100, partition * 100 + 200)))
        assert names._waits < 1000 + MOST_HASHES
    found = names.result()
    assert found.looked_at <= 1000
    assert 0.8 * 20_100 < found.names < 1.2 * 20_100
    assert found.low <= 19_900 <= found.high
