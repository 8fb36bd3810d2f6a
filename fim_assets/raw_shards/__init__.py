"""The stage `raw_shards`: every line a document or rejected, every document measured."""
