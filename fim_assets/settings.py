"""Where files are and how much runs at once, from the environment; never what the bytes are."""

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeVar

from platformdirs import user_data_path

from fim_assets.errors import UserError
from fim_assets.io.locations import Location, expand_home, is_url, parse_output_url, parse_url

REPOSITORY = Path(__file__).resolve().parents[1]
"""The folder that holds the package: the repository, unless fim_assets is installed without it."""

_RECIPES = Path(__file__).parent / "recipe" / "built_in"
Engine = Literal["local", "ray"]
_Value = TypeVar("_Value")


class SettingsError(UserError):
    """A variable of the environment that cannot be used; the message names it and its value."""


@dataclass(frozen=True)
class Settings:
    """The variables that docs/running.md documents; relative paths start as `named_path` says.

    `engine` is the executor: processes of this machine, or a Ray cluster, whose CPUs then replace
    `workers`. Of a backfill, one run takes `partitions_per_run` partitions, by default all.
    """

    data_root: Location
    input_root: Location
    recipe: str
    workers: int
    engine: Engine = "local"
    partitions_per_run: int | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read the variables; one that is unset or empty takes its default."""
        data_root = _read(environment, "FIM_DATA_ROOT", _output) or _default_data_root()
        return cls(
            data_root=data_root,
            input_root=_read(environment, "FIM_INPUT_ROOT", _location) or data_root,
            recipe=_read(environment, "FIM_RECIPE", _recipe) or "olmo_midtraining",
            workers=_read(environment, "FIM_WORKERS", _count) or usable_cores(),
            engine=_read(environment, "FIM_ENGINE", _engine) or "local",
            partitions_per_run=_read(environment, "FIM_PARTITIONS_PER_RUN", _count),
        )


def _read(
    environment: Mapping[str, str], name: str, convert: Callable[[str], _Value]
) -> _Value | None:
    value = environment.get(name)
    try:
        return convert(value) if value else None
    except (ValueError, OSError) as error:
        raise SettingsError(f"{name}={error}") from error


def _location(value: str) -> Location:
    return parse_url(value) if is_url(value) else named_path(value)


def _output(value: str) -> Location:
    return parse_output_url(value) if is_url(value) else named_path(value)


def _recipe(value: str) -> str:
    if (_RECIPES / f"{value}.yaml").is_file():
        return value
    path = named_path(value)
    return value if path == Path(value).absolute() else str(path)


def _count(value: str) -> int:
    if not value.isascii() or not value.isdigit() or int(value) < 1:
        raise ValueError(f"{value}: give a whole number of at least 1")
    return int(value)


def _engine(value: str) -> Engine:
    if value == "local":
        return "local"
    if value != "ray":
        raise ValueError(f"{value}: give local or ray")
    if find_spec("ray") is None:
        raise ValueError("ray: Ray is not installed; install fim_assets[ray]")
    return "ray"


def named_path(text: str) -> Path:
    """The path that a setting or a recipe names, the same from whatever folder a command runs in.

    A relative one starts from the repository; where fim_assets is installed without one, from the
    working folder.

    Raises:
        FileNotFoundError: If it begins with a home folder that is not known.
    """
    return (REPOSITORY if in_repository() else Path.cwd()) / expand_home(text)


@cache
def in_repository() -> bool:
    """Whether the package is in its repository, and not in an environment's `site-packages`."""
    try:
        project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return bool(project.get("project", {}).get("name") == "fim_assets")


def _default_data_root() -> Path:
    if in_repository():
        return REPOSITORY / "data"
    try:
        return user_data_path("fim_assets", appauthor=False)
    except RuntimeError as error:
        raise SettingsError(
            "FIM_DATA_ROOT is not set, and no home folder is known that could hold the outputs: "
            "set it to a folder or URL"
        ) from error


def unnamed_data_root(environment: Mapping[str, str] = os.environ) -> str | None:
    """A notice of where outputs are, if neither the environment nor a repository says it."""
    if environment.get("FIM_DATA_ROOT") or in_repository():
        return None
    return f"FIM_DATA_ROOT is not set: outputs are in {_default_data_root()}"


def usable_cores() -> int:
    """The cores that this process may run on; a container can have fewer than the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
