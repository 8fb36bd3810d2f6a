"""Statistics with Polars: parquet in, numbers out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import log, sqrt
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import betainc

from fim_assets.fim.decisions import LEFT_ALONE
from fim_assets.receipts import Histogram

EDGES = [0, 1, *chain.from_iterable((1 << k, 3 << (k - 1)) for k in range(1, 40))]
"""Lower edges of the histograms' bins: 0, 1, 2, 3, 4, 6, 8, 12, 16, … two a doubling."""

LANGUAGE_MEASURES = ("documents", "chars", "bytes")

DISTINCT = ("distinct_eligible", "distinct_psm", "distinct_spm")
"""Files that could be rearranged, those in PSM and those in SPM order; copies count once."""


def histogram(values: pl.Series) -> Histogram:
    """The distribution of whole numbers of at least 0."""
    values = values.cast(pl.Int64)
    if values.is_empty():
        return Histogram(count=0, sum=0, min=None, max=None, p50=None, p95=None, bins={})
    ends = pl.DataFrame({"value": values}).select(
        sum=pl.col("value").sum(),
        min=pl.col("value").min(),
        max=pl.col("value").max(),
        p50=pl.col("value").quantile(0.5, "lower"),
        p95=pl.col("value").quantile(0.95, "lower"),
    )
    bins = pl.Series(EDGES).search_sorted(values, side="right") - 1
    counts = bins.value_counts(name="n").sort(bins.name)
    return Histogram(
        count=len(values),
        bins={EDGES[edge]: n for edge, n in counts.iter_rows()},
        **{name: int(value) for name, value in ends.row(0, named=True).items()},
    )


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
    frame = pl.read_parquet(
        parquet, glob=False, columns=["language", "chars", "bytes", "sentinel_literals"]
    )
    with_literals = frame.filter(pl.col("sentinel_literals") > 0)
    languages = (
        frame.group_by(pl.col("language").fill_null(""))
        .agg(documents=pl.len(), chars=pl.col("chars").sum(), bytes=pl.col("bytes").sum())
        .sort("documents", "language", descending=[True, False])
    )
    return Profile(
        counts={
            "bytes": int(frame["bytes"].sum()),
            "sentinel_literals": int(frame["sentinel_literals"].sum()),
            "documents_with_sentinel_literals": with_literals.height,
            **{
                f"{measure}:{row['language']}": row[measure]
                for row in languages.iter_rows(named=True)
                for measure in LANGUAGE_MEASURES
            },
        },
        histograms={"document_chars": histogram(frame["chars"])},
    )


def profile_fim(parquet: Path) -> Profile:
    """Profile `fim_shards`: what was rearranged, why the rest was not, laws used, and lengths.

    `distinct_*` counts leave true copies out: copies are treated alike, so that a rate must count
    them once.
    """
    frame = pl.read_parquet(
        parquet,
        glob=False,
        columns=[
            *("file", "chars", "order", "split", "reason", "draw_key", "language"),
            *("prefix_chars", "middle_chars", "suffix_chars"),
        ],
    )
    rearranged = frame.filter(pl.col("order") != "none")
    documents = frame.filter(pl.col("file") == 0)
    left_alone = frame.filter(pl.col("order") == "none")["reason"]
    return Profile(
        counts={
            "psm": rearranged.filter(pl.col("order") == "psm").height,
            "spm": rearranged.filter(pl.col("order") == "spm").height,
            **{reason: int((left_alone == reason).sum()) for reason in LEFT_ALONE},
            "separators": frame.height - documents.height,
            "copies": documents.height - documents["draw_key"].n_unique(),
            **_counts_of("split", rearranged["split"]),
            **_counts_of("fallback", rearranged["reason"].drop_nulls()),
            **_distinct_counts(frame),
        },
        histograms={
            "file_chars": histogram(frame["chars"]),
            "prefix_chars": histogram(rearranged["prefix_chars"]),
            "middle_chars": histogram(rearranged["middle_chars"]),
            "suffix_chars": histogram(rearranged["suffix_chars"]),
        },
    )


def _distinct_counts(frame: pl.DataFrame) -> dict[str, int]:
    """What the rates are tested on: trials and hits, true copies counted once.

    Copies in two languages count once for each, and once over all languages.
    """
    eligible = frame.filter(
        ~pl.col("reason").is_in(["repository", "too_short"]).fill_null(False)
    ).with_columns(pl.col("language").fill_null(""))
    candidates = eligible.filter(pl.col("reason").ne_missing("gate"))
    rearranged = candidates.filter(pl.col("order") != "none")
    by_language = {
        "distinct_eligible": candidates,
        "distinct_psm": rearranged.filter(pl.col("order") == "psm"),
        "distinct_spm": rearranged.filter(pl.col("order") == "spm"),
    }
    drawn = (
        pl.when(pl.col("reason") == "one_line")
        .then(pl.lit("lines"))
        .when(pl.col("reason").is_not_null())
        .then(pl.lit("syntax"))
        .otherwise(pl.col("split"))
        .alias("drawn")
    )
    names = candidates["language"].unique().sort().to_list()
    counts = {
        "distinct_documents": eligible["draw_key"].n_unique(),
        "distinct_candidates": candidates["draw_key"].n_unique(),
        **_counts_of("distinct_drawn", _distinct(rearranged).select(drawn)["drawn"]),
    }
    for name, files in by_language.items():
        counts[name] = _distinct(files).height
        found = dict(_distinct(files, "language")["language"].value_counts().iter_rows())
        counts |= {f"{name}:{language}": found.get(language, 0) for language in names}
    return counts


def _distinct(files: pl.DataFrame, *also: str) -> pl.DataFrame:
    """Files, true copies once."""
    return files.unique(["draw_key", "file", *also], keep="first", maintain_order=True)


def _counts_of(name: str, values: pl.Series) -> dict[str, int]:
    counted = values.value_counts(name="n").sort("n", values.name, descending=[True, False])
    return {f"{name}:{value}": n for value, n in counted.iter_rows()}


def profile_tokens(parquet: Path) -> Profile:
    """Profile `token_arrays`: arrays, tokens a document, and control tokens' names in texts."""
    frame = pl.read_parquet(
        parquet, glob=False, columns=["array", "tokens", "added_token_literals", "changed"]
    )
    with_literals = frame.filter(pl.col("added_token_literals") > 0)
    return Profile(
        counts={
            "arrays": frame["array"].n_unique(),
            "added_token_literals": int(frame["added_token_literals"].sum()),
            "documents_with_added_token_literals": with_literals.height,
            "changed_documents": int(frame["changed"].sum()),
        },
        histograms={"document_tokens": histogram(frame["tokens"])},
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
    ordered = np.sort(values)
    steps = np.arange(len(values) + 1) / len(values)
    return float(max((steps[1:] - ordered).max(), (ordered - steps[:-1]).max()))


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
