"""Which documents are too long for a trainer's sequence, in the ids that the token stage writes.

A document's ids are those of what `segments` cuts it into, added up. So are they here, from the
same contents: a test holds both equal. Most documents need no encoding, since a text has no more
ids than bytes, unless the tokenizer changes texts.

A document of one file is as long as it will be once it is rearranged as drawn; whether it is drawn
must not matter, so that the files that fit are drawn at the rate asked for. One of several files
fits if it does whichever of them are drawn; and so does whatever may be divided.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fim_assets.cuts.base import CutError, Cuts
from fim_assets.cuts.files import Bools, Files
from fim_assets.draws import Ints
from fim_assets.fim_shards.arrangements import Parts, arranged
from fim_assets.fim_shards.segments import Segment, rearranged_file, unchanged_file
from fim_assets.recipe import Recipe
from fim_assets.tokenizer.contents import encode_runs
from fim_assets.tokenizer.controls import Content
from fim_assets.tokenizer.encoders import TokenIds, UnencodableTextError
from fim_assets.tokenizer.load import LoadedTokenizer

Names = npt.NDArray[np.object_]


class Fitting(NamedTuple):
    """What documents have to fit in: so many ids, under a recipe and its tokenizer."""

    recipe: Recipe
    tokenizer: LoadedTokenizer
    limit: int

    @property
    def ends(self) -> int:
        """Ids at a document's ends."""
        return self.recipe.tokens.tokenizer.head + 1

    @property
    def sentinels(self) -> int:
        """Ids that a rearranged file has besides its parts'."""
        return len(self.tokenizer.controls.sentinels)

    def of_leads(self, leads: Iterable[str]) -> list[int]:
        """Ids of what stands before each file."""
        runs = [self.tokenizer.controls.lead(lead) for lead in leads]
        return [sum(map(len, rows)) for rows in encode_runs(runs, self.tokenizer)]

    @property
    def divides(self) -> bool:
        """Whether documents that do not fit are divided."""
        return self.recipe.piece_tokens is not None

    def may_exceed(self, files: Files) -> Bools:
        """Documents that may not fit, by their bytes: shape (documents,)."""
        if self.tokenizer.vocabulary.lossy:
            return np.ones(files.count, np.bool_)
        sizes = [_bytes(text) for text in files.texts]
        around = [sum(map(_bytes, of_file)) for of_file in files.around]
        of_files = np.array(sizes, np.int64) + np.array(around, np.int64) + self.sentinels
        return np.bincount(files.documents, of_files, files.count) + self.ends > self.limit


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


class Longer(NamedTuple):
    """Which documents do not fit, shape (documents,).

    Where these are to be divided: the ids of their files as they came, by file, without those of
    what stands before it.
    """

    documents: Bools
    ids: dict[int, TokenIds]


def find_longer(
    files: Files, orders: Names, cuts: Cuts, in_question: Bools, fitting: Fitting
) -> Longer:
    """Find the documents that do not fit among those `in_question`, shape (documents,).

    `orders` and `cuts`, shape (files,), say how files are rearranged if they are drawn; the order
    is `none` for one that cannot be. Raises a CutError if the tokenizer cannot encode a
    text.
    """
    counts = np.bincount(files.documents, minlength=files.count)
    room = fitting.limit - fitting.ends
    can_be_drawn = orders != "none"
    asked = in_question[files.documents]
    # Of a file alone in its document that is not to be divided, only what it is drawn to counts.
    one_way = (counts == 1)[files.documents] & can_be_drawn & (not fitting.divides)
    sizes = np.zeros(len(files.texts), np.int64)
    ids: dict[int, TokenIds] = {}

    rows = np.flatnonzero(asked & ~one_way)
    fim, controls = fitting.recipe.fim, fitting.tokenizer.controls
    joined = fitting.recipe.repositories is not None
    leads = [controls.lead(files.around[row].lead) for row in rows.tolist()]
    sizes[rows] = _count(files, rows, leads, fitting)
    runs = [
        _of(unchanged_file(files.texts[row], around, fim, controls, joined=joined))
        for row in rows.tolist()
        for around in [files.around[row]._replace(lead="")]
    ]
    for row, encoded in zip(rows.tolist(), _encode(files, rows, runs, fitting), strict=True):
        sizes[row] += sum(map(len, encoded))
        if fitting.divides:
            ids[row] = np.concatenate(encoded)
    longer = np.bincount(files.documents, sizes, len(counts)) > room

    rows = np.flatnonzero(asked & can_be_drawn & ~longer[files.documents])
    contents = [_contents(files, orders, cuts, row, fitting) for row in rows.tolist()]
    # The longest part first: where it is too long alone, the others need no encoding.
    longest = [max(run, key=_length, default="") for run in contents]
    first = _count(files, rows, [[content] for content in longest], fitting)
    exceeds = one_way[rows] & (first > room)
    left = np.flatnonzero(~exceeds)
    rest = [_without(contents[row], longest[row]) for row in left.tolist()]
    first[left] += _count(files, rows[left], rest, fitting)
    sizes[rows] = np.maximum(sizes[rows], first)
    longer |= np.bincount(files.documents, sizes, len(counts)) > room
    return Longer(longer, {row: ids[row] for row in ids if longer[files.documents[row]]})


def _contents(files: Files, orders: Names, cuts: Cuts, row: int, fitting: Fitting) -> list[Content]:
    """What a file's ids are made of once it is rearranged as drawn."""
    text, first, second = files.texts[row], int(cuts.first[row]), int(cuts.second[row])
    parts = Parts(text[:first], text[first:second], text[second:])
    pieces = arranged(parts, orders[row], fitting.recipe.fim)
    return _of(rearranged_file(pieces, files.around[row], fitting.tokenizer.controls))


def _of(run: Iterable[Segment]) -> list[Content]:
    return [segment.content for segment in run]


def _length(content: Content) -> int:
    return len(content) if isinstance(content, str) else 0


def _without(run: list[Content], content: Content) -> list[Content]:
    at = next(n for n, other in enumerate(run) if other is content)
    return run[:at] + run[at + 1 :]


def _count(files: Files, rows: Ints, runs: Sequence[list[Content]], fitting: Fitting) -> Ints:
    sizes = [sum(map(len, encoded)) for encoded in _encode(files, rows, runs, fitting)]
    return np.array(sizes, np.int64)


def _encode(
    files: Files, rows: Ints, runs: Sequence[Iterable[Content]], fitting: Fitting
) -> list[list[TokenIds]]:
    try:
        return encode_runs(runs, fitting.tokenizer)
    except UnencodableTextError as error:
        advice = "take the document out of the raw shard, or shorten its runs of one character"
        raise CutError(int(files.documents[rows[error.index]]), f"{error}; {advice}") from error
