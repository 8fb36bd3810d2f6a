"""Lines of files in the line of their document, and back."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim_assets.raw_shards.documents import replace_text
from fim_assets.repository_shards.members import document_line, member_lines

LINES = [
    b'{"id": 1, "text": "a,b"}',
    b'  {"text":"]}", "x": [1, {"text": "q"}] } \t',
    b'{"text":"first","text":"last","id":"],["}\r',
    b' {"z":{"members":[1,2]},"text":"\\u00e9"}',
]


@given(st.lists(st.sampled_from(LINES), min_size=1, max_size=6))
def test_members_are_their_lines_without_texts_byte_for_byte(lines: list[bytes]) -> None:
    members = [replace_text(one, "text", "") for one in lines]
    line = document_line({"text": "t", "a.b": "c", "none": None}, members)
    assert member_lines(line) == members
    content = orjson.loads(line)
    assert [*content] == ["text", "a", "members"]
    assert content["a"] == {"b": "c"}
    back = [replace_text(one, "text", f"{n}") for n, one in enumerate(member_lines(line))]
    assert [orjson.loads(one)["text"] for one in back] == [f"{n}" for n in range(len(lines))]


@pytest.mark.parametrize("path", ["a.text", r"a\.b.c"])
def test_texts_may_stand_inside(path: str) -> None:
    outer, inner = ("a", "text") if path == "a.text" else ("a.b", "c")
    member = replace_text(orjson.dumps({outer: {inner: "x", "other": 1}}), path, "")
    line = document_line({path: "whole"}, [member])
    assert orjson.loads(line)[outer] == {inner: "whole"}
    assert orjson.loads(member_lines(line)[0]) == {outer: {inner: "", "other": 1}}
