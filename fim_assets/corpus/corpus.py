"""The corpus: recipe, tokenizer and folders that all partitions share."""

import shlex
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fim_assets.corpus.partition_files import PartitionFiles
from fim_assets.corpus.sources import RawShard, find_shards, refuse_outputs
from fim_assets.io.locations import Location
from fim_assets.recipe import ASSETS, Recipe


@dataclass(frozen=True)
class Corpus:
    """What all partitions share.

    Attributes:
        recipe: What decides the bytes.
        tokenizer_hash: Content hash of the recipe's tokenizer.
        data_root: Folder of all outputs.
        prefix: Folders between the data root and the assets' folders.
        work: A folder of this machine that stands for the data root while a partition of object
            storage is worked on.
    """

    recipe: Recipe
    tokenizer_hash: str
    data_root: Location
    prefix: tuple[str, ...] = ()
    work: Path | None = None

    def place(self, asset: str, key: str) -> PartitionFiles:
        """Where a partition of an asset lies."""
        work = None if self.work is None else self.work.joinpath(*self.prefix, asset)
        return PartitionFiles(self.folder(asset), key, work)

    def folder(self, asset: str) -> Location:
        """Where an asset's files lie."""
        return self.data_root.joinpath(*self.prefix, asset)

    def relative(self, asset: str, name: str) -> str:
        """An output of an asset, as those name it who start from the data root."""
        folders = [*self.prefix] if "/" in name else [*self.prefix, asset]
        return PurePosixPath(*folders, name).as_posix()

    @property
    def command(self) -> str:
        """How `fim-assets` is called for this corpus."""
        option = ["--key-prefix", "/".join(self.prefix)] if self.prefix else []
        return shlex.join(["fim-assets", *option])

    @property
    def definitions(self) -> str:
        """How `dagster` is told of it; the file of a prefixed one is its author's."""
        return "-f FILE.py" if self.prefix else "-m fim_assets.definitions"

    def selection(self, asset: str) -> str:
        """How `dagster` is told of its assets, `*` for all: in a shell's words."""
        key = "/".join([*self.prefix, asset])
        return shlex.quote(f'key:"{key}"' if self.prefix else asset)

    def fingerprint(self, asset: str) -> str:
        """The law that makes an asset, see `Recipe.fingerprint`."""
        return self.recipe.fingerprint(asset, self.tokenizer_hash)


def list_shards(corpus: Corpus, input_root: Location) -> dict[str, RawShard]:
    """The corpus's raw shards by partition key.

    Args:
        corpus: Names the globs, and where outputs lie.
        input_root: Folder that relative globs start from.

    Raises:
        ShardError: As `find_shards`, or if a glob matches outputs.
    """
    shards = find_shards(corpus.recipe.raw.documents, input_root)
    refuse_outputs(shards.values(), map(corpus.folder, ASSETS))
    return shards
