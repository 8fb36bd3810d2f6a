import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from fim_assets.fim_shards.record import SCHEMA as FIM_SCHEMA
from fim_assets.fim_shards.statistics import fim_statistics
from fim_assets.io import parquet as tables
from fim_assets.io.hashing import HashingWriter
from fim_assets.io.parquet import TableWriter
from fim_assets.raw_shards.measure import SCHEMA as RAW_SCHEMA
from fim_assets.raw_shards.statistics import raw_statistics
from fim_assets.statistics.counts import counted
from fim_assets.statistics.histograms import EDGES, Histogram, add_histograms, histogram
from fim_assets.statistics.rates import (
    Rate,
    binomial_rate,
    sum_rates,
    uniform_bound,
    uniform_distance,
    verdict,
)
from fim_assets.token_arrays.arrays import SCHEMA as TOKEN_SCHEMA
from fim_assets.token_arrays.statistics import token_statistics


def write_rows(path: Path, schema: Any, rows: list[tuple[Any, ...]]) -> Path:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema.names)
    with HashingWriter(path) as file, TableWriter(file, schema) as table:
        table.write(dict(zip(schema.names, columns, strict=True)))
    return path


# Histograms


def test_edges_come_two_a_doubling() -> None:
    assert EDGES[:12] == [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48]
    assert sorted(set(EDGES)) == EDGES
    assert EDGES[-1] > 1 << 38


@pytest.mark.parametrize(
    ("value", "edge"),
    [
        *((0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 4), (6, 6), (7, 6), (8, 8), (11, 8)),
        *((12, 12), (15, 12), (16, 16), (23, 16), (24, 24), (1023, 768), (1024, 1024)),
        *((1535, 1024), (1536, 1536), (1 << 38, 1 << 38), (1 << 50, EDGES[-1])),
    ],
)
def test_a_bin_holds_the_values_from_its_edge_to_the_next(value: int, edge: int) -> None:
    assert histogram(pl.Series([value])).bins == {edge: 1}


def test_a_histogram_worked_out_by_hand() -> None:
    assert histogram(pl.Series([12, 0, 1, 5, 2, 11, 3, 8, 4, 6])) == Histogram(
        count=10,
        sum=52,
        min=0,
        max=12,
        p50=4,
        p95=11,
        bins={0: 1, 1: 1, 2: 1, 3: 1, 4: 2, 6: 1, 8: 2, 12: 1},
    )


@pytest.mark.parametrize(
    ("values", "p50", "p95"),
    [
        ([7], 7, 7),
        ([1, 9], 1, 1),
        ([1, 5, 9], 5, 5),
        ([4, 3, 2, 1], 2, 3),
        (list(range(1, 22)), 11, 20),
        (list(range(101)), 50, 95),
    ],
)
def test_quantiles_are_values_that_occur(values: list[int], p50: int, p95: int) -> None:
    result = histogram(pl.Series(values))
    assert (result.p50, result.p95) == (p50, p95)


NOTHING = Histogram(count=0, sum=0, min=None, max=None, p50=None, p95=None, bins={})


@pytest.mark.parametrize("dtype", [pl.Int64, pl.UInt32, pl.Null])
def test_the_histogram_of_nothing_is_empty(dtype: Any) -> None:
    assert histogram(pl.Series([], dtype=dtype)) == NOTHING


@pytest.mark.parametrize("dtype", [pl.Int8, pl.UInt8, pl.UInt32, pl.Int64])
def test_the_type_of_the_values_does_not_matter(dtype: Any) -> None:
    """A sum of small integers must not overflow."""
    result = histogram(pl.Series([100] * 50, dtype=dtype))
    assert (result.sum, result.bins) == (5000, {96: 50})


def test_adding_nothing_gives_nothing() -> None:
    assert add_histograms([]) == NOTHING
    assert add_histograms([NOTHING, NOTHING]) == NOTHING


def test_histograms_add_up_by_hand() -> None:
    first = histogram(pl.Series([3, 8]))
    second = histogram(pl.Series([9, 20, 0]))
    assert add_histograms([first, NOTHING, second]) == Histogram(
        count=5,
        sum=40,
        min=0,
        max=20,
        p50=None,
        p95=None,
        bins={0: 1, 3: 1, 8: 2, 16: 1},
    )


@settings(deadline=None)
@given(parts=st.lists(st.lists(st.integers(0, 10_000), max_size=20), max_size=5))
def test_the_sum_of_histograms_is_the_histogram_of_all(parts: list[list[int]]) -> None:
    whole = histogram(pl.Series([v for part in parts for v in part], dtype=pl.Int64))
    added = add_histograms(histogram(pl.Series(part, dtype=pl.Int64)) for part in parts)
    assert added == whole.model_copy(update={"p50": None, "p95": None})
    assert list(added.bins) == sorted(added.bins)
    assert sum(added.bins.values()) == added.count


# Rates


@pytest.mark.parametrize("error", [0.05, 1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize(
    ("trials", "asked"),
    [
        *((0, 0.5), (1, 0.5), (2, 0.1), (10, 0.5), (30, 0.25), (100, 0.01), (100, 0.99)),
        *((1000, 0.5), (5000, 0.9), (100_000, 0.5), (3_000_000, 0.3)),
        *((0, 0.0), (0, 1.0), (50, 0.0), (50, 1.0)),
    ],
)
def test_bounds_are_those_of_the_exact_binomial_test(
    trials: int, asked: float, error: float
) -> None:
    rate = binomial_rate(0, trials, asked, error)
    law = binom(trials, asked)
    assert law.cdf(rate.low) > error / 2
    assert rate.low == 0 or law.cdf(rate.low - 1) <= error / 2
    assert law.sf(rate.high - 1) > error / 2
    assert rate.high == trials or law.sf(rate.high) <= error / 2
    outside = (law.cdf(rate.low - 1) if rate.low else 0) + law.sf(rate.high)
    assert outside <= error
    assert (rate.hits, rate.trials, rate.asked) == (0, trials, asked)


def test_bounds_worked_out_by_hand() -> None:
    """Ten fair coins: P(X<=1) = 11/1024 = 0.0107, P(X<=2) = 56/1024 = 0.0547; 0.025 between."""
    assert [k for k in range(11) if binomial_rate(k, 10, 0.5, 0.05).within] == list(range(2, 9))


@pytest.mark.parametrize(
    ("asked", "allowed"), [(0.0, [0]), (1.0, [7]), (0.5, [0, 1, 2, 3, 4, 5, 6, 7])]
)
def test_certain_rates_allow_no_exception(asked: float, allowed: list[int]) -> None:
    assert [k for k in range(8) if binomial_rate(k, 7, asked, 1e-6).within] == allowed


def test_no_trial_has_no_rate_and_is_accepted() -> None:
    for asked in (0.0, 0.5, 1.0):
        rate = binomial_rate(0, 0, asked, 1e-6)
        assert (rate.low, rate.high, rate.realised, rate.within) == (0, 0, None, True)


def test_a_share_is_hits_by_trials() -> None:
    assert binomial_rate(3, 8, 0.5, 1e-6).realised == 0.375


@pytest.mark.parametrize(("hits", "within"), [(1, False), (2, True), (4, True), (5, False)])
def test_both_bounds_belong_to_the_accepted(hits: int, within: bool) -> None:
    assert Rate.of(hits, 9, 0.3, low=2, high=4).within is within


# Profiles


def test_raw_profile_by_hand(tmp_path: Path) -> None:
    rows = [
        (1, "a", "Python", 10, 12, 0),
        (2, "b", "C", 3, 3, 2),
        (4, None, None, 7, 7, 1),
        (5, "d", "Python", 1, 4, 0),
    ]
    result = raw_statistics(write_rows(tmp_path / "a.parquet", RAW_SCHEMA, rows))
    assert result.counts == {
        "bytes": 26,
        "sentinel_literals": 3,
        "documents_with_sentinel_literals": 2,
        "documents:Python": 2,
        "chars:Python": 11,
        "bytes:Python": 16,
        "documents:": 1,
        "chars:": 7,
        "bytes:": 7,
        "documents:C": 1,
        "chars:C": 3,
        "bytes:C": 3,
    }
    assert result.histograms == {"document_chars": histogram(pl.Series([10, 3, 7, 1]))}
    assert counted(result.counts, "documents") == {"Python": 2, "": 1, "C": 1}
    assert counted(result.counts, "bytes") == {"Python": 16, "": 7, "C": 3}


def test_an_empty_language_and_none_are_counted_together(tmp_path: Path) -> None:
    """Every document is counted under some language."""
    rows = [(n, None, language, 1, 1, 0) for n, language in enumerate(["", None, None, "C", ""])]
    result = raw_statistics(write_rows(tmp_path / "a.parquet", RAW_SCHEMA, rows))
    assert counted(result.counts, "documents") == {"": 4, "C": 1}


def test_the_order_of_languages_does_not_depend_on_chance(tmp_path: Path) -> None:
    names = ["z", "a", None, "m", "b", "m"]
    rows = [(n, None, language, 1, 1, 0) for n, language in enumerate(names)]
    path = write_rows(tmp_path / "a.parquet", RAW_SCHEMA, rows)
    orders = {tuple(counted(raw_statistics(path).counts, "documents")) for _ in range(10)}
    assert orders == {("m", "", "a", "b", "z")}


def test_raw_profile_of_nothing(tmp_path: Path) -> None:
    result = raw_statistics(write_rows(tmp_path / "a.parquet", RAW_SCHEMA, []))
    assert set(result.counts.values()) == {0}
    assert result.histograms == {"document_chars": NOTHING}


def fim_row(
    line: int, file: int, order: str, parts: tuple[int, int, int], key: int, reason: str | None
) -> tuple[Any, ...]:
    chars = sum(parts) if order != "none" else 9
    split = None if order == "none" else "dolma"
    return (line, str(line), file, chars, order, split, reason, *parts, key, "C")


FIM_ROWS = [
    # One document of three files,
    fim_row(1, 0, "psm", (1, 2, 3), 50, None),
    fim_row(1, 1, "none", (0, 0, 0), 50, "too_short"),
    fim_row(1, 2, "none", (0, 0, 0), 50, "not_selected"),
    # a true copy of it,
    fim_row(2, 0, "psm", (1, 2, 3), 50, None),
    fim_row(2, 1, "none", (0, 0, 0), 50, "too_short"),
    fim_row(2, 2, "none", (0, 0, 0), 50, "not_selected"),
    # another that was left alone, one in SPM order and two copies of it.
    fim_row(4, 0, "none", (0, 0, 0), 1 << 63, "not_selected"),
    fim_row(5, 0, "spm", (4, 1, 7), 60, None),
    fim_row(6, 0, "spm", (4, 1, 7), 60, None),
    fim_row(7, 0, "spm", (4, 1, 7), 60, None),
]


def test_fim_profile_counts_copies_once_in_rates(tmp_path: Path) -> None:
    result = fim_statistics(write_rows(tmp_path / "a.parquet", FIM_SCHEMA, FIM_ROWS))
    assert result.counts == {
        "psm": 2,
        "spm": 3,
        "not_selected": 3,
        "too_short": 2,
        "gate": 0,
        "repository": 0,
        "separators": 4,
        "copies": 3,
        "split:dolma": 5,
        # 1 of 6 and 4 of 12; 3 of 6 and 5 of 12: 16.7, 33.3, 50 and 41.7 %.
        "first_cut:15": 2,
        "first_cut:30": 3,
        "second_cut:40": 3,
        "second_cut:50": 2,
        "distinct_documents": 3,
        "distinct_candidates": 3,
        "distinct_drawn:dolma": 2,
        "distinct_eligible": 4,
        "distinct_eligible:C": 4,
        "distinct_psm": 1,
        "distinct_psm:C": 1,
        "distinct_spm": 1,
        "distinct_spm:C": 1,
    }


def test_fim_profile_counts_laws_gates_and_languages(tmp_path: Path) -> None:
    none = (0, 0, 0)
    rows = [
        # A repository: marker, a file cut by syntax, one that syntax could not cut, a short one.
        (1, None, 0, 9, "none", None, "repository", *none, 1, None),
        (1, None, 1, 6, "psm", "syntax", None, 1, 2, 3, 1, None),
        (1, None, 2, 6, "spm", "uniform", "no_grammar", 1, 2, 3, 1, None),
        (1, None, 3, 1, "none", None, "too_short", *none, 1, None),
        # A document that is no candidate, and one that is too short to be asked.
        (2, None, 0, 9, "none", None, "gate", *none, 2, "C"),
        (3, None, 0, 1, "none", None, "too_short", *none, 3, "C"),
        # Drawn for lines, but of one line.
        (4, None, 0, 6, "psm", "uniform", "one_line", 1, 2, 3, 4, "C"),
        (5, None, 0, 6, "none", None, "not_selected", *none, 5, "C"),
    ]
    counts = fim_statistics(write_rows(tmp_path / "a.parquet", FIM_SCHEMA, rows)).counts
    assert counted(counts, "split") == {"uniform": 2, "syntax": 1}
    assert counted(counts, "fallback") == {"no_grammar": 1, "one_line": 1}
    assert counted(counts, "distinct_drawn") == {"syntax": 2, "lines": 1}
    assert (counts["gate"], counts["repository"], counts["too_short"]) == (1, 1, 2)
    assert (counts["distinct_documents"], counts["distinct_candidates"]) == (4, 3)
    assert counted(counts, "distinct_eligible") == {"": 2, "C": 2}
    assert counted(counts, "distinct_psm") == {"": 1, "C": 1}
    assert counted(counts, "distinct_spm") == {"": 1, "C": 0}


def test_uniform_distance_by_hand() -> None:
    """The empirical distribution of 0.2 and 0.4 is 1 from 0.4 on, where the uniform one has 0.4."""
    assert uniform_distance(np.array([0.4, 0.2])) == pytest.approx(0.6)
    assert uniform_distance(np.array([0.9])) == pytest.approx(0.9)
    assert uniform_distance((np.arange(1000) + 0.5) / 1000) == pytest.approx(0.0005)


def test_uniform_values_stay_within_their_bound() -> None:
    """With n = 200: sqrt(ln(2 / 0.01) / 400) = 0.1151, which 99 of 100 samples keep."""
    assert uniform_bound(200, 0.01) == pytest.approx(0.1151, abs=1e-4)
    samples = np.random.default_rng(1).random((2000, 200))
    beyond = sum(uniform_distance(sample) > uniform_bound(200, 0.01) for sample in samples)
    assert 0 < beyond <= 2000 * 0.01 + 15


def test_sums_of_rates_by_hand() -> None:
    total = sum_rates([Rate.of(1, 2, 0.5, 0, 2), Rate.of(6, 6, 1.0, 6, 6)])
    assert total == Rate.of(hits=7, trials=8, asked=0.875, low=6, high=8)
    assert sum_rates([]).realised is None


def test_a_test_can_fail_where_its_bounds_leave_something_out() -> None:
    assert not binomial_rate(3, 20, 0.5, 1e-9).can_fail
    assert binomial_rate(20, 40, 0.5, 1e-9).can_fail
    assert binomial_rate(0, 1, 0.0, 1e-9).can_fail
    assert not binomial_rate(0, 0, 0.5, 1e-9).can_fail


def test_a_verdict_is_outside_if_any_rate_is_and_within_if_any_could_be_outside() -> None:
    few = binomial_rate(3, 20, 0.5, 1e-9)
    inside, outside = (binomial_rate(hits, 40, 0.5, 1e-9) for hits in (20, 0))
    assert [verdict(rate) for rate in (few, inside, outside)] == [
        "too few files",
        "within",
        "outside",
    ]
    assert verdict(few, inside) == "within"
    assert verdict(few, inside, outside) == "outside"


def test_fim_profile_measures_parts_of_rearranged_files_only(tmp_path: Path) -> None:
    result = fim_statistics(write_rows(tmp_path / "a.parquet", FIM_SCHEMA, FIM_ROWS))
    assert result.histograms == {
        "file_chars": histogram(pl.Series([6, 9, 9, 6, 9, 9, 9, 12, 12, 12])),
        "prefix_chars": histogram(pl.Series([1, 1, 4, 4, 4])),
        "middle_chars": histogram(pl.Series([2, 2, 1, 1, 1])),
        "suffix_chars": histogram(pl.Series([3, 3, 7, 7, 7])),
    }


def test_cuts_are_counted_by_exact_twentieths_of_the_length(tmp_path: Path) -> None:
    # 0 and 20 of 20 are the ends; 1 of 20 begins the second twentieth, 19,999 of 400,000 does not.
    parts = [(0, 20, 0), (1, 0, 19), (19_999, 1, 380_000)]
    rows = [fim_row(line, 0, "psm", its, line, None) for line, its in enumerate(parts, 1)]
    counts = fim_statistics(write_rows(tmp_path / "a.parquet", FIM_SCHEMA, rows)).counts
    assert counted(counts, "first_cut") == {"0": 2, "5": 1}
    assert counted(counts, "second_cut") == {"5": 2, "95": 1}


def test_a_document_in_several_groups_of_rows_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "ROW_GROUP_ROWS", 3)
    rows = [fim_row(line, n, "psm", (1, 2, 3), line, None) for line in (1, 2, 3) for n in range(7)]
    counts = fim_statistics(write_rows(tmp_path / "a.parquet", FIM_SCHEMA, rows)).counts
    assert (counts["distinct_documents"], counts["distinct_candidates"]) == (3, 3)
    assert (counts["distinct_eligible"], counts["distinct_psm:C"]) == (21, 21)


def test_fim_profile_of_nothing(tmp_path: Path) -> None:
    result = fim_statistics(write_rows(tmp_path / "a.parquet", FIM_SCHEMA, []))
    assert set(result.counts.values()) == {0}
    assert set(map(Histogram.model_dump_json, result.histograms.values())) == {
        NOTHING.model_dump_json()
    }


def token_row(order: str, tokens: int, *parts: tuple[int, int, int]) -> tuple[Any, ...]:
    """A document; of each rearranged file its parts' tokens, behind one left alone."""
    files = [dict.fromkeys(names_of_files(), None) | {"file_order": "none"}]
    for prefix, middle, suffix in parts:
        bounds = {"prefix": (0, prefix), "middle": (40, 40 + middle), "suffix": (50, 50 + suffix)}
        places = {
            f"{part}_{edge}": n
            for part, its in bounds.items()
            for edge, n in zip(("start", "end"), its, strict=True)
        }
        files.append({"file_order": order, "file_start": 0, "file_end": 60} | places)
    literals = 2 if tokens == 2049 else 0
    return (1, None, f"{tokens % 2}.npy", 0, tokens, tokens, order, files, literals, not literals)


def names_of_files() -> list[str]:
    return [field.name for field in TOKEN_SCHEMA.field("files").type.value_type]


def test_token_profile_by_hand(tmp_path: Path) -> None:
    rows = [
        token_row("none", 70_000),
        token_row("psm", 2048, (1, 2, 3)),
        token_row("spm", 2049, (4, 0, 3)),
        token_row("mixed", 65_537, (1, 2, 7), (0, 1, 1)),
    ]
    result = token_statistics(write_rows(tmp_path / "a.parquet", TOKEN_SCHEMA, rows))
    assert result.counts == {
        "arrays": 2,
        "added_token_literals": 2,
        "documents_with_added_token_literals": 1,
        "changed_documents": 3,
        # Strictly longer: 2,048 tokens fit in a sequence of 2,048.
        "rearranged_longer:2048": 2,
        **{f"rearranged_longer:{1 << power}": 1 for power in range(12, 17)},
        "rearranged_tokens_longer:2048": 2049 + 65_537,
        **{f"rearranged_tokens_longer:{1 << power}": 65_537 for power in range(12, 17)},
    }
    assert result.histograms == {
        "document_tokens": histogram(pl.Series([70_000, 2048, 2049, 65_537])),
        "rearranged_tokens": histogram(pl.Series([2048, 2049, 65_537])),
        "prefix_tokens": histogram(pl.Series([1, 4, 1, 0])),
        "middle_tokens": histogram(pl.Series([2, 0, 2, 1])),
        "suffix_tokens": histogram(pl.Series([3, 3, 7, 1])),
    }


def test_token_profile_of_nothing(tmp_path: Path) -> None:
    result = token_statistics(write_rows(tmp_path / "a.parquet", TOKEN_SCHEMA, []))
    assert set(result.counts.values()) == {0}
    assert [its.count for its in result.histograms.values()] == [0] * 5


@pytest.mark.parametrize("trials", [(1 << 31) - 1, 1 << 31, 1 << 36])
def test_rates_hold_for_whole_corpora(trials: int) -> None:
    """At a true rate, half the trials lie in the middle of about 2 * 6.2 standard deviations."""
    rate = binomial_rate(trials // 2, trials, 0.5, 5e-10)
    assert rate.within
    deviations = (rate.high - rate.low) / (trials**0.5 / 2)
    assert deviations == pytest.approx(2 * 6.2, abs=0.1)


def record_of_copies(path: Path, languages: list[str | None], distinct: int, count: int) -> Path:
    """Documents of two files each, the first `distinct` of them over and over."""
    kinds = np.arange(2 * count) // 2 % distinct
    rearranged = kinds % 2 == 0
    columns = {
        "file": np.arange(2 * count) % 2,
        "chars": np.full(2 * count, 9),
        "order": ["psm" if here else "none" for here in rearranged],
        "split": ["dolma" if here else None for here in rearranged],
        "reason": [None if here else "not_selected" for here in rearranged],
        "draw_key": (kinds + 1).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15),
        "language": [languages[n // 2 // distinct % len(languages)] for n in range(2 * count)],
    }
    others = {"line": np.arange(2 * count) // 2, "id": [None] * (2 * count)}
    parts = {f"{part}_chars": rearranged * 3 for part in ("prefix", "middle", "suffix")}
    with HashingWriter(path) as file, TableWriter(file, FIM_SCHEMA) as table:
        table.write(columns | others | parts)
    return path


@pytest.mark.parametrize("languages", [["C"], ["C", None], ["C", "C", "Go"]])
def test_copies_in_several_groups_of_rows_count_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, languages: list[str | None]
) -> None:
    monkeypatch.setattr(tables, "ROW_GROUP_ROWS", 7)
    path = record_of_copies(tmp_path / "a.parquet", languages, 10, 60)
    counts = fim_statistics(path).counts
    assert (counts["copies"], counts["psm"], counts["distinct_documents"]) == (50, 60, 10)
    assert (counts["distinct_eligible"], counts["distinct_psm"]) == (20, 10)
    assert counts["distinct_drawn:dolma"] == 10
    names = sorted({language or "" for language in languages})
    assert counted(counts, "distinct_eligible") == dict.fromkeys(names, 20)
    assert counted(counts, "distinct_psm") == dict.fromkeys(names, 10)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_of_a_fim_profile_does_not_hold_copies(tmp_path: Path) -> None:
    few = record_of_copies(tmp_path / "few.parquet", ["C"], 32_768, 32_768)
    path = record_of_copies(tmp_path / "a.parquet", ["C"], 80_000, 160_000)
    code = f"""
from pathlib import Path
from fim_assets.fim_shards.statistics import fim_statistics

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) << 10

fim_statistics(Path({str(few)!r}))
before = peak()
fim_statistics(Path({str(path)!r}))
print(peak() - before)
"""
    grown = int(subprocess.check_output([sys.executable, "-c", code]))
    assert grown < 80e6
