"""Completion as shells ask for it, by click's protocol, and in a real bash."""

import logging
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner

from fim_assets.cli import completion
from fim_assets.cli.main import main
from fim_assets.recipe import Recipe
from fim_assets.recipe.tokens import Tokens
from fim_assets_tests.corpora import documents, open_corpus, run_all, write_shard


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("part-0", "part-1", "other"):
        write_shard(tmp_path / "raw" / f"{name}.jsonl.zst", documents(4, name))
    for name in ("FIM_INPUT_ROOT", "FIM_RECIPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FIM_DATA_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Where many tests run at once, nothing is quick.
_PROGRAM = (
    "from fim_assets.cli import completion, main; completion._SECONDS = 60;"
    "main.main(prog_name='fim-assets')"
)


def completed(*words: str) -> list[str]:
    """What click answers a bash that has these words on its line."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(completion, "_SECONDS", 60)
        patch.setattr(logging.root.manager, "disable", 0)  # the tests after this one may log
        patch.setenv("COMP_WORDS", shlex.join(["fim-assets", *words]))
        patch.setenv("COMP_CWORD", str(len(words)))
        answer = BashComplete(main, {}, "fim-assets", "_FIM_ASSETS_COMPLETE").complete()
    return [line.removeprefix("plain,") for line in answer.split()]


def completed_by_a_process(*words: str) -> list[str]:
    """The same of a process, which writes nothing else."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        env=os.environ
        | {
            "_FIM_ASSETS_COMPLETE": "bash_complete",
            "COMP_WORDS": shlex.join(["fim-assets", *words]),
            "COMP_CWORD": str(len(words)),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return [line.removeprefix("plain,") for line in done.stdout.split()]


@pytest.mark.usefixtures("root")
def test_commands_options_keys_and_shards() -> None:
    assert completed("pre") == ["preview"]
    assert completed("preview", "--no") == ["--no-tokens"]
    assert completed("preview", "part") == ["part-0", "part-1"]
    assert completed("verify", "part-0", "o") == ["other"]
    assert completed("preview", "raw/o") == ["raw/other.jsonl.zst"]
    assert completed("completion", "z") == ["zsh"]


def test_arrays_or_any_file(root: Path) -> None:
    assert completed("show", "token") == ["file,token"]
    run_all(open_corpus(root, Recipe(tokens=Tokens(max_size=60))))
    arrays = {f"token_arrays/{path.name}" for path in (root / "token_arrays").glob("*.npy")}
    assert {"token_arrays/other-00000.npy", "token_arrays/part-0-00001.npy"} <= arrays
    assert set(completed("show", "token")) == arrays
    assert completed("show", f"{root}/token_arrays/o") == sorted(
        f"{root}/{name}" for name in arrays if "/o" in name
    )
    assert completed("show", "elsewhere/") == ["file,elsewhere/"]
    assert sorted(completed("show", "part")) == ["part-0", "part-1"]
    (root / "low").mkdir()
    (root / "token_arrays").rename(root / "low" / "token_arrays")
    assert completed("show", "part") == ["file,part"]
    assert sorted(completed("--key-prefix", "low", "show", "part")) == ["part-0", "part-1"]
    assert f"low/{min(arrays)}" in completed("--key-prefix", "low", "show", "low/")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FIM_RECIPE", "nowhere.yaml"),
        ("FIM_DATA_ROOT", "ftp://x"),
        ("FIM_DATA_ROOT", "s3://x"),
        ("FIM_INPUT_ROOT", "/nowhere"),
    ],
)
@pytest.mark.usefixtures("root")
def test_an_error_is_silent_and_object_storage_is_not_listed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert completed("preview", "p") == []
    assert completed("show", "p") == ["file,p"] or name == "FIM_RECIPE"
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("root")
def test_a_process_completes_and_is_silent_about_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    assert completed_by_a_process("preview", "part") == ["part-0", "part-1"]
    monkeypatch.setenv("FIM_RECIPE", "nowhere.yaml")
    assert completed_by_a_process("preview", "p") == []


@pytest.mark.usefixtures("root")
def test_what_takes_long_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fim_assets.corpus.corpus.find_shards", lambda *_: time.sleep(30))
    monkeypatch.setattr(completion, "_SECONDS", 0.1)
    monkeypatch.setattr(logging.root.manager, "disable", 0)  # the tests after this one may log
    begin = time.monotonic()
    context = click.Context(main)
    context.params["key_prefix"] = ()
    assert completion._in_time(context, lambda: completion._keys_and_shards("p")) == []
    assert time.monotonic() - begin < 5


def test_bash_itself_completes_a_key(root: Path) -> None:
    script = root / "fim-assets.bash"
    script.write_text(CliRunner().invoke(main, ["completion", "bash"]).stdout)
    program = root / "fim-assets"
    program.write_text(f"#!{sys.executable}\n{_PROGRAM}\n")
    program.chmod(0o755)
    asked = (
        f"source {script}; COMP_WORDS=(fim-assets preview part); COMP_CWORD=2;"
        f"_fim_assets_completion {program}; echo ${{COMPREPLY[@]}}; complete -p fim-assets"
    )
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=False)
    replies, registered = done.stdout.splitlines()
    assert replies.split() == ["part-0", "part-1"]
    assert registered.endswith("-F _fim_assets_completion fim-assets")


@pytest.mark.parametrize(
    ("shell", "begin"),
    [("zsh", "#compdef fim-assets"), ("fish", "function _fim_assets_completion")],
)
def test_the_scripts_of_zsh_and_fish(shell: str, begin: str) -> None:
    done = CliRunner().invoke(main, ["completion", shell])
    assert done.exit_code == 0
    assert done.stdout.startswith(begin)
    assert "_FIM_ASSETS_COMPLETE" in done.stdout
