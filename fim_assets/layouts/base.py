"""The contract of an array layout: the files of one token array, and how a trainer finds documents.

    a-00000.bin               [header] id id id …    `ending`, `header`, `id_types`
    a-00000.idx               where documents are    `index_endings`, `open_index`
    label_masks/a-00000.npy   0 0 1 …                `mask_ending`, `mask_folder`; if asked for

A layout is one module here, and one line in `registry.py`; where it is to write other bytes, the
number of the stage `token_arrays` is raised. Which documents go into which array, and which tokens
a label mask trains on, is the same in all layouts: see `token_arrays/arrays.py`. Recipes choose
layouts by name, so that nothing here knows recipes, nor loads numpy for them.
"""

import sys
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from fim_assets.io.hashing import HashingWriter


class ArrayInfo(NamedTuple):
    """What a layout's files may say of an array.

    `id_type` is as numpy names it (`<u4`), `source` the FIM shard's path below the data root,
    `tokenizer` the tokenizer's name or path, see `Layout.identity`.
    """

    id_type: str
    source: str
    tokenizer: str

    @property
    def id_bytes(self) -> int:
        """Bytes of an id."""
        return int(self.id_type[2:])


class IndexEntry(NamedTuple):
    """A document: tokens from `start` to before `end`, id, line in the FIM shard (1-based)."""

    start: int
    end: int
    id: str | None
    line: int


class IndexWriter(Protocol):
    """Writes the files next to an array that say where its documents are."""

    def add(self, entry: IndexEntry) -> None:
        """Take the next document."""

    def close(self) -> None:
        """Write what is not written yet; whoever created the files closes them."""


OpenIndex = Callable[[ArrayInfo, Sequence[HashingWriter]], IndexWriter]
"""Begins an array's index in one new file for each of `Layout.index_endings`."""

WriteHeader = Callable[[ArrayInfo, int], bytes]
"""An array's header, from the number of its ids."""


@dataclass(frozen=True)
class Layout:
    """An array layout.

    Attributes:
        name: How recipes name it.
        trainer: Who reads it.
        ending: How an array's name ends.
        index_endings: How the names of the files next to it end, in the order of being created.
        open_index: Writes these files.
        mask_ending: How the name of its label mask ends: one byte a token, 0 or 1, no header.
        mask_folder: The folder next to `token_arrays` that holds the masks; None: an array's own.
        id_types: Types of an id by a recipe's `tokens.dtype`, where they are not `<u2` and `<u4`.
        header_bytes: Bytes in front of the first id, the same number in every array.
        header: What they are; None where there are none.
        identity: Fields of `tokens.tokenizer` that stand in its files, which fingerprints therefore
            depend on.
        keeps_order: Whether its trainer cuts an array into sequences as it stands, or has an order
            of its own for documents.
        extra_tokens: Tokens that its trainer takes at once next to those of a sequence.
        has_gaps: Whether its index can leave out tokens between documents.
        has_mix: Whether its trainer reads `token_arrays/mix.txt`, a list of arrays as `label,path`.
    """

    name: str
    trainer: str
    ending: str
    index_endings: tuple[str, ...]
    open_index: OpenIndex
    mask_ending: str = ".npy"
    mask_folder: str | None = "label_masks"
    id_types: Mapping[str, str] = field(default_factory=dict)
    header_bytes: int = 0
    header: WriteHeader | None = None
    identity: frozenset[str] = frozenset()
    keeps_order: bool = True
    extra_tokens: int = 0
    has_gaps: bool = False
    has_mix: bool = False

    @property
    def endings(self) -> tuple[str, ...]:
        """How the names of all files of an array end."""
        return (self.ending, *self.index_endings, self.mask_ending)

    def id_type(self, dtype: str) -> str:
        """The type of an id on disk, as numpy names it, for a recipe's `tokens.dtype`."""
        return {"uint16": "<u2", "uint32": "<u4", **self.id_types}[dtype]

    def count_ids(self, file_bytes: int, id_bytes: int) -> int:
        """How many ids an array holds, by its size."""
        return (file_bytes - self.header_bytes) // id_bytes

    def mask_name(self, array: str) -> str:
        """The name of an array's label mask, as a receipt has it; see `PartitionFiles.output`."""
        name = array.removesuffix(self.ending) + self.mask_ending
        return name if self.mask_folder is None else f"{self.mask_folder}/{name}"


def little_endian(numbers: "array[int]") -> bytes:
    """The bytes of numbers, the lowest byte of each first."""
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()
