"""The whole way from a dataset on the Hub, through the commands that a person types."""

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fim_assets.corpus_report.write import write_report
from fim_assets.recipe.raw import Raw
from fim_assets.stages import ASSETS
from fim_assets_tests.corpora import documents, file_bytes, open_corpus, run_all, write_shard
from fim_assets_tests.end_to_end.commands import REPOSITORY, run
from fim_assets_tests.hub_server import COMMIT, TOKEN, Hub, Repository, hub_server

KEYS = ["C__a", "Python__a", "Python__b"]
NAMES = ["C/a.jsonl.zst", "Python/a.jsonl.gz", "Python/b.jsonl.zst"]
DATASET = f"hf://datasets/org/code@{COMMIT}"
GLOB = "data/**/*.jsonl*"


_ASK = """
import json, shlex, sys
from click.testing import CliRunner
from fim_assets.cli.main import main
shown = []
for command in json.loads(sys.argv[1]):
    done = CliRunner().invoke(main, shlex.split(command))
    assert done.exit_code == 0, f"{command}: {done.output}"
    shown.append(done.output)
print(json.dumps(shown))
"""


_AGAIN = """
import json
from fim_assets.open_corpus import open_corpus
from fim_assets.recipe import load_recipe
from fim_assets.settings import Settings
from fim_assets_tests.corpora import run_all
settings = Settings.from_environment()
outcomes = run_all(open_corpus(load_recipe(settings.recipe), settings), skip_complete=True)
print(json.dumps({key: [stage.skipped for stage in outcomes[key].stages] for key in outcomes}))
"""
"""What materializing the same range does, without Dagster's start."""


@dataclass(frozen=True)
class Run:
    """A private dataset, a run of all of it, and what the run said.

    Attributes:
        folder: Holds `served/`, the dataset; `data/`, what was made of it; and `home`, the Hub's.
        settings: Variables of the environment, the token among them.
    """

    folder: Path
    hub: Hub
    settings: dict[str, str]

    def command(self, text: str, status: int = 0, **settings: str) -> str:
        """Run a command; what it prints."""
        done = run(text, self.folder, self.settings | {"PYTHONPATH": str(REPOSITORY)} | settings)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def ask(self, *commands: str) -> list[str]:
        """What commands print that must end well, run one behind another in one process."""
        given = shlex.quote(json.dumps(commands))
        return list(json.loads(self.command(f"python -c {shlex.quote(_ASK)} {given}")))

    def recipe(self, name: str, document: str) -> str:
        """A recipe that reads one glob or manifest."""
        path = self.folder / name
        path.write_text(f"raw: {{documents: ['{document}']}}\n")
        return str(path)

    def fetched(self) -> int:
        """How many times a shard was asked for so far."""
        return len(self.hub.requests("/resolve/"))


MATERIALIZE = f"""
dagster asset materialize -m fim_assets.definitions --select '*' \
  --partition-range {KEYS[0]}...{KEYS[-1]}"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("hub")
    served = folder / "served"
    for number, name in enumerate(NAMES):
        write_shard(served / "data" / name, documents(60 + 40 * number, name))
    (served / "README.md").write_text("# A dataset\n")
    (folder / "tmp").mkdir()
    private = Repository("datasets/org/code", str(served), private=True)
    with hub_server(folder / "requests", [private]) as hub:
        settings = hub.settings(
            folder / "home",
            HF_TOKEN=TOKEN,
            FIM_DATA_ROOT=str(folder / "data"),
            FIM_WORKERS="1",
            TMPDIR=str(folder / "tmp"),
        )
        of = Run(folder, hub, settings)
        settings["FIM_RECIPE"] = of.recipe("recipe.yaml", f"{DATASET}/{GLOB}")
        shown = of.command(MATERIALIZE)
        assert "RUN_SUCCESS" in shown or "Finished execution" in shown
        yield of


def test_bytes_and_receipts_are_those_of_a_folder_and_no_shard_stays(
    made: Run, tmp_path: Path
) -> None:
    for name in NAMES:
        path = tmp_path / "raw" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((made.folder / "served" / "data" / name).read_bytes())
    local = open_corpus(tmp_path, max_rejected_share=Raw().max_rejected_share)
    assert [outcome.failure for outcome in run_all(local).values()] == [None] * len(KEYS)
    write_report(local, KEYS)
    for asset in ASSETS:
        there, here = made.folder / "data" / asset, tmp_path / asset
        assert file_bytes(there) == file_bytes(here)
        for key in KEYS:
            results = [
                json.loads((at / f"{key}.json").read_bytes())["result"] for at in (there, here)
            ]
            assert results[0] == results[1]
    assert list((made.folder / "tmp").glob("*/tmp*")) == []
    assert not (made.folder / "home").exists(), "the Hub's client keeps nothing, Xet's neither"
    assert made.fetched() == 2 * len(KEYS), "each once, and each is redirected"
    assert made.hub.requests("xet") == []


def test_a_manifest_pins_what_a_run_then_need_not_read(made: Run) -> None:
    manifest = str(made.folder / "shards.tsv")
    shown = made.command(
        f"fim-assets manifest --hash '{GLOB}' -o {manifest}", FIM_INPUT_ROOT=DATASET
    )
    assert shown.startswith("3 shards, ")
    rows = [line.split("\t") for line in Path(manifest).read_text().splitlines()]
    urls = [f"{DATASET}/data/{name}" for name in NAMES]
    assert [row[:2] for row in rows[1:]] == list(map(list, zip(KEYS, urls, strict=True)))
    assert {len(row[3]) for row in rows[1:]} == {64}, "hashes of the files in LFS"
    before = made.fetched()
    pinned = made.recipe("pinned.yaml", manifest)
    again = made.command(f"python -c {shlex.quote(_AGAIN)}", FIM_RECIPE=pinned)
    assert json.loads(again) == {key: [True] * len(ASSETS) for key in KEYS}
    assert made.fetched() == before
    wrong = Path(manifest).read_text().replace(COMMIT, "main")
    (made.folder / "wrong.tsv").write_text(wrong)
    refused = made.command(
        "fim-assets keys", 1, FIM_RECIPE=made.recipe("wrong.yaml", f"{made.folder}/wrong.tsv")
    )
    assert f"wrong.tsv, line 2: url {urls[0].replace(COMMIT, 'main')}: names no" in refused
    assert f"write {urls[0]}" in refused


def test_commands_read_it(made: Run) -> None:
    verified, looked, shown = made.ask(
        "verify", "doctor", f"preview {DATASET}/data/{NAMES[1]} --no-tokens"
    )
    assert "all agree" in verified
    assert "A run can start" in looked
    assert "fim_prefix" in shown


def test_without_the_token_a_run_says_what_to_do(made: Run) -> None:
    shown = made.command("fim-assets keys", 1, HF_TOKEN="")
    assert f"{DATASET}/data: could not be listed: there is no {made.hub.endpoint}" in shown
    assert "or it is private: set HF_TOKEN" in shown


def test_doctor_says_what_opens_a_gated_dataset_of_parquet(tmp_path: Path) -> None:
    (tmp_path / "served").mkdir()
    pq.write_table(pa.table({"text": ["a = 1\n"]}), tmp_path / "served" / "a.parquet")
    gated = Repository("datasets/org/code", str(tmp_path / "served"), gated=True)
    with hub_server(tmp_path / "requests", [gated]) as hub:
        settings = hub.settings(tmp_path / "home", FIM_DATA_ROOT=str(tmp_path / "data"))
        of = Run(tmp_path, hub, settings)
        settings["FIM_RECIPE"] = of.recipe("recipe.yaml", f"{DATASET}/*.parquet")
        shown = of.command("fim-assets doctor", 1)
        assert f"accept the terms on {hub.endpoint}/datasets/org/code, and set HF_TOKEN" in shown
        assert "fetch it again" not in shown
