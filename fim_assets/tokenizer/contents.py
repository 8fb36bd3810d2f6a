"""What ids are made of: texts that are encoded alone, and controls that are placed by id."""

from collections.abc import Iterable, Sequence

import numpy as np

from fim_assets.tokenizer.controls import Content
from fim_assets.tokenizer.encoders import TokenIds, UnencodableTextError
from fim_assets.tokenizer.load import LoadedTokenizer
from fim_assets.tokenizer.paragraphs import paragraphs


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
