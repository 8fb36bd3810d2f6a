import json
import re
from math import sqrt
from pathlib import Path

import pytest

from fim_assets.recipe import parse_recipe
from fim_assets_tests.corpora import documents, write_shard
from fim_assets_tests.end_to_end.commands import REPOSITORY, copy_checkout, run

README = (REPOSITORY / "README.md").read_text("utf-8")

NOT_RUN_HERE = {
    "make test": "it is what runs this test",
    "make check": "continuous integration runs it before the tests",
    "make bench": "its parts have tests of their own, and it takes minutes",
    "make bench CORPUS=<folder>": "as make bench",
    "make bench-scale": "as make bench",
    "make faults": "its short form is among the tests",
    "make dev": "it does not end: test_ui.py opens it",
}


def commands() -> list[str]:
    """Every command of the README's shell blocks, in its order."""
    blocks = re.findall(r"^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    lines = [re.sub(r"\s{2,}#.*", "", line).strip() for line in "".join(blocks).splitlines()]
    return [line for line in lines if line]


def fenced(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    assert found
    return found


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_checkout(tmp_path_factory.mktemp("readme") / "fim_assets")


@pytest.fixture(scope="module")
def after_all_commands(checkout: Path) -> Path:
    for number in range(2):
        write_shard(checkout / "my-shards" / f"part-{number}.jsonl.zst", documents(40, str(number)))
    found = commands()
    assert found[0] == "make demo"
    assert set(NOT_RUN_HERE) <= set(found)
    script = "\n".join(command for command in found if command not in NOT_RUN_HERE)
    done = run(f"set -ex\n{script}", checkout)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return checkout


def test_the_demo_leaves_what_it_says(after_all_commands: Path) -> None:
    data = after_all_commands / "data"
    assert len(list((data / "token_arrays").glob("*.npy"))) == 8
    for asset in ("raw_shards", "fim_shards", "token_arrays"):
        assert len(list((data / asset).glob("*.json"))) == 8
    assert (data / "corpus_report" / "report.html").stat().st_size > 10_000
    summary = json.loads((data / "corpus_report" / "summary.json").read_bytes())
    assert summary["partitions"] == {"total": 8, "complete": 8, "incomplete": {}}
    for rate in summary["rates"].values():
        standard_error = sqrt(0.25 / rate["trials"])
        assert abs(rate["realised"] - 0.5) < 5 * standard_error


def test_own_shards_and_the_snippets_that_read_them(after_all_commands: Path) -> None:
    _steps_as_ray_jobs, arrays, parts = fenced("python")
    code = f"{arrays}    print(ids[-1])\n{parts}print(len(text), len(documents))\n"
    done = run(f"python - <<'CODE'\n{code}CODE", after_all_commands)
    assert done.returncode == 0, done.stderr
    *last_ids, counts = done.stdout.splitlines()
    assert last_ids == ["100257", "100257"]
    assert counts.split()[1] == "40"


def test_the_recipes_shown_are_recipes(checkout: Path) -> None:
    shown, *others = fenced("yaml")
    pinned, tokenizer = (parse_recipe(text, "README") for text in others)
    assert pinned.raw.documents == ("shards.tsv",)
    assert tokenizer.tokens.dtype == "uint16"
    (checkout / "shown.yaml").write_text(shown)
    write_shard(checkout / "in" / "shards" / "a.jsonl.zst", [{"content": "some code"}])
    settings = {"FIM_RECIPE": "shown.yaml", "FIM_INPUT_ROOT": "in", "FIM_DATA_ROOT": "out"}
    done = run("fim-assets keys", checkout, settings)
    assert (done.returncode, done.stdout) == (0, "a\n"), done.stderr


def test_the_tree_names_every_module() -> None:
    package = REPOSITORY / "fim_assets"
    tree = README[README.index("## The tree") :]
    for path in package.rglob("*.py"):
        if path.name != "__init__.py":
            assert path.stem in tree, path


def test_every_promise_names_a_test_that_is_there() -> None:
    promises = README[README.index("## What is guaranteed") : README.index("## The tree")]
    named = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", promises)
    assert len(named) > 15
    for path, test in named:
        assert f"def {test}" in (REPOSITORY / "fim_assets_tests" / path).read_text("utf-8")
