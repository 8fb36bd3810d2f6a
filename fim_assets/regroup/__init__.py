"""Shards in which every repository stands whole, made of shards in any order, in two passes."""
