"""Tests of raw_shards."""
