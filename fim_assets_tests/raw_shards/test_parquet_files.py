"""Parquet files as they lie on disks: by other writers, with every option, and broken ones."""

import base64
import gzip
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest

from fim_assets.errors import ShardError
from fim_assets.io.other_formats import INSTEAD
from fim_assets.raw_shards.shard_reader import ShardReader
from fim_assets.recipe.raw import Raw
from fim_assets_tests.corpora import documents, parquet

FILES = Path(__file__).parent / "parquet_files"
OLD_FILES = sorted(FILES.glob("pyarrow-*.parquet"))

ROWS = documents(300)
TABLE = pa.Table.from_pylist(ROWS)


def lines_of(path: Path) -> tuple[list[Any], list[Any]]:
    """The documents' lines and the rejected ones, as JSON's readers see them."""
    documents, rejected = [], []
    with ShardReader(path, Raw(max_rejected_share=1)) as reader:
        for block in reader:
            documents += [orjson.loads(line) for line in block.lines]
            rejected += [orjson.loads(line.content) for line in block.rejected]
        reader.totals(0)
    return documents, rejected


def written(**options: Any) -> bytes:
    return parquet(ROWS, **options)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.parquet"


# Other writers


def by_duckdb(path: Path) -> None:
    lines = path.with_suffix(".jsonl")
    lines.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in ROWS))
    duckdb.sql(f"COPY (FROM read_json('{lines}')) TO '{path}' (FORMAT parquet)")


WRITERS: dict[str, Callable[[Path], object]] = {
    "duckdb": by_duckdb,
    "polars": lambda path: pl.DataFrame(ROWS).write_parquet(path),
    "polars by pyarrow": lambda path: pl.DataFrame(ROWS).write_parquet(path, use_pyarrow=True),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_files_of_every_writer_have_the_same_rows(path: Path, writer: str) -> None:
    WRITERS[writer](path)
    assert lines_of(path) == (ROWS, [])


def test_a_file_of_pandas_has_the_rows_that_were_written() -> None:
    """A stored one: where pandas is installed, pyarrow imports it in every process."""
    assert lines_of(FILES / "pandas-3.1.1.parquet") == (ROWS[:40], [])


OPTIONS: list[dict[str, Any]] = [
    *({"version": version} for version in ("1.0", "2.4", "2.6")),
    *({"data_page_version": version} for version in ("1.0", "2.0")),
    *({"compression": name} for name in ("snappy", "gzip", "brotli", "lz4", "zstd", "none")),
    {"use_dictionary": False},
    {"use_dictionary": False, "column_encoding": "DELTA_BYTE_ARRAY"},
    {"use_dictionary": False, "column_encoding": "DELTA_LENGTH_BYTE_ARRAY"},
    {"write_page_checksum": True},
    {"write_page_index": True},
    {"store_schema": False},
    {"row_group_size": 1},
    {"row_group_size": 7, "data_page_size": 100},
    {"write_batch_size": 1, "dictionary_pagesize_limit": 10},
    {"use_byte_stream_split": ["f"], "use_dictionary": False},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_files_of_every_encoding_have_the_same_rows(path: Path, options: dict[str, Any]) -> None:
    numbers = [number / 3 for number in range(len(ROWS))]
    table = TABLE
    if "use_byte_stream_split" in options:
        table = table.append_column("f", pa.array(numbers))
    pq.write_table(table, path, **options)
    assert lines_of(path) == (table.to_pylist(), [])


def test_timestamps_of_spark_keep_their_year(path: Path) -> None:
    seconds = pa.array([253_402_214_400, -62_135_596_800]).cast(pa.timestamp("s"))
    table = pa.table({"text": ["a", "b"], "t": seconds.cast(pa.timestamp("us"))})
    pq.write_table(table, path, use_deprecated_int96_timestamps=True)
    assert [row["t"] for row in lines_of(path)[0]] == [
        "9999-12-31 00:00:00.000000",
        "0001-01-01 00:00:00.000000",
    ]


@pytest.mark.parametrize("old", OLD_FILES, ids=lambda path: path.stem)
def test_files_of_old_versions_have_the_rows_that_were_written(old: Path) -> None:
    nothing = dict.fromkeys("nufdtblc")
    first = {"n": 1, "u": 2**64 - 1, "f": 0.1, "d": "1.50", "t": "2024-01-02 03:04:05.678Z"}
    first |= {"b": "Yf8=", "l": ["x", None], "c": "k"}
    third = {"n": -(2**63), "f": "Infinity", "d": "-0.25", "t": "1969-12-31 23:59:59.000Z"}
    third |= {"b": "", "l": []}
    of_python = {"path": "a.py", "language": "Python"}
    assert lines_of(old) == (
        [
            {"id": "a", "text": "def f():\n    return 1\n", "metadata": of_python, **first},
            {"id": "b", "text": "é 🚀", "metadata": None, **nothing, "u": 0, "c": "k"},
        ],
        [
            {
                "id": None,
                "text": None,
                "metadata": {"path": None, "language": "C"},
                **nothing,
                **third,
            }
        ],
    )


def test_old_files_are_there() -> None:
    assert [path.stem for path in OLD_FILES] == [
        f"pyarrow-{version}" for version in ("12.0.1", "2.0.0", "5.0.0", "8.0.0")
    ]


# Broken files


def refusal(path: Path, content: bytes | bytearray) -> str:
    path.write_bytes(content)
    with pytest.raises(ShardError) as raised:
        lines_of(path)
    message = str(raised.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_a_file_that_is_cut_short_anywhere_is_refused(path: Path) -> None:
    whole = written(row_group_size=100)
    for size in [*range(0, len(whole), 997), *range(12), *range(len(whole) - 12, len(whole))]:
        refusal(path, whole[:size])
    assert "cut short" in refusal(path, whole[:-1])
    assert "cut short" in refusal(path, whole + b"\n")


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        (b"", "0 bytes"),
        (b"<!DOCTYPE html><title>404</title>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (gzip.compress(b"a", mtime=0), "gzip"),
        (json.dumps(ROWS[:2]).encode(), "5b 7b"),
        (b"PAR", "50 41 52"),
        (b"PAR1", "cannot be read as Parquet"),
        (b"PAR1PAR1", "cannot be read as Parquet"),
        (b"PAR1" + b"\xff" * 8 + b"PAR1", "cannot be read as Parquet"),
        (b"PAR1" + bytes(100) + b"PAR1", "cannot be read as Parquet"),
    ],
)
def test_what_is_no_parquet_is_told_by_what_it_is(path: Path, content: bytes, seen: str) -> None:
    message = refusal(path, content)
    assert seen in message
    for what, advice in INSTEAD.values():
        assert advice in message or what not in message


def test_what_is_damaged_in_two_ways_is_no_common_fault(path: Path) -> None:
    pq.write_table(TABLE, path)
    content = path.read_bytes()
    faults = set()
    for damaged in (content[:200] + b"\0" * 300 + content[500:], content[:-40] + content[-30:]):
        path.write_bytes(damaged)
        with pytest.raises(ShardError) as caught:
            lines_of(path)
        faults.add(caught.value.fault)
    assert len(faults) == 2


def test_a_flipped_bit_is_noticed_where_pages_have_checksums(path: Path) -> None:
    options: dict[str, Any] = {"compression": "none", "use_dictionary": False}
    place = written(**options).index(ROWS[200]["text"].encode())
    for checksum in (True, False):
        content = bytearray(written(**options, write_page_checksum=checksum))
        place = content.index(ROWS[200]["text"].encode())
        content[place] ^= 1
        if checksum:
            assert "checksum" in refusal(path, content)
        else:
            # Nobody could know.
            path.write_bytes(content)
            assert len(lines_of(path)[0]) == len(ROWS)


def test_rows_that_a_group_lost_are_noticed(path: Path) -> None:
    """Arrow reads as many as the group's number says; the footer has the number of them all."""
    whole = written()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    # 300 is d8 04 as Thrift writes it: zigzag, seven bits a byte. The group's is behind all else.
    place = whole.rindex(b"\xd8\x04")
    assert whole.index(b"\xd8\x04", footer) < place
    content = bytearray(whole)
    content[place : place + 2] = b"\xd8\x03"  # 236
    message = refusal(path, content)
    assert "236" in message
    assert "300" in message


def encrypted(path: Path, **configuration: Any) -> None:
    class Keys(pe.KmsClient):  # type: ignore[misc]
        """Wraps a key in nothing."""

        def __init__(self, _: object) -> None:
            super().__init__()

        def wrap_key(self, key: bytes, _: str) -> str:
            return base64.b64encode(key).decode()

    properties = pe.CryptoFactory(Keys).file_encryption_properties(
        pe.KmsConnectionConfig(), pe.EncryptionConfiguration(footer_key="f", **configuration)
    )
    with pq.ParquetWriter(path, TABLE.schema, encryption_properties=properties) as writer:
        writer.write_table(TABLE)


@pytest.mark.parametrize("plaintext_footer", [False, True])
@pytest.mark.parametrize("column", ["text", "id"])
def test_encrypted_files_are_refused(path: Path, column: str, *, plaintext_footer: bool) -> None:
    encrypted(path, column_keys={"k": [column]}, plaintext_footer=plaintext_footer)
    assert "without encryption" in refusal(path, path.read_bytes())


def damaged(number: int) -> bytes:
    """A file that was changed somewhere, half of them in the footer."""
    draw = random.Random(number)
    content = bytearray(written(**draw.choice(OPTIONS[:-1]) | {"row_group_size": 100}))
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    begin = draw.choice([4, footer])
    for _ in range(draw.choice([1, 1, 3, 20])):
        content[draw.randrange(begin, len(content))] ^= 1 << draw.randrange(8)
    return bytes(content)


def read_damaged(folder: Path, begin: int, end: int) -> Iterator[str]:
    """What comes of damaged files; each is written first, for a crash leaves no other trace."""
    path = folder / "damaged.parquet"
    for number in range(begin, end):
        path.write_bytes(damaged(number))
        try:
            documents, rejected = lines_of(path)
        except ShardError:
            yield "refused"
        else:
            yield "all rows" if len(documents) + len(rejected) == len(ROWS) else "other rows"


def test_no_damage_crashes_or_loses_a_row(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        f"from {__name__} import read_damaged\n"
        "print(*read_damaged(Path(sys.argv[1]), 0, 400), sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), (tmp_path, done.stderr)
    came = done.stdout.split("\n")[:-1]
    assert set(came) <= {"refused", "all rows"}
    assert came.count("refused") > 100
