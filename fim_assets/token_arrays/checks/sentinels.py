"""The check of sentinels and of the separator between files, and of the label mask.

    token    0     1      4     5       9     10      12
           <pre> prefix <suf> suffix  <mid> middle  <eos>
    mask     0    0 0 0   0   0 0 0 0   0     1 1     1

The parquet says at which tokens the parts start and end, and `arrangements.layout` what must stand
between them. What does is looked up in the array.
"""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import polars as pl

from fim_assets.corpus.stage import CheckOutcome, fault, passed
from fim_assets.fim_shards.arrangements import REARRANGED, layout
from fim_assets.io.parquet import read_frames
from fim_assets.token_arrays.arrays import ArrayReader
from fim_assets.token_arrays.checks.partition import TokenPartition
from fim_assets.token_arrays.checks.spans import TokenSpan, equal_hashes, unordered_rows_hash
from fim_assets.token_arrays.shuffle_buffer import Ints
from fim_assets.wording import plural

_KINDS = 8
"""A sentinel in an array is one number: 8 times its token, plus its kind.

With the kinds prefix 0, middle 1, suffix 2 and separator 3, the `<suf>` at token 4 is 4 * 8 + 2 =
34, and the file above is [0, 34, 73]. Equal numbers are the same sentinels at the same tokens.
"""


def sentinel_grammar(partition: TokenPartition) -> CheckOutcome:
    """Compare where sentinels stand with the files' orders and the offsets of their parts.

    Where there is a label mask, compare it with these offsets too. Orders that are not the FIM
    shard's, and offsets that do not fit together, raise a ValueError.
    """
    name = "sentinel_grammar"
    masked = partition.recipe.tokens.label_mask is not None
    mask_changes: dict[str, list[Ints]] = defaultdict(list)
    seen: dict[str, int] = dict.fromkeys(partition.arrays, 0)
    counts, separators = _count_orders(partition), 0
    for files in partition.files():
        _refuse_gaps(files, partition)
        for (name_of_array,), of_array in files.group_by("array", maintain_order=True):
            array, end = str(name_of_array), int(of_array["end"].to_numpy().max())
            span = TokenSpan(array, seen.get(array, 0), end)
            between = _separators(span, of_array, partition)
            sentinels = _expected_sentinels(of_array, between, partition)
            separators += len(between)
            if wrong := _wrong_sentinels(span, sentinels, partition):
                return fault(name, wrong)
            seen[array] = end
            if masked:
                mask_changes[array].append(_mask_changes(of_array, partition))
    for array in partition.arrays:
        with partition.open(array) as ids:
            rest = TokenSpan(array, seen[array], max(ids.size, seen[array]))
        wrong = _wrong_sentinels(rest, np.empty(0, np.int64), partition)
        if wrong is None and masked:
            wrong = _wrong_mask(array, mask_changes[array], partition)
        if wrong:
            return fault(name, wrong)
    if partition.more_than_separators and separators != (recorded := _leads(partition)):
        return fault(name, f"{separators:,} separators before files, expected {recorded:,}")
    description = (
        f"{plural(counts['psm'], 'file')} in PSM and {counts['spm']:,} in SPM order: the "
        "sentinels stand once each and in order, and nowhere else."
    )
    return passed(name, description, **counts)


def _wrong_sentinels(span: TokenSpan, expected: Ints, partition: TokenPartition) -> str | None:
    """Where the sentinels in a span first differ from the expected ones, as text."""
    actual = _actual_sentinels(span, partition)
    if np.array_equal(expected, actual):
        return None
    both = min(len(expected), len(actual))
    same = expected[:both] == actual[:both]
    first = both if same.all() else int(np.argmin(same))
    at = int(min(row[first] for row in (expected, actual) if first < len(row))) // _KINDS
    spans = partition.spans
    before = np.flatnonzero(spans.are_in(span.array) & (spans.starts <= at))
    if not len(before):
        return f"{span.array}: token {at} is a sentinel and belongs to no document"
    row = before[-1]
    document = f"at tokens {spans.starts[row]} to {spans.ends[row]}, line {spans.lines[row]}"
    problem = f"has a sentinel too many, too few or another one at token {at}"
    return f"{span.array}: the document {document} of the raw shard, {problem}"


def _joined(parts: Iterable[Ints]) -> Ints:
    return np.concatenate([np.empty(0, np.int64), *parts])


def _count_orders(partition: TokenPartition) -> dict[str, int]:
    """How many files are in each order; a ValueError if they are not those of the FIM shard."""
    parquet = partition.fim.file(".parquet")
    counts: dict[str, int] = dict.fromkeys(REARRANGED, 0)
    recorded = actual = 0
    which = ["line", *partition.piece_columns]
    line: int | None = None
    # Of joined files each has a line of its own; a document has that of its first.
    first = pl.when(pl.col("file") == 0).then("line").forward_fill()
    for files in read_frames(parquet, [*which, "file", "order"]):
        record = files.with_columns(line=first.fill_null(pl.lit(line)))
        line = record["line"][-1]
        recorded += unordered_rows_hash([*record.select(which), record["file"], record["order"]])
        for order in REARRANGED:
            counts[order] += int(record["order"].eq(order).sum())
    for files in partition.files():
        index = files.select(pl.int_range(pl.len()).over("array", "start")).to_series()
        actual += unordered_rows_hash([*files.select(which), index, files["file_order"]])
    if not equal_hashes(actual, recorded):
        raise ValueError(f"documents have other files, or in other orders, than {parquet} says")
    return counts


def _refuse_gaps(files: pl.DataFrame, partition: TokenPartition) -> None:
    """Raise where files overlap, leave their document, or are further apart than a separator."""
    first = pl.int_range(pl.len()).over("array", "start") == 0
    last = pl.int_range(pl.len(), 0, -1).over("array", "start") == 1
    apart = pl.col("file_start") - pl.col("file_end").shift(1).over("array", "start")
    begin, end = pl.col("start") + partition.head, pl.col("end") - 1
    if partition.more_than_separators:
        before, between = pl.col("file_start") >= begin, apart >= 0
        behind = pl.col("file_end") <= end
    else:
        one_id = partition.separator_id is not None
        # A separator that is text may be nothing in a normal form.
        least = 0 if partition.tokenizer.vocabulary.lossy else 1
        before = pl.col("file_start") == begin
        between = apart == 1 if one_id else apart >= least
        behind = pl.col("file_end") == end
    fits = (
        (pl.col("file_end") >= pl.col("file_start"))
        & pl.when(first).then(before).otherwise(between)
        & (~last | behind)
    )
    wrong = files.filter(~fits.fill_null(value=False))
    if not wrong.is_empty():
        row = wrong.row(0, named=True)
        where = f"of line {row['line']} at tokens {row['file_start']} to {row['file_end']}"
        document = f"its document, {row['start']} to {row['end']}"
        raise ValueError(f"{row['array']}: a file {where} does not fit in {document}")


def _separators(span: TokenSpan, files: pl.DataFrame, partition: TokenPartition) -> Ints:
    """The tokens of the separators between some files of an array.

    What else is written before a file takes as many ids as it takes: there is one separator among
    them, before a document's first file none if that has no repository, see `_leads`. A ValueError
    if it is not so.
    """
    if partition.separator_id is None:
        return np.empty(0, np.int64)
    first = pl.int_range(pl.len()).over("array", "start") == 0
    if not partition.more_than_separators:
        last = pl.int_range(pl.len(), 0, -1).over("array", "start") == 1
        ends: Ints = files.filter(~last)["file_end"].to_numpy()
        return ends
    actual = _actual_sentinels(span, partition)
    kind = len(partition.tokenizer.controls.sentinels)
    separators = actual[actual % _KINDS == kind] // _KINDS
    before = pl.when(first).then("start").otherwise(pl.col("file_end").shift(1))
    gaps = files.select("line", "file_start", first=first, before=before)
    begins, ends = (np.searchsorted(separators, gaps[n]) for n in ("before", "file_start"))
    separate = partition.recipe.repositories and partition.recipe.repositories.joined.separator
    counts, are_first = ends - begins, gaps["first"].to_numpy()
    fits = counts == (1 if separate else 0)
    fits |= are_first & (counts == 0)
    if not fits.all():
        row = gaps.row(int(np.argmin(fits)), named=True)
        where = (
            f"before the file at token {row['file_start']} of the document of line {row['line']}"
        )
        raise ValueError(f"{span.array}: {where} stand {counts[np.argmin(fits)]} separators")
    there: Ints = separators[begins[counts == 1]]
    return there


def _leads(partition: TokenPartition) -> int:
    """How many files have a separator before them, as the FIM shard's parquet says."""
    if partition.separator_id is None:
        return 0
    frames = read_frames(partition.fim.file(".parquet"), ["lead_chars"])
    return sum(int((frame["lead_chars"] > 0).sum()) for frame in frames)


def _expected_sentinels(files: pl.DataFrame, separators: Ints, partition: TokenPartition) -> Ints:
    """The sentinels of some files of an array: between their parts, as the order has them.

    Parts and sentinels that do not make up a file raise a ValueError.
    """
    kinds = list(partition.tokenizer.controls.sentinels)
    expected: list[Ints] = [separators * _KINDS + len(kinds)]
    for order in REARRANGED:
        chosen = files.filter(pl.col("file_order") == order)
        at = chosen["file_start"].to_numpy()
        fits = np.ones(len(at), np.bool_)
        for piece in layout(order, partition.recipe.fim):
            if piece.part is None and piece.sentinel is not None:
                expected.append(at * _KINDS + kinds.index(piece.sentinel))
                at = at + 1
            else:
                fits &= chosen[f"{piece.part}_start"].to_numpy() == at
                at = chosen[f"{piece.part}_end"].to_numpy()
        fits &= at == chosen["file_end"].to_numpy()
        if not fits.all():
            row = chosen.row(int(np.argmin(fits)), named=True)
            parts = f"parts of the file at tokens {row['file_start']} to {row['file_end']}"
            problem = f"the {parts} and their sentinels do not make it up in {order} order"
            raise ValueError(f"{row['array']}: {problem}")
    return np.sort(_joined(expected))


def _actual_sentinels(span: TokenSpan, partition: TokenPartition) -> Ints:
    """The sentinels that stand in a span, see `_KINDS`."""
    ids = list(partition.tokenizer.controls.sentinels.values())
    if partition.separator_id is not None:
        ids.append(partition.separator_id)
    low, high = min(ids), max(ids)
    kind_of = np.full(high - low + 1, -1, np.int8)
    kind_of[np.array(ids) - low] = range(len(ids))
    actual: list[Ints] = []
    with partition.open(span.array) as reader:
        for begin, block in reader.blocks(span.start, span.end):
            at = np.flatnonzero((block >= low) & (block <= high))
            kinds = kind_of[block[at].astype(np.int64) - low]
            actual.append(((begin + at) * _KINDS + kinds)[kinds >= 0])
    return _joined(actual)


def _mask_changes(files: pl.DataFrame, partition: TokenPartition) -> Ints:
    """Where the label mask becomes false and true again, for some files of an array.

    In every order the middle is a file's last part, so that what is not trained on is one run from
    where a rearranged file begins, or the BOS in front of it, to its middle: in the picture above,
    [0, 10]. So is EOS behind unchanged text that goes on in another piece. Where two such runs
    meet, the mask does not change, though both are in the list.
    """
    runs = [np.empty((0, 2), np.int64)]
    if partition.recipe.tokens.label_mask == "middle":
        first = pl.col("file_start").shift(1).over("array", "start").is_null()
        begin = pl.when(first).then(pl.col("start")).otherwise(pl.col("file_start"))
        middles = files.select("file_order", "middle_start", begin=begin)
        middles = middles.filter(pl.col("file_order") != "none")
        runs.append(middles.select("begin", "middle_start").to_numpy())
    if partition.piece_columns:
        last = pl.int_range(pl.len(), 0, -1).over("array", "start") == 1
        goes_on = last & (pl.col("piece") + 1 < pl.col("pieces"))
        ends = files.filter(goes_on, pl.col("file_order") == "none")
        runs.append(ends.select(begin=pl.col("end") - 1, end="end").to_numpy())
    return np.sort(np.concatenate(runs).ravel())


def _wrong_mask(array: str, expected: list[Ints], partition: TokenPartition) -> str | None:
    """Where an array's label mask does not change as `expected`, see `_mask_changes`.

    Between documents it is false: a file that begins behind padding makes no other change there.
    """
    path = partition.tokens.output(partition.layout.mask_name(array))
    changes, before = [np.empty(0, np.int64)], True
    tokens = partition.spans.ends[partition.spans.are_in(array)].max(initial=0)
    with ArrayReader(path, np.dtype(np.bool_)) as mask:
        if mask.size != tokens:
            return f"{path}: {mask.size:,} values for {tokens:,} tokens"
        for at, block in mask.blocks():
            if block.view(np.uint8).max() > 1:
                return f"{path}: holds values other than 0 and 1"
            changes.append(np.flatnonzero(np.diff(block, prepend=before)) + at)
            before = bool(block[-1])
    between = partition.spans.gaps(array).ravel()
    edges, times = np.unique(np.concatenate([*expected, between]), return_counts=True)
    if not np.array_equal(np.concatenate(changes), edges[(times % 2 == 1) & (edges < tokens)]):
        return f"{path}: true and false do not change where middles begin and their files do"
    return None
