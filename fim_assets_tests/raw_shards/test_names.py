"""The name that a line holds in a field."""

import pytest

from fim_assets.raw_shards.documents import name_in


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
    assert name_in(line, r"doc.repo\.name") == (name or None)
    assert name_in(memoryview(line), r"doc.repo\.name") == (name or None)


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
    assert name_in(line, "doc.name") is None


def test_of_duplicate_keys_the_last_one_counts() -> None:
    line = b'{"doc": {"name": "a"}, "doc": {"name": "b", "name": "c"}}'
    assert name_in(line, "doc.name") == "c"
