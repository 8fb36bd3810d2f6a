"""Statistics of token arrays, by hand."""

from pathlib import Path
from typing import Any

import polars as pl

from fim_assets.statistics.histograms import histogram
from fim_assets.token_arrays.arrays import SCHEMA as TOKEN_SCHEMA
from fim_assets.token_arrays.statistics import token_statistics
from fim_assets_tests.corpora import write_rows


def token_row(order: str, tokens: int, *parts: tuple[int, int, int]) -> tuple[Any, ...]:
    """A document; of each rearranged file its parts' tokens, behind one unchanged."""
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
