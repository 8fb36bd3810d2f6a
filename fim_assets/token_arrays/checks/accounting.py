"""The check that documents, lines, ids and characters add up through the stages."""

import polars as pl

from fim_assets.corpus.check_outcome import CheckOutcome, fault
from fim_assets.corpus.receipts import read_receipt
from fim_assets.fim_shards.arrangements import REARRANGED, layout
from fim_assets.io.parquet import read_frames
from fim_assets.token_arrays.checks.partition import TokenPartition
from fim_assets.token_arrays.checks.spans import equal_hashes, unordered_rows_hash
from fim_assets.wording import plural


def nothing_lost(partition: TokenPartition) -> CheckOutcome:
    """Add up documents and characters through the stages, and compare their lines and ids."""
    name = "nothing_lost"
    fim, raw = read_receipt(partition.fim), read_receipt(partition.raw)
    if raw is not None and raw.result.fingerprint != partition.recipe.fingerprint("raw_shards", ""):
        raw = None
    if fim is None:
        return fault(name, f"{partition.fim.receipt}: no receipt")
    rules, made, tokens = partition.recipe.fim, fim.result, partition.receipt.result
    documents = lines_and_ids = originals = sentinels = size = missized = 0
    added = {o: sum(len(piece.text) for piece in layout(o, rules)) for o in REARRANGED}
    for record in read_frames(
        partition.fim.file(".parquet"), ["line", "id", "file", "chars", "order"]
    ):
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
        "fim_shards, lines": (made.lines, made.documents + made.blank + made.rejected),
        "fim_shards, characters": (made.chars, originals + sentinels),
        "token_arrays, lines": (tokens.lines, made.documents),
        "token_arrays, documents": (tokens.documents, made.documents),
        "token_arrays, files": (tokens.files, made.files),
        "token_arrays, characters": (tokens.chars, made.chars),
        "token_arrays, tokens": (size, tokens.tokens),
        "token_arrays, documents whose tokens are not those from start to end": (missized, 0),
    }
    if raw is not None:
        measured = raw.result
        compared |= {
            "raw_shards, lines": (measured.lines, made.lines),
            "raw_shards, blank lines": (measured.blank, made.blank),
            "raw_shards, rejected lines": (measured.rejected, made.rejected),
            "raw_shards, documents": (measured.documents, made.documents),
            "raw_shards, characters": (measured.chars, originals),
        }
    for what, (number, expected) in compared.items():
        if number != expected:
            return fault(name, f"{what}: {number:,}, expected {expected:,}")
    others = {"token_arrays": partition.tokens}
    if raw is not None:
        others["raw_shards"] = partition.raw
    for asset, files in others.items():
        frames = read_frames(files.file(".parquet"), ["line", "id"])
        if not equal_hashes(sum(map(_lines_and_ids, frames)), lines_and_ids):
            return fault(name, f"{asset} has other lines, or other ids for them, than fim_shards")
    stages = (
        "all three stages" if raw else "two stages; raw_shards is not materialized by this recipe"
    )
    return CheckOutcome(
        name,
        passed=True,
        description=f"{plural(documents, 'document')} and {plural(originals, 'character')} "
        f"came through {stages}; sentinels added {plural(sentinels, 'character')}.",
        numbers={
            "documents": documents,
            "chars": originals,
            "sentinel_chars": sentinels,
            "stages": 1 + len(others),
        },
    )


def _lines_and_ids(frame: pl.DataFrame) -> int:
    return unordered_rows_hash([frame["line"], frame["id"].is_null(), frame["id"].fill_null("")])
