"""Both passes over all inputs: what is finished stays, and what is not is done."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import dropwhile
from math import isqrt
from pathlib import PurePosixPath

import numpy as np
import orjson

from fim_assets.corpus.keys import PARQUET
from fim_assets.corpus.raw_shard import RawInput
from fim_assets.errors import UserError
from fim_assets.io.hashing import DIGEST_BYTES
from fim_assets.io.locations import Location, is_remote
from fim_assets.io.storage import read_bytes, sizes_in
from fim_assets.recipe import Recipe
from fim_assets.regroup.destination import Destination, Made, Plan
from fim_assets.regroup.job import Job, Outcome, identity
from fim_assets.regroup.names import BUCKETS
from fim_assets.regroup.read import (
    RUNS,
    Input,
    Read,
    ReadTask,
    Totals,
    read_totals,
    run_files,
    state_of,
)
from fim_assets.regroup.runs import BLOCK_BYTES
from fim_assets.regroup.write import WriteTask, Written, cut
from fim_assets.run.engine import run_tasks
from fim_assets.run.tasks import Task
from fim_assets.settings import Settings
from fim_assets.wording import file_size

_RUN_BYTES = 1 << 26
"""Of lines that a task sorts in memory at once, if there are not far more."""

_EXPANSION = 5
"""Times its compressed size that code has, about."""

_TASK_BYTES = 1 << 25
"""Of small inputs that one task reads, if there are not far more."""

_MOST_TASKS = 1 << 10
"""That read, larger inputs aside: whoever writes looks into the index of each."""

_MOST_WRITE_TASKS = 1 << 8
"""Each reads a block of every run that it needs only a part of."""

_DISK = {".xz": 3.0, ".bz2": 3.0, ".zst": 2.4, ".gz": 2.4, PARQUET: 2.4}
_DISK_OF_PLAIN = 0.6
"""Bytes of disk for each byte of an input: for its lines in a run, and in their shards."""

_FAILURES_SHOWN = 8

Track = Callable[[Iterable[Outcome], int, str], Iterable[Outcome]]
"""Shows how far a pass is: takes outcomes, how many there will be, and what is done."""


def regroup(
    shards: Mapping[str, RawInput],
    recipe: Recipe,
    folder: Location,
    shard_bytes: int,
    settings: Settings,
    track: Track,
    *,
    overwrite: bool,
) -> tuple[Made, bool]:
    """Make shards in which every repository stands whole; whether they were there already.

    Raises:
        UserError: If the destination holds other shards that are not to be replaced, the disk has
            no room, an input cannot be read, or there is no cluster to use. What is finished by
            then is kept, and the same call goes on with it.
    """
    if not recipe.keeps_repository:
        problem = (
            f"raw.keep_fields leaves out {recipe.repository_field}, which lines are grouped by"
        )
        raise UserError(problem, "name it in raw.keep_fields")
    members = [member for shard in shards.values() for member in shard.members]
    inputs = [Input(member, state_of(member)) for member in members]
    plan = _plan(inputs, recipe, shard_bytes)
    destination = Destination(folder)
    with destination.held():
        if not overwrite and (made := destination.finished(plan)):
            return made, True
        destination.begin(plan, overwrite=overwrite)
        passes = _Passes(destination, recipe, inputs, settings, track)
        read = passes.read()
        written = passes.write(shard_bytes)
        made = Made(plan=plan, inputs=len(inputs), read=read, shards=written)
        destination.publish(made)
    return made, False


class _Passes:
    """Both passes of a run, each of the tasks that are not finished."""

    def __init__(
        self,
        destination: Destination,
        recipe: Recipe,
        inputs: Sequence[Input],
        settings: Settings,
        track: Track,
    ) -> None:
        self._destination, self._settings, self._track = destination, settings, track
        total = sum(source.shard.size for source in inputs)
        # The runs that are merged at once take as much memory as one that is sorted.
        run_bytes = max(_RUN_BYTES, isqrt(_EXPANSION * total * BLOCK_BYTES))
        self._job = Job(destination.hidden, recipe.raw, recipe.repository_field, run_bytes)
        most = max(_TASK_BYTES, total // _MOST_TASKS)
        self._tasks = [*_read_tasks(self._job, inputs, most)]
        self._disk = sum(map(_disk_bytes, inputs))

    def read(self) -> Read:
        """Read all inputs; what was counted."""
        numbers = range(len(self._tasks))
        finished = self._destination.receipts(Read, numbers)
        waiting = [task for task in self._tasks if task.number not in finished]
        self._finish(waiting, "read", self._disk)
        receipts = self._destination.receipts(Read, numbers).values()
        return Read(**{name: sum(getattr(r, name) for r in receipts) for name in Read.model_fields})

    def write(self, most: int) -> tuple[Written, ...]:
        """Write all shards, of at most so many bytes of lines each; their receipts."""
        sizes = sizes_in(self._destination.hidden)
        of_runs = sum(size for name, size in sizes.items() if name.endswith(RUNS))
        ranges = cut(self._totals(), most)
        numbers = range(len(ranges))
        finished = self._destination.receipts(Written, numbers)
        at_once = -(-len(ranges) // _MOST_WRITE_TASKS)
        waiting = []
        for begin in numbers[:: max(at_once, 1)]:
            of_task = ranges[begin : begin + at_once]
            # A task writes one shard after the other.
            missing = [*dropwhile(lambda shard: shard.number in finished, of_task)]
            if missing:
                waiting.append(WriteTask(self._job, missing, len(self._tasks)))
        # One stream takes no more than the same lines in blocks.
        self._finish(waiting, "write", 2 * of_runs)
        return tuple(self._destination.receipts(Written, numbers).values())

    def _totals(self) -> Totals:
        totals = np.zeros(BUCKETS, np.int64)
        for task in self._tasks:
            totals += read_totals(read_bytes(run_files(task.folder, task.number).totals))
        return totals

    def _finish(self, tasks: Sequence[Task[Outcome]], what: str, disk: int) -> None:
        if tasks:
            self._refuse_full_disk(disk)
        outcomes = self._track(run_tasks(tasks, self._settings), len(tasks), what)
        failures = sorted(outcome.failure for outcome in outcomes if outcome.failure)
        if not failures:
            return
        shown = failures[:_FAILURES_SHOWN]
        if len(failures) > len(shown):
            shown.append(f"and {len(failures) - len(shown):,} more")
        kept = f"what is finished is kept in {self._destination.hidden}: run the same command again"
        raise UserError("\n".join(shown), f"{kept} to go on")

    def _refuse_full_disk(self, needed: int) -> None:
        """Refuse a disk that has no room for so many bytes, of which unfinished files are some."""
        folder = self._destination.folder
        if is_remote(folder):
            return
        here = sum(sizes_in(self._destination.hidden).values())
        free = shutil.disk_usage(folder).free
        if needed - here > free:
            problem = f"about {file_size(needed - here)} are needed here for a while, and"
            advice = "make room, or name a folder on another disk"
            raise UserError(f"{problem} {file_size(free)} are free", advice, folder)


def _plan(inputs: Sequence[Input], recipe: Recipe, shard_bytes: int) -> Plan:
    left_out = {"documents", "max_rejected_share", "max_empty_share"}
    fields = recipe.raw.model_dump(mode="json", exclude=left_out)
    options = {f"raw.{name}": f"{value}" for name, value in fields.items()}
    options |= {
        "repository's field": recipe.repository_field,
        "--shard-size": f"{shard_bytes}",
        "versions": ", ".join(identity()),
    }
    digest = blake2b(digest_size=DIGEST_BYTES)
    for source in inputs:
        digest.update(orjson.dumps([source.shard.place, source.state]))
    return Plan(inputs=digest.hexdigest(), options=options)


def _read_tasks(job: Job, inputs: Sequence[Input], most: int) -> Iterator[ReadTask]:
    """Neighbouring inputs of at most so many bytes each, or one larger input."""
    begin = filled = number = 0
    for end, source in enumerate(inputs):
        if end > begin and filled + source.shard.size > most:
            yield ReadTask(job, number, begin, inputs[begin:end])
            begin, filled, number = end, 0, number + 1
        filled += source.shard.size
    yield ReadTask(job, number, begin, inputs[begin:])


def _disk_bytes(source: Input) -> int:
    ending = PurePosixPath(source.shard.place).suffix
    return int(source.shard.size * _DISK.get(ending, _DISK_OF_PLAIN))
