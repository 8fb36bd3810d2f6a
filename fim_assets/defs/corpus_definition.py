"""What the assets of one corpus are made from, and how everything of it is named."""

from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus.raw_shard import RawInput
from fim_assets.nothing_found import nothing_found
from fim_assets.settings import Settings

_GROUP = "fim_assets"

Dep = str | Sequence[str] | dg.AssetKey | dg.AssetDep | dg.AssetSpec | dg.AssetsDefinition
"""An asset, by all that `deps` of an asset of Dagster's may hold."""


@dataclass(frozen=True)
class CorpusDefinition:
    """What the assets are made from; `shards` are the raw shards by partition key.

    `deps` are the assets that write these. `group_name` is that of the assets where it is given.
    """

    corpus: Corpus
    settings: Settings
    shards: dict[str, RawInput]
    group_name: str | None = None
    deps: Sequence[Dep] = ()

    def key(self, asset: str) -> dg.AssetKey:
        """The asset's key, behind the prefix."""
        return dg.AssetKey([*self.corpus.prefix, asset])

    def named(self, name: str) -> str:
        """The name of an op, a job or a sensor, behind the prefix."""
        return "__".join([*self.corpus.prefix, name])

    @property
    def group(self) -> str:
        """The group of the assets, by default named after the prefix."""
        return self.group_name or "__".join(self.corpus.prefix) or _GROUP

    @property
    def no_shards(self) -> str:
        """What to say where there is no raw shard."""
        return "; ".join(nothing_found(self.corpus.recipe.raw.documents, self.settings))
