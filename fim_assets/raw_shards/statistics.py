"""Statistics of `raw_shards`: its parquet's rows added up, over all documents and by language."""

from collections import Counter
from pathlib import Path

import polars as pl

from fim_assets.corpus.stage import Statistics
from fim_assets.io.parquet import read_frames
from fim_assets.statistics.histograms import Lengths

LANGUAGE_MEASURES = ("documents", "chars", "bytes")


def raw_statistics(parquet: Path) -> Statistics:
    """Sizes, languages and sentinels that stand in texts."""
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
    return Statistics(counts=dict(sums), histograms={"document_chars": lengths.histogram()})
