"""The first pass: inputs are read, and their lines written in the order of their hashes."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fim_assets.corpus.keys import PARQUET
from fim_assets.corpus.raw_shard import RawShard, fetch_all
from fim_assets.errors import USER_ERRORS, ShardError
from fim_assets.io.locations import Location, is_remote
from fim_assets.io.machine_folders import working_folder
from fim_assets.io.shard_writer import Line
from fim_assets.io.storage import write_bytes
from fim_assets.raw_shards.documents import name_in
from fim_assets.raw_shards.shard_reader import Documents, ShardReader
from fim_assets.recipe.raw import Raw
from fim_assets.regroup.job import Job, JobTask, Outcome, Receipt, new_file, told
from fim_assets.regroup.names import BUCKETS, bucket, line_hash, repository_hash
from fim_assets.regroup.runs import Entry, RunWriter

_LONGEST_LINE = 1 << 31

RUNS = ".runs"
"""How the name of a file of runs ends."""

Totals = npt.NDArray[np.int64]
"""Bytes of lines, line feeds included, by bucket."""


class Read(Receipt):
    """What one task read; `rejected` and `unnamed` lines go on, `blank` ones do not."""

    lines: int = 0
    blank: int = 0
    rejected: int = 0
    unnamed: int = 0


class Input(NamedTuple):
    """A raw shard, and its state when the run began, see `state_of`."""

    shard: RawShard
    state: str


def state_of(shard: RawShard) -> str:
    """What tells whether a shard's content is still the same, without reading it."""
    if is_remote(shard.location):
        return f"{shard.bytes} {shard.etag or shard.blake2b}"
    shard.refuse_changed()
    found = Path(shard.place).stat()
    return f"{found.st_size} {found.st_mtime_ns}"


@dataclass(frozen=True)
class ReadTask(JobTask):
    """Neighbouring inputs, which become one file of runs; `first` is the first one's number."""

    number: int
    first: int
    inputs: Sequence[Input]

    @property
    def key(self) -> str:
        """Its name."""
        return f"read {self.number}"

    @property
    def size(self) -> int:
        """Bytes of its inputs."""
        return sum(source.shard.size for source in self.inputs)

    def failed(self, reason: str) -> Outcome:
        """The outcome where no worker could finish it."""
        return Outcome(self.key, f"{self.inputs[0].shard}: {reason}")

    def run(self) -> Outcome:
        """Write the runs, their index and the totals by bucket, and then the receipt."""
        files = run_files(self.folder, self.number)
        reading = _Reading(self.job)
        try:
            with new_file(files.runs) as path, RunWriter(path, self.job.run_bytes) as writer:
                for number, source in enumerate(self.inputs, self.first):
                    for entry in reading.entries(number, source):
                        writer.add(entry)
                found = writer.finish()
            write_bytes(files.blocks, found.to_bytes())
            content = BytesIO()
            np.savez_compressed(content, totals=reading.totals)
            write_bytes(files.totals, content.getvalue())
            receipt = reading.receipt()
            write_bytes(self.folder / Read.name_of(self.number), receipt.model_dump_json().encode())
        except OSError as error:
            doing = f"{self.inputs[max(reading.inputs, 1) - 1].shard} was read"
            return Outcome(self.key, told(error, self.folder, doing))
        except USER_ERRORS as error:
            return Outcome(self.key, str(error))
        return Outcome(self.key)


class RunFiles(NamedTuple):
    """The files that a task leaves: its runs, the index of these, and the totals by bucket."""

    runs: Location
    blocks: Location
    totals: Location


def run_files(folder: Location, number: int) -> RunFiles:
    """Where the files of a task are."""
    return RunFiles(*(folder / f"{number:05d}{end}" for end in (RUNS, ".index", ".totals")))


def read_totals(content: bytes) -> Totals:
    """The totals in a file's content."""
    totals: Totals = np.load(BytesIO(content))["totals"]
    return totals


class _Reading:
    """Reads inputs, and counts their lines."""

    def __init__(self, job: Job) -> None:
        self._field, self._bound = job.name_field, job.raw.max_line_bytes
        # Lines over the recipe's bound go on whole.
        self._raw: Raw = job.raw.model_copy(update={"max_line_bytes": _LONGEST_LINE})
        self._path = Path()
        self.totals: Totals = np.zeros(BUCKETS, np.int64)
        self.inputs = self._lines = self._blank = self._rejected = self._unnamed = 0

    def receipt(self) -> Read:
        """What was counted."""
        return Read(
            lines=self._lines, blank=self._blank, rejected=self._rejected, unnamed=self._unnamed
        )

    def entries(self, number: int, source: Input) -> Iterator[Entry]:
        """The lines of an input that are not blank, with their hashes."""
        self.inputs += 1
        shard = source.shard
        with ExitStack() as stack:
            folder = Path()
            if is_remote(shard.location):
                folder = stack.enter_context(working_folder())
            [self._path] = fetch_all(shard, folder)
            try:
                with ShardReader(self._path, self._raw) as reader:
                    for block in reader:
                        yield from self._placed(number, block)
                    shard.refuse_other(reader.totals(0).input)
            except ShardError as error:
                # A user knows the shard, and not the file that was fetched.
                error.location = error.location.replace(str(self._path), str(shard))
                raise
        if state_of(shard) != source.state:
            raise ShardError("was written to while it was read", "run it again", shard)
        self._lines += reader.lines
        self._blank += reader.blank

    def _placed(self, source: int, block: Documents) -> Iterator[Entry]:
        buckets: list[int] = []
        sizes: list[int] = []
        for number, line in self._lines_of(block):
            name = (name_in(line, self._field) or "").encode()
            hashed = repository_hash(name) if name else line_hash(line, number)
            self._unnamed += not name
            buckets.append(bucket(hashed))
            sizes.append(len(line) + 1)
            yield Entry(hashed, name, source, number, bytes(line))
        np.add.at(self.totals, buckets, sizes)

    def _lines_of(self, block: Documents) -> Iterator[tuple[int, Line]]:
        of_rows = self._path.suffix == PARQUET
        for number, line, text in zip(block.numbers, block.lines, block.texts, strict=True):
            if len(line) > self._bound:
                self._rejected += not of_rows or len(text.encode()) > self._bound
            yield number, line
        for rejected in block.rejected:
            if rejected.reason == "too_long":
                problem = f"line {rejected.line:,}: longer than {_LONGEST_LINE:,} bytes"
                raise ShardError(problem, "leave it out of the shard", self._path)
            self._rejected += 1
            yield rejected.line, rejected.content
