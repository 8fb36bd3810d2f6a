"""The sample: lines of a few shards, which are really run through every stage and check.

Shards are drawn evenly over the bytes of the list, so that a shard stands for as many as it has:
one that is far larger than the others is always among them, and of many small ones a few are.
What the sample tells of all shards is in `estimate`, what is wrong with it in `sample_findings`.
"""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus.keys import PARQUET
from fim_assets.corpus.raw_shard import RawInput, RawShard
from fim_assets.corpus.receipts import Result
from fim_assets.errors import USER_ERRORS, ShardError, UserError
from fim_assets.io.compression import CompressionError, CutShortError, decompress
from fim_assets.io.hashing import HashingReader
from fim_assets.io.locations import is_remote
from fim_assets.io.storage import read_bytes
from fim_assets.raw_shards.rejections import CARRIAGE_RETURNS, ends_in_carriage_returns, one_value
from fim_assets.raw_shards.rows import RowReader
from fim_assets.raw_shards.shard_reader import refuse_kept_fields
from fim_assets.raw_shards.stage import RAW_SHARDS
from fim_assets.recipe.raw import Raw
from fim_assets.run.partition import Outcome, Task, run_partition

_SHARDS = 8
TEXT_BYTES = 8 << 20
_LEAST_BYTES = 1 << 16  # of a shard, however small its part of the corpus is
LEAST_WINDOW = 1 << 20  # compressed, of a shard: of a block of bzip2's, all or nothing is read
_WINDOW_BYTES = 32 << 20  # compressed, of them all; lines come from all over it: neighbours agree
_KEPT_BYTES = 1 << 26
SECONDS = 20.0
"""After these, no further shard is begun."""


def choose(sizes: Mapping[str, int], most: int = _SHARDS) -> dict[str, float]:
    """Choose shards by their sizes, each with the number of bytes that it stands for.

    >>> choose({"a": 1, "b": 98, "c": 1}, most=2)
    {'b': 100.0}
    """
    sizes = {key: max(size, 1) for key, size in sizes.items()}
    if len(sizes) <= most:
        return {key: float(size) for key, size in sizes.items()}
    keys, ends = list(sizes), np.cumsum(list(sizes.values()))
    step = int(ends[-1]) / most
    hits = np.searchsorted(ends, (np.arange(most) + 0.5) * step, side="right")
    numbers, counts = np.unique(hits, return_counts=True)
    return {keys[n]: c * step for n, c in zip(numbers.tolist(), counts.tolist(), strict=True)}


@dataclass(frozen=True)
class Excerpt:
    """Some lines of a shard's beginning, decompressed, in a file of this machine.

    Attributes:
        bytes: Compressed bytes of the shard that as many bytes of lines take.
        by_lines: Compressed bytes of the shard that as many lines take, of whatever length.
        complete: Whether they are all of its lines.
    """

    path: Path
    bytes: float
    by_lines: float
    complete: bool


def take_excerpt(
    key: str, shard: RawInput, folder: Path, most: int, window: int, raw: Raw
) -> Excerpt:
    """Read lines of a shard that are evenly spread over its beginning.

    About `most` bytes of lines are taken from the first `window` compressed bytes, of a group from
    as many bytes of members that are spread over it; the key names the file in the folder, and
    seeds the choice. Rows of Parquet come as lines.

    Raises:
        ShardError: If it is gone, is not what its manifest says or is damaged, or its first line
            does not end in the window.
    """
    kept, compressed, decompressed = bytearray(), 0, 0
    members = shard.members[:: max(1, round(shard.size / window))]
    complete = len(members) == len(shard.members)
    for member in members:
        if compressed >= window or len(kept) >= _KEPT_BYTES:
            complete = False
            break
        left, most_kept = window - compressed, _KEPT_BYTES - len(kept)
        if member.place.endswith(PARQUET):
            begin = _beginning_of_rows(member, left, most_kept, raw)
        else:
            refuse_kept_fields(raw, member)
            begin = _beginning(member, folder, left, most_kept, must_hold_a_line=not kept)
        complete = complete and begin.complete
        if not (begin.lines or begin.complete):
            break
        kept += begin.lines
        compressed += begin.compressed
        decompressed += begin.decompressed
    lines = [bytes(line) + b"\n" for line in kept.removesuffix(b"\n").split(b"\n")] if kept else []
    step = -(-len(kept) // most) or 1
    # Pick one line at random out of every `step`, so that periodic content is not over-sampled.
    begins = np.arange(0, len(lines), step)
    random = np.random.default_rng(list(key.encode()))
    offsets = random.integers(np.minimum(step, len(lines) - begins))
    picked = [lines[number] for number in (begins + offsets).tolist()]
    path = folder / f"{key}.jsonl"
    path.write_bytes(b"".join(picked))
    if not kept:
        return Excerpt(path, max(compressed, 1), max(compressed, 1), complete)
    of_lines = compressed * len(kept) / decompressed
    by_bytes = of_lines * sum(map(len, picked)) / len(kept)
    return Excerpt(path, by_bytes, of_lines * len(picked) / len(lines), complete and step == 1)


class _Beginning(NamedTuple):
    """Lines of a shard's beginning, and the numbers of bytes that were read for them."""

    lines: bytearray
    compressed: int
    decompressed: int
    complete: bool


def _beginning(
    shard: RawShard, folder: Path, window: int, most: int, *, must_hold_a_line: bool
) -> _Beginning:
    shard.refuse_changed()
    location = shard.location
    compressed = read_bytes(location, window + 1)
    complete = len(compressed) <= window
    copy = folder / f"beginning{location.suffix}"
    copy.write_bytes(compressed)
    kept, decompressed = bytearray(), 0
    with HashingReader(copy) as file:
        try:
            for piece in decompress(file, copy.suffix):
                decompressed += len(piece)
                if len(kept) < most:
                    kept += piece
        except CutShortError as error:
            if complete:
                raise ShardError(str(error), location=shard) from error
        except CompressionError as error:
            raise ShardError(str(error), error.advice, shard) from error
    # Single lines of such a shard would not tell what it is.
    if advice := one_value(bytes(kept[: kept.find(b"\n") + 1])):
        raise ShardError("no JSON lines", advice, shard)
    if not complete or len(kept) < decompressed:
        complete = False
        with_returns = ends_in_carriage_returns(kept)
        del kept[kept.rfind(b"\n") + 1 :]
        # In what other members leave of a window, no line of a healthy one may end.
        if must_hold_a_line and not kept:
            problem = f"its first line does not end in its first {window:,} bytes"
            raise ShardError(problem, CARRIAGE_RETURNS if with_returns else "", shard)
    elif kept and not kept.endswith(b"\n"):
        kept += b"\n"
        decompressed += 1
    return _Beginning(kept, len(compressed), decompressed, complete)


def _beginning_of_rows(shard: RawShard, window: int, most: int, raw: Raw) -> _Beginning:
    shard.refuse_changed()
    location, kept, rows = shard.location, bytearray(), 0
    if is_remote(location):
        read_bytes(location, 1)  # tries again, and says what a refusal means: the file does not
    with location.open("rb") as file:
        reader = RowReader(file, location, raw, lines=True)
        part = 0.0
        for lines in reader.unjudged():
            kept += b"".join(line + b"\n" for line in lines)
            rows += len(lines)
            part = rows / reader.total_rows
            if len(kept) >= most or shard.size * part >= window:
                break
    complete = rows == reader.total_rows
    return _Beginning(kept, round(shard.size * part), len(kept), complete)


@dataclass(frozen=True)
class SampledShard:
    """A shard of which some lines were run through every stage and check."""

    key: str
    stands_for: float  # bytes of shards
    excerpt: Excerpt
    outcome: Outcome
    results: dict[str, Result]  # by finished stage
    seconds: float
    without_id: int  # documents


def run_sample(
    corpus: Corpus, shards: Mapping[str, RawInput], folder: Path, assets: Sequence[str], raw: Raw
) -> Iterator[SampledShard | UserError | OSError]:
    """Run some stages on some lines of a few shards; yields each, or why it cannot be read.

    The lines are written to `folder`, the outputs to the data root of the corpus. `raw` says which
    fields of rows go on, and the recipe of the corpus is one of lines.
    """
    chosen = choose({key: shard.size for key, shard in shards.items()})
    total = sum(chosen.values())
    begin, warm = time.monotonic(), False  # what a process does only once is not to be timed
    for key, stands_for in chosen.items():
        if time.monotonic() - begin > SECONDS:
            return
        part = stands_for / total
        most = max(_LEAST_BYTES, round(TEXT_BYTES * part))
        window = max(LEAST_WINDOW, round(_WINDOW_BYTES * part))
        try:
            excerpt = take_excerpt(key, shards[key], folder, most, window, raw)
        except USER_ERRORS as error:
            yield error
            continue
        if not warm:
            _run_lines(corpus, excerpt.path, slice(0, 1), folder, assets)
            warm = True
        outcome, seconds = _run(corpus, key, excerpt.path, assets)
        results = {s.asset: s.receipt.result for s in outcome.stages if s.receipt is not None}
        without_id = 0
        if RAW_SHARDS.name in results:
            parquet = corpus.files(RAW_SHARDS.name, key).file(".parquet")
            without_id = pl.read_parquet(parquet, columns=["id"])["id"].null_count()
        yield SampledShard(key, stands_for, excerpt, outcome, results, seconds, without_id)


def seconds_of_a_partition(corpus: Corpus, sampled: Sequence[SampledShard], folder: Path) -> float:
    """Time what a partition takes however little it holds: that of the sample's shortest document.

    It is run twice, and timed when all that a process does only once is done.
    """
    documents = [(*_shortest(corpus, shard.key), shard) for shard in sampled]
    _, line, shortest = min(documents, key=lambda document: document[0])
    lines = slice(max(line - 1, 0), line)
    _run_lines(corpus, shortest.excerpt.path, lines, folder, corpus.names)
    return _run_lines(corpus, shortest.excerpt.path, lines, folder, corpus.names)[1]


def _shortest(corpus: Corpus, key: str) -> tuple[int, int]:
    """The bytes and the line of a shard's shortest document; line 0 where there is none."""
    parquet = corpus.files(RAW_SHARDS.name, key).file(".parquet")
    rows = pl.read_parquet(parquet, columns=["bytes", "line"]).rows()
    return min(rows, default=(sys.maxsize, 0))


def _run_lines(
    corpus: Corpus, excerpt: Path, lines: slice, folder: Path, assets: Sequence[str]
) -> tuple[Outcome, float]:
    path = folder / "one-document.jsonl"
    with excerpt.open("rb") as file:
        path.write_bytes(b"".join(islice(file, lines.start, lines.stop)))
    return _run(corpus, path.stem, path, assets)


def _run(corpus: Corpus, key: str, path: Path, assets: Sequence[str]) -> tuple[Outcome, float]:
    checks = frozenset(c.name for asset in assets for c in corpus.stage(asset).checks)
    begin = time.perf_counter()
    outcome = run_partition(Task(corpus, key, RawShard(str(path)), frozenset(assets), checks))
    return outcome, time.perf_counter() - begin
