"""The whole way on object storage, through a server that refuses, cuts and delays some answers."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import s3fs

from fim_assets.corpus_report.write import FILES, write_report
from fim_assets.recipe.raw import Raw
from fim_assets.stages import ASSETS
from fim_assets_tests.corpora import documents, file_bytes, open_corpus, run_all, write_shard
from fim_assets_tests.end_to_end.commands import REPOSITORY, ask, run
from fim_assets_tests.s3_server import BUCKET, file_system, s3_server

MATERIALIZE = "dagster asset materialize -m fim_assets.definitions --select '*'"
KEYS = ["C__a", "C__b", "Python__a", "Python__b"]


@dataclass(frozen=True)
class Stores:
    """The same shards in a folder and in a bucket.

    Attributes:
        folder: Holds `raw/`, and what was made of it on this machine.
        s3: The server; the bucket holds the same `raw/`.
        settings: Of a run in the bucket.
    """

    folder: Path
    s3: s3fs.S3FileSystem
    settings: dict[str, str]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    folder = tmp_path_factory.mktemp("stores")
    for number, key in enumerate(KEYS):
        path = folder / "data" / "raw" / f"{key.replace('__', '/')}.jsonl.zst"
        write_shard(path, documents(60 + 40 * number, key))
    with (
        s3_server(folder / "log", refused=53, cut=61, slow=97) as variables,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in variables.items():
            patch.setenv(name, value)
        s3 = file_system()
        s3.put(str(folder / "data" / "raw"), f"{BUCKET}/raw", recursive=True)
        settings = {
            "FIM_DATA_ROOT": f"s3://{BUCKET}/out",
            "FIM_INPUT_ROOT": f"s3://{BUCKET}",
            "FIM_WORKERS": "1",
            "TMPDIR": str(folder / "tmp"),
        }
        (folder / "tmp").mkdir()
        yield Stores(folder, s3, settings)


def command(stores: Stores, text: str, **settings: str) -> str:
    """Run a command in the bucket, which must end well; what it prints."""
    done = run(text, stores.folder, stores.settings | {"PYTHONPATH": str(REPOSITORY)} | settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def objects(stores: Stores, folder: str) -> dict[str, bytes]:
    """Content of every object below a folder, receipts left out, by path."""
    root = f"{BUCKET}/{folder}/"
    return {
        path.removeprefix(root): stores.s3.cat_file(path)
        for path in stores.s3.find(root)
        if not path.endswith(".json")
    }


def result(content: bytes) -> object:
    return json.loads(content)["result"]


@pytest.fixture(scope="module")
def made(stores: Stores) -> Stores:
    """A range that was materialized in the bucket."""
    shown = command(
        stores, f"{MATERIALIZE} --partition-range {KEYS[0]}...{KEYS[-1]}", FIM_WORKERS="2"
    )
    assert "RUN_SUCCESS" in shown or "Finished execution" in shown
    return stores


def test_bytes_and_receipts_are_those_of_a_local_run_of_one_worker(made: Stores) -> None:
    local = open_corpus(made.folder / "data", max_rejected_share=Raw().max_rejected_share)
    assert [outcome.failure for outcome in run_all(local).values()] == [None] * len(KEYS)
    write_report(local, KEYS)
    for asset in ASSETS:
        folder = made.folder / "data" / asset
        assert objects(made, f"out/{asset}") == file_bytes(folder)
        for key in KEYS:
            there = made.s3.cat_file(f"{BUCKET}/out/{asset}/{key}.json")
            assert result(there) == result((folder / f"{key}.json").read_bytes())
    for name in FILES:
        assert made.s3.exists(f"{BUCKET}/out/corpus_report/{name}")
    page = made.s3.cat_file(f"{BUCKET}/out/corpus_report/report.html")
    assert page.count(b'<article class="example">') == 3
    there = json.loads(made.s3.cat_file(f"{BUCKET}/out/corpus_report/summary.json"))
    here = json.loads((made.folder / "data" / "corpus_report" / "summary.json").read_bytes())
    assert there == here
    assert list((made.folder / "tmp").glob("*/tmp*")) == [], "nothing stays on this machine"


def test_a_range_again_is_skipped_and_everything_verifies(made: Stores) -> None:
    before = {path: made.s3.info(path)["LastModified"] for path in made.s3.find(f"{BUCKET}/out")}
    select = "--select raw_shards,fim_shards,token_arrays"
    again = command(
        made,
        f"dagster asset materialize -m fim_assets.definitions {select} "
        f"--partition-range {KEYS[0]}...{KEYS[-1]}",
    )
    assert "complete already, and skipped: 4 partitions" in again
    after = {path: made.s3.info(path)["LastModified"] for path in made.s3.find(f"{BUCKET}/out")}
    assert after == before
    assert "all agree" in ask("verify", made.settings)
    assert "4 of 4 partitions complete" in ask("summary", made.settings)
    assert "fim_prefix" in ask("preview C__a --no-tokens", made.settings)


def test_a_later_stage_alone_fetches_what_it_needs_and_leaves_nothing_old(made: Stores) -> None:
    stale = f"{BUCKET}/out/token_arrays/C__a-00007.npy"
    made.s3.pipe_file(stale, b"of an earlier run")
    neighbour = f"{BUCKET}/out/token_arrays/C__a-00007x.npy"
    made.s3.pipe_file(neighbour, b"not of this partition")
    before = made.s3.cat_file(f"{BUCKET}/out/token_arrays/C__a-00000.npy")
    command(
        made,
        "dagster asset materialize -m fim_assets.definitions --select token_arrays "
        "--partition C__a",
    )
    assert made.s3.cat_file(f"{BUCKET}/out/token_arrays/C__a-00000.npy") == before
    assert not made.s3.exists(stale)
    assert made.s3.exists(neighbour)
    made.s3.rm_file(neighbour)


def test_a_manifest_pins_the_shards_and_a_changed_one_is_told(made: Stores, tmp_path: Path) -> None:
    manifest = f"s3://{BUCKET}/shards.tsv"
    shown = ask(f"manifest 'raw/**/*.json*' -o {manifest} --hash", made.settings)
    assert shown.startswith("4 shards, ")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"raw: {{documents: ['{manifest}']}}\n")
    pinned = made.settings | {"FIM_RECIPE": str(recipe)}
    assert ask("keys", pinned).split() == KEYS
    assert "4 of 4 partitions complete" in ask("summary", pinned)
    made.s3.pipe_file(f"{BUCKET}/raw/C/b.jsonl.zst", b"other")
    made.s3.rm_file(f"{BUCKET}/raw/Python/a.jsonl.zst")
    failed = run(
        f"{MATERIALIZE} --partition-range {KEYS[0]}...{KEYS[-1]}",
        made.folder,
        pinned | {"PYTHONPATH": str(REPOSITORY)},
    )
    assert failed.returncode == 1
    shown = failed.stdout + failed.stderr
    assert "2 of 4 partitions failed:" in shown
    assert f"C__b: raw_shards: s3://{BUCKET}/raw/C/b.jsonl.zst: has changed: {manifest}, " in shown
    gone = f"Python__a: raw_shards: s3://{BUCKET}/raw/Python/a.jsonl.zst: is gone; {manifest}, "
    assert gone in shown
