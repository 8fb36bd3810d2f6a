"""What a defs.yaml may say of a corpus, and what it is told."""

import dataclasses
import re
from pathlib import Path
from textwrap import indent
from typing import Any

import dagster as dg
import pytest
from dagster.components.core.component_tree import ComponentTreeException

from fim_assets.component import FimCorpus
from fim_assets_tests.corpora import CHECKS_OF, documents, write_shard

KEYS = {"raw_shards", "fim_shards", "token_arrays", "corpus_report"}


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working folder is what Dagster takes for a project's definitions in tests."""
    monkeypatch.chdir(tmp_path)


def load(folder: Path, attributes: str) -> FimCorpus:
    """The component of a defs.yaml."""
    path = folder / "defs.yaml"
    path.write_text(f"type: fim_assets.FimCorpus\nattributes:\n{indent(attributes, '  ')}\n")
    of_file: Any = dg.Component.from_yaml_path(path)
    [component] = of_file.components
    assert isinstance(component, FimCorpus)
    return component


def build(component: FimCorpus) -> dg.Definitions:
    return component.build_defs(dg.ComponentTree.for_test().load_context)


def specs(component: FimCorpus) -> dict[str, dg.AssetSpec]:
    assets = build(component).assets or []
    found = [s for a in assets if isinstance(a, dg.AssetsDefinition) for s in a.specs]
    return {spec.key.to_user_string(): spec for spec in found}


def test_paths_start_from_the_folder_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("seed: 7")
    component = load(tmp_path, "data_root: ../out\ninput_root: in\nrecipe: mine.yaml")
    assert component.data_root == str(tmp_path.parent / "out")
    assert component.input_root == str(tmp_path / "in")
    assert component.recipe == str(tmp_path / "mine.yaml")


def test_a_home_a_url_and_a_name_stand_for_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/somebody")
    component = load(tmp_path, "data_root: ~/out\ninput_root: s3://bucket/in\nrecipe: ast_fim")
    assert component.data_root == "/somebody/out"
    assert (component.input_root, component.recipe) == ("s3://bucket/in", "ast_fim")


def test_no_value_is_the_default(tmp_path: Path) -> None:
    names = [field.name for field in dataclasses.fields(FimCorpus) if field.default is None]
    nothing = "".join(f"\n{name}:" for name in names)
    assert load(tmp_path, f"data_root: /out{nothing}") == FimCorpus(data_root="/out")
    assert "input_root" in names


def test_variables_are_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUT", "/out")
    monkeypatch.setenv("WORKERS", "3")
    component = load(tmp_path, 'data_root: "{{ env.OUT }}/2"\nworkers: "{{ env.WORKERS }}"')
    assert (component.data_root, component.workers) == ("/out/2", 3)


def test_a_recipe_may_stand_in_place_as_it_would_in_a_file(tmp_path: Path) -> None:
    fields = "seed: 7\nfim: {fim_rate: 0.9, file_separator_token: '{{ env.HOME }}'}"
    (tmp_path / "mine.yaml").write_text(fields)
    in_place = load(tmp_path, f"data_root: out\nrecipe:\n{indent(fields, '  ')}")
    in_a_file = load(tmp_path, "data_root: out\nrecipe: mine.yaml")
    versions = [{k: s.code_version for k, s in specs(c).items()} for c in (in_place, in_a_file)]
    assert versions[0] == versions[1]
    assert versions[0].keys() == KEYS
    assert versions[0] != {k: s.code_version for k, s in specs(FimCorpus(data_root="out")).items()}


def test_several_have_keys_group_job_and_sensor_of_their_own(tmp_path: Path) -> None:
    write_shard(tmp_path / "raw" / "a.jsonl", documents(2))
    first = load(tmp_path, "data_root: .\nkey_prefix: x/y\ndeps: [mine, of/others]")
    second = load(tmp_path, "data_root: .\nkey_prefix: '2'\ngroup_name: second\nrecipe: ast_fim")
    found = specs(first) | specs(second)
    groups = {key.rpartition("/")[::2]: spec.group_name for key, spec in found.items()}
    assert groups == {
        **{("x/y", key): "x__y" for key in KEYS},
        **{("2", key): "second" for key in KEYS},
    }
    assert [dep.asset_key for dep in found["x/y/raw_shards"].deps] == [
        dg.AssetKey("mine"),
        dg.AssetKey(["of", "others"]),
    ]
    both = dg.Definitions.merge(build(first), build(second))
    graph = both.resolve_asset_graph()
    assert len(graph.asset_check_keys) == 2 * sum(map(len, CHECKS_OF.values()))
    assert len({job.name for job in both.jobs or []}) == 2
    assert len({sensor.name for sensor in both.sensors or []}) == 2
    assert {n.partitions_def for n in graph.asset_nodes if n.is_partitioned} == {
        dg.StaticPartitionsDefinition(["a"])
    }


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ("data_root: out\nrecipe: olmo", r":4: attributes\.recipe: recipe .*/olmo: no such file"),
        (
            "data_root: out\n\nrecipe:\n  fim: {rate: 1}",
            r":5: attributes\.recipe: recipe in place: fim\.rate: unknown .* mean fim_rate\?",
        ),
        ('data_root: ""', r":3: attributes\.data_root: is empty$"),
        (
            "data_root: out\nkey_prefix: '{{ env.NOT_SET }}'",
            r":4: attributes\.key_prefix: .* empty",
        ),
        ('data_root: "{{ env.NOT_SET }}"', r":3: attributes\.data_root: \{\{ env\.NOT_SET \}\}: "),
        ("data_root: ~nobody-here", r":3: attributes\.data_root: ~nobody-here: no home folder"),
        ("data_root: out\ndeps: mine", r":4: attributes\.deps: mine: give a list"),
        ("input_root: in", r"data_root"),
        ("data_rot: out", r"data_rot"),
        ("data_root: out\nworkers: [1]", r"attributes\.workers"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(
    tmp_path: Path, attributes: str, told: str
) -> None:
    with pytest.raises(ComponentTreeException, match="FimCorpus") as refused:
        load(tmp_path, attributes)
    message = str(refused.value.__cause__)
    assert re.search(told, message), message
    assert f"{tmp_path / 'defs.yaml'}:" in message
    assert "Traceback" not in message


@pytest.mark.parametrize(
    ("component", "told"),
    [
        (FimCorpus(data_root="hf://datasets/a/b@main"), "data_root=hf://"),
        (FimCorpus(data_root="out", workers=0), "workers=0: "),
        (FimCorpus(data_root="out", key_prefix="a-b"), "key_prefix=a-b: "),
        (FimCorpus(data_root="out", key_prefix="a/"), "key_prefix=a/: "),
        (FimCorpus(data_root="out", group_name="a b"), '"a b" is not a valid'),
        (FimCorpus(data_root="out", recipe={"seed": "x"}), 'seed = "x": '),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_name(component: FimCorpus, told: str) -> None:
    with pytest.raises(dg.DagsterInvalidDefinitionError, match=re.escape(told)):
        build(component)
