import json
from pathlib import Path

import pytest

from fim_assets.raw_shards.rejections import (
    CARRIAGE_RETURNS,
    EMPTY_TEXTS,
    NO_NUMBERS,
    NOT_EXPLAINED,
    ONE_ARRAY,
    ONE_DOCUMENT,
    string_fields,
)
from fim_assets.raw_shards.shard_reader import ShardReader, TooManyRejectedError
from fim_assets.recipe.raw import Raw
from fim_assets_tests.corpora import documents, write_shard

BROKEN, EMPTY = b"no", b'{"text":""}'


def refusal(path: Path, raw: Raw | None = None) -> TooManyRejectedError | None:
    with ShardReader(path, raw or Raw()) as reader:
        for _ in reader:
            pass
        try:
            reader.refuse_many_rejected()
        except TooManyRejectedError as error:
            return error
    return None


@pytest.mark.parametrize(
    ("broken", "empty", "raw", "field"),
    [
        (1, 0, Raw(), None),
        (2, 0, Raw(), "max_rejected_share"),
        (0, 2, Raw(), "max_rejected_share"),
        (1, 1, Raw(), "max_rejected_share"),
        (1, 50, Raw(max_empty_share=0.05), None),
        (2, 50, Raw(max_empty_share=0.05), "max_rejected_share"),
        (2, 0, Raw(max_empty_share=0.05), "max_rejected_share"),
        (1, 51, Raw(max_empty_share=0.05), "max_empty_share"),
        (0, 1, Raw(max_empty_share=0), "max_empty_share"),
        (0, 999, Raw(max_empty_share=1), None),
        (0, 50, Raw(max_empty_share=0.05, max_rejected_share=0), None),
        (51, 0, Raw(max_empty_share=0.05, max_rejected_share=0.05), "max_rejected_share"),
    ],
)
def test_empty_texts_have_a_bound_of_their_own_where_the_recipe_gives_one(
    tmp_path: Path, broken: int, empty: int, raw: Raw, field: str | None
) -> None:
    rows = [BROKEN] * broken + [EMPTY] * empty + documents(1000 - broken - empty) + [b""] * 500
    path = write_shard(tmp_path / "a.jsonl", rows)
    refused = refusal(path, raw)
    assert (refused is None) == (field is None)
    if refused is not None:
        assert f"raw.{field} is {getattr(raw, field or ''):g}" in refused.message


def test_only_empty_texts_are_answered_with_the_share_that_bounds_them(tmp_path: Path) -> None:
    rows = [*[EMPTY] * 47, *documents(953)]
    path = write_shard(tmp_path / "a.jsonl", rows)
    refused = refusal(path)
    assert refused is not None
    assert "47 of 1,000 lines rejected (empty 47)" in refused.message
    assert refused.advice == EMPTY_TEXTS
    assert refused.lines == ["line 1: empty: text is empty", "and 46 more"]
    assert refusal(path, Raw(max_empty_share=0.05)) is None
    mixed = refusal(write_shard(tmp_path / "b.jsonl", [*[BROKEN] * 5, *rows]))
    assert mixed is not None
    assert mixed.advice == NOT_EXPLAINED


def test_empty_texts_with_a_bound_of_their_own_hide_no_broken_line(tmp_path: Path) -> None:
    rows = [*[EMPTY] * 40, *[b'{"text":"a","x":NaN}'] * 3, *documents(957)]
    refused = refusal(write_shard(tmp_path / "a.jsonl", rows), Raw(max_empty_share=0.05))
    assert refused is not None
    assert "3 of 1,000 lines rejected (not_json 3)" in refused.message
    assert refused.advice == NO_NUMBERS
    assert refused.lines[0].startswith("line 41: not_json: ")
    assert refused.lines[1:] == ["and 2 more"]


def lines_of(*rows: str, end: str = "\n") -> bytes:
    return "".join(row + end for row in rows).encode()


def dumped(value: object, indent: int | None = None) -> bytes:
    return json.dumps(value, indent=indent).encode()


ROWS = documents(40)


@pytest.mark.parametrize(
    ("content", "advice", "first"),
    [
        (lines_of(*(json.dumps(row | {"score": float("nan")}) for row in ROWS)), NO_NUMBERS, 1),
        (lines_of(*(json.dumps(row | {"s": [-float("inf")]}) for row in ROWS)), NO_NUMBERS, 1),
        (lines_of('{"text":"a"}', '{"text":"é","x":Infinity}'), NO_NUMBERS, 2),
        (lines_of(*map(json.dumps, ROWS), end="\r"), CARRIAGE_RETURNS, 1),
        (lines_of(*map(json.dumps, ROWS), end="\r")[:-1] + b"\n", CARRIAGE_RETURNS, 1),
        (dumped(ROWS), ONE_ARRAY, 1),
        (dumped(ROWS, indent=1), ONE_ARRAY, 1),
        (b"[" + b",\n".join(dumped(row) for row in ROWS) + b"]\n", ONE_ARRAY, 1),
        (b"\n".join(dumped(row, indent=4) for row in ROWS), ONE_DOCUMENT, 1),
        (b'{"text": 1, "x": nope}\n', "", 1),
    ],
)
@pytest.mark.parametrize("max_line_bytes", [1 << 26, 3000])
def test_what_lines_are_instead_is_told_once_with_the_first_of_them(
    tmp_path: Path, content: bytes, advice: str, first: int, max_line_bytes: int
) -> None:
    """Where all is one line it is longer than any bound may be."""
    path = tmp_path / "a.json"
    path.write_bytes(content)
    refused = refusal(path, Raw(max_line_bytes=max_line_bytes))
    assert refused is not None
    assert str(path) in str(refused)
    assert refused.lines[0].startswith(f"line {first}: ")
    if advice:
        assert refused.advice == advice
        assert sum(line.startswith("line ") for line in refused.lines) == 1


def test_a_bare_number_is_rejected_at_its_place(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "a.jsonl", [b'{"text":"a","x":-Infinity}'])
    refused = refusal(path)
    assert refused is not None
    assert "column 18" in refused.lines[0]


def test_lines_of_several_kinds_are_explained_one_by_one(tmp_path: Path) -> None:
    rows = [b'{"text":"a","x":NaN}', BROKEN, b"{}", EMPTY, *documents(10)]
    refused = refusal(write_shard(tmp_path / "a.jsonl", rows))
    assert refused is not None
    assert len(refused.lines) == 4
    assert refused.lines[0].endswith(NO_NUMBERS)
    assert "NaN" not in "".join(refused.lines[1:])


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({"id": "x", "content": "long text", "path": "a.py"}, ["content", "path", "id"]),
        ({"doc": {"body": "long text"}, "n": 3, "none": ""}, ["doc.body"]),
        ({"doc.text": "long text", "a\\": {"b": "text"}}, [r"doc\.text", r"a\\.b"]),
        ({"text": {"value": "long text"}}, ["text.value"]),
    ],
)
def test_a_wrong_text_field_is_answered_with_the_fields_that_hold_text(
    tmp_path: Path, row: dict[str, object], named: list[str]
) -> None:
    path = write_shard(tmp_path / "a.jsonl", [row] * 120)
    refused = refusal(path)
    assert refused is not None
    assert f"raw.text_field is text; these lines hold text in {', '.join(named)}: " in str(refused)
    assert len(str(refused).splitlines()) == 3
    assert string_fields(dumped(row)).most_common(1)[0][0] == named[0]
    assert refusal(path, Raw(text_field=named[0], id_field="no", path_field="no2")) is None


def test_a_field_that_most_lines_have_is_not_called_wrong(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "a.jsonl", [*documents(20), *[{"content": "text"}] * 5])
    refused = refusal(path)
    assert refused is not None
    assert refused.advice == NOT_EXPLAINED
