"""Statistics of `token_arrays`, from its parquet."""

from pathlib import Path

import polars as pl

from fim_assets.corpus.stage import Statistics
from fim_assets.fim_shards.arrangements import PARTS
from fim_assets.io.parquet import read_frames
from fim_assets.statistics.histograms import Lengths

TRAINED_LENGTHS = tuple(1 << power for power in range(11, 17))
"""Sequence lengths of trainers, 2,048 to 65,536 tokens, against which documents are counted."""


def token_statistics(parquet: Path) -> Statistics:
    """Arrays, tokens of documents and of parts, and names in texts.

    `rearranged_longer:2048` counts the documents with a rearranged file and more than 2,048 tokens,
    `rearranged_tokens_longer:2048` their tokens.
    """
    arrays: set[str] = set()
    literals = with_literals = changed = 0
    longer = dict.fromkeys(TRAINED_LENGTHS, 0)
    tokens_longer = dict.fromkeys(TRAINED_LENGTHS, 0)
    lengths = {name: Lengths() for name in ("document", "rearranged", *PARTS)}
    columns = ["array", "tokens", "order", "files", "added_token_literals", "changed"]
    for frame in read_frames(parquet, columns):
        arrays.update(frame["array"].unique())
        literals += int(frame["added_token_literals"].sum())
        with_literals += int((frame["added_token_literals"] > 0).sum())
        changed += int(frame["changed"].sum())
        tokens = frame["tokens"].filter(frame["order"] != "none")
        lengths["document"].add(frame["tokens"])
        lengths["rearranged"].add(tokens)
        for length in TRAINED_LENGTHS:
            over = tokens.filter(tokens > length)
            longer[length] += len(over)
            tokens_longer[length] += int(over.sum())
        # The parts of a file that is not rearranged are null.
        files = frame.select(pl.col("files").explode()).unnest("files").drop_nulls("prefix_start")
        for part in PARTS:
            lengths[part].add(files[f"{part}_end"] - files[f"{part}_start"])
    return Statistics(
        counts={
            "arrays": len(arrays),
            "added_token_literals": literals,
            "documents_with_added_token_literals": with_literals,
            "changed_documents": changed,
            **{f"rearranged_longer:{length}": n for length, n in longer.items()},
            **{f"rearranged_tokens_longer:{length}": n for length, n in tokens_longer.items()},
        },
        histograms={f"{n}_tokens": summed.histogram() for n, summed in lengths.items()},
    )
