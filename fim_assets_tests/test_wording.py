import pytest

from fim_assets.wording import about, file_size, plural, short_number


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 files"), (1, "1 file"), (2, "2 files"), (1_024, "1,024 files")]
)
def test_one_is_not_several(number: int, words: str) -> None:
    assert plural(number, "file") == words


def test_bytes_have_a_unit() -> None:
    assert [file_size(size) for size in (1, 999, 1_500_000)] == ["1 Byte", "999 Bytes", "1.5 MB"]


def test_short_numbers_have_a_unit_of_a_thousand_each() -> None:
    numbers = (0, 0.5, 96, 999, 1000, 1500, 25_000, 999_600, 10_000_000, 1 << 30, 5 * 10**12)
    shown = ["0", "0.5", "96", "999", "1 k", "1.5 k", "25 k", "1 M", "10 M", "1.1 B", "5 T"]
    assert [short_number(number) for number in numbers] == shown


def test_numbers_of_things_are_exact_below_a_million() -> None:
    shown = [about(number, "token") for number in (1, 999_999, 7_764_499)]
    assert shown == ["1 token", "999,999 tokens", "7.8 M tokens"]
