import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fim_assets.settings import (
    REPOSITORY,
    Settings,
    SettingsError,
    in_repository,
    named_path,
    usable_cores,
)


def test_defaults() -> None:
    assert Settings.from_environment({}) == Settings(
        data_root=REPOSITORY / "data",
        input_root=REPOSITORY / "data",
        recipe="olmo_midtraining",
        workers=usable_cores(),
        partitions_per_run=None,
    )
    assert in_repository()
    assert usable_cores() >= 1


def test_in_python_the_data_root_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(data_root="out")
    assert settings == Settings(Path("out"), tmp_path / "out", "olmo_midtraining", usable_cores())
    assert settings == Settings.from_environment({"FIM_DATA_ROOT": str(tmp_path / "out")})
    assert replace(settings, workers=3) == Settings(tmp_path / "out", workers=3)
    remote = Settings(data_root="s3://bucket/out/", input_root="in")
    assert (str(remote.data_root), remote.input_root) == ("s3://bucket/out", tmp_path / "in")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"data_root": ""}, "data_root=: name a folder or URL"),
        ({"data_root": "~nobody-here"}, "data_root=~nobody-here: "),
        ({"data_root": f"hf://datasets/a/b@{'0' * 40}"}, "data_root=hf://"),
        ({"data_root": "out", "input_root": "ftp://host/in"}, "input_root=ftp://host/in: "),
        ({"data_root": "out", "workers": 0}, "workers=0: give a whole number"),
        ({"data_root": "out", "workers": True}, "workers=True: give a whole number"),
        ({"data_root": "out", "partitions_per_run": 0}, "partitions_per_run=0: give"),
        ({"data_root": "out", "engine": "dask"}, "engine=dask: give local or ray"),
    ],
)
def test_what_python_cannot_give_is_refused_by_name(given: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=f"^{re.escape(told)}"):
        Settings(**given)


def test_an_empty_variable_takes_its_default() -> None:
    names = (
        "FIM_DATA_ROOT",
        "FIM_INPUT_ROOT",
        "FIM_RECIPE",
        "FIM_WORKERS",
        "FIM_ENGINE",
        "FIM_PARTITIONS_PER_RUN",
    )
    assert Settings.from_environment(dict.fromkeys(names, "")) == Settings.from_environment({})


def test_every_variable_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {
        "FIM_DATA_ROOT": str(tmp_path / "out"),
        "FIM_INPUT_ROOT": str(tmp_path / "in"),
        "FIM_RECIPE": "mine.yaml",
        "FIM_WORKERS": "3",
        "FIM_ENGINE": "ray",
        "FIM_PARTITIONS_PER_RUN": "4",
    }
    monkeypatch.setattr("fim_assets.settings.find_spec", lambda _name: object())
    expected = Settings(tmp_path / "out", tmp_path / "in", "mine.yaml", 3, "ray", 4)
    assert Settings.from_environment(environment) == expected


def test_the_input_root_follows_the_data_root(tmp_path: Path) -> None:
    assert Settings.from_environment({"FIM_DATA_ROOT": str(tmp_path)}).input_root == tmp_path


def test_the_data_root_does_not_follow_the_input_root(tmp_path: Path) -> None:
    settings = Settings.from_environment({"FIM_INPUT_ROOT": str(tmp_path)})
    assert settings.data_root == REPOSITORY / "data"


@pytest.mark.parametrize("folder", [None, "elsewhere"])
def test_a_relative_path_starts_from_the_repository_wherever_the_command_runs(
    folder: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path if folder else REPOSITORY)
    given = {"FIM_DATA_ROOT": "out/here", "FIM_INPUT_ROOT": "./~in", "FIM_RECIPE": "my/mine.yaml"}
    settings = Settings.from_environment(given)
    assert settings.data_root == REPOSITORY / "out" / "here"
    assert settings.input_root == REPOSITORY / "~in"
    assert Path(settings.recipe).absolute() == REPOSITORY / "my" / "mine.yaml"
    assert Settings.from_environment({"FIM_RECIPE": "ast_fim"}).recipe == "ast_fim"
    assert named_path("a/tokenizer") == REPOSITORY / "a" / "tokenizer"


@pytest.mark.parametrize("name", ["FIM_DATA_ROOT", "FIM_INPUT_ROOT", "FIM_RECIPE"])
def test_a_home_that_nobody_knows_is_refused_with_the_variable(name: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{name}=~nobody-here/x: .* \./~nobody-here"):
        Settings.from_environment({name: "~nobody-here/x"})


@pytest.mark.parametrize("name", ["FIM_DATA_ROOT", "FIM_INPUT_ROOT"])
def test_a_tilde_is_the_home_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Settings.from_environment({name: "~/code"}).input_root == tmp_path / "code"


@pytest.mark.parametrize("name", ["FIM_DATA_ROOT", "FIM_INPUT_ROOT"])
@pytest.mark.parametrize("url", ["file:///a", "https://host/a", "s3x://bucket/a"])
def test_a_url_of_no_object_storage_is_refused_with_the_variable(name: str, url: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}={url}: .*// is not supported; s3://"):
        Settings.from_environment({name: url})


def test_roots_may_lie_on_object_storage() -> None:
    settings = Settings.from_environment(
        {"FIM_DATA_ROOT": "s3://bucket/out/", "FIM_INPUT_ROOT": "s3://bucket/in"}
    )
    assert str(settings.data_root) == "s3://bucket/out"
    assert str(settings.input_root) == "s3://bucket/in"


def test_a_dataset_on_the_hub_is_an_input_and_no_data_root() -> None:
    url = f"hf://datasets/org/code@{'0' * 40}"
    settings = Settings.from_environment({"FIM_DATA_ROOT": "/out", "FIM_INPUT_ROOT": f"{url}/"})
    assert str(settings.input_root) == url
    assert str(settings.input_root / "data" / "a.jsonl") == f"{url}/data/a.jsonl"
    with pytest.raises(SettingsError, match=f"^FIM_DATA_ROOT={url}/out: hf:// is only read; "):
        Settings.from_environment({"FIM_DATA_ROOT": f"{url}/out"})


@pytest.mark.parametrize(("kind", "extra"), [("gs", "gcs"), ("abfs", "azure")])
def test_storage_that_is_not_installed_is_told_with_the_extra(kind: str, extra: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(f"pip install 'fim_assets[{extra}]'")):
        Settings.from_environment({"FIM_DATA_ROOT": f"{kind}://bucket/out"})


@pytest.mark.parametrize("name", ["FIM_WORKERS", "FIM_PARTITIONS_PER_RUN"])
@pytest.mark.parametrize("value", ["0", "-1", "2.5", "two", " 2", "1_000", "²", "٣"])
def test_counts_that_are_no_whole_number_from_one_on_are_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}={value}: give a whole number"):
        Settings.from_environment({name: value})


@pytest.mark.parametrize("value", ["Ray", "ray ", "dask"])
def test_an_engine_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match=f"^FIM_ENGINE={value}: give local or ray$"):
        Settings.from_environment({"FIM_ENGINE": value})


def test_ray_without_its_extra_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SettingsError, match=r"^FIM_ENGINE=ray: .* install fim_assets\[ray\]$"):
        Settings.from_environment({"FIM_ENGINE": "ray"})
