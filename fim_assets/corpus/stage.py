"""The contract of a stage: all that the rest of the code knows of a folder such as `fim_shards/`.

    raw shard ─┬─> raw_shards         judges and measures; writes no documents
               └─> fim_shards ──────> token_arrays
                   writes documents   writes arrays

The order of the stages is the order of `fim_assets/stages.py`. A stage reads the documents of the
nearest earlier stage that writes some (`Stage.shard`), else the raw shard. A stage put between two
others therefore changes what the later one reads, and nothing in its code. What becomes of one
partition, stage by stage, stands in `run/partition.py`; what Dagster shows of a stage, in `defs/`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from fim_assets.corpus.partition_files import Outputs, PartitionFiles
from fim_assets.corpus.raw_shard import Member
from fim_assets.io.hashing import FileRecord
from fim_assets.recipe import Recipe

if TYPE_CHECKING:
    import pyarrow as pa

    from fim_assets.corpus.receipts import Receipt
    from fim_assets.corpus.staging import Staging
    from fim_assets.statistics.histograms import Histogram
    from fim_assets.statistics.name_samples import NameSample
    from fim_assets.statistics.tables import Table

Number = int | float | str | None


@dataclass(frozen=True)
class CheckOutcome:
    """A check's verdict on one partition in one sentence, with the first fault if there is one."""

    name: str
    passed: bool
    description: str
    numbers: dict[str, Number] = field(default_factory=dict)


def fault(name: str, description: str) -> CheckOutcome:
    """The verdict of a check that found a fault."""
    return CheckOutcome(name, passed=False, description=description)


def passed(name: str, description: str, **numbers: Number) -> CheckOutcome:
    """The verdict of a check that found none, with what it counted."""
    return CheckOutcome(name, passed=True, description=description, numbers=numbers)


@dataclass(frozen=True)
class Source:
    """The documents that a stage reads.

    Attributes:
        paths: The shard; several are raw shards of one partition, read one behind another.
        parquet: The parquet next to it, which names each document's line in the raw shard; None
            for the raw shard.
        name: The shard's path from the data root; of the raw shard its file name.
        receipt: Of the stage that wrote it, None for the raw shard.
    """

    paths: tuple[Path, ...]
    parquet: Path | None
    name: str
    receipt: "Receipt | None"

    @property
    def path(self) -> Path:
        """The shard, where a stage wrote it."""
        (path,) = self.paths
        return path


@dataclass(frozen=True)
class Work:
    """A partition that a stage is to make."""

    recipe: Recipe
    tokenizer_hash: str
    seed: int
    source: Source
    staging: "Staging"


class StageFiles(NamedTuple):
    """A stage's files of a partition, and its receipt if today's recipe made them."""

    files: PartitionFiles
    receipt: "Receipt | None"


@dataclass(frozen=True)
class Finished:
    """A finished partition of a stage, for its checks.

    Attributes:
        source: Gives the documents that it was made of, which are then on this machine.
        before: Gives the earlier stages by name, in order, which are then on this machine.
        made_of: The stage whose documents it was made of, None for the raw shard.
    """

    recipe: Recipe
    tokenizer_hash: str
    files: PartitionFiles
    receipt: "Receipt"
    source: Callable[[], Source]
    before: Callable[[], dict[str, StageFiles]]
    made_of: str | None


def applies_to_all(recipe: Recipe) -> bool:
    """Whether a check applies to a recipe: it does."""
    del recipe
    return True


@dataclass(frozen=True)
class Check:
    """What must be true of a finished partition of a stage; no other check has its name.

    `run` gets the partition as `Stage.opened` returns it, and reads the files that were written; a
    ValueError is a fault that it found. Of a recipe that it does not apply to nothing is checked,
    and partitions are complete without it.
    """

    name: str
    description: str
    run: Callable[[Any], CheckOutcome]
    applies: Callable[[Recipe], bool] = applies_to_all


@dataclass(frozen=True)
class Totals:
    """What a stage read and wrote, as its receipt says it, see `receipts.Result`.

    `counts` are further numbers, which no table holds: `rejected:<reason>`, `tokens:<language>`,
    and `dropped:<reason>`, documents that were read and not written; `joined` are those that were
    written as a part of another, behind its first. `members` are those of a group of raw shards.
    """

    input: FileRecord
    lines: int
    blank: int
    rejected: int
    documents: int
    chars: int
    files: int | None = None
    tokens: int | None = None
    counts: dict[str, int] = field(default_factory=dict)
    members: tuple[Member, ...] = ()


@dataclass(frozen=True)
class Statistics:
    """Counts and distributions of one partition of a stage, for its receipt.

    `names` are a sample of those of what may be in several partitions, None where nothing may.
    """

    counts: dict[str, int] = field(default_factory=dict)
    histograms: "dict[str, Histogram]" = field(default_factory=dict)
    names: "NameSample | None" = None


@dataclass(frozen=True)
class Facts:
    """What a stage shows of a partition, next to what every stage shows.

    `first` names the numbers that matter most, in the order of reading: its own or those that every
    stage shows.
    """

    first: tuple[str, ...] = ()
    tables: "dict[str, Table]" = field(default_factory=dict)
    numbers: dict[str, int | float | str] = field(default_factory=dict)


@dataclass(frozen=True)
class About:
    """What an asset says of itself.

    Attributes:
        description: Markdown.
        kinds: What it is made of, three at most, by names that Dagster's UI has pictures for.
        work: The plain functions that make it.
        columns: What each column of its parquet files holds; `files.order` is a field of a list.
        section: The recipe's section that is its own, None where it has none.
    """

    description: str
    kinds: frozenset[str]
    work: tuple[FunctionType, ...] = ()
    schema: "pa.Schema | None" = None
    columns: Mapping[str, str] = field(default_factory=dict)
    section: str | None = None


class Stage(ABC):
    """One asset with a partition for each raw shard. Holds no state: workers unpickle it.

    Its module imports what works and checks only where that is used: commands that list partitions
    load every stage, and must answer at once.

    Attributes:
        name: The asset's key, the folder of its files, and the name in receipts.
        version: Raised whenever the same input would give other bytes, or another `result`.
        shard: How the name of the documents that it writes ends; None where it writes none.
        libraries: Packages that have a part in it, next to those of every stage.
        read_by: The command that reads its files, None where there is none.
        preview: Whether a few documents of a partition are shown as text, or with their tokens,
            for stages that read or write FIM documents; or their `files`, where these are joined.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    shard: ClassVar[str | None] = None
    libraries: ClassVar[tuple[str, ...]] = ()
    read_by: ClassVar[str | None] = None
    preview: ClassVar[Literal["files", "texts", "tokens"] | None] = None

    def is_in(self, recipe: Recipe) -> bool:
        """Whether a recipe has it; else there is no such asset."""
        del recipe
        return True

    @property
    @abstractmethod
    def about(self) -> About:
        """What it says of itself."""

    def schema_of(self, recipe: Recipe) -> "pa.Schema | None":
        """The columns of its parquet files under a recipe, if that may add some."""
        del recipe
        return self.about.schema

    def libraries_of(self, recipe: Recipe) -> tuple[str, ...]:
        """The packages that have a part in it under a recipe, see `libraries`."""
        del recipe
        return self.libraries

    @property
    def checks(self) -> tuple[Check, ...]:
        """What must be true of a finished partition, in the order of running."""
        return ()

    def checks_of(self, recipe: Recipe) -> tuple[Check, ...]:
        """Those of them that apply to a recipe."""
        return tuple(check for check in self.checks if check.applies(recipe))

    @property
    @abstractmethod
    def outputs(self) -> Outputs:
        """Names that its files may have, so that those of an earlier run are found."""

    def identity(self, recipe: Recipe, tokenizer_hash: str) -> dict[str, Any]:
        """What decides its bytes next to its version and the stages before it, for fingerprints.

        Values are JSON; a mapping is merged with what earlier stages gave under the same name.
        """
        del recipe, tokenizer_hash
        return {}

    def tags(self, recipe: Recipe) -> dict[str, str]:
        """Dagster's tags, which tell it from the same asset of another recipe."""
        del recipe
        return {}

    def prepare(self, recipe: Recipe, tokenizer_hash: str) -> str | None:
        """Load what it needs, outside of its measured time; what encodes, for receipts, if any."""
        del recipe, tokenizer_hash
        return None

    @abstractmethod
    def make(self, work: Work) -> Totals:
        """Read the documents of a partition and write its files; a ShardError for unusable ones."""

    def statistics(self, parquet: Path) -> Statistics:
        """Statistics of a partition, from its parquet."""
        del parquet
        return Statistics()

    def seen(self, recipe: Recipe, parquet: Path) -> dict[str, int]:
        """What trainers see of a partition, from its parquet: counts that add up, if any.

        They are next to the receipt's `result` and no part of it, so that a count that is added
        raises no number of a version.
        """
        del recipe, parquet
        return {}

    def opened(self, finished: Finished) -> Any:
        """A finished partition, as its checks take it."""
        return finished

    def facts(self, recipe: Recipe, receipt: "Receipt") -> Facts:
        """What it shows of a finished partition."""
        del recipe, receipt
        return Facts()

    def data_ending(self, recipe: Recipe) -> str:
        """How the name of the file ends that holds its data, the first where there are several."""
        del recipe
        return self.shard or ".parquet"


def functions(*work: Callable[..., Any]) -> tuple[FunctionType, ...]:
    """Functions that are written in a source file."""
    return tuple(function for function in work if isinstance(function, FunctionType))
