"""Which files are one repository: a raw shard's documents, repository by repository.

Repositories come in the order of their first lines. Where their files lie anywhere in the shard,
its lines wait in a file, and memory holds a few numbers a line and the names of the repositories.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import NamedTuple

import numpy as np

from fim_assets.errors import ShardError
from fim_assets.io.shard_writer import Line
from fim_assets.raw_shards.documents import Document, name_in, read_document, replace_text
from fim_assets.raw_shards.shard_reader import ShardReader
from fim_assets.recipe import Recipe
from fim_assets.recipe.repositories import Repositories

_IN_MEMORY = 64 << 20


class Group(NamedTuple):
    """What makes files one document: the repository's name, and their language where it counts.

    The language is the name that decides, see `Raw.language_key`.
    """

    repository: str
    language: str | None = None


class File(NamedTuple):
    """A file of a repository: its line's number, what that holds, and the line without the text."""

    number: int
    document: Document
    member: bytes


class _Read(NamedTuple):
    """A file that was read: its line's number, and what that holds."""

    number: int
    document: Document


@dataclass
class Repository:
    """Files that are to be joined, in the order of their lines; one without a group is alone."""

    group: Group | None
    files: list[File] = field(default_factory=list)


def group_of(name: str | None, language: str | None, recipe: Recipe) -> Group | None:
    """What a file belongs to, by its repository's name and its language; None: it is alone."""
    if name is None:
        return None
    section = recipe.repositories or Repositories()
    return Group(
        name, recipe.raw.language_key(language) if language and section.by_language else None
    )


def repositories(
    reader: ShardReader, recipe: Recipe, section: Repositories, folder: Path
) -> Iterator[Repository]:
    """The repositories of a shard; `folder` takes what waits.

    Raises:
        ShardError: If a repository is larger than `max_repository_bytes`, or comes again where its
            files should be side by side.
    """
    files = _files(reader, recipe, section)
    if section.group == "neighbours":
        yield from _neighbours(files, reader, recipe.raw.text_field)
        return
    with SpooledTemporaryFile(_IN_MEMORY, "w+b", dir=str(folder)) as spool:
        numbers: dict[Group, int] = {}
        count = 0
        waiting = []
        for group, file, line in files:
            number = count if group is None else numbers.setdefault(group, count)
            count += number == count
            waiting.append((number, file.number, len(line)))
            spool.write(line)
        index = np.array(waiting, np.int64).reshape(-1, 3)
        del waiting
        ends = np.cumsum(index[:, 2])
        groups = {number: group for group, number in numbers.items()}
        order = np.argsort(index[:, 0], kind="stable")
        firsts = np.searchsorted(index[order, 0], np.arange(count + 1))
        for number in range(count):
            repository = Repository(groups.get(number))
            for row in order[firsts[number] : firsts[number + 1]].tolist():
                _, line_number, size = index[row].tolist()
                spool.seek(int(ends[row]) - size)
                line = spool.read(size)
                document = read_document(line, recipe.raw)
                member = replace_text(line, recipe.raw.text_field, "")
                repository.files.append(File(line_number, document, member))
            yield repository


def _files(
    reader: ShardReader, recipe: Recipe, section: Repositories
) -> Iterator[tuple[Group | None, _Read, Line]]:
    """Each file with its group and its line, while no group is too large."""
    name_field = recipe.repository_field
    sizes: dict[Group, int] = {}
    for block in reader:
        columns = block.numbers, block.lines, block.ids, block.texts, block.languages, block.paths
        for number, line, *document in zip(*columns, strict=True):
            file = _Read(number, Document(*document))
            name = name_in(line, name_field)
            group = group_of(name, file.document.language, recipe)
            if group is None:
                yield None, file, line
                continue
            size = sizes[group] = sizes.get(group, 0) + len(line)
            if size > section.max_repository_bytes:
                path, at = reader.place(number)
                raise ShardError(
                    f"line {at:,}: the repository {group.repository[:200]!r} has more than "
                    f"{section.max_repository_bytes:,} bytes, repositories.max_repository_bytes",
                    "raise it, since a repository is held in memory, or take some of its files out",
                    path,
                )
            yield group, file, line


def _neighbours(
    files: Iterator[tuple[Group | None, _Read, Line]], reader: ShardReader, text_field: str
) -> Iterator[Repository]:
    ended: dict[Group, int] = {}
    repository = Repository(None)
    for group, file, line in files:
        if group is None or group != repository.group:
            if repository.files:
                yield repository
            if repository.group is not None:
                ended[repository.group] = repository.files[-1].number
            repository = Repository(group)
        if group is not None and not repository.files and group in ended:
            path, at = reader.place(file.number)
            of = "" if group.language is None else f" ({group.language})"
            raise ShardError(
                f"line {at:,}: the repository {group.repository[:200]!r}{of} comes again; its "
                f"files ended at line {reader.place(ended[group])[1]:,}",
                "set repositories.group to shard, or sort the lines by repository first",
                path,
            )
        repository.files.append(File(*file, replace_text(line, text_field, "")))
    if repository.files:
        yield repository
