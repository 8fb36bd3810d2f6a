"""The corpus: recipe, tokenizer, stages and folders that all partitions share."""

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path, PurePosixPath
from typing import Any

from fim_assets.corpus.partition_files import PartitionFiles
from fim_assets.corpus.raw_shard import RawInput
from fim_assets.corpus.sources import find_shards, refuse_outputs
from fim_assets.corpus.stage import Stage
from fim_assets.io.locations import Location
from fim_assets.recipe import Recipe


@dataclass(frozen=True)
class Corpus:
    """What all partitions share: the stages in the order of the data, and where outputs are.

    `prefix` are folders between the data root and the assets' folders; `work` is a folder of this
    machine that stands for the data root while a partition of object storage is worked on.
    """

    recipe: Recipe
    tokenizer_hash: str
    data_root: Location
    stages: tuple[Stage, ...]
    prefix: tuple[str, ...] = ()
    work: Path | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the stages."""
        return tuple(stage.name for stage in self.stages)

    def stage(self, name: str) -> Stage:
        """The stage with this name."""
        return self.stages[self.names.index(name)]

    def before(self, stage: Stage) -> tuple[Stage, ...]:
        """The stages before one, in order."""
        return self.stages[: self.names.index(stage.name)]

    def source(self, stage: Stage) -> Stage | None:
        """The stage whose documents a stage reads; None: it reads the raw shard."""
        return next((other for other in reversed(self.before(stage)) if other.shard), None)

    def files(self, asset: str, key: str) -> PartitionFiles:
        """The files of a partition of a stage."""
        work = None if self.work is None else self.work.joinpath(*self.prefix, asset)
        return PartitionFiles(self.folder(asset), key, self.stage(asset).outputs, work)

    def folder(self, asset: str) -> Location:
        """Where an asset's files are."""
        return self.data_root.joinpath(*self.prefix, asset)

    def folders(self) -> Iterator[Location]:
        """The folders of all stages, and those next to them that hold outputs too."""
        for stage in self.stages:
            yield self.folder(stage.name)
            yield from map(self.folder, stage.outputs.folders)

    def relative(self, asset: str, name: str) -> str:
        """The path of an asset's output from the data root, with `/`."""
        folders = [*self.prefix] if "/" in name else [*self.prefix, asset]
        return PurePosixPath(*folders, name).as_posix()

    @property
    def command(self) -> str:
        """How `fim-assets` is called for this corpus."""
        option = ["--key-prefix", "/".join(self.prefix)] if self.prefix else []
        return shlex.join(["fim-assets", *option])

    @property
    def definitions(self) -> str:
        """The option by which `dagster` finds it; of a prefixed one only its author knows."""
        return "-f FILE.py" if self.prefix else "-m fim_assets.definitions"

    def selection(self, asset: str) -> str:
        """How `dagster` is told of its assets, `*` for all, quoted for a shell."""
        key = "/".join([*self.prefix, asset])
        return shlex.quote(f'key:"{key}"' if self.prefix else asset)

    def fingerprint(self, asset: str) -> str:
        """What decides an asset's bytes, as 32 hex digits; also its Dagster code version.

        Hashes, as canonical JSON, the versions of the stages up to this one (of all, for an asset
        that is no stage) and what they say of the recipe, see `Stage.identity`. Fields at their
        version-1 defaults are left out, so that an option added later changes no fingerprint; so
        are `raw.documents` and paths, which say where, not what.
        """
        last = self.names.index(asset) if asset in self.names else len(self.stages)
        stages = self.stages[: last + 1]
        identity: dict[str, Any] = {"laws": {stage.name: stage.version for stage in stages}}
        for stage in stages:
            for name, value in stage.identity(self.recipe, self.tokenizer_hash).items():
                earlier = identity.get(name)
                identity[name] = earlier | value if isinstance(earlier, dict) else value
        canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"))
        return blake2b(canonical.encode(), digest_size=16).hexdigest()


def list_shards(corpus: Corpus, input_root: Location) -> dict[str, RawInput]:
    """The corpus's raw shards by key; a ShardError as of `find_shards`, or if they are outputs."""
    return list_raw_shards(corpus.recipe.raw.documents, input_root, [*corpus.folders()])


def list_raw_shards(
    documents: Sequence[str], input_root: Location, outputs: Sequence[Location]
) -> dict[str, RawInput]:
    """Raw shards by partition key, see `list_shards`; needs no tokenizer, and so is quick."""
    shards = find_shards(documents, input_root)
    refuse_outputs(shards.values(), outputs)
    return shards
