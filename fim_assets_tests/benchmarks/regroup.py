"""`fim-assets regroup` over sizes of its inputs: what it costs, and holds in memory and on disk.

The inputs are the corpus's documents over and over, each time of other repositories and with
another line at their heads; a repository's files are spread over all inputs.
"""

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain
from math import nan
from pathlib import Path
from threading import Event, Thread

import orjson
import psutil
from xxhash import xxh3_64_intdigest

from fim_assets.io.hashing import HashingWriter
from fim_assets.io.shard_writer import ShardWriter
from fim_assets.settings import usable_cores
from fim_assets_tests.benchmarks.corpus import BenchCorpus
from fim_assets_tests.benchmarks.end_to_end import environment_of
from fim_assets_tests.benchmarks.measure import BenchError, Row, measure_success
from fim_assets_tests.benchmarks.peaks import documents_again
from fim_assets_tests.benchmarks.stage import folder_beside

SIZES = [500_000_000, 1_000_000_000, 2_000_000_000, 5_000_000_000, 10_000_000_000]
"""Bytes of lines."""

INPUTS = 100
"""Of the largest size; of a smaller one, the first."""

_DISK_OF_A_BYTE = 1.0
_SECONDS_BETWEEN_LOOKS = 0.2


def regroup_rows(
    corpus: BenchCorpus, sizes: Sequence[int] = SIZES, workers: int | None = None
) -> list[Row]:
    """A row a size, each measured once.

    Raises:
        BenchError: If the command fails, or the disk has no room.
    """
    needed = _DISK_OF_A_BYTE * sizes[-1]
    if shutil.disk_usage(corpus.folder).free < needed:
        raise BenchError(f"{corpus.folder}: {needed / 1e9:.0f} GB must be free on its disk")
    with folder_beside(corpus) as folder:
        (folder / "raw").mkdir()
        inputs = write_inputs(corpus, folder / "raw", sizes[-1])
        return [
            _row(folder, inputs[: max(INPUTS * size // sizes[-1], 1)], size, workers)
            for size in sizes
        ]


def write_inputs(corpus: BenchCorpus, folder: Path, size: int) -> list[Path]:
    """Write inputs of so many bytes of lines together."""
    paths = [folder / f"{number:03d}.jsonl.zst" for number in range(INPUTS)]
    with ExitStack() as stack:
        writers = [
            stack.enter_context(ShardWriter(stack.enter_context(HashingWriter(path))))
            for path in paths
        ]
        for line in chain.from_iterable(documents_again(corpus, size)):
            document = orjson.loads(line)
            number, *folders, _name = document["id"].split("/")
            document["metadata"]["repo_name"] = "/".join([number, *folders[:2]])
            document["text"] = f"# {document['id']}\n{document['text']}"
            writers[xxh3_64_intdigest(line) % INPUTS].write([orjson.dumps(document)])
    return paths


def _row(folder: Path, inputs: Sequence[Path], size: int, workers: int | None) -> Row:
    workers = workers or usable_cores()
    variables = environment_of(FIM_DATA_ROOT=str(folder), FIM_WORKERS=str(workers))
    code = "from fim_assets.cli.main import main; main()"
    command = [sys.executable, "-c", code, "regroup", *map(str, inputs), "-o", "whole"]
    with _watching(folder / "whole") as (memory, disk):
        measured = measure_success(command, variables, folder)
    shards = sum(path.stat().st_size for path in (folder / "whole").glob("*.zst"))
    shutil.rmtree(folder / "whole")
    compressed = sum(path.stat().st_size for path in inputs)
    return Row(
        f"{size / 1e9:g} GB, {len(inputs)} inputs",
        {
            "wall s": measured.wall_seconds,
            "CPU s": measured.cpu_seconds,
            "MB/CPU s": size / 1e6 / measured.cpu_seconds,
            "peak MB": (measured.peak_bytes or nan) / 1e6,
            "all MB": max(memory) / 1e6,
            "inputs MB": compressed / 1e6,
            "disk MB": max(disk) / 1e6,
            "shards MB": shards / 1e6,
        },
    )


@contextmanager
def _watching(folder: Path) -> Iterator[tuple[list[int], list[int]]]:
    """Memory of all processes below this one, over and over, and how many bytes a folder takes."""
    memory, disk, stop = [0], [0], Event()

    def watch() -> None:
        while not stop.wait(_SECONDS_BETWEEN_LOOKS):
            memory.append(_memory_of_children())
            disk.append(_bytes_below(folder))

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield memory, disk
    finally:
        stop.set()
        thread.join()


def _memory_of_children() -> int:
    """What processes share counts once (Linux: PSS)."""
    size = 0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            size += process.memory_full_info().pss
    return size


def _bytes_below(folder: Path) -> int:
    size = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            size += path.stat().st_size
    return size
