"""The second pass: each shard is a range of hashes, whose lines all runs are merged for."""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fim_assets.errors import USER_ERRORS
from fim_assets.io.hashing import FileRecord, HashingWriter
from fim_assets.io.locations import is_remote
from fim_assets.io.machine_folders import working_folder
from fim_assets.io.shard_writer import ShardWriter
from fim_assets.io.storage import fetch_part, read_bytes, write_bytes
from fim_assets.regroup.job import JobTask, Outcome, Receipt, new_file, scratch_file, told
from fim_assets.regroup.names import first_hash
from fim_assets.regroup.read import Totals, run_files
from fim_assets.regroup.runs import Entry, Index, RunWriter, Segment, merge

SHARD = re.compile(r"repositories-\d{5,}\.jsonl\.zst")
"""The names of shards."""


class Range(NamedTuple):
    """The hashes of a shard's lines, from `first` to `last`, and the shard's number."""

    number: int
    first: int
    last: int

    @property
    def name(self) -> str:
        """The shard's name."""
        return f"repositories-{self.number:05d}.jsonl.zst"


class Written(Receipt):
    """A shard that was written; `bytes` are those of its lines, line feeds included."""

    record: FileRecord
    lines: int
    bytes: int
    repositories: int


def cut(totals: Totals, most: int) -> list[Range]:
    """Ranges of neighbouring buckets of at most so many bytes each, or of one larger bucket.

    Of `[3, 0, 4, 9, 1]` and at most 8 they hold 7, 9 and 1 bytes.
    """
    ends: list[int] = []
    filled = 0
    [buckets] = np.nonzero(totals)
    for number, size in zip(buckets.tolist(), totals[buckets].tolist(), strict=True):
        if ends and filled + size <= most:
            ends[-1] = number + 1
            filled += size
        else:
            ends.append(number + 1)
            filled = size
    begins = [0, *ends][: len(ends)]
    return [
        Range(number, first_hash(begin), first_hash(end) - 1)
        for number, (begin, end) in enumerate(zip(begins, ends, strict=True))
    ]


@dataclass(frozen=True)
class WriteTask(JobTask):
    """Some neighbouring shards, of the runs that so many tasks have read."""

    shards: Sequence[Range]
    reads: int

    @property
    def key(self) -> str:
        """Its name."""
        return f"write {self.shards[0].number}"

    @property
    def size(self) -> int:
        """Of all alike, since shards are."""
        return len(self.shards)

    def failed(self, reason: str) -> Outcome:
        """The outcome where no worker could finish it."""
        return Outcome(self.key, f"{self.shards[0].name}: {reason}")

    def run(self) -> Outcome:
        """Write each shard, and then its receipt."""
        try:
            with ExitStack() as stack:
                folder = Path()
                if is_remote(self.folder):
                    folder = stack.enter_context(working_folder())
                for shard, entries in self._shards(merge(self._segments(folder))):
                    self._write(shard, entries)
        except OSError as error:
            doing = f"{self.shards[0].name} and what follows it was written"
            return Outcome(self.key, told(error, self.folder, doing))
        except USER_ERRORS as error:
            return Outcome(self.key, str(error))
        return Outcome(self.key)

    def _segments(self, folder: Path) -> Iterator[Segment]:
        """What the runs hold of these shards; from object storage it is fetched into a folder."""
        first, last = self.shards[0].first, self.shards[-1].last
        for number in range(self.reads):
            files = run_files(self.folder, number)
            runs, index = files.runs, Index.from_bytes(read_bytes(files.blocks))
            if not is_remote(runs):
                yield from index.segments(runs, first, last)
                continue
            for segment in index.segments(Path(), first, last):
                begin, *_, end = segment.offsets
                path = folder / f"{number}-{begin}"
                fetch_part(runs, begin, end, path)
                yield Segment(path, [at - begin for at in segment.offsets])

    def _shards(self, entries: Iterator[Entry]) -> Iterator[tuple[Range, Iterator[Entry]]]:
        first, ends = self.shards[0].first, [shard.last for shard in self.shards]
        # The first and the last block of a run hold lines of other shards too.
        own = (entry for entry in entries if first <= entry.hashed <= ends[-1])
        for number, its in groupby(own, lambda entry: bisect_left(ends, entry.hashed)):
            yield self.shards[number], its

    def _write(self, shard: Range, entries: Iterator[Entry]) -> None:
        """Write repositories one behind another, then the lines that have none, as they came."""
        lines = size = repositories = 0
        with (
            new_file(self.folder / shard.name) as path,
            scratch_file(self.folder, f"{shard.name}.unnamed") as other,
            HashingWriter(path) as file,
            RunWriter(other, self.job.run_bytes) as unnamed,
            ShardWriter(file) as writer,
        ):
            for name, its in groupby(entries, lambda entry: entry.name):
                repositories += bool(name)
                for entry in its:
                    lines += 1
                    size += len(entry.content) + 1
                    if name:
                        writer.write([entry.content])
                    else:
                        unnamed.add(entry._replace(hashed=0))
            writer.write(entry.content for entry in unnamed.merged())
        receipt = Written(
            record=file.record(shard.name), lines=lines, bytes=size, repositories=repositories
        )
        place = self.folder / Written.name_of(shard.number)
        write_bytes(place, receipt.model_dump_json().encode())
