"""Checks of a recipe's `context`: what must fit a sequence does, and what is cut is counted."""

import polars as pl

from fim_assets.corpus.stage import CheckOutcome, fault, passed
from fim_assets.recipe import Recipe
from fim_assets.token_arrays.checks.partition import TokenPartition
from fim_assets.wording import plural


def has_context(recipe: Recipe) -> bool:
    """Whether a recipe says how long a trainer's sequences are."""
    return recipe.context is not None


def fits_context(partition: TokenPartition) -> CheckOutcome:
    """Compare the tokens of rearranged documents, and of pieces, with what they have to fit in."""
    name, recipe = "fits_context", partition.recipe
    if recipe.context is None:
        raise RuntimeError("the recipe does not say how long a trainer's sequences are")
    limit, of_piece = recipe.context.tokens, recipe.piece_tokens
    rearranged = pieces = 0
    columns = ["line", "array", "start", "end", "order", *partition.piece_columns]
    for frame in partition.frames(columns):
        is_rearranged = pl.col("order") != "none"
        is_piece = pl.lit(False) if of_piece is None else pl.col("pieces") > 1
        must_fit = is_rearranged if of_piece is None else pl.lit(True)
        bound = pl.when(is_piece).then(of_piece or limit).otherwise(limit)
        sizes = frame.with_columns(bound=bound, size=pl.col("end") - pl.col("start"))
        longer = sizes.filter(must_fit & (pl.col("size") > pl.col("bound")))
        if not longer.is_empty():
            row = longer.row(0, named=True)
            where = f"{row['array']}: tokens {row['start']} to {row['end']}, of line {row['line']}"
            return fault(name, f"{where}, are {row['size']:,}, at most {row['bound']:,} fit")
        rearranged += frame.filter(is_rearranged).height
        pieces += frame.filter(is_piece).height
    description = (
        f"{plural(rearranged, 'rearranged document')} of at most {limit:,} tokens; "
        f"{plural(pieces, 'piece')} of documents that do not fit."
    )
    return passed(name, description, rearranged_documents=rearranged, pieces=pieces, limit=limit)


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
