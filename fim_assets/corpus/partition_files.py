"""Where the files of one partition of one asset are."""

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

    `endings` stand behind the key, `numbered` behind the key, `-` and a number from 0; `folders`
    next to the asset's own hold numbered files too.
    """

    endings: tuple[str, ...]
    numbered: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()

    def hold(self, name: str, key: str) -> bool:
        """Whether a file may be an output of the partition `key`."""
        ending = name.removeprefix(key)
        numbered = re.sub(r"^-\d{5,}", "", ending)
        known = ending in self.endings or (numbered != ending and numbered in self.numbered)
        return known and name.startswith(key)


class ReceiptError(UserError):
    """A receipt that cannot be read or does not agree; the message names the file."""


@dataclass(frozen=True)
class PartitionFiles:
    """The files of one partition of one asset, in the asset's `folder`.

    `outputs` are the names that they may have. Where `folder` is on object storage, they are made
    and read in `work`, a folder of this machine.
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
        """An output that its record names, on this machine: in the folder, or in one next to it."""
        return (self.local.parent if "/" in name else self.local) / name

    def published(self, name: str) -> Location:
        """Where an output is for those who read it."""
        return (self.folder.parent if "/" in name else self.folder) / name

    @property
    def receipt(self) -> Location:
        """Where the receipt is."""
        return self.folder / f"{self.key}.json"

    @property
    def hidden(self) -> Path:
        """The folder of what is being made, in which every run has one of its own."""
        return self.local / f".{self.key}.staging"


def published_sizes(folder: UPath, folders: Iterable[str], key: str = "") -> dict[str, int]:
    """Sizes of the files in an asset's folder on object storage, and in `folders` next to it.

    The folder's name stands before a name of these. `key` is what the files' names begin with.
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
