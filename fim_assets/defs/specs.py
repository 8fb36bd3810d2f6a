"""What each asset says of itself: description, kinds, tags, columns, recipe and source."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from inspect import getsourcefile
from types import FunctionType
from typing import Any

import dagster as dg
import pyarrow as pa

from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus_report.write import write_report
from fim_assets.defs.automation import FOLLOW
from fim_assets.fim_shards import checks as fim_shards
from fim_assets.fim_shards import record
from fim_assets.fim_shards.transform import transform_shard
from fim_assets.layouts.base import Layout
from fim_assets.layouts.registry import LAYOUTS
from fim_assets.raw_shards import measure as profile
from fim_assets.raw_shards.measure import measure_shard
from fim_assets.recipe import Recipe
from fim_assets.token_arrays import arrays
from fim_assets.token_arrays.checks import registry as token_arrays
from fim_assets.token_arrays.tokenize import tokenize_shard

_RAW_SHARDS = """
Raw code shards, read line by line and judged: which lines are documents, and how long they are.

| file | holds |
| :-- | :-- |
| `<key>.parquet` | one row a document |
| `<key>.rejected.jsonl` | if there is any: each line that is no document, with its reason |
| `<key>.json` | the receipt, written last |
| `<key>.failed.jsonl` | the rejected lines of a partition that failed by them, until it succeeds |

- **Nothing vanishes**: lines = documents + blank + rejected. With a larger share of rejected lines
  than `raw.max_rejected_share` the partition fails, as with one of empty texts over
  `raw.max_empty_share`, if there is one.
- The shard's text itself stays where it is; `fim_shards` reads it again, by the same judgement.
"""

_FIM_SHARDS = """
The same documents in the same order, part of their files rearranged for fill-in-the-middle: prefix,
middle and suffix behind their sentinels, in PSM or SPM order.

| file | holds |
| :-- | :-- |
| `<key>.jsonl.zst` | one document a line, as it came but for the rearranged texts |
| `<key>.parquet` | one row a file of a document: what was done to it, and how to undo it |
| `<key>.json` | the receipt, written last |

- **Lossless**: from these two files every original text comes back exactly (`fim-assets restore`).
- **Reproducible**: every draw is keyed by the recipe's seed, the partition, the document's id and
  text and the file's place in it, and by nothing else.
- **As asked**: the realised rates lie within exact binomial bounds of the recipe's, and cuts follow
  their law. A partition that does not pass is not finished.
"""


def _layout_row(layout: Layout) -> str:
    next_to_it = ", ".join(f"`{ending}`" for ending in layout.index_endings)
    return f"| `{layout.name}` | `<key>-00000{layout.ending}` | {next_to_it} | {layout.trainer} |"


_LAYOUT_ROWS = "\n".join(map(_layout_row, LAYOUTS.values()))

_TOKEN_ARRAYS = f"""
Token ids that a trainer maps into memory: raw, little-endian, without a header, each document whole
in one array and ended by EOS.

| layout | array | beside it | read by |
| :-- | :-- | :-- | :-- |
{_LAYOUT_ROWS}

With each: `<key>.parquet`, one row a document in the arrays' order, with the token offsets of its
files and their parts; and `<key>.json`, the receipt, written last.

- **Text is text**: no document can forge a sentinel or EOS; controls are placed by id.
- **Nothing is lost**: every document of `fim_shards` is there once, and its ids decode to its text.
- **Two tokenizers agree**: a sample of every partition is encoded by the reference too.
"""

_CORPUS_REPORT = """
All complete partitions added up, from their receipts alone.

| file | holds |
| :-- | :-- |
| `report.html` | rates, distributions and partitions as one page that needs no network |
| `summary.json` | the same numbers, and the arrays that a trainer should read |
| `README.md` | the data set's card |
| `token_arrays/mix.txt` | layout `dolma`: the arrays as OLMo-core's mixes list them |

- Only partitions count whose three receipts are there and agree with the recipe, with each other
  and with the files' sizes; why each of the others does not is listed.
- It is as old as its last run, and is not made in a run in which a partition fails.
"""

_ANY_ROW = {
    "line": "Line of the raw shard, counted from 1.",
    "id": "The document's id; null where it has none.",
}

COLUMNS: dict[str, dict[str, str]] = {
    "raw_shards": {
        **_ANY_ROW,
        "language": "What raw.language_field says; null where it says nothing.",
        "chars": "Unicode code points of the text.",
        "bytes": "Bytes of the text in UTF-8.",
        "sentinel_literals": "Times a sentinel's name stands in the text, as text.",
    },
    "fim_shards": {
        **_ANY_ROW,
        "file": "Which file of the document, counted from 0.",
        "chars": "Unicode code points of the file as it came.",
        "order": "psm or spm; none where the file was left alone.",
        "split": "Law that cut the file; null where it was left alone.",
        "reason": "Why it was left alone, or cut by split_fallback; null otherwise.",
        "prefix_chars": "Code points of its prefix; 0 where it was left alone.",
        "middle_chars": "Code points of its middle; 0 where it was left alone.",
        "suffix_chars": "Code points of its suffix; 0 where it was left alone.",
        "draw_key": "Hash of the document that its draws derive from; copies share it.",
        "language": "The document's language; null where it names none.",
    },
    "token_arrays": {
        **_ANY_ROW,
        "array": "Name of the array that holds the document.",
        "start": "Its first token there; EOS, and BOS if there is one, belong to the document.",
        "end": "One past its last token.",
        "tokens": "end - start.",
        "order": "Its files' order, psm, spm or none; mixed where they differ.",
        "files": "Its files in order; offsets are tokens of the array.",
        "files.file_order": "The file's order: psm, spm or none.",
        "files.file_start": "The file's first token, a sentinel where it is rearranged.",
        "files.file_end": "One past its last token.",
        "files.prefix_start": "First token of its prefix; null where it was left alone.",
        "files.prefix_end": "One past the last of its prefix.",
        "files.middle_start": "First token of its middle; null where it was left alone.",
        "files.middle_end": "One past the last of its middle.",
        "files.suffix_start": "First token of its suffix; null where it was left alone.",
        "files.suffix_end": "One past the last of its suffix.",
        "added_token_literals": "Times a control token's name stands in the text, as text.",
        "changed": "Whether the ids give the text's normal form only (tokens.allow_lossy).",
    },
}
"""Each column of the assets' parquet files, in words."""


@dataclass(frozen=True)
class _About:
    """One asset.

    Attributes:
        description: Markdown.
        kinds: What it is made of, three at most, by names that the UI has pictures for.
        work: The plain functions that make it and check it.
        schema: Of its parquet files.
        section: The recipe's part that is its own.
        tags: What tells it from the same asset of another recipe.
    """

    description: str
    kinds: set[str]
    work: tuple[FunctionType, ...]
    schema: pa.Schema | None = None
    section: str | None = None
    tags: Callable[[Recipe], dict[str, str]] = field(default=lambda _: {})


def _functions(*work: Callable[..., Any]) -> tuple[FunctionType, ...]:
    return tuple(function for function in work if isinstance(function, FunctionType))


_ABOUT = {
    "raw_shards": _About(
        _RAW_SHARDS,
        {"python", "polars", "parquet"},
        _functions(measure_shard),
        profile.SCHEMA,
        "raw",
    ),
    "fim_shards": _About(
        _FIM_SHARDS,
        {"python", "json", "parquet"},
        _functions(
            transform_shard,
            fim_shards.lossless,
            fim_shards.rates_within_bounds,
            fim_shards.split_law,
        ),
        record.SCHEMA,
        "fim",
        lambda recipe: {
            "split": "_".join(sorted(recipe.fim.weights)),
            "spm_format": recipe.fim.spm_format,
        },
    ),
    "token_arrays": _About(
        _TOKEN_ARRAYS,
        {"huggingface", "numpy", "parquet"},
        _functions(tokenize_shard, *(check.run for check in token_arrays.CHECKS.values())),
        arrays.SCHEMA,
        "tokens",
        lambda recipe: {"layout": recipe.tokens.layout, "dtype": recipe.tokens.dtype},
    ),
    "corpus_report": _About(_CORPUS_REPORT, {"python", "report", "json"}, _functions(write_report)),
}


def about(asset: str, key: dg.AssetKey, corpus: Corpus) -> dg.AssetSpec:
    """An asset's definition, as far as it says what the asset is.

    Args:
        asset: Its name, without a prefix.
        key: Its key, behind the prefix.
        corpus: Recipe and folders.
    """
    its = _ABOUT[asset]
    metadata: dict[str, Any] = {
        "dagster/uri": str(corpus.folder(asset)),
        "dagster/code_references": _code_references(its),
    }
    if its.schema is not None:
        metadata["dagster/column_schema"] = column_schema(asset)
    if its.section is not None:
        section = corpus.recipe.model_dump(mode="json")[its.section]
        metadata["recipe"] = dg.MetadataValue.json({its.section: section})
    return dg.AssetSpec(
        key,
        description=its.description.strip(),
        group_name="fim_assets",
        kinds=its.kinds,
        tags=its.tags(corpus.recipe),
        code_version=corpus.fingerprint(asset),
        automation_condition=FOLLOW,
        metadata=metadata,
    )


def column_schema(asset: str) -> dg.TableSchema:
    """The columns of an asset's parquet files: types as they are written, and what they mean.

    Raises:
        KeyError: If a column has no description.
    """
    schema = _ABOUT[asset].schema
    fields = [] if schema is None else list(_fields(schema))
    return dg.TableSchema(
        [dg.TableColumn(name, kind, COLUMNS[asset][name]) for name, kind in fields]
    )


def _fields(schema: pa.Schema) -> Iterator[tuple[str, str]]:
    """Names and types; the fields of a list of structs follow it, each behind its name."""
    for column in schema:
        if not pa.types.is_list(column.type):
            yield column.name, str(column.type)
            continue
        yield column.name, "list<struct>"
        for inner in column.type.value_type:
            yield f"{column.name}.{inner.name}", str(inner.type)


def _code_references(its: _About) -> dg.CodeReferencesMetadataValue:
    """Where this machine has the source of what makes the asset, and of what checks it."""
    places = [(function, getsourcefile(function)) for function in its.work]
    return dg.CodeReferencesMetadataValue(
        code_references=[
            dg.LocalFileCodeReference(
                file_path=path,
                line_number=function.__code__.co_firstlineno,
                label=function.__name__,
            )
            for function, path in places
            if path is not None
        ]
    )
