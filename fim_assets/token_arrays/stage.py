"""The stage `token_arrays`: documents encoded to arrays of token ids that trainers map into memory.

What the other files of this folder do: `tokenize` is this stage's work, through `shuffle_buffer`
and `arrays`; `reader` opens an array again; `checks` and `statistics` judge and count, and
`effective_rate` counts what trainers see. What is next to an array is `fim_assets/layouts/`; how
text becomes ids is `fim_assets/tokenizer/`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from fim_assets.corpus.partition_files import Outputs
from fim_assets.corpus.stage import (
    About,
    Check,
    Facts,
    Finished,
    Stage,
    Statistics,
    Totals,
    Work,
    functions,
)
from fim_assets.errors import ShardError
from fim_assets.layouts.base import Layout
from fim_assets.layouts.registry import LAYOUTS, array_endings, array_folders
from fim_assets.raw_shards.stage import ROW_COLUMNS
from fim_assets.recipe import Recipe

if TYPE_CHECKING:
    import pyarrow as pa

    from fim_assets.corpus.receipts import Receipt
    from fim_assets.token_arrays.checks.partition import TokenPartition
    from fim_assets.tokenizer.load import LoadedTokenizer


def _layout_row(layout: Layout) -> str:
    next_to_it = ", ".join(f"`{ending}`" for ending in layout.index_endings)
    return f"| `{layout.name}` | `<key>-00000{layout.ending}` | {next_to_it} | {layout.trainer} |"


_LAYOUT_ROWS = "\n".join(map(_layout_row, LAYOUTS.values()))

_DESCRIPTION = f"""
Token ids that a trainer maps into memory: raw, little-endian, without a header, each document whole
in one array and ended by EOS.

| layout | array | next to it | read by |
| :-- | :-- | :-- | :-- |
{_LAYOUT_ROWS}

With each: `<key>.parquet`, one row a document in the arrays' order, with the token offsets of its
files and their parts; and `<key>.json`, the receipt, written last.

- **Text is text**: no document can forge a sentinel or EOS; controls are placed by id.
- **Nothing is lost**: every document of `fim_shards` is there once, and its ids decode to its text.
- **Two tokenizers agree**: a sample of every partition is encoded by the reference too.
"""

_BESIDE = {
    "name": "The repository's name, with its token, before the document's first file",
    "separator": "The separator before the file",
    "header": "Its path, where the file is rearranged and its path not cut with it",
    "tail": "What is written behind it, where it is rearranged",
}

_COLUMNS = ROW_COLUMNS | {
    "array": "Name of the array that holds the document.",
    "start": "Its first token there; EOS, and BOS if there is one, belong to the document.",
    "end": "One past its last token.",
    "tokens": "end - start.",
    "order": "Its files' order, psm, spm or none; mixed where they differ.",
    "files": "Its files in order; offsets are tokens of the array.",
    "files.file_order": "The file's order: psm, spm or none.",
    "files.file_start": "The file's first token, a sentinel where it is rearranged.",
    "files.file_end": "One past its last token.",
    **{
        f"files.{name}_{edge}": f"{what}, {of_edge}; null where there is none."
        for name, what in _BESIDE.items()
        for edge, of_edge in (("start", "first token"), ("end", "one past the last token"))
    },
    "files.prefix_start": "First token of its prefix; null where it was not rearranged.",
    "files.prefix_end": "One past the last of its prefix.",
    "files.middle_start": "First token of its middle; null where it was not rearranged.",
    "files.middle_end": "One past the last of its middle.",
    "files.suffix_start": "First token of its suffix; null where it was not rearranged.",
    "files.suffix_end": "One past the last of its suffix.",
    "added_token_literals": "Times a control token's name stands in the text, as text.",
    "changed": "Whether the ids give the text's normal form only (tokens.allow_lossy).",
    "piece": "Which piece of its document it is, counted from 0.",
    "pieces": "How many pieces the document is in; 1 where it is not divided.",
}


class TokenArrays(Stage):
    """See the module."""

    name = "token_arrays"
    version = 3
    libraries = ("gigatoken", "tokenizers", "transformers")
    read_by = "fim-assets show"
    preview = "tokens"

    @property
    @override
    def about(self) -> About:
        from fim_assets.token_arrays.arrays import SCHEMA
        from fim_assets.token_arrays.tokenize import tokenize_shard

        kinds = frozenset({"huggingface", "numpy", "parquet"})
        work = functions(tokenize_shard, *(check.run for check in self.checks))
        return About(_DESCRIPTION, kinds, work, SCHEMA, _COLUMNS, "tokens")

    @override
    def schema_of(self, recipe: Recipe) -> "pa.Schema":
        from fim_assets.token_arrays.arrays import array_schema

        joined = recipe.repositories is not None
        return array_schema(divided=recipe.piece_tokens is not None, joined=joined)

    @property
    @override
    def checks(self) -> tuple[Check, ...]:
        from fim_assets.token_arrays.checks.registry import CHECKS

        return CHECKS

    @property
    @override
    def outputs(self) -> Outputs:
        return Outputs((".parquet",), array_endings(), array_folders())

    @override
    def identity(self, recipe: Recipe, tokenizer_hash: str) -> dict[str, Any]:
        identity = {"tokens": recipe.tokens.identity(), "tokenizer": tokenizer_hash}
        return identity if recipe.window is None else identity | {"window": recipe.window}

    @override
    def tags(self, recipe: Recipe) -> dict[str, str]:
        return {"layout": recipe.tokens.layout, "dtype": recipe.tokens.dtype}

    @override
    def prepare(self, recipe: Recipe, tokenizer_hash: str) -> str:
        return _tokenizer(recipe, tokenizer_hash).encoder_description

    @override
    def make(self, work: Work) -> Totals:
        from fim_assets.token_arrays.arrays import ArraySettings
        from fim_assets.token_arrays.tokenize import tokenize_shard

        recipe, source = work.recipe, work.source
        if source.parquet is None:
            raise ShardError(f"{source.path}: no parquet says which of its files are rearranged")
        divided = recipe.piece_tokens is not None
        settings = ArraySettings(
            recipe.tokens,
            recipe.fim,
            source.name,
            work.tokenizer_hash,
            divided,
            recipe.window,
            recipe.repositories is not None,
        )
        tokenizer = _tokenizer(recipe, work.tokenizer_hash)
        return tokenize_shard(source.path, source.parquet, settings, tokenizer, work.staging)

    @override
    def statistics(self, parquet: Path) -> Statistics:
        from fim_assets.token_arrays.statistics import token_statistics

        return token_statistics(parquet)

    @override
    def seen(self, recipe: Recipe, parquet: Path) -> dict[str, int]:
        from fim_assets.token_arrays.effective_rate import count_seen, sequence_lengths

        return count_seen(parquet, sequence_lengths(recipe))

    @override
    def facts(self, recipe: Recipe, receipt: "Receipt") -> Facts:
        from fim_assets.statistics.counts import counted
        from fim_assets.statistics.tables import languages, mean, share
        from fim_assets.token_arrays.advice import trainer_advice
        from fim_assets.token_arrays.effective_rate import EffectiveRates

        result, counts, tokens = receipt.result, receipt.result.counts, receipt.result.tokens or 0
        longer = counted(counts, "rearranged_longer")
        effective = EffectiveRates.of(receipt.seen, recipe)
        return Facts(
            (
                *("documents", "tokens", "arrays", "tokens_per_document", "document_tokens_p50"),
                *("chars_per_token", "fim_token_share", "effective_fim_rate"),
                *("lost_ends_share", "discarded_share"),
            ),
            {
                "effective_rates": effective.table(),
                "whole_by_length": effective.by_length(),
                "languages": languages({"tokens": counted(counts, "tokens")}),
            },
            {
                "tokens": tokens,
                "tokens_per_document": mean(tokens, result.documents),
                "tokens_per_second": receipt.per_second(tokens),
                **effective.chosen(recipe.tokens.layout),
                "arrays": counts["arrays"],
                "layout": recipe.tokens.layout,
                "chars_per_token": share(result.chars, tokens),
                "added_token_literals": counts["added_token_literals"],
                "changed_documents": counts["changed_documents"],
                **{f"rearranged_longer_{length}": n for length, n in longer.items()},
                **(_aligned(counts) if recipe.tokens.align else {}),
                **{
                    name: sum(of_languages.values())
                    for name in ("longer_tokens", "piece_tokens")
                    if (of_languages := counted(counts, name))
                },
                "advice": " ".join(trainer_advice(recipe, effective)),
            },
        )

    @override
    def opened(self, finished: Finished) -> "TokenPartition":
        from fim_assets.token_arrays.checks.partition import TokenPartition

        tokenizer = _tokenizer(finished.recipe, finished.tokenizer_hash)
        return TokenPartition(finished, finished.before(), tokenizer)

    @override
    def data_ending(self, recipe: Recipe) -> str:
        return f"-00000{LAYOUTS[recipe.tokens.layout].ending}"


def _aligned(counts: Mapping[str, int]) -> dict[str, int | float]:
    """What became of rearranged documents where arrays are cut, see `align.count_cut`."""
    from fim_assets.statistics.tables import share

    names = ("rearranged_documents", "rearranged_crossing", "rearranged_dropped", "padding_tokens")
    documents, crossing, dropped, _ = (counts[name] for name in names)
    whole = share(documents - crossing - dropped, documents)
    return {"rearranged_whole": whole} | {name: counts[name] for name in names}


def _tokenizer(recipe: Recipe, tokenizer_hash: str) -> "LoadedTokenizer":
    from fim_assets.tokenizer.load import load_tokenizer

    return load_tokenizer(recipe, tokenizer_hash)


TOKEN_ARRAYS = TokenArrays()
