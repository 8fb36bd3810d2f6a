"""What is shown of a document, for every renderer: which of its files, and which ends of its texts.

Renderers add markup and colours. Nothing in an excerpt can act on what shows it but markup, which
each of them escapes in its own way; so must sentinels, ids and languages be, which stand here as
they are in the document.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fim_assets.fim_shards.arrangements import Beside, Part, Piece
from fim_assets.preview.documents import FilePreview
from fim_assets.tokenizer.load import LoadedTokenizer
from fim_assets.wording import escape_control_characters, one_line, plural

EMPTY = "(empty)"
"""Stands for a text without a character."""

PART_COLOURS: dict[str, str] = {"prefix": "#3f78e0", "middle": "#c96a00", "suffix": "#008f6b"}
"""Each has a contrast of 3.5 or more against black and against white, and the three differ to
colour-blind eyes."""

_BLANKS = " \t\n"
_TOKEN_CHARS = 20


class Limits(NamedTuple):
    """How much is shown: files of a document, and lines and characters of each text."""

    files: int
    lines: int
    chars: int


class Excerpt(NamedTuple):
    """A text's lines, safe to show: of a long one, between its ends, how much is left out."""

    head: Sequence[str]
    omitted: str | None = None
    tail: Sequence[str] = ()

    @property
    def lines(self) -> list[str]:
        """All that is shown, line by line."""
        return [*self.head, *([self.omitted] if self.omitted else []), *self.tail]


class ShownText(NamedTuple):
    """What is shown of a part or beside a file, or of an unchanged file, which is no part."""

    part: Part | Beside | None
    chars: int
    excerpt: Excerpt

    @property
    def name(self) -> str:
        """The part's name, or `unchanged`."""
        return self.part or "unchanged"


class ShownFile(NamedTuple):
    """A file of a document: `name` is `file 0 PSM`, `about` says how it was cut, and its length.

    `pieces` are its sentinels and parts in the order in which they stand, or the file itself.
    """

    file: FilePreview
    name: str
    about: str
    pieces: list[Piece | ShownText]

    @property
    def beside(self) -> tuple[list[str], list[str]]:
        """What stands before and behind it where a stage has joined it with others."""
        if not self.file.row.joined:
            return [], []
        lead, header, tail = self.file.around
        return [*filter(None, (lead, header))], [*filter(None, (tail,))]


def show_files(
    files: Sequence[FilePreview], limits: Limits, unchanged: Limits | None = None
) -> tuple[list[ShownFile], str]:
    """What is shown of a document's files, in order; rearranged ones come before unchanged ones.

    Limits of unchanged files may differ. How many files are not shown is a text, '' for none.
    """
    chosen = sorted(files, key=lambda file: file.order == "none")[: limits.files]
    omitted = len(files) - len(chosen)
    shown = [
        ShownFile(
            file,
            f"file {file.file} {file.order.upper()}".removesuffix(" NONE"),
            f"{_how_cut(file)}, {plural(file.row.chars, 'character')}",
            list(_shown_pieces(file, limits if file.pieces else unchanged or limits)),
        )
        for file in sorted(chosen, key=lambda file: file.file)
    ]
    return shown, f"{plural(omitted, 'file')} not shown" if omitted else ""


def _how_cut(file: FilePreview) -> str:
    """Which method cut a file, or why it is unchanged."""
    if file.order == "none":
        return f"unchanged: {file.reason}"
    fallback = f" as the fallback: {file.reason}" if file.reason else ""
    return f"cut by {file.split}{fallback}"


def _shown_pieces(file: FilePreview, limits: Limits) -> Iterator[Piece | ShownText]:
    if not file.pieces:
        yield show_text(file.text, None, limits)
    for piece in file.pieces:
        if piece.part is None:
            yield piece
        else:
            yield show_text(piece.text, piece.part, limits)


def show_text(text: str, part: Part | Beside | None, limits: Limits) -> ShownText:
    """What is shown of a part or beside a file, or of an unchanged file."""
    return ShownText(part, len(text), _excerpt(text, limits))


def _excerpt(text: str, limits: Limits) -> Excerpt:
    """What is shown of a text; white space at its ends is marked."""
    if not text:
        return Excerpt([EMPTY])
    if len(text) <= limits.chars and text.count("\n") < limits.lines:
        lead = len(text) - len(text.lstrip(_BLANKS))
        trail = max(lead, len(text.rstrip(_BLANKS)))
        middle = escape_control_characters(text[lead:trail])
        shown = _marked(text[:lead]) + middle + _marked(text[trail:])
        return Excerpt(shown.removesuffix("\n").split("\n"))
    half = limits.lines // 2
    head = "\n".join(text[: limits.chars // 2].split("\n")[:half])
    tail = "\n".join(text[-(limits.chars // 2) :].split("\n")[-half:])
    lead = len(head) - len(head.lstrip(_BLANKS))
    trail = len(tail.rstrip(_BLANKS))
    first = _marked(head[:lead]) + escape_control_characters(head[lead:])
    last = escape_control_characters(tail[:trail]) + _marked(tail[trail:])
    omitted = f"… {plural(len(text) - len(head) - len(tail), 'character')} …"
    return Excerpt(first.split("\n"), omitted, last.removesuffix("\n").split("\n"))


def _marked(blanks: str) -> str:
    """White space at a part's edge, which would not be seen there otherwise."""
    return blanks.replace(" ", "·").replace("\t", "→").replace("\n", "↵\n")


def token_text(token: int, tokenizer: LoadedTokenizer) -> str:
    """What a token id stands for, shortened, on one line."""
    text = (tokenizer.vocabulary.token_bytes[token] or b"").decode("utf-8", "backslashreplace")
    return one_line(text, _TOKEN_CHARS).replace(" ", "·")
