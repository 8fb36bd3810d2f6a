"""Where the files of one partition of one asset lie."""

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from upath import UPath

from fim_assets.errors import UserError
from fim_assets.io.locations import Location, is_remote
from fim_assets.io.storage import sizes_below

FAILED = ".failed.jsonl"
"""How the name of the rejected lines ends that a partition left which failed by them."""


@dataclass(frozen=True)
class Outputs:
    """The names that files of a partition may have, so that those of an earlier run are found.

    Attributes:
        endings: What stands behind the key.
        numbered: What stands behind the key, `-` and a number from 0.
        folders: Folders next to the asset's own that hold numbered files too.
    """

    endings: tuple[str, ...]
    numbered: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()

    def hold(self, name: str, key: str) -> bool:
        """Whether a file may be an output of the partition `key`."""
        if not name.startswith(key):
            return False
        ending = name.removeprefix(key)
        number = re.match(r"-\d{5,}", ending)
        return ending in self.endings or bool(number and ending[number.end() :] in self.numbered)


class ReceiptError(UserError):
    """A receipt that cannot be read or does not agree; the message names the file."""


@dataclass(frozen=True)
class PartitionFiles:
    """Where one partition of one asset lies.

    Attributes:
        folder: The asset's folder.
        key: The partition's key.
        outputs: The names that its files may have.
        work: A folder of this machine in which the files are made and read, where `folder` is on
            object storage.
    """

    folder: Location
    key: str
    outputs: Outputs
    work: Path | None = None

    @property
    def local(self) -> Path:
        """The folder of this machine in which the files are made and read."""
        if self.work is not None:
            return self.work
        if is_remote(self.folder):
            raise ReceiptError(f"{self.folder}: its files are on no folder of this machine")
        return self.folder

    def file(self, ending: str) -> Path:
        """The partition's file with this ending, on this machine."""
        return self.local / f"{self.key}{ending}"

    def output(self, name: str) -> Path:
        """An output that its record names, on this machine: in the folder, or in one beside it."""
        return (self.local.parent if "/" in name else self.local) / name

    def published(self, name: str) -> Location:
        """Where an output lies for those who read it."""
        return (self.folder.parent if "/" in name else self.folder) / name

    @property
    def receipt(self) -> Location:
        """Where the receipt lies."""
        return self.folder / f"{self.key}.json"

    @property
    def hidden(self) -> Path:
        """The folder of what is being made, in which every run has one of its own."""
        return self.local / f".{self.key}.staging"


def published_sizes(folder: UPath, folders: Iterable[str], key: str = "") -> dict[str, int]:
    """Sizes of the files in an asset's folder on object storage, and in those next to it.

    Args:
        folder: The asset's.
        folders: Those next to it that hold its files too; their name stands before the file's.
        key: What the files' names begin with.
    """
    sizes = sizes_below(folder, key)
    for name in folders:
        sizes |= {f"{name}/{f}": n for f, n in sizes_below(folder.parent / name, key).items()}
    return sizes


def fresh_folder(files: PartitionFiles) -> Path:
    """A hidden folder that no other run uses; what earlier ones left is deleted."""
    shutil.rmtree(files.hidden, ignore_errors=True)
    files.hidden.mkdir(exist_ok=True)
    # Not `mkdtemp`, which no other user of a shared folder could delete after a killed run.
    folder = files.hidden / uuid4().hex
    folder.mkdir()
    return folder
