import subprocess
from pathlib import Path

import pytest

from fim_assets_tests.cli.running import PROGRAM, make_fim_shard, run
from fim_assets_tests.corpora import open_corpus, run_all, write_shard


def test_preview_by_key_and_by_path(root: Path) -> None:
    by_key = run("preview", "c__d")
    assert by_key.exit_code == 0
    assert by_key.stdout.startswith("c__d · partition seed ")
    assert "the first document with a rearranged file" in by_key.stdout
    assert by_key.stdout.splitlines()[-1].strip() == "100257 <|endoftext|>"
    assert run("preview", str(root / "raw" / "c" / "d.json.gz")).stdout == by_key.stdout
    other_seed = run("preview", "a", "--no-tokens").stdout
    assert other_seed.splitlines()[0] != by_key.stdout.splitlines()[0]
    assert "100257" not in other_seed


def test_preview_of_one_document(root: Path) -> None:
    by_line = run("preview", "a", "--line", "10")
    assert by_line.stdout.splitlines()[1] == "line 10 · id 6 · Python"
    assert run("preview", "a", "--id", "6").stdout == by_line.stdout
    assert (root / "raw").parent == root
    assert [path.name for path in root.iterdir()] == ["raw"]


def test_long_ids_are_whole_where_no_terminal_shows_them(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identifier = "/".join(["some/folder"] * 100)
    rows = [{"id": identifier, "text": "a text that is long enough\n" * 4}]
    write_shard(root / "raw" / "long.jsonl", rows)
    run_all(open_corpus(root))
    for columns in ("40", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        for command in (
            ["preview", "long", "--line", "1"],
            ["show", f"{root}/token_arrays/long-00000.npy"],
        ):
            assert f" · id {identifier} · " in run(*command).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a", "--line", "1"], "line 1 is blank"),
        (["a", "--line", "2"], "line 2 is rejected as not_json"),
        (["a", "--line", "64"], "no line 64; the shard has 63 lines"),
        (["a", "--id", "y"], "no document has the id 'y'"),
        (["nowhere"], "nowhere: no partition key, and no path of a shard of the recipe; keys: a, "),
        (["fim_shards/a.jsonl.zst"], "no partition key, and no path of a shard"),
        (["a", "--line", "0"], "0 is not in the range"),
        (["a", "--line", "3", "--id", "6"], "give one of them"),
    ],
)
@pytest.mark.usefixtures("root")
def test_preview_refuses(arguments: list[str], message: str) -> None:
    done = run("preview", *arguments)
    assert done.exit_code != 0
    assert message in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("fim: {sentinels: codestral, psm_spm_split: 0, fim_rate: 1}", "[PREFIX]: not one id"),
        ("tokens: {tokenizer: {name_or_path: EMPTY}}", "holds none of a tokenizer's files"),
    ],
)
def test_preview_without_a_tokenizer(
    root: Path, monkeypatch: pytest.MonkeyPatch, recipe: str, message: str
) -> None:
    empty = root / "empty"
    empty.mkdir()
    path = root / "mine.yaml"
    path.write_text(recipe.replace("EMPTY", str(empty)))
    monkeypatch.setenv("FIM_RECIPE", str(path))
    done = run("preview", "a")
    assert done.exit_code == 0
    shown = " ".join(done.stdout.split())
    assert "original" in shown
    assert "no tokens: " in shown
    assert message in shown


def test_keys_are_of_no_outputs(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_fim_shard(root, "a")
    (root / "mine.yaml").write_text("raw: {documents: ['**/a.jsonl.zst']}")
    monkeypatch.setenv("FIM_RECIPE", str(root / "mine.yaml"))
    done = run("keys")
    assert done.exit_code == 1
    assert "a.jsonl.zst: raw.documents matches this output; narrow the glob" in done.stderr


def test_that_no_shard_is_found_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIM_DATA_ROOT", str(tmp_path))
    done = subprocess.run([*PROGRAM, "keys"], capture_output=True, check=False, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("Error: no shard found: raw/**/*.json* below ")


@pytest.mark.usefixtures("root")
def test_no_manifest_is_written_to_the_hub() -> None:
    output = f"hf://datasets/org/code@{'0' * 40}/shards.tsv"
    done = run("manifest", "raw/*", "--output", output)
    assert done.exit_code == 1
    assert f"{output}: hf:// is only read; " in done.stderr
