"""Which documents of a partition are compared with the reference tokenizer.

They are drawn by their keys, so that the sample is the same in every run.
"""

from operator import attrgetter, itemgetter
from typing import NamedTuple

import numpy as np

from fim_assets.draws import RandomStream, draw_bits
from fim_assets.fim_shards.record import FileRow, FimDocuments
from fim_assets.token_arrays.checks.spans import TokenSpan

SAMPLE_TOKENS = 1 << 14
"""Tokens of each partition that are compared with the reference's, about 64 kB of code."""

DOCUMENT_TOKENS = 1 << 18
"""Documents with more are not compared: the reference would take seconds for each."""


class SampledDocument(NamedTuple):
    """A document of a sample.

    Attributes:
        line: Its line in the raw shard.
        shard_line: Its line in the FIM shard.
        text: Its text there.
        files: Its files' rows.
        span: Its tokens.
    """

    line: int
    shard_line: int
    text: str
    files: list[FileRow]
    span: TokenSpan


class Sample:
    """The first documents in the order of their draws, until they have `SAMPLE_TOKENS`."""

    def __init__(self) -> None:
        self._drawn: list[tuple[int, SampledDocument]] = []
        self._last = np.uint64((1 << 64) - 1)

    @property
    def documents(self) -> list[SampledDocument]:
        """Those of the documents so far, in the FIM shard's order."""
        return sorted((document for _, document in self._drawn), key=attrgetter("shard_line"))

    def add(self, block: FimDocuments, spans: list[TokenSpan]) -> None:
        """Take the documents of one more block into account."""
        keys = np.array(block.draw_keys, np.uint64)
        draws = draw_bits(keys, np.zeros(1, np.int64), RandomStream.SAMPLE)
        numbers, texts = block.documents.numbers, block.documents.texts
        drawn = self._drawn
        for row in np.flatnonzero(draws <= self._last).tolist():
            line, files, span = block.raw_numbers[row], block.files[row], spans[row]
            document = SampledDocument(line, numbers[row], texts[row], files, span)
            drawn.append((int(draws[row]), document))
        self._drawn, tokens = [], 0
        for draw, document in sorted(drawn, key=itemgetter(0)):
            size = document.span.end - document.span.start
            if tokens < SAMPLE_TOKENS and size <= DOCUMENT_TOKENS:
                self._drawn.append((draw, document))
                tokens += size
        if tokens >= SAMPLE_TOKENS:
            self._last = np.uint64(self._drawn[-1][0])
