"""The layout `datatrove`: where each document ends, and which tokenizer made the ids.

Source: datatrove, `TokenizedFile`; `DatatroveFileDataset` reads windows of `seq_len + 1` ids.

Documents of 3 and 2 tokens, `dtype: uint16`:

    a-00000.ds            01 00 02 00 03 00 04 00 05 00   ids
    a-00000.ds.index      3, 5                            uint64: one past each document's last id
    a-00000.ds.metadata   allenai/dolma2-tokenizer|2      tokenizer, bytes of an id
                          5                               ids
                          5.00 T                          the same for people; no line feed follows
    a-00000.ds.loss       00 00 01 01 01                  the label mask
"""

from array import array
from collections.abc import Sequence

import humanize

from fim_assets.io.hashing import HashingWriter
from fim_assets.layouts.base import ArrayInfo, IndexEntry, Layout, little_endian


class _EndsIndex:
    def __init__(self, info: ArrayInfo, files: Sequence[HashingWriter]) -> None:
        self._info = info
        self._index, self._metadata = files
        self._ends = array("Q")

    def add(self, entry: IndexEntry) -> None:
        self._ends.append(entry.end)

    def close(self) -> None:
        total = self._ends[-1]
        self._index.write(little_endian(self._ends))
        tokenizer = f"{self._info.tokenizer}|{self._info.id_bytes}"
        rows = [tokenizer, str(total), humanize.metric(total, unit="T")]
        self._metadata.write("\n".join(rows).encode())


DATATROVE = Layout(
    "datatrove",
    "datatrove",
    ".ds",
    (".ds.index", ".ds.metadata"),
    _EndsIndex,
    mask_ending=".ds.loss",
    mask_folder=None,
    identity=frozenset({"name_or_path"}),
    extra_tokens=1,
)
