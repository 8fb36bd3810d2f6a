import pytest

from fim_assets.wording import file_size, plural


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 files"), (1, "1 file"), (2, "2 files"), (1_024, "1,024 files")]
)
def test_one_is_not_several(number: int, words: str) -> None:
    assert plural(number, "file") == words


def test_bytes_have_a_unit() -> None:
    assert [file_size(size) for size in (1, 999, 1_500_000)] == ["1 Byte", "999 Bytes", "1.5 MB"]
