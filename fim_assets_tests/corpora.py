"""Small corpora made in the test, and the way through the pipeline without Dagster."""

import bz2
import gzip
import lzma
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from fim_assets import open_corpus as module
from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus.keys import PARQUET
from fim_assets.corpus.partition_files import Outputs, PartitionFiles
from fim_assets.corpus.sources import find_shards
from fim_assets.io.hashing import HashingWriter
from fim_assets.io.locations import Location
from fim_assets.io.parquet import TableWriter
from fim_assets.layouts.registry import array_endings, array_folders
from fim_assets.recipe import Recipe
from fim_assets.recipe.raw import Raw
from fim_assets.run.local import run_in_processes
from fim_assets.run.partition import Outcome, Task
from fim_assets.settings import Settings
from fim_assets.stages import STAGES, stages_of
from fim_assets.token_arrays.stage import TOKEN_ARRAYS

CHECKS_OF = {s.name: [c.name for c in s.checks_of(Recipe())] for s in stages_of(Recipe())}
"""The checks of the default recipe by stage; `ALL_CHECKS` are those of every recipe."""

ALL_CHECKS = frozenset(check.name for stage in STAGES for check in stage.checks)

TOLERANT = Raw(max_rejected_share=1)
"""Shards may hold as many lines that are no documents as they like."""

TEXTS = [
    "def add(a, b):\n    return a + b\n",
    "日本語のコメント // émoji 🚀🔥 e\u0301\r\n\tend",
    "print('<|fim_prefix|> and <|endoftext|> are plain text here')\n",
    "<|file_sep|>first file here\n<|file_sep|>second file here\n<|file_sep|><|file_sep|>ab",
    "ab",
    "   \n\t ",
    "x" * 3000 + "\n",
    'quotes " and \\ back\\slashes \x00 \x7f \u2028',
]


HOSTILE_KEY = "<b>x<b>&'#?%2e ü"
"""A partition's key that is markup, and must be quoted in an URL."""

HOSTILE = [
    "<script>window.forged=1</script>",
    '<img src=x onerror="window.forged=1">',
    "</script><svg onload=window.forged=1>",
    "[click](javascript:window.forged=1) ![image](http://forged.invalid/image.png)",
    "```\n<iframe src=javascript:parent.forged=1></iframe>",
    '=HYPERLINK("http://forged.invalid","x"),\r\n"\x1b]0;forged\x07\u202e',
]
"""What a page, a terminal or a spreadsheet might obey."""


def documents(count: int, salt: str = "") -> list[dict[str, Any]]:
    """Different documents: awkward texts, each made longer by its number."""
    return [
        {
            "id": f"{salt}{number}",
            "text": f"{TEXTS[number % len(TEXTS)]}# {salt} {number} {'.' * (number % 7)}",
            "metadata": {"language": ["Python", "C", None][number % 3]},
        }
        for number in range(count)
    ]


def hostile_documents() -> list[dict[str, Any]]:
    """Documents whose texts, ids, languages and paths are hostile."""
    return [
        {
            "id": f"{hostile} {number}",
            "text": f"{hostile}\n# {number} {hostile}",
            "metadata": {"language": hostile, "path": hostile},
        }
        for number in range(20)
        for hostile in HOSTILE
    ]


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".zst": zstandard.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}
"""How a shard is packed, by its name's last ending."""


def json_lines(rows: Iterable[Any]) -> bytes:
    """JSON lines; a row of bytes stands as it is."""
    return b"".join((r if isinstance(r, bytes) else orjson.dumps(r)) + b"\n" for r in rows)


def write_shard(path: Path, rows: Iterable[Any]) -> Path:
    """Write a shard, packed as its name says; rows of Parquet are objects."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == PARQUET:
        path.write_bytes(parquet([*rows]))
    else:
        path.write_bytes(PACKINGS.get(path.suffix, bytes)(json_lines(rows)))
    return path


def parquet(rows: Sequence[Any], **options: Any) -> bytes:
    """Rows of a Parquet file; of none, it has a column of texts."""
    file = BytesIO()
    schema = None if rows else pa.schema([("text", pa.string())])
    pq.write_table(pa.Table.from_pylist([*rows], schema), file, **options)
    return file.getvalue()


def corpus_of(recipe: Recipe, root: Location, prefix: Sequence[str] = ()) -> Corpus:
    """A corpus whose input and outputs lie below `root`."""
    return module.open_corpus(recipe, Settings(root, root, "", workers=1), prefix)


def write_rows(path: Path, schema: Any, rows: list[tuple[Any, ...]]) -> Path:
    """Write a stage's parquet, its rows in the order of the schema's columns."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema.names)
    with HashingWriter(path) as file, TableWriter(file, schema) as table:
        table.write(dict(zip(schema.names, columns, strict=True)))
    return path


def open_corpus(
    root: Path,
    recipe: Recipe | None = None,
    prefix: Sequence[str] = (),
    max_rejected_share: float = 1,
) -> Corpus:
    """A corpus whose input and outputs lie below `root`; any number of its lines may be rejected.

    The share of these, which the recipe does not decide here, is no part of any fingerprint.
    """
    recipe = recipe or Recipe()
    raw = recipe.raw.model_copy(update={"max_rejected_share": max_rejected_share})
    recipe = recipe.model_copy(update={"raw": raw})
    return corpus_of(recipe, root, prefix)


def fingerprint(recipe: Recipe, asset: str, tokenizer_hash: str) -> str:
    """What decides an asset's bytes, see `Corpus.fingerprint`."""
    settings = Settings(Path(), Path(), "", workers=1)
    return module.open_corpus(recipe, settings, (), tokenizer_hash).fingerprint(asset)


def partition_files(folder: Location, key: str, work: Path | None = None) -> PartitionFiles:
    """Files of a partition with every name that any stage gives; masks of `token_arrays` alone."""
    endings = tuple({ending for stage in STAGES for ending in stage.outputs.endings})
    folders = array_folders() if folder.name == TOKEN_ARRAYS.name else ()
    return PartitionFiles(folder, key, Outputs(endings, array_endings(), folders), work)


def run_all(
    corpus: Corpus,
    assets: Iterable[str] | None = None,
    checks: Iterable[str] | None = None,
    workers: int = 1,
    *,
    skip_complete: bool = False,
) -> dict[str, Outcome]:
    """Take every shard of a corpus through the chosen stages and checks, by default all theirs."""
    assets = list(corpus.names if assets is None else assets)
    if checks is None:
        checks = [c.name for a in assets for c in corpus.stage(a).checks_of(corpus.recipe)]
    shards = find_shards(corpus.recipe.raw.documents, corpus.data_root)
    tasks = [
        Task(corpus, key, shard, frozenset(assets), frozenset(checks), skip_complete)
        for key, shard in shards.items()
    ]
    return {outcome.key: outcome for outcome in run_in_processes(tasks, workers)}


def file_bytes(folder: Path) -> dict[str, bytes]:
    """Content of every file below a folder, receipts left out, by path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".json"
    }
