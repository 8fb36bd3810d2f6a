"""The walk over a source: its files in the order of their paths, with what stands above them.

A repository is the source itself, and each folder in it that holds `.git`; the rules of one mean
nothing in another. What is ignored is walked only to be counted.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from fim_assets.collect.rules import (
    Attributes,
    Rules,
    attributes_of,
    is_ignored,
    read_attributes,
    read_ignored,
)
from fim_assets.collect.sources import RULES_BYTES, Entry, Kind, Source
from fim_assets.errors import UserError

LINGUIST = frozenset({"linguist-vendored", "linguist-generated", "linguist-language"})
"""The attributes that say what Linguist would find out."""

_GIT = b".git"

_LICENSES = (rb"licen[sc]e", rb"copying", rb"unlicense")
_LICENSE = [re.compile(rb"(?i:%s)(?:[-._].*)?" % name, re.DOTALL) for name in _LICENSES]

_SCP = re.compile(r"(?:[^/@]+@)?[^/:@]{2,}:(.+)")
"""A remote as `git@host:org/name`; a single letter before the colon is a disk."""


@dataclass(frozen=True)
class Repository:
    """Where files are from: a name, and the name of the licence's file if there is one."""

    name: str
    license_file: str | None


class File(NamedTuple):
    """What the walk comes by, as far as its path tells.

    Attributes:
        place: Its path in the source.
        path: Its path in the repository.
        kind: What it is; a folder is here only if it cannot be read.
        attributes: What `.gitattributes` says of Linguist's rules.
    """

    place: bytes
    path: bytes
    kind: Kind
    repository: Repository
    ignored: bool
    attributes: Attributes


@dataclass(frozen=True)
class _Folder:
    place: bytes  # in the source; '' or with a slash behind
    root: bytes  # the repository's place
    repository: Repository
    ignored: bool = False
    ignore: tuple[Rules[bool], ...] = ()
    attributes: tuple[Rules[Attributes], ...] = ()


def walk(source: Source, output: bytes | None = None) -> Iterator[File]:
    """All files of a source, by the bytes of their places; `output` is a folder to pass over.

    A UserError is raised if a file of rules cannot be used.
    """
    outermost = _Folder(b"", b"", Repository(source.name, None))
    waiting: list[File | _Folder] = [outermost]
    while waiting:
        here = waiting.pop()
        if isinstance(here, File):
            yield here
            continue
        try:
            entries = source.entries(here.place.rstrip(b"/"))
        except PermissionError:
            if here is outermost:
                raise
            path = here.place[len(here.root) :]
            yield File(here.place, path, "folder", here.repository, here.ignored, {})
            continue
        if not here.ignored:
            here = _with_rules(source, here, entries)
        found = [
            _found(here, entry)
            for entry in sorted(entries, key=_order, reverse=True)
            if entry.name != _GIT and here.place + entry.name != output
        ]
        waiting += found


def _order(entry: Entry) -> bytes:
    """In this order of names, whole paths are in that of their bytes."""
    return entry.name + b"/" if entry.kind == "folder" else entry.name


def _found(here: _Folder, entry: Entry) -> "File | _Folder":
    place, is_folder = here.place + entry.name, entry.kind == "folder"
    path = place[len(here.root) :]
    ignored = here.ignored or is_ignored(path, here.ignore, folder=is_folder)
    if is_folder:
        return replace(here, place=place + b"/", ignored=ignored)
    attributes = {} if ignored else attributes_of(path, here.attributes)
    return File(place, path, entry.kind, here.repository, ignored, attributes)


def _with_rules(source: Source, here: _Folder, entries: list[Entry]) -> _Folder:
    """The folder as a repository if it is one, with the rules that begin here."""
    files = {entry.name for entry in entries if entry.kind == "file"}
    if not here.place or any(entry.name == _GIT for entry in entries):
        here = _Folder(here.place, here.place, _repository(source, here.place, entries, files))
    folder = here.place[len(here.root) :]
    if b".gitignore" in files:
        content = _rules(source, here.place + b".gitignore")
        here = replace(here, ignore=(*here.ignore, read_ignored(content, folder)))
    if b".gitattributes" in files:
        rules = read_attributes(_rules(source, here.place + b".gitattributes"), folder, LINGUIST)
        here = replace(here, attributes=(*here.attributes, rules))
    return here


def _rules(source: Source, place: bytes) -> bytes:
    content = source.read(place, RULES_BYTES)
    if content is None:
        shown = place.decode("utf-8", "replace")
        raise UserError(f"{shown} of {source.name} is over {RULES_BYTES:,} bytes: no file of rules")
    return content


def _repository(
    source: Source, place: bytes, entries: list[Entry], files: set[bytes]
) -> Repository:
    name = place.rstrip(b"/").rpartition(b"/")[2].decode("utf-8", "replace") or source.name
    git = place + _GIT
    if Entry(_GIT, "folder") in entries and Entry(b"config", "file") in source.entries(git):
        config = source.read(git + b"/config", RULES_BYTES) or b""
        name = name_of_origin(config) or name
    return Repository(name, license_file(files))


def name_of_origin(config: bytes) -> str | None:
    """The name of the remote `origin` in a Git configuration, as `org/name`.

    It is the path of the remote's URL; host and credentials are left out. A remote that is a folder
    of a machine has none.
    """
    section = ""
    for line in map(str.strip, config.decode("utf-8", "replace").split("\n")):
        if line.startswith("["):
            section = line
        name, equals, value = line.partition("=")
        if section == '[remote "origin"]' and equals and name.strip().lower() == "url":
            return _name_of(value.strip().strip('"'))
    return None


def _name_of(url: str) -> str | None:
    scheme, is_url, rest = url.partition("://")
    if is_url:
        path = re.split(r"[?#]", rest.partition("/")[2])[0] if scheme != "file" else ""
    else:
        scp = _SCP.fullmatch(url)
        path = scp[1] if scp else ""
    return path.strip("/").removesuffix(".git").rstrip("/") or None


def license_file(names: set[bytes]) -> str | None:
    """The licence's file among the names of files; of several, the first one as Git sorts them."""
    readable = sorted(name for name in names if name.isascii())
    of_kinds = ([n for n in readable if kind.fullmatch(n)] for kind in _LICENSE)
    return next((found[0].decode() for found in of_kinds if found), None)
