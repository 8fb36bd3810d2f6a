"""Reproducible, lossless fill-in-the-middle data as partitioned Dagster assets."""
