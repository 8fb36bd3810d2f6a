from fim_assets.regroup.names import (
    BUCKETS,
    bucket,
    first_hash,
    line_hash,
    repository_hash,
)


def test_hashes_are_what_they_were() -> None:
    """Or shards made later would hold other repositories."""
    assert repository_hash("日本/レポ".encode()) == 0x965BCAB49B29AD0A
    assert line_hash(b"no json", 1) != line_hash(b"no json", 2) == 0xF9B400B48DBE2713


def test_a_bucket_is_a_range_of_hashes() -> None:
    assert [bucket(0), bucket((1 << 64) - 1)] == [0, BUCKETS - 1]
    for number in (1, 77, BUCKETS - 1):
        assert [bucket(first_hash(number) - 1), bucket(first_hash(number))] == [number - 1, number]
