"""By which hash a line is placed among all shards: that of its repository, if it has one."""

import xxhash

from fim_assets.io.shard_writer import Line

_HASH_BITS, _BUCKET_BITS = 64, 18

BUCKETS = 1 << _BUCKET_BITS
"""Ranges of hashes, of which a shard holds one or several: enough for 26 TB in shards of 100 MB."""

_BITS_BELOW = _HASH_BITS - _BUCKET_BITS


def repository_hash(name: bytes) -> int:
    """The hash of a repository's name: 64 bits."""
    return xxhash.xxh3_64_intdigest(name)


def line_hash(line: Line, number: int) -> int:
    """That of a line without a repository, by its number too: copies are not all in one shard."""
    return xxhash.xxh3_64_intdigest(line, seed=number)


def bucket(hashed: int) -> int:
    """The bucket of a hash; those of a bucket are neighbours."""
    return hashed >> _BITS_BELOW


def first_hash(of_bucket: int) -> int:
    """The lowest hash of a bucket."""
    return of_bucket << _BITS_BELOW
