"""How messages and pages write numbers and foreign text: nothing in it acts on a screen."""

from collections.abc import Collection
from itertools import islice

import humanize

NO_LANGUAGE = "(none named)"
"""Stands for the language of documents that name none."""

_NAME_CHARS = 60

_UNITS = {"T": 10**12, "B": 10**9, "M": 10**6, "k": 10**3}
"""Units of numbers that are shortened: thousands, millions, billions and trillions."""

_SHORTENED = 10**6


def plural(number: int, of: str) -> str:
    """A number of things: `1 document`, `1,024 documents`."""
    return f"{number:,} {of if number == 1 else several(of)}"


def about(number: int, of: str) -> str:
    """A number of things in few words: `1,888 documents`, `7.8 M tokens`."""
    short = number >= _SHORTENED
    return f"{short_number(number)} {several(of)}" if short else plural(number, of)


def several(of: str) -> str:
    """Several things: `documents`, `repositories`."""
    return f"{of[:-1]}ies" if of.endswith("ry") else f"{of}s"


def shortened(names: Collection[object], most: int = 8) -> str:
    """The first of several names, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(map(str, islice(names, most))) + more


def short_number(number: float) -> str:
    """A number in three digits at most: 96, 1.5 k, 25 k, 1.6 M."""
    for unit, size in _UNITS.items():
        units = number / size
        if round(units, 3) >= 1:
            digits = f"{units:.1f}".removesuffix(".0") if units < 100 else f"{units:.0f}"
            return f"{digits} {unit}"
    return f"{number:g}"


def file_size(count: float) -> str:
    """A number of bytes: `1.5 MB`."""
    return humanize.naturalsize(count, format="%.1f")


def escape_control_characters(text: str) -> str:
    """Text of which only line feeds and tabs still act on what shows it."""
    return text if text.isprintable() else "".join(map(_escape, text))


def escape_to_one_line(text: str) -> str:
    """The same on one line."""
    return escape_control_characters(text).replace("\n", "↵").replace("\t", "→")


def _escape(character: str) -> str:
    # Not printable are controls, marks that change the direction of writing or join characters, and
    # what Unicode has not assigned.
    if character in "\n\t" or character.isprintable():
        return character
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"‹U+{code:04X}›"


def one_line(text: str, chars: int) -> str:
    """The beginning of a text on one line."""
    shown = escape_to_one_line(text[:chars])
    return f"{shown}…" if len(text) > chars else shown


def shown_name(name: str) -> str:
    """An id, language or token on one line."""
    return one_line(name, _NAME_CHARS) or "(empty)"


def shown_language(language: str) -> str:
    """A document's language on one line."""
    return shown_name(language) if language else NO_LANGUAGE
