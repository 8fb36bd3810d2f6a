"""Partition keys and names of shards: which there may be."""

import re

PARQUET = ".parquet"
SHARD_NAME = re.compile(r"\.(jsonl?(\.gz|\.zst|\.bz2|\.xz)?|parquet)$")
NAME_RULE = (
    "a shard's name ends in .json or .jsonl, with .gz, .zst, .bz2 or .xz behind it or not, or in "
    ".parquet"
)

_KEY_REFUSED = re.compile(r"[\x00-\x1f\x7f-\x9f,\[\](){}\\]|\.\.\.|^[.-]|\.$")
KEY_BYTES = 200
KEY_RULE = (
    f"a key has at most {KEY_BYTES} bytes, holds no control characters, commas, brackets, "
    "backslashes or '...', does not begin with '.' or '-' nor end with '.'"
)


def shard_ending(name: str) -> str:
    """The ending of a shard's name; '' of a name that is no shard's."""
    match = SHARD_NAME.search(name)
    return match.group() if match else ""


def fits(key: str) -> bool:
    """Whether Dagster and a file's name can carry a key."""
    allowed = key and not _KEY_REFUSED.search(key) and key.isprintable()
    return bool(allowed) and len(key.encode()) <= KEY_BYTES
