import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from fim_assets.cli.main import main
from fim_assets.settings import Settings
from fim_assets_tests.cli.running import MORE_THAN_A_PIPE_HOLDS, PROGRAM, make_fim_shard, run
from fim_assets_tests.corpora import documents, open_corpus, run_all, write_shard


def test_help_explains_every_command_in_a_section() -> None:
    shown = run("--help").stdout
    listed = [line.split()[0] for line in shown.splitlines() if re.match(r"  [a-z]+  ", line)]
    assert sorted(listed) == sorted(main.commands)
    settings = {f"FIM_{field.name.upper()}" for field in fields(Settings)}
    assert settings == set(re.findall(r"^  (FIM_\w+)  ", shown, re.MULTILINE))
    for name in main.commands:
        assert "  Examples:\n    " in run(name, "--help").stdout


def test_a_user_error_is_one_message_and_debug_shows_the_traceback(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIM_RECIPE", str(root / "no\x1b[31m.yaml"))
    done = run("keys")
    assert done.exit_code == 1
    message = f"Error: recipe {root}/no␛[31m.yaml: no such file, and no built-in recipe has this"
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
    shown = subprocess.run(
        [*PROGRAM, "--debug", "keys"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 1
    assert shown.stderr.startswith("Traceback")
    assert "fim_assets.recipe.errors.RecipeError: recipe " in shown.stderr


def test_a_wrong_use_has_status_2() -> None:
    for arguments in (["nonsense"], ["preview"], ["completion", "tcsh"]):
        done = run(*arguments)
        assert done.exit_code == 2
        assert "Usage: fim-assets" in done.stderr.replace("main", "fim-assets")


def test_a_fault_of_the_program_shows_where_it_is(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError(f"of {root}\x1b[31m")

    monkeypatch.setattr("fim_assets.corpus.corpus.find_shards", broken)
    done = run("keys")
    assert done.exit_code == 1
    assert done.stderr.startswith("Traceback")
    assert f"RuntimeError: of {root}␛[31m" in done.stderr
    assert "this is a fault of fim-assets, not of what it was given" in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.usefixtures("root")
def test_an_interrupt_ends_quietly_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fim_assets.corpus.corpus.find_shards", interrupted)
    done = run("keys")
    assert (done.exit_code, done.output) == (130, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["restore", "preview"])
def test_nobody_reads_on(
    root: Path, monkeypatch: pytest.MonkeyPatch, command: str, unbuffered: str
) -> None:
    """More than a pipe holds; the reader goes away after the first line."""
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    write_shard(root / "raw" / "long.jsonl", MORE_THAN_A_PIPE_HOLDS)
    arguments = make_fim_shard(root, "long") if command == "restore" else ("a", "--id", "6")
    program = [*PROGRAM, command]
    with subprocess.Popen(
        [*program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        if command == "restore":
            assert process.stdout.readline() == b'{"text":"ab"}\n'
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() != 0


LIBRARIES = {"dagster", "jinja2", "numpy", "polars", "pyarrow", "rich", "tokenizers"}
LIBRARIES |= {"huggingface_hub", "transformers", "tree_sitter"}
TABLES = {"numpy", "polars", "pyarrow", "rich"}


@pytest.mark.parametrize(
    ("commands", "loaded"),
    [
        (("--help", "--version", "keys", "keys --range", "completion bash"), set()),
        (("manifest raw/*.zst -o {root}/shards.tsv",), {"rich"}),
        (("collect {root} -o {root}/collected",), {"rich"}),
        (("summary", "verify a", "restore {shard}.jsonl.zst {shard}.parquet"), TABLES),
        (("regroup raw/**/* -o {root}/whole",), TABLES),
        (("preview a", "show a", "doctor"), TABLES | {"tokenizers"}),
    ],
)
def test_a_command_loads_no_library_that_it_does_not_need(
    root: Path, commands: tuple[str, ...], loaded: set[str]
) -> None:
    """What is asked most answers before any heavy library would be loaded."""
    for name in ("a.jsonl.zst", "c/d.json.gz"):
        write_shard(root / "raw" / name, documents(60))
    run_all(open_corpus(root))
    names = {"root": root, "shard": root / "fim_shards" / "a"}
    arguments = [command.format(**names).split() for command in commands]
    assert loads(arguments) <= loaded


def test_the_sample_is_written_without_a_library(root: Path) -> None:
    shutil.rmtree(root / "raw")
    assert loads([["sample"]]) == set()


def loads(commands: list[list[str]]) -> set[str]:
    """Which of `LIBRARIES` a process has loaded after commands, which end well."""
    code = (
        "import sys; from click.testing import CliRunner; from fim_assets.cli.main import main;"
        f"print([CliRunner().invoke(main, command).exit_code for command in {commands}]);"
        f"print(*{LIBRARIES} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    statuses, libraries = done.stdout.splitlines()
    assert statuses == str([0] * len(commands))
    return set(libraries.split())


def test_every_command_can_be_told_which_corpus_of_the_data_root(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    prefixed = open_corpus(root, prefix=["low", "b"])
    run_all(prefixed)
    told = ("--key-prefix", "low/b")
    nothing = run("summary")
    assert nothing.exit_code == 1
    assert "fim-assets --key-prefix low/b summary   another corpus\n" in nothing.stdout
    done = run(*told, "summary")
    assert done.exit_code == 0
    assert "2 of 2 partitions complete" in done.stdout
    assert "report   low/b/corpus_report/report.html  (not made yet" in done.stdout
    assert """-f FILE.py --select 'key:"low/b/corpus_report"' """ in done.stdout
    assert "fim-assets --key-prefix low/b preview a " in done.stdout
    assert "fim-assets show low/b/token_arrays/a-00000.npy " in done.stdout
    assert "fim_assets.definitions" not in done.stdout
    assert run(*told, "show", "a").stdout == run("show", "low/b/token_arrays/a-00000.npy").stdout
    assert "keys: none" in run("show", "a").stderr
    made = [line for line in run(*told, "doctor").stdout.splitlines() if "made " in line]
    assert made[0].endswith("2 of 2 partitions complete")
    (root / "mine.yaml").write_text("raw: {documents: ['**/a.jsonl.zst']}")
    monkeypatch.setenv("FIM_RECIPE", str(root / "mine.yaml"))
    for command in (("keys",), ("preview", "a")):
        refused = run(*told, *command)
        assert "low/b/fim_shards/a.jsonl.zst: raw.documents matches this output" in refused.stderr


@pytest.mark.usefixtures("root")
def test_a_key_prefix_is_folders() -> None:
    for prefix in ("/", "/a", "a//b", "../a", "."):
        done = run("--key-prefix", prefix, "keys")
        assert done.exit_code == 2
        assert "give the parts of a key_prefix joined by /" in done.stderr
