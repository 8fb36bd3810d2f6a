"""Schemas: named sets of field names, and how a recipe with one compares languages."""

import subprocess
import sys

import pytest

from fim_assets.languages.names import names_identity
from fim_assets.recipe import Recipe, parse_recipe, recipe_yaml
from fim_assets.recipe.errors import RecipeError
from fim_assets.recipe.raw import Raw
from fim_assets.recipe.schemas import SCHEMAS, Schema
from fim_assets_tests.corpora import fingerprint

STAGES_BEFORE_TOKENS = ("raw_shards", "fim_shards")

BY_LANGUAGE = "fim: {fim_rate: {default: 0.5, C++: 0.9, Markdown: 0}}"


def fingerprints(text: str) -> list[str]:
    recipe = parse_recipe(text, "r")
    return [fingerprint(recipe, stage, "t") for stage in STAGES_BEFORE_TOKENS]


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_names_the_four_fields(name: str) -> None:
    recipe = parse_recipe(f"raw: {{schema: {name}, max_line_bytes: 99}}", "r")
    raw = recipe.raw
    named = (raw.text_field, raw.id_field, raw.language_field, raw.path_field)
    assert named == SCHEMAS[name]
    assert recipe_yaml(recipe) == f"raw:\n  schema: {name}\n  max_line_bytes: 99\n"
    assert parse_recipe(recipe_yaml(recipe), "r") == recipe
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    assert Raw.model_validate(raw.model_dump()) == raw


def test_dolmas_are_the_defaults_and_no_schema_is_none() -> None:
    default = Raw()
    assert SCHEMAS["dolma"] == Schema(*(getattr(default, name) for name in Schema._fields))
    assert parse_recipe("raw: {schema: null, text_field: code}", "r").raw == Raw(text_field="code")
    assert "schema" not in default.model_dump()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raw: {schema: starcoder}", "raw.schema = \"starcoder\": Input should be 'dolma', 'star"),
        ("raw: {schema: [dolma]}", "raw.schema = ['dolma']: Input should be 'dolma', 'starcod"),
        ("raw: {schema: ''}", "raw.schema = \"\": Input should be 'dolma', "),
        (
            "raw: {schema: the-stack, text_field: content, id_field: id}",
            "raw: schema = the-stack and id_field, text_field say the same; give one",
        ),
        ("raw: {schema_name: dolma}", "raw.schema_name: unknown field; did you mean schema?"),
        ("raw: {schemas: dolma}", "raw.schemas: unknown field; did you mean schema?"),
    ],
)
def test_schemas_that_cannot_be_used_are_refused(text: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "r")
    assert f"recipe r: {message}" in str(caught.value)


def test_a_field_called_schema_gives_no_warning() -> None:
    """It would be given where the class is made, which an earlier import has done here."""
    command = [sys.executable, "-W", "error", "-c", "import fim_assets.recipe.raw"]
    subprocess.run(command, check=True)


def test_names_of_one_language_are_one_language_only_with_a_schema() -> None:
    exact = parse_recipe(BY_LANGUAGE, "r")
    by_name = parse_recipe(f"raw: {{schema: the-stack}}\n{BY_LANGUAGE}", "r")
    names = ["C++", "cpp", "markdown", "MD", "C", "Klingon", "klingon", "", None]
    assert [exact.rate(name) for name in names] == [0.9, *[0.5] * 8]
    assert [by_name.rate(name) for name in names] == [0.9, 0.9, 0.0, 0.0, *[0.5] * 5]
    assert [by_name.named(name) for name in ("cpp", "md", "c-sharp")] == [
        *("C++", "Markdown", "c-sharp")
    ]


def test_a_language_that_linguist_does_not_know_is_named_exactly() -> None:
    recipe = parse_recipe(
        "raw: {schema: the-stack}\nfim: {fim_rate: {default: 0.5, JSX: 1, jsx: 0}}", "r"
    )
    assert [recipe.rate(name) for name in ("JSX", "jsx", "Jsx")] == [1.0, 0.0, 0.5]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("C++: 1, cpp: 0", "C++ and cpp are one language, C++; give one"),
        ("sh: 1, Python: 1, bash: 0", "bash and sh are one language, Shell; give one"),
        ("c-sharp: 1, C_Sharp: 1, C#: 1", "C# and C_Sharp and c-sharp are one language, C#"),
    ],
)
def test_two_names_of_one_language_are_refused_with_a_schema(names: str, message: str) -> None:
    text = f"fim: {{fim_rate: {{default: 0.5, {names}}}}}"
    parse_recipe(text, "r")
    with pytest.raises(RecipeError) as caught:
        parse_recipe(f"raw: {{schema: github-code}}\n{text}", "r")
    assert str(caught.value).startswith(f"recipe r: fim.fim_rate: {message}")


FIELDS = "text_field: content, language_field: lang, path_field: max_stars_repo_path"


@pytest.mark.parametrize("law", ["", "fim: {split: lines}", "fim: {fim_rate: 0.9}"])
def test_where_no_language_matters_a_schema_is_its_fields(law: str) -> None:
    assert fingerprints(f"raw: {{schema: dolma}}\n{law}") == fingerprints(law or "seed: 3920")
    fields = fingerprints(f"raw: {{{FIELDS}}}\n{law}")
    of_folders = fingerprints(f"raw: {{schema: starcoderdata}}\n{law}")
    assert not {*of_folders} & {*fields}
    assert fields != fingerprints(law or "seed: 3920")


@pytest.mark.parametrize("law", [BY_LANGUAGE, "fim: {split: syntax}"])
def test_where_languages_matter_the_table_of_names_is_part_of_the_fingerprint(
    law: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact, by_name = fingerprints(law), fingerprints(f"raw: {{schema: dolma}}\n{law}")
    assert exact[0] == by_name[0]
    assert exact[1] != by_name[1]
    table = names_identity() | {"table": "of another Linguist"}
    monkeypatch.setattr("fim_assets.recipe.fim.names_identity", lambda: table)
    assert fingerprints(law) == exact
    assert fingerprints(f"raw: {{schema: dolma}}\n{law}") not in (exact, by_name)
