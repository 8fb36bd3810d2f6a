"""Values of a Parquet file's columns as JSON has them, one documented form a type.

| Arrow type | JSON |
| :-- | :-- |
| integers, booleans, null | as they are; an integer of any size is exact |
| floats | the shortest number that reads as the same double; `"NaN"`, `"Infinity"`, `"-Infinity"` |
| strings, dictionaries | a string; a dictionary's values |
| decimals | a string with all digits, as Python's `str` of a `Decimal` |
| timestamps | `"2024-01-02 03:04:05.678"`, with the unit's digits; with a zone, in UTC and `Z` |
| dates, times of day | `"2024-01-02"`, `"03:04:05.678"` |
| durations | an integer, in the column's unit |
| binary | a string in base64 |
| UUIDs | a string of hex digits with hyphens |
| other extensions | what they are stored as |
| lists, structs | an array, an object |
| maps | an array of `[key, value]` |
"""

import math
from base64 import b64encode
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.types as kinds

from fim_assets.raw_shards.documents import MAX_DEPTH

_Finish = Callable[[Any], Any]

_OUT_OF_RANGE = "<value out of range"
"""How Arrow begins the text of a time that no calendar has."""


def json_values(column: pa.Array) -> list[Any]:
    """The values as `orjson` takes them, see the module.

    A ValueError is raised if a string is not UTF-8, or a time is out of range.
    """
    column = _cast(column, _as_stored)
    finish = _finish(column.type)
    values: list[Any] = _cast(_cast(column, _in_utc), _as_text).to_pylist()
    return values if finish is None else [_or_same(finish, value) for value in values]


def refused_columns(schema: pa.Schema) -> Iterator[tuple[str, str]]:
    """The columns that have no form in JSON, by name, and why."""
    names = schema.names
    for field in schema:
        if names.count(field.name) > 1:
            yield field.name, "stands there twice"
        elif reason := _refusal(field.type, 1):
            yield field.name, f"{field.type}: {reason}"


def base64(value: bytes) -> str:
    """Bytes as JSON has them."""
    return b64encode(value).decode()


def is_string(kind: pa.DataType) -> bool:
    """Whether a column holds strings, of whatever layout."""
    if kinds.is_dictionary(kind):
        return is_string(kind.value_type)
    return bool(kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind))


def is_binary(kind: pa.DataType) -> bool:
    """Whether a column holds bytes, of whatever layout."""
    if kinds.is_dictionary(kind):
        return is_binary(kind.value_type)
    long = kinds.is_large_binary(kind) or kinds.is_binary_view(kind)
    return bool(long or kinds.is_binary(kind) or kinds.is_fixed_size_binary(kind))


def _is_list(kind: pa.DataType) -> bool:
    listed = kinds.is_list(kind) or kinds.is_large_list(kind)
    return bool(listed or kinds.is_fixed_size_list(kind) or _is_list_view(kind))


def _is_list_view(kind: pa.DataType) -> bool:
    return bool(kinds.is_list_view(kind) or kinds.is_large_list_view(kind))


def _cast(column: pa.Array, leaf: Callable[[pa.DataType], pa.DataType]) -> pa.Array:
    kind = _mapped(column.type, leaf)
    return column if kind == column.type else column.cast(kind)


def _mapped(kind: pa.DataType, leaf: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """A type with others in the places of those that hold no others."""
    if kinds.is_struct(kind):
        return pa.struct([field.with_type(_mapped(field.type, leaf)) for field in kind])
    if kinds.is_map(kind):
        return pa.map_(_mapped(kind.key_type, leaf), _mapped(kind.item_type, leaf))
    if _is_list(kind) and not _is_list_view(kind):
        value = kind.value_field.with_type(_mapped(kind.value_type, leaf))
        if kinds.is_fixed_size_list(kind):
            return pa.list_(value, kind.list_size)
        return pa.large_list(value) if kinds.is_large_list(kind) else pa.list_(value)
    return leaf(kind)


def _as_stored(kind: pa.DataType) -> pa.DataType:
    """Without what stands between Arrow and a column's values."""
    if kinds.is_dictionary(kind):
        return _mapped(kind.value_type, _as_stored)
    if isinstance(kind, pa.BaseExtensionType) and not isinstance(kind, pa.UuidType):
        return _mapped(kind.storage_type, _as_stored)
    return kind


def _in_utc(kind: pa.DataType) -> pa.DataType:
    """Times in UTC, in which they are stored; of one with a zone, Arrow's text may be nonsense.

    It depends on the machine's table of zones, and is not checked for its range.
    """
    return pa.timestamp(kind.unit) if _has_zone(kind) else kind


def _has_zone(kind: pa.DataType) -> bool:
    return kinds.is_timestamp(kind) and kind.tz is not None


def _as_text(kind: pa.DataType) -> pa.DataType:
    """What Python's values would round, as text."""
    if kinds.is_duration(kind):
        return pa.int64()
    return pa.string() if kinds.is_temporal(kind) or kinds.is_decimal(kind) else kind


def _finish(kind: pa.DataType) -> _Finish | None:
    """What makes JSON's value of a type's Python value, None where it is one already."""
    if kinds.is_struct(kind):
        of_fields = [(field.name, finish) for field in kind if (finish := _finish(field.type))]
        return partial(_finish_struct, of_fields) if of_fields else None
    if kinds.is_map(kind):
        of_key, of_item = _finish(kind.key_type), _finish(kind.item_type)
        return lambda pairs: [(_or_same(of_key, k), _or_same(of_item, v)) for k, v in pairs]
    if _is_list(kind):
        of_value = _finish(kind.value_type)
        return of_value and (lambda values: [_or_same(of_value, value) for value in values])
    return next((finish for is_kind, finish in _FINISHES if is_kind(kind)), None)


def _finish_struct(of_fields: list[tuple[str, _Finish]], struct: dict[str, Any]) -> dict[str, Any]:
    return struct | {name: _or_same(finish, struct[name]) for name, finish in of_fields}


def _or_same(finish: _Finish | None, value: Any) -> Any:
    return value if value is None or finish is None else finish(value)


def _finite(number: float) -> float | str:
    return number if math.isfinite(number) else _NOT_FINITE[str(number)]


_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def _in_range(time: str) -> str:
    if time.startswith(_OUT_OF_RANGE):
        raise ValueError(f"{time}: a time that no calendar has")
    return time


_FINISHES: tuple[tuple[Callable[[pa.DataType], bool], _Finish], ...] = (
    (kinds.is_floating, _finite),
    (is_binary, base64),
    (lambda kind: isinstance(kind, pa.UuidType), str),
    (_has_zone, lambda time: f"{_in_range(time)}Z"),
    (lambda kind: kinds.is_temporal(kind) and not kinds.is_duration(kind), _in_range),
)


def _refusal(kind: pa.DataType, depth: int) -> str:
    """Why a type has no form in JSON, '' where it has one."""
    if depth >= MAX_DEPTH:
        return f"nested deeper than {MAX_DEPTH} levels"
    if kinds.is_struct(kind):
        names = [field.name for field in kind]
        if len(set(names)) < len(names):
            return "two fields of a struct have one name"
    elif _is_list_view(kind) and any(
        _mapped(kind.value_type, leaf) != kind.value_type for leaf in (_as_stored, _as_text)
    ):
        return "Arrow cannot convert what it lists"
    inner = (kind.field(number).type for number in range(kind.num_fields))
    return next(filter(None, (_refusal(of_inner, depth + 1) for of_inner in inner)), "")
