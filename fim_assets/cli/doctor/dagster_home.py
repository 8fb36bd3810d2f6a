"""Whether Dagster's commands can start, and keep a record of their runs: `DAGSTER_HOME`."""

import os
from collections.abc import Mapping
from pathlib import Path

import yaml
from dotenv import dotenv_values

from fim_assets.cli.doctor.findings import Finding
from fim_assets.cli.doctor.storage import nearest_existing

_NAME_A_HOME = "export DAGSTER_HOME=<a folder>, an absolute path"


def dagster_finding(environment: Mapping[str, str]) -> Finding:
    """What is wrong with Dagster's home, or where Dagster keeps its records."""
    # A command of Dagster's sets what this folder's `.env` says.
    value = dotenv_values(".env").get("DAGSTER_HOME") or environment.get("DAGSTER_HOME")
    if not value:
        folder = nearest_existing(_with_home("~/.dagster"))
        if not (folder.is_dir() and os.access(folder, os.W_OK)):
            text = f"no DAGSTER_HOME, and {folder} cannot be written: dagster commands fail"
            return Finding("mend", "dagster", text, _NAME_A_HOME)
        text = "no DAGSTER_HOME: a command leaves no record of its run, and the UI will not show it"
        return Finding("look", "dagster", text, _NAME_A_HOME)
    text, home = f"DAGSTER_HOME={value}", _with_home(value)
    if not home.is_absolute() or not home.is_dir():
        problem = "is no folder" if home.is_absolute() else "is no absolute path"
        return Finding("mend", "dagster", f"{text} {problem}", "Dagster refuses it: name another")
    file = home / "dagster.yaml"
    if not file.is_file():
        return Finding("ok", "dagster", f"{text}, no dagster.yaml: SQLite in it")
    try:
        content = yaml.safe_load(file.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        return Finding("mend", "dagster", f"{file}: {' '.join(str(error).split())}")
    storage = content.get("storage") if isinstance(content, dict) else None
    kind = next(iter(storage), "SQLite") if isinstance(storage, dict) else "SQLite"
    return Finding("ok", "dagster", f"{text}, dagster.yaml with storage in {kind}")


def _with_home(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)  # no home is known: Dagster takes the name as it is
