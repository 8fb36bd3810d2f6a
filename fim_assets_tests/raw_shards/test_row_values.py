"""Every Arrow type's form in JSON, by values worked out by hand, alone and nested in others."""

import io
import math
import struct
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fim_assets.raw_shards.documents import MAX_DEPTH
from fim_assets.raw_shards.row_values import base64, json_values, refused_columns

DAY = 86_400


def forms(column: pa.Array) -> list[Any]:
    """The values as JSON's readers get them; alone, each is what it is among the others."""
    values = json_values(column)
    assert values == [json_values(column.slice(row, 1))[0] for row in range(len(column))]
    return [orjson.loads(orjson.dumps(value, default=base64)) for value in values]


def of_integers(kind: pa.DataType, *values: int | None) -> pa.Array:
    width = pa.int32() if kind.bit_width == 32 else pa.int64()
    return pa.array(values, width).cast(kind)


@pytest.mark.parametrize("bits", [8, 16, 32, 64])
def test_integers_are_exact(bits: int) -> None:
    signed = pa.array([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, None], f"int{bits}")
    assert forms(signed) == [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, None]
    assert forms(pa.array([0, 2**bits - 1, None], f"uint{bits}")) == [0, 2**bits - 1, None]


@pytest.mark.parametrize(("bits", "code"), [(16, "e"), (32, "f"), (64, "d")])
def test_a_number_reads_as_the_float_that_it_was(bits: int, code: str) -> None:
    kind = {16: pa.float16(), 32: pa.float32(), 64: pa.float64()}[bits]
    values = [struct.unpack(code, struct.pack(code, x))[0] for x in (0.1, -1 / 3, 60_000, 6e-8)]
    column = pa.array([*values, -0.0, math.nan, math.inf, -math.inf, None], kind)
    *read, zero, nan, inf, minus_inf, null = forms(column)
    assert read == values
    assert math.copysign(1, zero) == -1
    assert (nan, inf, minus_inf, null) == ("NaN", "Infinity", "-Infinity", None)


@pytest.mark.parametrize(
    ("kind", "number", "form"),
    [
        (pa.decimal32(5, 2), "-1.50", "-1.50"),
        (pa.decimal64(15, 3), "999999999999.999", "999999999999.999"),
        (pa.decimal128(38, 10), "12345678901234567890.0123456789", None),
        (pa.decimal128(38, 0), "9" * 38, None),
        (pa.decimal128(38, 38), "1E-38", "1E-38"),
        (pa.decimal128(9, 6), "0", "0.000000"),
        (pa.decimal128(10, 10), "0", "0E-10"),
        (pa.decimal128(5, -2), "12300", "1.23E+4"),
        (pa.decimal256(76, 2), "-" + "9" * 74 + ".25", None),
    ],
)
def test_decimals_have_all_their_digits(kind: pa.DataType, number: str, form: str | None) -> None:
    [text, null] = forms(pa.array([Decimal(number), None], kind))
    assert text == (form or number)
    assert (Decimal(text), null) == (Decimal(number), None)


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin", "+05:30"])
@pytest.mark.parametrize(
    ("unit", "a_second", "digits", "before_1970"),
    [
        ("s", 1, "", "1969-12-31 23:59:59"),
        ("ms", 10**3, ".000", "1969-12-31 23:59:59.999"),
        ("us", 10**6, ".000000", "1969-12-31 23:59:59.999999"),
        ("ns", 10**9, ".000000000", "1969-12-31 23:59:59.999999999"),
    ],
)
def test_timestamps_have_their_units_digits_and_are_in_utc(
    unit: str, a_second: int, digits: str, before_1970: str, zone: str | None
) -> None:
    # 2024-01-02 is 54 years, of them 13 leap years, and a day after 1970-01-01.
    seconds = (54 * 365 + 13 + 1) * DAY + 3 * 3600 + 4 * 60 + 5
    column = of_integers(pa.timestamp(unit, zone), seconds * a_second, -1, None)
    end = "" if zone is None else "Z"
    assert forms(column) == [f"2024-01-02 03:04:05{digits}{end}", f"{before_1970}{end}", None]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.timestamp("s"), 2**62),
        (pa.timestamp("s", "UTC"), 2**40),
        (pa.timestamp("ms", "UTC"), -(2**62)),
        (pa.timestamp("us", "America/Lima"), -(2**63)),
        (pa.date32(), 2**31 - 1),
        (pa.list_(pa.timestamp("s")), 2**62),
    ],
)
def test_a_time_that_no_calendar_has_is_refused(kind: pa.DataType, value: int) -> None:
    leaf = kind.value_type if pa.types.is_list(kind) else kind
    column = of_integers(leaf, value)
    if leaf is not kind:
        column = pa.ListArray.from_arrays([0, 1], column)
    with pytest.raises(ValueError, match="no calendar"):
        json_values(column)


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        (pa.date32(), [0, -1, 11_016], ["1970-01-01", "1969-12-31", "2000-02-29"]),
        (pa.date64(), [DAY * 1000, None], ["1970-01-02", None]),
        (pa.time32("s"), [0, DAY - 1], ["00:00:00", "23:59:59"]),
        (pa.time32("ms"), [1, None], ["00:00:00.001", None]),
        (pa.time64("us"), [3_600_000_001], ["01:00:00.000001"]),
        (pa.time64("ns"), [1], ["00:00:00.000000001"]),
        (pa.duration("s"), [-5, None], [-5, None]),
        (pa.duration("ns"), [2**62], [2**62]),
    ],
)
def test_dates_times_and_durations(
    kind: pa.DataType, values: list[int | None], expected: list[Any]
) -> None:
    assert forms(of_integers(kind, *values)) == expected


AWKWARD = ["", 'é 😀 \u2028 \0 "\\', None, "a\r\nb"]


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.dictionary(pa.int8(), pa.string()),
        pa.dictionary(pa.uint32(), pa.large_string()),
    ],
)
def test_strings_and_dictionaries_of_them(kind: pa.DataType) -> None:
    assert forms(pa.array(AWKWARD, kind)) == AWKWARD


def test_dictionaries_are_their_values_whatever_these_are() -> None:
    assert forms(pa.array([7, None, 7]).dictionary_encode()) == [7, None, 7]
    decimals = pa.array([Decimal("1.50"), None]).dictionary_encode()
    assert forms(decimals) == ["1.50", None]


@pytest.mark.parametrize(
    "kind", [pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(2)], ids=str
)
def test_bytes_are_base64(kind: pa.DataType) -> None:
    # 61 ff is 011000 010111 1111(00): Y X 8 =.
    assert forms(pa.array([b"a\xff", None], kind)) == ["Yf8=", None]


def test_booleans_and_nulls() -> None:
    assert forms(pa.array([True, False, None])) == [True, False, None]
    assert forms(pa.nulls(2)) == [None, None]


def of_storage(kind: pa.DataType, storage: pa.Array) -> pa.Array:
    return pa.ExtensionArray.from_storage(kind, storage)


IDENTIFIER = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([IDENTIFIER.bytes, None], pa.uuid()), [str(IDENTIFIER), None]),
        (pa.array(['{"a": 1.50}', None], pa.json_()), ['{"a": 1.50}', None]),
        (of_storage(pa.bool8(), pa.array([1, 0], pa.int8())), [1, 0]),
        (of_storage(pa.opaque(pa.date32(), "d", "v"), of_integers(pa.date32(), 1)), ["1970-01-02"]),
    ],
)
def test_of_extensions_only_uuids_are_more_than_what_they_are_stored_as(
    column: pa.Array, expected: list[Any]
) -> None:
    assert forms(column) == expected
    nested = pa.StructArray.from_arrays([column], ["a"])
    assert forms(nested) == [{"a": value} for value in expected]


LEAVES = [
    (pa.int64(), -1, -1),
    (pa.binary(), b"\xff", "/w=="),
    (pa.timestamp("us", "Asia/Tokyo"), 1, "1970-01-01 00:00:00.000001Z"),
    (pa.float32(), math.nan, "NaN"),
    (pa.decimal128(5, 2), Decimal("1.50"), "1.50"),
    (pa.dictionary(pa.int32(), pa.string()), "a", "a"),
    (pa.duration("s"), 3, 3),
]
IN_LISTS: list[Callable[[pa.DataType], pa.DataType]] = [
    pa.list_,
    pa.large_list,
    lambda kind: pa.list_(kind, 2),
]


def of_file(values: list[Any], kind: pa.DataType) -> pa.Array:
    """A column as it is read: Arrow's reader lays out nulls in its own manner."""
    file = io.BytesIO()
    pq.write_table(pa.table({"v": pa.array(values, kind)}), file)
    [batch] = pq.ParquetFile(file).iter_batches()
    assert batch.column("v").type == kind
    return batch.column("v")


@pytest.mark.parametrize(("leaf", "value", "form"), LEAVES, ids=[str(leaf) for leaf, *_ in LEAVES])
@pytest.mark.parametrize("in_list", IN_LISTS, ids=["list", "large_list", "fixed_size_list"])
def test_types_in_one_another(
    leaf: pa.DataType, value: Any, form: Any, in_list: Callable[[pa.DataType], pa.DataType]
) -> None:
    kind = in_list(leaf)
    assert forms(of_file([[value, None], None, [None, value]], kind)) == [
        [form, None],
        None,
        [None, form],
    ]
    structs = pa.struct([("x", leaf), ("y", kind)])
    given = [{"x": value, "y": None}, None, {"x": None, "y": [value, value]}]
    expected = [{"x": form, "y": None}, None, {"x": None, "y": [form, form]}]
    assert forms(of_file(given, structs)) == expected
    assert forms(of_file([given[:2], None, given[1:]], in_list(structs))) == [
        expected[:2],
        None,
        expected[1:],
    ]
    maps = pa.map_(pa.string(), structs)
    pairs = [[("k", given[0]), ("k", None)], None, []]
    assert forms(of_file(pairs, maps)) == [[["k", expected[0]], ["k", None]], None, []]
    of_keys = pa.map_(leaf, pa.int8())
    assert forms(of_file([[(value, 1)]], of_keys)) == [[[form, 1]]]


@pytest.mark.parametrize("in_view", [pa.list_view, pa.large_list_view])
def test_views_of_lists_hold_what_needs_no_conversion(
    in_view: Callable[[pa.DataType], pa.DataType],
) -> None:
    assert forms(pa.array([["a"], None, []], in_view(pa.string()))) == [["a"], None, []]
    assert forms(pa.array([[b"\xff", None]], in_view(pa.binary()))) == [["/w==", None]]
    times = pa.schema([("t", in_view(pa.timestamp("s"))), ("u", pa.list_(in_view(pa.date32())))])
    assert [name for name, _ in refused_columns(times)] == ["t", "u"]


def test_columns_that_have_no_form_are_named() -> None:
    twice = pa.struct([pa.field("a", pa.int8()), pa.field("a", pa.string())])
    schema = pa.schema(
        [("x", pa.int8()), ("y", pa.list_(twice)), ("z", pa.int8()), ("z", pa.string())]
    )
    assert [name for name, _ in refused_columns(schema)] == ["y", "z", "z"]


def test_columns_are_nested_as_deep_as_lines_may_be() -> None:
    kind = pa.int8()
    for _ in range(MAX_DEPTH - 2):
        kind = pa.list_(kind)
    # The row itself is a level.
    deeper = pa.schema([("fits", kind), ("deeper", pa.list_(pa.list_(kind)))])
    assert [name for name, _ in refused_columns(deeper)] == ["deeper"]


def test_a_string_that_is_no_utf_8_is_an_error() -> None:
    column = pa.Array.from_buffers(pa.string(), 1, pa.array([b"a\xff"]).buffers())
    for nested in (column, pa.ListArray.from_arrays([0, 1], column), column.dictionary_encode()):
        with pytest.raises(ValueError, match="0xff"):
            json_values(nested)
