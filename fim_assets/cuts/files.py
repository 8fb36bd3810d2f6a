"""The files of documents, as cut methods are given them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from fim_assets.draws import Ints, UInts

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Files:
    """The files of some documents, one after the other.

    Attributes:
        texts: Their texts, n.
        documents: Index of each file's document, shape (n,).
        indices: Index of each file in its document, shape (n,).
        lengths: Code points, shape (n,).
        keys: Key of each file's document, shape (n,).
        markers: Whether each file holds a repository token, shape (n,).
        languages: Language of each document, None where it names none.
        paths: Path of each document, None where it has none.
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
        """Cut documents at their separators.

        Args:
            texts: The documents' texts.
            keys: Their keys.
            languages: Their languages.
            paths: Their paths.
            separator: What stands between files; None: a document is one file.
            repository_tokens: What marks a file as a repository's metadata.
        """
        files: list[str] = []
        counts = np.ones(len(texts), np.int64)
        for document, text in enumerate(texts):
            if separator is None or separator not in text:
                files.append(text)
                continue
            pieces = text.split(separator)
            files += pieces
            counts[document] = len(pieces)
        documents = np.repeat(np.arange(len(texts)), counts)
        firsts = np.cumsum(counts) - counts
        markers = np.zeros(len(files), np.bool_)
        if repository_tokens:
            markers[:] = [any(token in text for token in repository_tokens) for text in files]
        return cls(
            texts=files,
            documents=documents,
            indices=np.arange(len(files)) - firsts[documents],
            lengths=np.fromiter(map(len, files), np.int64, len(files)),
            keys=keys[documents],
            markers=markers,
            languages=languages,
            paths=paths,
        )
