import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fim_assets.corpus.partition_files import FAILED, PartitionFiles
from fim_assets.corpus.raw_shard import RawShard
from fim_assets.corpus.stage import Totals
from fim_assets.corpus.staging import Staging
from fim_assets.errors import ShardError
from fim_assets.io.locations import parse_url
from fim_assets.io.parquet import ROW_GROUP_ROWS
from fim_assets.io.storage import names_in, read_bytes
from fim_assets.raw_shards.measure import measure, measure_shard
from fim_assets.raw_shards.shard_reader import Documents, TooManyRejectedError
from fim_assets.recipe import Recipe
from fim_assets.recipe.families import Sentinels
from fim_assets.recipe.fim import Fim
from fim_assets.recipe.raw import Raw
from fim_assets.run.partition import Task, run_partition
from fim_assets.run.verify import unlisted_files
from fim_assets_tests.corpora import TOLERANT, documents, open_corpus, partition_files, write_shard
from fim_assets_tests.s3_server import BUCKET, file_system, s3_server

SENTINELS = Recipe().fim.sentinels


def profile(
    folder: Path, rows: list[Any], recipe: Recipe | None = None
) -> tuple[Totals, pl.DataFrame, PartitionFiles]:
    shard = write_shard(folder / "a.jsonl.zst", rows)
    place = partition_files(folder / "raw_shards", "a")
    with Staging(place) as staging:
        totals = measure_shard(shard, recipe or Recipe(raw=TOLERANT), staging)
        staging.publish()
    return totals, pl.read_parquet(place.file(".parquet")), place


@pytest.mark.parametrize(
    ("text", "chars", "size"),
    [
        ("a", 1, 1),
        ("é", 1, 2),
        ("e\u0301", 2, 3),
        ("日本", 2, 6),
        ("🚀", 1, 4),
        ("👩\u200d🚀", 3, 11),
        ("\x00\r\n", 3, 3),
        ("\u2028", 1, 3),
        ("x" * 100_000, 100_000, 100_000),
    ],
)
def test_characters_are_code_points_and_bytes_are_utf8(text: str, chars: int, size: int) -> None:
    assert measure(Documents(texts=[text]), SENTINELS).row(0) == (chars, size, 0)


@pytest.mark.parametrize(
    ("text", "literals"),
    [
        ("no sentinel", 0),
        ("<|fim_prefix|>", 1),
        ("<|fim_prefix|><|fim_prefix|>", 2),
        ("<|fim_middle|> <|fim_suffix|>\n<|fim_prefix|>", 3),
        ("<|fim_prefix>", 0),
        ("<|FIM_PREFIX|>", 0),
        ("fim_prefix", 0),
        ("<|file_sep|><|endoftext|>", 0),
        ("<<|fim_middle|>|>", 1),
    ],
)
def test_sentinels_that_stand_as_text_are_counted(text: str, literals: int) -> None:
    assert measure(Documents(texts=[text]), SENTINELS)["sentinel_literals"].to_list() == [literals]


@pytest.mark.parametrize(
    "sentinels",
    [
        Sentinels("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
        Sentinels("<PRE> ", "\n# MID\t", "[SUF](.*)+?^$\\"),
        Sentinels("~&-#", "a b", "{2}"),
        Sentinels("[PREFIX]", None, "[SUFFIX]", "</s>|."),
    ],
)
def test_a_sentinel_is_no_pattern(sentinels: Sentinels) -> None:
    tokens = [token for token in sentinels if token is not None]
    text = "".join(tokens) + "|".join(token[:-1] for token in tokens)
    assert measure(Documents(texts=[text]), sentinels)["sentinel_literals"].to_list() == [3]


def test_no_document_has_no_row() -> None:
    assert measure(Documents(), SENTINELS).height == 0


def test_every_document_has_its_row(tmp_path: Path) -> None:
    rows: list[Any] = [
        {"id": "x", "text": "é🚀", "metadata": {"language": "Python"}},
        b"",
        {"id": 1.5, "text": "<|fim_prefix|>", "metadata": {"language": None}},
        b"no",
        {"text": " "},
    ]
    totals, frame, _ = profile(tmp_path, rows)
    assert frame.rows(named=True) == [
        {
            "line": 1,
            "id": "x",
            "language": "Python",
            "chars": 2,
            "bytes": 6,
            "sentinel_literals": 0,
        },
        {
            "line": 3,
            "id": "1.5",
            "language": None,
            "chars": 14,
            "bytes": 14,
            "sentinel_literals": 1,
        },
        {
            "line": 5,
            "id": None,
            "language": None,
            "chars": 1,
            "bytes": 1,
            "sentinel_literals": 0,
        },
    ]
    assert (totals.lines, totals.blank, totals.rejected, totals.documents) == (5, 1, 1, 3)
    assert (totals.chars, totals.files, totals.tokens) == (17, None, None)
    assert totals.input.name == "a.jsonl.zst"
    assert totals.input.bytes == (tmp_path / "a.jsonl.zst").stat().st_size


def test_refused_lines_are_kept_in_order(tmp_path: Path) -> None:
    lines = [b"no", b'{"text":""}', b'{"text":"a"}', b"\xff", b"[]\r"]
    _, _, place = profile(tmp_path, lines)
    kept = [json.loads(line) for line in place.file(".rejected.jsonl").read_bytes().splitlines()]
    assert [(row["line"], row["reason"]) for row in kept] == [
        (1, "not_json"),
        (2, "empty"),
        (4, "not_utf8"),
        (5, "not_an_object"),
    ]
    contents = [row["content"].encode() if "content" in row else b"\xff" for row in kept]
    assert contents == [lines[0], lines[1], lines[3], lines[4]]
    assert kept[2]["content_hex"] == "ff"


def test_too_many_refused_lines_are_kept_by_name_until_the_next_run(tmp_path: Path) -> None:
    before = profile(tmp_path, documents(3))[2]
    shard = write_shard(tmp_path / "a.jsonl.zst", [b"no", *documents(3), b'{"text":""}'])
    with pytest.raises(TooManyRejectedError) as caught, Staging(before) as staging:
        measure_shard(shard, Recipe(), staging)
    kept = before.file(FAILED)
    assert f"; the rejected lines are kept in {kept}:" in str(caught.value)
    rows = [json.loads(line) for line in kept.read_bytes().splitlines()]
    assert [(row["line"], row["reason"]) for row in rows] == [(1, "not_json"), (5, "empty")]
    assert sorted(path.name for path in before.local.iterdir()) == ["a.failed.jsonl", "a.parquet"]
    profile(tmp_path, documents(3))
    assert [path.name for path in before.local.iterdir()] == ["a.parquet"]


def test_too_many_refused_lines_are_kept_on_object_storage_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "mine"
    write_shard(root / "raw" / "a.jsonl", [{"content": "text"}] * 3)
    with s3_server(tmp_path / "log") as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        shard, bucket = RawShard(str(root / "raw" / "a.jsonl")), parse_url(f"s3://{BUCKET}/out")
        strict = open_corpus(root, max_rejected_share=0)
        corpus, raw = replace(strict, data_root=bucket), frozenset(["raw_shards"])
        file_system()  # makes the bucket
        failure = run_partition(Task(corpus, "a", shard, raw, frozenset())).failure or ""
        assert f"are kept in s3://{BUCKET}/out/raw_shards/a.failed.jsonl:" in failure
        kept = read_bytes(bucket / "raw_shards" / "a.failed.jsonl")
        assert [json.loads(line)["line"] for line in kept.splitlines()] == [1, 2, 3]
        assert list(unlisted_files(corpus, [])) == []
        write_shard(root / "raw" / "a.jsonl", documents(3))
        assert run_partition(Task(corpus, "a", shard, raw, frozenset())).failure is None
        assert sorted(names_in(bucket / "raw_shards")) == ["a.json", "a.parquet"]
        write_shard(root / "raw" / "a.jsonl", [b"no"])
        nowhere = replace(corpus, data_root=parse_url("s3://no-such-bucket/out"))
        failure = run_partition(Task(nowhere, "a", shard, raw, frozenset())).failure or ""
        assert "1 of 1 line rejected" in failure
        assert "are not kept: " in failure


def test_without_refused_lines_there_is_no_file_of_them(tmp_path: Path) -> None:
    _, _, place = profile(tmp_path, [b"no"])
    assert place.file(".rejected.jsonl").exists()
    _, _, place = profile(tmp_path, documents(3))
    assert sorted(path.name for path in place.folder.iterdir()) == ["a.parquet"]


def test_an_empty_shard_has_an_empty_profile(tmp_path: Path) -> None:
    totals, frame, _ = profile(tmp_path, [])
    assert (totals.lines, totals.documents, totals.chars, frame.height) == (0, 0, 0, 0)
    assert frame.columns == ["line", "id", "language", "chars", "bytes", "sentinel_literals"]


def test_the_recipe_says_where_fields_lie_and_what_sentinels_are(tmp_path: Path) -> None:
    recipe = Recipe(
        raw=Raw(text_field="doc.body", id_field="doc.key", language_field="lang"),
        fim=Fim(fim_prefix_token="PRE"),
    )
    row = {"doc": {"body": "PRE <|fim_prefix|>", "key": 7}, "lang": "C", "text": "x", "id": "y"}
    _, frame, _ = profile(tmp_path, [row], recipe)
    assert frame.row(0) == (1, "7", "C", 18, 18, 1)


def test_more_documents_than_a_row_group_keep_their_order(tmp_path: Path) -> None:
    count = ROW_GROUP_ROWS + 10
    rows = [{"id": n, "text": "x" * (n % 5 + 1)} for n in range(count)]
    totals, frame, _ = profile(tmp_path, rows)
    assert frame["line"].to_list() == list(range(1, count + 1))
    assert frame["id"].to_list() == [str(n) for n in range(count)]
    assert totals.chars == frame["chars"].sum() == sum(n % 5 + 1 for n in range(count))


def test_a_damaged_shard_leaves_nothing(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.jsonl.gz", documents(50))
    shard.write_bytes(shard.read_bytes()[:-9])
    place = partition_files(tmp_path / "raw_shards", "a")
    with pytest.raises(ShardError), Staging(place) as staging:
        measure_shard(shard, Recipe(), staging)
    assert list(place.folder.iterdir()) == []
