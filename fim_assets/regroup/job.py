"""What the tasks of a run share: where its unfinished files are, and how lines are read.

A task's file is in its place once it is whole, and the task's receipt is written after it, so that
a run which goes on where another one ended knows what it need not do again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar
from uuid import uuid4

from fim_assets.io.frozen_model import FrozenModel
from fim_assets.io.locations import Location, StorageError, is_remote
from fim_assets.io.machine_folders import working_folder
from fim_assets.io.storage import store
from fim_assets.recipe.raw import Raw

LAW = 1
"""Raised whenever the same inputs would give other shards, or other unfinished files."""

PART = ".part"
"""How the name of a file ends that is being written on this machine."""


@dataclass(frozen=True)
class Job:
    """What all tasks of a run share.

    Attributes:
        folder: Holds the run's unfinished files, and is hidden.
        raw: How lines are read.
        name_field: Where a line holds its repository's name.
        run_bytes: Of lines that a task sorts in memory at once.
    """

    folder: Location
    raw: Raw
    name_field: str
    run_bytes: int


@dataclass(frozen=True)
class JobTask:
    """What a task of either pass is, see `run.tasks`."""

    job: Job

    shared: ClassVar[str] = "job"

    @property
    def folder(self) -> Location:
        """That of the run's unfinished files."""
        return self.job.folder

    def identity(self) -> list[str]:
        """What decides the bytes."""
        return identity()


@dataclass
class Outcome:
    """What became of a task: `failure` is why it could not be finished."""

    key: str
    failure: str | None = None
    interrupted: bool = False


class Receipt(FrozenModel):
    """What a finished task counted."""

    @classmethod
    def name_of(cls, number: int) -> str:
        """The name of a task's receipt."""
        return f"{cls.__name__.lower()}-{number:05d}.json"


def identity() -> list[str]:
    """What decides the bytes of shards beside inputs, recipe and options."""
    return [f"{LAW}", *(f"{name} {version(name)}" for name in ("fim_assets", "zstandard"))]


@contextmanager
def scratch_file(folder: Location, name: str) -> Iterator[Path]:
    """Where a new file of this machine may be written; in the end it is deleted if it is there."""
    if is_remote(folder):
        with working_folder() as work:
            yield work / name
        return
    path = folder / f"{name}.{uuid4().hex}{PART}"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def new_file(location: Location) -> Iterator[Path]:
    """Where a file may be written, which is in its place once it is whole."""
    with scratch_file(location.parent, location.name) as path:
        yield path
        if is_remote(location):
            store(path, location)
        else:
            path.replace(location)


def told(error: OSError, where: object, doing: str) -> str:
    """What a system's error says; where it names no file, with what was written and done then."""
    if isinstance(error, StorageError) or error.filename is not None:
        return str(error)
    return f"{where}: {error}, while {doing}"
