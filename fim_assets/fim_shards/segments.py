"""What a FIM document's ids are made of: texts that are encoded alone, and controls placed by id.

The token stage writes these ids; `fitting` counts them, to tell which documents are too long.
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from fim_assets.cuts.files import Around
from fim_assets.fim_shards.arrangements import Beside, Part, Piece, parse_arrangement
from fim_assets.fim_shards.record import FileRow, split_files
from fim_assets.recipe.fim import Fim
from fim_assets.tokenizer.controls import Content, Controls
from fim_assets.tokenizer.load import LoadedTokenizer
from fim_assets.tokenizer.paragraphs import paragraphs


class Segment(NamedTuple):
    """What is encoded alone, or placed: a text, or a control id.

    Attributes:
        file: Index of the file that it belongs to, None at a document's ends.
        part: The part of a rearranged file that it belongs to, or what it is beside its file; None
            for sentinels, and in a file that is left as it came.
    """

    content: Content
    file: int | None = None
    part: Part | Beside | None = None


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
    for index, (row, file, around) in enumerate(split_files(text, files, fim)):
        if row.order == "none":
            yield from unchanged_file(file, around, fim, controls, index, joined=row.joined)
        else:
            pieces = parse_arrangement(file, row.order, row.lengths, fim)
            yield from rearranged_file(pieces, around, controls, index)
    yield Segment(controls.eos)


def rearranged_file(
    pieces: Iterable[Piece], around: Around, controls: Controls, index: int = 0
) -> Iterator[Segment]:
    """What the ids of a rearranged file are made of, by its index in its document."""
    yield from _lead(around.lead, controls, index)
    if around.header:
        yield Segment(around.header, index, "header")
    for piece in pieces:
        yield Segment(content_of(piece, controls), index, piece.part)
    if around.tail:
        yield Segment(around.tail, index, "tail")


def unchanged_file(
    file: str, around: Around, fim: Fim, controls: Controls, index: int = 0, *, joined: bool
) -> Iterator[Segment]:
    """The same of a file that is left as it came: one text with its path and what is behind it.

    Repository tokens in it are controls, if they have ids, unless a stage has joined it.
    """
    yield from _lead(around.lead, controls, index)
    text = around.header + file + around.tail
    if joined or not fim.repository_tokens:
        yield Segment(text, index)
        return
    for piece in _at_tokens(text, fim):
        token = piece in fim.repository_tokens
        yield Segment(controls.boundary(piece) if token else piece, index)


def _lead(text: str, controls: Controls, index: int) -> Iterator[Segment]:
    """What stands before a file: the separator is its end, and all before that the name."""
    contents = controls.lead(text) if text else ()
    for number, content in enumerate(contents, 1):
        yield Segment(content, index, "separator" if number == len(contents) else "name")


def content_of(piece: Piece, controls: Controls) -> Content:
    """A piece of a rearranged file."""
    return piece.text if piece.sentinel is None else controls.sentinels[piece.sentinel]


def _at_tokens(text: str, fim: Fim) -> list[str]:
    """A text cut around repository tokens."""
    pieces = re.split(f"({'|'.join(map(re.escape, fim.repository_tokens))})", text)
    return [*filter(None, pieces)] or [""]
