"""Partitions of several raw shards, from the manifest through every stage and check."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import orjson
import polars as pl
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import zstandard
from dagster import DagsterInstance

from fim_assets.corpus.corpus import Corpus, list_shards
from fim_assets.corpus.manifest import COLUMNS
from fim_assets.corpus.partition import Partition
from fim_assets.corpus.receipts import Receipt, read_receipt
from fim_assets.definitions import build_definitions
from fim_assets.fim_shards.checks import lossless
from fim_assets.fim_shards.restore import restore_shard
from fim_assets.fim_shards.stage import FIM_SHARDS
from fim_assets.io.hashing import record_file
from fim_assets.recipe import Recipe
from fim_assets.recipe.raw import Raw
from fim_assets.run.partition import Outcome
from fim_assets.run.verify import verify_partitions
from fim_assets.settings import Settings
from fim_assets.stages import ASSETS
from fim_assets_tests.cli.running import run
from fim_assets_tests.corpora import corpus_of, documents, run_all, write_shard
from fim_assets_tests.s3_server import BUCKET, file_system, s3_server

SHARDS = ["a.jsonl.zst", "b.json.gz", "c.jsonl", "d.jsonl"]
ROWS = {name: documents(20 + number, name) for number, name in enumerate(SHARDS)}
FAULTS = {"b.json.gz": [b"not json", b""], "d.jsonl": [b'{"text": ""}']}
"""Lines in front of the documents that are none."""
LINES = {name: len(FAULTS.get(name, [])) + len(rows) for name, rows in ROWS.items()}

RECIPE = Recipe(raw=Raw(documents=("m.tsv",), max_rejected_share=1))


def write_raw(root: Path) -> None:
    """Four shards, of which the third does not end in a line feed."""
    for name, rows in ROWS.items():
        write_shard(root / "raw" / name, [*FAULTS.get(name, []), *rows])
    path = root / "raw" / "c.jsonl"
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))


def write_manifest(root: Path, keys: Sequence[str]) -> None:
    """Pin the four shards, each under a key."""
    rows = [COLUMNS]
    for key, name in zip(keys, SHARDS, strict=True):
        record = record_file(root / "raw" / name)
        rows.append((key, f"raw/{name}", str(record.bytes), "", record.blake2b))
    (root / "m.tsv").write_text("".join("\t".join(row) + "\n" for row in rows), "utf-8")


@pytest.fixture
def grouped(tmp_path: Path) -> Corpus:
    write_raw(tmp_path)
    write_manifest(tmp_path, ["g"] * 4)
    return corpus_of(RECIPE, tmp_path)


def receipt_of(corpus: Corpus, asset: str, key: str = "g") -> Receipt:
    receipt = read_receipt(corpus.files(asset, key))
    assert receipt is not None
    return receipt


def only(outcomes: dict[str, Outcome]) -> Outcome:
    (outcome,) = outcomes.values()
    return outcome


def restored(corpus: Corpus, key: str) -> list[Any]:
    files = corpus.files("fim_shards", key)
    lines = restore_shard(files.file(".jsonl.zst"), files.file(".parquet"))
    return [orjson.loads(line) for line in lines]


def test_a_group_holds_the_documents_of_its_shards_in_order(
    grouped: Corpus, tmp_path: Path
) -> None:
    assert only(run_all(grouped)).failure is None
    write_raw(tmp_path / "alone")
    write_manifest(tmp_path / "alone", ["a", "b", "c", "d"])
    alone = corpus_of(RECIPE, tmp_path / "alone")
    assert {outcome.failure for outcome in run_all(alone).values()} == {None}
    documents = [row for rows in ROWS.values() for row in rows]
    assert restored(grouped, "g") == documents
    assert [row for key in "abcd" for row in restored(alone, key)] == documents
    for asset in ASSETS:
        assert grouped.fingerprint(asset) == alone.fingerprint(asset)
        parts = [receipt_of(alone, asset, key).result for key in "abcd"]
        whole = receipt_of(grouped, asset).result
        assert not any(part.members for part in parts)
        for count in ("lines", "blank", "rejected", "documents"):
            assert getattr(whole, count) == sum(getattr(part, count) for part in parts)


def test_a_line_leads_back_to_its_shard(grouped: Corpus, tmp_path: Path) -> None:
    run_all(grouped)
    for asset in ("raw_shards", "fim_shards"):
        result = receipt_of(grouped, asset).result
        assert [member.name for member in result.members] == SHARDS
        assert [member.lines for member in result.members] == list(LINES.values())
        assert result.lines == sum(LINES.values())
        for member in result.members:
            record = record_file(tmp_path / "raw" / member.name)
            assert (member.bytes, member.blake2b) == (record.bytes, record.blake2b)
    assert receipt_of(grouped, "token_arrays").result.members == ()
    expected, before = [], 0
    for name, rows in ROWS.items():
        first = before + len(FAULTS.get(name, [])) + 1
        expected += [(first + number, row["id"]) for number, row in enumerate(rows)]
        before += LINES[name]
    parquet = grouped.files("raw_shards", "g").file(".parquet")
    assert pl.read_parquet(parquet, columns=["line", "id"]).rows() == expected
    kept = grouped.files("raw_shards", "g").file(".rejected.jsonl").read_bytes().splitlines()
    assert [(row["line"], row["shard"], row["shard_line"]) for row in map(json.loads, kept)] == [
        (LINES["a.jsonl.zst"] + 1, "b.json.gz", 1),
        (before - LINES["d.jsonl"] + 1, "d.jsonl", 1),
    ]


@pytest.mark.usefixtures("grouped")
def test_too_many_rejected_lines_are_told_by_shard_and_line(tmp_path: Path) -> None:
    strict = corpus_of(Recipe(raw=Raw(documents=("m.tsv",))), tmp_path)
    failure = only(run_all(strict)).failure or ""
    first = tmp_path / "raw" / "a.jsonl.zst"
    assert failure.startswith(f"raw_shards: {first} and 3 more: 2 of {sum(LINES.values()) - 1} ")
    assert f"\n  {tmp_path}/raw/b.json.gz, line 1: not_json: " in failure
    assert f"\n  {tmp_path}/raw/d.jsonl, line 1: empty: " in failure


def test_lossless_names_the_shard_of_a_document_that_is_lost(
    grouped: Corpus, tmp_path: Path
) -> None:
    run_all(grouped)
    files = grouped.files("fim_shards", "g")
    shard, parquet = files.file(".jsonl.zst"), files.file(".parquet")
    lines = zstandard.ZstdDecompressor().decompressobj().decompress(shard.read_bytes()).splitlines()
    shard.write_bytes(zstandard.compress(b"".join(line + b"\n" for line in lines[:-1])))
    table = pq.read_table(parquet)
    last = sum(LINES.values())
    pq.write_table(table.filter(pc.field("line") < last), parquet)
    partition = Partition(grouped, "g", list_shards(grouped, tmp_path)["g"], tmp_path)
    check = lossless(partition.opened(FIM_SHARDS, receipt_of(grouped, "fim_shards")))
    place = f"{tmp_path}/raw/d.jsonl: line {LINES['d.jsonl']}"
    assert check.description == f"{place} is not in the FIM shard"


def test_a_damaged_shard_of_a_group_is_named(grouped: Corpus, tmp_path: Path) -> None:
    path = tmp_path / "raw" / "b.json.gz"
    path.write_bytes(path.read_bytes()[:-9])
    write_manifest(tmp_path, ["g"] * 4)
    failure = only(run_all(grouped)).failure or ""
    assert failure.startswith(f"raw_shards: {path}: after line 0: ends inside the gzip member ")


def test_a_shard_of_a_group_that_has_changed_or_is_gone_is_named(
    grouped: Corpus, tmp_path: Path
) -> None:
    path = tmp_path / "raw" / "c.jsonl"
    content = path.read_bytes()
    path.write_bytes(content.swapcase())
    failure = only(run_all(grouped)).failure or ""
    assert failure.startswith(f"raw_shards: {path}: has changed: {tmp_path}/m.tsv, line 4 says bla")
    path.write_bytes(content + b"\n")
    failure = only(run_all(grouped)).failure or ""
    assert failure.startswith(f"raw_shards: {path}: has changed: {tmp_path}/m.tsv, line 4 says byt")
    path.unlink()
    failure = only(run_all(grouped)).failure or ""
    assert failure == f"raw_shards: {path}: is gone; {tmp_path}/m.tsv, line 4 names it"


def test_a_group_is_complete_until_one_of_its_shards_is_another(
    grouped: Corpus, tmp_path: Path
) -> None:
    run_all(grouped)
    again = only(run_all(grouped, skip_complete=True))
    assert [stage.skipped for stage in again.stages] == [True] * 3
    path = tmp_path / "raw" / "d.jsonl"
    shards = list_shards(grouped, tmp_path)
    (verdict,) = verify_partitions(grouped, shards, ["g"], 1)
    assert verdict.faults == []
    write_shard(path, [*FAULTS["d.jsonl"], *reversed(ROWS["d.jsonl"])])
    (verdict,) = verify_partitions(grouped, shards, ["g"], 1)
    (fault,) = verdict.faults
    assert fault.startswith(f"{path}: its content has the hash ")
    write_manifest(tmp_path, ["g"] * 4)
    again = only(run_all(grouped, skip_complete=True))
    assert (again.failure, [stage.skipped for stage in again.stages]) == (None, [False] * 3)
    write_manifest(tmp_path, ["g", "g", "g", "h"])
    (verdict,) = verify_partitions(grouped, list_shards(grouped, tmp_path), ["g"], 1)
    assert verdict.faults == ["g: made of 4 shards, and now it has 3"]


def test_commands_take_a_group_for_one_shard(
    grouped: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIM_DATA_ROOT", str(tmp_path))
    (tmp_path / "r.yaml").write_text("raw: {documents: [m.tsv], max_rejected_share: 1}")
    monkeypatch.setenv("FIM_RECIPE", str(tmp_path / "r.yaml"))
    run_all(grouped)
    assert run("keys").stdout.split() == ["g"]
    assert run("verify").exit_code == 0
    assert run("summary").exit_code == 0
    line = LINES["a.jsonl.zst"] + 4
    shown = run("preview", "g", "--line", str(line), "--no-tokens").stdout.splitlines()
    assert shown[1:3] == [
        f"{tmp_path}/raw/b.json.gz, line 4",
        f"line {line} · id b.json.gz1 · C",
    ]
    by_path = run("preview", str(tmp_path / "raw" / "c.jsonl"), "--no-tokens")
    assert by_path.stdout == run("preview", "g", "--no-tokens").stdout
    rejected = run("preview", "g", "--line", str(line - 3))
    assert f"{tmp_path}/raw/b.json.gz: line 1 is rejected as not_json" in rejected.stderr
    assert f"raw/a.jsonl.zst and 3 more: no line {sum(LINES.values()) + 1};" in (
        run("preview", "g", "--line", str(sum(LINES.values()) + 1)).stderr
    )
    doctor = json.loads(run("doctor", "--json").stdout)
    texts = {finding["part"]: finding["text"] for finding in doctor["findings"]}
    assert texts["shards"].startswith("4 in 1 partition, ")
    assert texts["sample"].startswith("86 documents of 1 shard came through all stages")


def test_dagster_makes_the_partitions_that_a_manifest_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_raw(tmp_path)
    monkeypatch.setenv("FIM_DATA_ROOT", str(tmp_path))
    pattern, manifest = str(tmp_path / "raw" / "*"), str(tmp_path / "m.tsv")
    size = sum((tmp_path / "raw" / name).stat().st_size for name in SHARDS[:3])
    done = run("manifest", "--group", str(size), pattern, "-o", manifest)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[0].startswith("2 partitions of 4 shards, ")
    assert done.stdout.splitlines()[1:] == ["0 kept, 2 new, 0 changed"]
    built = build_definitions(RECIPE, Settings(tmp_path, tmp_path, "test", 2), ())
    made = dg.materialize(
        [asset for asset in built.assets or [] if isinstance(asset, dg.AssetsDefinition)],
        instance=DagsterInstance.ephemeral(),
    )
    assert made.success
    summary = json.loads((tmp_path / "corpus_report" / "summary.json").read_bytes())
    assert summary["partitions"]["complete"] == 2
    assert summary["totals"]["documents"] == sum(map(len, ROWS.values()))
    before = {path: path.read_bytes() for path in (tmp_path / "fim_shards").glob("a.group*")}
    assert len(before) == 3
    shutil.copy(tmp_path / "raw" / "a.jsonl.zst", tmp_path / "raw" / "0.jsonl.zst")
    (tmp_path / "raw" / "d.jsonl").unlink()
    done = run("manifest", "--group", str(size), pattern, "-o", manifest)
    assert done.stdout.splitlines()[1:] == [
        "1 kept, 1 new, 0 changed",
        f"gone     {tmp_path}/raw/d.jsonl",
    ]
    outcomes = run_all(corpus_of(RECIPE, tmp_path), skip_complete=True)
    assert [stage.skipped for stage in outcomes["a.group"].stages] == [True] * 3
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("size", ["0", "100XB"])
def test_a_group_of_no_size_is_wrong_usage(tmp_path: Path, size: str) -> None:
    done = run("manifest", "--group", size, "raw/*", "-o", str(tmp_path / "m.tsv"))
    assert done.exit_code == 2
    assert f"--group '{size}' is no size: 100MB, 64MiB or a number of bytes" in done.stderr


def test_a_manifest_of_groups_is_not_ungrouped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finished partitions would get other keys, and other draws with them."""
    write_raw(tmp_path)
    monkeypatch.setenv("FIM_DATA_ROOT", str(tmp_path))
    pattern, manifest = str(tmp_path / "raw" / "*"), tmp_path / "m.tsv"
    for _ in range(2):
        assert run("manifest", pattern, "-o", str(manifest)).exit_code == 0
    manifest.unlink()
    assert run("manifest", "--group", "1MB", pattern, "-o", str(manifest)).exit_code == 0
    before = manifest.read_bytes()
    refused = run("manifest", pattern, "-o", str(manifest))
    assert refused.exit_code == 2
    assert f"--output {manifest} has groups" in refused.stderr
    assert manifest.read_bytes() == before


def test_groups_of_objects_are_fetched_and_recognised_without_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_raw(tmp_path / "local")
    with s3_server(tmp_path / "log") as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("FIM_DATA_ROOT", str(tmp_path))
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        s3 = file_system()
        # Members of one name in two folders.
        places = ["x/a.jsonl.zst", "y/b.json.gz", "x/one.jsonl", "y/one.jsonl"]
        for name, place in zip(SHARDS, places, strict=True):
            s3.put(str(tmp_path / "local" / "raw" / name), f"{BUCKET}/{place}")
        url = f"s3://{BUCKET}/m.tsv"
        done = run("manifest", "--hash", "--group", "1MB", f"s3://{BUCKET}/*/*", "-o", url)
        assert done.exit_code == 0, done.output
        assert done.stdout.splitlines()[1] == "0 kept, 1 new, 0 changed", done.output
        corpus = corpus_of(Recipe(raw=Raw(documents=(url,), max_rejected_share=1)), tmp_path)
        assert only(run_all(corpus)).failure is None
        members = receipt_of(corpus, "fim_shards", "x__a.group").result.members
        names = ["a.jsonl.zst", "one.jsonl", "b.json.gz", "one.jsonl"]
        assert [member.name for member in members] == names
        fetch = "fim_assets.corpus.raw_shard.fetch"
        with monkeypatch.context() as patch:
            patch.setattr(fetch, lambda *_: pytest.fail("a shard was read"))
            again = only(run_all(corpus, skip_complete=True))
            assert [stage.skipped for stage in again.stages] == [True] * 3
        s3.pipe(f"{BUCKET}/y/one.jsonl", b'{"text": "other"}\n')
        failure = only(run_all(corpus, skip_complete=True)).failure or ""
        assert failure.startswith(f"raw_shards: s3://{BUCKET}/y/one.jsonl: has changed: ")
        s3.pipe(f"{BUCKET}/y/one.jsonl", b"{" * 50)
        run("manifest", "--hash", "--group", "1MB", f"s3://{BUCKET}/*/*", "-o", url)
        strict = corpus_of(Recipe(raw=Raw(documents=(url,))), tmp_path)
        failure = only(run_all(strict)).failure or ""
        assert f"\n  s3://{BUCKET}/y/one.jsonl, line 1: not_json: " in failure
