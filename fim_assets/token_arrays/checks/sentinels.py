"""The check of sentinels and of the separator between files, and of the label mask.

    token    0     1      4     5       9     10      12
           <pre> prefix <suf> suffix  <mid> middle  <eos>
    mask     0    0 0 0   0   0 0 0 0   0     1 1     1

The parquet says at which tokens the parts start and end, and `arrangements.layout` what must stand
between them. It says too where what is beside a file does: the repository's name with its token in
front, the separator. What does is looked up in the array.
"""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import polars as pl

from fim_assets.corpus.stage import CheckOutcome, fault, passed
from fim_assets.fim_shards.arrangements import BESIDE, REARRANGED, Beside, layout
from fim_assets.token_arrays.arrays import ArrayReader
from fim_assets.token_arrays.checks.partition import TokenPartition
from fim_assets.token_arrays.checks.spans import TokenSpan, equal_hashes, unordered_rows_hash
from fim_assets.token_arrays.shuffle_buffer import Ints
from fim_assets.wording import plural

_KINDS = 8
"""A sentinel in an array is one number: 8 times its token, plus its kind.

With the kinds prefix 0, middle 1, suffix 2 and separator 3, the `<suf>` at token 4 is 4 * 8 + 2 =
34, and the file above is [0, 34, 73]. Equal numbers are the same sentinels at the same tokens. The
kinds are those of `TokenPartition.controls`, in their order.
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
    counts = _count_orders(partition)
    for files in partition.files():
        _refuse_gaps(files, partition)
        for (name_of_array,), of_array in files.group_by("array", maintain_order=True):
            array, end = str(name_of_array), int(of_array["end"].to_numpy().max())
            sentinels = _expected_sentinels(of_array, partition)
            span = TokenSpan(array, seen.get(array, 0), end)
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
    """How many files are in each order.

    A ValueError is raised if files, orders or what is beside a file are not those of the FIM shard.
    """
    parquet = partition.fim.file(".parquet")
    counts: dict[str, int] = dict.fromkeys(REARRANGED, 0)
    recorded = actual = 0
    which, around = ["line", *partition.piece_columns], partition.around_columns
    in_record, in_arrays = _beside(partition) if around else ([], [])
    for record in partition.record([*which, "file", "order", *around]):
        recorded += unordered_rows_hash([*record.select(*which, "file", "order", *in_record)])
        for order in REARRANGED:
            counts[order] += int(record["order"].eq(order).sum())
    for files in partition.files():
        index = files.select(pl.int_range(pl.len()).over("array", "start")).to_series()
        beside = files.select("file_order", *in_arrays)
        actual += unordered_rows_hash([*files.select(which), index, *beside])
    if not equal_hashes(actual, recorded):
        raise ValueError(f"documents have other files, or in other orders, than {parquet} says")
    return counts


def _beside(partition: TokenPartition) -> tuple[list[pl.Expr], list[pl.Expr]]:
    """What is beside a file, as the FIM shard's record says and as the arrays' parquet does."""
    separator = len(partition.recipe.fim.file_separator_token or "")
    is_rearranged = pl.col("order") != "none"
    in_record: dict[Beside, pl.Expr] = {
        "name": pl.col("lead_chars") > separator,
        "separator": pl.col("lead_chars") > 0,
        "header": is_rearranged & (pl.col("header_chars") > 0),
        "tail": is_rearranged & (pl.col("tail_chars") > 0),
    }
    in_arrays = [pl.col(f"{name}_start").is_not_null() for name in in_record]
    return [has.alias(name) for name, has in in_record.items()], in_arrays


def _refuse_gaps(files: pl.DataFrame, partition: TokenPartition) -> None:
    """Raise where files and what is beside them do not make up their document, all in order.

    A separator that is an id is one token.
    """
    first = pl.int_range(pl.len()).over("array", "start") == 0
    last = pl.int_range(pl.len(), 0, -1).over("array", "start") == 1
    # What is text may be nothing in a normal form.
    least = 0 if partition.tokenizer.vocabulary.lossy else 1
    ends = pl.coalesce("tail_end", "file_end")
    of_document = pl.when(first).then(pl.col("start") + partition.head)
    at = of_document.otherwise(ends.shift(1).over("array", "start"))
    fits = pl.lit(value=True)
    for name in BESIDE:
        begin, end = pl.col(f"{name}_start"), pl.col(f"{name}_end")
        if name == "tail":
            fits &= (pl.col("file_start") == at) & (pl.col("file_end") >= at)
            at = pl.col("file_end")
        is_one_id = name == "separator" and name in partition.controls
        size = end - begin
        fits &= begin.is_null() & end.is_null() | (
            (begin == at) & (size == 1 if is_one_id else size >= least)
        )
        at = pl.coalesce(end, at)
    fits &= ~last | (at == pl.col("end") - 1)
    wrong = files.filter(~fits.fill_null(value=False))
    if not wrong.is_empty():
        row = wrong.row(0, named=True)
        where = f"of line {row['line']} at tokens {row['file_start']} to {row['file_end']}"
        document = f"its document, {row['start']} to {row['end']}"
        raise ValueError(f"{row['array']}: a file {where} does not fit in {document}")


def _expected_sentinels(files: pl.DataFrame, partition: TokenPartition) -> Ints:
    """The sentinels of some files of an array: between their parts, as the order has them.

    So are the separators before files, and the repository tokens in front of names.
    Parts and sentinels that do not make up a file raise a ValueError.
    """
    kinds = list(partition.controls)
    expected: list[Ints] = []
    for control, column in (("separator", "separator_start"), ("repository", "name_start")):
        if control in kinds:
            at = files[column].drop_nulls().to_numpy()
            expected.append(at * _KINDS + kinds.index(control))
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
    ids = list(partition.controls.values())
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
    where a rearranged file begins, or its path or the document in front of it, to its middle: in
    the picture above, [0, 10]. So is EOS behind unchanged text that goes on in another piece. Where
    two such runs meet, the mask does not change, though both are in the list.
    """
    runs = [np.empty((0, 2), np.int64)]
    if partition.recipe.tokens.label_mask == "middle":
        first = pl.col("file_start").shift(1).over("array", "start").is_null()
        begin = (
            pl.when(first)
            .then(pl.col("start"))
            .otherwise(pl.coalesce("header_start", "file_start"))
        )
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
