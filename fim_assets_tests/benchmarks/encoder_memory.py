"""Memory of the encoder over a long run: one process that encodes gigabytes of text.

The corpus's texts come over and over. Each pass exchanges their letters for others, so that words
and names are new ones, and an encoder that remembers those it has seen is never done with them.
`python -m fim_assets_tests.benchmarks.encoder_memory [MEGABYTES]`.
"""

import argparse
import os
import random
import string
import time
from collections.abc import Iterator, Sequence
from itertools import count

from rich.progress import track

from fim_assets.raw_shards.shard_reader import ShardReader
from fim_assets.tokenizer.load import load_tokenizer
from fim_assets_tests.benchmarks.corpus import BenchCorpus, build_corpus
from fim_assets_tests.benchmarks.measure import Row, memory_bytes
from fim_assets_tests.benchmarks.stage import RECIPE
from fim_assets_tests.benchmarks.tables import console, print_rows

STEP_BYTES = 500_000_000


def encoder_rows(corpus: BenchCorpus, size: int, step: int = STEP_BYTES) -> Iterator[Row]:
    """This process's memory before, after each step, and at the end; what the step cost.

    Args:
        corpus: Whose texts are encoded.
        size: Bytes of text to encode, at least.
        step: Bytes of text from row to row, at least.
    """
    encoder = load_tokenizer(RECIPE).encoder
    yield Row(f"before: {encoder.name}", _memory())
    encoded = since = 0
    wall = cpu = 0.0
    for texts in _endless_texts(corpus):
        begin, cpu_begin = time.perf_counter(), time.process_time()
        encoder.encode(texts)
        wall += time.perf_counter() - begin
        cpu += time.process_time() - cpu_begin
        since += sum(len(text.encode()) for text in texts)
        if since >= min(step, size - encoded):
            encoded += since
            rates = {"MB/s": since / 1e6 / wall, "MB/CPU s": since / 1e6 / cpu}
            yield Row(
                f"{encoded / 1e6:,.0f} MB", {**_memory(), "wall s": wall, "CPU s": cpu} | rates
            )
            since, wall, cpu = 0, 0.0, 0.0
            if encoded >= size:
                return


def _memory() -> dict[str, float]:
    fields = {"resident MB": "VmRSS", "peak MB": "VmHWM"}
    return {name: memory_bytes(os.getpid(), field) / 1e6 for name, field in fields.items()}


def _endless_texts(corpus: BenchCorpus) -> Iterator[list[str]]:
    """The texts of each block; those of the first pass as they are."""
    letters = string.ascii_lowercase
    others = letters
    for number in count(1):
        table = bytes.maketrans(
            (letters + letters.upper()).encode(), (others + others.upper()).encode()
        )
        for key in corpus.keys:
            with ShardReader(corpus.shard(key), RECIPE.raw) as reader:
                for block in reader:
                    yield [text.encode().translate(table).decode() for text in block.texts]
        others = "".join(random.Random(number).sample(letters, len(letters)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser("fim_assets_tests.benchmarks.encoder_memory")
    parser.add_argument("megabytes", type=int, nargs="?", default=5_000)
    size = parser.parse_args(arguments).megabytes * 1_000_000
    terminal = console()
    total = 1 + -(-size // STEP_BYTES)
    rows = track(
        encoder_rows(build_corpus(None), size), "encoder", total, console=terminal, transient=True
    )
    print_rows(terminal, "memory of one process that encodes", list(rows))


if __name__ == "__main__":
    main()
