"""Rows of Parquet read as documents: which columns, which lines, what is rejected or refused."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim_assets.errors import ShardError
from fim_assets.io.hashing import record_file
from fim_assets.raw_shards import rows as rows_module
from fim_assets.raw_shards.documents import RejectionError, read_document
from fim_assets.raw_shards.rejections import RejectedLine
from fim_assets.raw_shards.rows import RowReader
from fim_assets.raw_shards.shard_reader import BLOCK_BYTES, ShardReader
from fim_assets.recipe import Recipe
from fim_assets.recipe.raw import Raw
from fim_assets_tests.corpora import documents, fingerprint, write_shard


@dataclass
class Read:
    """What reading a shard gives: documents without their lines, their lines, and the others."""

    documents: list[tuple[int, str | None, str, str | None, str | None]]
    lines: list[bytes]
    rejected: list[RejectedLine]

    @property
    def objects(self) -> list[Any]:
        """The lines as JSON's readers see them."""
        return [orjson.loads(line) for line in self.lines]

    @property
    def texts(self) -> list[str]:
        """The documents' texts."""
        return [text for _, _, text, *_ in self.documents]

    @property
    def ids(self) -> list[str | None]:
        """The documents' ids."""
        return [identifier for _, identifier, *_ in self.documents]


def read(
    shard: Path | Sequence[Path],
    raw: Raw | None = None,
    block_bytes: int = BLOCK_BYTES,
    *,
    lines: bool = True,
) -> Read:
    found = Read([], [], [])
    with ShardReader(shard, raw or Raw(), block_bytes, lines=lines) as reader:
        for block in reader:
            columns = (block.numbers, block.ids, block.texts, block.languages, block.paths)
            found.documents += zip(*columns, strict=True)
            found.lines += map(bytes, block.lines)
            found.rejected += block.rejected
        assert reader.lines == len(found.documents) + len(found.rejected)
    return found


def write(path: Path, table: pa.Table | dict[str, Any], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table if isinstance(table, pa.Table) else pa.table(table), path, **options)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.parquet"


def refusal(path: Path, raw: Raw | None = None) -> str:
    with pytest.raises(ShardError) as raised:
        read(path, raw)
    message = str(raised.value)
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


def not_utf8(kind: pa.DataType, *values: bytes) -> pa.Array:
    """Strings that are none, as a careless writer leaves them."""
    return pa.Array.from_buffers(kind, len(values), pa.array(values, pa.binary()).buffers())


# Rows as lines


PLAIN = st.one_of(
    st.tuples(st.just(pa.int64()), st.just(st.integers(-(2**63), 2**63 - 1))),
    st.tuples(st.just(pa.uint64()), st.just(st.integers(0, 2**64 - 1))),
    st.tuples(st.just(pa.float64()), st.just(st.floats(allow_nan=False, allow_infinity=False))),
    st.tuples(st.just(pa.bool_()), st.just(st.booleans())),
    st.tuples(st.just(pa.string()), st.just(st.text(max_size=6))),
    st.tuples(st.just(pa.large_string()), st.just(st.text(max_size=6))),
    st.tuples(
        st.just(pa.decimal128(20, 3)),
        st.just(st.integers(-(10**19), 10**19).map(lambda n: Decimal(n).scaleb(-3))),
    ),
)


def in_list(inner: tuple[pa.DataType, Any]) -> tuple[pa.DataType, Any]:
    kind, values = inner
    return pa.list_(kind), st.lists(st.none() | values, max_size=3)


def in_struct(inner: list[tuple[pa.DataType, Any]]) -> tuple[pa.DataType, Any]:
    fields = {f"f{number}": kind for number, (kind, _) in enumerate(inner)}
    values = {f"f{number}": st.none() | of_kind for number, (_, of_kind) in enumerate(inner)}
    return pa.struct(fields), st.fixed_dictionaries(values)


# Arrow's own builder makes invalid arrays of dictionaries in null structs.
DICTIONARIES = st.tuples(
    st.just(pa.dictionary(pa.int32(), pa.string())), st.just(st.sampled_from(["a", "bé"]))
)
KINDS = DICTIONARIES | st.recursive(
    PLAIN,
    lambda inner: inner.map(in_list) | st.lists(inner, min_size=1, max_size=3).map(in_struct),
    max_leaves=4,
)


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    kinds = draw(st.lists(KINDS, max_size=3))
    rows = draw(st.integers(0, 12))
    columns = {"text": pa.array([f"text {row}" for row in range(rows)], pa.string())}
    for number, (kind, values) in enumerate(kinds):
        given_values = draw(st.lists(st.none() | values, min_size=rows, max_size=rows))
        columns[f"c{number}"] = pa.array(given_values, kind)
    return pa.table(columns)


@given(
    table=tables(),
    group=st.integers(1, 12),
    block_bytes=st.integers(1, 100),
    batch_bytes=st.integers(1, 1_000),
    dictionary=st.booleans(),
)
def test_a_row_is_the_object_of_its_values(
    tmp_path_factory: pytest.TempPathFactory,
    table: pa.Table,
    group: int,
    block_bytes: int,
    batch_bytes: int,
    *,
    dictionary: bool,
) -> None:
    path = tmp_path_factory.mktemp("rows") / "a.parquet"
    write(path, table, row_group_size=group, use_dictionary=dictionary)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows_module, "_BATCH_BYTES", batch_bytes)
        found = read(path, block_bytes=block_bytes)
    assert found.objects == orjson.loads(orjson.dumps(table.to_pylist(), default=str))
    assert [list(row) for row in found.objects] == [table.schema.names] * table.num_rows
    whole = read(write(path, table))
    assert (found.documents, found.lines) == (whole.documents, whole.lines)
    assert read(path, block_bytes=block_bytes, lines=False).documents == whole.documents


@pytest.mark.parametrize("lines", [False, True])
def test_the_rows_of_many_batches_and_groups_are_numbered_on(path: Path, *, lines: bool) -> None:
    rows = 5_000
    texts = [f"{number} " + "x" * (number % 700) for number in range(rows)]
    write(path, {"text": texts}, row_group_size=1_999)
    found = read(path, block_bytes=50_000, lines=lines)
    assert found.texts == texts
    assert [number for number, *_ in found.documents] == [*range(1, rows + 1)]
    assert len(found.lines) == (rows if lines else 0)


def test_a_block_is_bounded_by_all_of_its_columns(path: Path) -> None:
    """And by rejected rows too, which are kept whole."""
    texts = ["a" if number % 2 else None for number in range(400)]
    write(path, {"text": texts, "other": ["x" * 10_000] * 400})
    with ShardReader(path, Raw(), 100_000) as reader:
        sizes = [sum(map(len, block.lines)) + 10_000 * len(block.rejected) for block in reader]
    # A block ends behind the batch of 64 rows that fills it.
    assert max(sizes) <= 100_000 + 64 * 10_100
    assert sum(sizes) >= 4_000_000


# Fields


@pytest.mark.parametrize(
    ("field", "column", "value"),
    [
        ("text", "text", "t"),
        ("doc.body.text", "doc", {"body": {"text": "t", "n": 1}, "m": b"\xff"}),
        (r"a\.b", "a.b", "t"),
        (r"a.b\.c", "a", {"b.c": "t", "b": 1}),
        (r"a.\.c", "a", {".c": "t"}),
        (r"a\\b", "a\\b", "t"),
        ("é 🚀", "é 🚀", "t"),
    ],
)
@pytest.mark.parametrize("lines", [False, True])
def test_a_text_is_found_by_its_path(
    path: Path, field: str, column: str, value: Any, *, lines: bool
) -> None:
    write(path, pa.Table.from_pylist([{column: value, "id": 1, "z": 2}, {column: None, "id": 2}]))
    found = read(path, Raw(text_field=field), lines=lines)
    assert found.documents == [(1, "1", "t", None, None)]
    assert [line.reason for line in found.rejected] == ["no_text"]
    if lines:
        expected = {column: value, "id": 1, "z": 2}
        assert found.objects == orjson.loads(orjson.dumps([expected], default=lambda _: "/w=="))


def test_all_fields_may_stand_in_structs(path: Path) -> None:
    row = {"text": "t", "m": {"i": "x", "l": {"name": "Python"}, "p": "a.py"}}
    fields = {"id_field": "m.i", "language_field": "m.l.name", "path_field": "m.p"}
    write(path, pa.Table.from_pylist([row]))
    for lines in (True, False):
        found = read(path, Raw.model_validate(fields), lines=lines)
        assert found.documents == [(1, "x", "t", "Python", "a.py")]


KINDS_OF_TEXT = [
    *(pa.string(), pa.large_string(), pa.string_view()),
    *(pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(4)),
    *(pa.dictionary(pa.int8(), kind) for kind in (pa.string(), pa.large_string(), pa.binary())),
]


def nested(texts: pa.Array) -> pa.Table:
    """Texts in structs, of which the third is null, beside bytes."""
    mask = pa.array([False, False, True])
    inner = pa.StructArray.from_arrays([texts, pa.array([b"\xff"] * 3)], ["text", "b"], mask=mask)
    return pa.table({"doc": pa.StructArray.from_arrays([inner, pa.array([1, 2, 3])], ["in", "n"])})


@pytest.mark.parametrize("kind", KINDS_OF_TEXT, ids=str)
def test_texts_may_be_strings_or_bytes_of_every_layout(path: Path, kind: pa.DataType) -> None:
    as_bytes = ["aé ".encode(), None, b"abcd"]
    as_strings = [text and text.decode() for text in as_bytes]
    texts = pa.array(as_bytes if "binary" in str(kind) else as_strings, kind)
    write(path, {"text": texts})
    flat = read(path)
    assert flat.texts == ["aé ", "abcd"]
    assert flat.objects == [{"text": "aé "}, {"text": "abcd"}]
    assert [(line.line, line.reason) for line in flat.rejected] == [(2, "no_text")]
    write(path, nested(texts))
    in_structs = read(path, Raw(text_field="doc.in.text"))
    assert in_structs.objects == [{"doc": {"in": {"text": "aé ", "b": "/w=="}, "n": 1}}]
    assert [orjson.loads(line.content) for line in in_structs.rejected] == [
        {"doc": {"in": {"text": None, "b": "/w=="}, "n": 2}},
        {"doc": {"in": None, "n": 3}},
    ]


@pytest.mark.parametrize("kind", [pa.string(), pa.binary()], ids=str)
@pytest.mark.parametrize("lines", [False, True])
def test_a_text_that_is_no_utf_8_is_rejected_and_kept(
    path: Path, kind: pa.DataType, *, lines: bool
) -> None:
    texts = not_utf8(kind, b"good", b"ab\xff", b"\xc3\xa9")
    write(path, {"text": texts, "n": [1, 2, 3]})
    found = read(path, lines=lines)
    assert found.texts == ["good", "é"]
    [line] = found.rejected
    # ab ff is 011000 010110 001011 111111: Y W L /.
    assert (line.line, line.reason, line.content) == (2, "not_utf8", b'{"text":"YWL/","n":2}')
    assert line.detail.startswith("byte 3, 0xff")
    write(path, nested(texts))
    deep = read(path, Raw(text_field="doc.in.text"), lines=lines)
    assert (deep.texts, [line.reason for line in deep.rejected]) == (
        ["good"],
        ["not_utf8", "no_text"],
    )


@pytest.mark.parametrize("other", ["v", "doc"])
def test_another_column_that_is_no_utf_8_is_an_error_that_names_it(path: Path, other: str) -> None:
    column = not_utf8(pa.string(), *[b"a"] * 70, b"\xff", *[b"a"] * 9)
    if other == "doc":
        column = pa.StructArray.from_arrays([column], ["x"])
    write(path, {"text": ["t"] * 80, other: column})
    message = refusal(path)
    assert message.startswith(f"rows 65 to 80, column {other}: ")
    assert "raw.keep_fields" in message
    assert len(read(path, Raw(keep_fields=())).texts) == 80


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([7, -1, None]), ["7", "-1", None]),
        (pa.array([2**64 - 1, 0, None], pa.uint64()), [str(2**64 - 1), "0", None]),
        (pa.array([1.5, 1e300, None]), ["1.5", "1e+300", None]),
        (pa.array([Decimal("1.50"), None, None]), ["1.50", None, None]),
        (
            pa.array([bytes(16), None, None], pa.uuid()),
            [f"{'0' * 8}-{'0000-' * 3}{'0' * 12}", None, None],
        ),
        (
            pa.array([0, None, None]).cast(pa.timestamp("ms")),
            ["1970-01-01 00:00:00.000", None, None],
        ),
        (pa.array([b"\xff", None, None]), ["/w==", None, None]),
        (pa.array(["", "x", None]), ["", "x", None]),
    ],
)
def test_an_id_is_a_string_or_a_number_as_it_is_written(
    path: Path, column: pa.Array, expected: list[str | None]
) -> None:
    write(path, {"text": ["a", "b", "c"], "id": column})
    found = read(path)
    assert found.ids == expected
    # A FIM shard's reader finds the same ids in the lines.
    lines = path.with_suffix(".jsonl")
    lines.write_bytes(b"".join(line + b"\n" for line in found.lines))
    assert read(lines).documents == found.documents


@pytest.mark.parametrize("value", [True, [1], {"a": 1}])
def test_an_id_of_another_kind_is_rejected(path: Path, value: Any) -> None:
    write(path, {"text": ["a"], "id": [value]})
    [line] = read(path).rejected
    assert (line.reason, orjson.loads(line.content)) == (
        "id_not_string",
        {"text": "a", "id": value},
    )


def test_fields_but_the_text_may_be_missing_or_of_other_kinds(path: Path) -> None:
    write(path, {"text": ["a"], "metadata": ["no struct"], "id": pa.nulls(1)})
    assert read(path).documents == [(1, None, "a", None, None)]
    write(path, {"text": ["a"]})
    assert read(path, lines=False).documents == [(1, None, "a", None, None)]


# Refused columns


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ({"content": ["x"], "a.b": ["y"], "n": [1]}, r"content, a\.b"),
        ({}, "no text"),
        ({"doc": [[{"text": "x"}]]}, "no text"),
        ({"text": [1], "content": ["x"]}, "int64"),
        ({"text": [["x"]]}, "list"),
        ({"text": pa.array(["{}"], pa.json_())}, "json"),
    ],
)
def test_a_file_without_texts_is_refused_with_the_columns_that_may_be_meant(
    path: Path, columns: dict[str, Any], named: str
) -> None:
    message = refusal(write(path, columns))
    assert "raw.text_field" in message
    assert named in message


def test_a_column_of_nulls_is_one_of_texts_that_are_missing(path: Path) -> None:
    write(path, {"text": pa.nulls(3)})
    assert [line.reason for line in read(path).rejected] == ["no_text"] * 3


def test_columns_of_one_name_are_refused_where_they_go_on(path: Path) -> None:
    names = ["text", "v", "v"]
    write(path, pa.table([pa.array([name]) for name in names], names))
    assert refusal(path).startswith("column v: ")
    assert refusal(path, Raw(keep_fields=("v",))).startswith("column v: ")
    assert read(path, Raw(keep_fields=())).objects == [{"text": "text"}]
    write(path, pa.table([pa.array(["t"])] * 2, ["text", "text"]))
    assert refusal(path, Raw(keep_fields=())).startswith("column text: ")


# raw.keep_fields


ROW = {
    "z": 1,
    "text": "t",
    "text.old": "o",
    "metadata": {"path": "p", "stars": 5, "language": "C"},
    "id": "i",
    "a": [{"x": 1, "y": 2}],
}
META = {"path": "p", "language": "C"}


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (None, ROW),
        ((), {"text": "t", "metadata": META, "id": "i"}),
        (("a", "z"), {"z": 1, "text": "t", "metadata": META, "id": "i", "a": ROW["a"]}),
        (("metadata.stars",), {"text": "t", "metadata": ROW["metadata"], "id": "i"}),
        (("metadata", "text"), {"text": "t", "metadata": ROW["metadata"], "id": "i"}),
        ((r"text\.old",), {"text": "t", "text.old": "o", "metadata": META, "id": "i"}),
    ],
)
def test_fields_that_go_on(path: Path, keep: tuple[str, ...] | None, expected: Any) -> None:
    write(path, pa.Table.from_pylist([ROW, {**ROW, "text": None}]))
    for lines in (True, False):
        found = read(path, Raw(keep_fields=keep), lines=lines)
        [rejected] = found.rejected
        rest = [orjson.loads(rejected.content)]
        assert rest == [{**expected, "text": None}]
        assert [list(row) for row in found.objects + rest] == [list(expected)] * (1 + lines)
        assert found.objects == [expected] * lines


def test_a_kept_name_that_is_part_of_anothers_path_brings_no_other_column(path: Path) -> None:
    write(path, {"a.b": ["x"], "a": [{"b": 1}]})
    assert read(path, Raw(text_field=r"a\.b", keep_fields=())).objects == [{"a.b": "x"}]
    write(path, {"a.b": [1], "a": [{"b": "x"}]})
    assert read(path, Raw(text_field="a.b", keep_fields=())).objects == [{"a": {"b": "x"}}]


def test_the_order_of_columns_is_the_same_in_every_process(path: Path) -> None:
    columns = [f"c{number}" for number in range(9)]
    write(path, {name: ["t"] for name in [*columns, "text", "id"]})
    code = (
        "import sys; from pathlib import Path\n"
        "from fim_assets.raw_shards.shard_reader import ShardReader\n"
        "from fim_assets.recipe.raw import Raw\n"
        "with ShardReader(Path(sys.argv[1]), Raw(keep_fields=sys.argv[2:])) as reader:\n"
        "    [block] = reader\n"
        "print(bytes(block.lines[0]).decode())"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code, str(path), *columns[::-1]],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in "12"
    }
    [line] = printed
    assert list(orjson.loads(line)) == [*columns, "text", "id"]


@pytest.mark.parametrize("name", ["other", "metadata.other", "a.x", "z.z"])
def test_a_kept_field_that_does_not_exist_is_named(path: Path, name: str) -> None:
    write(path, pa.Table.from_pylist([ROW]))
    message = refusal(path, Raw(keep_fields=("z", name)))
    assert message.startswith(f"has no column {name}, which raw.keep_fields names; ")
    assert r"z, text, text\.old" in message


def test_fields_of_lines_are_not_chosen(tmp_path: Path) -> None:
    lines = write_shard(tmp_path / "a.jsonl", documents(2))
    assert "raw.keep_fields" in refusal(lines, Raw(keep_fields=()))
    rows = write(tmp_path / "b.parquet", {"text": ["t"]})
    with pytest.raises(ShardError, match="keep_fields") as raised:
        read([rows, lines], Raw(keep_fields=()))
    assert str(raised.value).startswith(f"{lines}: ")


def test_kept_fields_decide_the_bytes_of_all_stages() -> None:
    kept = [None, (), ("a",)]
    found = {fingerprint(Recipe(raw=Raw(keep_fields=k)), "raw_shards", "") for k in kept}
    assert len(found) == len(kept)


# Rejected rows


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("group", [1, 7, 100, 1_000])
def test_rejected_rows_are_kept_whole(path: Path, group: int, *, lines: bool) -> None:
    """Their other columns are read again where they were not decoded; batches differ in both."""
    bad = {0, 3, 64, 65, 400, 401, 402, 999}
    rows = [
        {"id": n, "text": None if n in bad else f"t{n}", "more": f"{n}" * (n % 90)}
        for n in range(1_000)
    ]
    write(path, pa.Table.from_pylist(rows), row_group_size=group)
    found = read(path, block_bytes=3_000, lines=lines)
    assert {line.line: orjson.loads(line.content) for line in found.rejected} == {
        n + 1: rows[n] for n in bad
    }
    assert found.ids == [str(n) for n in range(1_000) if n not in bad]


def test_max_line_bytes_bounds_the_text_of_a_row_and_nothing_else(path: Path) -> None:
    texts = ["é" * 50, "é" * 50 + "x", "x" * 100, "x" * 101]
    write(path, {"text": texts, "more": ["y" * 2_000] * 4})
    for lines in (True, False):
        found = read(path, Raw(max_line_bytes=100), lines=lines)
        assert found.texts == [texts[0], texts[2]]
        assert [(line.line, line.reason) for line in found.rejected] == [
            (2, "too_long"),
            (4, "too_long"),
        ]
        for line, text in zip(found.rejected, texts[1::2], strict=True):
            whole = orjson.dumps({"text": text, "more": "y" * 2_000})
            digest = blake2b(whole, digest_size=32).hexdigest()
            assert (line.content, line.identity) == (whole[:1_024], (len(whole), digest))


# Several files


def test_rows_and_lines_of_a_group_are_numbered_on(tmp_path: Path) -> None:
    shards = [
        write(tmp_path / "a.parquet", {"text": ["a", None, "b"]}),
        write(tmp_path / "b.parquet", {"text": pa.array([], pa.string())}),
        write_shard(tmp_path / "c.jsonl", [{"text": "c"}, b"no"]),
        write_shard(tmp_path / "d.jsonl", []),
        write(tmp_path / "e.parquet", {"text": ["", "e"]}, row_group_size=1),
        write_shard(tmp_path / "f.jsonl.zst", [{"text": "f"}]),
    ]
    with ShardReader(shards, Raw()) as reader:
        blocks = [*reader]
        totals = reader.totals(0)
        numbers = [n for block in blocks for n in block.numbers]
        assert [text for block in blocks for text in block.texts] == ["a", "b", "c", "e", "f"]
        assert numbers == [1, 3, 4, 7, 8]
        places = [(path.name, line) for path, line in map(reader.place, numbers)]
        assert places == [
            ("a.parquet", 1),
            ("a.parquet", 3),
            ("c.jsonl", 1),
            ("e.parquet", 2),
            ("f.jsonl.zst", 1),
        ]
        rejected = [line for block in blocks for line in block.rejected]
        assert [(line.place or ())[1:] for line in rejected] == [(2,), (2,), (1,)]
        assert [line.line for line in rejected] == [2, 5, 6]
    assert [member.lines for member in totals.members] == [3, 0, 2, 0, 2, 1]
    for member, shard in zip(totals.members, shards, strict=True):
        record = record_file(shard)
        assert (member.name, member.bytes, member.blake2b) == (
            record.name,
            record.bytes,
            record.blake2b,
        )


def test_unjudged_rows_are_the_documents(path: Path) -> None:
    write(path, {"text": ["a", None, "x" * 90], "more": ["y" * 200] * 3})
    with ShardReader(path, Raw(max_line_bytes=100)) as reader:
        found = [*reader.unjudged()]
        # Their lines are longer than the bound, which is one of texts.
        assert all(reader.is_document(line) for _, line in found)
    assert [number for number, _ in found] == [1, 3]


def test_a_file_that_is_written_to_while_it_is_read_is_refused(path: Path) -> None:
    """It is hashed behind its rows, and the hash would be another file's."""
    write(path, {"text": ["a", "b"]})
    os.utime(path, ns=(0, 0))
    reader = ShardReader(path, Raw())
    blocks = iter(reader)
    assert next(blocks).texts == ["a", "b"]
    with path.open("r+b") as file:
        file.write(b"PAR1")
    with reader, pytest.raises(ShardError, match="written to"):
        next(blocks)


def test_a_file_of_no_rows_is_read(path: Path) -> None:
    schema = pa.schema([("text", pa.string())])
    for empty in (schema.empty_table(), None):
        with pq.ParquetWriter(path, schema) as writer:
            if empty is not None:
                writer.write_table(empty)
        assert read(path).documents == []
        assert pq.ParquetFile(path).num_row_groups == (0 if empty is None else 1)


@pytest.mark.parametrize("keep", [None, ()])
def test_a_sample_of_rows_without_texts_shows_what_else_they_hold(
    path: Path, keep: tuple[str, ...] | None
) -> None:
    """Unless nothing else goes on: then the columns are told."""
    write(path, {"content": ["x"] * 70})
    with path.open("rb") as file:
        reader = RowReader(file, path, Raw(keep_fields=keep), lines=True)
        if keep is None:
            assert [*chain.from_iterable(reader.unjudged())] == [b'{"content":"x"}'] * 70
            assert reader.rows == reader.total_rows == 70
        else:
            with pytest.raises(ShardError, match=r"raw.text_field .* content"):
                next(reader.unjudged())


def test_a_sample_of_rows_is_judged_as_they_are(path: Path) -> None:
    """A text that is no UTF-8 is none in its line either, and cuts no line in two."""
    texts = [b"good", b'\xff\n"', b"also \xc3\xa9"]
    write(path, {"text": pa.array(texts, pa.binary()), "id": ["a", "b", "c"]})
    judged: list[str] = []
    with path.open("rb") as file:
        for lines in RowReader(file, path, Raw(), lines=True).unjudged():
            for line in lines:
                assert b"\n" not in line
                try:
                    judged.append(read_document(line, Raw()).text)
                except RejectionError as error:
                    judged.append(error.reason)
    assert judged == ["good", "not_utf8", "also é"]
