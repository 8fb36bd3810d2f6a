"""Documents' previews as Markdown, for a partition's metadata.

Names stand in code spans and texts in fences, both longer than any run of backticks in them, so
that nothing in them is markup.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from fim_assets.fim_shards.arrangements import REARRANGED, Piece
from fim_assets.fim_shards.segments import segments
from fim_assets.preview.documents import (
    BEGINNING_BLOCKS,
    DocumentPreview,
    encode_segments,
    finished_documents,
)
from fim_assets.preview.view import Limits, ShownFile, show_files, token_text
from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import Fim
from fim_assets.tokenizer.load import LoadedTokenizer
from fim_assets.wording import one_line, plural, shown_name

MARKDOWN_BYTES = 12_000
"""What a preview takes at most in a partition's metadata."""

OPEN_CHARS = 1000
"""The UI shows Markdown of fewer UTF-16 code units without a click."""

_OPEN_WIDTH = 60
_OPEN_SIZES = (
    *((Limits(files=1, lines=lines, chars=chars), 12) for lines, chars in ((8, 200), (4, 120))),
    *((Limits(files=1, lines=4, chars=chars), 4) for chars in (60, 20)),
    (Limits(files=1, lines=4, chars=2), 0),
)

_SIZES = (
    *((Limits(files=4, lines=16, chars=chars), 40) for chars in (1200, 600, 300)),
    (Limits(files=2, lines=8, chars=150), 24),
    (Limits(files=1, lines=8, chars=75), 8),
    (Limits(files=1, lines=4, chars=20), 8),
)
"""How much is shown, and how many tokens: less and less, until it is small enough. A character can
take 14 bytes."""

_MOST_TOKENS = 40
_ENCODED_CHARS = 1 << 16
_SQUARES = {"prefix": "🟦", "middle": "🟧", "suffix": "🟩", "unchanged": "⬜"}


class Preview(NamedTuple):
    """A few documents as Markdown, and the first of them in fewer than `OPEN_CHARS`."""

    example: str
    documents: str


def preview_markdown(
    shard: Path, parquet: Path, recipe: Recipe, tokenizer: LoadedTokenizer | None
) -> Preview:
    """Three documents as Markdown: the first in PSM order, the first other in SPM, one unchanged.

    Of the FIM shard the first few MB are read. First tokens are shown with a tokenizer. The result
    has less than `MARKDOWN_BYTES` in UTF-8, whatever the documents hold.

    Raises:
        ShardError: If the shard's beginning is damaged.
    """
    firsts: dict[str, DocumentPreview] = {}
    for preview in finished_documents(shard, parquet, BEGINNING_BLOCKS):
        wanted: tuple[str, ...] = REARRANGED if preview.rearranged else ("none",)
        new = [order for order in wanted if order in preview.orders and order not in firsts]
        if new:
            firsts[new[0]] = preview
        if len(firsts) == 3:
            break
    chosen = [firsts[order] for order in (*REARRANGED, "none") if order in firsts]
    tokens = [first_tokens(preview, recipe.fim, tokenizer) for preview in chosen if tokenizer]
    return Preview(to_open_markdown(chosen, tokens), to_markdown(chosen, tokens))


def to_markdown(previews: Sequence[DocumentPreview], tokens: Sequence[list[str]] = ()) -> str:
    """Three documents at most as Markdown, see `preview_markdown`; with `tokens`, those of each."""
    if not previews:
        return "No document in the shard's beginning.\n"
    markdown = ""
    for limits, most in _SIZES:
        documents = (
            _document_markdown(preview, first[:most], limits)
            for preview, first in zip(previews, tokens or [[]] * len(previews), strict=True)
        )
        markdown = "\n\n".join(chain.from_iterable(documents)) + "\n"
        if len(markdown.encode()) < MARKDOWN_BYTES:
            break
    return markdown


def to_open_markdown(previews: Sequence[DocumentPreview], tokens: Sequence[list[str]] = ()) -> str:
    """The first document in fewer than `OPEN_CHARS`: a file of it, and with `tokens` its first."""
    if not previews:
        return to_markdown(previews)
    markdown = ""
    for limits, most in _OPEN_SIZES:
        shown, _ = show_files(previews[0].files, limits)
        (file,) = shown
        kind = "Unchanged" if file.file.order == "none" else file.file.order.upper()
        parts = [
            f"**{kind}**, {previews[0].name}, {file.about}",
            *_file_markdown(file, _OPEN_WIDTH),
        ]
        if tokens and most:
            parts += ["**First tokens**", fenced(_token_lines(tokens[0][:most], 4))]
        markdown = "\n\n".join(parts) + "\n"
        if utf16_units(markdown) < OPEN_CHARS:
            break
    return markdown


def utf16_units(text: str) -> int:
    """How long a browser finds a text."""
    return len(text.encode("utf-16-le")) // 2


def first_tokens(preview: DocumentPreview, fim: Fim, tokenizer: LoadedTokenizer) -> list[str]:
    """The first tokens of a document, each as its id and text."""
    rows = [file.row for file in preview.files]
    beginning = islice(segments(preview.text, rows, fim, tokenizer), _MOST_TOKENS)
    # So few tokens do not depend on what stands this far behind them.
    texts = (
        segment
        if isinstance(segment.content, int)
        else segment._replace(content=segment.content[:_ENCODED_CHARS])
        for segment in beginning
    )
    ids = chain.from_iterable(segment.ids for segment in encode_segments(texts, tokenizer))
    return [f"{token} {token_text(token, tokenizer)}" for token in islice(ids, _MOST_TOKENS)]


def _document_markdown(
    preview: DocumentPreview, tokens: list[str], limits: Limits
) -> Iterator[str]:
    orders = [order.upper() for order in REARRANGED if order in preview.orders]
    identifier = "no id" if preview.id is None else f"id {code(preview.id)}"
    language = "no language" if preview.language is None else code(preview.language)
    kind = " and ".join(orders) or "Unchanged"
    yield f"### {kind}: {preview.name}, {identifier}, {language}"
    shown, omitted = show_files(preview.files, limits)
    rows = ["| file | order | split | reason | characters | prefix | middle | suffix |"]
    rows.append("| --: | :-- | :-- | :-- | --: | --: | --: | --: |")
    for file, *_ in shown:
        lengths = " | ".join(f"{length:,}" for length in file.lengths)
        names = f"{file.order} | {file.split or ''} | {file.reason or ''}"
        rows.append(f"| {file.file} | {names} | {file.row.chars:,} | {lengths} |")
    yield "\n".join(rows)
    if omitted:
        yield omitted
    for shown_file in shown:
        if len(preview.files) > 1:
            yield f"**File {shown_file.file.file}**"
        yield from _file_markdown(shown_file)
    if tokens:
        yield f"**First {plural(len(tokens), 'token')}**"
        yield fenced(_token_lines(tokens, 8))


def _token_lines(tokens: Sequence[str], of: int) -> str:
    return "\n".join(" │ ".join(tokens[at : at + of]) for at in range(0, len(tokens), of))


def _file_markdown(shown: ShownFile, width: int | None = None) -> Iterator[str]:
    """A file's sentinels and parts; with `width`, no line of these is longer."""
    before, behind = shown.beside
    label = "".join(f" {code(text)}" for text in before)
    for piece in shown.pieces:
        if isinstance(piece, Piece):
            label += f" {code(piece.text)}"
            continue
        yield f"{_SQUARES[piece.name]}{label} {piece.name}"
        lines = piece.excerpt.lines
        yield fenced("\n".join(lines if width is None else (one_line(n, width) for n in lines)))
        label = ""
    label += "".join(f" {code(text)}" for text in behind)
    if label:
        yield f"⬛{label}"


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
