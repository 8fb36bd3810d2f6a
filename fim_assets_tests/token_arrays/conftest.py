import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fim_assets.recipe import Recipe
from fim_assets_tests.corpora import open_corpus, run_all, write_shard
from fim_assets_tests.token_arrays.edits import Partition
from fim_assets_tests.token_arrays.letters import BOS, letters_recipe

ROWS = [
    {"id": "repository", "text": "<repo>name<sep>def abc(x):\n    return abc\n<sep>xyz abc<sep>"},
    {"id": "short", "text": "ab"},
    b"refused",
    *({"id": f"d{number}", "text": f"abc {number} uvwxyz abc\n"} for number in range(20)),
    {"text": "é abc without an id, e\u0301 and <eos> as text"},
]
"""Documents of one file and of four; line 3 is none."""

Finish = Callable[..., Partition]


@pytest.fixture
def finish(tmp_path: Path) -> Finish:
    """Takes rows through all stages with a recipe, all checks passed."""

    def finished(recipe: Recipe, rows: list[object] | None = None) -> Partition:
        write_shard(tmp_path / "raw" / "a.jsonl", ROWS if rows is None else rows)
        outcome = run_all(open_corpus(tmp_path, recipe))["a"]
        assert outcome.failure is None, outcome.details
        return Partition(tmp_path, recipe)

    return finished


@pytest.fixture(scope="session")
def unharmed(tmp_path_factory: pytest.TempPathFactory) -> Partition:
    """`ROWS` with BOS and a label mask."""
    recipe = letters_recipe(tokens={"label_mask": "middle"}, tokenizer={"bos_token_id": BOS})
    root = tmp_path_factory.mktemp("unharmed")
    write_shard(root / "raw" / "a.jsonl", ROWS)
    outcome = run_all(open_corpus(root, recipe))["a"]
    assert outcome.failure is None, outcome.details
    return Partition(root, recipe)


@pytest.fixture
def partition(unharmed: Partition, tmp_path: Path) -> Partition:
    """A copy of `unharmed` to be harmed."""
    shutil.copytree(unharmed.root, tmp_path / "root")
    return Partition(tmp_path / "root", unharmed.recipe)
