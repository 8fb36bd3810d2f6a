"""The stage `raw_shards`: raw shards read, judged and measured."""
