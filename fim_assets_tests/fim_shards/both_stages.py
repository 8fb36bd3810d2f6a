"""The documents of one block through the FIM stage and the token stage, without files."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
from hypothesis import strategies as st

from fim_assets.fim_shards.arrangements import Lengths
from fim_assets.fim_shards.record import (
    PART_CHARS,
    WHOLE,
    DocumentPiece,
    FileRow,
    FimDocuments,
    record_schema,
    restore_document,
)
from fim_assets.fim_shards.transform import transform_block
from fim_assets.raw_shards.shard_reader import Documents
from fim_assets.recipe import Recipe
from fim_assets.token_arrays.tokenize import encode_documents
from fim_assets.tokenizer.load import load_tokenizer

FRAGMENTS = [
    *("abc", "ab", " ", "\n", "\r\n", "\n\n    ", "def f(a, b):\n", "return a + b\n"),
    *("é", "e\u0301", "日本語", "👩\u200d👩\u200d👧", "𝒳", "ﬁ\u212b", "a" + "\u0301" * 9),
    *("<|fim_prefix|>", "<pre>", "<eos>", "x" * 40, "=" * 90, "\u3000" * 7),
]
"""What texts are made of: several bytes an id, several ids a byte's length, and graphemes."""


class Made(NamedTuple):
    """A document, or a piece of one, after both stages.

    Attributes:
        line: Its line in the FIM shard.
        original: Its text as it came.
        rows: Its files' rows in the FIM shard's parquet.
        ids: How many ids it has.
        of_files: How many of these each of its files has.
    """

    line: bytes
    original: str
    rows: list[dict[str, Any]]
    ids: int
    of_files: list[int]

    @property
    def reasons(self) -> list[str | None]:
        return [row["reason"] for row in self.rows]

    @property
    def piece(self) -> DocumentPiece:
        return DocumentPiece(*map(self.rows[0].get, DocumentPiece._fields, WHOLE))


def block_of(texts: Sequence[str], languages: Sequence[str | None] | None = None) -> Documents:
    """Documents whose ids are their numbers."""
    numbers, names = list(range(1, len(texts) + 1)), [f"{n}" for n in range(len(texts))]
    lines = [orjson.dumps({"id": n, "text": t}) for n, t in zip(names, texts, strict=True)]
    nothing: list[str | None] = [None] * len(texts)
    return Documents(numbers, [*lines], [*names], [*texts], [*(languages or nothing)], nothing)


def make(
    texts: Sequence[str], recipe: Recipe, languages: Sequence[str | None] | None = None
) -> list[Made]:
    """What becomes of documents, or of their pieces."""
    tokenizer = load_tokenizer(recipe)
    done = transform_block(block_of(texts, languages), 7, recipe, tokenizer)
    rows = pa.Table.from_pydict(done.rows, record_schema(recipe)).to_pylist()
    firsts = [n for n, row in enumerate(rows) if row["file"] == 0]
    of_documents = [rows[begin:end] for begin, end in pairwise([*firsts, len(rows)])]
    separator = len(recipe.fim.file_separator_token or "")
    files = [
        [
            FileRow(
                row["order"],
                row["chars"],
                Lengths(*map(row.get, PART_CHARS)),
                lead=separator if row["file"] else 0,
            )
            for row in group
        ]
        for group in of_documents
    ]
    lines = [bytes(line) for line in done.lines]
    fim_texts = [orjson.loads(line)["text"] for line in lines]
    block = FimDocuments(
        block_of(fim_texts),
        [group[0]["line"] for group in of_documents],
        [group[0]["draw_key"] for group in of_documents],
        files,
        [WHOLE] * len(files),
        [False] * len(files),
    )
    encoded = encode_documents(block, recipe.fim, tokenizer)
    sizes = iter((encoded.files["end"] - encoded.files["start"]).tolist())
    return [
        Made(
            line,
            restore_document(text, its_files, recipe.fim),
            group,
            ids,
            [next(sizes) for _ in group],
        )
        for line, text, its_files, group, ids in zip(
            lines,
            fim_texts,
            files,
            of_documents,
            encoded.documents["tokens"].tolist(),
            strict=True,
        )
    ]


def texts_of(*more: str) -> st.SearchStrategy[str]:
    """Texts of fragments, and of some more."""
    runs = st.tuples(st.sampled_from([*FRAGMENTS, *more]), st.integers(1, 8))
    return st.lists(runs, min_size=1, max_size=25).map(
        lambda some: "".join(fragment * times for fragment, times in some)
    )
