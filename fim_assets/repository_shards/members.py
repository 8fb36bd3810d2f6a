"""The line of a repository document: its text, and its files' lines with their texts taken out.

    {"id": "r", "text": "a<|file_sep|>b", "metadata": {"repo_name": "r"},
     "members": [{"id": "1", "text": "", "stars": 7},{"id": "2", "text": ""}]}

A member is its line byte for byte, white space around it too, but for the text's value.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import orjson

from fim_assets.io.shard_writer import Line
from fim_assets.raw_shards.documents import text_span
from fim_assets.recipe.repositories import MEMBERS
from fim_assets.recipe.values import field_names

_raw_values = msgspec.json.Decoder(list[msgspec.Raw])


def document_line(fields: Mapping[str, str | None], members: Sequence[bytes]) -> bytes:
    """The line of a document: values by their fields' paths, and its files' lines without texts.

    A value that is None is left out.
    """
    content: dict[str, Any] = {}
    for path, value in fields.items():
        if value is None:
            continue
        *outer, name = field_names(path)
        inner = content
        for other in outer:
            inner = inner.setdefault(other, {})
        inner[name] = value
    array = b"[%b]" % b",".join(members)
    return orjson.dumps(content | {MEMBERS: orjson.Fragment(array)})


def member_lines(line: Line) -> list[bytes]:
    """The lines of a document's files, with empty texts.

    Of the line above, they are `{"id": "1", "text": "", "stars": 7}` and `{"id": "2", "text": ""}`.
    """
    span = text_span(line, MEMBERS)
    array = bytes(line[span])
    # What is between two values is white space and one comma, which tells whose space it is.
    edges, at = [0], 1
    for value in (bytes(raw) for raw in _raw_values.decode(array)):
        at = array.index(value, at) + len(value)
        comma = array.find(b",", at)
        edges.append(len(array) - 1 if comma < 0 else comma)
    return [array[begin + 1 : end] for begin, end in pairwise(edges)]
