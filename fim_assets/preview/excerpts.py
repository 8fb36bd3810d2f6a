"""What of a text is shown: its ends, with nothing in it that could act on what shows it."""

from collections.abc import Sequence
from typing import NamedTuple

from fim_assets.fim_shards.arrangements import Part
from fim_assets.preview.documents import FilePreview
from fim_assets.tokenizer.load import LoadedTokenizer
from fim_assets.wording import escape_control_characters, one_line

PART_COLOURS: dict[Part, str] = {"prefix": "#3f78e0", "middle": "#c96a00", "suffix": "#008f6b"}
"""Each has a contrast of 3.5 or more against black and against white, and the three differ to
colour-blind eyes."""

_BLANKS = " \t\n"
_TOKEN_CHARS = 20


class Limits(NamedTuple):
    """How much is shown of a document's files, and of each part."""

    files: int
    lines: int
    chars: int


class Excerpt(NamedTuple):
    """A text's lines, safe to show; of a long text the first and the last ones.

    Attributes:
        head: The first lines, or all.
        omitted: Characters left out.
        tail: The last lines where some are left out.
    """

    head: list[str]
    omitted: int
    tail: list[str]


def excerpt(text: str, limits: Limits) -> Excerpt:
    """What is shown of a text; white space at its ends is marked."""
    if len(text) <= limits.chars and text.count("\n") < limits.lines:
        lead = len(text) - len(text.lstrip(_BLANKS))
        trail = max(lead, len(text.rstrip(_BLANKS)))
        shown = (
            _marked(text[:lead])
            + escape_control_characters(text[lead:trail])
            + _marked(text[trail:])
        )
        return Excerpt(shown.removesuffix("\n").split("\n"), 0, [])
    half = limits.lines // 2
    head = "\n".join(text[: limits.chars // 2].split("\n")[:half])
    tail = "\n".join(text[-(limits.chars // 2) :].split("\n")[-half:])
    lead = len(head) - len(head.lstrip(_BLANKS))
    trail = len(tail.rstrip(_BLANKS))
    return Excerpt(
        (_marked(head[:lead]) + escape_control_characters(head[lead:])).split("\n"),
        len(text) - len(head) - len(tail),
        (escape_control_characters(tail[:trail]) + _marked(tail[trail:]))
        .removesuffix("\n")
        .split("\n"),
    )


def _marked(blanks: str) -> str:
    """White space at a part's edge, which would not be seen there otherwise."""
    return blanks.replace(" ", "·").replace("\t", "→").replace("\n", "↵\n")


def token_text(token: int, tokenizer: LoadedTokenizer) -> str:
    """What a token id stands for, shortened, on one line."""
    text = (tokenizer.vocabulary.token_bytes[token] or b"").decode("utf-8", "backslashreplace")
    return one_line(text, _TOKEN_CHARS).replace(" ", "·")


def shown_files(files: Sequence[FilePreview], most: int) -> list[FilePreview]:
    """So many files at most, in order; rearranged ones come before those left alone."""
    chosen = sorted(files, key=lambda file: file.row.order == "none")[:most]
    return sorted(chosen, key=lambda file: file.file)


def how_cut(file: FilePreview) -> str:
    """Which law cut a file, or why it was left alone."""
    if file.row.order == "none":
        return f"left alone: {file.reason}"
    fallback = f" as the fallback: {file.reason}" if file.reason else ""
    return f"cut by {file.split}{fallback}"
