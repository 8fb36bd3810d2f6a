"""The FIM stage alone, shards in, FIM shards and parquet out, beside the floor in the same run.

The floor is what no tool can go without: decompress, parse each line once, compress the same bytes.
Rates count the text of the raw shards (MB = 10^6 bytes of UTF-8). Files are read from a warm page
cache.
"""

import shutil
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import cache, partial
from itertools import count, islice
from pathlib import Path, PurePath
from statistics import median
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np
import orjson
import zstandard
from tree_sitter import Parser

from fim_assets.corpus.staging import Staging
from fim_assets.cuts.files import Files
from fim_assets.cuts.grammars import GRAMMARS, find_grammar
from fim_assets.cuts.registry import CUTS
from fim_assets.cuts.syntax_tree import CannotCutError, parse
from fim_assets.draws import UInts, document_keys
from fim_assets.fim_shards.decisions import decide
from fim_assets.fim_shards.record import SCHEMA, record_metadata
from fim_assets.fim_shards.transform import rearranged_texts, transform_block, transform_shard
from fim_assets.io.hashing import FileRecord, HashingWriter
from fim_assets.io.parquet import TableWriter
from fim_assets.io.shard_writer import ZSTD_LEVEL, Line, ShardWriter
from fim_assets.raw_shards.documents import replace_text
from fim_assets.raw_shards.shard_reader import Documents, ShardReader
from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import Fim, SplitWeights
from fim_assets.settings import usable_cores
from fim_assets_tests.benchmarks.corpus import LANGUAGES, BenchCorpus
from fim_assets_tests.benchmarks.measure import Row
from fim_assets_tests.benchmarks.stage import (
    FLOOR,
    Cost,
    Variant,
    at_most,
    folder_beside,
    key_of,
    median_costs,
    parse_lines,
    parsed_blocks,
    peak_row,
    run_in_pool,
    started_pool,
    take_turns,
    was_busy,
)
from fim_assets_tests.corpora import partition_files

CHARACTER_TARGET = 1.35
"""Times the floor, for the methods that depend on lengths alone."""

SYNTAX_TARGET = 1.3
"""Times `dolma` and tree-sitter's own parse of the chosen files."""

PEAK_TARGET_MB = 400
LARGE_BYTES = 2_000_000_000
FREE_BYTES = 5_000_000_000

FLOOR_IN_MEMORY = "floor, whole shards in memory"
MIXTURE = "mixture of the three"
PARSE = "tree-sitter's parse alone"

_RECIPES = {
    "dolma": Recipe(fim=Fim(split="dolma")),
    "uniform": Recipe(fim=Fim(split="uniform")),
    "lines": Recipe(fim=Fim(split="lines")),
    MIXTURE: Recipe(fim=Fim(split=SplitWeights(dolma=0.4, uniform=0.3, lines=0.3))),
    "syntax": Recipe(fim=Fim(split="syntax")),
}

_PARSED = ["syntax_errors", "no_node"]
"""Why `syntax` could not cut a file that it has parsed."""

READ, COMPRESS = "read: decompress, split, parse, judge", "compress, hash and write"
PARQUET = "parquet: encode, hash and write"
HASH, DECIDE, REARRANGE = "hash documents to keys", "find files and decide", "rearrange"
SPLICE = "splice the text into its line"
REST = "the rest: rows and counts, hash of the input, files published"

W = TypeVar("W")
T = TypeVar("T")


def stage_rows(corpus: BenchCorpus, rounds: Iterable[object]) -> list[Row]:
    """The floor, every law, and tree-sitter's parse: medians, the variants taking turns.

    Args:
        corpus: Its shards are worked on by as many processes as there are usable cores.
        rounds: As many as rounds are wanted.
    """
    shards = tuple(corpus.shard(key) for key in corpus.keys)
    workers = min(usable_cores(), len(shards))
    with started_pool(workers, _load_parsers) as pool, folder_beside(corpus) as folder:
        sizes = pool.map(partial(write_chosen_files, _RECIPES["syntax"], folder), shards)
        parsed = sum(sizes)
        variants = [
            Variant(FLOOR, floor, shards, corpus.bytes),
            Variant(FLOOR_IN_MEMORY, floor_in_memory, shards, corpus.bytes),
            *(
                Variant(name, partial(transform, recipe), shards, corpus.bytes)
                for name, recipe in _RECIPES.items()
            ),
            Variant(PARSE, parse_chosen_files, tuple(folder.iterdir()), parsed),
        ]
        runs = {variant.name: partial(run_in_pool, pool, variant, corpus) for variant in variants}
        costs = take_turns(runs, rounds)
    return variant_rows(variants, costs, workers)


def variant_rows(
    variants: Sequence[Variant], costs: Mapping[str, Sequence[Cost]], workers: int
) -> list[Row]:
    """Medians of the rounds, compared with the floor and the targets.

    Args:
        variants: All that were measured.
        costs: Each variant's rounds by its name.
        workers: Processes that worked at once.
    """
    medians = median_costs(costs)
    least, dolma, parse_alone = medians[FLOOR], medians["dolma"], medians[PARSE]
    rows = []
    for variant in variants:
        name, cost = variant.name, medians[variant.name]
        remark = ""
        if name == "syntax":
            ratio = cost.wall / (dolma.wall + parse_alone.wall)
            of_cpu = cost.cpu / (dolma.cpu + parse_alone.cpu)
            busy = was_busy(workers, cost, dolma, parse_alone)
            met = at_most(ratio, SYNTAX_TARGET, busy=busy)
            remark = f"{ratio:.2f} × (dolma + parse), CPU {of_cpu:.2f} ×; {met}"
        elif name == PARSE:
            size = variant.bytes / 1e6
            remark = f"{size:.1f} MB; {size / cost.cpu:.1f} MB/s a core"
        elif name in CUTS.rank_functions():
            busy = was_busy(workers, cost, least)
            remark = at_most(cost.wall / least.wall, CHARACTER_TARGET, busy=busy)
        rows.append(Row(name, cost.numbers(variant.bytes, least), remark))
    return rows


def _load_parsers() -> None:
    for ending, language in LANGUAGES.items():
        with suppress(CannotCutError):
            _parser(language, ending)


def floor(shard: Path, folder: Path) -> None:
    """Decompress, parse each line and compress, in bounded memory: one stream, block by block.

    Args:
        shard: A raw shard.
        folder: Takes the same bytes, compressed again.
    """
    compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
    with (folder / shard.name).open("wb") as file, compressor.stream_writer(file) as stream:
        for block in parsed_blocks(shard):
            stream.write(block)


def floor_in_memory(shard: Path, folder: Path) -> None:
    """The floor with a shard in memory as a whole: see `floor`."""
    data = zstandard.ZstdDecompressor().decompressobj().decompress(shard.read_bytes())
    parse_lines(data.split(b"\n"))
    packed = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(data)
    (folder / shard.name).write_bytes(packed)


def transform(recipe: Recipe, shard: Path, folder: Path) -> list[FileRecord]:
    """The FIM stage of one shard: its outputs' records."""
    key = key_of(shard)
    with Staging(partition_files(folder, key)) as staging:
        transform_shard(shard, recipe.partition_seed(key), recipe, staging)
        return staging.publish()


class ChosenFile(NamedTuple):
    """A file that `syntax` parses.

    Attributes:
        source: Its text in UTF-8.
        language: Its document's language.
        path: Its document's path.
    """

    source: bytes
    language: str | None
    path: str | None


_chosen_files = msgspec.msgpack.Decoder(list[ChosenFile])


def chosen_files(shard: Path, recipe: Recipe) -> Iterator[ChosenFile]:
    """The files of a shard that `syntax` parses, by a recipe without repository tokens."""
    seed = recipe.partition_seed(key_of(shard))
    with ShardReader(shard, recipe.raw) as reader:
        for block in reader:
            files = _files(block, seed, recipe.fim)
            decisions = decide(files, recipe.fim)
            cut = decisions.splits == "syntax"
            for row in np.flatnonzero(cut | np.isin(decisions.reasons, _PARSED)).tolist():
                document = int(files.documents[row])
                yield ChosenFile(
                    files.texts[row].encode(), block.languages[document], block.paths[document]
                )


def write_chosen_files(recipe: Recipe, folder: Path, shard: Path) -> int:
    """Keep the files of a shard that `syntax` parses, for `parse_chosen_files`; their bytes."""
    chosen = list(chosen_files(shard, recipe))
    (folder / key_of(shard)).write_bytes(msgspec.msgpack.encode(chosen))
    return sum(len(file.source) for file in chosen)


def parse_chosen_files(chosen: Path, _folder: Path) -> None:
    """Parse the files of a shard that `syntax` parses, and nothing else."""
    for file in _chosen_files.decode(chosen.read_bytes()):
        _parser(file.language, PurePath(file.path or "").suffix).parse(file.source)


@cache
def _parser(language: str | None, ending: str) -> Parser:
    grammar = find_grammar(language, f"file{ending}")
    if grammar is None:
        raise CannotCutError("no_grammar")
    return Parser(parse(b"", GRAMMARS[grammar]).language)


def _files(block: Documents, seed: int, fim: Fim) -> Files:
    keys = document_keys(seed, block.ids, block.texts)
    return _split(block, keys, fim)


def _split(block: Documents, keys: UInts, fim: Fim) -> Files:
    boundaries = fim.file_separator_token, fim.repository_tokens
    return Files.split(block.texts, keys, block.languages, block.paths, *boundaries)


class Steps:
    """CPU seconds of this process by step.

    Attributes:
        seconds: So far.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Count what happens inside."""
        begin = time.process_time()
        yield
        self.seconds[step] += time.process_time() - begin

    def each(self, step: str, blocks: Iterable[T]) -> Iterator[T]:
        """Count what it takes to get each block."""
        iterator = iter(blocks)
        while True:
            with self.timed(step):
                found = list(islice(iterator, 1))
            if not found:
                return
            yield from found

    @contextmanager
    def leaving(self, step: str, writer: AbstractContextManager[W]) -> Iterator[W]:
        """Count what it takes to end a writer that ends well."""
        with ExitStack() as stack:
            yield stack.enter_context(writer)
            with self.timed(step):
                stack.close()


def step_rows(corpus: BenchCorpus, rounds: Iterable[object]) -> list[Row]:
    """Where the CPU time of `dolma` goes, in one process; the rows above the last add up to it.

    Beside it the floor's, in the same process.

    Args:
        corpus: What is worked on.
        rounds: As many as rounds are wanted; the columns are medians.
    """
    stages: list[Mapping[str, float]] = []
    floors: list[Mapping[str, float]] = []
    for _ in rounds:
        stage, least = Steps(), Steps()
        with folder_beside(corpus) as outputs:
            for key in corpus.keys:
                transform_in_steps(_RECIPES["dolma"], corpus.shard(key), outputs, stage)
                (outputs / f"{key}.jsonl.zst").unlink()
                floor_in_steps(corpus.shard(key), outputs, least)
        stages.append(stage.seconds)
        floors.append(least.seconds)
    return _step_rows(_medians(stages), _medians(floors))


def _medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {step: median(seconds[step] for seconds in rounds) for step in rounds[0]}


def _step_rows(stage: Mapping[str, float], floor: Mapping[str, float]) -> list[Row]:
    """Rows in the order of the work, and the whole."""
    whole = sum(stage.values())
    rows = []
    for step in (READ, HASH, DECIDE, REARRANGE, SPLICE, COMPRESS, PARQUET, REST):
        numbers: dict[str, float | None] = {
            "CPU s": stage[step],
            "share %": stage[step] / whole * 100,
        }
        if step in floor:
            numbers["floor CPU s"] = floor[step]
        rows.append(Row(step, numbers))
    total = {"CPU s": whole, "share %": 100.0, "floor CPU s": sum(floor.values())}
    return [*rows, Row("dolma", {**total})]


def transform_in_steps(recipe: Recipe, shard: Path, folder: Path, steps: Steps) -> list[FileRecord]:
    """The FIM stage of one shard as `transform` does it, timed; its outputs' records.

    What happens within a block is done a second time to be timed, which counts nowhere else.
    """
    key = key_of(shard)
    seed = recipe.partition_seed(key)
    known = sum(steps.seconds.values())
    again = 0.0
    begin = time.process_time()
    with (
        Staging(partition_files(folder, key)) as staging,
        ShardReader(shard, recipe.raw) as reader,
    ):
        record = staging.create(".jsonl.zst"), staging.create(".parquet")
        metadata = record_metadata(recipe.raw, recipe.fim, seed)
        with (
            steps.leaving(COMPRESS, ShardWriter(record[0])) as writer,
            steps.leaving(PARQUET, TableWriter(record[1], SCHEMA, metadata)) as table,
        ):
            for block in steps.each(READ, reader):
                result = transform_block(block, seed, recipe)
                with steps.timed(COMPRESS):
                    writer.write(result.lines)
                with steps.timed(PARQUET):
                    table.write(result.rows)
                before = time.process_time()
                rearranged_lines(block, seed, recipe, steps)
                again += time.process_time() - before
        reader.totals(chars=0)
        records = staging.publish()
    whole = time.process_time() - begin - again
    steps.seconds[REST] += whole - (sum(steps.seconds.values()) - known)
    return records


def rearranged_lines(block: Documents, seed: int, recipe: Recipe, steps: Steps) -> list[Line]:
    """The lines of a block as `transform_block` gives them, timed."""
    fim = recipe.fim
    with steps.timed(HASH):
        keys = document_keys(seed, block.ids, block.texts)
    with steps.timed(DECIDE):
        files = _split(block, keys, fim)
        decisions = decide(files, fim)
    with steps.timed(REARRANGE):
        rearranged = list(rearranged_texts(files, decisions, fim))
    with steps.timed(SPLICE):
        lines = list(block.lines)
        for document, text in rearranged:
            lines[document] = replace_text(lines[document], recipe.raw.text_field, text)
    return lines


def floor_in_steps(shard: Path, folder: Path, steps: Steps) -> None:
    """The floor as `floor` does it, timed."""
    compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
    with (
        (folder / shard.name).open("wb") as file,
        steps.leaving(COMPRESS, compressor.stream_writer(file)) as stream,
    ):
        for block in steps.each(READ, parsed_blocks(shard)):
            with steps.timed(COMPRESS):
                stream.write(block)


def large_shard(corpus: BenchCorpus, at_least: int = LARGE_BYTES) -> Path | None:
    """One large shard: the corpus's documents, written again under new ids; built once.

    Args:
        corpus: The documents.
        at_least: Uncompressed bytes.

    Returns:
        Its path, None if the disk has less than `FREE_BYTES` free.
    """
    if shutil.disk_usage(corpus.folder).free < FREE_BYTES:
        return None
    path = corpus.folder / f"large-{at_least}.jsonl.zst"
    if not path.is_file():
        with folder_beside(corpus) as folder:
            part = folder / path.name
            with HashingWriter(part) as file, ShardWriter(file) as writer:
                for lines in _documents_again(corpus, at_least):
                    writer.write(lines)
            part.replace(path)
    return path


def _documents_again(corpus: BenchCorpus, at_least: int) -> Iterator[list[bytes]]:
    size = 0
    for number in count():
        for key in corpus.keys:
            with ShardReader(corpus.shard(key), Recipe().raw) as reader:
                for block in reader:
                    lines = [_under_new_id(line, number) for line in block.lines]
                    yield lines
                    size += sum(map(len, lines)) + len(lines)
                    if size >= at_least:
                        return


def _under_new_id(line: Line, number: int) -> bytes:
    document = orjson.loads(line)
    document["id"] = f"{number}/{document['id']}"
    return orjson.dumps(document)


def peak_rows(corpus: BenchCorpus, large: Path) -> list[Row]:
    """Peak memory of the FIM stage on one large shard, each law in a process of its own.

    Args:
        corpus: Beside it the outputs are written, and deleted.
        large: The shard.

    Raises:
        BenchError: If a process fails.
    """
    rows = []
    for name in ("dolma", "syntax"):
        with folder_beside(corpus) as folder:
            code = f"import {__name__} as b; b.transform_alone({name!r}, {str(large)!r}, '.')"
            rows.append(peak_row(name, code, folder, PEAK_TARGET_MB))
    return rows


def transform_alone(law: str, shard: str, folder: str) -> None:
    """The FIM stage of one shard; a process of its own calls this."""
    transform(_RECIPES[law], Path(shard), Path(folder))
