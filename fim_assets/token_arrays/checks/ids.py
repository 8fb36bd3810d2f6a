"""Checks of single ids, without a look at texts: BOS, EOS, and what the vocabulary has."""

from bisect import bisect_left

import numpy as np

from fim_assets.corpus.stage import CheckOutcome, fault, passed
from fim_assets.token_arrays.arrays import ArrayReader
from fim_assets.token_arrays.checks.partition import TokenPartition
from fim_assets.token_arrays.checks.spans import Integers
from fim_assets.token_arrays.shuffle_buffer import Ints
from fim_assets.tokenizer.load import LoadedTokenizer
from fim_assets.wording import plural


def one_eos_per_document(partition: TokenPartition) -> CheckOutcome:
    """Compare where EOS stands in the arrays with where documents end."""
    name = "one_eos_per_document"
    spans, arrays, padding = partition.spans, partition.arrays, partition.padding
    expected, count = partition.receipt.result.documents, len(spans.lines)
    if sorted(spans.names) != sorted(arrays):
        return fault(name, f"the parquet names {sorted(spans.names)}, not {arrays}")
    for array in arrays:
        inside = spans.are_in(array)
        with partition.open(array) as ids:
            starts, ends = spans.starts[inside], spans.ends[inside]
            wrong = _uncovered(starts, ends, ids.size, padded=padding is not None)
            wrong = wrong or _misplaced_end(starts, ends, ids, partition.tokenizer)
            if padding is not None:
                wrong = wrong or _misplaced_padding(spans.gaps(array), ids, padding)
        if wrong:
            return fault(name, f"{array}: {wrong}")
    if count != expected:
        return fault(name, f"{plural(count, 'document')}, expected {expected:,}")
    bos = "" if partition.tokenizer.controls.bos is None else ", one BOS at its beginning"
    counted = f"{plural(count, 'document')} in {plural(len(arrays), 'array')}"
    description = f"{counted}, one EOS at the end of each document{bos}."
    return passed(name, description, documents=count, arrays=len(arrays))


def _uncovered(starts: Integers, ends: Integers, size: int, *, padded: bool) -> str | None:
    """Where documents overlap, or leave tokens of an array free that are no padding."""
    ordered = len(ends) and (starts[1:] >= ends[:-1]).all() and not (ends <= starts).any()
    joined = ordered and (padded or (starts[1:] == ends[:-1]).all())
    if not joined or starts[0] != 0 or ends[-1] != size:
        return f"its documents do not cover its {size:,} tokens"
    return None


def _misplaced_padding(gaps: Ints, ids: ArrayReader, padding: int) -> str | None:
    """Where padding does not fill what is between documents, or stands elsewhere."""
    for begin, block in ids.blocks():
        expected = np.zeros(len(block), np.bool_)
        low = np.searchsorted(gaps[:, 1], begin, "right")
        high = np.searchsorted(gaps[:, 0], begin + len(block))
        for start, end in (gaps[low:high] - begin).tolist():
            expected[max(start, 0) : end] = True
        if not np.array_equal(block == padding, expected):
            return "padding does not stand between documents, or not there alone"
    return None


def _misplaced_end(
    starts: Integers, ends: Integers, ids: ArrayReader, tokenizer: LoadedTokenizer
) -> str | None:
    """Where BOS or EOS stand elsewhere than at the ends of documents."""
    bos, eos = tokenizer.controls.bos, tokenizer.controls.eos
    for begin, block in ids.blocks():
        for mark in {eos, bos} - {None}:
            expected = np.zeros(len(block), np.bool_)
            if mark == eos:
                expected[_within(ends, begin + 1, len(block))] = True
            if mark == bos:
                expected[_within(starts, begin, len(block))] = True
            if not np.array_equal(block == mark, expected):
                if mark != eos:
                    return "BOS does not stand once at each document's beginning"
                return "EOS does not stand once at each document's end"
    return None


def _within(offsets: Integers, begin: int, size: int) -> Ints:
    """Those of ascending offsets that are in a block, counted from where it begins."""
    # NumPy's search would turn all of them into a larger type first.
    low, high = bisect_left(offsets, begin), bisect_left(offsets, begin + size)
    return offsets[low:high].astype(np.int64) - begin


def ids_in_vocabulary(partition: TokenPartition) -> CheckOutcome:
    """Look up every id in the vocabulary, without those that the recipe never places."""
    name = "ids_in_vocabulary"
    used = partition.tokenizer.vocabulary.used.copy()
    used[list(partition.tokenizer.forbidden_ids - {partition.padding})] = False
    # Ids below the first that no document may have need no look: in most vocabularies, nearly all.
    first = len(used) if used.all() else int(np.argmin(used))
    highest, tokens = -1, 0
    for array, begin, ids in partition.blocks():
        high = int(ids.max())
        suspects = np.flatnonzero((ids >= first) | (ids < 0))
        numbers = ids[suspects]
        known = (numbers >= 0) & (numbers < len(used))
        known[known] = used[numbers[known]]
        if not known.all():
            at = int(suspects[np.argmin(known)])
            why = f"the vocabulary of {len(used):,} does not use"
            if ids[at] in partition.tokenizer.forbidden_ids:
                why = "no document has: it is padding, or a control token that the recipe lacks"
            return fault(name, f"{array}: token {begin + at} is {ids[at]}, which {why}")
        highest = max(highest, high)
        tokens += len(ids)
    description = (
        f"Ids that are in the vocabulary of {len(used):,}: {tokens:,} of {tokens:,}; the highest "
        f"is {highest:,}."
    )
    return passed(name, description, highest_id=highest, vocabulary=len(used), tokens=tokens)
