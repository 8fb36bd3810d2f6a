"""Statistics of `fim_shards`, from its parquet."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from fim_assets.corpus.stage import Statistics
from fim_assets.cuts.base import LONGER, NOT_LAST, OF_SECTIONS, UNCHANGED
from fim_assets.cuts.files import Bools
from fim_assets.cuts.registry import CUTS
from fim_assets.draws import Ints, UInts
from fim_assets.fim_shards.arrangements import ORDERS
from fim_assets.fim_shards.rates import DISTINCT
from fim_assets.fim_shards.record import PART_CHARS
from fim_assets.io.parquet import count_rows, read_columns, read_frames
from fim_assets.statistics.counts import CUT_BINS, by_count, by_position, counted
from fim_assets.statistics.histograms import Lengths

_ALWAYS = (
    "psm",
    "spm",
    *(reason for reason in UNCHANGED if reason not in OF_SECTIONS),
    "separators",
)
"""Counts that are there though they are 0: others came with sections that recipes may lack."""

_COLUMNS = ["file", "chars", "order", "split", "reason", "draw_key", "language", *PART_CHARS]

_CODED = pl.Schema({"draw_key": pl.UInt64(), "file": pl.UInt32(), "order": pl.Enum(ORDERS)})
_CODED |= dict.fromkeys(("split", "reason", "language"), pl.Categorical())
"""What a file of a document in several languages is kept as: 25 bytes."""

_PARTS = 16


def fim_statistics(parquet: Path) -> Statistics:
    """Statistics `fim_shards`: what was rearranged, why the rest was not, how it was cut, lengths.

    `first_cut:35` counts the rearranged files whose middle begins at 35 to 40 % of their length,
    `second_cut:35` those whose suffix does; cuts at the very end are at 95. `distinct_*` counts
    leave exact duplicates out: all are treated alike, so that a rate must count them once.
    """
    copies = _find_copies(parquet)
    sums: Counter[str] = Counter(dict.fromkeys(_ALWAYS, 0))
    splits, fallbacks, distinct = Counter[str](), Counter[str](), Counter[str]()
    cuts = np.zeros((2, CUT_BINS), np.int64)
    lengths = {name: Lengths() for name in ("file_chars", *PART_CHARS)}
    waiting: list[pl.DataFrame] = []
    documents = 0
    in_context = _InContext(parquet)
    for frame in read_frames(parquet, [*_COLUMNS, *in_context.columns]):
        rearranged = frame.filter(pl.col("order") != "none")
        sums.update(rearranged["order"].to_list())
        sums.update(frame.filter(pl.col("order") == "none")["reason"].to_list())
        sums["separators"] += int((frame["file"] > 0).sum())
        splits.update(rearranged["split"].to_list())
        fallbacks.update(rearranged["reason"].drop_nulls().to_list())
        lengths["file_chars"].add(frame["chars"])
        for part in PART_CHARS:
            lengths[part].add(rearranged[part])
        cuts += _count_cuts(rearranged)
        of_document = np.cumsum(frame["file"].to_numpy() == 0) + (documents - 1)
        documents = int(of_document[-1]) + 1
        in_context.add(frame, of_document)
        again, held = pl.Series(copies.again[of_document]), pl.Series(copies.held[of_document])
        distinct.update(_distinct_counts(frame.filter(~again & ~held)))
        if held.any():
            waiting.append(frame.filter(~again & held).select(_CODED.names()).cast(_CODED))
    for files in _parted(waiting):
        distinct.update(_distinct_counts(files))
    counts = {**sums, "copies": copies.number}
    counts |= by_count("split", splits) | by_count("fallback", fallbacks)
    counts |= by_position("first_cut", cuts[0]) | by_position("second_cut", cuts[1])
    counts |= _in_order(distinct) | in_context.counts()
    return Statistics(counts, {name: lengths[name].histogram() for name in lengths})


class _InContext:
    """What a section `context` costs, by language; nothing without one.

    `longer_documents` and `longer_files` are left unchanged for their length, whether or not they
    were drawn; `divided_documents` are in so many `pieces`.
    """

    def __init__(self, parquet: Path) -> None:
        self.columns = ["piece", "pieces"] if "piece" in read_columns(parquet) else []
        self._counts: dict[str, Counter[str]] = defaultdict(Counter)
        self._last = -1

    def add(self, frame: pl.DataFrame, of_document: Ints) -> None:
        """Count some files, of which the documents' numbers are `of_document`."""
        frame = frame.with_columns(pl.col("language").fill_null(""), document=of_document)
        longer = frame.filter(pl.col("reason") == LONGER)
        self._counts["longer_files"].update(longer["language"])
        # A joined document's files may be in several languages: it counts for the first of these.
        documents = longer.unique("document", keep="first", maintain_order=True)
        # Two groups of rows may share a document.
        documents = documents.filter(pl.col("document") != self._last)
        self._counts["longer_documents"].update(documents["language"])
        if longer.height:
            self._last = longer["document"][-1]
        if self.columns:
            pieces = frame.filter(pl.col("pieces") > 1, pl.col("file") == 0)
            self._counts["pieces"].update(pieces["language"])
            divided = pieces.filter(pl.col("piece") == 0)
            self._counts["divided_documents"].update(divided["language"])

    def counts(self) -> dict[str, int]:
        """All of them, the most frequent language first."""
        named = (by_count(name, counts) for name, counts in self._counts.items())
        return dict(chain.from_iterable(counts.items() for counts in named))


def _count_cuts(rearranged: pl.DataFrame) -> npt.NDArray[np.int64]:
    """First and second cuts by where in the file they fall, shape (2, CUT_BINS)."""
    chars = np.maximum(rearranged["chars"].to_numpy(), 1)
    first = rearranged["prefix_chars"].to_numpy()
    second = first + rearranged["middle_chars"].to_numpy()
    bins = [np.minimum(cut * CUT_BINS // chars, CUT_BINS - 1) for cut in (first, second)]
    return np.array([np.bincount(of_cut, minlength=CUT_BINS) for of_cut in bins])


class _Copies(NamedTuple):
    """Which documents of a shard are copies of others, in order, shape (documents,).

    `number` are copies of an earlier one, and those with `again` of an earlier one in their own
    language. Those with `held` have to wait for others to be counted: they are copies of one in
    another language, or two groups of rows share their files.
    """

    number: int
    again: Bools
    held: Bools


def _find_copies(parquet: Path) -> _Copies:
    keys, languages, shared = _keys_of_documents(parquet)
    order = np.lexsort((languages, keys)).astype(np.uint32)
    keys, languages = keys[order], languages[order]
    copies, again = np.zeros((2, len(keys)), np.bool_)
    copies[1:] = keys[1:] == keys[:-1]
    again[1:] = copies[1:] & (languages[1:] == languages[:-1])
    del keys, languages
    kinds = np.cumsum(~copies, dtype=np.uint32)
    several = np.zeros(len(kinds) + 1, np.bool_)
    several[kinds[copies & ~again]] = True
    in_order = np.zeros((2, len(kinds)), np.bool_)
    in_order[:, order] = again, several[kinds]
    again, held = in_order
    held[shared] = True
    return _Copies(int(copies.sum()), again, held)


def _keys_of_documents(parquet: Path) -> tuple[UInts, npt.NDArray[np.unsignedinteger], list[int]]:
    """Keys and numbers of languages, in order, and which documents two groups of rows share."""
    numbers: dict[str, int] = {}
    # Not gathered in a list, which would hold the keys twice.
    keys, count = np.empty(count_rows(parquet), np.uint64), 0
    languages = [np.empty(0, np.uint8)]
    shared: list[int] = []
    for frame in read_frames(parquet, ["file", "draw_key", "language"]):
        if frame["file"][0]:
            shared.append(count - 1)
        documents = frame.filter(pl.col("file") == 0)
        keys[count : count + documents.height] = documents["draw_key"].to_numpy()
        count += documents.height
        names = documents["language"].fill_null("")
        for name in names.unique(maintain_order=True):
            numbers.setdefault(name, len(numbers))
        codes = names.replace_strict(numbers, return_dtype=pl.UInt32).to_numpy()
        languages.append(codes.astype(np.min_scalar_type(len(numbers))))
    return keys[:count], np.concatenate(languages), shared


def _parted(frames: list[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Coded files by parts of the keys: what is counted at once is small, and sums add up."""
    for part in range(_PARTS if frames else 0):
        files = pl.concat(frame.filter(pl.col("draw_key") % _PARTS == part) for frame in frames)
        yield files.cast(dict.fromkeys(("order", "split", "reason", "language"), pl.String))


def _distinct_counts(frame: pl.DataFrame) -> dict[str, int]:
    """What the rates are tested on: trials and hits, exact duplicates counted once.

    Copies in two languages count once for each, and once over all languages.
    """
    frame = frame.with_columns(pl.col("language").fill_null(""))
    never = ["repository", "too_short", NOT_LAST]
    eligible = frame.filter(~pl.col("reason").is_in(never).fill_null(False))
    candidates = eligible.filter(pl.col("reason").ne_missing("gate"))
    rearranged = candidates.filter(pl.col("order") != "none")
    # A file that fell back was drawn for the method whose reason it has.
    drawn = pl.col("reason").replace_strict(CUTS.methods_by_reason(), default=pl.col("split"))
    splits = _distinct(rearranged).select(drawn.alias("drawn"))["drawn"].value_counts()
    counts = {
        "distinct_documents": eligible["draw_key"].n_unique(),
        "distinct_candidates": candidates["draw_key"].n_unique(),
        **{f"distinct_drawn:{split}": n for split, n in splits.iter_rows()},
    }
    by_order = {
        "distinct_eligible": candidates.filter(pl.col("reason").ne_missing(LONGER)),
        "distinct_psm": rearranged.filter(pl.col("order") == "psm"),
        "distinct_spm": rearranged.filter(pl.col("order") == "spm"),
    }
    languages = candidates["language"].unique().to_list()
    for name, files in by_order.items():
        counts[name] = _distinct(files).height
        numbers = dict(_distinct(files, "language")["language"].value_counts().iter_rows())
        counts |= {f"{name}:{language}": numbers.get(language, 0) for language in languages}
    return counts


def _in_order(counts: Counter[str]) -> dict[str, int]:
    """Distinct counts in an order of their own, whatever they were added up from."""
    ordered = {name: counts[name] for name in ("distinct_documents", "distinct_candidates")}
    ordered |= by_count("distinct_drawn", Counter(counted(counts, "distinct_drawn")))
    for name in DISTINCT:
        ordered[name] = counts[name]
        by_language = counted(counts, name)
        ordered |= {f"{name}:{language}": by_language[language] for language in sorted(by_language)}
    return ordered


def _distinct(files: pl.DataFrame, *also: str) -> pl.DataFrame:
    """Files, exact duplicates once."""
    return files.unique(["draw_key", "file", *also], keep="first", maintain_order=True)
