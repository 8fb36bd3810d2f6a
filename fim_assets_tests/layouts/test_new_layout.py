"""A layout that this module adds, with a header, goes the whole way that the others go.

a-00000.tok               "TOKENS", 2 bytes of version, uint64: number of ids; then the ids
a-00000.tok.ends          uint64: one past each document's last id
loss_masks/a-00000.mask   a byte a token
"""

import json
import shutil
import struct
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import dagster as dg
import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result

from fim_assets.cli.completion import _arrays
from fim_assets.cli.main import main
from fim_assets.corpus.receipts import Receipt
from fim_assets.definitions import build_definitions
from fim_assets.errors import ShardError
from fim_assets.fim_shards.record import FimShardReader
from fim_assets.io.hashing import HashingWriter
from fim_assets.layouts.base import ArrayInfo, IndexEntry, Layout, little_endian
from fim_assets.layouts.registry import LAYOUTS, array_endings, array_folders
from fim_assets.recipe import Recipe, load_recipe, parse_recipe
from fim_assets.recipe.errors import RecipeError
from fim_assets.settings import Settings
from fim_assets.token_arrays.reader import TokenArray
from fim_assets.tokenizer.load import load_tokenizer
from fim_assets_tests.corpora import (
    CHECKS_OF,
    documents,
    fingerprint,
    open_corpus,
    run_all,
    write_shard,
)
from fim_assets_tests.token_arrays.edits import Partition


class EndsIndex:
    def __init__(self, _info: ArrayInfo, files: Sequence[HashingWriter]) -> None:
        (self._file,) = files
        self._ends = array("Q")

    def add(self, entry: IndexEntry) -> None:
        self._ends.append(entry.end)

    def close(self) -> None:
        self._file.write(little_endian(self._ends))


COUNTED = Layout(
    "counted",
    "a test",
    ".tok",
    (".tok.ends",),
    EndsIndex,
    mask_ending=".mask",
    mask_folder="loss_masks",
    header_bytes=16,
    header=lambda _info, ids: struct.pack("<6sHQ", b"TOKENS", 1, ids),
)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LAYOUTS, "counted", COUNTED)


@pytest.fixture(scope="module")
def materialized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus in several small arrays, with its report."""
    root = tmp_path_factory.mktemp("corpus")
    write_shard(root / "raw" / "a.jsonl", [*documents(60), b"refused"])
    write_shard(root / "raw" / "x" / "b.jsonl", documents(9, "b"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LAYOUTS, "counted", COUNTED)
        write_recipe(root, max_size=1500)
        assert len(materialize(root)) == 6
    return root


@pytest.fixture
def root(materialized: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the corpus, which the environment names."""
    copy = shutil.copytree(materialized, tmp_path / "root")
    monkeypatch.setenv("FIM_DATA_ROOT", str(copy))
    monkeypatch.setenv("FIM_INPUT_ROOT", str(copy))
    monkeypatch.setenv("FIM_RECIPE", str(copy / "recipe.yaml"))
    return copy


def write_recipe(root: Path, **tokens: object) -> Recipe:
    content = {
        "raw": {"max_rejected_share": 1},
        "fim": {"fim_rate": 0.9},
        "tokens": {"layout": "counted", "label_mask": "middle", **tokens},
    }
    (root / "recipe.yaml").write_text(json.dumps(content))
    return load_recipe(root / "recipe.yaml")


def materialize(root: Path) -> list[str]:
    """Both partitions and the report, as Dagster makes them; assets that were not skipped."""
    recipe = load_recipe(root / "recipe.yaml")
    built = build_definitions(recipe, Settings(root, root, "recipe.yaml", 1))
    result = dg.materialize(
        [asset for asset in built.assets or [] if isinstance(asset, dg.AssetsDefinition)],
        instance=dg.DagsterInstance.ephemeral(),
        tags={
            "dagster/asset_partition_range_start": "a",
            "dagster/asset_partition_range_end": "x__b",
        },
    )
    materializations = [
        event.step_materialization_data.materialization
        for event in result.get_asset_materialization_events()
    ]
    made = [m for m in materializations if m.partition and "skipped" not in m.metadata]
    for materialization in made:
        if materialization.asset_key.path == ["token_arrays"]:
            data = root / "token_arrays" / f"{materialization.partition}-00000.tok"
            assert str(materialization.metadata["dagster/uri"].value) == str(data)
    return [m.asset_key.to_user_string() for m in made]


def receipt(root: Path) -> Receipt:
    return Receipt.model_validate_json((root / "token_arrays" / "a.json").read_bytes())


def numbered_files(root: Path) -> set[str]:
    """Names of arrays and of what lies next to them, as receipts have them."""
    return {
        name if folder == "token_arrays" else f"{folder}/{name}"
        for folder in ("token_arrays", *array_folders())
        if (root / folder).exists()
        for name in (path.name for path in (root / folder).iterdir())
        if name.startswith("a-")
    }


def read_counted(path: Path) -> list[list[int]]:
    """Read an array by nothing but its description above."""
    content = path.read_bytes()
    magic, version, count = struct.unpack_from("<6sHQ", content)
    ids = struct.unpack(f"<{count}I", content[16:])
    ends = np.fromfile(path.with_name(f"{path.name}.ends"), "<u8").tolist()
    mask = (path.parents[1] / "loss_masks" / f"{path.stem}.mask").read_bytes()
    assert (magic, version, ends[-1], len(mask)) == (b"TOKENS", 1, count, count)
    return [list(ids[start:end]) for start, end in zip([0, *ends], ends, strict=False)]


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_arrays_are_made_checked_and_read_back(root: Path) -> None:
    made = receipt(root)
    assert made.made.checks == tuple(CHECKS_OF["token_arrays"])
    arrays = sorted((root / "token_arrays").glob("a-*.tok"))
    assert len(arrays) > 2
    table = pl.read_parquet(root / "token_arrays" / "a.parquet")
    tokenizer = load_tokenizer(load_recipe(root / "recipe.yaml"))
    texts: dict[int, str] = {}
    shard = root / "fim_shards" / "a.jsonl.zst"
    with FimShardReader(shard, root / "fim_shards" / "a.parquet") as reader:
        for block in reader:
            texts |= zip(block.raw_numbers, block.documents.texts, strict=True)
    lines = []
    for path in arrays:
        own = TokenArray(path)
        rows = read_counted(path)
        assert [document.ids.tolist() for document in own] == rows
        assert list(map(len, rows)) == table.filter(array=path.name)["tokens"].to_list()
        assert [document.text(tokenizer) for document in own] == [texts[d.line] for d in own]
        lines += [document.line for document in own]
    assert sorted(lines) == sorted(texts)
    names = {output.name for output in made.result.outputs} - {"a.parquet"}
    assert names == numbered_files(root)
    assert len(names) == 3 * len(arrays)


def test_the_report_lists_the_arrays_and_says_how_to_load_them(root: Path) -> None:
    summary = json.loads((root / "corpus_report" / "summary.json").read_bytes())
    by_path = {entry["path"]: entry for entry in summary["arrays"]}
    assert sum(entry["tokens"] for entry in by_path.values()) == summary["totals"]["tokens"]
    assert len(by_path) == summary["totals"]["arrays"]
    entry = by_path["token_arrays/a-00000.tok"]
    assert entry["tokens"] == sum(map(len, read_counted(root / entry["path"])))
    assert entry["label_mask"] == "loss_masks/a-00000.mask"
    assert (entry["layout"], entry["dtype"]) == ("counted", "uint32")
    card = (root / "corpus_report" / "README.md").read_text()
    assert "behind a header of 16 bytes" in card
    assert 'mode="r", offset=16)' in card
    assert not (root / "token_arrays" / "mix.txt").exists()


def test_the_commands_take_them(root: Path) -> None:
    for command in (
        ["show", "a"],
        ["show", str(root / "token_arrays" / "a-00001.tok"), "--document", "1", "--tokens"],
        ["preview", "a"],
        ["summary"],
        ["verify"],
    ):
        done = invoke(*command)
        assert done.exit_code == 0, done.output
    with click.Context(main) as context:
        context.params["key_prefix"] = ()
        assert f"{root}/token_arrays/a-00001.tok" in _arrays(f"{root}/token_arrays/a-")
    stale = root / "loss_masks" / "a-00099.mask"
    stale.write_bytes(b"")
    done = invoke("verify")
    assert done.exit_code == 1
    assert f"{stale}: in no receipt" in done.output


def test_a_second_run_makes_nothing_and_another_one_only_what_is_gone(root: Path) -> None:
    assert materialize(root) == []
    (root / "loss_masks" / "a-00000.mask").unlink()
    assert materialize(root) == ["token_arrays"]


@pytest.mark.parametrize("later", [{"max_size": 9000}, {"label_mask": None}, {"layout": "dolma"}])
def test_no_file_of_an_earlier_run_stays(root: Path, later: dict[str, Any]) -> None:
    before = numbered_files(root)
    recipe = write_recipe(root, **{"max_size": 1500, **later})
    assert run_all(open_corpus(root, recipe))["a"].failure is None
    written = {output.name for output in receipt(root).result.outputs} - {"a.parquet"}
    assert numbered_files(root) == written != before


@pytest.mark.parametrize(
    ("at", "name"), [(2, "ids_in_vocabulary"), (-1, "one_eos_per_document")], ids=["first", "last"]
)
def test_a_wrong_id_is_found_where_it_stands(root: Path, at: int, name: str) -> None:
    """Offsets are counted behind the header."""
    path = root / "token_arrays" / "a-00000.tok"
    ids = np.frombuffer(bytearray(path.read_bytes()), "<u4", offset=16).copy()
    ids[at] = 1 << 31
    path.write_bytes(path.read_bytes()[:16] + ids.tobytes())
    partition = Partition(root, load_recipe(root / "recipe.yaml"))
    partition.agree("token_arrays", path)
    faults = partition.token_faults()
    assert name in faults
    assert f"token {at % len(ids)} is {1 << 31}" in faults["ids_in_vocabulary"]


def test_an_array_that_is_cut_off_is_not_read(root: Path) -> None:
    path = root / "token_arrays" / "a-00000.tok"
    path.write_bytes(path.read_bytes()[:-16])
    with pytest.raises(ShardError, match="behind a header of 16"):
        TokenArray(path)


def test_recipes_may_name_it_and_errors_do(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = parse_recipe("tokens: {layout: counted}", "x")
    assert fingerprint(recipe, "token_arrays", "") != fingerprint(Recipe(), "token_arrays", "")
    assert {".tok", ".tok.ends", ".mask"} <= {*array_endings()}
    assert array_folders() == ("label_masks", "loss_masks")
    with pytest.raises(RecipeError, match="'datatrove' or 'counted'"):
        parse_recipe("tokens: {layout: npy}", "x")
    monkeypatch.delitem(LAYOUTS, "counted")
    with pytest.raises(RecipeError, match=r"layout = \"counted\": .* or 'datatrove'"):
        parse_recipe("tokens: {layout: counted}", "x")
