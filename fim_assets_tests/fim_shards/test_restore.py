import bz2
import gzip
import lzma
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from fim_assets.corpus.staging import Staging
from fim_assets.errors import ShardError, UserError
from fim_assets.fim_shards.restore import count_record, restore_shard, write_lines
from fim_assets.fim_shards.transform import transform_shard
from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import Fim
from fim_assets_tests.corpora import TOLERANT, documents, json_lines, partition_files, write_shard

LAWS: dict[str, dict[str, Any]] = {
    "dolma": {},
    "v2, parts may be empty": {"spm_format": "v2", "split": "uniform"},
    "no middle token": {"sentinels": "codestral", "psm_spm_split": 0},
    "end token": {"sentinels": "code-llama"},
    "no separator": {"file_separator_token": None},
    "lines": {"split": "lines", "split_fallback": "uniform"},
}


def transform(folder: Path, rows: list[Any], fim: Fim) -> tuple[Path, Path]:
    """A FIM shard and its parquet."""
    files = partition_files(folder / "fim", "a")
    with Staging(files) as staging:
        transform_shard(
            write_shard(folder / "a.jsonl", rows), 7, Recipe(raw=TOLERANT, fim=fim), staging
        )
        staging.publish()
    return files.file(".jsonl.zst"), files.file(".parquet")


def rewrite(parquet: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    table = pq.read_table(parquet)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), parquet)


@pytest.mark.parametrize("law", LAWS)
def test_every_document_comes_back(tmp_path: Path, law: str) -> None:
    """Texts are equal, and since orjson wrote the rows, so are the bytes of their lines."""
    rows = documents(300)
    fim = Fim.model_validate({"fim_rate": 0.8, **LAWS[law]})
    shard, parquet = transform(tmp_path, rows, fim)
    assert zstandard.ZstdDecompressor().decompressobj().decompress(
        shard.read_bytes()
    ) != json_lines(rows)
    restored = list(restore_shard(shard, parquet))
    assert [orjson.loads(line)["text"] for line in restored] == [row["text"] for row in rows]
    assert b"".join(line + b"\n" for line in restored) == json_lines(rows)


def test_lines_unchanged_are_as_they_came(tmp_path: Path) -> None:
    odd = b' {"z": 1.50, "n":12345678901234567890123, "text":"caf\\u00e9 \\/ tail" , "a":{}}\r'
    shard, parquet = transform(tmp_path, [odd], Fim(fim_rate=0))
    assert list(restore_shard(shard, parquet)) == [odd]
    assert list(restore_shard(str(shard), str(parquet))) == [odd]
    (tmp_path / "always").mkdir()
    shard, parquet = transform(tmp_path / "always", [odd], Fim(fim_rate=1))
    assert list(restore_shard(shard, parquet)) == [
        odd.replace(b"caf\\u00e9 \\/", "café /".encode())
    ]


def test_counts_by_hand_and_what_no_fim_shard_holds(tmp_path: Path) -> None:
    """Three files, of which the first is empty and the second too short; then a blank line, one
    that is refused, and another document."""
    rows = [
        {"id": "x", "text": "<|file_sep|>abcd<|file_sep|>0123456789"},
        b"",
        b"not json",
        {"text": "0123456789"},
    ]
    shard, parquet = transform(tmp_path, rows, Fim(fim_rate=1))
    assert count_record(parquet) == (2, 2)
    assert list(restore_shard(shard, parquet)) == [orjson.dumps(rows[0]), orjson.dumps(rows[3])]


def test_no_document(tmp_path: Path) -> None:
    shard, parquet = transform(tmp_path, [], Fim())
    assert count_record(parquet) == (0, 0)
    assert list(restore_shard(shard, parquet)) == []


def lengthen_prefix(rows: list[dict[str, Any]]) -> None:
    rows[3]["prefix_chars"] += 1


def swap_order(rows: list[dict[str, Any]]) -> None:
    rows[3]["order"] = "spm" if rows[3]["order"] == "psm" else "psm"


def forget_a_character(rows: list[dict[str, Any]]) -> None:
    rows[3]["suffix_chars"] -= 1


def forget_the_rearranging(rows: list[dict[str, Any]]) -> None:
    rows[3]["order"] = "none"


@pytest.mark.parametrize(
    "damage", [lengthen_prefix, swap_order, forget_a_character, forget_the_rearranging]
)
def test_disagreement_names_both_and_the_line(
    tmp_path: Path, damage: Callable[[list[dict[str, Any]]], None]
) -> None:
    rows = [{"text": f"{number:05d}-abcdefgh"} for number in range(5)]
    shard, parquet = transform(tmp_path, [b"refused", *rows], Fim(fim_rate=1))
    rewrite(parquet, damage)
    lines = restore_shard(shard, parquet)
    assert [next(lines) for _ in range(3)] == [orjson.dumps(row) for row in rows[:3]]
    with pytest.raises(ShardError) as raised:
        next(lines)
    assert str(raised.value).startswith(
        f"{shard} and {parquet} disagree at line 4 of the FIM shard, if it is one: "
    )


def test_an_order_that_is_none(tmp_path: Path) -> None:
    shard, parquet = transform(tmp_path, documents(3), Fim(fim_rate=1))
    rewrite(parquet, lambda rows: rows[0].update(order="msp"))
    with pytest.raises(ShardError, match="line 1 of the FIM shard, if it is one: msp is no"):
        list(restore_shard(shard, parquet))


def test_nulls_in_the_record(tmp_path: Path) -> None:
    shard, parquet = transform(tmp_path, documents(3), Fim(fim_rate=1))
    rewrite(parquet, lambda rows: rows[0].update(prefix_chars=None))
    with pytest.raises(ShardError, match=r"a\.parquet: prefix_chars holds nulls"):
        list(restore_shard(shard, parquet))


@pytest.mark.parametrize("change", [{}, {b"fim_assets.fim": b'{"nope": 1}'}])
def test_a_record_without_recipe(tmp_path: Path, change: dict[bytes, bytes]) -> None:
    shard, parquet = transform(tmp_path, documents(3), Fim())
    table = pq.read_table(parquet)
    metadata = {b"fim_assets.format": b"2", **change}
    pq.write_table(table.replace_schema_metadata(metadata), parquet)
    with pytest.raises(ShardError, match=r"a\.parquet: its metadata hold no recipe"):
        list(restore_shard(shard, parquet))


def test_a_record_of_more_or_fewer_columns(tmp_path: Path) -> None:
    """Columns that nobody needs for the inverse may come and go; one that is needed is named."""
    rows = documents(30)
    shard, parquet = transform(tmp_path, rows, Fim(fim_rate=1))
    table = pq.read_table(parquet)
    pq.write_table(table.drop_columns(["language", "split", "reason"]), parquet)
    restored = [orjson.loads(line)["text"] for line in restore_shard(shard, parquet)]
    assert restored == [row["text"] for row in rows]
    pq.write_table(table.drop_columns(["middle_chars"]), parquet)
    with pytest.raises(ShardError, match="middle_chars"):
        list(restore_shard(shard, parquet))


def test_fewer_rows(tmp_path: Path) -> None:
    shard, parquet = transform(tmp_path, documents(9), Fim())
    rewrite(parquet, lambda rows: rows.pop())
    with pytest.raises(ShardError, match="fewer documents"):
        list(restore_shard(shard, parquet))


@pytest.mark.parametrize("read", [count_record, lambda p: list(restore_shard(p, p))])
def test_parquet_that_is_none(tmp_path: Path, read: Callable[[Path], object]) -> None:
    path = tmp_path / "a.parquet"
    with pytest.raises(ShardError, match=r"a\.parquet: cannot be read"):
        read(path)
    path.write_bytes(b"no parquet")
    with pytest.raises(ShardError, match=r"a\.parquet: cannot be read"):
        read(path)


def test_parquet_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"line": [1]}), path)
    with pytest.raises(ShardError, match="cannot be read as a FIM record"):
        count_record(path)


@pytest.mark.parametrize(
    ("name", "unpack"),
    [
        ("a.jsonl.zst", lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data)),
        ("a.jsonl.gz", gzip.decompress),
        ("a.jsonl.bz2", bz2.decompress),
        ("a.jsonl.xz", lzma.decompress),
        ("a.jsonl", bytes),
        ("a", bytes),
    ],
)
def test_written_as_the_name_ends(
    tmp_path: Path, name: str, unpack: Callable[[bytes], bytes]
) -> None:
    output = tmp_path / name
    write_lines([b"one", b"two\r"], output)
    assert unpack(output.read_bytes()) == b"one\ntwo\r\n"
    assert list(tmp_path.iterdir()) == [output]


def test_gzip_is_without_time_and_name(tmp_path: Path) -> None:
    write_lines([b"one"], tmp_path / "a.gz")
    data = (tmp_path / "a.gz").read_bytes()
    assert data[4:8] == bytes(4)
    assert not data[3] & 0b1000


def test_never_overwrites(tmp_path: Path) -> None:
    output = tmp_path / "a.jsonl"
    output.write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"a\.jsonl is there already"):
        write_lines([b"one"], output)
    assert output.read_bytes() == b"mine"


def test_lines_are_not_written_under_the_name_of_parquet(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="named as Parquet"):
        write_lines([b"one"], tmp_path / "a.parquet")
    assert not list(tmp_path.iterdir())


def test_does_not_overwrite_what_came_meanwhile(tmp_path: Path) -> None:
    output = tmp_path / "a.jsonl"

    def lines() -> Iterator[bytes]:
        yield b"one"
        output.write_bytes(b"mine")

    with pytest.raises(FileExistsError, match=r"a\.jsonl is there already"):
        write_lines(lines(), output)
    assert output.read_bytes() == b"mine"
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst", "a.jsonl.xz"])
def test_failure_leaves_nothing(tmp_path: Path, name: str) -> None:
    def lines() -> Iterator[bytes]:
        yield b"one"
        assert not (tmp_path / name).exists()
        raise ShardError("damaged")

    with pytest.raises(ShardError):
        write_lines(lines(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        write_lines([], tmp_path / "nowhere" / "a.jsonl")
