"""The floors: what no tool that does a stage's work can go without, on the same shards."""

from collections.abc import Iterator
from pathlib import Path

import orjson
import zstandard

from fim_assets.io.shard_writer import ZSTD_LEVEL
from fim_assets.raw_shards.shard_reader import BLOCK_BYTES
from fim_assets.tokenizer.load import load_tokenizer
from fim_assets_tests.benchmarks.stage import RECIPE


def fim_floor(shard: Path, folder: Path) -> None:
    """Decompress, parse each line, and compress the same bytes as one stream."""
    compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
    with (folder / shard.name).open("wb") as file, compressor.stream_writer(file) as stream:
        for block, _ in blocks(shard):
            stream.write(block)


def token_floor(shard: Path, _folder: Path) -> None:
    """Decompress, parse each line, and encode its text with the encoder that serves the stage."""
    encoder = load_tokenizer(RECIPE).encoder
    for _, texts in blocks(shard):
        encoder.encode(texts)


def blocks(shard: Path, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[bytes, list[str]]]:
    """A shard's decompressed bytes, and the texts of the documents that end in them."""
    begun: list[bytes] = []
    with shard.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        while block := stream.read(block_bytes):
            first, *lines = block.split(b"\n")
            begun.append(first)
            whole = []
            if lines:
                whole = [b"".join(begun), *lines[:-1]]
                begun = [lines[-1]]
            yield block, [orjson.loads(line)["text"] for line in whole]
