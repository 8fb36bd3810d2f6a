"""What a run would take, estimated from lines of a few shards, which are really run.

Shards are drawn evenly over the bytes of the list, so that a shard stands for as many as it has:
one that is far larger than the others is always among them, and of many small ones a few are.
"""

import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl

from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus.receipts import Result
from fim_assets.corpus.sources import RawShard
from fim_assets.errors import ShardError
from fim_assets.io.compression import CompressionError, CutShortError, decompress
from fim_assets.io.hashing import HashingReader
from fim_assets.io.storage import read_bytes
from fim_assets.raw_shards.rejections import CARRIAGE_RETURNS, ends_in_carriage_returns, one_value
from fim_assets.recipe import ASSETS
from fim_assets.run.partition import CHECKS_OF, Outcome, Task, run_partition

SHARDS = 8
TEXT_BYTES = 8 << 20
_LEAST_BYTES = 1 << 16
"""Taken of a shard however small its part of the corpus is."""

FEW_DOCUMENTS = 100
"""From fewer, if they are not all, an estimate is rough: lengths differ a hundredfold."""

_WINDOW_BYTES = 32 << 20
"""Read of all these shards, packed: lines are taken all over it, since neighbours are alike."""

_KEPT_BYTES = 1 << 26

_SECONDS = 20.0
"""After which no further shard is begun."""

_TOLD = 0.2
"""Time of the texts, as a part of that of the partitions without them, that tells a speed."""

_DAGSTER_START = 6.0
_DAGSTER_A_PARTITION = 0.1
"""Seconds that Dagster takes to start, and to record a partition; see docs/scale.md."""


def choose(sizes: Mapping[str, int], most: int = SHARDS) -> dict[str, float]:
    """Shards to look into, and the bytes that each stands for.

    Args:
        sizes: Bytes by partition key.
        most: Shards to choose.
    """
    sizes = {key: max(size, 1) for key, size in sizes.items()}
    if len(sizes) <= most:
        return {key: float(size) for key, size in sizes.items()}
    keys, ends = list(sizes), np.cumsum(list(sizes.values()))
    step = int(ends[-1]) / most
    places = np.searchsorted(ends, (np.arange(most) + 0.5) * step, side="right")
    numbers, hits = np.unique(places, return_counts=True)
    return {keys[n]: h * step for n, h in zip(numbers.tolist(), hits.tolist(), strict=True)}


@dataclass(frozen=True)
class Excerpt:
    """Some lines of a shard's beginning, not packed, in a file of this machine.

    Attributes:
        path: The file.
        bytes: Bytes of the shard, as it is packed, that as many bytes of lines are worth.
        by_lines: The same for as many lines, of whatever length.
        whole: Whether they are all of its lines.
    """

    path: Path
    bytes: float
    by_lines: float
    whole: bool


def take_excerpt(key: str, shard: RawShard, folder: Path, most: int, window: int) -> Excerpt:
    """Read lines of a shard that are evenly spread over its beginning.

    Args:
        key: Its partition.
        shard: The shard.
        folder: Takes the file.
        most: Bytes of lines to take, about.
        window: Bytes to read of it, as it is packed.

    Raises:
        ShardError: If it is gone, is not what its manifest says or is damaged, or no line ends in
            what was read.
        OSError: If it cannot be read.
    """
    shard.refuse_changed()
    location = shard.location
    packed = read_bytes(location, window + 1)
    whole = len(packed) <= window
    copy = folder / f"packed{location.suffix}"
    copy.write_bytes(packed)
    kept, unpacked = bytearray(), 0
    with HashingReader(copy) as file:
        try:
            for piece in decompress(file, copy.suffix):
                unpacked += len(piece)
                if len(kept) < _KEPT_BYTES:
                    kept += piece
        except CutShortError as error:
            if whole:
                raise ShardError(f"{shard}: {error}") from error
        except CompressionError as error:
            raise ShardError(f"{shard}: {error}", error.advice) from error
    # Of such a shard single lines would not tell what it is.
    if advice := one_value(bytes(kept[: kept.find(b"\n") + 1])):
        raise ShardError(f"{shard}: no JSON lines", advice)
    if not whole or len(kept) < unpacked:
        whole = False
        with_returns = ends_in_carriage_returns(kept)
        del kept[kept.rfind(b"\n") + 1 :]
        if not kept:
            message = f"{shard}: its first line does not end in its first {window:,} bytes"
            raise ShardError(message, CARRIAGE_RETURNS if with_returns else "")
    lines = [bytes(line) + b"\n" for line in kept.removesuffix(b"\n").split(b"\n")] if kept else []
    step = -(-len(kept) // most) or 1
    draws = random.Random(key)  # noqa: S311 - lines to look at, nothing secret
    # One of each so many, drawn: what comes back at even distances is no more among them.
    groups = (lines[begin : begin + step] for begin in range(0, len(lines), step))
    some = [draws.choice(group) for group in groups]
    path = folder / f"{key}.jsonl"
    path.write_bytes(b"".join(some))
    if not kept:
        return Excerpt(path, max(len(packed), 1), max(len(packed), 1), whole)
    worth = len(packed) * len(kept) / unpacked
    return Excerpt(
        path,
        worth * sum(map(len, some)) / len(kept),
        worth * len(some) / len(lines),
        whole and step == 1,
    )


@dataclass(frozen=True)
class Sampled:
    """A shard of which some lines were run through every stage and check.

    Attributes:
        key: Its partition.
        stands_for: Bytes of shards that it stands for.
        excerpt: What was read of it.
        outcome: What became of it.
        results: What each finished stage says of itself, by asset.
        seconds: How long it took.
        without_id: Documents that have no id.
    """

    key: str
    stands_for: float
    excerpt: Excerpt
    outcome: Outcome
    results: dict[str, Result]
    seconds: float
    without_id: int


def run_sample(
    corpus: Corpus, shards: Mapping[str, RawShard], folder: Path, assets: Sequence[str] = ASSETS
) -> Iterator[Sampled | ShardError | OSError]:
    """Run some lines of a few shards; what became of each, or why it cannot be read.

    Args:
        corpus: The recipe and the tokenizer; its data root is a folder for the outputs.
        shards: All raw shards by partition key.
        folder: Takes the lines.
        assets: The stages to run.
    """
    chosen = choose({key: shard.size for key, shard in shards.items()})
    total = sum(chosen.values())
    begin = time.monotonic()
    for key, stands_for in chosen.items():
        if time.monotonic() - begin > _SECONDS:
            return
        part = stands_for / total
        most = max(_LEAST_BYTES, round(TEXT_BYTES * part))
        window = max(_LEAST_BYTES, round(_WINDOW_BYTES * part))
        try:
            excerpt = take_excerpt(key, shards[key], folder, most, window)
        except (ShardError, OSError) as error:
            yield error
            continue
        outcome, seconds = _run(corpus, key, excerpt.path, assets)
        results = {s.asset: s.receipt.result for s in outcome.stages if s.receipt is not None}
        without_id = 0
        if "raw_shards" in results:
            parquet = corpus.place("raw_shards", key).file(".parquet")
            without_id = pl.read_parquet(parquet, columns=["id"])["id"].null_count()
        yield Sampled(key, stands_for, excerpt, outcome, results, seconds, without_id)


def seconds_of_a_partition(corpus: Corpus, sampled: Sequence[Sampled], folder: Path) -> float:
    """What a partition takes however little it holds: that of the shortest document looked at.

    It is run a second time, when all that a process does but once is done.
    """
    shortest = min(sampled, key=lambda one: _shortest(corpus, one.key)[0])
    line = _shortest(corpus, shortest.key)[1]
    path = folder / "one-document.jsonl"
    with shortest.excerpt.path.open("rb") as lines:
        path.write_bytes(b"".join(islice(lines, max(line - 1, 0), line)))
    _run(corpus, path.stem, path, ASSETS)
    return _run(corpus, path.stem, path, ASSETS)[1]


def _shortest(corpus: Corpus, key: str) -> tuple[int, int]:
    """Bytes and line of a shard's shortest document; line 0 where there is none."""
    parquet = corpus.place("raw_shards", key).file(".parquet")
    row = pl.read_parquet(parquet, columns=["bytes", "line"]).sort("bytes", "line").head(1).rows()
    return row[0] if row else (sys.maxsize, 0)


def _run(corpus: Corpus, key: str, path: Path, assets: Sequence[str]) -> tuple[Outcome, float]:
    checks = frozenset(name for asset in assets for name in CHECKS_OF[asset])
    begin = time.perf_counter()
    outcome = run_partition(Task(corpus, key, RawShard(str(path)), frozenset(assets), checks))
    return outcome, time.perf_counter() - begin


@dataclass(frozen=True)
class Estimate:
    """What a run over all partitions would take, reckoned from a sample.

    Attributes:
        documents: Documents.
        text_bytes: Bytes of their texts in UTF-8.
        tokens: Token ids.
        disk_bytes: Bytes of the outputs, by asset.
        scratch_bytes: Bytes that are needed beside them while it runs.
        seconds: How long it takes, with Dagster's part.
        workers: Partitions that are worked on at once.
        bytes_per_second: Bytes of text that one worker takes through all stages and checks; None
            where the texts looked at took too little time to tell it.
        largest_share: Part of the text that the largest shard holds.
        of_documents: Documents that were looked at.
        of_shards: Shards of which they are.
        of_bytes: Bytes of their texts.
    """

    documents: int
    text_bytes: int
    tokens: int
    disk_bytes: dict[str, int]
    scratch_bytes: int
    seconds: float
    workers: int
    bytes_per_second: float | None
    largest_share: float
    of_documents: int
    of_shards: int
    of_bytes: int


def estimate(
    sampled: Sequence[Sampled],
    sizes: Sequence[int],
    seconds_a_partition: float,
    workers: int,
    *,
    remote: bool,
) -> Estimate | None:
    """Reckon from a sample what all shards would take; None where it holds no document.

    Args:
        sampled: Shards that came through all stages.
        sizes: Bytes of all shards.
        seconds_a_partition: What one takes however little it holds.
        workers: Partitions worked on at once.
        remote: Whether outputs are made on this machine and uploaded.
    """
    sizes = [max(size, 1) for size in sizes]  # as `choose` takes them
    total = sum(sizes)
    of_all = total / sum(one.stands_for for one in sampled) if sampled else 0.0

    def reckoned(numbers: Sequence[float]) -> float:
        parts = zip(sampled, numbers, strict=True)
        return of_all * sum(number * one.stands_for / one.excerpt.bytes for one, number in parts)

    tokens = [one.results["token_arrays"] for one in sampled]
    texts = [float(one.results["raw_shards"].counts["bytes"]) for one in sampled]
    if not sum(texts):
        return None
    text = reckoned(texts)
    spent = sum(max(one.seconds - seconds_a_partition, 0.0) for one in sampled)
    seconds_a_byte = spent / sum(texts)
    told = spent > _TOLD * len(sampled) * seconds_a_partition
    largest = sorted(sizes, reverse=True)
    disk = {
        asset: round(
            reckoned([sum(out.bytes for out in one.results[asset].outputs) for one in sampled])
        )
        for asset in ASSETS
    }
    work = len(sizes) * seconds_a_partition + text * seconds_a_byte
    longest = seconds_a_partition + text * seconds_a_byte * largest[0] / total
    at_once = sum(largest[:workers]) / total
    return Estimate(
        documents=round(
            of_all
            * sum(
                one.results["token_arrays"].documents * one.stands_for / one.excerpt.by_lines
                for one in sampled
            )
        ),
        text_bytes=round(text),
        tokens=round(reckoned([its.tokens or 0 for its in tokens])),
        disk_bytes=disk,
        scratch_bytes=round(at_once * (3 * text if remote else disk["token_arrays"])),
        seconds=_DAGSTER_START
        + _DAGSTER_A_PARTITION * len(sizes)
        + max(work / max(workers, 1), longest),
        workers=workers,
        bytes_per_second=1 / seconds_a_byte if told else None,
        largest_share=largest[0] / total,
        of_documents=sum(its.documents for its in tokens),
        of_shards=len(sampled),
        of_bytes=round(sum(texts)),
    )
