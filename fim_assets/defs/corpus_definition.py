"""What the assets of one corpus are made from."""

from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus.raw_shard import RawInput
from fim_assets.defs.specs import GROUP, Dep
from fim_assets.nothing_found import nothing_found
from fim_assets.settings import Settings


@dataclass(frozen=True)
class CorpusDefinition:
    """What the assets are made from; `shards` are the raw shards by partition key.

    `deps` are the assets that write these.
    """

    corpus: Corpus
    settings: Settings
    shards: dict[str, RawInput]
    group_name: str = GROUP
    deps: Sequence[Dep] = ()

    def key(self, asset: str) -> dg.AssetKey:
        """The asset's key, behind the prefix."""
        return dg.AssetKey([*self.corpus.prefix, asset])

    @property
    def no_shards(self) -> str:
        """What to say where there is no raw shard."""
        return "; ".join(nothing_found(self.corpus.recipe.raw.documents, self.settings))
