"""One line or row: read as a document; and a line's text replaced.

Whether a line is blank, too long, or one rejected line too many, is not decided here.
"""

import re
from codecs import BOM_UTF8
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import orjson
import pyarrow as pa

from fim_assets.io.shard_writer import Line
from fim_assets.raw_shards.rejections import RejectedLine, explain_line, one_value
from fim_assets.recipe.raw import Raw
from fim_assets.recipe.values import field_names

MAX_DEPTH = 128
"""Levels of nesting in a line: a bound of our own, since parsers' bounds differ and depend on the
caller's stack."""

_STAGE_LEVELS = 2
"""Levels at which a line that a stage wrote may hold one that it read."""

JSON_SPACE = b" \t\r"

_CONTAINERS = {dict, list}

_JSON_TYPES: dict[type, str] = {
    type(None): "null",
    bool: "boolean",
    int: "number",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}

_WHOLE_NUMBER = re.compile(rb"-?\d+")

_raw_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


class RejectionError(ValueError):
    """A line that is no document; reason, detail and advice are a `RejectedLine`'s."""

    def __init__(self, reason: str, detail: str, advice: str = "") -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.advice = advice

    def rejected(self, number: int, content: bytes) -> RejectedLine:
        """The record of a line, by its number and its bytes."""
        return RejectedLine(number, self.reason, self.detail, content, advice=self.advice)


class Document(NamedTuple):
    """What a line holds, None for what it does not have; an id's number is as it is written."""

    id: str | None
    text: str
    language: str | None = None
    path: str | None = None


def read_document(line: Line, fields: Raw) -> Document:
    """Read one line.

    Raises:
        RejectionError: If the line is no document.
    """
    try:
        content = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise _not_json(bytes(line), error) from None
    if not isinstance(content, dict):
        detail = f"the line is a JSON {_json_type(content)}"
        raise RejectionError("not_an_object", detail, one_value(bytes(line)))
    if _deeper_than(content, MAX_DEPTH + (_STAGE_LEVELS if fields.is_of_stage else 0)):
        raise _too_deep()
    return document_of(content, fields, lambda: bytes(_raw_value(line, fields.id_field)))


def document_of(content: Any, fields: Raw, number: Callable[[], bytes] | None = None) -> Document:
    """The document of an object of JSON, or of a Parquet file's row as `rows` gives it.

    `number` gives an id that is a number as it is written.

    Raises:
        RejectionError: If it is no document.
    """
    text, identifier = _lookup(content, fields.text_field), _lookup(content, fields.id_field)
    if text is None:
        raise RejectionError("no_text", f"{fields.text_field} is missing or null")
    if isinstance(text, bytes) and (error := _not_utf8(text)):
        raise error
    if not isinstance(text, str):
        raise RejectionError("text_not_string", f"{fields.text_field} is a JSON {_json_type(text)}")
    if not text:
        raise RejectionError("empty", f"{fields.text_field} is empty")
    kind = _json_type(identifier)
    if kind == "number":
        identifier = (number() if number else orjson.dumps(identifier)).decode()
    elif kind not in {"null", "string"}:
        raise RejectionError("id_not_string", f"{fields.id_field} is a JSON {kind}")
    language, path = _lookup(content, fields.language_field), _lookup(content, fields.path_field)
    return Document(
        identifier,
        text,
        language if isinstance(language, str) else None,
        path if isinstance(path, str) else None,
    )


def _not_json(line: bytes, cause: orjson.JSONDecodeError) -> RejectionError:
    if line.startswith(BOM_UTF8):
        return RejectionError("byte_order_mark", "the line begins with UTF-8's byte-order mark")
    if error := _not_utf8(line):
        return error
    if "depth limit" in str(cause):
        return _too_deep()
    return RejectionError("not_json", str(cause), explain_line(line, cause))


def _not_utf8(content: bytes) -> RejectionError | None:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        where = f"byte {error.start + 1:,}, {content[error.start]:#04x}"
        return RejectionError("not_utf8", f"{where}: {error.reason}")
    return None


def _too_deep() -> RejectionError:
    return RejectionError("nested_too_deep", f"more than {MAX_DEPTH} levels of objects and arrays")


def _deeper_than(content: Any, depth: int) -> bool:
    level = [content]
    for _ in range(depth):
        inner: list[Any] = []
        for outer in level:
            values = outer.values() if type(outer) is dict else outer
            inner += [value for value in values if type(value) in _CONTAINERS]
        if not inner:
            return False
        level = inner
    return True


def _lookup(content: Any, field_path: str) -> Any:
    for name in field_names(field_path):
        if not isinstance(content, dict):
            return None
        content = content.get(name)
    return content


def _json_type(value: Any) -> str:
    return _JSON_TYPES[type(value)]


def _raw_value(line: Line, field_path: str) -> msgspec.Raw:
    first, *inner = field_names(field_path)
    raw = _raw_object.decode(line)[first]
    for name in inner:
        raw = _raw_object.decode(raw)[name]
    return raw


def name_in(line: Line, field_path: str) -> str | None:
    """The name that a field of a line holds: a string, or a whole number as it is written.

    None if it holds something else, nothing, or an empty one. The line need not be a document; of
    duplicate keys, the last one counts.
    """
    try:
        value = bytes(_raw_value(line, field_path))
        if value[:1] != b'"':
            return value.decode() if _WHOLE_NUMBER.fullmatch(value) else None
        name: str = orjson.loads(value)
    except (ValueError, KeyError, RecursionError):
        return None
    return name or None


def text_span(line: Line, field_path: str) -> slice:
    """The span of a field's value in a document's line; with duplicate keys, the last one's.

    Of `{"text": "a"}` and the field `text`, it is 9 to 12: the value with its quotes.
    """
    value = _raw_value(line, field_path)
    # msgspec.Raw is a view into the line: the difference of their addresses is the value's offset.
    start = _address(value) - _address(line)
    span = slice(start, start + memoryview(value).nbytes)
    if not 0 <= start <= span.stop <= len(line):
        raise RuntimeError(f"msgspec.Raw is not a view into the line: {bytes(line[:100])!r}")
    return span


def _address(buffer: Any) -> int:
    address: int = pa.py_buffer(buffer).address
    return address


def replace_text(line: Line, field_path: str, text: str) -> bytes:
    """The line with another text: only the value's bytes change."""
    return text_replacer(line, field_path)(text)


def text_replacer(line: Line, field_path: str) -> Callable[[str], bytes]:
    """What gives the line with another text, for several texts; see `replace_text`."""
    span = text_span(line, field_path)
    before, behind = line[: span.start], line[span.stop :]
    return lambda text: b"".join([before, orjson.dumps(text), behind])
