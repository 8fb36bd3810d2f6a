import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from fim_assets.errors import ShardError
from fim_assets.io.hashing import FileRecord, HashingWriter
from fim_assets.io.shard_writer import ShardWriter
from fim_assets.raw_shards.documents import (
    MAX_DEPTH,
    Document,
    RejectionError,
    read_document,
    replace_text,
    text_span,
)
from fim_assets.raw_shards.rejections import RejectedLine
from fim_assets.raw_shards.shard_reader import BLOCK_BYTES, ShardReader
from fim_assets.recipe.raw import Raw
from fim_assets_tests.corpora import PACKINGS, documents, json_lines, write_shard

RAW = Raw()

PACKED: dict[str, Callable[[bytes], bytes]] = {"": bytes, **PACKINGS}


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


@dataclass
class Read:
    """Everything that reading a shard gives."""

    rows: list[tuple[int, bytes, str | None, str, str | None]]
    rejected: list[RejectedLine]
    lines: int
    blank: int
    documents: int
    record: FileRecord


def read(path: Path, block_bytes: int = BLOCK_BYTES, fields: Raw = RAW) -> Read:
    rows: list[tuple[int, bytes, str | None, str, str | None]] = []
    rejected: list[RejectedLine] = []
    blank = 0
    with ShardReader(path, fields, block_bytes) as reader:
        for block in reader:
            lines = list(map(bytes, block.lines))
            columns = (block.numbers, lines, block.ids, block.texts, block.languages)
            rows += zip(*columns, strict=True)
            rejected += block.rejected
            blank += block.blank
        assert reader.rejected == len(rejected)
        assert reader.blank == blank
        assert reader.documents == len(rows)
        return Read(rows, rejected, reader.lines, blank, len(rows), reader.totals(0).input)


def read_bytes(folder: Path, data: bytes, block_bytes: int = BLOCK_BYTES) -> Read:
    path = folder / "a.jsonl"
    path.write_bytes(data)
    return read(path, block_bytes)


# Keys


# Packing


@pytest.mark.parametrize("packing", PACKED)
@pytest.mark.parametrize("ending", [".json", ".jsonl"])
def test_every_packing_reads_the_same(tmp_path: Path, ending: str, packing: str) -> None:
    rows = documents(40)
    plain = read_bytes(tmp_path, json_lines(rows))
    assert [(row[2], row[3]) for row in plain.rows] == [(r["id"], r["text"]) for r in rows]
    assert [row[1] for row in plain.rows] == [orjson.dumps(row) for row in rows]
    assert [row[4] for row in plain.rows] == [r["metadata"]["language"] for r in rows]
    packed = read(write_shard(tmp_path / f"b{ending}{packing}", rows))
    assert packed.rows == plain.rows
    assert packed.lines == packed.documents == 40


@pytest.mark.parametrize("packing", PACKED)
def test_the_hash_is_of_the_file_as_it_lies(tmp_path: Path, packing: str) -> None:
    path = write_shard(tmp_path / f"a.jsonl{packing}", documents(30))
    content = path.read_bytes()
    digest = blake2b(content, digest_size=32).hexdigest()
    expected = FileRecord(name=path.name, bytes=len(content), blake2b=digest)
    assert read(path).record == expected
    assert read(path, 100).record == expected


@pytest.mark.parametrize("packing", PACKED)
@pytest.mark.parametrize("pieces", [2, 3, 40])
def test_several_frames_and_members_are_all_read(tmp_path: Path, packing: str, pieces: int) -> None:
    """Cut anywhere, in the middle of lines too, as concatenated shards are."""
    data = json_lines(documents(40))
    cuts = [round(len(data) * piece / pieces) for piece in range(pieces + 1)]
    path = tmp_path / f"a.jsonl{packing}"
    with path.open("wb") as file:
        for begin, end in pairwise(cuts):
            file.write(PACKED[packing](data[begin:end]))
    assert read(path).rows == read_bytes(tmp_path, data).rows
    assert read(path).documents == 40


def test_skippable_zstd_frames_are_skipped(tmp_path: Path) -> None:
    """`pzstd` and seekable zstd write them."""
    frame = zstandard.compress(b'{"text":"a"}\n')
    skippable = (0x184D2A50).to_bytes(4, "little") + (3).to_bytes(4, "little") + b"abc"
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(skippable + frame + skippable + frame)
    assert [row[3] for row in read(path).rows] == ["a", "a"]


def incompressible_lines(count: int) -> bytes:
    source = np.random.default_rng(0)
    return json_lines({"text": source.bytes(500).hex()} for _ in range(count))


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("block_bytes", [1000, BLOCK_BYTES])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_a_truncated_shard_is_refused_with_shard_and_line(
    tmp_path: Path, packing: str, block_bytes: int, share: float
) -> None:
    packed = PACKED[packing](incompressible_lines(500))
    path = tmp_path / f"a.jsonl{packing}"
    path.write_bytes(packed[: int(len(packed) * share)])
    with pytest.raises(ShardError, match=rf"a\.jsonl\{packing}: after line \d+: "):
        read(path, block_bytes)


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("left", [1, 2, 5, 12, -1])
def test_a_truncated_second_frame_is_refused(tmp_path: Path, packing: str, left: int) -> None:
    packed = PACKED[packing](incompressible_lines(10))
    path = tmp_path / f"a.jsonl{packing}"
    path.write_bytes(packed + packed[:left])
    with pytest.raises(ShardError, match=rf"a\.jsonl\{packing}: after line \d+: "):
        read(path)


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_whole_shard_is_not_refused(tmp_path: Path, packing: str) -> None:
    """The other side of the two tests above."""
    packed = PACKED[packing](incompressible_lines(500))
    path = tmp_path / f"a.jsonl{packing}"
    path.write_bytes(packed + packed)
    assert read(path, 1000).documents == 1000


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("content", [b"plain text, not packed\n", b"\x00" * 100])
def test_a_shard_that_is_not_packed_as_named_is_refused(
    tmp_path: Path, packing: str, content: bytes
) -> None:
    path = tmp_path / f"a.jsonl{packing}"
    path.write_bytes(content)
    with pytest.raises(ShardError, match=r"after line 0: "):
        read(path)


@pytest.mark.parametrize("packing", [".gz", ".bz2", ".xz"])
@pytest.mark.parametrize("place", [10, 12, 100, 300, -6])
def test_damage_is_refused_wherever_it_is(tmp_path: Path, packing: str, place: int) -> None:
    """Of these each has a checksum always."""
    packed = bytearray(PACKED[packing](json_lines(documents(200))))
    packed[place] ^= 0xFF
    path = tmp_path / f"a.jsonl{packing}"
    path.write_bytes(packed)
    with pytest.raises(ShardError, match=rf"a\.jsonl\{packing}: after line \d+: "):
        read(path)


def test_zstd_whose_checksum_is_wrong_is_refused(tmp_path: Path) -> None:
    compressor = zstandard.ZstdCompressor(write_checksum=True)
    packed = bytearray(compressor.compress(json_lines(documents(20))))
    packed[-1] ^= 1
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(packed)
    with pytest.raises(ShardError, match=r"a\.jsonl\.zst: after line 0: "):
        read(path)


# Lines


@pytest.mark.parametrize("packing", PACKED)
def test_an_empty_shard_has_no_lines(tmp_path: Path, packing: str) -> None:
    result = read(write_shard(tmp_path / f"a.jsonl{packing}", []))
    assert (result.lines, result.blank, result.rows, result.rejected) == (0, 0, [], [])


@pytest.mark.parametrize(
    ("data", "lines", "blank", "rejected", "documents"),
    [
        (b"\n", 1, 1, 0, 0),
        (b"\n\n\n", 3, 3, 0, 0),
        (b" \t\r\n\r\n", 2, 2, 0, 0),
        (b'{"text":"a"}\n', 1, 0, 0, 1),
        (b'{"text":"a"}', 1, 0, 0, 1),
        (b'{"text":"a"}\n\n', 2, 1, 0, 1),
        (b'{"text":"a"}\n ', 2, 1, 0, 1),
        (b'\n{"text":"a"}\n{"text":""}\nno\n\n{"text":" "}\n', 6, 2, 2, 2),
        (b"\x0b\n\x0c\n\xc2\xa0\n", 3, 0, 3, 0),
    ],
)
def test_every_line_is_counted_once(
    tmp_path: Path, data: bytes, lines: int, blank: int, rejected: int, documents: int
) -> None:
    result = read_bytes(tmp_path, data)
    assert (result.lines, result.blank) == (lines, blank)
    assert (len(result.rejected), result.documents) == (rejected, documents)


LINES = st.sampled_from(
    [
        *(b"", b" ", b"\r", b"\t \r", b"no", b"\xff", b"[]", b"\x0b", b'{"text":""}', b"{}"),
        *(b'{"text":"a"}', b'{"text":"\\n"}', b'{"text":"\xc3\xa9"}\r', b' {"text":" ","id":3}'),
        b'{"text":"' + b"long" * 50 + b'"}',
    ]
)


@settings(max_examples=150, deadline=None)
@given(lines=st.lists(LINES, max_size=12), final_newline=st.booleans(), block=st.integers(1, 300))
def test_nothing_vanishes_whatever_the_block_size(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], final_newline: bool, block: int
) -> None:
    data = b"\n".join(lines) + (b"\n" if final_newline else b"")
    physical = data.count(b"\n") + (not data.endswith(b"\n") and data != b"")
    folder = tmp_path_factory.mktemp("shards")
    result = read_bytes(folder, data, block)
    assert result == read_bytes(folder, data)
    assert result.lines == physical == result.blank + len(result.rejected) + result.documents
    kept = {row[0]: row[1] for row in result.rows} | {r.line: r.content for r in result.rejected}
    split = data.split(b"\n")
    assert all(content == split[number - 1] for number, content in kept.items())


@pytest.mark.parametrize("packing", PACKED)
def test_block_size_does_not_change_documents(tmp_path: Path, packing: str) -> None:
    rows: list[Any] = [*documents(8), b"", b"no", b'{"text":"crlf"}\r', *documents(8, "more")]
    path = write_shard(tmp_path / f"a.jsonl{packing}", rows)
    whole = read(path)
    assert whole.lines == 19
    sizes = [1, 2, 7, 64, 1000, len(json_lines(rows)) - 1, len(json_lines(rows))]
    assert all(read(path, size) == whole for size in sizes)


@pytest.mark.parametrize("packing", PACKED)
def test_long_shards_and_long_lines_do_not_depend_on_block_size(
    tmp_path: Path, packing: str
) -> None:
    """Lines longer than the blocks, and more blocks than one, however large a read is."""
    rows: list[Any] = [{"id": n, "text": f"{n} " * (n % 1000 + 1)} for n in range(1, 3000)]
    rows[2000:2000] = [b"", {"text": "long " * 400_000}, b"no", b"x" * 1_500_000, b""]
    path = write_shard(tmp_path / f"a.jsonl{packing}", rows)
    blocks = {size: read(path, size) for size in (1, 1000, 300_000, 1 << 20, 1 << 30)}
    whole = blocks[1 << 30]
    assert (whole.lines, whole.blank, whole.documents) == (3004, 2, 3000)
    assert [line.line for line in whole.rejected] == [2003, 2004]
    assert [row[1] for row in whole.rows[1999:2002]] == [
        orjson.dumps(rows[number]) for number in (1999, 2001, 2005)
    ]
    assert all(result == whole for result in blocks.values())


def test_crlf_lines_keep_their_carriage_return(tmp_path: Path) -> None:
    result = read_bytes(tmp_path, b'{"text":"a"}\r\n\r\n{"text":"b\\r\\n"}\r\nno\r\n')
    assert [(row[0], row[1], row[3]) for row in result.rows] == [
        (1, b'{"text":"a"}\r', "a"),
        (3, b'{"text":"b\\r\\n"}\r', "b\r\n"),
    ]
    assert result.rejected[0].content == b"no\r"
    assert result.blank == 1


@pytest.mark.parametrize("packing", PACKED)
@pytest.mark.parametrize("block_bytes", [1, 100, BLOCK_BYTES])
def test_a_line_over_the_bound_is_refused_and_known_by_size_and_hash(
    tmp_path: Path, packing: str, block_bytes: int
) -> None:
    """Exactly over it, wherever the pieces end in which it comes, and with what stands around."""
    longest = b'{"text":"' + b"x" * 2_000_000 + b'"}'
    longer = b'{"text":"' + b"y" * 2_000_001 + b'"}'
    much_longer = b"z" * 9_000_000
    rows = [b'{"text":"a"}', longer, longest, b"", much_longer, b'{"text":"b"}', longer]
    path = write_shard(tmp_path / f"a.jsonl{packing}", rows)
    result = read(path, block_bytes, Raw(max_line_bytes=len(longest)))
    assert [(row[0], row[1]) for row in result.rows] == [(1, rows[0]), (3, longest), (6, rows[5])]
    assert (result.lines, result.blank) == (7, 1)
    with ShardReader(path, Raw(max_line_bytes=len(longest)), block_bytes) as reader:
        lines = [(n, bytes(line), reader.is_document(line)) for n, line in reader.unjudged()]
        assert reader.lines == 7
    whether = {1: True, 3: True, 4: False, 6: True}
    assert lines == [(n, rows[n - 1], is_document) for n, is_document in whether.items()]
    for refused, number in zip(result.rejected, (2, 5, 7), strict=True):
        line = rows[number - 1]
        assert json.loads(refused.to_json()) == {
            "line": number,
            "reason": "too_long",
            "detail": f"{len(line):,} bytes, raw.max_line_bytes is {len(longest):,}; "
            "its beginning is kept",
            "bytes": len(line),
            "blake2b": blake2b(line, digest_size=32).hexdigest(),
            "content": line[:1024].decode(),
        }


@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n"])
def test_a_shard_of_one_line_over_the_bound(tmp_path: Path, end: bytes) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"x" * 3_000_000 + end)
    result = read(path, fields=Raw(max_line_bytes=1000))
    assert (result.lines, result.blank, len(result.rejected)) == (max(1, len(end)), len(end) > 1, 1)


def refusal(path: Path, raw: Raw) -> str | None:
    with ShardReader(path, raw) as reader:
        for _ in reader:
            pass
        try:
            reader.refuse_many_rejected()
        except ShardError as error:
            return str(error)
    return None


@pytest.mark.parametrize(
    ("share", "rejected", "refused"),
    [(0.001, 0, False), (0.001, 1, False), (0.001, 2, True), (0, 1, True), (1, 999, False)],
)
def test_a_shard_may_have_as_large_a_share_of_rejected_lines_as_the_recipe_says(
    tmp_path: Path, share: float, rejected: int, *, refused: bool
) -> None:
    """Of lines that are not blank: one of a thousand is a thousandth, two are more."""
    rows = [b"no"] * rejected + documents(1000 - rejected) + [b""] * 500
    path = write_shard(tmp_path / "a.jsonl", rows)
    assert (refusal(path, Raw(max_rejected_share=share)) is not None) == refused


def test_too_many_rejected_lines_are_named_with_their_reasons(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "a.jsonl", [b"no", b"", b"3", *[b"{}"] * 12, *documents(5)])
    message = refusal(path, Raw())
    assert message is not None
    first, *lines = message.split("\n  ")
    assert first == (
        f"{path}: 14 of 19 lines rejected (no_text 12, not_json 1, not_an_object 1), "
        "raw.max_rejected_share is 0.001; mend the shard, or raise raw.max_rejected_share:"
    )
    assert len(lines) == 11
    assert lines[0].startswith("line 1: not_json: ")
    assert lines[1] == "line 3: not_an_object: the line is a JSON number"
    assert lines[2] == "line 4: no_text: text is missing or null"
    assert lines[-1] == "and 4 more"


def test_a_wrong_text_field_is_no_empty_corpus(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "a.jsonl", documents(5))
    message = str(refusal(path, Raw(text_field="txt")))
    assert "5 of 5 lines rejected (no_text 5)" in message
    assert "these lines hold text in text, " in message


def test_a_shard_of_blank_lines_is_not_refused(tmp_path: Path) -> None:
    assert refusal(write_shard(tmp_path / "a.jsonl", [b"", b" "]), Raw()) is None


REJECTED: list[tuple[bytes, str]] = [
    (b"no", "not_json"),
    (b'{"text":"a"', "not_json"),
    (b'{"text":"a"} {"text":"b"}', "not_json"),
    (b'{"text":"a","x":NaN}', "not_json"),
    (b'{"text":"\xff"}', "not_utf8"),
    (b'\xff\xfe{\x00"\x00t', "not_utf8"),
    (b'{"text":"\\ud800"}', "not_json"),
    (b'{"text":"a\tb"}', "not_json"),
    (b'\xef\xbb\xbf{"text":"a"}', "byte_order_mark"),
    (b'["text"]', "not_an_object"),
    (b'"text"', "not_an_object"),
    (b"3", "not_an_object"),
    (b"null", "not_an_object"),
    (b"{}", "no_text"),
    (b'{"text":null}', "no_text"),
    (b'{"Text":"a"}', "no_text"),
    (b'{"text":"a","text":null}', "no_text"),
    (b'{"text":3}', "text_not_string"),
    (b'{"text":["a"]}', "text_not_string"),
    (b'{"text":{"text":"a"}}', "text_not_string"),
    (b'{"text":false}', "text_not_string"),
    (b'{"text":""}', "empty"),
    (b'{"text":"a","text":""}', "empty"),
    (b'{"text":"a","id":true}', "id_not_string"),
    (b'{"text":"a","id":[1]}', "id_not_string"),
    (b'{"text":"a","id":{"a":1}}', "id_not_string"),
]


@pytest.mark.parametrize(("line", "reason"), REJECTED)
def test_a_refused_line_is_kept_with_its_number_and_reason(
    tmp_path: Path, line: bytes, reason: str
) -> None:
    result = read_bytes(tmp_path, b'{"text":"first"}\n\n' + line + b'\n{"text":"last"}\n')
    assert [row[0] for row in result.rows] == [1, 4]
    (refused,) = result.rejected
    assert (refused.line, refused.reason, refused.content) == (3, reason, line)
    row = json.loads(refused.to_json())
    assert (row["line"], row["reason"]) == (3, reason)
    assert row["detail"]
    if b"\xff" in line:
        assert bytes.fromhex(row["content_hex"]) == line
        assert "content" not in row
    else:
        assert row["content"].encode() == line
        assert "content_hex" not in row


def test_every_reason_is_tested() -> None:
    assert {reason for _, reason in REJECTED} == {
        *("not_json", "not_an_object", "no_text", "text_not_string", "empty", "id_not_string"),
        *("not_utf8", "byte_order_mark"),
    }


@pytest.mark.parametrize("text", [" ", "\n", "\t\r\n", "\u3000", "\x00", "\ufeff"])
def test_white_space_alone_is_a_document(text: str) -> None:
    assert read_document(orjson.dumps({"text": text}), RAW) == Document(None, text)


@pytest.mark.parametrize(
    ("written", "identifier"),
    [
        ("1", "1"),
        ("1.50", "1.50"),
        ("-0", "-0"),
        ("1e5", "1e5"),
        ("1E+2", "1E+2"),
        ("0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
        ("12345678901234567890123", "12345678901234567890123"),
        ('"1.50"', "1.50"),
        ('"\\u00e9\\n"', "é\n"),
        ('""', ""),
        ("null", None),
    ],
)
@pytest.mark.parametrize("space", ["", " ", "\t "])
def test_an_id_is_read_as_it_is_written(written: str, identifier: str | None, space: str) -> None:
    line = f'{{"text":"1.50","id":{space}{written}{space},"x":{{"id":7}}}}'
    assert read_document(line.encode(), RAW) == Document(identifier, "1.50")


def test_of_two_ids_the_last_counts() -> None:
    assert read_document(b'{"id":1,"text":"a","id":2.0}', RAW).id == "2.0"


def test_fields_may_lie_deeper() -> None:
    fields = Raw(text_field="a.b.text", id_field="a.n", language_field="lang", path_field="a.p")
    line = b'{"text":"x","a":{"n":1.0,"b":{"text":"deep"},"p":"d/f.c"},"id":"y","lang":"C"}'
    assert read_document(line, fields) == Document("1.0", "deep", "C", "d/f.c")
    for bare in (b'{"a":{"b":"text"}}', b'{"a":[{"b":{"text":"x"}}]}', b'{"a.b.text":"x"}'):
        with pytest.raises(RejectionError) as caught:
            read_document(bare, fields)
        assert caught.value.reason == "no_text"


def test_a_name_may_hold_a_dot() -> None:
    fields = Raw(text_field=r"doc\.text", id_field=r"m.i\.d", language_field=r"meta\.language")
    line = b'{"doc.text":"a","doc":{"text":"b"},"m":{"i.d":7},"meta.language":"C"}'
    assert read_document(line, fields) == Document("7", "a", "C", None)
    expected = line.replace(b'"a"', b'"new"')
    assert replace_text(line, fields.text_field, "new") == expected


@pytest.mark.parametrize("value", ["null", "3", '["C"]', "{}"])
def test_a_language_or_a_path_that_is_no_string_is_none(value: str) -> None:
    line = f'{{"text":"a","metadata":{{"language":{value},"path":{value}}}}}'
    assert read_document(line.encode(), RAW) == Document(None, "a")


def test_no_metadata_is_no_language_and_no_path() -> None:
    assert read_document(b'{"text":"a"}', RAW) == Document(None, "a")
    assert read_document(b'{"text":"a","metadata":"C"}', RAW) == Document(None, "a")


def test_a_block_holds_its_documents_paths(tmp_path: Path) -> None:
    paths = ["a.py", None, "src/b.rs"]
    rows = [{"text": "a", "metadata": {"path": path}} for path in paths]
    with ShardReader(write_shard(tmp_path / "a.jsonl", rows), RAW) as reader:
        assert [block.paths for block in reader] == [paths]


# Splicing


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (b'{"text":"x"}', b'"x"'),
        (b'{"a":1,"text":":1,"}', b'":1,"'),
        (b'{"text":":1,","a":1}', b'":1,"'),
        (b'{"a":"text","text":"text","b":"text"}', b'"text"'),
        (b'{"a":"\\"text\\":\\"x\\"","text":"y"}', b'"y"'),
        (b'{"text":"\\"text\\":\\"x\\""}', b'"\\"text\\":\\"x\\""'),
        (b'{"x":{"text":"inner"},"text":"outer","y":{"text":"inner"}}', b'"outer"'),
        (b'{"text":"first","text":"last"}', b'"last"'),
        (b'{"text":"same","text":"same"}', b'"same"'),
        (b'{"text":1,"text":"last"}', b'"last"'),
        (b'{"te\\u0078t":"escaped name"}', b'"escaped name"'),
        (b'{"text":"first","te\\u0078t":"last"}', b'"last"'),
        (b' { "text"\t:\t "x" , "a" : 1 } \r', b'"x"'),
        (b'{"text":"a\\/b \\u00e9 \\ud83d\\ude80 \\\\"}', b'"a\\/b \\u00e9 \\ud83d\\ude80 \\\\"'),
        ('{"ü":"é","text":"日本🚀","z":"é"}'.encode(), '"日本🚀"'.encode()),
        (b'{"a":12345678901234567890123,"text":"x","b":1.50}', b'"x"'),
    ],
)
def test_only_the_texts_value_is_spliced(line: bytes, value: bytes) -> None:
    span = text_span(line, "text")
    assert line[span] == value
    # Where a value stands twice, the last one counts.
    assert span.start == line.rindex(value) or line.count(value) > 1
    assert json.loads(line)["text"] == json.loads(value)
    spliced = replace_text(line, "text", 'n"é\n')
    assert spliced == line[: span.start] + '"n\\"é\\n"'.encode() + line[span.stop :]
    assert json.loads(spliced) == json.loads(line) | {"text": 'n"é\n'}


def test_of_equal_duplicates_the_last_is_spliced() -> None:
    assert replace_text(b'{"text":"s","text":"s"}', "text", "n") == b'{"text":"s","text":"n"}'


def test_a_deeper_text_is_spliced_where_it_stands() -> None:
    line = b'{"a":{"b":{"text":"x"}},"a":{"text":"x","b":{"c":"x","text": "x" }},"text":"x"}'
    expected = b'{"a":{"b":{"text":"x"}},"a":{"text":"x","b":{"c":"x","text": "n" }},"text":"x"}'
    assert replace_text(line, "a.b.text", "n") == expected


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["text", "a", "é"]), inner, max_size=3)
    ),
    max_leaves=8,
)
MEMBERS = st.lists(st.tuples(st.text(max_size=4).filter(lambda n: n != "text"), JSON), max_size=3)


@settings(max_examples=300, deadline=None)
@given(
    before=MEMBERS,
    after=MEMBERS,
    old=st.text(min_size=1),
    new=st.text(min_size=1),
    spaces=st.sampled_from(["", " ", "\t", "  "]),
    ascii_only=st.booleans(),
    nested=st.booleans(),
)
def test_splicing_changes_the_text_and_nothing_else(
    before: list[tuple[str, object]],
    after: list[tuple[str, object]],
    old: str,
    new: str,
    spaces: str,
    ascii_only: bool,
    nested: bool,
) -> None:
    def write(value: object) -> str:
        return json.dumps(value, ensure_ascii=ascii_only)

    def members(pairs: Iterable[tuple[str, object]]) -> list[str]:
        return [f"{write(name)}{spaces}:{spaces}{write(value)}" for name, value in pairs]

    left, middle, right = members(before), f'"text"{spaces}:{spaces}', members(after)
    head = "{" + "".join(f"{member},{spaces}" for member in left) + middle
    tail = spaces + "".join(f",{member}" for member in right) + "}"
    if nested:
        head, tail = f'{{"text":{write(old)},"doc":{head}', f'{tail},"z":{write(old)}}}'
    line = f"{head}{write(old)}{tail}".encode()
    path = "doc.text" if nested else "text"
    assert read_document(line, Raw(text_field=path)).text == old
    spliced = replace_text(line, path, new)
    assert spliced.startswith(head.encode())
    assert spliced.endswith(tail.encode())
    assert read_document(spliced, Raw(text_field=path)).text == new
    expected = json.loads(line)
    (expected["doc"] if nested else expected)["text"] = new
    assert json.loads(spliced) == expected
    assert replace_text(spliced, path, old) == replace_text(line, path, old)


def splice(line: bytes, frames: int = 0) -> tuple[str, bytes] | str:
    """A line's text and the spliced line, or why it was refused, from below some stack frames."""
    if frames:
        return splice(line, frames - 1)
    try:
        text = read_document(line, RAW).text
    except RejectionError as refused:
        return refused.reason
    return text, replace_text(line, "text", "b")


@pytest.mark.parametrize("depth", [MAX_DEPTH, 1000, 1020, 1030, 10_000, 1_000_000])
@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"a":', b"}")])
def test_a_line_nested_too_deep_is_refused_as_such(
    tmp_path: Path, depth: int, brackets: tuple[bytes, bytes]
) -> None:
    line = b'{"text":"a","x":' + brackets[0] * depth + b"1" + brackets[1] * depth + b"}"
    (refused,) = read_bytes(tmp_path, line).rejected
    assert (refused.reason, refused.content) == ("nested_too_deep", line)


@pytest.mark.parametrize("depth", [1, 100, 500, 850, 900, 1000, 1010, 1020, 1100, 5000])
def test_a_line_is_judged_and_spliced_alike_however_deep_it_and_the_stack_are(depth: int) -> None:
    line = b'{"x":' + b"[" * depth + b"]" * depth + b',"text":"a"}'
    outcome = splice(line)
    assert outcome == ("a", line[:-4] + b'"b"}') or (depth > 100 and isinstance(outcome, str))
    assert splice(line, frames=100) == outcome


# Writing


def written(path: Path, batches: Iterable[Iterable[bytes]]) -> bytes:
    with HashingWriter(path) as file, ShardWriter(file) as writer:
        for batch in batches:
            writer.write(batch)
    content = path.read_bytes()
    path.unlink()
    return content


def unpacked(content: bytes) -> bytes:
    return zstandard.ZstdDecompressor().stream_reader(content, read_across_frames=False).read()


@pytest.mark.parametrize("size", [1, 2, 7, 999, 5000])
def test_bytes_do_not_depend_on_how_lines_are_batched(tmp_path: Path, size: int) -> None:
    """More lines than several of zstd's own blocks hold."""
    lines = incompressible_lines(1000).splitlines() + json_lines(documents(2000)).splitlines()
    whole = written(tmp_path / "a", [lines])
    assert len(whole) > 3 * (128 << 10)
    batches = [lines[begin : begin + size] for begin in range(0, len(lines), size)]
    assert written(tmp_path / "a", [[], *batches, []]) == whole
    assert unpacked(whole) == b"".join(line + b"\n" for line in lines)


@pytest.mark.parametrize("batches", [[[b""], [b"a"]], [[b"a", b""]], [[b"a"], [], [b""]]])
def test_an_empty_line_is_a_line_in_every_batch(tmp_path: Path, batches: list[list[bytes]]) -> None:
    expected = b"".join(line + b"\n" for batch in batches for line in batch)
    assert unpacked(written(tmp_path / "a", batches)) == expected


def test_lines_may_come_from_an_iterator(tmp_path: Path) -> None:
    lines = [b"1", b"22", b"333"]
    assert unpacked(written(tmp_path / "a", [iter(lines)])) == b"1\n22\n333\n"


def test_a_shard_without_lines_is_an_empty_frame(tmp_path: Path) -> None:
    content = written(tmp_path / "a.jsonl.zst", [[], []])
    assert content != b""
    assert unpacked(content) == b""


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    lines = [*json_lines(documents(50)).splitlines(), b'{"text":"crlf"}\r']
    path = tmp_path / "a.jsonl.zst"
    with HashingWriter(path) as file, ShardWriter(file) as writer:
        writer.write(lines)
    result = read(path)
    assert [row[1] for row in result.rows] == lines
    assert result.record == file.record("a.jsonl.zst")
