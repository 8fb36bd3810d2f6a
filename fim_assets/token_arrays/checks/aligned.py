"""The check of which rearranged documents a trainer's windows cut, see `token_arrays/align.py`."""

import polars as pl

from fim_assets.corpus.stage import CheckOutcome, fault, passed
from fim_assets.recipe import Recipe
from fim_assets.token_arrays.checks.partition import TokenPartition
from fim_assets.wording import plural


def is_aligned(recipe: Recipe) -> bool:
    """Whether a recipe aligns documents with a trainer's windows."""
    return recipe.window is not None


def aligned(partition: TokenPartition) -> CheckOutcome:
    """Count, by the parquet, what the receipt says of rearranged documents and of padding."""
    name, window = "aligned", partition.recipe.window
    if window is None:
        raise RuntimeError("the recipe does not align documents with sequences")
    spans = partition.spans
    in_windows, padding = {}, 0
    for array in spans.names:
        gaps = spans.gaps(array)
        if (gaps[:, 1] % window).any():
            return fault(name, f"{array}: padding ends elsewhere than at multiples of {window:,}")
        padding += int((gaps[:, 1] - gaps[:, 0]).sum())
        in_windows[array] = int(spans.ends[spans.are_in(array)].max()) // window * window
    rearranged = crossing = longer = dropped = 0
    for frame in partition.frames(["array", "start", "end", "order"]):
        own = frame.filter(pl.col("order") != "none")
        crosses = own["start"] // window != (own["end"] - 1) // window
        windows_end = own["array"].replace_strict(in_windows, return_dtype=pl.Int64)
        rearranged += own.height
        crossing += int(crosses.sum())
        longer += int((own["end"] - own["start"] > window).sum())
        dropped += int((~crosses & (own["end"] > windows_end)).sum())
    counted = {
        "rearranged_documents": rearranged,
        "rearranged_crossing": crossing,
        "rearranged_dropped": dropped,
        "padding_tokens": padding,
    }
    for what, number in counted.items():
        stated = partition.receipt.result.counts.get(what)
        if stated != number:
            return fault(name, f"{what}: {number:,}, the receipt says {stated}")
    if partition.padding is not None and crossing > longer:
        return fault(name, f"{plural(crossing - longer, 'document')} cut in spite of padding")
    description = (
        f"Rearranged documents in one window of {window:,} tokens: "
        f"{rearranged - crossing - dropped:,} of {rearranged:,}; {crossing:,} cut, {dropped:,} in "
        f"what is left at an array's end; padding: {plural(padding, 'token')}."
    )
    return passed(name, description, window=window, **counted)
