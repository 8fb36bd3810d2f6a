"""What README and docs tell a reader to do, done, and what they say comes of it."""

import doctest
import json
import re
from contextlib import chdir, redirect_stdout
from io import StringIO
from itertools import groupby
from math import sqrt
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from fim_assets.recipe import parse_recipe
from fim_assets_tests.corpora import documents, write_shard
from fim_assets_tests.end_to_end.commands import ask, copy_checkout, run
from fim_assets_tests.end_to_end.pages import PAGES, Block, blocks, relative

NOT_RUN_HERE = {
    "make test": "it is what runs this test",
    "make check": "continuous integration runs it before the tests",
    "make bench": "its parts have tests of their own, and it takes minutes",
    'make bench ONLY="whole fim"': "as make bench",
    "make bench CORPUS=<folder>": "as make bench",
    "make bench ONLY=regroup": "as make bench",
    "make bench-scale": "as make bench",
    "make bench-imports": "as make bench",
    "make faults": "its short form is among the tests",
    "make dev": "it does not end: test_ui.py opens it",
}

RUN_BY_TEST_RAY = "ray_executor"
"""The module of the page on clusters."""

OF_A_PROJECT = "docs/your-project.md"
"""The page that test_your_project.py follows, in projects of its own."""

ONE_WORKER = {"FIM_WORKERS": "1"}
"""For all but the demo: a range of two small shards takes longer to start workers than to make."""

ONE_SHELL = ["README.md", "docs/running.md"]
"""Pages that are followed from top to bottom, the second after the first; of the others, each
section starts in a new shell."""


def sessions() -> list[tuple[str, list[Block]]]:
    """All that a reader would type, shell by shell: its name and its blocks."""
    found = [("README and running", [b for name in ONE_SHELL for b in runnable(name)])]
    for path in PAGES:
        name = relative(path)
        if name not in {*ONE_SHELL, OF_A_PROJECT}:
            for section, its in groupby(runnable(name), lambda block: block.section):
                found.append((f"{name}: {section}", list(its)))
    return [(name, its) for name, its in found if any(map(does_something, its))]


def does_something(block: Block) -> bool:
    lines = [line for line in command_lines(block.code) if line not in NOT_RUN_HERE]
    return block.language == "python" or (block.language == "sh" and any(lines))


def runnable(name: str) -> list[Block]:
    return [
        block for block in blocks(name, "sh", "python", "text") if RUN_BY_TEST_RAY not in block.code
    ]


def command_lines(code: str) -> list[str]:
    """The lines of a shell block, without the comments at their ends."""
    return [re.sub(r"\s{2,}#.*", "", line) for line in code.splitlines()]


def said(its: list[Block], number: int) -> str:
    """What a page says that a block prints, empty if it says nothing."""
    following = its[number + 1 : number + 2]
    return following[0].code if following and following[0].language == "text" else ""


def without_numbers(text: str) -> str:
    return re.sub(r"[─═]+", "─", re.sub(r"\d[\d,.]*", "0", text))


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_checkout(tmp_path_factory.mktemp("readme") / "fim_assets")


@pytest.fixture(scope="module")
def after_the_readme(checkout: Path) -> Path:
    for number in range(2):
        shard = checkout.parent / "my-shards" / f"part-{number}.jsonl.zst"
        write_shard(shard, documents(40, str(number)))
    (name, its), *_ = sessions()
    assert command_lines(its[0].code)[0] == "make demo"
    follow(name, its[:1], checkout, {})
    follow(name, its[1:], checkout)
    return checkout


def follow(
    name: str, its: list[Block], checkout: Path, settings: dict[str, str] = ONE_WORKER
) -> None:
    """Do a session, block by block, and hold what each prints against what its page says."""
    checker = doctest.OutputChecker()
    same = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    variables = dict(settings)
    for number, block in enumerate(its):
        if block.language == "text":
            continue
        promised = said(its, number)
        printed = do(block, checkout, variables, fails=promised.startswith("Error: "))
        exports = re.findall(r"^export (.*)$", block.code, re.MULTILINE)
        words = [word for line in exports for word in line.replace("$PWD", str(checkout)).split()]
        variables |= dict(word.split("=") for word in words)
        want, got = (without_numbers(text.replace("…", "...")) for text in (promised, printed))
        if promised:
            assert checker.check_output(want, got, same), f"{name}\n{promised}\nis not\n{printed}"


def do(block: Block, checkout: Path, variables: dict[str, str], *, fails: bool) -> str:
    """What a block prints, or says of why it fails if it must.

    Python runs in this process, as a notebook's cell, and so do blocks of nothing but plain
    commands of `fim-assets`; all others in a shell.
    """
    lines = [line for line in command_lines(block.code) if line not in NOT_RUN_HERE]
    if block.language == "python":
        with chdir(checkout), redirect_stdout(StringIO()) as printed:
            exec(compile(block.code, "a page's code", "exec"), {"__name__": "__main__"})
        return printed.getvalue()
    if all(re.fullmatch(r"fim-assets [^$|>]+", line) for line in lines):
        # Relative settings start from the repository, for which the checkout stands.
        with chdir(checkout), patch("fim_assets.settings.REPOSITORY", checkout):
            of_the_checkout = {"FIM_DATA_ROOT": "data"} | variables
            return "".join(ask(line.removeprefix("fim-assets "), of_the_checkout) for line in lines)
    done = run("\n".join(["set -e", *lines]), checkout, variables, seconds=900)
    assert (done.returncode != 0) == fails, (
        f"{block.code}\n{done.stdout[-5000:]}\n{done.stderr[-5000:]}"
    )
    return done.stderr if fails else done.stdout


def test_the_commands_that_are_not_run_are_there() -> None:
    pages = [*map(relative, PAGES), "CONTRIBUTING.md"]
    lines = [line for p in pages for b in blocks(p, "sh") for line in b.code.splitlines()]
    found = {line for some in lines for line in command_lines(some)}
    assert set(NOT_RUN_HERE) <= found


def test_the_demo_leaves_what_it_says(after_the_readme: Path) -> None:
    data = after_the_readme / "data"
    assert len(list((data / "token_arrays").glob("*.npy"))) == 8
    for asset in ("raw_shards", "fim_shards", "token_arrays"):
        assert len(list((data / asset).glob("*.json"))) == 8
    assert (data / "corpus_report" / "report.html").stat().st_size > 10_000
    summary = json.loads((data / "corpus_report" / "summary.json").read_bytes())
    assert summary["partitions"] == {
        "total": 8,
        "complete": 8,
        "incomplete": {},
        "empty": [],
    }
    for rate in summary["rates"].values():
        standard_error = sqrt(0.25 / rate["trials"])
        assert abs(rate["realised"] - 0.5) < 5 * standard_error


def test_own_shards_are_arrays(after_the_readme: Path) -> None:
    mine = after_the_readme.parent / "mine"
    summary = json.loads((mine / "corpus_report" / "summary.json").read_bytes())
    assert summary["totals"]["documents"] == 80
    assert [array["partition"] for array in summary["arrays"]] == ["part-0", "part-1"]
    for array in summary["arrays"]:
        ids = np.memmap(mine / array["path"], array["dtype"], "r")
        assert (len(ids), ids[-1]) == (array["tokens"], 100257)


@pytest.mark.parametrize("name", [name for name, _ in sessions()[1:]])
def test_a_section_does_what_it_says(after_the_readme: Path, name: str) -> None:
    follow(name, dict(sessions())[name], after_the_readme)


def test_the_recipes_shown_are_recipes(checkout: Path) -> None:
    shown = {relative(p): [b.code for b in blocks(relative(p), "yaml")] for p in PAGES}
    recipes = {name: [parse_recipe(text, name) for text in texts] for name, texts in shown.items()}
    assert ("shards.tsv",) in [recipe.raw.documents for recipe in recipes["docs/running.md"]]
    assert recipes["docs/tokenizers.md"][0].tokens.dtype == "uint16"
    assert len(recipes["docs/cookbook.md"]) > 2
    (checkout / "shown.yaml").write_text(shown["README.md"][0])
    write_shard(checkout / "in" / "raw" / "a.jsonl.zst", [{"content": "some code"}])
    settings = {"FIM_RECIPE": "shown.yaml", "FIM_INPUT_ROOT": "in", "FIM_DATA_ROOT": "out"}
    done = run("fim-assets keys", checkout, settings)
    assert (done.returncode, done.stdout) == (0, "a\n"), done.stderr
