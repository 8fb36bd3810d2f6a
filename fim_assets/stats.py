"""Statistics with Polars: parquet in, numbers out."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import floor, log, sqrt
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import betainc

from fim_assets.fim.decisions import LEFT_ALONE, REASONS
from fim_assets.fim.draws import UInts
from fim_assets.fim.orders import ORDERS, PARTS
from fim_assets.receipts import Histogram
from fim_assets.recipe import SPLITS
from fim_assets.tables import count_rows, read_frames

Bools = npt.NDArray[np.bool_]

EDGES = [0, 1, *chain.from_iterable((1 << k, 3 << (k - 1)) for k in range(1, 40))]
"""Lower edges of the histograms' bins: 0, 1, 2, 3, 4, 6, 8, 12, 16, … two a doubling."""

_QUANTILES = {"p50": 0.5, "p95": 0.95}

CUT_BINS = 20
"""Equal parts of a file's length, by which cuts are counted."""

TRAINED_LENGTHS = tuple(1 << power for power in range(11, 17))
"""Sequence lengths of trainers, 2,048 to 65,536 tokens, against which documents are counted."""

LANGUAGE_MEASURES = ("documents", "chars", "bytes")

DISTINCT = ("distinct_eligible", "distinct_psm", "distinct_spm")
"""Files that could be rearranged, those in PSM and those in SPM order; copies count once."""


class Lengths:
    """Whole numbers of at least 0, gathered batch by batch: memory holds each value once."""

    def __init__(self) -> None:
        self._counts = pl.DataFrame(schema={"value": pl.Int64, "n": pl.Int64})

    def add(self, values: pl.Series) -> None:
        """Gather some more."""
        batch = pl.DataFrame({"value": values.cast(pl.Int64)})
        more = batch.group_by("value").agg(n=pl.len().cast(pl.Int64))
        if self._counts.is_empty():
            self._counts = more
            return
        together = pl.concat([self._counts, more])
        self._counts = together.group_by("value").agg(pl.col("n").sum())

    def histogram(self) -> Histogram:
        """Their distribution."""
        if self._counts.is_empty():
            return Histogram(count=0, sum=0, min=None, max=None, p50=None, p95=None, bins={})
        counts = self._counts.sort("value")
        values, numbers = counts["value"], counts["n"]
        count, ends = int(numbers.sum()), numbers.cum_sum()
        places = {name: floor(share * (count - 1)) for name, share in _QUANTILES.items()}
        found = {
            name: int(values[int(ends.search_sorted(place, side="right"))])
            for name, place in places.items()
        }
        bins = counts.group_by(edge=pl.Series(EDGES).search_sorted(values, side="right") - 1).agg(
            pl.col("n").sum()
        )
        return Histogram(
            count=count,
            sum=int((values * numbers).sum()),
            min=int(values[0]),
            max=int(values[-1]),
            bins={EDGES[edge]: n for edge, n in bins.sort("edge").iter_rows()},
            **found,
        )


def histogram(values: pl.Series) -> Histogram:
    """The distribution of whole numbers of at least 0."""
    lengths = Lengths()
    lengths.add(values)
    return lengths.histogram()


def add_histograms(histograms: Iterable[Histogram]) -> Histogram:
    """The distribution over all partitions; quantiles are left out, since they do not add up."""
    count = total = 0
    low: int | None = None
    high: int | None = None
    bins: dict[int, int] = {}
    for one in histograms:
        count += one.count
        total += one.sum
        if one.min is not None and one.max is not None:
            low = one.min if low is None else min(low, one.min)
            high = one.max if high is None else max(high, one.max)
        for edge, n in one.bins.items():
            bins[edge] = bins.get(edge, 0) + n
    return Histogram(
        count=count,
        sum=total,
        min=low,
        max=high,
        p50=None,
        p95=None,
        bins=dict(sorted(bins.items())),
    )


@dataclass(frozen=True)
class Profile:
    """Numbers of one partition of one asset, for its receipt."""

    counts: dict[str, int]
    histograms: dict[str, Histogram]


def profile_raw(parquet: Path) -> Profile:
    """Profile `raw_shards`: sizes, languages and literal sentinels."""
    sums: Counter[str] = Counter(
        dict.fromkeys(("bytes", "sentinel_literals", "documents_with_sentinel_literals"), 0)
    )
    lengths = Lengths()
    by_language = [
        pl.DataFrame(schema={"language": pl.String} | dict.fromkeys(LANGUAGE_MEASURES, pl.Int64))
    ]
    for frame in read_frames(parquet, ["language", "chars", "bytes", "sentinel_literals"]):
        lengths.add(frame["chars"])
        sums["bytes"] += int(frame["bytes"].sum())
        sums["sentinel_literals"] += int(frame["sentinel_literals"].sum())
        sums["documents_with_sentinel_literals"] += int((frame["sentinel_literals"] > 0).sum())
        by_language.append(
            frame.group_by(pl.col("language").fill_null(""))
            .agg(pl.len().alias("documents"), pl.col("chars", "bytes").sum())
            .cast(dict.fromkeys(LANGUAGE_MEASURES, pl.Int64))
        )
    languages = (
        pl.concat(by_language)
        .group_by("language")
        .sum()
        .sort("documents", "language", descending=[True, False])
    )
    for row in languages.iter_rows(named=True):
        sums.update({f"{measure}:{row['language']}": row[measure] for measure in LANGUAGE_MEASURES})
    return Profile(counts=dict(sums), histograms={"document_chars": lengths.histogram()})


_FIM_COLUMNS = [
    *("file", "chars", "order", "split", "reason", "draw_key", "language"),
    *("prefix_chars", "middle_chars", "suffix_chars"),
]

_CODED = pl.Schema(
    {
        "draw_key": pl.UInt64(),
        "file": pl.UInt32(),
        "order": pl.Enum(ORDERS),
        "split": pl.Enum(SPLITS),
        "reason": pl.Enum(REASONS),
        "language": pl.Categorical(),
    }
)
"""What a file of a document in several languages is kept as: some twenty bytes."""

_PARTS = 16


def profile_fim(parquet: Path) -> Profile:
    """Profile `fim_shards`: what was rearranged, why the rest was not, laws used, and lengths.

    `first_cut:35` counts the rearranged files whose middle begins at 35 to 40 % of their length,
    `second_cut:35` those whose suffix does; cuts at the very end are at 95. `distinct_*` counts
    leave true copies out: copies are treated alike, so that a rate must count them once.
    """
    copies = _find_copies(parquet)
    whole = ("psm", "spm", *LEFT_ALONE, "separators")
    sums: Counter[str] = Counter(dict.fromkeys(whole, 0))
    laws: Counter[str] = Counter()
    fallbacks: Counter[str] = Counter()
    distinct: Counter[str] = Counter()
    cuts = np.zeros((2, CUT_BINS), np.int64)
    lengths = {name: Lengths() for name in ("file", "prefix", "middle", "suffix")}
    waiting: list[pl.DataFrame] = []
    documents = 0
    for frame in read_frames(parquet, _FIM_COLUMNS):
        rearranged = frame.filter(pl.col("order") != "none")
        left_alone = frame.filter(pl.col("order") == "none")["reason"]
        sums.update(rearranged["order"].to_list())
        reasons = dict(left_alone.value_counts().iter_rows())
        sums.update({reason: reasons.get(reason, 0) for reason in LEFT_ALONE})
        sums["separators"] += int((frame["file"] > 0).sum())
        laws.update(dict(rearranged["split"].value_counts().iter_rows()))
        fallbacks.update(dict(rearranged["reason"].drop_nulls().value_counts().iter_rows()))
        lengths["file"].add(frame["chars"])
        for part in ("prefix", "middle", "suffix"):
            lengths[part].add(rearranged[f"{part}_chars"])
        cuts += _count_cuts(rearranged)
        of_document = np.cumsum(frame["file"].to_numpy() == 0) + (documents - 1)
        documents = int(of_document[-1]) + 1
        again, held = (pl.Series(its[of_document]) for its in (copies.again, copies.held))
        distinct.update(_distinct_counts(frame.filter(~again & ~held)))
        if held.any():
            waiting.append(frame.filter(~again & held).select(_CODED.names()).cast(_CODED))
    for files in _parted(waiting):
        distinct.update(_distinct_counts(files))
    return Profile(
        counts={
            **sums,
            "copies": copies.number,
            **by_count("split", laws),
            **by_count("fallback", fallbacks),
            **_by_place("first_cut", cuts[0]),
            **_by_place("second_cut", cuts[1]),
            **_in_order(distinct),
        },
        histograms={f"{name}_chars": its.histogram() for name, its in lengths.items()},
    )


def _count_cuts(rearranged: pl.DataFrame) -> npt.NDArray[np.int64]:
    """First and second cuts by where in the file they fall, shape (2, CUT_BINS)."""
    chars = np.maximum(rearranged["chars"].to_numpy(), 1)
    first = rearranged["prefix_chars"].to_numpy()
    second = first + rearranged["middle_chars"].to_numpy()
    bins = [np.minimum(cut * CUT_BINS // chars, CUT_BINS - 1) for cut in (first, second)]
    return np.array([np.bincount(of_cut, minlength=CUT_BINS) for of_cut in bins])


class _Copies(NamedTuple):
    """Which documents of a shard are copies of others, in order.

    Attributes:
        number: How many are copies of an earlier one.
        again: Whether each is a copy of an earlier one in its own language, shape (documents,).
        held: Whether each has to wait for others to be counted, shape (documents,): it is a copy of
            one in another language, or two groups of rows share its files.
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
    found = np.zeros((2, len(kinds)), np.bool_)
    found[:, order] = again, several[kinds]
    again, held = found
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
        its = names.replace_strict(numbers, return_dtype=pl.UInt32).to_numpy()
        languages.append(its.astype(np.min_scalar_type(len(numbers))))
    return keys[:count], np.concatenate(languages), shared


def _parted(frames: list[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Coded files by parts of the keys: what is counted at once is small, and sums add up."""
    for part in range(_PARTS if frames else 0):
        files = pl.concat(frame.filter(pl.col("draw_key") % _PARTS == part) for frame in frames)
        yield files.cast(dict.fromkeys(("order", "split", "reason", "language"), pl.String))


def _distinct_counts(frame: pl.DataFrame) -> dict[str, int]:
    """What the rates are tested on: trials and hits, true copies counted once.

    Copies in two languages count once for each, and once over all languages.
    """
    eligible = frame.filter(
        ~pl.col("reason").is_in(["repository", "too_short"]).fill_null(False)
    ).with_columns(pl.col("language").fill_null(""))
    candidates = eligible.filter(pl.col("reason").ne_missing("gate"))
    rearranged = candidates.filter(pl.col("order") != "none")
    drawn = (
        pl.when(pl.col("reason") == "one_line")
        .then(pl.lit("lines"))
        .when(pl.col("reason").is_not_null())
        .then(pl.lit("syntax"))
        .otherwise(pl.col("split"))
        .alias("drawn")
    )
    laws = _distinct(rearranged).select(drawn)["drawn"].value_counts()
    counts = {
        "distinct_documents": eligible["draw_key"].n_unique(),
        "distinct_candidates": candidates["draw_key"].n_unique(),
        **{f"distinct_drawn:{law}": n for law, n in laws.iter_rows()},
    }
    by_order = {
        "distinct_eligible": candidates,
        "distinct_psm": rearranged.filter(pl.col("order") == "psm"),
        "distinct_spm": rearranged.filter(pl.col("order") == "spm"),
    }
    languages = candidates["language"].unique().to_list()
    for name, files in by_order.items():
        counts[name] = _distinct(files).height
        found = dict(_distinct(files, "language")["language"].value_counts().iter_rows())
        counts |= {f"{name}:{language}": found.get(language, 0) for language in languages}
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


def _by_place(name: str, counts: npt.NDArray[np.int64]) -> dict[str, int]:
    """Counts by where in a file, in percent of its length; empty places are left out."""
    return {f"{name}:{100 * n // CUT_BINS}": int(counts[n]) for n in np.flatnonzero(counts)}


def by_count(name: str, counts: Counter[str]) -> dict[str, int]:
    """Counts by what they are of, the largest first."""
    entries = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return {f"{name}:{value}": n for value, n in entries}


def _distinct(files: pl.DataFrame, *also: str) -> pl.DataFrame:
    """Files, true copies once."""
    return files.unique(["draw_key", "file", *also], keep="first", maintain_order=True)


def profile_tokens(parquet: Path) -> Profile:
    """Profile `token_arrays`: arrays, tokens of documents and of parts, and names in texts.

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
        # The parts of a file left alone are null.
        files = frame.select(pl.col("files").explode()).unnest("files").drop_nulls()
        for part in PARTS:
            lengths[part].add(files[f"{part}_end"] - files[f"{part}_start"])
    return Profile(
        counts={
            "arrays": len(arrays),
            "added_token_literals": literals,
            "documents_with_added_token_literals": with_literals,
            "changed_documents": changed,
            **{f"rearranged_longer:{length}": n for length, n in longer.items()},
            **{f"rearranged_tokens_longer:{length}": n for length, n in tokens_longer.items()},
        },
        histograms={f"{name}_tokens": its.histogram() for name, its in lengths.items()},
    )


@dataclass(frozen=True)
class Rate:
    """A realised share against the probability asked for.

    Attributes:
        hits: Times it happened.
        trials: Times it could.
        asked: The probability.
        low: Fewest hits that the test accepts.
        high: Most hits that the test accepts.
    """

    hits: int
    trials: int
    asked: float
    low: int
    high: int

    @property
    def realised(self) -> float | None:
        """The share, None without trials."""
        return self.hits / self.trials if self.trials else None

    @property
    def within(self) -> bool:
        """Whether the test accepts the hits."""
        return self.low <= self.hits <= self.high

    @property
    def can_fail(self) -> bool:
        """Whether there are enough trials for the test to refuse anything."""
        return self.low > 0 or self.high < self.trials


def verdict(*tested: Rate) -> str:
    """What the tests of some rates say: `within`, `outside`, or `too few files` to say anything."""
    if not all(rate.within for rate in tested):
        return "outside"
    return "within" if any(rate.can_fail for rate in tested) else "too few files"


def binomial_rate(hits: int, trials: int, asked: float, error: float) -> Rate:
    """Test a share with the exact two-sided binomial test.

    The bounds are those of the hits k with P(X <= k) > error/2 and P(X >= k) > error/2.

    Args:
        hits: Times it happened.
        trials: Times it could.
        asked: Probability of each.
        error: Probability that a true rate of `asked` is refused, at most.
    """

    def at_most(k: int) -> float:
        return float(betainc(trials - k, k + 1, 1 - asked)) if k < trials else 1.0

    def more_than(k: int) -> float:
        return float(betainc(k + 1, trials - k, asked)) if k < trials else 0.0

    low = _first(trials, lambda k: at_most(k) > error / 2)
    high = _first(trials, lambda k: more_than(k) <= error / 2)
    return Rate(hits, trials, asked, low, high)


def sum_rates(rates: Sequence[Rate]) -> Rate:
    """Several rates as one: its bounds hold wherever theirs do."""
    trials = sum(rate.trials for rate in rates)
    return Rate(
        hits=sum(rate.hits for rate in rates),
        trials=trials,
        asked=sum(rate.asked * rate.trials for rate in rates) / trials if trials else 0.0,
        low=sum(rate.low for rate in rates),
        high=sum(rate.high for rate in rates),
    )


def _first(trials: int, holds: Callable[[int], bool]) -> int:
    low, high = 0, trials
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


def uniform_distance(values: npt.NDArray[np.float64]) -> float:
    """The largest distance of values' empirical distribution from the uniform one on [0, 1]."""
    step = 1 / len(values)
    above = np.arange(1, len(values) + 1, dtype=np.float64)
    above *= step
    above -= np.sort(values)
    return float(max(above.max(), step - above.min()))


def uniform_bound(count: int, error: float) -> float:
    """The largest distance that so many uniform values exceed with this probability at most."""
    return sqrt(log(2 / error) / (2 * count))


def counted(counts: Mapping[str, int], name: str) -> dict[str, int]:
    """A count by what it is about, from counts with names such as `documents:Python`.

    Args:
        counts: A receipt's.
        name: What stands before the colon.

    Returns:
        Counts by what stands behind it, in the order of `counts`; '' is no language.
    """
    prefix = f"{name}:"
    return {key.removeprefix(prefix): n for key, n in counts.items() if key.startswith(prefix)}
