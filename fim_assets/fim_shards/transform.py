"""Shard to FIM shard: the same documents in the same order, some of their files rearranged."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from fim_assets.corpus.stage import Totals
from fim_assets.corpus.staging import Staging
from fim_assets.cuts.base import CutError
from fim_assets.cuts.files import Files
from fim_assets.draws import document_keys
from fim_assets.errors import ShardError
from fim_assets.fim_shards.arrangements import Order, Parts, arrange
from fim_assets.fim_shards.decisions import Decisions, decide
from fim_assets.fim_shards.record import SCHEMA, record_metadata
from fim_assets.io.parquet import TableWriter
from fim_assets.io.shard_writer import Line, ShardWriter
from fim_assets.raw_shards.documents import replace_text
from fim_assets.raw_shards.shard_files import ShardPaths
from fim_assets.raw_shards.shard_reader import Documents, ShardReader
from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import Fim

if TYPE_CHECKING:
    from fim_assets.tokenizer.load import LoadedTokenizer


class DocumentError(ShardError):
    """A document that cannot be cut, by its line; `why` is the rest of the sentence."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"the document of line {line:,} {why}")
        self.line, self.why = line, why


def transform_shard(
    shard: ShardPaths,
    seed: int,
    recipe: Recipe,
    staging: Staging,
    parquet: Path | None = None,
    tokenizer: "LoadedTokenizer | None" = None,
) -> Totals:
    """Write the FIM shard and the parquet of a raw shard, or of one that an earlier stage wrote.

    The members of a group become one FIM shard. `seed` is the partition's, and `parquet` is next to
    the shard of an earlier stage. `staging` takes `.jsonl.zst` and `.parquet`. `tokenizer` is as
    `decide` takes it.

    Raises:
        ShardError: If the shard is damaged, too many of its lines are no documents, or a
            document cannot be cut, see `decide`.
    """
    chars = files = 0
    metadata = record_metadata(recipe.raw, recipe.fim, seed)
    with (
        ShardReader(shard, recipe.raw, parquet=parquet) as reader,
        ShardWriter(staging.create(".jsonl.zst")) as writer,
        TableWriter(staging.create(".parquet"), SCHEMA, metadata) as table,
    ):
        for block in reader:
            try:
                result = transform_block(block, seed, recipe, tokenizer)
            except DocumentError as error:
                path, line = reader.place(error.line)
                raise ShardError(f"{path}: {DocumentError(line, error.why)}") from error
            writer.write(result.lines)
            table.write(result.rows)
            chars += result.chars
            files += len(result.rows["file"])
        reader.refuse_many_rejected()
        return reader.totals(chars, files)


@dataclass(frozen=True)
class TransformedBlock:
    """One block's FIM lines, its rows for the parquet, and its texts' code points."""

    lines: list[Line]
    rows: dict[str, np.ndarray | pa.Array | list[str | None]]
    chars: int


def transform_block(
    block: Documents, seed: int, recipe: Recipe, tokenizer: "LoadedTokenizer | None" = None
) -> TransformedBlock:
    """Rearrange the documents of one block, see `transform_shard`."""
    fim = recipe.fim
    keys = document_keys(seed, block.ids, block.texts)
    separators = fim.file_separator_token, fim.repository_tokens
    files = Files.split(block.texts, keys, block.languages, block.paths, *separators)
    try:
        decisions = decide(files, recipe, tokenizer)
    except CutError as error:
        line, name = block.numbers[error.document], block.ids[error.document]
        raise DocumentError(line, f"(id {name}): {error}") from error
    lines = list(block.lines)
    chars = sum(map(len, block.texts))
    for document, text in rearranged_texts(files, decisions, fim):
        lines[document] = replace_text(lines[document], recipe.raw.text_field, text)
        chars += len(text) - len(block.texts[document])

    first, second = decisions.cuts
    unchanged = decisions.orders == "none"
    of_file = pa.array(files.documents)
    rows = {
        "line": np.array(block.numbers, np.int64)[files.documents],
        "id": pa.array(block.ids, pa.string()).take(of_file),
        "file": files.indices,
        "chars": files.lengths,
        "order": pa.array(decisions.orders, pa.string()),
        "split": pa.array(decisions.splits, pa.string()),
        "reason": pa.array(decisions.reasons, pa.string()),
        "prefix_chars": first,
        "middle_chars": second - first,
        "suffix_chars": np.where(unchanged, 0, files.lengths - second),
        "draw_key": files.keys,
        "language": pa.array(block.languages, pa.string()).take(of_file),
    }
    return TransformedBlock(lines, rows, chars)


def rearranged_texts(files: Files, decisions: Decisions, fim: Fim) -> Iterator[tuple[int, str]]:
    """Each document of which a file is rearranged: its index, and its text as it becomes."""
    separator = fim.file_separator_token or ""
    rearranged = np.unique(files.documents[decisions.orders != "none"])
    begins = np.searchsorted(files.documents, rearranged).tolist()
    ends = np.searchsorted(files.documents, rearranged, side="right").tolist()
    for document, begin, end in zip(rearranged.tolist(), begins, ends, strict=True):
        pieces = (_rearrange(files.texts[row], row, decisions, fim) for row in range(begin, end))
        yield document, separator.join(pieces)


def _rearrange(file: str, row: int, decisions: Decisions, fim: Fim) -> str:
    order: Order = decisions.orders[row]
    if order == "none":
        return file
    first, second = int(decisions.cuts.first[row]), int(decisions.cuts.second[row])
    return arrange(Parts(file[:first], file[first:second], file[second:]), order, fim)
