"""Documents' previews as Markdown, for a partition's metadata.

Names stand in code spans and texts in fences, both longer than any run of backticks in them, so
that nothing in them is markup.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from fim_assets.fim_shards.arrangements import REARRANGED, Part
from fim_assets.preview.documents import (
    DocumentPreview,
    FilePreview,
    encode_segments,
    finished_documents,
)
from fim_assets.preview.excerpts import Limits, excerpt, shown_files, token_text
from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import Fim
from fim_assets.token_arrays.tokenize import segments
from fim_assets.tokenizer.load import LoadedTokenizer
from fim_assets.wording import plural, shown_name

MARKDOWN_BYTES = 12_000
"""What a preview takes at most in a partition's metadata."""

_MARKDOWN_BLOCKS = 4
_MARKDOWN_LIMITS = (
    Limits(files=4, lines=16, chars=1200),
    Limits(files=4, lines=16, chars=600),
    Limits(files=4, lines=16, chars=300),
    Limits(files=2, lines=8, chars=150),
    Limits(files=1, lines=8, chars=75),
    Limits(files=1, lines=4, chars=20),
)
"""Less and less, until it is small enough: a character can take 14 bytes."""

_MARKDOWN_TOKENS = (40, 40, 40, 24, 8, 8)
"""Tokens shown of a document with each of these limits."""

_MARKDOWN_ENCODED = 1 << 16
_SQUARES: dict[Part, str] = {"prefix": "🟦", "middle": "🟧", "suffix": "🟩"}


def preview_markdown(
    shard: Path, parquet: Path, recipe: Recipe, tokenizer: LoadedTokenizer | None
) -> str:
    """Three documents as Markdown: the first in PSM order, the first other in SPM, one left alone.

    Args:
        shard: The FIM shard, of which the first few MB are read.
        parquet: The parquet beside it.
        recipe: What made them.
        tokenizer: Encodes the first tokens that are shown; None shows none.

    Returns:
        Less than `MARKDOWN_BYTES` in UTF-8, whatever the documents hold.

    Raises:
        ShardError: If the shard's beginning is damaged.
    """
    found: dict[str, DocumentPreview] = {}
    for preview in finished_documents(shard, parquet, recipe, _MARKDOWN_BLOCKS):
        wanted: tuple[str, ...] = REARRANGED if preview.rearranged else ("none",)
        new = [order for order in wanted if order in preview.orders and order not in found]
        if new:
            found[new[0]] = preview
        if len(found) == 3:
            break
    chosen = [found[order] for order in ("psm", "spm", "none") if order in found]
    return to_markdown(chosen, recipe.fim, tokenizer)


def to_markdown(
    previews: Sequence[DocumentPreview], fim: Fim, tokenizer: LoadedTokenizer | None
) -> str:
    """A few documents as Markdown, see `preview_markdown`.

    Args:
        previews: Three documents at most.
        fim: What was done to them.
        tokenizer: As for `preview_markdown`.
    """
    if not previews:
        return "No document in the shard's beginning.\n"
    tokens = [_first_tokens(preview, fim, tokenizer) for preview in previews]
    markdown = ""
    for limits, most in zip(_MARKDOWN_LIMITS, _MARKDOWN_TOKENS, strict=True):
        shown = [its[:most] for its in tokens]
        documents = map(_document_markdown, previews, shown, [limits] * len(previews))
        markdown = "\n\n".join(chain.from_iterable(documents)) + "\n"
        if len(markdown.encode()) < MARKDOWN_BYTES:
            break
    return markdown


def _first_tokens(
    preview: DocumentPreview, fim: Fim, tokenizer: LoadedTokenizer | None
) -> list[str]:
    """The first tokens of a document, each as its id and text."""
    if tokenizer is None:
        return []
    rows = [file.row for file in preview.files]
    beginning = islice(segments(preview.text, rows, fim, tokenizer), _MARKDOWN_TOKENS[0])
    # So few tokens do not depend on what stands this far behind them.
    texts = (
        segment
        if isinstance(segment.content, int)
        else segment._replace(content=segment.content[:_MARKDOWN_ENCODED])
        for segment in beginning
    )
    ids = chain.from_iterable(segment.ids for segment in encode_segments(texts, tokenizer))
    return [f"{token} {token_text(token, tokenizer)}" for token in islice(ids, _MARKDOWN_TOKENS[0])]


def _document_markdown(
    preview: DocumentPreview, tokens: list[str], limits: Limits
) -> Iterator[str]:
    orders = [order.upper() for order in REARRANGED if order in preview.orders]
    identifier = "no id" if preview.id is None else f"id {code(preview.id)}"
    language = "no language" if preview.language is None else code(preview.language)
    kind = " and ".join(orders) or "Left alone"
    yield f"### {kind}: line {preview.line}, {identifier}, {language}"
    files = shown_files(preview.files, limits.files)
    rows = [
        "| file | order | split | reason | characters | prefix | middle | suffix |",
        "| --: | :-- | :-- | :-- | --: | --: | --: | --: |",
    ]
    for file in files:
        lengths = " | ".join(f"{length:,}" for length in file.row.lengths)
        names = f"{file.row.order} | {file.split or ''} | {file.reason or ''}"
        rows.append(f"| {file.file} | {names} | {file.row.chars:,} | {lengths} |")
    yield "\n".join(rows)
    if len(files) < len(preview.files):
        yield f"{plural(len(preview.files) - len(files), 'file')} not shown"
    for file in files:
        if len(preview.files) > 1:
            yield f"**File {file.file}**"
        yield from _file_markdown(file, limits)
    if tokens:
        lines = [" │ ".join(tokens[at : at + 8]) for at in range(0, len(tokens), 8)]
        yield f"**First {plural(len(tokens), 'token')}**"
        yield fenced("\n".join(lines))


def _file_markdown(file: FilePreview, limits: Limits) -> Iterator[str]:
    if not file.pieces:
        yield "⬜ as it came"
        yield fenced(_shortened(file.text, limits))
    label = ""
    for piece in file.pieces:
        if piece.part is None:
            label += f" {code(piece.text)}"
            continue
        yield f"{_SQUARES[piece.part]}{label} {piece.part}"
        yield fenced(_shortened(piece.text, limits))
        label = ""
    if label:
        yield f"⬛{label}"


def _shortened(text: str, limits: Limits) -> str:
    head, omitted, tail = excerpt(text or "(empty)", limits)
    return "\n".join([*head, f"… {plural(omitted, 'character')} …", *tail] if omitted else head)


def _fence(text: str, least: int) -> str:
    """Backticks, more than stand in a row in a text."""
    return "`" * max(least, 1 + max(map(len, re.findall("`+", text)), default=0))


def fenced(text: str, language: str = "text") -> str:
    """A block of text in which nothing is markup."""
    fence = _fence(text, 3)
    return f"{fence}{language}\n{text}\n{fence}"


def code(name: str) -> str:
    """An id, language or token in which nothing is markup."""
    text = shown_name(name)
    fence = _fence(text, 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text}{space}{fence}"
