"""Tests of the stage `repository_shards`."""
