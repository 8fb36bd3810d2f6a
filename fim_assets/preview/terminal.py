"""A document for the terminal, in colour: before it is written, and as an array holds it."""

from collections.abc import Iterator, Sequence

from rich.cells import chop_cells
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from fim_assets.fim_shards.arrangements import Lengths, Part
from fim_assets.preview.documents import DocumentPreview, EncodedSegment, FilePreview
from fim_assets.preview.excerpts import (
    PART_COLOURS,
    Limits,
    excerpt,
    how_cut,
    shown_files,
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
_PART = Limits(files=6, lines=16, chars=1000)
_LEFT_ALONE = Limits(files=6, lines=8, chars=500)
_SEGMENTS = 40
_TOKENS = 24


def render(preview: DocumentPreview, fim: Fim) -> RenderableType:
    """A document for the terminal: each file's cut as a picture, then the file as it will stand.

    Args:
        preview: The document.
        fim: What was done to it.
    """
    rows: list[RenderableType] = [_heading(preview)]
    following = 0
    for file in shown_files(preview.files, _PART.files):
        rows += [*_omitted_files(file.file - following), Text(), *_render_file(file, fim)]
        following = file.file + 1
    return Group(*rows, *_omitted_files(len(preview.files) - following))


def render_tokens(encoded: Sequence[EncodedSegment], tokenizer: LoadedTokenizer) -> RenderableType:
    """A document's tokens for the terminal: ids and what they stand for, controls by name.

    Args:
        encoded: The document's segments.
        tokenizer: What encoded them.
    """
    total = sum(len(segment.ids) for segment in encoded)
    controls = sum(segment.control for segment in encoded)
    rows: list[RenderableType] = [
        Text.assemble((plural(total, "token"), "bold"), f", {controls:,} of them placed by id")
    ]
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


def _heading(preview: DocumentPreview) -> RenderableType:
    language = "no language" if preview.language is None else shown_name(preview.language)
    return _Heading(f"line {preview.line:,}", preview.id, language)


class _Heading:
    """What tells a document from others; a long id is cut on a terminal, and nowhere else."""

    def __init__(self, name: str, identifier: str | None, *more: str) -> None:
        self._name, self._id, self._more = name, identifier, more

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        shown = shown_name if options.is_terminal else escape_to_one_line
        identifier = f"id {shown(self._id) or '(empty)'}" if self._id is not None else "no id"
        yield Text.assemble((self._name, "bold"), " · ", " · ".join([identifier, *self._more]))


def _omitted_files(count: int) -> list[RenderableType]:
    return [Text(), _indented(f"… {plural(count, 'file')} not shown …", _DIM)] if count else []


def _render_file(file: FilePreview, fim: Fim) -> Iterator[RenderableType]:
    if file.file and fim.file_separator_token is not None:
        yield Text(shown_name(fim.file_separator_token), _CONTROL)
    order = "" if file.row.order == "none" else f"  {file.row.order.upper()}"
    characters = plural(file.row.chars, "character")
    yield Text.assemble((f"file {file.file}{order}", "bold"), f"  {how_cut(file)}  {characters}")
    if not file.pieces:
        yield _PartRows(file.text, _LEFT_ALONE, Style())
        return
    parts = [piece.part for piece in file.pieces if piece.part is not None]
    yield _bar("original  ", file.row.lengths, list(PART_COLOURS))
    yield _bar("rearranged", file.row.lengths, parts)
    legend = [
        (f"{_GLYPHS[part]} {part} {getattr(file.row.lengths, part):,}", colour)
        for part, colour in PART_COLOURS.items()
    ]
    yield Text.assemble(" " * 14, Text("   ").join(Text(*entry) for entry in legend))
    for piece in file.pieces:
        if piece.part is not None:
            yield _PartRows(piece.text, _PART, Style.parse(PART_COLOURS[piece.part]))
        elif piece.sentinel is not None:
            tint = Style() if piece.sentinel == "end" else Style.parse(PART_COLOURS[piece.sentinel])
            yield _indented(shown_name(piece.text), tint + _CONTROL)


def _indented(text: str, style: Style) -> RenderableType:
    return Text.assemble("  ", (text, style), overflow="fold")


def _bar(label: str, lengths: Lengths, parts: Sequence[Part]) -> Text:
    """Parts in proportion, at least one cell for each that is not empty."""
    cells = {
        part: max(1, getattr(lengths, part) * _BAR_CELLS // sum(lengths))
        for part in parts
        if getattr(lengths, part)
    }
    cells[max(cells, key=cells.__getitem__)] += _BAR_CELLS - sum(cells.values())
    pictures = [
        (_GLYPHS[part] * cells[part], PART_COLOURS[part]) for part in parts if part in cells
    ]
    return Text.assemble(f"  {label}  ", *pictures)


class _PartRows:
    """A text, folded at the terminal's edge, with a bar beside it."""

    def __init__(self, text: str, limits: Limits, style: Style) -> None:
        head, omitted, tail = excerpt(text, limits)
        self._style = style
        self._lines = [(line.expandtabs(4), style) for line in head]
        if omitted:
            self._lines.append((f"… {plural(omitted, 'character')} …", _DIM))
        self._lines += [(line.expandtabs(4), style) for line in tail]
        if not text:
            self._lines = [("(empty)", _DIM)]

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
        self._cells = [
            [
                Segment(f" {token} ", _SHADES[place % 2] + _OF_IDS),
                Segment(f"{token_text(token, tokenizer)} ", _SHADES[place % 2]),
            ]
            for place, token in enumerate(shown)
        ]
        if len(shown) < len(ids):
            omitted = plural(len(ids) - len(shown), "token")
            self._cells.insert(half, [Segment(f" … {omitted} … ", _DIM)])
        if not ids:
            self._cells = [[Segment("(empty)", _DIM)]]

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

    Args:
        document: The document.
        number: Its number in the array.
        tokenizer: What decodes it.
        tokens: Whether ids are shown below each text.
    """
    rows: list[RenderableType] = [
        _Heading(
            f"document {number:,}",
            document.id,
            f"line {document.line:,} of the raw shard",
            f"tokens {document.start:,} to {document.end:,}",
            ", ".join(document.orders).upper(),
        )
    ]
    for part in document.parts:
        text = tokenizer.decode(part.ids).decode("utf-8", "backslashreplace")
        if part.control:
            rows.append(_indented(shown_name(text), _CONTROL))
        else:
            colour = Style() if part.part is None else Style.parse(PART_COLOURS[part.part])
            rows.append(_PartRows(text, _PART, colour))
        if tokens:
            rows.append(_TokenRows(part.ids.tolist(), tokenizer))
    return Group(*rows)
