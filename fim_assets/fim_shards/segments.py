"""What a FIM document's ids are made of: texts that are encoded alone, and controls placed by id.

The token stage writes these ids; `fitting` counts them, to tell which documents are too long.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fim_assets.fim_shards.arrangements import Part, Piece, parse_arrangement
from fim_assets.fim_shards.record import FileRow, split_files
from fim_assets.recipe.fim import Fim
from fim_assets.tokenizer.controls import Controls
from fim_assets.tokenizer.encoders import TokenIds, UnencodableTextError
from fim_assets.tokenizer.load import LoadedTokenizer
from fim_assets.tokenizer.paragraphs import paragraphs

Content = int | str
"""A control's id, or a text."""


class Segment(NamedTuple):
    """What is encoded alone, or placed: a text, or a control id.

    Attributes:
        file: Index of the file that it belongs to; None between files and at a document's ends.
        part: The part that it belongs to, None where it is no part of a rearranged file.
    """

    content: Content
    file: int | None = None
    part: Part | None = None


def segments(
    text: str, files: list[FileRow], fim: Fim, tokenizer: LoadedTokenizer
) -> Iterator[Segment]:
    """What a document's ids are made of, in order.

    A text that disagrees with its files' rows raises a ValueError.
    """
    for segment in _segments(text, files, fim, tokenizer.controls):
        if tokenizer.paragraphs and isinstance(segment.content, str):
            for paragraph in paragraphs(segment.content):
                yield segment._replace(content=paragraph)
        else:
            yield segment


def _segments(text: str, files: list[FileRow], fim: Fim, controls: Controls) -> Iterator[Segment]:
    if controls.bos is not None:
        yield Segment(controls.bos)
    for index, (row, file) in enumerate(split_files(text, files, fim)):
        if index and fim.file_separator_token is not None:
            yield Segment(separator(fim, controls))
        if row.order != "none":
            for piece in parse_arrangement(file, row.order, row.lengths, fim):
                yield Segment(content_of(piece, controls), index, piece.part)
        else:
            for content in unchanged_file(file, fim, controls):
                yield Segment(content, index)
    yield Segment(controls.eos)


def separator(fim: Fim, controls: Controls) -> Content:
    """What stands between the files of a document."""
    token = fim.file_separator_token or ""
    return controls.boundaries.get(token, token)


def content_of(piece: Piece, controls: Controls) -> Content:
    """A piece of a rearranged file."""
    return piece.text if piece.sentinel is None else controls.sentinels[piece.sentinel]


def unchanged_file(file: str, fim: Fim, controls: Controls) -> Iterable[Content]:
    """A file that is left as it came: repository tokens in it are controls, if they have ids."""
    if not fim.repository_tokens:
        return (file,)
    pieces = re.split(f"({'|'.join(map(re.escape, fim.repository_tokens))})", file)
    return [controls.boundaries.get(piece, piece) for piece in filter(None, pieces)] or [""]


def encode_runs(
    runs: Sequence[Iterable[Content]], tokenizer: LoadedTokenizer
) -> list[list[TokenIds]]:
    """The ids of each run of contents, row by row: a row a control, and a row a text.

    An UnencodableTextError is raised with the index of the run.
    """
    texts: list[str] = []
    owners: list[int] = []
    encoded: list[list[TokenIds | None]] = []
    for number, run in enumerate(runs):
        rows: list[TokenIds | None] = []
        for content in run:
            if isinstance(content, int):
                rows.append(np.array([content], np.uint32))
                continue
            pieces = paragraphs(content) if tokenizer.paragraphs else [content]
            texts += pieces
            owners += [number] * len(pieces)
            rows += [None] * len(pieces)
        encoded.append(rows)
    try:
        ids = iter(tokenizer.encoder.encode(texts))
    except UnencodableTextError as error:
        error.index = owners[error.index]
        raise
    return [[next(ids) if row is None else row for row in rows] for rows in encoded]
