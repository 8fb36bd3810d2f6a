"""Where the files of one partition of one asset lie."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from upath import UPath

from fim_assets.io.storage import Location, is_remote, sizes_below
from fim_assets.layouts.registry import array_folders

FAILED = ".failed.jsonl"
"""How the name of the rejected lines ends that a partition left which failed by them."""

ENDINGS = (".parquet", ".jsonl.zst", ".rejected.jsonl", FAILED)
"""How the names of a partition's outputs end that are not numbered; see `array_endings`."""


def folders_beside(asset: str) -> tuple[str, ...]:
    """Folders next to an asset's own that hold outputs of its partitions too."""
    return array_folders() if asset == "token_arrays" else ()


class ReceiptError(ValueError):
    """A receipt that cannot be read or does not agree; the message names the file."""


@dataclass(frozen=True)
class PartitionFiles:
    """Where one partition of one asset lies.

    Attributes:
        folder: The asset's folder.
        key: The partition's key.
        work: A folder of this machine in which the files are made and read, where `folder` is on
            object storage.
    """

    folder: Location
    key: str
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


def sizes_of(folder: UPath, key: str = "") -> dict[str, int]:
    """Sizes of what lies in an asset's folder on object storage, and in those beside it.

    Args:
        folder: The asset's.
        key: What the files' names begin with.
    """
    sizes = sizes_below(folder, key)
    for name in folders_beside(folder.name):
        beside = sizes_below(folder.parent / name, key)
        sizes |= {f"{name}/{file}": size for file, size in beside.items()}
    return sizes


def fresh_folder(place: PartitionFiles) -> Path:
    """A hidden folder that no other run uses; what earlier ones left is deleted."""
    shutil.rmtree(place.hidden, ignore_errors=True)
    place.hidden.mkdir(exist_ok=True)
    # Not `mkdtemp`, which no other user of a shared folder could delete after a killed run.
    folder = place.hidden / uuid4().hex
    folder.mkdir()
    return folder
