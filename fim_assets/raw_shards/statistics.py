"""Statistics of `raw_shards`: its parquet's rows added up, over all documents and by language."""

from pathlib import Path

import polars as pl

from fim_assets.corpus.stage import Statistics
from fim_assets.io.parquet import read_frames
from fim_assets.statistics.histograms import Lengths

LANGUAGE_MEASURES = ("documents", "chars", "bytes")


def raw_statistics(parquet: Path) -> Statistics:
    """Sizes, languages and sentinels that stand in texts."""
    names = ("bytes", "sentinel_literals", "documents_with_sentinel_literals")
    sums = dict.fromkeys(names, 0)
    lengths = Lengths()
    schema = pl.Schema({"language": pl.String(), **dict.fromkeys(LANGUAGE_MEASURES, pl.Int64())})
    by_language = [pl.DataFrame(schema=schema)]
    for frame in read_frames(parquet, ["language", "chars", *names[:2]]):
        lengths.add(frame["chars"])
        sums["bytes"] += int(frame["bytes"].sum())
        sums["sentinel_literals"] += int(frame["sentinel_literals"].sum())
        sums["documents_with_sentinel_literals"] += int((frame["sentinel_literals"] > 0).sum())
        groups = frame.group_by(pl.col("language").fill_null(""))
        measures = groups.agg(pl.len().alias("documents"), pl.col("chars", "bytes").sum())
        by_language.append(measures.cast(schema))
    languages = pl.concat(by_language).group_by("language").sum()
    languages = languages.sort("documents", "language", descending=[True, False])
    for row in languages.iter_rows(named=True):
        sums |= {f"{measure}:{row['language']}": row[measure] for measure in LANGUAGE_MEASURES}
    return Statistics(counts=sums, histograms={"document_chars": lengths.histogram()})
