"""The FIM stage alone, shards in, FIM shards and parquet out, beside its floor in the same run."""

from collections.abc import Iterable, Iterator
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import msgspec
import polars as pl
from tree_sitter import Parser

from fim_assets.corpus.corpus import Corpus
from fim_assets.fim_shards.stage import FIM_SHARDS
from fim_assets.parsing.grammars import GRAMMARS, find_grammar
from fim_assets.parsing.tree import parse
from fim_assets.preview.notebook import transform_texts
from fim_assets.raw_shards.shard_reader import ShardReader
from fim_assets.recipe import Recipe
from fim_assets.recipe.context import Context
from fim_assets.recipe.fim import Fim
from fim_assets_tests.benchmarks.corpus import BenchCorpus
from fim_assets_tests.benchmarks.floors import blocks, fim_floor
from fim_assets_tests.benchmarks.measure import Row
from fim_assets_tests.benchmarks.stage import (
    Run,
    cost_in_pool,
    cost_row,
    folder_beside,
    key_of,
    make,
    most_workers,
    started_pool,
    take_turns,
)
from fim_assets_tests.corpora import corpus_of

FIM_TARGET = 1.35
"""Times the floor, for the methods that depend on lengths alone."""

CONTEXT_TARGET = 1.5
"""Times `dolma` without a section `context`."""

SYNTAX_TARGET = 1.3
"""Times `dolma` and tree-sitter's own parse of the chosen files."""

TEXTS_TARGET = 0.5
"""Times `dolma`: a script that reads the shard and writes nothing."""

FLOOR = "floor: unpack, parse, pack"
TEXTS = "transform_texts of lines read"
PARSE = "tree-sitter's parse alone"
BY_LENGTH = ("dolma", "uniform", "lines")
IN_CONTEXT = {
    f"dolma, context 8,192, {longer}": Recipe(context=Context(tokens=8192, longer=longer))
    for longer in ("unchanged", "pieces")
}

_PARSED = ["syntax_errors", "no_node"]
"""Why `syntax` could not cut a file that it has parsed."""


def fim_rows(corpus: BenchCorpus, rounds: Iterable[object]) -> list[Row]:
    """The floor, the cut methods, their call for scripts, and tree-sitter's parse for `syntax`.

    Args:
        corpus: Its shards are worked on by as many processes as there are usable cores.
        rounds: As many as rounds are wanted.
    """
    shards = [corpus.shard(key) for key in corpus.keys]
    recipes = {split: Recipe(fim=Fim(split=split)) for split in (*BY_LENGTH, "syntax")} | IN_CONTEXT
    pipelines = {split: corpus_of(recipe, corpus.folder) for split, recipe in recipes.items()}
    with started_pool(most_workers(corpus)) as pool, folder_beside(corpus) as folder:
        parsed = sum(pool.map(partial(write_parsed_files, pipelines["syntax"], folder), shards))
        runs: dict[str, tuple[Run, list[Path]]] = {
            FLOOR: (fim_floor, shards),
            **{name: (partial(make, FIM_SHARDS, it), shards) for name, it in pipelines.items()},
            TEXTS: (partial(transform_lines, pipelines["dolma"]), shards),
            PARSE: (parse_files, list(folder.glob("*.parsed"))),
        }
        costs = take_turns(
            {name: partial(cost_in_pool, pool, *run, corpus) for name, run in runs.items()}, rounds
        )
    by_length = [cost_row(name, costs, corpus.bytes, [FLOOR], FIM_TARGET) for name in BY_LENGTH]
    in_context = [
        cost_row(name, costs, corpus.bytes, ["dolma"], CONTEXT_TARGET) for name in IN_CONTEXT
    ]
    syntax = cost_row("syntax", costs, corpus.bytes, ["dolma", PARSE], SYNTAX_TARGET)
    return [
        cost_row(FLOOR, costs, corpus.bytes),
        *by_length,
        *in_context,
        cost_row(TEXTS, costs, corpus.bytes, ["dolma"], TEXTS_TARGET),
        cost_row(PARSE, costs, parsed),
        Row("syntax, × (dolma + parse)", syntax.numbers, syntax.remark),
    ]


def transform_lines(pipeline: Corpus, shard: Path, _folder: Path) -> None:
    """What a script does that needs the rearranged texts alone."""
    texts = chain.from_iterable(texts for _, texts in blocks(shard))
    documents = transform_texts(texts, pipeline.recipe, partition_key=key_of(shard))
    assert all(document.text for document in documents)


class ParsedFile(NamedTuple):
    """A file that `syntax` parses: its text in UTF-8, its grammar's index in `GRAMMARS`."""

    source: bytes
    grammar: int


def write_parsed_files(pipeline: Corpus, folder: Path, shard: Path) -> int:
    """Keep the files of a shard that `syntax` parses, for `parse_files`; their bytes."""
    make(FIM_SHARDS, pipeline, shard, folder)
    key = key_of(shard)
    files = list(_parsed_files(pipeline, shard, folder / f"{key}.parquet"))
    (folder / f"{key}.parsed").write_bytes(msgspec.msgpack.encode(files))
    return sum(len(file.source) for file in files)


def _parsed_files(pipeline: Corpus, shard: Path, parquet: Path) -> Iterator[ParsedFile]:
    """They are told by the stage's own record; a document of the corpus is one file."""
    parsed = (pl.col("split") == "syntax") | pl.col("reason").is_in(_PARSED)
    lines = {*pl.read_parquet(parquet).filter(parsed)["line"]}
    with ShardReader(shard, pipeline.recipe.raw) as reader:
        for block in reader:
            rows = zip(block.numbers, block.texts, block.languages, block.paths, strict=True)
            for line, text, language, path in rows:
                grammar = find_grammar(language, path)
                if line in lines and grammar is not None:
                    yield ParsedFile(text.encode(), grammar)


def parse_files(kept: Path, _folder: Path) -> None:
    """Parse the files of a shard that `syntax` parses, and nothing else."""
    for file in msgspec.msgpack.decode(kept.read_bytes(), type=list[ParsedFile]):
        parse_file(file)


def parse_file(file: ParsedFile) -> bool | str:
    """Parse a file, and nothing else; whether there is an error in it."""
    return _parser(file.grammar).parse(file.source).root_node.has_error


@cache
def _parser(grammar: int) -> Parser:
    return Parser(parse(b"", GRAMMARS[grammar]).language)
