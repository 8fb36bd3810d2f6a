"""What README and docs say of the repository: links, promises, messages, checks, options."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from fim_assets.cuts.registry import CUTS
from fim_assets.recipe import _FROM_DOLMA
from fim_assets.recipe.families import SENTINELS
from fim_assets.recipe.fim import Fim
from fim_assets.recipe.raw import Raw
from fim_assets.recipe.schemas import SCHEMAS
from fim_assets.recipe.tokens import Tokenizer, Tokens
from fim_assets_tests.corpora import ALL_CHECKS
from fim_assets_tests.end_to_end.commands import REPOSITORY
from fim_assets_tests.end_to_end.pages import PAGES, page, relative

_LINKING = [*PAGES, REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "deploy").glob("*.md"))]


def without_blocks(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", without_blocks(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", _LINKING, ids=relative)
def test_every_link_leads_somewhere(path: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "", without_blocks(page(relative(path))))
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    for link in links:
        if link.startswith(("https://", "http://")):
            continue
        target, _, anchor = unquote(link).partition("#")
        found = (path.parent / target).resolve() if target else path
        assert found.is_relative_to(REPOSITORY), link
        assert found.exists(), link
        if anchor:
            assert anchor in anchors(found.read_text("utf-8")), link


@pytest.mark.parametrize("path", _LINKING, ids=relative)
def test_the_rows_of_a_table_have_its_columns(path: Path) -> None:
    """A bar in a code span parts cells too, unless it is escaped."""
    table = 0
    for line in without_blocks(page(relative(path))).splitlines():
        bars = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert not (table and bars) or bars == table, line
        table = bars


def test_every_page_is_reached_from_the_readme() -> None:
    linked = set(re.findall(r"\]\((docs/[\w-]+\.md)", page("README.md")))
    assert linked == {relative(path) for path in PAGES[1:]}


def test_every_promise_names_a_test_that_is_there() -> None:
    named = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", page("docs/guarantees.md"))
    assert len(named) > 15
    for path, test in named:
        assert f"def {test}" in (REPOSITORY / "fim_assets_tests" / path).read_text("utf-8")


def spoken() -> Iterator[str]:
    """Every stretch of text in the package's source, between what its messages name."""
    for path in (REPOSITORY / "fim_assets").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def quoted() -> list[str]:
    """The messages that the page on troubleshooting has entries for."""
    return re.findall(r"^- `([^`]+)`: ", page("docs/troubleshooting.md"), re.MULTILINE)


OF_OTHERS = {"No space left on device"}
"""Messages of the system."""


def test_every_message_quoted_is_one_of_the_source() -> None:
    source = list(spoken())
    assert len(quoted()) > 25
    for message in set(quoted()) - OF_OTHERS:
        # Texts that are short could be anywhere; what is named between them may be a message too.
        stretches = [part.strip(" :;()") for part in message.split("…")]
        long_ones = [part for part in stretches if len(part) >= 7]
        assert long_ones, message
        for part in long_ones:
            assert any(part in text for text in source), (message, part)


def test_every_check_has_advice() -> None:
    text = page("docs/troubleshooting.md")
    for name in ALL_CHECKS:
        assert f"| `{name}` |" in text


def test_every_option_of_dolmas_is_on_its_page() -> None:
    text = page("docs/from-dolma.md")
    for option, replacement in _FROM_DOLMA.items():
        assert re.search(rf"`[\w., ]*\b{option}\b", text) or f"`--{option}" in text, option
        for field in re.findall(r"(?:raw|tokens)\.[\w.]+|FIM_\w+", replacement):
            assert field in text, (option, field)


def test_every_field_and_name_of_a_recipe_is_explained() -> None:
    text = "".join(
        page(f"docs/{name}.md") for name in ("recipe", "tokenizers", "running", "arrays")
    )
    text += (
        page("README.md")
        + (REPOSITORY / "fim_assets/recipe/built_in/olmo_midtraining.yaml").read_text()
    )
    for model in (Raw, Fim, Tokenizer, Tokens):
        for field in model.allowed_names():
            assert field in text, field
    for name in (*SENTINELS, *CUTS):
        assert f"`{name}`" in page("docs/recipe.md"), name


def test_the_table_of_schemas_is_that_of_the_source() -> None:
    rows = re.findall(
        r"^\| `([\w-]+)` \|[^|]+((?:\|[^|]+){4})\|$", page("docs/recipe.md"), re.MULTILINE
    )
    fields = {name: tuple(re.findall(r"`(.+?)`", cells)) for name, cells in rows}
    assert fields == SCHEMAS
