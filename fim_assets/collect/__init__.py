"""Shards of checkouts, folders and archives: which files are documents, and what they say."""
