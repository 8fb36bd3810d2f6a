"""What is harmed and what is expected, by numbers: a message's wording may change."""

import re
from collections.abc import Callable
from typing import Any

import polars as pl

from fim_assets.token_arrays.shuffle_buffer import Ids
from fim_assets_tests.token_arrays.edits import Partition

ONE_EOS = "one_eos_per_document"
VOCABULARY = "ids_in_vocabulary"
GRAMMAR = "sentinel_grammar"
LOST = "nothing_lost"
DECODES = "decodes_to_fim_text"
ALIGNED = "aligned"
REFERENCE = "matches_reference_tokenizer"
FITS = "fits_context"
ALL = [ONE_EOS, VOCABULARY, GRAMMAR, LOST, DECODES, REFERENCE]
"""Those that apply to every recipe."""

REPOSITORY, SHORT, PSM, SPM = 1, 2, 4, 5
"""Lines of the raw shard of `conftest.ROWS`: of four files, unchanged, PSM and SPM order."""

LAST = 24
"""The last line of the raw shard."""

Fault = Callable[[Partition], dict[str, str]]
"""Harms a partition; which checks find it, and what they say."""


NO_EOS = "a-00000.npy: EOS "
NO_BOS = "a-00000.npy: BOS "


COVER = "a-00000.npy: … not cover … "
OTHER_FILES = "other files … fim_shards/a.parquet"


class Document:
    """A document of a partition that is not harmed yet."""

    def __init__(self, partition: Partition, line: int) -> None:
        (row,) = partition.table().filter(pl.col("line") == line).iter_rows(named=True)
        self.array: str = row["array"]
        self.line = line
        self.start: int = row["start"]
        self.end: int = row["end"]
        self.files: list[dict[str, Any]] = row["files"]
        lines = partition.table()["line"].sort().to_list()
        self.shard_line = lines.index(line) + 1

    @property
    def other_text(self) -> str:
        return f"{self.array}: tokens {self.start} to {self.end} decode … line {self.shard_line} "

    def undecodable(self, why: str) -> str:
        span = f"{self.array}: tokens {self.start} to {self.end}"
        return f"{span} do not decode … {why} … line {self.shard_line} "

    @property
    def other_ids(self) -> str:
        return f"{self.array}: tokens {self.start} to {self.end} … line {self.shard_line} "

    def sentinel(self, at: int) -> str:
        span = f"tokens {self.start} to {self.end} … line {self.line} "
        return f"{self.array}: … {span} … sentinel … token {at}"

    @property
    def missing(self) -> str:
        return f"line {self.shard_line} … in no array"


def holds(message: str, words: str) -> bool:
    """Whether a message has these words in order; `…` stands for any others."""
    return re.search(".*".join(map(re.escape, words.split(" … "))), message) is not None


def put(partition: Partition, at: int, *values: int) -> None:
    def edit(ids: Ids) -> None:
        ids[at : at + len(values)] = values

    partition.edit_ids(edit)


def swap(partition: Partition, one: int, other: int) -> None:
    def edit(ids: Ids) -> None:
        assert ids[one] != ids[other]
        ids[[one, other]] = ids[[other, one]]

    partition.edit_ids(edit)


def assert_found(partition: Partition, expected: dict[str, str]) -> None:
    """Exactly these checks fail, with messages that hold these words, in order."""
    found = partition.token_faults()
    assert found.keys() == expected.keys(), found
    for name, words in expected.items():
        assert holds(found[name], words)
    assert not (partition.root / "token_arrays" / "a.json").exists()
