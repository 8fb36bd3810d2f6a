"""Input is data: nothing of it runs, unpickles or leaves the folder it was given."""

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fim_assets.io.hashing import record_file
from fim_assets.recipe import Recipe, parse_recipe
from fim_assets.recipe.errors import RecipeError
from fim_assets.recipe.tokens import Tokenizer as TokenizerRecipe
from fim_assets.recipe.tokens import Tokens
from fim_assets.settings import REPOSITORY
from fim_assets.tokenizer.find import find_tokenizer
from fim_assets.tokenizer.load import load_tokenizer
from fim_assets_tests.corpora import documents, open_corpus, run_all, write_shard

PACKAGE = REPOSITORY / "fim_assets"


@pytest.mark.parametrize(
    "text",
    [
        "seed: !!python/object/apply:os.system ['touch {target}']",
        "!!python/object/new:subprocess.Popen [['touch', '{target}']]",
        "raw: !!python/name:os.system",
    ],
)
def test_a_recipe_runs_nothing(tmp_path: Path, text: str) -> None:
    target = tmp_path / "made"
    with pytest.raises(RecipeError, match="not YAML"):
        parse_recipe(text.replace("{target}", str(target)), "r")
    assert not target.exists()


def test_aliases_of_aliases_take_neither_memory_nor_minutes() -> None:
    """Nine to the power of thirty words, if anybody wrote them out."""
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 30)]
    ends = ["raw: *l29", "fim: *l29", "seed: *l29", "raw: {documents: *l29}", "x: *l29"]
    texts = ["\n".join(["l0: &l0 [word]", *levels, end]) for end in ends]
    code = (
        "import json, resource, sys; resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))\n"
        "from fim_assets.recipe import RecipeError, parse_recipe\n"
        "for text in json.load(sys.stdin):\n"
        "    try: parse_recipe(text, 'r')\n"
        "    except RecipeError as error: print(len(str(error)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    sizes = [int(line) for line in done.stdout.splitlines()]
    assert len(sizes) == len(texts)
    assert all(0 < size < 20_000 for size in sizes)


def test_no_module_unpickles_or_evaluates() -> None:
    """Read from the syntax trees of all modules; a run's workers talk in pickles of their own."""
    modules = {"pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle", "code"}
    calls = {"eval", "exec", "compile", "__import__"}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names: set[str] = set()
            if isinstance(node, ast.Import):
                names = {alias.name.partition(".")[0] for alias in node.names} & modules
            elif isinstance(node, ast.ImportFrom):
                names = {(node.module or "").partition(".")[0]} & modules
            elif isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                words = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                names = {called} & (calls | {"yaml.load", "yaml.unsafe_load", "torch.load"})
                for word in ("allow_pickle", "trust_remote_code"):
                    names |= {word} if words.get(word, "False") != "False" else set()
            assert not names, f"{path}: {names}"


def test_a_tokenizers_folder_is_data(tmp_path: Path) -> None:
    """Code and pickles beside it are neither run nor opened."""
    bundled = find_tokenizer(Recipe().tokens.tokenizer)
    folder = tmp_path / "tokenizer"
    shutil.copytree(bundled, folder)
    target = tmp_path / "made"
    (folder / "tokenization_x.py").write_text(f"open({str(target)!r}, 'w')\nclass X: pass\n")
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch " + str(target).encode())
    config = {"tokenizer_class": "X", "auto_map": {"AutoTokenizer": ["tokenization_x.X", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    recipe = Recipe(tokens=Tokens(tokenizer=TokenizerRecipe(name_or_path=str(folder))))
    assert load_tokenizer(recipe).controls.eos == 100257
    assert not target.exists()


def test_outputs_take_the_place_of_links_and_do_not_follow_them(tmp_path: Path) -> None:
    """Of files; a folder that is a link is where its owner wants the outputs."""
    write_shard(tmp_path / "root" / "raw" / "a.jsonl", documents(20))
    outside = tmp_path / "outside"
    outside.write_text("mine")
    before = record_file(outside)
    shards = tmp_path / "root" / "fim_shards"
    shards.mkdir()
    for name in ("a.jsonl.zst", "a.parquet", "a.json"):
        (shards / name).symlink_to(outside)
    assert run_all(open_corpus(tmp_path / "root"))["a"].failure is None
    assert record_file(outside) == before
    assert not any(path.is_symlink() for path in shards.iterdir())


def test_the_ui_listens_on_loopback_alone() -> None:
    (command,) = re.findall(r"\$\(BIN\)/dg dev (.*)", (REPOSITORY / "Makefile").read_text())
    assert command == "-w workspace.yaml -h 127.0.0.1 -p $(PORT)"
