"""The check that documents, lines, ids and characters add up through the stages."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import polars as pl

from fim_assets.corpus.partition_files import PartitionFiles
from fim_assets.corpus.receipts import Result
from fim_assets.corpus.stage import CheckOutcome, fault, passed
from fim_assets.fim_shards.arrangements import REARRANGED, layout
from fim_assets.fim_shards.record import DocumentPiece
from fim_assets.io.parquet import read_columns, read_frames
from fim_assets.statistics.counts import counted
from fim_assets.token_arrays.checks.partition import TokenPartition
from fim_assets.token_arrays.checks.spans import equal_hashes, unordered_rows_hash
from fim_assets.wording import plural


class _Recorded(NamedTuple):
    """What the FIM shard's parquet says, added up.

    Attributes:
        documents: Documents of the raw shard, pieces put together.
        lines_and_ids: A hash of theirs, and `pieces_and_ids` of every piece's.
        chars: Code points of the texts as they came, but for separators `between` pieces.
        sentinels: Code points of the sentinels.
    """

    documents: int = 0
    lines_and_ids: int = 0
    pieces_and_ids: int = 0
    chars: int = 0
    between: int = 0
    sentinels: int = 0


def _recorded(partition: TokenPartition) -> _Recorded:
    rules, pieces = partition.recipe.fim, partition.piece_columns[:1]
    separator = len(rules.file_separator_token or "")
    added = {o: sum(len(piece.text) for piece in layout(o, rules)) for o in REARRANGED}
    around = partition.around_columns
    columns = ["line", "id", "file", "chars", "order", *around]
    columns += DocumentPiece._fields if pieces else ()
    parts = [_Recorded()]
    for record in read_frames(partition.fim.file(".parquet"), columns):
        first = documents = record.filter(pl.col("file") == 0)
        between = 0
        if pieces:
            documents = first.filter(pl.col("piece") == 0)
            # A separator at which a document was divided stands in none of its pieces.
            between = first.filter(pl.col("piece") > 0, ~pl.col("continued")).height * separator
        beside = (record.height - first.height) * separator
        if around:
            between, beside = 0, sum(int(record[name].sum()) for name in around)
        part = _Recorded(
            documents.height,
            _lines_and_ids(documents),
            _lines_and_ids(first, *pieces),
            int(record["chars"].sum()) + beside,
            between,
            sum(n * int(record["order"].eq(o).sum()) for o, n in added.items()),
        )
        parts.append(part)
    return _Recorded(*map(sum, zip(*parts, strict=True)))


def _documents(files: PartitionFiles, also: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Lines and ids of a stage's documents; of one with a row a file, those of the first."""
    parquet = files.file(".parquet")
    of_files = ["file"] if "file" in read_columns(parquet) else []
    for frame in read_frames(parquet, ["line", "id", *also, *of_files]):
        yield frame.filter(pl.col("file") == 0) if of_files else frame


def nothing_lost(partition: TokenPartition) -> CheckOutcome:
    """Add up documents and characters through the stages, and compare their lines and ids."""
    name = "nothing_lost"
    *earlier, made = partition.results()
    tokens, recorded = partition.receipt.result, _recorded(partition)
    size = missized = 0
    for frame in partition.frames(["start", "end", "tokens"]):
        sizes = frame["end"] - frame["start"]
        size += int(sizes.sum())
        missized += int(sizes.ne_missing(frame["tokens"]).sum())
    # Instead of a document that was divided, its pieces are written.
    divided, written_pieces = (
        sum(counted(made.counts, name).values()) for name in ("divided_documents", "pieces")
    )
    written = made.documents - divided + written_pieces
    compared = {
        f"{made.asset}, lines": (made.lines, made.documents + made.blank + made.rejected),
        f"{made.asset}, characters": (made.chars, recorded.chars + recorded.sentinels),
        f"{tokens.asset}, lines": (tokens.lines, written),
        f"{tokens.asset}, documents": (tokens.documents, written),
        f"{tokens.asset}, files": (tokens.files, made.files),
        f"{tokens.asset}, characters": (tokens.chars, made.chars),
        f"{tokens.asset}, tokens": (size, tokens.tokens),
        f"{tokens.asset}, documents whose tokens are not those from start to end": (missized, 0),
    }
    originals = recorded.chars + recorded.between
    for before, after in pairwise([*earlier, made]):
        compared |= _accounted(before, after)
    if earlier:
        last = earlier[-1]
        compared[f"{last.asset}, characters"] = (last.chars, originals)
    for what, (number, expected) in compared.items():
        if number != expected:
            return fault(name, f"{what}: {number:,}, expected {expected:,}")
    which = partition.piece_columns[:1]
    hashes = {tokens.asset: (partition.tokens, recorded.pieces_and_ids, which)}
    if earlier:
        files = partition.before[earlier[-1].asset].files
        hashes[earlier[-1].asset] = files, recorded.lines_and_ids, []
    for asset, (files, rows_hash, pieces) in hashes.items():
        found = sum(_lines_and_ids(frame, *pieces) for frame in _documents(files, pieces))
        if not equal_hashes(found, rows_hash):
            return fault(name, f"{asset} has other lines, or other ids for them, than {made.asset}")
    stages = [*(result.asset for result in earlier), made.asset, tokens.asset]
    came = plural(recorded.documents, "document"), plural(originals, "character")
    description = (
        f"{' and '.join(came)} came through {', '.join(stages)}; sentinels added "
        f"{plural(recorded.sentinels, 'character')}."
    )
    numbers = {"documents": recorded.documents, "chars": originals}
    numbers["sentinel_chars"] = recorded.sentinels
    return passed(name, description, **numbers, stages=len(stages))


def _accounted(before: Result, after: Result) -> dict[str, tuple[int, int]]:
    """Numbers of two stages, one after the other, that must be the same."""
    dropped = sum(counted(after.counts, "dropped").values())
    expected = after.documents + dropped + after.counts.get("joined", 0)
    same = {f"{before.asset}, documents": (before.documents, expected)}
    if after.input == before.input:
        same |= {
            f"{before.asset}, lines": (before.lines, after.lines),
            f"{before.asset}, blank lines": (before.blank, after.blank),
            f"{before.asset}, rejected lines": (before.rejected, after.rejected),
        }
    return same


def _lines_and_ids(frame: pl.DataFrame, *pieces: str) -> int:
    ids = [frame["id"].is_null(), frame["id"].fill_null("")]
    return unordered_rows_hash([frame["line"], *ids, *(frame[name] for name in pieces)])
