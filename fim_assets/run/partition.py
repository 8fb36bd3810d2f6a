"""One partition's way: the chosen stages in order, each checked before its receipt is written.

A stage that fails, or whose check fails, costs the partition its later stages and no other
partition anything.
"""

import logging
import platform
import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, cached_property, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import gettempdir

import pyarrow as pa
from polars.exceptions import PolarsError

from fim_assets.corpus.check_outcome import CheckOutcome, fault
from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus.partition_files import PartitionFiles, ReceiptError
from fim_assets.corpus.partition_lock import partition_lock
from fim_assets.corpus.receipts import (
    Provenance,
    Receipt,
    Result,
    delete_receipt,
    read_receipt,
    why_incomplete,
)
from fim_assets.corpus.sources import RawShard
from fim_assets.corpus.staging import Staging, fetch_outputs, write_receipt
from fim_assets.corpus.totals import Totals
from fim_assets.errors import ShardError
from fim_assets.fim_shards import checks as fim_shards
from fim_assets.fim_shards.statistics import fim_statistics
from fim_assets.fim_shards.transform import transform_shard
from fim_assets.io.hashing import FileRecord, record_file
from fim_assets.io.storage import StorageError, is_remote, working_folder
from fim_assets.preview.markdown import preview_markdown
from fim_assets.raw_shards.measure import measure_shard
from fim_assets.raw_shards.statistics import raw_statistics
from fim_assets.recipe import ASSETS
from fim_assets.statistics.histograms import Statistics
from fim_assets.token_arrays.arrays import ArraySettings
from fim_assets.token_arrays.checks import registry as token_arrays
from fim_assets.token_arrays.checks.partition import TokenPartition
from fim_assets.token_arrays.statistics import token_statistics
from fim_assets.token_arrays.tokenize import tokenize_shard
from fim_assets.tokenizer.encoders import is_panic
from fim_assets.tokenizer.load import TokenizerError, load_tokenizer

log = logging.getLogger(__name__)

CHECKS_OF: dict[str, dict[str, str]] = {
    "raw_shards": {},
    "fim_shards": fim_shards.CHECKS,
    "token_arrays": {name: check.description for name, check in token_arrays.CHECKS.items()},
}
"""The checks of each asset in the order of running, and what they say of themselves."""

_LIBRARIES = (
    "fim_assets",
    "numpy",
    "orjson",
    "polars",
    "pyarrow",
    "tree-sitter",
    "xxhash",
    "zstandard",
)

_TOKEN_LIBRARIES = ("quicktok-v1", "tokenizers", "transformers")

USER_ERRORS = (ShardError, ReceiptError, TokenizerError, OSError)
"""What can be wrong with input, files and settings: its message says all that a user needs."""


@dataclass(frozen=True)
class Task:
    """One partition to work on.

    Attributes:
        corpus: What all partitions share.
        key: The partition.
        shard: Its raw shard.
        assets: The assets to materialize.
        checks: The checks to run, by name; of an asset not materialized, on what lies there.
        skip_complete: Whether a stage is left as it is where it is complete: its receipt agrees
            with the recipe, its input's content and its files' sizes, and names these checks.
    """

    corpus: Corpus
    key: str
    shard: RawShard
    assets: frozenset[str]
    checks: frozenset[str]
    skip_complete: bool = False


@dataclass(frozen=True)
class StageOutcome:
    """What became of one stage.

    Attributes:
        asset: The stage.
        receipt: Its receipt, None where it was not made or a check failed.
        checks: Verdicts of its checks.
        preview: A few of its documents as Markdown, where it was made and has any to show.
        skipped: Whether it was complete and left as it is.
    """

    asset: str
    receipt: Receipt | None
    checks: tuple[CheckOutcome, ...] = ()
    preview: str | None = None
    skipped: bool = False


@dataclass
class Outcome:
    """What became of one partition.

    Attributes:
        key: The partition.
        stages: Its stages, as far as they came.
        failure: Stage and reason, where it did not come to the end; some of the lines that are
            the reason stand below, a line each.
        fault: Stage and what partitions that fail alike have in common, where that is known.
        details: The traceback, where the reason is a fault of the program.
        interrupted: Whether a worker process died while it was worked on, so that it was worked
            on again.
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
            here = replace(task, corpus=replace(task.corpus, work=work))
            raw = _Raw(task.shard, folder)
            root = task.corpus.data_root.joinpath(*task.corpus.prefix)
            with partition_lock(root, task.key):
                return _named_as_published(_run_stages(here, raw), task, folder)
    except OSError as error:
        first = min(task.assets, key=ASSETS.index, default="checks")
        return Outcome(task.key, failure=f"{first}: {error}")


@contextmanager
def _working_folder(task: Task) -> Iterator[Path]:
    """A folder for what is fetched and made of object storage; where there is none, of no use."""
    if not (is_remote(task.corpus.data_root) or is_remote(task.shard.location)):
        yield Path()
        return
    with working_folder() as folder:
        yield folder


def _named_as_published(outcome: Outcome, task: Task, folder: Path) -> Outcome:
    """With the places that a user knows in its messages, not those of the working folder."""
    if folder == Path():
        return outcome

    def named(text: str) -> str:
        shard = f"{folder / task.shard.location.name}"
        return text.replace(shard, str(task.shard)).replace(str(folder), str(task.corpus.data_root))

    stages = [
        replace(
            stage,
            checks=tuple(replace(c, description=named(c.description)) for c in stage.checks),
        )
        for stage in outcome.stages
    ]
    failure = outcome.failure and named(outcome.failure)
    return replace(outcome, stages=stages, failure=failure)


class _Raw:
    """The raw shard on this machine, fetched when it is first needed."""

    def __init__(self, shard: RawShard, folder: Path) -> None:
        self.shard = shard
        self._folder = folder

    @cached_property
    def path(self) -> Path:
        """Its file."""
        return self.shard.fetch(self._folder)

    @cached_property
    def record(self) -> FileRecord:
        """Its identity."""
        if known := self.shard.known_record():
            return known
        found = record_file(self.path)
        self.shard.refuse_other(found)
        return found


def _run_stages(task: Task, raw: _Raw) -> Outcome:
    outcome = Outcome(task.key)
    for asset in ASSETS:
        if asset not in task.assets and not task.checks.intersection(CHECKS_OF[asset]):
            continue
        try:
            stage = _run_stage(task, asset, raw)
        except StorageError as error:
            outcome.failure = f"{asset}: {error}"
            return outcome
        except OSError as error:
            reason = str(error)
            if error.filename is None:
                where = task.corpus.folder(asset) if task.corpus.work is None else gettempdir()
                reason = f"{where}: {error}, while {task.shard} was worked on"
            outcome.failure = f"{asset}: {reason}"
            return outcome
        except USER_ERRORS as error:
            outcome.failure = f"{asset}: {error}"
            if isinstance(error, ShardError) and error.fault:
                outcome.fault = f"{asset}: {error.fault}"
            return outcome
        except BaseException as error:
            # A panic in Rust is an error of this shard. Whatever else is no Exception asks the run
            # to end: Ctrl-C, or Dagster's own when a run is terminated or its pod is evicted.
            if not isinstance(error, Exception) and not is_panic(error):
                # It may have come while this was being removed.
                shutil.rmtree(task.corpus.place(asset, task.key).hidden, ignore_errors=True)
                raise
            if _is_want(error):
                outcome.failure = (
                    f"{asset}: {task.shard}: the system refused memory or a thread: "
                    f"{str(error) or type(error).__name__}; raise the limits of the process "
                    "(`ulimit -a`), or lower FIM_WORKERS"
                )
            else:
                outcome.failure = f"{asset}: {type(error).__name__}: {error}"
                outcome.details = traceback.format_exc()
            return outcome
        outcome.stages.append(stage)
        if stage.receipt is None:
            outcome.failure = f"{asset}: " + "; ".join(
                f"check {check.name} failed: {check.description}"
                for check in stage.checks
                if not check.passed
            )
            return outcome
    return outcome


_WANTS = ("Resource temporarily unavailable", "can't start new thread", "Cannot allocate memory")
"""How libraries say that the system refused a thread or memory, some in errors of no own kind."""


def _is_want(error: BaseException) -> bool:
    """Whether memory or threads were wanting, which is no fault of the program."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in _WANTS)


def _run_stage(task: Task, asset: str, raw: _Raw) -> StageOutcome:
    place = task.corpus.place(asset, task.key)
    if asset in task.assets:
        if task.skip_complete and (complete := _complete(task, asset, raw)):
            return StageOutcome(asset, complete, skipped=True)
        delete_receipt(place)
        receipt = _MAKERS[asset](task, raw, place)
    else:
        receipt = _bring(task, asset)
        _refuse_other_inputs(task, asset, receipt, raw)
    checks = tuple(_run_checks(task, asset, receipt, raw))
    if not all(check.passed for check in checks):
        # On object storage, which has no locks, another run may have made it anew meanwhile.
        if asset in task.assets or read_receipt(place) == receipt:
            delete_receipt(place)
        return StageOutcome(asset, None, checks)
    if asset not in task.assets:
        return StageOutcome(asset, receipt, checks)
    preview = _preview(task, asset)
    passed = tuple(check.name for check in checks)
    receipt = receipt.model_copy(
        update={"made": receipt.made.model_copy(update={"checks": passed})}
    )
    write_receipt(place, receipt)
    return StageOutcome(asset, receipt, checks, preview)


def _complete(task: Task, asset: str, raw: _Raw) -> Receipt | None:
    """The receipt of a stage that would only be made again as it is."""
    try:
        receipt = _finished(task, asset)
        inputs = [raw.record]
        if asset == "token_arrays":
            fim = _finished(task, "fim_shards").result
            inputs = fim.outputs if fim.input == raw.record else []
    except ReceiptError:
        return None
    checked = task.checks.intersection(CHECKS_OF[asset]) <= set(receipt.made.checks)
    return receipt if checked and receipt.result.input in inputs else None


def _preview(task: Task, asset: str) -> str | None:
    """With tokens where these are made; the FIM stage needs no tokenizer."""
    if asset == "raw_shards":
        return None
    recipe = task.corpus.recipe
    tokenizer = None
    if asset == "token_arrays":
        tokenizer = load_tokenizer(recipe, task.corpus.tokenizer_hash)
    fim = task.corpus.place("fim_shards", task.key)
    return preview_markdown(fim.file(".jsonl.zst"), fim.file(".parquet"), recipe, tokenizer)


def _make_raw(task: Task, raw: _Raw, place: PartitionFiles) -> Receipt:
    clock = _Clock()
    with Staging(place) as staging:
        totals = measure_shard(raw.path, task.corpus.recipe, staging)
        raw.shard.refuse_other(totals.input)
        outputs = staging.publish()
    return _receipt(
        task, "raw_shards", totals, outputs, raw_statistics(place.file(".parquet")), clock
    )


def _make_fim(task: Task, raw: _Raw, place: PartitionFiles) -> Receipt:
    clock = _Clock()
    recipe = task.corpus.recipe
    with Staging(place) as staging:
        totals = transform_shard(raw.path, recipe.partition_seed(task.key), recipe, staging)
        raw.shard.refuse_other(totals.input)
        _refuse_other_content(task, totals.input)
        outputs = staging.publish()
    return _receipt(
        task, "fim_shards", totals, outputs, fim_statistics(place.file(".parquet")), clock
    )


def _make_tokens(task: Task, _raw: _Raw, place: PartitionFiles) -> Receipt:
    corpus = task.corpus
    tokenizer = load_tokenizer(corpus.recipe, corpus.tokenizer_hash)
    clock = _Clock(tokenizer.engine_in_words, _TOKEN_LIBRARIES)
    fim = corpus.place("fim_shards", task.key)
    shard, parquet = fim.file(".jsonl.zst"), fim.file(".parquet")
    finished = _bring(task, "fim_shards")
    _refuse_other_content(task, finished.result.input)
    with Staging(place) as staging:
        source = corpus.relative("fim_shards", shard.name)
        settings = ArraySettings(
            corpus.recipe.tokens, corpus.recipe.fim, source, corpus.tokenizer_hash
        )
        totals = tokenize_shard(shard, parquet, settings, tokenizer, staging)
        for found in (totals.input, record_file(parquet)):
            _refuse_damage(fim, found, finished)
        outputs = staging.publish()
    profile = token_statistics(place.file(".parquet"))
    return _receipt(task, "token_arrays", totals, outputs, profile, clock)


def _refuse_other_content(task: Task, raw_shard: FileRecord) -> None:
    raw = read_receipt(task.corpus.place("raw_shards", task.key))
    if raw is not None and raw.result.input.blake2b != raw_shard.blake2b:
        raise ShardError(
            f"{task.shard}: raw_shards and fim_shards are made of different contents of it; "
            "materialize both again"
        )


def _refuse_other_inputs(task: Task, asset: str, receipt: Receipt, raw: _Raw) -> None:
    """Judge no outputs by inputs that are gone, damaged, or not what they were made of."""
    if asset == "fim_shards":
        source, inputs = str(task.shard), [raw.record]
    else:
        raw_shards = read_receipt(task.corpus.place("raw_shards", task.key))
        if raw_shards and raw_shards.result.fingerprint == task.corpus.fingerprint("raw_shards"):
            _undamaged(task, "raw_shards")
        place = task.corpus.place("fim_shards", task.key)
        source = str(place.published(receipt.result.input.name))
        inputs = _undamaged(task, "fim_shards")
    if receipt.result.input not in inputs:
        raise ShardError(
            f"{source}: its content is not the one that {asset} are made of; bring that back, or "
            f"materialize {asset} again"
        )


def _undamaged(task: Task, asset: str) -> list[FileRecord]:
    """A finished stage's outputs, by their content."""
    place, finished = task.corpus.place(asset, task.key), _bring(task, asset)
    found = [record_file(place.output(output.name)) for output in finished.result.outputs]
    for record in found:
        _refuse_damage(place, record, finished)
    return found


def _refuse_damage(place: PartitionFiles, found: FileRecord, receipt: Receipt) -> None:
    if found not in receipt.result.outputs:
        raise ShardError(
            f"{place.folder / found.name}: its content is not the one that its receipt says; "
            f"materialize {receipt.result.asset} again"
        )


_MAKERS: dict[str, Callable[[Task, _Raw, PartitionFiles], Receipt]] = {
    "raw_shards": _make_raw,
    "fim_shards": _make_fim,
    "token_arrays": _make_tokens,
}


def _run_checks(task: Task, asset: str, receipt: Receipt, raw: _Raw) -> Iterator[CheckOutcome]:
    names = [name for name in CHECKS_OF[asset] if name in task.checks]
    runs = _RUNS[asset](task, receipt, raw) if names else {}
    for name in names:
        try:
            yield runs[name]()
        except (ValueError, EOFError, FileNotFoundError) as error:
            yield fault(name, str(error))
        except (PolarsError, pa.ArrowException, TypeError, LookupError) as error:
            if _is_want(error):
                raise
            # Damage that the check did not reckon with; where it is the check's own, this tells.
            log.exception("%s of %s", name, task.key)
            yield fault(name, f"{type(error).__name__}: {error}")


Runs = dict[str, Callable[[], CheckOutcome]]


def _runs_of_fim(task: Task, receipt: Receipt, raw: _Raw) -> Runs:
    place, recipe = task.corpus.place("fim_shards", task.key), task.corpus.recipe
    return {
        "lossless": lambda: fim_shards.lossless(raw.path, place, recipe),
        "rates_within_bounds": partial(fim_shards.rates_within_bounds, receipt, recipe),
        "split_law": partial(fim_shards.split_law, place, recipe),
    }


def _runs_of_tokens(task: Task, receipt: Receipt, _raw: _Raw) -> Runs:
    corpus = task.corpus
    for asset in ("raw_shards", "fim_shards"):
        if found := read_receipt(corpus.place(asset, task.key)):
            fetch_outputs(corpus.place(asset, task.key), found)
    partition = TokenPartition(
        raw=corpus.place("raw_shards", task.key),
        fim=corpus.place("fim_shards", task.key),
        tokens=corpus.place("token_arrays", task.key),
        receipt=receipt,
        recipe=corpus.recipe,
        tokenizer=load_tokenizer(corpus.recipe, corpus.tokenizer_hash),
    )
    return {name: partial(check.run, partition) for name, check in token_arrays.CHECKS.items()}


_RUNS: dict[str, Callable[[Task, Receipt, _Raw], Runs]] = {
    "fim_shards": _runs_of_fim,
    "token_arrays": _runs_of_tokens,
}


def _finished(task: Task, asset: str) -> Receipt:
    place = task.corpus.place(asset, task.key)
    receipt = read_receipt(place)
    if receipt is None:
        raise ReceiptError(
            f"{place.receipt}: no receipt, so {asset} is not finished for {task.key}; "
            f"materialize {asset} first"
        )
    reason = why_incomplete(receipt, place, task.corpus.fingerprint(asset))
    if reason:
        raise ReceiptError(f"{asset} of {task.key}: {reason}; materialize {asset} again")
    return receipt


def _bring(task: Task, asset: str) -> Receipt:
    """The receipt of a finished stage, whose files are on this machine."""
    receipt = _finished(task, asset)
    fetch_outputs(task.corpus.place(asset, task.key), receipt)
    return receipt


class _Clock:
    """When a stage began, and which engine works."""

    def __init__(
        self,
        engine: str = f"python {platform.python_version()}",
        libraries: Sequence[str] = (),
    ) -> None:
        self._engine = engine
        self._libraries = (*_LIBRARIES, *libraries)
        self._at = datetime.now(UTC)
        self._begin = time.perf_counter()

    def made(self) -> Provenance:
        """About the run, up to now."""
        return Provenance(
            at=self._at,
            seconds=round(time.perf_counter() - self._begin, 3),
            versions={"python": platform.python_version()}
            | {library: found for library in self._libraries if (found := _version(library))},
            engine=self._engine,
        )


@cache
def _version(library: str) -> str | None:
    """Its version, None where it is not installed."""
    with suppress(PackageNotFoundError):
        return version(library)
    return None


def _receipt(
    task: Task,
    asset: str,
    totals: Totals,
    outputs: list[FileRecord],
    profile: Statistics,
    clock: _Clock,
) -> Receipt:
    recipe = task.corpus.recipe
    result = Result(
        asset=asset,
        key=task.key,
        fingerprint=task.corpus.fingerprint(asset),
        seed=f"{recipe.partition_seed(task.key):016x}",
        **(vars(totals) | {"counts": profile.counts | totals.counts}),
        outputs=outputs,
        histograms=profile.histograms,
    )
    return Receipt(result=result, made=clock.made())
