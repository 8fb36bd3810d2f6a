"""The files of documents, as cut methods are given them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Self

import numpy as np
import numpy.typing as npt

from fim_assets.draws import Ints, UInts

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Files:
    """The files of some documents, one after the other: n texts, and arrays of shape (n,).

    Attributes:
        documents: Index of each file's document.
        indices: Index of each file in its document.
        lengths: Code points.
        keys: Key of each file's document.
        markers: Whether each file holds a repository token.
        languages: Language of each document, by the name that decides (`Raw.language_key`), None
            where it names none; `paths` likewise.
    """

    texts: list[str]
    documents: Ints
    indices: Ints
    lengths: Ints
    keys: UInts
    markers: Bools
    languages: Sequence[str | None]
    paths: Sequence[str | None]

    @classmethod
    def split(
        cls,
        texts: Sequence[str],
        keys: UInts,
        languages: Sequence[str | None],
        paths: Sequence[str | None],
        separator: str | None,
        repository_tokens: Sequence[str],
    ) -> Self:
        """Cut documents at their separators; without one, a document is one file.

        A file that holds a repository token is a repository's metadata.
        """
        pieces = [[text] if separator is None else text.split(separator) for text in texts]
        files = [*chain.from_iterable(pieces)]
        counts = np.fromiter(map(len, pieces), np.int64, len(pieces))
        documents = np.repeat(np.arange(len(texts)), counts)
        firsts = np.cumsum(counts) - counts
        indices = np.arange(len(files)) - firsts[documents]
        lengths = np.fromiter(map(len, files), np.int64, len(files))
        marked = [any(token in text for token in repository_tokens) for text in files]
        markers = np.array(marked, np.bool_)
        return cls(files, documents, indices, lengths, keys[documents], markers, languages, paths)
