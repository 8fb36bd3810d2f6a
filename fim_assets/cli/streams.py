"""Standard output and error that show every text, whatever encoding the terminal has."""

import codecs
import os
import sys
from io import TextIOWrapper

_SHOWN_AS = {
    "…": "...",
    "–": "-",
    "—": "-",
    "·": "-",
    "→": "->",
    "↵": "\\n",
    "✓": "+",
    "✗": "x",
    "▌": "|",
    "█": "#",
    "▓": "%",
    "▒": "=",
    "░": ".",
    "‹": "<",
    "›": ">",
}
"""What the commands print themselves; of other characters the code point is shown."""

_HANDLER = "fim_assets.shown"


def show_every_character() -> None:
    """Have standard output and error replace what their encoding lacks, and not fail on it."""
    codecs.register_error(_HANDLER, _replace)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    refused = error.object[error.start : error.end]
    return "".join(
        _SHOWN_AS.get(c, c.encode("ascii", "backslashreplace").decode()) for c in refused
    ), error.end


def can_show(text: str) -> bool:
    """Whether standard output shows a text as it is."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def as_argument(text: str) -> bytes:
    """The bytes that give a text again where they are a command's argument, in any terminal.

    Raises:
        ValueError: If no argument can be this text, since the locale's encoding lacks a character.
    """
    try:
        return os.fsencode(text)
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{text!a}: the locale's encoding, {sys.getfilesystemencoding()}, lacks a character of "
            "this name, so that no command can be given it; set LC_ALL=C.UTF-8"
        ) from error
