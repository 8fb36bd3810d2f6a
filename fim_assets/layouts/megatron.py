r"""The layout `megatron`: each document is a sequence, with its length and where it begins.

Source: Megatron-LM, `megatron/core/datasets/indexed_dataset.py`; `gpt_dataset.py` shuffles the
documents before it cuts sequences.

Documents of 3 and 2 tokens, `dtype: uint16`; all numbers little-endian:

    a-00000.bin   01 00 02 00 03 00 04 00 05 00   ids
    a-00000.idx   "MMIDIDX\0\0"                   9 bytes that name the format
                  1                               uint64: its version
                  8                               uint8: Megatron's code of the ids' type
                  2, 3                            uint64: sequences; bounds of documents
                  3, 2                            int32: each sequence's ids
                  0, 6                            int64: the byte at which each begins
                  0, 1, 2                         int64: the sequences at which documents begin,
                                                  and the number of all
"""

import struct
from array import array
from collections.abc import Sequence
from itertools import accumulate

from fim_assets.io.hashing import HashingWriter
from fim_assets.layouts.base import ArrayInfo, IndexEntry, Layout, little_endian

_CODES = {"<i4": 4, "<u2": 8}


class _SequenceIndex:
    def __init__(self, info: ArrayInfo, files: Sequence[HashingWriter]) -> None:
        self._info = info
        self._file = files[0]
        self._lengths = array("i")

    def add(self, entry: IndexEntry) -> None:
        self._lengths.append(entry.end - entry.start)

    def close(self) -> None:
        count, code = len(self._lengths), _CODES[self._info.id_type]
        begins = (tokens * self._info.id_bytes for tokens in accumulate(self._lengths, initial=0))
        pointers = array("q", begins)[:-1]
        self._file.write(struct.pack("<9sQBQQ", b"MMIDIDX", 1, code, count, count + 1))
        self._file.write(little_endian(self._lengths))
        self._file.write(little_endian(pointers))
        self._file.write(little_endian(array("q", range(count + 1))))


MEGATRON = Layout(
    "megatron",
    "Megatron-LM",
    ".bin",
    (".idx",),
    _SequenceIndex,
    id_types={"uint32": "<i4"},
    keeps_order=False,
)
