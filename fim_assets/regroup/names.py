"""Which repository a line is of, and by which hash it is placed among all shards."""

import re

import msgspec
import orjson
import xxhash

from fim_assets.io.shard_writer import Line
from fim_assets.recipe.values import field_names

_HASH_BITS, _BUCKET_BITS = 64, 18

BUCKETS = 1 << _BUCKET_BITS
"""Ranges of hashes, of which a shard holds one or several: enough for 26 TB in shards of 100 MB."""

_BITS_BELOW = _HASH_BITS - _BUCKET_BITS

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_WHOLE_NUMBER = re.compile(rb"-?\d+")


def repository_name(line: Line, field: str) -> bytes:
    """The name of a line's repository in UTF-8, empty if it has none.

    A name is a string that is not empty, or a whole number as it is written. The line need not be
    a document; of duplicate keys, the last one counts.
    """
    value = line
    try:
        for name in field_names(field):
            value = memoryview(_object.decode(value)[name])
        if value[:1] != b'"':
            return bytes(value) if _WHOLE_NUMBER.fullmatch(value) else b""
        text: str = orjson.loads(value)
        return text.encode()
    except (ValueError, KeyError, RecursionError):
        return b""


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
