import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fim_assets.cli.completion import _beginning
from fim_assets.cli.main import main
from fim_assets_tests.corpora import documents, open_corpus, run_all, write_shard

KEY = "日本-é"
ENCODINGS = ("ascii", "latin-1", "cp1252")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("FIM_INPUT_ROOT", "FIM_RECIPE", "FIM_WORKERS", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "ordner-é"
    monkeypatch.setenv("FIM_DATA_ROOT", str(folder))
    rows = [*documents(16), {"id": "é 🚀 …", "text": "日本 🚀\n" * 20}]
    write_shard(folder / "raw" / f"{KEY}.jsonl", rows)
    return folder


def run(encoding: str, *arguments: str) -> Result:
    return CliRunner(charset=encoding).invoke(main, arguments)


def test_every_command_works_in_every_encoding(root: Path) -> None:
    """What cannot be shown is replaced; what another program reads is not.

    Click takes ASCII for a mistake of the settings, and writes UTF-8 itself.
    """
    run_all(open_corpus(root))
    fim_shard = root / "fim_shards" / KEY
    restored = [f"{fim_shard}.jsonl.zst", f"{fim_shard}.parquet"]
    array = str(root / "token_arrays" / f"{KEY}-00000.npy")
    expected = run("utf-8", "restore", *restored).stdout_bytes
    assert "日本 🚀" in expected.decode()
    for encoding in ENCODINGS:
        for fails, *command in (
            (0, "--help"),
            (0, "summary"),
            (0, "preview", KEY, "--line", "17"),
            (0, "show", array, "--tokens"),
            (0, "manifest", "raw/*.jsonl", "-o", str(root / f"é-{encoding}.tsv")),
            (0, "collect", str(root / "raw"), "-o", str(root / f"é-{encoding}")),
            (0, "completion", "bash"),
            (0, "verify"),
            (1, "preview", "…", "--line", "1"),
            (2, "…"),
            (2, "--…"),
        ):
            done = run(encoding, *command)
            assert done.exit_code == fails, (encoding, command, done.output)
            assert "fault of fim-assets" not in done.stderr
            assert done.output_bytes.decode(encoding.replace("ascii", "utf-8")), command
        assert run(encoding, "restore", *restored).stdout_bytes == expected
        for arguments, keys in ((["keys"], KEY), (["keys", "--range"], f"{KEY}...{KEY}")):
            assert run(encoding, *arguments).stdout_bytes == os.fsencode(f"{keys}\n")
    shown = run("ascii", "preview", KEY, "--line", "17").stdout
    assert r"\u65e5\u672c" in shown
    assert r"\xe9 \U0001f680 \u2026" in shown
    assert run("utf-8", "preview", KEY, "--line", "17").stdout.startswith(KEY)


def test_doctor_in_a_terminal_of_ascii(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(root))
    (root / "dagster.yaml").write_text("telemetry: {enabled: false}")
    done = run("ascii", "doctor")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(r"\u2713 ok ")
    assert str(root.parent) in done.stdout


@pytest.mark.usefixtures("root")
def test_in_a_locale_without_letters_a_key_that_no_argument_can_be_is_told(tmp_path: Path) -> None:
    """A manifest, which is UTF-8, names a shard that the locale cannot."""
    manifest = tmp_path / "shards.tsv"
    assert run("utf-8", "manifest", "raw/*.jsonl", "-o", str(manifest)).exit_code == 0
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"raw: {{documents: ['{manifest}']}}\n", "utf-8")
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", "from fim_assets.cli.main import main; main()", "keys"],
        env=os.environ | plain | {"FIM_RECIPE": str(recipe)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert b"set LC_ALL=C.UTF-8" in done.stderr
    assert b"Traceback" not in done.stderr


def test_what_the_terminal_cannot_show_is_not_offered() -> None:
    with CliRunner(charset="ascii").isolation():
        assert _beginning("", ["a", KEY]) == ["a"]
    with CliRunner().isolation():
        assert _beginning("", ["a", KEY]) == ["a", KEY]
