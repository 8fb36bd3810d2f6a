"""README and docs as tests see them: pages, sections and fenced blocks."""

import re
from pathlib import Path
from typing import NamedTuple

from fim_assets_tests.end_to_end.commands import REPOSITORY

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]

_PIECE = re.compile(
    r"^(?:## (?P<heading>[^\n]+)|```(?P<language>\w*)\n(?P<code>.*?)^```)$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """A fenced block.

    Attributes:
        section: The heading of level two that it stands under, empty above the first.
        language: What stands behind its fence: `sh`, `python` and `yaml` blocks are run or read by
            a test, a `text` block is what the block before it prints, and others are neither.
        code: What it holds.
    """

    section: str
    language: str
    code: str


def page(name: str) -> str:
    """A page's text, by its path in the repository."""
    return (REPOSITORY / name).read_text("utf-8")


def blocks(name: str, *languages: str) -> list[Block]:
    """A page's fenced blocks, of some languages or of all, in order."""
    found = []
    section = ""
    for piece in _PIECE.finditer(page(name)):
        if piece["heading"] is not None:
            section = piece["heading"]
        elif not languages or piece["language"] in languages:
            found.append(Block(section, piece["language"], piece["code"]))
    return found


def relative(path: Path) -> str:
    """A page's name."""
    return path.relative_to(REPOSITORY).as_posix()
