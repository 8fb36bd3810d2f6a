"""The files of documents, as cut methods are given them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from fim_assets.draws import Ints, UInts

Bools = npt.NDArray[np.bool_]


class Around(NamedTuple):
    """What stands around a file in its document, and is not cut with it.

    `lead` are what tells it from what is before, `header` its path, `tail` what is behind it.
    """

    lead: str = ""
    header: str = ""
    tail: str = ""


class JoinedFile(NamedTuple):
    """A file of a document of which it is known where its files are.

    `path_chars` are code points at its text's beginning that are its path.
    """

    text: str
    around: Around
    language: str | None
    path: str | None
    path_chars: int


@dataclass(frozen=True)
class Files:
    """The files of some documents, one after the other: n texts, and arrays of shape (n,).

    Attributes:
        documents: Index of each file's document; there are `count`.
        indices: Index of each file in its document.
        lengths: Code points.
        keys: Key of each file's document.
        markers: Whether each file holds a repository token.
        languages: Language of each file, by the name that decides (`Raw.language_key`), None where
            none is named; `paths` likewise.
        around: What stands around each file.
        path_chars: Code points at each file's beginning that are no code, but its path.
    """

    texts: list[str]
    documents: Ints
    count: int
    indices: Ints
    lengths: Ints
    keys: UInts
    markers: Bools
    languages: Sequence[str | None]
    paths: Sequence[str | None]
    around: Sequence[Around]
    path_chars: Ints

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
        marked = [any(token in text for token in repository_tokens) for text in files]
        documents, indices = _numbered([*map(len, pieces)])
        first, later = Around(), Around(lead=separator or "")
        return cls(
            texts=files,
            documents=documents,
            count=len(pieces),
            indices=indices,
            lengths=np.fromiter(map(len, files), np.int64, len(files)),
            keys=keys[documents],
            markers=np.array(marked, np.bool_),
            languages=[languages[document] for document in documents.tolist()],
            paths=[paths[document] for document in documents.tolist()],
            around=[later if index else first for index in indices.tolist()],
            path_chars=np.zeros(len(files), np.int64),
        )

    @classmethod
    def joined(cls, documents: Sequence[Sequence[JoinedFile]], keys: UInts) -> Self:
        """The files of documents of which it is known where these are."""
        files = [*chain.from_iterable(documents)]
        numbers, indices = _numbered([*map(len, documents)])
        return cls(
            texts=[file.text for file in files],
            documents=numbers,
            count=len(documents),
            indices=indices,
            lengths=np.fromiter((len(file.text) for file in files), np.int64, len(files)),
            keys=keys[numbers],
            markers=np.zeros(len(files), np.bool_),
            languages=[file.language for file in files],
            paths=[file.path for file in files],
            around=[file.around for file in files],
            path_chars=np.fromiter((file.path_chars for file in files), np.int64, len(files)),
        )


def _numbered(counts: list[int]) -> tuple[Ints, Ints]:
    """The index of each file's document, and the file's in it, by how many each document has."""
    documents = np.repeat(np.arange(len(counts)), counts)
    firsts = np.cumsum(counts, dtype=np.int64) - np.array(counts, np.int64)
    return documents, np.arange(len(documents), dtype=np.int64) - firsts[documents]
