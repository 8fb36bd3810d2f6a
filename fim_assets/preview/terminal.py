"""A document for the terminal, in colour: before it is written, and as an array holds it."""

from collections.abc import Iterator, Sequence

from rich.cells import chop_cells
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from fim_assets.fim_shards.arrangements import BESIDE, PARTS, Lengths, Part, Piece
from fim_assets.preview.documents import DocumentPreview, EncodedSegment
from fim_assets.preview.view import (
    EMPTY,
    PART_COLOURS,
    Limits,
    ShownFile,
    ShownText,
    show_files,
    show_text,
    token_text,
)
from fim_assets.recipe.fim import Fim
from fim_assets.token_arrays.reader import TokenDocument
from fim_assets.tokenizer.load import LoadedTokenizer
from fim_assets.wording import escape_to_one_line, plural, shown_name

_GLYPHS: dict[Part, str] = {"prefix": "░", "middle": "█", "suffix": "▒"}
_CONTROL = Style(bold=True, reverse=True)
_DIM = Style(dim=True)
_SHADES = (Style.parse("#ffffff on #262626"), Style.parse("#ffffff on #5c5c5c"))
_OF_IDS = Style(color="#c8c8c8")
_BAR_CELLS = 60
_LIMITS = Limits(files=6, lines=16, chars=1000)
_UNCHANGED = Limits(files=6, lines=8, chars=500)
_SEGMENTS, _TOKENS = 40, 24


def render(preview: DocumentPreview, fim: Fim) -> RenderableType:
    """A document for the terminal: each file's cut as a picture, then the file as it will stand."""
    language = "no language" if preview.language is None else shown_name(preview.language)
    rows: list[RenderableType] = [_Heading(preview.name, preview.id, language)]
    shown, omitted = show_files(preview.files, _LIMITS, _UNCHANGED)
    for file in shown:
        rows += [Text(), *_render_file(file, fim)]
    return Group(*rows, *([Text(), _indented(omitted, _DIM)] if omitted else []))


def render_tokens(encoded: Sequence[EncodedSegment], tokenizer: LoadedTokenizer) -> RenderableType:
    """A document's tokens for the terminal: ids and what they stand for, controls by name."""
    total = sum(len(segment.ids) for segment in encoded)
    controls = sum(segment.control for segment in encoded)
    placed = f", {controls:,} of them sentinels, EOS and other controls, placed by id"
    rows: list[RenderableType] = [Text.assemble((plural(total, "token"), "bold"), placed)]
    for segment in encoded[:_SEGMENTS]:
        if segment.control:
            token = segment.ids[0]
            rows.append(_indented(f" {token} {token_text(token, tokenizer)} ", _CONTROL))
        else:
            rows.append(_TokenRows(segment.ids, tokenizer))
    omitted = sum(len(segment.ids) for segment in encoded[_SEGMENTS:])
    if omitted:
        rows.append(_indented(f"… {plural(omitted, 'token')} …", _DIM))
    return Group(*rows)


class _Heading:
    """What tells a document from others; a long id is cut on a terminal, and nowhere else."""

    def __init__(self, name: str, identifier: str | None, *more: str) -> None:
        self._name, self._id, self._more = name, identifier, more

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        shown = shown_name if options.is_terminal else escape_to_one_line
        identifier = f"id {shown(self._id) or EMPTY}" if self._id is not None else "no id"
        yield Text.assemble((self._name, "bold"), " · ", " · ".join([identifier, *self._more]))


def _render_file(shown: ShownFile, fim: Fim) -> Iterator[RenderableType]:
    number, lengths = shown.file.file, shown.file.lengths
    before, behind = shown.beside
    if number and fim.file_separator_token is not None and not shown.file.row.joined:
        before = [fim.file_separator_token]
    for text in before:
        yield Text(shown_name(text), _CONTROL)
    yield Text.assemble((shown.name, "bold"), f": {shown.about}")
    parts = [piece.part for piece in shown.file.pieces if piece.part is not None]
    if parts:
        yield _bar("original  ", lengths, PARTS)
        yield _bar("rearranged", lengths, parts)
        legend = (
            Text(f"{_GLYPHS[part]} {part} {getattr(lengths, part):,}", PART_COLOURS[part])
            for part in PARTS
        )
        yield Text.assemble(" " * 14, Text("   ").join(legend))
    for piece in shown.pieces:
        if isinstance(piece, Piece):
            yield _indented(shown_name(piece.text), _style(piece.sentinel) + _CONTROL)
        else:
            yield _TextRows(piece, _style(piece.part))
    for text in behind:
        yield Text(shown_name(text), _CONTROL)


def _style(name: str | None) -> Style:
    """The colour of a part or its sentinel, none for another text."""
    return Style(color=PART_COLOURS.get(name or ""))


def _indented(text: str, style: Style) -> RenderableType:
    return Text.assemble("  ", (text, style), overflow="fold")


def _bar(label: str, lengths: Lengths, parts: Sequence[Part]) -> Text:
    """Parts in proportion, at least one cell for each that is not empty."""
    chars = {part: getattr(lengths, part) for part in parts if getattr(lengths, part)}
    cells = {part: max(1, n * _BAR_CELLS // sum(lengths)) for part, n in chars.items()}
    cells[max(cells, key=cells.__getitem__)] += _BAR_CELLS - sum(cells.values())
    pictures = [(_GLYPHS[part] * n, PART_COLOURS[part]) for part, n in cells.items()]
    return Text.assemble(f"  {label}  ", *pictures)


class _TextRows:
    """A text, folded at the terminal's edge, with a bar at its left."""

    def __init__(self, text: ShownText, style: Style) -> None:
        self._style = style
        shown = style if text.chars else _DIM
        head, omitted, tail = text.excerpt
        self._lines = [(line.expandtabs(4), shown) for line in head]
        self._lines += [(omitted, _DIM)] if omitted is not None else []
        self._lines += [(line.expandtabs(4), shown) for line in tail]

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        for line, style in self._lines:
            for row in chop_cells(line, max(2, options.max_width - 4)) or [""]:
                yield Segment("  ▌ ", self._style)
                yield Segment(row, style)
                yield Segment.line()


class _TokenRows:
    """A segment's tokens, alternately shaded, as many in a row as fit."""

    def __init__(self, ids: list[int], tokenizer: LoadedTokenizer) -> None:
        half = _TOKENS // 2
        shown = ids if len(ids) <= _TOKENS else [*ids[:half], *ids[-half:]]
        self._cells = []
        for index, token in enumerate(shown):
            shade, text = _SHADES[index % 2], f"{token_text(token, tokenizer)} "
            self._cells.append([Segment(f" {token} ", shade + _OF_IDS), Segment(text, shade)])
        if len(shown) < len(ids):
            omitted = plural(len(ids) - len(shown), "token")
            self._cells.insert(half, [Segment(f" … {omitted} … ", _DIM)])
        if not ids:
            self._cells = [[Segment(EMPTY, _DIM)]]

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        used = 0
        for cell in self._cells:
            size = sum(segment.cell_length for segment in cell)
            if not used or used + size > options.max_width:
                if used:
                    yield Segment.line()
                yield Segment("    ")
                used = 4
            yield from cell
            used += size
        yield Segment.line()


def render_document(
    document: TokenDocument, number: int, tokenizer: LoadedTokenizer, *, tokens: bool
) -> RenderableType:
    """A document of an array for the terminal, decoded: its parts in colour, controls by name.

    `number` is the document's in the array; with `tokens`, ids are shown below each text.
    """
    line = f"line {document.line:,} of the raw shard"
    if document.pieces > 1:
        line += f", piece {document.piece + 1:,} of {document.pieces:,}"
    tokens_at = f"tokens {document.start:,} to {document.end:,}"
    orders = ", ".join(
        "not rearranged" if order == "none" else order.upper() for order in document.orders
    )
    heading = _Heading(f"document {number:,}", document.id, line, tokens_at, orders)
    rows: list[RenderableType] = [heading]
    for part in document.parts:
        text = tokenizer.decode(part.ids).decode("utf-8", "backslashreplace")
        if part.part in BESIDE:
            rows.append(Text.assemble(f"{part.part} ", (shown_name(text), _CONTROL)))
        elif part.control:
            rows.append(_indented(shown_name(text), _CONTROL))
        else:
            rows.append(_TextRows(show_text(text, part.part, _LIMITS), _style(part.part)))
        if tokens:
            rows.append(_TokenRows(part.ids.tolist(), tokenizer))
    return Group(*rows)
