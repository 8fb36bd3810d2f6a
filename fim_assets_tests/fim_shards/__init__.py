"""Tests of fim_shards."""
