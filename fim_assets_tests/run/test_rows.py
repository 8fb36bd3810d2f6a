"""A corpus as Parquet and as JSON lines: the same outputs, and what is made of it and its rows."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from fim_assets.corpus.corpus import Corpus, list_shards
from fim_assets.corpus.partition import Partition
from fim_assets.corpus.raw_shard import RawShard, ShardGroup, fetched_names
from fim_assets.corpus.receipts import Receipt, read_receipt
from fim_assets.corpus.stage import CheckOutcome
from fim_assets.fim_shards.checks import lossless
from fim_assets.fim_shards.restore import restore_shard
from fim_assets.fim_shards.stage import FIM_SHARDS
from fim_assets.io.hashing import record_file
from fim_assets.raw_shards.shard_reader import ShardReader
from fim_assets.recipe import Recipe
from fim_assets.recipe.context import Context
from fim_assets.recipe.raw import Raw
from fim_assets.run.verify import verify_partitions
from fim_assets.stages import ASSETS
from fim_assets_tests.cli.running import run
from fim_assets_tests.corpora import corpus_of, documents, file_bytes, run_all, write_shard

ROWS: list[dict[str, Any]] = [
    {**document, "stars": number, "text": None if number in {3, 70} else document["text"]}
    for number, document in enumerate(documents(80))
]
RAW = Raw(documents=("raw/*",), max_rejected_share=1)

RECIPES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "pieces": {"context": {"tokens": 64, "longer": "pieces"}},
    "by language": {"fim": {"fim_rate": {"Python": 1.0, "C": 0.5, "default": 0.0}}},
    "syntax": {"fim": {"fim_rate": 1.0, "split": "syntax"}},
    "masks": {"tokens": {"label_mask": "middle"}},
}


def receipt_of(corpus: Corpus, asset: str) -> Receipt:
    receipt = read_receipt(corpus.files(asset, "a"))
    assert receipt is not None
    return receipt


def succeed(corpus: Corpus) -> None:
    [outcome] = run_all(corpus).values()
    assert outcome.failure is None, outcome.details or outcome.failure


@pytest.mark.parametrize("name", RECIPES)
def test_rows_and_lines_give_the_same_outputs(tmp_path: Path, name: str) -> None:
    recipe = Recipe.model_validate({"raw": RAW, **RECIPES[name]})
    of_lines, of_rows = (corpus_of(recipe, tmp_path / form) for form in ("lines", "rows"))
    write_shard(tmp_path / "lines" / "raw" / "a.jsonl", ROWS)
    shard = write_shard(tmp_path / "rows" / "raw" / "a.parquet", ROWS)
    for corpus in (of_lines, of_rows):
        succeed(corpus)
    for asset in ASSETS:
        assert of_lines.fingerprint(asset) == of_rows.fingerprint(asset)
        files = [file_bytes(tmp_path / form / asset) for form in ("lines", "rows")]
        assert files[0] == files[1]
        assert files[0]
        receipts = [receipt_of(corpus, asset).result for corpus in (of_lines, of_rows)]
        without_input = [receipt.model_copy(update={"input": None}) for receipt in receipts]
        assert without_input[0] == without_input[1]
    assert receipt_of(of_rows, "fim_shards").result.input == record_file(shard)
    kept = (tmp_path / "rows" / "raw_shards" / "a.rejected.jsonl").read_bytes().splitlines()
    assert [(row["line"], row["reason"]) for row in map(json.loads, kept)] == [
        (4, "no_text"),
        (71, "no_text"),
    ]


@pytest.fixture
def made(tmp_path: Path) -> Corpus:
    write_shard(tmp_path / "raw" / "a.parquet", ROWS)
    corpus = corpus_of(Recipe(raw=RAW), tmp_path)
    succeed(corpus)
    return corpus


def check_lossless(corpus: Corpus, folder: Path) -> CheckOutcome:
    partition = Partition(corpus, "a", list_shards(corpus, folder)["a"], folder)
    return lossless(partition.opened(FIM_SHARDS, receipt_of(corpus, "fim_shards")))


LONGER = {**ROWS[0], "text": f"{ROWS[0]['text']}x"}


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        (ROWS, None),
        ([LONGER, *ROWS[1:]], 1),
        ([*ROWS[:5], {**ROWS[5], "stars": 0}, *ROWS[6:]], 6),
        ([*ROWS[:3], {**ROWS[3], "text": "was none"}, *ROWS[4:]], 4),
        ([*ROWS, LONGER], 81),
        ([ROWS[1], ROWS[0], *ROWS[2:]], 1),
        (ROWS[:-1], -1),
    ],
)
def test_lossless_notices_a_row_that_is_another(
    made: Corpus, tmp_path: Path, rows: list[dict[str, Any]], line: int | None
) -> None:
    path = write_shard(tmp_path / "raw" / "a.parquet", rows)
    outcome = check_lossless(made, tmp_path)
    assert outcome.passed == (line is None)
    if line is not None:
        named = f"{path}: line {line}" if line > 0 else "has more documents than"
        assert named in outcome.description


def test_restored_lines_are_the_rows(made: Corpus, tmp_path: Path) -> None:
    with ShardReader(tmp_path / "raw" / "a.parquet", RAW) as reader:
        lines = [bytes(line) for block in reader for line in block.lines]
    assert lines == [orjson.dumps(row) for row in ROWS if row["text"] is not None]
    files = made.files("fim_shards", "a")
    restored = [*restore_shard(files.file(".jsonl.zst"), files.file(".parquet"))]
    assert [bytes(line).rstrip(b"\n") for line in restored] == lines


def test_a_partition_of_rows_is_complete_until_its_file_is_another(
    made: Corpus, tmp_path: Path
) -> None:
    [again] = run_all(made, skip_complete=True).values()
    assert [stage.skipped for stage in again.stages] == [True] * 3
    [verdict] = verify_partitions(made, list_shards(made, tmp_path), ["a"], 1)
    assert verdict.faults == []
    path = write_shard(tmp_path / "raw" / "a.parquet", ROWS[::-1])
    [verdict] = verify_partitions(made, list_shards(made, tmp_path), ["a"], 1)
    [fault] = verdict.faults
    assert fault.startswith(f"{path}: its content has the hash ")
    [again] = run_all(made, skip_complete=True).values()
    assert [stage.skipped for stage in again.stages] == [False] * 3


def test_a_file_that_is_replaced_between_stages_is_noticed(made: Corpus, tmp_path: Path) -> None:
    path = write_shard(tmp_path / "raw" / "a.parquet", ROWS[::-1])
    [outcome] = run_all(made, ["fim_shards"]).values()
    assert outcome.failure is not None
    assert path.name in outcome.failure


def test_fields_that_do_not_go_on_are_in_no_fim_shard(tmp_path: Path) -> None:
    write_shard(tmp_path / "raw" / "a.parquet", ROWS)
    recipe = Recipe(raw=RAW.model_copy(update={"keep_fields": ()}), context=Context(tokens=64))
    corpus = corpus_of(recipe, tmp_path)
    succeed(corpus)
    files = corpus.files("fim_shards", "a")
    restored = map(orjson.loads, restore_shard(files.file(".jsonl.zst"), files.file(".parquet")))
    assert [*restored] == [
        {name: value for name, value in row.items() if name != "stars"}
        for row in ROWS
        if row["text"] is not None
    ]


def test_a_folder_of_parts_is_one_partition_a_part(tmp_path: Path) -> None:
    """As Spark writes a file; what lies beside the parts is none."""
    folder = tmp_path / "raw" / "x.parquet"
    write_shard(folder / "part-0.snappy.parquet", ROWS[:40])
    write_shard(folder / "part-1.snappy.parquet", ROWS[40:])
    for name in ("_SUCCESS", ".part-0.snappy.parquet.crc"):
        (folder / name).touch()
    recipe = Recipe(raw=RAW.model_copy(update={"documents": ("raw/**/*.parquet",)}))
    outcomes = run_all(corpus_of(recipe, tmp_path))
    assert [*outcomes] == ["x.parquet__part-0.snappy", "x.parquet__part-1.snappy"]
    assert [outcome.failure for outcome in outcomes.values()] == [None] * 2


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "r.yaml").write_text("raw: {documents: [raw/*.parquet], max_rejected_share: 1}")
    for name, value in {"DATA_ROOT": tmp_path, "RECIPE": tmp_path / "r.yaml"}.items():
        monkeypatch.setenv(f"FIM_{name}", str(value))
    monkeypatch.delenv("FIM_INPUT_ROOT", raising=False)
    return tmp_path


def test_commands_take_rows_for_lines(settings: Path) -> None:
    path = write_shard(settings / "raw" / "a.parquet", ROWS)
    assert run("keys").stdout.split() == ["a"]
    shown = run("preview", "a", "--line", "2", "--no-tokens")
    assert shown.stdout.splitlines()[1].strip() == "line 2 · id 1 · C", shown.output
    assert run("preview", "a", "--id", "1", "--no-tokens").stdout == shown.stdout
    assert run("preview", str(path), "--line", "2", "--no-tokens").stdout == shown.stdout
    assert "no_text" in run("preview", "a", "--line", "4").stderr
    doctor = json.loads(run("doctor", "--json").stdout)
    texts = {finding["part"]: finding["text"] for finding in doctor["findings"]}
    assert "(1 .parquet)" in texts["shards"]
    assert texts["sample"].startswith("78 documents of 1 shard came through all stages")
    manifest = settings / "m.tsv"
    assert run("manifest", str(path), "-o", str(manifest)).exit_code == 0
    assert record_file(path).blake2b in manifest.read_text()


def test_dagster_makes_partitions_of_rows(settings: Path) -> None:
    write_shard(settings / "raw" / "a.parquet", ROWS)
    arguments = ["asset", "materialize", "-m", "fim_assets.definitions", "--select", "*"]
    done = subprocess.run(
        [sys.executable, "-m", "dagster", *arguments, "--partition", "a"],
        env=os.environ | {"DAGSTER_HOME": str(settings)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert pl.read_parquet(settings / "token_arrays" / "a.parquet").height == 78
    assert run("verify").exit_code == 0
    assert run("summary").exit_code == 0


def test_a_partition_may_hold_rows_and_lines(tmp_path: Path, settings: Path) -> None:
    write_shard(settings / "raw" / "a.parquet", ROWS[:40])
    write_shard(settings / "raw" / "b.jsonl.zst", ROWS[40:])
    done = run("manifest", "--group", "1MB", str(settings / "raw" / "*"), "-o", f"{tmp_path}/m.tsv")
    assert done.exit_code == 0, done.output
    recipe = Recipe(raw=RAW.model_copy(update={"documents": ("m.tsv",)}))
    corpus = corpus_of(recipe, tmp_path)
    [(key, outcome)] = run_all(corpus).items()
    assert outcome.failure is None, outcome.details
    files = corpus.files("fim_shards", key)
    restored = map(orjson.loads, restore_shard(files.file(".jsonl.zst"), files.file(".parquet")))
    assert [*restored] == [row for row in ROWS if row["text"] is not None]
    receipt = read_receipt(files)
    assert receipt is not None
    assert [(m.name, m.lines) for m in receipt.result.members] == [
        ("a.parquet", 40),
        ("b.jsonl.zst", 40),
    ]
    kept = (tmp_path / "raw_shards" / f"{key}.rejected.jsonl").read_bytes().splitlines()
    assert [(row["shard"], row["shard_line"]) for row in map(json.loads, kept)] == [
        ("a.parquet", 4),
        ("b.jsonl.zst", 31),
    ]


def test_the_folder_of_a_file_names_the_language_of_starcoderdata(tmp_path: Path) -> None:
    """Rows that have one keep theirs; the name goes on as the column that the schema names."""
    texts = [f"static void f{number}() {{ g({number}, {number}); }}\n" for number in range(60)]
    for folder, lang in (("c-sharp", None), ("python", None), ("haskell", "C#")):
        path = tmp_path / "raw" / folder / "train-0.parquet"
        path.parent.mkdir(parents=True)
        languages = {} if lang is None else {"lang": [lang] * len(texts)}
        pl.DataFrame({"content": texts, **languages}).write_parquet(path)
    recipe = Recipe.model_validate(
        {
            "raw": {"documents": ("raw/**/*.parquet",), "schema": "starcoderdata"},
            "fim": {"fim_rate": {"default": 0.0, "C#": 1.0}},
        }
    )
    corpus = corpus_of(recipe, tmp_path)
    for outcome in run_all(corpus).values():
        assert outcome.failure is None
    found = {}
    for key in ("c-sharp__train-0", "python__train-0", "haskell__train-0"):
        made = {asset: read_receipt(corpus.files(asset, key)) for asset in ASSETS}
        raw, fim, tokens = (receipt.result.counts for receipt in made.values() if receipt)
        [language] = [name for name in raw if name.startswith("documents:")]
        rearranged = fim["psm"] + fim["spm"]
        found[key] = language.partition(":")[2], rearranged
        assert language.replace("documents", "tokens") in tokens
    assert found == {
        "c-sharp__train-0": ("c-sharp", 60),
        "python__train-0": ("python", 0),
        "haskell__train-0": ("C#", 60),
    }
    line = next(restored_lines(corpus, "c-sharp__train-0"))
    assert orjson.loads(line) == {"content": texts[0], "lang": "c-sharp"}


def restored_lines(corpus: Corpus, key: str) -> Iterator[bytes]:
    files = corpus.files("fim_shards", key)
    return restore_shard(files.file(".jsonl.zst"), files.file(".parquet"))


def test_a_fetched_file_lies_in_a_folder_of_its_folders_name(tmp_path: Path) -> None:
    shards = [RawShard(f"s3://bucket/data/{name}/train.parquet") for name in ("c-sharp", "python")]
    for shard in (shards[0], ShardGroup(tuple(shards))):
        names = [Path(path) for path, _ in fetched_names(shard, tmp_path)]
        assert len({*names}) == len(shard.members)
        assert [path.parent.name for path in names] == ["c-sharp", "python"][: len(names)]
