"""Where files are and how much runs at once, from the environment; never what the bytes are."""

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
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
DEFAULT_RECIPE = "olmo_midtraining"

Engine = Literal["local", "ray"]
_Given = TypeVar("_Given")
_Value = TypeVar("_Value")


class SettingsError(UserError):
    """A setting that cannot be used; the message names it and its value."""


@dataclass(frozen=True, init=False)
class Settings:
    """The variables that docs/running.md documents, and their values in Python.

    `engine` is who works on partitions: processes of this machine, or a Ray cluster, whose CPUs
    then replace `workers`. Of a backfill, one run takes `partitions_per_run`, by default all.
    """

    data_root: Location
    input_root: Location
    recipe: str
    workers: int
    engine: Engine
    partitions_per_run: int | None

    def __init__(
        self,
        data_root: str | Location,
        input_root: str | Location | None = None,
        recipe: str = DEFAULT_RECIPE,
        workers: int | None = None,
        engine: Engine = "local",
        partitions_per_run: int | None = None,
    ) -> None:
        """Only the data root has no default. Relative paths start from the working folder.

        Raises:
            SettingsError: If a value cannot be used.
        """
        outputs = _converted("data_root", data_root, _output)
        values = (
            outputs,
            outputs if input_root is None else _converted("input_root", input_root, _location),
            recipe,
            usable_cores() if workers is None else _converted("workers", workers, _count),
            _converted("engine", engine, _engine),
            None
            if partitions_per_run is None
            else _converted("partitions_per_run", partitions_per_run, _count),
        )
        for field, value in zip(fields(self), values, strict=True):
            object.__setattr__(self, field.name, value)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read the variables; one that is unset or empty takes its default.

        Relative paths start as `named_path` says.
        """
        return cls(
            data_root=_read(environment, "FIM_DATA_ROOT", _named_output) or _default_data_root(),
            input_root=_read(environment, "FIM_INPUT_ROOT", _named_location),
            recipe=_read(environment, "FIM_RECIPE", _recipe) or DEFAULT_RECIPE,
            workers=_read(environment, "FIM_WORKERS", _count),
            engine=_read(environment, "FIM_ENGINE", _engine) or "local",
            partitions_per_run=_read(environment, "FIM_PARTITIONS_PER_RUN", _count),
        )


def _read(
    environment: Mapping[str, str], name: str, convert: Callable[[str], _Value]
) -> _Value | None:
    value = environment.get(name)
    return _converted(name, value, convert) if value else None


def _converted(name: str, given: _Given, convert: Callable[[_Given], _Value]) -> _Value:
    try:
        return convert(given)
    except (ValueError, OSError) as error:
        raise SettingsError(f"{name}={error}") from error


def _location(value: str | Location) -> Location:
    if isinstance(value, str):
        return parse_url(value) if is_url(value) else _path(value)
    return value.absolute()


def _output(value: str | Location) -> Location:
    if isinstance(value, str) and is_url(value):
        return parse_output_url(value)
    return _location(value)


def _path(text: str) -> Path:
    if not text:
        raise ValueError(": name a folder or URL")
    return expand_home(text).absolute()


def _named_location(value: str) -> Location:
    return _location(value if is_url(value) else named_path(value))


def _named_output(value: str) -> Location:
    return _output(value if is_url(value) else named_path(value))


def _recipe(value: str) -> str:
    if (_RECIPES / f"{value}.yaml").is_file():
        return value
    path = named_path(value)
    return value if path == Path(value).absolute() else str(path)


def _count(value: str | int) -> int:
    text = str(value)
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ValueError(f"{text}: give a whole number of at least 1")
    return int(text)


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
    start, path = REPOSITORY if in_repository() else Path.cwd(), expand_home(text)
    # So that no record and no page shows a way down and up again.
    while path.parts[:1] == ("..",):
        start, path = start.parent, Path(*path.parts[1:])
    return start / path


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
