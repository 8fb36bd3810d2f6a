"""What keeps the tree readable: short modules that say what they are for, and assets named once."""

import ast
from pathlib import Path

import pytest

import fim_assets
from fim_assets.corpus_report.summary import CORPUS_REPORT
from fim_assets.stages import STAGES

PACKAGE = Path(fim_assets.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES = 450
MOST_MODULES = 3


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_is_short_and_begins_with_what_it_is_for(module: Path) -> None:
    text = module.read_text("utf-8")
    assert text.count("\n") <= MOST_LINES
    assert ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("asset", [*(stage.name for stage in STAGES), CORPUS_REPORT])
def test_an_assets_name_as_text_stands_in_its_own_folder(asset: str) -> None:
    """Everything else asks the stage: a new stage costs a folder and a line."""
    named = [
        module.relative_to(PACKAGE).as_posix()
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text("utf-8")))
        if isinstance(node, ast.Constant) and node.value == asset
    ]
    assert 0 < len(set(named)) <= MOST_MODULES
    assert {path.split("/")[0] for path in named} == {asset}
