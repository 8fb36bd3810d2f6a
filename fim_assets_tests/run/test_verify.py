import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from fim_assets.cli.main import main
from fim_assets.corpus_report.write import write_report
from fim_assets.recipe import Recipe
from fim_assets.recipe.tokens import Tokens
from fim_assets.stages import ASSETS
from fim_assets.wording import file_size
from fim_assets_tests.corpora import documents, open_corpus, run_all, write_shard

MASKED = Recipe(tokens=Tokens(max_size=4000, label_mask="middle"))
RECIPE_YAML = "raw: {max_rejected_share: 1}\ntokens: {max_size: 4000, label_mask: middle}\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished partitions with their report; `b` is two arrays, each with its mask."""
    made = tmp_path_factory.mktemp("made")
    for key in ("a", "b"):
        write_shard(made / "raw" / f"{key}.jsonl.zst", [*documents(50, key), b"no"])
    corpus = open_corpus(made, MASKED)
    assert [o.failure for o in run_all(corpus).values()] == [None, None]
    write_report(corpus, ["a", "b"])
    (made / "recipe.yaml").write_text(RECIPE_YAML)
    return made


@pytest.fixture
def root(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, to be damaged."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("FIM_DATA_ROOT", str(tmp_path))
    monkeypatch.setenv("FIM_RECIPE", str(tmp_path / "recipe.yaml"))
    return tmp_path


def verify(*keys: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["verify", *keys])
    return done.exit_code, done.output


def outputs(root: Path) -> list[Path]:
    folders = (*ASSETS, "label_masks")
    return sorted(path for name in folders for path in (root / name).iterdir())


def test_what_agrees(root: Path) -> None:
    status, output = verify()
    assert status == 0
    files = [path for path in outputs(root) if path.suffix not in (".json", ".txt")]
    size = sum(path.stat().st_size for path in files)
    raw = sum(path.stat().st_size for path in (root / "raw").iterdir())
    assert output.splitlines() == [
        *(f"{asset:<14} 2 of 2 partitions with a receipt" for asset in ASSETS),
        f"read {len(files) + 2} files with {file_size(size + raw)}: all agree",
    ]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [flip, shorten, Path.unlink])
def test_damage_of_each_file_is_named_and_of_no_other(
    root: Path, damage: Callable[[Path], object]
) -> None:
    """Every output in its turn, and the raw shards."""
    raw = sorted((root / "raw").iterdir())
    for path in [*outputs(root), *raw]:
        if path.suffix in (".json", ".txt") or (damage is Path.unlink and path in raw):
            continue
        content = path.read_bytes()
        damage(path)
        status, output = verify()
        faults = [line for line in output.splitlines() if line.startswith("fault")]
        assert status == 1, path
        assert any(str(path) in fault for fault in faults), (path, output)
        key = path.name[0]
        assert verify("b" if key == "a" else "a")[0] == 0
        assert verify(key)[0] == 1
        path.write_bytes(content)
    assert verify()[0] == 0


def test_what_no_receipt_lists_is_named(root: Path) -> None:
    left = root / "fim_shards" / ".a.staging"
    left.mkdir()
    (root / "token_arrays" / "a-00099.npy").write_bytes(b"")
    (root / "label_masks" / "z-00000.npy").write_bytes(b"")
    (root / "raw_shards" / "b.json").unlink()
    status, output = verify()
    assert status == 1
    assert f"{left}: left by a run that was killed" in output
    assert f"{root}/token_arrays/a-00099.npy: in no receipt" in output
    assert f"{root}/label_masks/z-00000.npy: in no receipt" in output
    assert f"{root}/raw_shards/b.parquet: in no receipt" in output
    assert "raw_shards     1 of 2 partitions with a receipt" in output
    assert verify("a")[0] == 0, "of one partition only its receipts are asked"


def test_rejected_lines_of_a_partition_that_failed_are_no_strays(root: Path) -> None:
    left = root / "raw_shards" / "c.failed.jsonl"
    left.write_bytes(b"{}\n")
    assert verify()[0] == 0
    left.rename(root / "raw_shards" / "a.failed.jsonl")
    status, output = verify()
    assert status == 1
    assert "a.failed.jsonl: in no receipt" in output


def test_a_shard_that_is_gone(root: Path) -> None:
    (root / "raw" / "b.jsonl.zst").unlink()
    status, output = verify()
    assert status == 1
    assert "b: in raw_shards, fim_shards, token_arrays, but no shard" in output
    assert output.count("1 of 1 partition with a receipt") == len(ASSETS), "b is none of them"
    assert verify("b")[1].count("1 of 1 partition with a receipt") == len(ASSETS)
    assert "summary.json: lists other arrays than the complete ones" in output


@pytest.fixture
def prefixed(root: Path) -> Path:
    """The same below a key prefix, with a report that was made there."""
    folder = root / "low" / "rate"
    folder.mkdir(parents=True)
    for name in (*ASSETS, "label_masks"):
        (root / name).rename(folder / name)
    shutil.rmtree(root / "corpus_report")
    write_report(open_corpus(root, MASKED, prefix=["low", "rate"]), ["a", "b"])
    return folder


def test_a_corpus_below_a_key_prefix(prefixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named by its prefix, by a data root that lies deeper, or by some of both."""
    root = prefixed.parents[1]
    monkeypatch.setenv("FIM_INPUT_ROOT", str(root))
    for data_root, prefix in ((root, "low/rate/"), (root / "low", "rate"), (prefixed, "")):
        monkeypatch.setenv("FIM_DATA_ROOT", str(data_root))
        done = CliRunner().invoke(main, ["--key-prefix", prefix, "verify"])
        assert done.exit_code == 0, done.output
        assert done.stdout.count("2 of 2 partitions with a receipt") == len(ASSETS)
        assert "all agree" in done.stdout
    (prefixed / "token_arrays" / "a.json").unlink()
    assert "summary.json: lists other arrays than the complete ones" in verify()[1]
    moved = prefixed.rename(root / "elsewhere")
    monkeypatch.setenv("FIM_DATA_ROOT", str(moved))
    assert "summary.json: lists other arrays than the complete ones" in verify("--")[1]


@pytest.mark.parametrize("other", ["fim: {fim_rate: 0.25}", "repositories: {}"])
def test_another_recipe_is_one_line_and_damage_is_told_all_the_same(root: Path, other: str) -> None:
    """Its files are no faults; `raw_shards` are the recipe's too, and compared with the shard."""
    _, own = verify()
    (root / "recipe.yaml").write_text(f"{RECIPE_YAML}{other}\n")
    status, output = verify()
    assert status == 1
    assert "fault " not in output
    [line] = [line for line in output.splitlines() if line.startswith("recipe ")]
    assert line.startswith("recipe 2 partitions made by another recipe: a, b; set FIM_RECIPE to ")
    [read, read_by_own] = [text.splitlines()[-1].partition(":")[0] for text in (output, own)]
    assert read == read_by_own, "every file is read"
    damaged = root / "token_arrays" / "b.parquet"
    flip(damaged)
    [fault] = [line for line in verify()[1].splitlines() if line.startswith("fault ")]
    assert str(damaged) in fault
    assert ("recipe 1 partition " in verify("a")[1], verify("a")[0]) == (True, 1)


def test_arrays_of_another_fim_shard(root: Path) -> None:
    write_shard(root / "raw" / "a.jsonl.zst", documents(60, "a"))
    run_all(open_corpus(root, MASKED), ["raw_shards", "fim_shards"])
    status, output = verify("a")
    assert status == 1
    assert "a: token_arrays are made of another output of fim_shards" in output


def test_a_report_that_is_stale_or_none(root: Path) -> None:
    summary = root / "corpus_report" / "summary.json"
    (root / "token_arrays" / "a.json").unlink()
    assert f"{summary}: lists other arrays" in verify()[1]
    card = summary.with_name("README.md")
    card.unlink()
    assert f"{card}: is missing" in verify()[1]
    summary.write_text("[]")
    assert f"{summary}: is no summary" in verify()[1]
    summary.unlink()
    assert "summary" not in verify()[1]


@pytest.mark.usefixtures("root")
def test_no_such_partition() -> None:
    assert verify("a", "c", "d") == (1, "Error: c, d: no partition key; keys: a, b\n")


def test_nothing_materialized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shard(tmp_path / "raw" / "a.jsonl", documents(1))
    monkeypatch.setenv("FIM_DATA_ROOT", str(tmp_path))
    for keys in ((), ("a",)):
        status, output = verify(*keys)
        assert status == 1
        assert output.count("\n") == 1
        assert output.startswith("Error: no partition ")
        assert output.endswith("; keys: a\n")
    (tmp_path / "token_arrays").mkdir()
    left = tmp_path / "token_arrays" / "a-00000.npy"
    left.touch()
    assert f"fault  {left}: in no receipt" in verify()[1], "and not that there is nothing"
    for nowhere in ("empty", "nowhere"):
        monkeypatch.setenv("FIM_DATA_ROOT", str(tmp_path / nowhere))
        status, output = verify()
        assert (status, output.count("\n")) == (1, 1)
        assert output.startswith("Error: no shard found: raw/**/*.json* below ")
        (tmp_path / nowhere).mkdir(exist_ok=True)
