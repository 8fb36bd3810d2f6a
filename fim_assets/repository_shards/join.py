"""What is written around the texts of a repository's files, as its layout says."""

from collections.abc import Sequence
from typing import NamedTuple

from fim_assets.raw_shards.documents import Document
from fim_assets.recipe import Recipe
from fim_assets.recipe.repositories import Repositories
from fim_assets.repository_shards.comments import comment


class FileParts(NamedTuple):
    """A file as it stands in its document: all of it, one behind the other.

    `lead` is what stands before it, the repository's name and the separator; `header` its path as
    it is written before its text; `tail` what is written behind it.
    """

    lead: str
    header: str
    text: str
    tail: str


def opening(name: str | None, recipe: Recipe) -> str:
    """What names the repository before a document's first file, if anything does."""
    token = recipe.repository_token
    if name is None or token is None or recipe.repositories is None:
        return ""
    return f"{token}{name}{recipe.repositories.joined.line_feed}"


def join(files: Sequence[Document], name: str | None, recipe: Recipe) -> list[FileParts]:
    """Lay out the files of a document; `name` is None where neither it nor paths are written.

    Of a file without a path none is written.
    """
    layout = (recipe.repositories or Repositories()).joined
    joined = []
    for number, file in enumerate(files):
        lead = "" if number else opening(name, recipe)
        if layout.separator == "before" or (layout.separator == "between" and number):
            lead += recipe.fim.file_separator_token or ""
        header = ""
        if file.path is not None and name is not None and layout.paths is not None:
            written = file.path if layout.paths == "line" else comment(file.path, file.language)
            header = f"{written}\n"
        tail = layout.line_feed if number + 1 < len(files) else ""
        joined.append(FileParts(lead, header, file.text, tail))
    return joined
