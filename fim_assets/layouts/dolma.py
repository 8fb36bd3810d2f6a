r"""The layout `dolma`, as `dolma tokens` writes it and OLMo-core reads it.

Documents of 3 and 2 tokens, the second without an id, `dtype: uint16`:

    a-00000.npy      01 00 02 00 03 00 04 00 05 00      ids; in spite of the name, no numpy header
    a-00000.csv.gz   0,3,a.py,fim_shards/a.jsonl.zst,1  start, end, id, FIM shard, line in it
                     3,5,,fim_shards/a.jsonl.zst,2

Rows have no heading and end in CR LF. Readers split lines, so that CR and LF in an id are written
`\r` and `\n`. The gzip header has no name and no time, so that equal rows are equal bytes.
"""

import csv
import gzip
from collections.abc import Sequence
from io import TextIOWrapper

from fim_assets.io.hashing import HashingWriter
from fim_assets.layouts.base import ArrayInfo, IndexEntry, Layout

_GZIP_LEVEL = 6


class _CsvIndex:
    def __init__(self, info: ArrayInfo, files: Sequence[HashingWriter]) -> None:
        self._source = info.source
        self._compressed = gzip.GzipFile("", "wb", _GZIP_LEVEL, files[0], mtime=0)
        self._text = TextIOWrapper(self._compressed, "utf-8", newline="")
        self._rows = csv.writer(self._text)

    def add(self, entry: IndexEntry) -> None:
        identifier = (entry.id or "").replace("\r", "\\r").replace("\n", "\\n")
        self._rows.writerow((entry.start, entry.end, identifier, self._source, entry.line))

    def close(self) -> None:
        self._text.close()
        self._compressed.close()


DOLMA = Layout("dolma", "OLMo-core", ".npy", (".csv.gz",), _CsvIndex, has_gaps=True, has_mix=True)
