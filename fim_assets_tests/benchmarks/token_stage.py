"""The token stage alone, FIM shards in, arrays, index and parquet out, beside its floor."""

from collections.abc import Iterable
from functools import partial
from itertools import accumulate, takewhile
from pathlib import Path

from fim_assets.fim_shards.stage import FIM_SHARDS
from fim_assets.raw_shards.shard_reader import ShardReader
from fim_assets.token_arrays.stage import TOKEN_ARRAYS
from fim_assets.tokenizer.load import load_tokenizer
from fim_assets_tests.benchmarks.corpus import BenchCorpus
from fim_assets_tests.benchmarks.floors import token_floor
from fim_assets_tests.benchmarks.measure import Row
from fim_assets_tests.benchmarks.stage import (
    RECIPE,
    Run,
    cost_afresh,
    cost_in_pool,
    cost_row,
    folder_beside,
    make,
    most_workers,
    started_pool,
    take_turns,
)
from fim_assets_tests.corpora import corpus_of

TOKEN_TARGET = 1.4
"""Times the floor."""

FLOOR = "floor: unpack, parse, encode"
TOKENS = "tokens"
REFERENCE = "Hugging Face, once, on a part"

PART_BYTES = 8_000_000
"""Of all shards' texts that the reference encodes, about."""


def token_rows(corpus: BenchCorpus, rounds: Iterable[object]) -> list[Row]:
    """The floor, the token stage, and once, on a part of the texts, the reference.

    Args:
        corpus: Its shards are worked on by as many processes as there are usable cores.
        rounds: As many as rounds are wanted.
    """
    pipeline, workers = corpus_of(RECIPE, corpus.folder), most_workers(corpus)
    at_most_bytes = PART_BYTES // len(corpus.keys)
    with folder_beside(corpus) as folder:
        with started_pool(workers) as pool:
            raw = map(corpus.shard, corpus.keys)
            list(pool.map(partial(make, FIM_SHARDS, pipeline, folder=folder), raw))
            shards = [folder / f"{key}.jsonl.zst" for key in corpus.keys]
            by_reference = partial(encode_by_reference, at_most_bytes)
            once = {REFERENCE: cost_in_pool(pool, by_reference, shards, corpus)}
        part = sum(_size(text) for shard in shards for text in first_texts(shard, at_most_bytes))
        runs: dict[str, Run] = {FLOOR: token_floor, TOKENS: partial(make, TOKEN_ARRAYS, pipeline)}
        turns = {
            name: partial(cost_afresh, run, shards, corpus, workers) for name, run in runs.items()
        }
        costs = take_turns(turns, rounds)
    floor = cost_row(FLOOR, costs, corpus.bytes)
    return [
        Row(FLOOR, floor.numbers, f"with {load_tokenizer(RECIPE).encoder_description}"),
        cost_row(TOKENS, costs, corpus.bytes, [FLOOR], TOKEN_TARGET),
        cost_row(REFERENCE, [once], part),
    ]


def encode_by_reference(at_most_bytes: int, shard: Path, _folder: Path) -> None:
    """Encode the first texts of a shard with Hugging Face tokenizers."""
    load_tokenizer(RECIPE).encoders.reference.encode(first_texts(shard, at_most_bytes))


def first_texts(shard: Path, at_most_bytes: int) -> list[str]:
    """The first texts of a shard's first block, as many as fit."""
    with ShardReader(shard, RECIPE.raw) as reader:
        texts = next(iter(reader)).texts
    sizes = takewhile(lambda size: size <= at_most_bytes, accumulate(map(_size, texts)))
    return texts[: len(list(sizes))]


def _size(text: str) -> int:
    return len(text.encode())
