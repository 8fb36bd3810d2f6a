import pytest

from fim_assets.regroup.names import (
    BUCKETS,
    bucket,
    first_hash,
    line_hash,
    repository_hash,
    repository_name,
)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (b'"org/name"', "org/name"),
        (b'"\\u65e5\\u672c/\xe3\x83\xac"', "日本/レ"),
        (b'"\\ud83d\\ude80"', "🚀"),
        (b'" "', " "),
        (b"17", "17"),
        (b"-5", "-5"),
        (b"123456789012345678901234567890", "123456789012345678901234567890"),
        (b'"17"', "17"),
        (b'""', ""),
        (b"1.0", ""),
        (b"1e3", ""),
        (b"true", ""),
        (b"null", ""),
        (b'["a"]', ""),
        (b'{"a": "b"}', ""),
        (b'"\\ud83d"', ""),
    ],
)
def test_a_name_is_a_string_or_a_whole_number_as_it_is_written(value: bytes, name: str) -> None:
    line = b'{"text": "x", "doc": {"repo.name": ' + value + b"}}"
    assert repository_name(line, r"doc.repo\.name") == name.encode()
    assert repository_name(memoryview(line), r"doc.repo\.name") == name.encode()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"no json",
        b'["name"]',
        b'{"doc": "name"}',
        b'{"name": "a"}',
        b'{"doc": {"name": "a"}',
        b'{"doc": {"name": "\xff"}}',
        b'{"\xff": 1, "doc": {"name": "a"}}',
        b'{"doc": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_any_line_has_a_name_or_none(line: bytes) -> None:
    assert repository_name(line, "doc.name") == b""


def test_of_duplicate_keys_the_last_one_counts() -> None:
    line = b'{"doc": {"name": "a"}, "doc": {"name": "b", "name": "c"}}'
    assert repository_name(line, "doc.name") == b"c"


def test_hashes_are_what_they_were() -> None:
    """Or shards made later would hold other repositories."""
    assert repository_hash("日本/レポ".encode()) == 0x965BCAB49B29AD0A
    assert line_hash(b"no json", 1) != line_hash(b"no json", 2) == 0xF9B400B48DBE2713


def test_a_bucket_is_a_range_of_hashes() -> None:
    assert [bucket(0), bucket((1 << 64) - 1)] == [0, BUCKETS - 1]
    for number in (1, 77, BUCKETS - 1):
        assert [bucket(first_hash(number) - 1), bucket(first_hash(number))] == [number - 1, number]
