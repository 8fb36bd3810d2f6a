"""One partition, stage by stage: made, checked, and recorded in a receipt.

A stage that fails, or whose check fails, costs the partition its later stages and no other
partition anything. How receipts must agree is `corpus/partition.py`; what a stage does is its own.
"""

import logging
import platform
import shutil
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import gettempdir
from typing import ClassVar

import pyarrow as pa
from polars.exceptions import PolarsError

from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus.partition import Partition
from fim_assets.corpus.partition_files import PartitionFiles, ReceiptError
from fim_assets.corpus.partition_lock import LOCKS, partition_lock
from fim_assets.corpus.raw_shard import RawInput, fetched_names
from fim_assets.corpus.receipts import Provenance, Receipt, Result, delete_receipt, read_receipt
from fim_assets.corpus.stage import Check, CheckOutcome, Stage, Work, fault
from fim_assets.corpus.staging import Staging, write_receipt
from fim_assets.errors import USER_ERRORS, ShardError
from fim_assets.io.locations import Location, StorageError, is_remote
from fim_assets.io.machine_folders import working_folder
from fim_assets.preview.joined_files import repositories_markdown
from fim_assets.preview.markdown import Preview, preview_markdown
from fim_assets.tokenizer.encoders import is_panic
from fim_assets.tokenizer.load import load_tokenizer

log = logging.getLogger(__name__)

_LIBRARIES = (
    *("fim_assets", "numpy", "orjson", "polars", "pyarrow"),
    *("tree-sitter", "xxhash", "zstandard"),
)


@dataclass(frozen=True)
class Task:
    """One partition to work on: assets to materialize, and checks to run, by name.

    Checks of an asset that is not materialized look at the existing files. `skip_complete`: whether
    a stage stays as it is where it is complete: its receipt agrees with the recipe, its input's
    content and its files' sizes, and names these checks.
    """

    corpus: Corpus
    key: str
    shard: RawInput
    assets: frozenset[str]
    checks: frozenset[str]
    skip_complete: bool = False

    shared: ClassVar[str] = "corpus"

    @property
    def size(self) -> int:
        """Bytes of its shard."""
        return self.shard.size

    @property
    def folder(self) -> Location:
        """That of the locks."""
        return self.corpus.folder("") / LOCKS

    def identity(self) -> list[str]:
        """The fingerprints of all assets."""
        return [self.corpus.fingerprint(asset) for asset in self.corpus.names]

    def run(self) -> "Outcome":
        """What `run_partition` does."""
        return run_partition(self)

    def failed(self, reason: str) -> "Outcome":
        """The outcome where no worker could finish it."""
        return Outcome(self.key, failure=f"{self.shard}: {reason}")


@dataclass(frozen=True)
class StageOutcome:
    """What became of one stage; its receipt is None where it was not made or a check failed.

    `preview` is a few of its documents as Markdown, where it was made and has any to show;
    `skipped` says that it was complete and stayed as it is, `replaced` that it took the place of
    what another recipe had made.
    """

    asset: str
    receipt: Receipt | None
    checks: tuple[CheckOutcome, ...] = ()
    preview: Preview | None = None
    skipped: bool = False
    replaced: bool = False


@dataclass
class Outcome:
    """What became of one partition, and of its stages, as far as they came.

    Attributes:
        failure: Stage and reason, where it did not come to the end; some of the lines that are
            the reason stand below, a line each.
        fault: Stage and what partitions that fail alike have in common, where that is known.
        details: The traceback, where the reason is a fault of the program.
        interrupted: Whether a worker process died over it, so that it was worked on again.
    """

    key: str
    stages: list[StageOutcome] = field(default_factory=list)
    failure: str | None = None
    fault: str | None = None
    details: str | None = None
    interrupted: bool = False


def run_partition(task: Task) -> Outcome:
    """Materialize and check a partition's chosen assets, in order, as far as they succeed.

    Meanwhile another run that wants it waits.
    """
    try:
        with _working_folder(task) as folder:
            work = folder if is_remote(task.corpus.data_root) else None
            corpus = replace(task.corpus, work=work)
            partition = Partition(corpus, task.key, task.shard, folder)
            with partition_lock(corpus.folder(""), task.key):
                return _named_as_published(_run_stages(task, partition), task, folder)
    except OSError as error:
        first = min(task.assets, key=task.corpus.names.index, default="checks")
        return Outcome(task.key, failure=f"{first}: {error}")


@contextmanager
def _working_folder(task: Task) -> Iterator[Path]:
    """A folder for what is fetched and made of object storage; where there is none, of no use."""
    members = task.shard.members
    if not any(map(is_remote, (task.corpus.data_root, *(member.location for member in members)))):
        yield Path()
        return
    with working_folder() as folder:
        yield folder


def _named_as_published(outcome: Outcome, task: Task, folder: Path) -> Outcome:
    """With the paths and URLs that a user knows, not those of the working folder."""
    if folder == Path():
        return outcome

    def named(text: str) -> str:
        for fetched, shard in fetched_names(task.shard, folder):
            text = text.replace(fetched, shard)
        return text.replace(str(folder), str(task.corpus.data_root))

    stages = []
    for stage in outcome.stages:
        checks = (replace(check, description=named(check.description)) for check in stage.checks)
        stages.append(replace(stage, checks=tuple(checks)))
    return replace(outcome, stages=stages, failure=outcome.failure and named(outcome.failure))


def _run_stages(task: Task, partition: Partition) -> Outcome:
    outcome = Outcome(task.key)
    for stage in task.corpus.stages:
        asset = stage.name
        if asset not in task.assets and not _chosen_checks(task, stage):
            continue
        try:
            finished = _run_stage(task, stage, partition)
        except BaseException as error:
            # A panic in Rust is an error of this shard. Whatever else is no Exception asks the run
            # to end: Ctrl-C, or Dagster's own when a run is terminated or its pod is evicted.
            if not isinstance(error, Exception) and not is_panic(error):
                # It may have come while this was being removed.
                shutil.rmtree(partition.files(stage).hidden, ignore_errors=True)
                raise
            outcome.failure = f"{asset}: {_reason(error, task, stage, partition)}"
            if isinstance(error, ShardError) and error.fault:
                outcome.fault = f"{asset}: {error.fault}"
            if not isinstance(error, USER_ERRORS) and not _is_shortage(error):
                outcome.details = traceback.format_exc()
            return outcome
        outcome.stages.append(finished)
        if finished.receipt is None:
            failed = (check for check in finished.checks if not check.passed)
            reasons = (f"check {check.name} failed: {check.description}" for check in failed)
            outcome.failure = f"{asset}: {'; '.join(reasons)}"
            return outcome
    return outcome


def _reason(error: BaseException, task: Task, stage: Stage, partition: Partition) -> str:
    if (
        isinstance(error, OSError)
        and not isinstance(error, StorageError)
        and error.filename is None
    ):
        where = gettempdir() if partition.corpus.work else task.corpus.folder(stage.name)
        return f"{where}: {error}, while {task.shard} was worked on"
    if isinstance(error, USER_ERRORS):
        return str(error)
    if _is_shortage(error):
        refused = f"the system refused memory or a thread: {str(error) or type(error).__name__}"
        advice = "raise the limits of the process (`ulimit -a`), or lower FIM_WORKERS"
        return f"{task.shard}: {refused}; {advice}"
    return f"{type(error).__name__}: {error}"


_SHORTAGES = (
    "Resource temporarily unavailable",
    "can't start new thread",
    "Cannot allocate memory",
)
"""How libraries say that the system refused a thread or memory, some in errors of no own kind."""


def _is_shortage(error: BaseException) -> bool:
    """Whether the system refused memory or threads, which is no fault of the program."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in _SHORTAGES)


def _run_stage(task: Task, stage: Stage, partition: Partition) -> StageOutcome:
    files, made, replaced = partition.files(stage), stage.name in task.assets, False
    if made:
        if task.skip_complete and (complete := _complete(task, stage, partition)):
            # Left by a run that was killed right after its receipt was in place.
            shutil.rmtree(files.hidden, ignore_errors=True)
            return StageOutcome(stage.name, complete, skipped=True)
        replaced = _is_of_another_recipe(files, task.corpus.fingerprint(stage.name))
        delete_receipt(files)
        receipt = _make(stage, partition)
    else:
        receipt = partition.fetched(stage)
        partition.refuse_other_inputs(stage, receipt)
    checks = tuple(_run_checks(task, stage, partition, receipt))
    if not all(check.passed for check in checks):
        # On object storage, which has no locks, another run may have made it again meanwhile.
        if made or read_receipt(files) == receipt:
            delete_receipt(files)
        return StageOutcome(stage.name, None, checks)
    if not made:
        return StageOutcome(stage.name, receipt, checks)
    preview = _preview(stage, partition)
    made_by = receipt.made.model_copy(update={"checks": tuple(check.name for check in checks)})
    receipt = receipt.model_copy(update={"made": made_by})
    write_receipt(files, receipt)
    return StageOutcome(stage.name, receipt, checks, preview, replaced=replaced)


def _is_of_another_recipe(files: PartitionFiles, fingerprint: str) -> bool:
    try:
        receipt = read_receipt(files)
    except ReceiptError:
        return False
    return receipt is not None and receipt.result.fingerprint != fingerprint


def _complete(task: Task, stage: Stage, partition: Partition) -> Receipt | None:
    """The receipt of a stage that would only be made again as it is."""
    try:
        receipt = partition.finished(stage)
        inputs = partition.possible_inputs(stage)
    except ReceiptError:
        return None
    checked = {check.name for check in _chosen_checks(task, stage)} <= set(receipt.made.checks)
    return receipt if checked and receipt.result.input in inputs else None


def _make(stage: Stage, partition: Partition) -> Receipt:
    corpus = partition.corpus
    clock = _Clock(
        stage.prepare(corpus.recipe, corpus.tokenizer_hash), stage.libraries_of(corpus.recipe)
    )
    source = partition.source(stage)
    with Staging(partition.files(stage)) as staging:
        totals = stage.make(
            Work(corpus.recipe, corpus.tokenizer_hash, partition.seed, source, staging)
        )
        partition.refuse_other_source(stage, source, totals)
        outputs = staging.publish()
    parquet = partition.files(stage).file(".parquet")
    statistics = stage.statistics(parquet)
    fields = vars(totals) | {"counts": statistics.counts | totals.counts}
    result = Result(
        asset=stage.name,
        key=partition.key,
        fingerprint=partition.corpus.fingerprint(stage.name),
        seed=f"{partition.seed:016x}",
        **fields,
        outputs=outputs,
        histograms=statistics.histograms,
        names=statistics.names,
    )
    return Receipt(result=result, made=clock.provenance(), seen=stage.seen(corpus.recipe, parquet))


def _preview(stage: Stage, partition: Partition) -> Preview | None:
    """A few documents as Markdown; with tokens where these are made."""
    if stage.preview is None:
        return None
    if stage.preview == "files":
        return repositories_markdown(partition.files(stage).file(".parquet"))
    corpus = partition.corpus
    tokens = stage.preview == "tokens"
    tokenizer = load_tokenizer(corpus.recipe, corpus.tokenizer_hash) if tokens else None
    documents = stage if stage.shard else corpus.source(stage)
    if documents is None or documents.shard is None:
        return None
    files = partition.files(documents)
    shard, parquet = files.file(documents.shard), files.file(".parquet")
    return preview_markdown(shard, parquet, corpus.recipe, tokenizer)


def _chosen_checks(task: Task, stage: Stage) -> list[Check]:
    checks = stage.checks_of(task.corpus.recipe)
    return [check for check in checks if check.name in task.checks]


def _run_checks(
    task: Task, stage: Stage, partition: Partition, receipt: Receipt
) -> Iterator[CheckOutcome]:
    checks = _chosen_checks(task, stage)
    opened = stage.opened(partition.opened(stage, receipt)) if checks else None
    for check in checks:
        try:
            yield check.run(opened)
        except (ValueError, EOFError, FileNotFoundError) as error:
            yield fault(check.name, str(error))
        except (PolarsError, pa.ArrowException, TypeError, LookupError) as error:
            if _is_shortage(error):
                raise
            # Damage that the check did not expect; where it is the check's own, this tells.
            log.exception("%s of %s", check.name, task.key)
            yield fault(check.name, f"{type(error).__name__}: {error}")


class _Clock:
    """When a stage began, and what encodes its texts, if anything does."""

    def __init__(self, encoder: str | None, libraries: Sequence[str]) -> None:
        self._encoder = encoder or f"python {platform.python_version()}"
        self._libraries = (*_LIBRARIES, *libraries)
        self._at = datetime.now(UTC)
        self._begin = time.perf_counter()

    def provenance(self) -> Provenance:
        """About the run, up to now."""
        numbers = {library: _version(library) for library in self._libraries}
        versions = {library: number for library, number in numbers.items() if number}
        return Provenance(
            at=self._at,
            seconds=round(time.perf_counter() - self._begin, 3),
            versions={"python": platform.python_version(), **versions},
            engine=self._encoder,
        )


@cache
def _version(library: str) -> str | None:
    """Its version, None where it is not installed."""
    with suppress(PackageNotFoundError):
        return version(library)
    return None
