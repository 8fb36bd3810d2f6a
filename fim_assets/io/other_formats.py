"""What is no shard: known by its content or by how its name ends, each with what to do about it.

The advice is the same for all files of a kind, so that failures with one cause are told together:
`x` stands for the file's name.
"""

from typing import NamedTuple


class Other(NamedTuple):
    """What a file is in place of a shard, and what to do; '' where that is not known."""

    what: str
    advice: str = ""


_COLLECTS = "`fim-assets collect FILE -o raw/` makes shards of"
_FETCH_AGAIN = "look at what it says, and fetch the file again"

_TAR = Other(
    "a tar of files",
    f"{_COLLECTS} a .tar or .tar.gz: of WebDataset's samples, a document of each text file",
)
_ZIP = Other("zip", f"{_COLLECTS} a .zip: a document of each text file")
_7Z = Other("7z", f"unpack it with `7z x`; {_COLLECTS} a folder")
_LZ4 = Other("lz4", "compress it again: `lz4 -dc x.jsonl.lz4 | zstd -o x.jsonl.zst`")
_PAGE = Other("an HTML page, as a server sends one in place of a file", _FETCH_AGAIN)
_ARROW = Other(
    "Arrow",
    "convert it: `python -c \"import polars; polars.scan_ipc('x.arrow').sink_ndjson('x.jsonl')\"`",
)
_ARROW_STREAM = Other(
    "an Arrow stream, as datasets caches one",
    "convert it: `python -c \"import polars; polars.read_ipc_stream('x.arrow')"
    ".write_ndjson('x.jsonl')\"`",
)


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

_TAR_MAGIC, _TAR_MAGIC_PLACE = b"ustar", 257
_LOOKED_AT = 1 << 11  # bytes, of which the first may be white space

_SCAN_CSV = "convert it: `python -c \"import polars; polars.scan_csv({}).sink_ndjson('x.jsonl')\"`"

_ENDINGS = {
    ".tar": _TAR,
    ".tar.gz": _TAR,
    ".tgz": _TAR,
    ".zip": _ZIP,
    ".7z": _7Z,
    ".lz4": _LZ4,
    ".br": Other("brotli", "compress it again: `brotli -dc x.jsonl.br | zstd -o x.jsonl.zst`"),
    ".csv": Other("CSV", _SCAN_CSV.format("'x.csv'")),
    ".tsv": Other("TSV", _SCAN_CSV.format(r"'x.tsv', separator='\t'")),
    ".arrow": _ARROW,
    ".feather": _ARROW,
    ".txt": Other("a text", f"{_COLLECTS} a folder of texts, each a document"),
}


def known_format(beginning: bytes) -> Other | None:
    """The other format that bytes begin as; None where they may be text."""
    return _of_sign(beginning, SIGNATURES)


def known_content(beginning: bytes) -> Other | None:
    """What the beginning of a decompressed content is in place of lines; None: it may be lines."""
    if beginning.startswith(_TAR_MAGIC, _TAR_MAGIC_PLACE):
        return _TAR
    return _of_sign(beginning[:_LOOKED_AT].lstrip().lower(), INSTEAD)


def _of_sign(beginning: bytes, signs: dict[bytes, Other]) -> Other | None:
    return next((other for sign, other in signs.items() if beginning.startswith(sign)), None)


def known_by_name(name: str) -> tuple[str, Other] | None:
    """The ending of a name that is no shard's, and what it stands for; None where not known."""
    return next((kind for kind in _ENDINGS.items() if name.lower().endswith(kind[0])), None)
