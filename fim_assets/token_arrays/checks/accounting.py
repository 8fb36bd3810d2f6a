"""The check that documents, lines, ids and characters add up through the stages."""

from itertools import pairwise

import polars as pl

from fim_assets.corpus.receipts import Result
from fim_assets.corpus.stage import CheckOutcome, fault, passed
from fim_assets.fim_shards.arrangements import REARRANGED, layout
from fim_assets.io.parquet import read_frames
from fim_assets.statistics.counts import counted
from fim_assets.token_arrays.checks.partition import TokenPartition
from fim_assets.token_arrays.checks.spans import equal_hashes, unordered_rows_hash
from fim_assets.wording import plural


def nothing_lost(partition: TokenPartition) -> CheckOutcome:
    """Add up documents and characters through the stages, and compare their lines and ids."""
    name = "nothing_lost"
    *earlier, made = partition.results()
    rules, tokens = partition.recipe.fim, partition.receipt.result
    documents = lines_and_ids = originals = sentinels = size = missized = 0
    added = {o: sum(len(piece.text) for piece in layout(o, rules)) for o in REARRANGED}
    columns = ["line", "id", "file", "chars", "order"]
    for record in read_frames(partition.fim.file(".parquet"), columns):
        first = record.filter(pl.col("file") == 0)
        documents += first.height
        lines_and_ids += _lines_and_ids(first)
        originals += int(record["chars"].sum())
        originals += (record.height - first.height) * len(rules.file_separator_token or "")
        sentinels += sum(n * int(record["order"].eq(o).sum()) for o, n in added.items())
    for frame in partition.frames(["start", "end", "tokens"]):
        sizes = frame["end"] - frame["start"]
        size += int(sizes.sum())
        missized += int(sizes.ne_missing(frame["tokens"]).sum())
    compared = {
        f"{made.asset}, lines": (made.lines, made.documents + made.blank + made.rejected),
        f"{made.asset}, characters": (made.chars, originals + sentinels),
        f"{tokens.asset}, lines": (tokens.lines, made.documents),
        f"{tokens.asset}, documents": (tokens.documents, made.documents),
        f"{tokens.asset}, files": (tokens.files, made.files),
        f"{tokens.asset}, characters": (tokens.chars, made.chars),
        f"{tokens.asset}, tokens": (size, tokens.tokens),
        f"{tokens.asset}, documents whose tokens are not those from start to end": (missized, 0),
    }
    files = {tokens.asset: partition.tokens}
    for before, after in pairwise([*earlier, made]):
        compared |= _accounted(before, after)
    if earlier:
        last = earlier[-1]
        compared[f"{last.asset}, characters"] = (last.chars, originals)
        files[last.asset] = partition.before[last.asset].files
    for what, (number, expected) in compared.items():
        if number != expected:
            return fault(name, f"{what}: {number:,}, expected {expected:,}")
    for asset, stage_files in files.items():
        frames = read_frames(stage_files.file(".parquet"), ["line", "id"])
        if not equal_hashes(sum(map(_lines_and_ids, frames)), lines_and_ids):
            return fault(name, f"{asset} has other lines, or other ids for them, than {made.asset}")
    stages = [*(result.asset for result in earlier), made.asset, tokens.asset]
    description = (
        f"{plural(documents, 'document')} and {plural(originals, 'character')} came through "
        f"{', '.join(stages)}; sentinels added {plural(sentinels, 'character')}."
    )
    numbers = {"documents": documents, "chars": originals, "sentinel_chars": sentinels}
    return passed(name, description, **numbers, stages=len(stages))


def _accounted(before: Result, after: Result) -> dict[str, tuple[int, int]]:
    """Numbers of two stages, one after the other, that must be the same."""
    dropped = sum(counted(after.counts, "dropped").values())
    same = {f"{before.asset}, documents": (before.documents, after.documents + dropped)}
    if after.input == before.input:
        same |= {
            f"{before.asset}, lines": (before.lines, after.lines),
            f"{before.asset}, blank lines": (before.blank, after.blank),
            f"{before.asset}, rejected lines": (before.rejected, after.rejected),
        }
    return same


def _lines_and_ids(frame: pl.DataFrame) -> int:
    return unordered_rows_hash([frame["line"], frame["id"].is_null(), frame["id"].fill_null("")])
