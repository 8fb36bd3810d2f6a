"""What is no shard: known by its content or by how its name ends, each with what to do about it.

The advice is the same for all files of a kind, so that failures with one cause are told together:
`x` stands for the file's name.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple


class Other(NamedTuple):
    """What a file is in place of a shard, and what to do; '' where that is not known."""

    what: str
    advice: str = ""


_COLLECTS = "`fim-assets collect FILE -o raw/` makes shards of"
_FETCH_AGAIN = "look at what it says, and fetch the file again"

_TAR = Other(
    "a tar of files",
    f"{_COLLECTS} a .tar, .tar.gz, .tar.zst and so on: of WebDataset's samples, a document of "
    "each text file",
)
_ZIP = Other("zip", f"{_COLLECTS} a .zip: a document of each text file")
_7Z = Other("7z", f"unpack it with `7z x`; {_COLLECTS} a folder")
_LZ4 = Other("lz4", "compress it again: `lz4 -dc x.jsonl.lz4 | zstd -o x.jsonl.zst`")
_PAGE = Other("an HTML page, as a server sends one in place of a file", _FETCH_AGAIN)
_CONVERT = "convert it: `python -c \"import polars; polars.{}('x.jsonl')\"`"
_ARROW = Other("Arrow", _CONVERT.format("scan_ipc('x.arrow').sink_ndjson"))
_ARROW_STREAM = Other(
    "an Arrow stream, as `datasets` caches it",
    _CONVERT.format("read_ipc_stream('x.arrow').write_ndjson"),
)
_EITHER_ARROW = Other(
    "Arrow",
    f"{_ARROW.advice}; of a stream, as `datasets` caches it, by `read_ipc_stream` and "
    "`write_ndjson`",
)


def _table(name: str, read: str) -> Other:
    # Without a schema that is inferred, all values stay strings: an id `007` is no number.
    return Other(name, _CONVERT.format(f"scan_csv({read}, infer_schema=False).sink_ndjson"))


def _renamed(name: str, ending: str) -> Other:
    return Other(name, f"have its name end in {ending}")


SIGNATURES = {
    b"\x28\xb5\x2f\xfd": _renamed("zstd", ".zst"),
    b"\x1f\x8b": _renamed("gzip", ".gz"),
    b"BZh": _renamed("bzip2", ".bz2"),
    b"\xfd7zXZ\0": _renamed("xz", ".xz"),
    b"PAR1": _renamed("parquet", ".parquet"),
    b"PK\x03\x04": _ZIP,
    b"7z\xbc\xaf\x27\x1c": _7Z,
    b"\x04\x22\x4d\x18": _LZ4,
    b"\x37\xa4\x30\xec": Other("a zstd dictionary"),
    b"ARROW1": _ARROW,
    b"\xff\xff\xff\xff": _ARROW_STREAM,
}
"""How the bytes of other formats begin."""

INSTEAD = {
    b"version https://git-lfs.github.com/spec/": Other(
        "a Git LFS pointer, which only names the file",
        "run `git lfs pull` in its repository, or fetch the file itself",
    ),
    b"<!doctype html": _PAGE,
    b"<html": _PAGE,
    b"<?xml": Other("an XML document, as storage sends one in place of a file", _FETCH_AGAIN),
}
"""How text begins, in lower case, that bears a shard's name where the shard was not fetched."""

_TAR_MAGIC, _TAR_MAGIC_PLACE = re.compile(rb"ustar(?:\0|  \0)"), 257  # no line of JSON holds \0
_LOOKED_AT = 1 << 11  # bytes, of which the first may be white space

ENDINGS = {
    **dict.fromkeys((".tar", ".tgz", ".tar.gz", ".tar.zst", ".tar.bz2", ".tar.xz"), _TAR),
    ".zip": _ZIP,
    ".7z": _7Z,
    ".lz4": _LZ4,
    ".br": Other("brotli", "compress it again: `brotli -dc x.jsonl.br | zstd -o x.jsonl.zst`"),
    ".csv": _table("CSV", "'x.csv'"),
    ".tsv": _table("TSV", r"'x.tsv', separator='\t'"),
    ".arrow": _EITHER_ARROW,
    ".feather": _ARROW,
    **dict.fromkeys((".pq", ".parq"), _renamed("Parquet", ".parquet")),
    ".parquet.gz": Other("compressed Parquet", "decompress it: `gzip -d x.parquet.gz`"),
    ".parquet.zst": Other("compressed Parquet", "decompress it: `zstd -d x.parquet.zst`"),
    ".avro": Other(
        "Avro",
        'convert it: `python -c "import polars; '
        "polars.read_avro('x.avro').write_parquet('x.parquet')\"`",
    ),
    ".txt": Other("a text", f"{_COLLECTS} a folder of texts, each a document"),
}
"""How names end that are known to be no shard's, in lower case."""


def known_format(beginning: bytes) -> Other | None:
    """The other format that bytes begin as; None where they may be text."""
    return _of_sign(beginning, SIGNATURES)


def known_content(beginning: bytes) -> Other | None:
    """What the beginning of a decompressed content is in place of lines; None: it may be lines."""
    if _TAR_MAGIC.match(beginning, _TAR_MAGIC_PLACE):
        return _TAR
    return _of_sign(beginning[:_LOOKED_AT].lstrip().lower(), INSTEAD)


def _of_sign(beginning: bytes, signs: dict[bytes, Other]) -> Other | None:
    return next((other for sign, other in signs.items() if beginning.startswith(sign)), None)


def other_ending(name: str) -> str:
    """The ending of a name by which it is known to be no shard; '' where none is known."""
    return next((ending for ending in ENDINGS if name.lower().endswith(ending)), "")


def advice_for(names: Iterable[str]) -> str:
    """What to do about files, by their names' endings; '' where none is known."""
    endings: dict[str, list[str]] = {}
    for ending in dict.fromkeys(map(other_ending, names)):
        if ending:
            endings.setdefault(ENDINGS[ending].advice, []).append(ending)
    return "; ".join(f"{', '.join(those)}: {advice}" for advice, those in endings.items())
