"""The token stage alone, FIM shards in, arrays, index and parquet out, beside the floor in the run.

The floor is what no tool with the same encoder can go without: decompress, parse each line once,
and the encoder's own time on the same texts. Rates count the text of the raw shards (MB = 10^6
bytes of UTF-8). Files are read from a warm page cache.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import chain
from pathlib import Path

import msgspec
import tokenizers

from fim_assets.corpus.staging import Staging
from fim_assets.fim_shards.record import FimShardReader
from fim_assets.io.hashing import FileRecord
from fim_assets.recipe import Recipe
from fim_assets.settings import usable_cores
from fim_assets.token_arrays.arrays import ArraySettings
from fim_assets.token_arrays.tokenize import segments, tokenize_shard
from fim_assets.tokenizer.find import content_hash, find_tokenizer
from fim_assets.tokenizer.gigatoken_encoder import GigatokenEncoder
from fim_assets.tokenizer.load import LoadedTokenizer, load_tokenizer
from fim_assets_tests.benchmarks.corpus import BenchCorpus
from fim_assets_tests.benchmarks.fim_stage import transform
from fim_assets_tests.benchmarks.measure import Row
from fim_assets_tests.benchmarks.stage import (
    FLOOR,
    Cost,
    Variant,
    at_least,
    at_most,
    folder_beside,
    key_of,
    median_costs,
    parsed_blocks,
    run_in_pool,
    started_pool,
    take_turns,
    was_busy,
)
from fim_assets_tests.corpora import partition_files

FLOOR_TARGET = 1.4
"""Times the floor."""

DOLMA_MB_PER_SECOND = 3.0
"""Of `dolma tokens`; a number given, which this run does not measure."""

DOLMA_TARGET = 25
"""Times `dolma tokens`."""

ENCODE_BATCH_TARGET = 20
"""Times what Hugging Face tokenizers' `encode_batch` does with all cores."""

SLICE_BYTES = 8_000_000
"""Of the texts that `encode_batch` encodes, about."""

TEXTS = "the floor's texts read"
TOKENS = "tokens"
ENCODE_BATCH = "encode_batch"

RECIPE = Recipe()

_texts = msgspec.msgpack.Decoder(list[list[str]])


def token_rows(corpus: BenchCorpus, rounds: Iterable[object]) -> list[Row]:
    """The floor, the token stage, and `encode_batch`: medians, the variants taking turns.

    Args:
        corpus: Its shards are worked on by as many processes as there are usable cores.
        rounds: As many as rounds are wanted.
    """
    keys = corpus.keys
    workers = min(usable_cores(), len(keys))
    tokenizer_folder = find_tokenizer(RECIPE.tokens.tokenizer)
    tokenizer_hash = content_hash(tokenizer_folder)
    load = partial(load_tokenizer, RECIPE)
    hugging_face = tokenizers.Tokenizer.from_file(str(tokenizer_folder / "tokenizer.json"))
    with started_pool(workers, load) as pool, folder_beside(corpus) as folder:
        list(pool.map(partial(write_fim_shard, folder), map(corpus.shard, keys)))
        shards = tuple(folder / f"{key}.jsonl.zst" for key in keys)
        part = list(chain.from_iterable(_first_texts(s, SLICE_BYTES // len(keys)) for s in shards))
        variants = (
            Variant(FLOOR, floor, shards, corpus.bytes),
            Variant(TEXTS, read_texts, shards, corpus.bytes),
            Variant(TOKENS, partial(tokenize, tokenizer_hash), shards, corpus.bytes),
        )
        costs = take_turns(
            {variant.name: partial(run_in_pool, pool, variant, corpus) for variant in variants}
            | {ENCODE_BATCH: partial(encode_batch, hugging_face, part)},
            rounds,
        )
    sizes = {FLOOR: corpus.bytes, TOKENS: corpus.bytes, ENCODE_BATCH: sum(map(_size, part))}
    return variant_rows(costs, sizes, workers, load())


def variant_rows(
    costs: Mapping[str, Iterable[Cost]],
    sizes: Mapping[str, int],
    workers: int,
    tokenizer: LoadedTokenizer,
) -> list[Row]:
    """Medians of the rounds, compared with the floor and the targets.

    Args:
        costs: Each variant's rounds by its name.
        sizes: Bytes of the texts by variant.
        workers: Processes that worked at once.
        tokenizer: What encoded.
    """
    medians = median_costs(costs)
    texts, tokens, others = medians[TEXTS], medians[TOKENS], medians[ENCODE_BATCH]
    # The texts are there before the floor begins: reading them is part of no tool's work.
    least = Cost(medians[FLOOR].wall - texts.wall, medians[FLOOR].cpu - texts.cpu)
    rate = sizes[TOKENS] / 1e6 / tokens.wall
    of_dolma = rate / DOLMA_MB_PER_SECOND
    of_others = rate / (sizes[ENCODE_BATCH] / 1e6 / others.wall)
    busy = was_busy(workers, tokens)
    to_floor = at_most(
        tokens.wall / least.wall, FLOOR_TARGET, busy=busy or was_busy(workers, medians[FLOOR])
    )
    to_dolma = at_least(of_dolma, DOLMA_TARGET, busy=busy)
    # Held against the stage's cores alone: threads of another library may leave some idle.
    to_others = at_least(of_others, ENCODE_BATCH_TARGET, busy=busy)
    return [
        Row(FLOOR, least.numbers(sizes[FLOOR], least), f"with {tokenizer.encoder_description}"),
        Row(
            TOKENS,
            tokens.numbers(sizes[TOKENS], least),
            f"{to_floor}; {of_dolma:.1f} × dolma tokens' {DOLMA_MB_PER_SECOND:g} MB/s, {to_dolma}",
        ),
        Row(
            ENCODE_BATCH,
            others.numbers(sizes[ENCODE_BATCH], None),
            f"tokenizers {tokenizers.__version__} on {sizes[ENCODE_BATCH] / 1e6:.1f} MB; tokens is "
            f"{of_others:.1f} ×, {to_others}",
        ),
    ]


def write_fim_shard(folder: Path, shard: Path) -> None:
    """Make the FIM shard of a raw shard, and keep beside it the texts that the stage encodes."""
    transform(RECIPE, shard, folder)
    tokenizer = load_tokenizer(RECIPE)
    fim_shard = folder / shard.name
    with FimShardReader(fim_shard, _parquet(fim_shard)) as reader:
        texts = [
            [
                segment.content
                for text, files in zip(block.documents.texts, block.files, strict=True)
                for segment in segments(text, files, reader.fim, tokenizer)
                if isinstance(segment.content, str)
            ]
            for block in reader
        ]
    _texts_of(fim_shard).write_bytes(msgspec.msgpack.encode(texts))


def floor(shard: Path, _folder: Path) -> None:
    """Decompress a FIM shard, parse each line, and encode the texts that were kept of it."""
    for _ in parsed_blocks(shard):
        pass
    encode = _own_encode(load_tokenizer(RECIPE))
    for texts in _texts.decode(_texts_of(shard).read_bytes()):
        encode(texts)


def _own_encode(tokenizer: LoadedTokenizer) -> Callable[[list[str]], object]:
    """What the encoder's library does, and nothing around it."""
    encoder = tokenizer.encoder
    if isinstance(encoder, GigatokenEncoder):
        return encoder._gigatoken.encode
    return encoder.encode


def read_texts(shard: Path, _folder: Path) -> None:
    """Read the texts kept beside a FIM shard, which the floor does too and is not to count."""
    _texts.decode(_texts_of(shard).read_bytes())


def tokenize(tokenizer_hash: str, shard: Path, folder: Path) -> list[FileRecord]:
    """The token stage of one FIM shard: its outputs' records."""
    settings = ArraySettings(RECIPE.tokens, RECIPE.fim, shard.name, tokenizer_hash)
    with Staging(partition_files(folder, key_of(shard))) as staging:
        tokenize_shard(shard, _parquet(shard), settings, load_tokenizer(RECIPE), staging)
        return staging.publish()


def encode_batch(tokenizer: tokenizers.Tokenizer, texts: list[str]) -> Cost:
    """What it costs Hugging Face tokenizers to encode texts in this process, with its threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    tokenizer.encode_batch(texts)
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def _first_texts(shard: Path, at_most_bytes: int) -> Iterable[str]:
    """As many of a FIM shard's texts, from the first on, as fit."""
    for text in chain.from_iterable(_texts.decode(_texts_of(shard).read_bytes())):
        size = _size(text)
        if size <= at_most_bytes:
            at_most_bytes -= size
            yield text


def _size(text: str) -> int:
    return len(text.encode())


def _parquet(shard: Path) -> Path:
    return shard.with_name(f"{key_of(shard)}.parquet")


def _texts_of(shard: Path) -> Path:
    return shard.with_name(f"{key_of(shard)}.texts")
