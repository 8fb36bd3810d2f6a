import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fim_assets.profile import measure, profile_shard
from fim_assets.receipts import Place, Staging
from fim_assets.recipe import Fim, Raw, Recipe, Sentinels
from fim_assets.shards import Documents, ShardError, Totals
from fim_assets.tables import ROW_GROUP_ROWS
from fim_assets_tests.corpora import TOLERANT, documents, write_shard

SENTINELS = Recipe().fim.sentinels


def profile(
    folder: Path, rows: list[Any], recipe: Recipe | None = None
) -> tuple[Totals, pl.DataFrame, Place]:
    shard = write_shard(folder / "a.jsonl.zst", rows)
    place = Place(folder / "raw_shards", "a")
    with Staging(place) as staging:
        totals = profile_shard(shard, recipe or Recipe(raw=TOLERANT), staging)
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
    place = Place(tmp_path / "raw_shards", "a")
    with pytest.raises(ShardError), Staging(place) as staging:
        profile_shard(shard, Recipe(), staging)
    assert list(place.folder.iterdir()) == []
