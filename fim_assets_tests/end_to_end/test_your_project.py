"""The projects of the page on one's own project, made and run as it says."""

import json
import shlex
import sys
from collections.abc import Iterator
from importlib import import_module
from itertools import takewhile
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner
from dagster._core.launcher import WorkerStatus
from dagster_dg_cli.cli import cli

from fim_assets.component import FimCorpus
from fim_assets.defs.launcher import LocalRunLauncher
from fim_assets.recipe import load_recipe
from fim_assets_tests.corpora import corpus_of, file_bytes, run_all
from fim_assets_tests.end_to_end.commands import ask, run
from fim_assets_tests.end_to_end.pages import blocks, page
from fim_assets_tests.end_to_end.test_readme import OF_A_PROJECT

FILES, SCAFFOLD, COMPONENT, LAUNCH, VERIFY = (block.code for block in blocks(OF_A_PROJECT, "sh"))
[MERGED] = (block.code for block in blocks(OF_A_PROJECT, "python"))
EXECUTOR = '        executor=dg.multiprocess_executor.configured({"max_concurrent": 1}),\n'

IN_ONE_PROCESS = ("--config-json", '{"execution": {"config": {"in_process": {}}}}')
"""For Dagster's default executor, whose process a step would only cost the tests time."""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder that commands run in; what they load of a project is forgotten in the end."""
    home, folder = tmp_path / "home", tmp_path / "project"
    home.mkdir()
    folder.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == "my_project"]:
        del sys.modules[name]


def follow(code: str, *options: str) -> None:
    """Do a block: in a shell what writes files, and commands in this process, which is quicker.

    The options go to commands that launch a run.
    """
    if "<<" in code:
        assert run(code, Path.cwd()).returncode == 0
        return
    for line in code.splitlines():
        words = shlex.split(line.replace("$PWD", str(Path.cwd())))
        variables = dict(w.split("=", 1) for w in takewhile(lambda w: w.startswith("FIM_"), words))
        program, *arguments = words[len(variables) :]
        if program == "fim-assets":
            ask(shlex.join(arguments), variables)
        else:
            assert program == "dg"
            dg_command(*arguments, *(options if "launch" in arguments else ()))


def dg_command(*arguments: str) -> str:
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, f"{arguments}\n{done.output[-5000:]}"
    return done.output


def executor() -> object:
    """The executor of the project's location."""
    return import_module("my_project.definitions").defs().executor


def is_whole(project: Path) -> None:
    """The project's last asset was given what the pipeline makes of what its first one wrote."""
    data = project / "data"
    tokens = json.loads((data / "training_list.json").read_text())
    assert [Path(array).name for array in tokens] == ["email-00000.npy", "json-00000.npy"]
    for array, number in tokens.items():
        assert Path(array).stat().st_size == 4 * number > 20_000
    (project / "plain").mkdir()
    (project / "plain" / "raw").symlink_to(data / "raw")
    corpus = corpus_of(load_recipe("olmo_midtraining"), project / "plain", ["code"])
    assert all(outcome.failure is None for outcome in run_all(corpus).values())
    plain = file_bytes(project / "plain" / "code")
    assert len(plain) > 2 * len(corpus.names)
    assert {name: (data / "code" / name).read_bytes() for name in plain} == plain


def test_a_component_takes_an_assets_shards_to_an_asset_that_reads_the_arrays(
    project: Path,
) -> None:
    assert "fim_assets.FimCorpus" in dg_command("list", "components", "--json")
    follow(FILES)
    follow(SCAFFOLD)
    found = json.loads(dg_command("list", "defs", "--json"))
    groups = {asset["asset_key"]: asset["group_name"] for asset in found["assets"]}
    assert groups["code/raw_shards"] == "code", "what is scaffolded loads"
    follow(COMPONENT)
    follow(LAUNCH, *IN_ONE_PROCESS)
    follow(VERIFY)
    is_whole(project)
    assert executor() is None


def test_merged_with_an_executor_it_is_the_projects_own_that_runs(project: Path) -> None:
    follow(FILES)
    Path("my_project/definitions.py").write_text(MERGED)
    follow(LAUNCH)
    is_whole(project)
    used = executor()
    assert isinstance(used, dg.ExecutorDefinition)
    assert used.name == "multiprocess"
    launcher = LocalRunLauncher()
    with dg.DagsterInstance.get() as instance:
        launcher.register_instance(instance)
        for run in instance.get_runs():
            events = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_WORKER_STARTED)
            assert events, "a process a step"
            health = launcher.check_run_worker_health(run)
            assert health.status == WorkerStatus.RUNNING, "though the step's process has gone"


def test_merged_without_an_executor_there_is_none(project: Path) -> None:
    follow(FILES)
    assert EXECUTOR in MERGED
    Path("my_project/definitions.py").write_text(MERGED.replace(EXECUTOR, ""))
    follow(LAUNCH, *IN_ONE_PROCESS)
    is_whole(project)
    assert executor() is None


def test_the_table_of_fields_is_that_of_the_component() -> None:
    rows = [line.split("|")[1] for line in page(OF_A_PROJECT).splitlines() if line[:3] == "| `"]
    named = [name.strip("` ") for cell in rows for name in cell.split(",")]
    assert named == [*FimCorpus.model().model_fields]
