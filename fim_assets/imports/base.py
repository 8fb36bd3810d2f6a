"""What a language's rules of importing are: the contract that each module of a language keeps.

A language is a module here that defines one `ImportRules`, and a line of `registry`. Its `read`
runs in the process that parses, its `resolve` in the pipeline's, with a `FileIndex` that holds the
files of the language and nothing of the disk.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple, TypeVar

_Derived = TypeVar("_Derived")
_Key = TypeVar("_Key")


class Import(NamedTuple):
    """What a file names of other files, or declares of its own.

    Attributes:
        kind: A word of the language's module: "relative", "include"; for a declaration, "package".
        target: What is named, as the language's module writes it.
        names: What is taken from it, where the language names that.
    """

    kind: str
    target: str
    names: tuple[str, ...] = ()


class Match(NamedTuple):
    """A match of a language's query.

    Attributes:
        start: Where its first capture begins, in bytes: matches of one statement can share it.
        texts: The text of each node that was captured, by the capture's name.
    """

    start: int
    texts: Mapping[str, Sequence[str]]

    def text(self, capture: str) -> str:
        """The text of the one node of a capture, empty where there is none."""
        return next(iter(self.texts.get(capture, ())), "")


@dataclass(frozen=True, eq=False)
class ImportRules:
    """How files of a language, or of several that import each other, name their files.

    Attributes:
        queries: The tree-sitter query of each grammar, by the first of its names in `GRAMMARS`.
            Text predicates (`#eq?`) work.
        read: Makes imports of the query's matches; it depends on nothing else.
        resolve: Given a repository, one of its files, and what `read` made of that: the files that
            each import means, none where it means no file of the repository, and None where it is
            a declaration. The file itself may be among them, and counts for nothing.
        words: Words of which the first node of every pattern holds one where it matches, so that
            the query need not look elsewhere; where none are given, it looks everywhere.
        names: The names that a source uses, for languages in which a file need not import all that
            it depends on. They are the last of its imports, of the kind "names".
    """

    queries: Mapping[str, str]
    read: Callable[[Sequence[Match]], list[Import]]
    resolve: Callable[["FileIndex", int, Sequence[Import]], Sequence[Collection[int] | None]]
    words: tuple[str, ...] = ()
    names: Callable[[bytes], tuple[str, ...]] | None = None


def normalised(path: str | None) -> str:
    """A path from the repository's root, without `.` and `..` where that is possible.

    A file without a path lies in a folder of its own outside of the repository.

    >>> normalised("/src/./a/../b.py"), normalised("../b.py"), normalised(None)
    ('src/b.py', '../b.py', '../')
    """
    return joined("", (path or "").strip()) or "../"


def joined(folder: str, path: str) -> str:
    """What a path names in a folder, normalised; the root is the empty text.

    >>> joined("a/b", "../c/./d.h"), joined("a", ".."), joined("a", "../..")
    ('a/c/d.h', '', '..')
    """
    parts: list[str] = []
    for part in f"{folder}/{path}".split("/"):
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part not in {"", "."}:
            parts.append(part)
    return "/".join(parts)


def folder_of(path: str) -> str:
    """The folder that a path lies in; the root is the empty text."""
    return path.rpartition("/")[0]


def folders_above(path: str) -> list[str]:
    """The folder that a path lies in, the one that this lies in, and so on to the root."""
    folders = []
    while path:
        path = folder_of(path)
        folders.append(path)
    return folders


class FileIndex:
    """The files of one language of a repository, by paths and declarations; all are indices.

    Every lookup gives files in the order of their paths, folder by folder, and all files of a path
    that several have. A file outside of the root, or without a path, is found by no path.

    Attributes:
        paths: Of all files of the repository, `normalised`.
        imports: What each file of the language imports and declares.
    """

    def __init__(
        self, paths: Sequence[str], texts: Sequence[str], imports: Mapping[int, Sequence[Import]]
    ) -> None:
        self.paths = paths
        self.imports = imports
        self._texts = texts
        self._parts = {file: tuple(paths[file].split("/")) for file in imports}
        self._files = sorted(imports, key=lambda file: (self._parts[file], file))
        self._inside = [file for file in self._files if self._parts[file][0] != ".."]
        self._derived: dict[Callable[..., Any], Any] = {}

    def of(self, derive: "Callable[[FileIndex], _Derived]") -> _Derived:
        """What a function makes of the repository, made once."""
        if derive not in self._derived:
            self._derived[derive] = derive(self)
        derived: _Derived = self._derived[derive]
        return derived

    def at(self, path: str) -> Sequence[int]:
        """The files of a path, normalised."""
        return self._by_path.get(path, ())

    def inside(self, folder: str) -> Sequence[int]:
        """The files that lie right in a folder."""
        return self._by_folder.get(folder, ())

    def has_folder(self, folder: str) -> bool:
        """Whether a file lies in a folder, or in one below it."""
        return folder in self._folders

    def ending(self, path: str) -> Sequence[int]:
        """The files whose paths end in these folders and this name, as whole words."""
        return self._ends.find(path)

    def folders_ending(self, path: str) -> Sequence[str]:
        """The folders, with a file right in them, whose paths end in these folders."""
        return [self._folder_list[number] for number in self._folder_ends.find(path)]

    def declaring(self, kind: str, target: str) -> Sequence[int]:
        """The files with an import (or declaration) of this kind and target."""
        return self._by_declaration.get((kind, target), ())

    def nearest(self, file: int, others: Sequence[int]) -> Sequence[int]:
        """Of files as a lookup gives them, those whose path shares most folders with a file's.

        Of several such paths, the first one; of this, all files.
        """
        if len(others) < 2:
            return others
        folder, parts = self._parts[file][:-1], self._parts.__getitem__
        at = bisect_left(others, folder, key=parts)
        beside = others[max(at - 1, 0) : at + 1]
        most = max(_shared(folder, parts(other)) for other in beside)
        first = bisect_left(others, folder[:most], key=parts)
        return others[first : bisect_right(others, parts(others[first]), first, key=parts)]

    def nearest_folder(self, file: int, folders: Collection[str]) -> str | None:
        """Of folders, the one that shares most folders with a file's path, of several the first."""
        parts = self._parts[file]
        return min(folders, key=lambda f: (-_shared(f.split("/"), parts), f), default=None)

    def project_files(self, name: str) -> Mapping[str, str]:
        """The text of each file of this name, of whatever language, by its folder.

        Of copies at one path, the text that sorts first.
        """
        return self._by_name.get(name, {})

    @cached_property
    def _by_path(self) -> Mapping[str, list[int]]:
        return _grouped((self.paths[file], file) for file in self._inside)

    @cached_property
    def _by_folder(self) -> Mapping[str, list[int]]:
        return _grouped((folder_of(self.paths[file]), file) for file in self._inside)

    @cached_property
    def _folders(self) -> set[str]:
        return {*self._by_folder, *chain.from_iterable(map(folders_above, self._by_folder))}

    @cached_property
    def _by_declaration(self) -> Mapping[tuple[str, str], list[int]]:
        return _grouped(
            (declared, file)
            for file in self._files
            for declared in dict.fromkeys((i.kind, i.target) for i in self.imports[file])
        )

    @cached_property
    def _ends(self) -> "_Ends":
        return _Ends((file, self._parts[file]) for file in self._inside)

    @cached_property
    def _folder_list(self) -> Sequence[str]:
        return sorted(self._by_folder)

    @cached_property
    def _folder_ends(self) -> "_Ends":
        return _Ends((n, folder.split("/")) for n, folder in enumerate(self._folder_list))

    @cached_property
    def _by_name(self) -> Mapping[str, Mapping[str, str]]:
        found: dict[str, dict[str, str]] = defaultdict(dict)
        for path, text in sorted(zip(self.paths, self._texts, strict=True)):
            folder, _, name = path.rpartition("/")
            found[name].setdefault(folder, text)
        return found


class _Ends:
    """Paths from their ends: numbers by what their paths end in, in the order they came in."""

    def __init__(self, paths: Iterable[tuple[int, Sequence[str]]]) -> None:
        # A node for each end: as text, the ends of deep paths would grow with the square.
        self._nodes: dict[tuple[int, str], int] = {}
        self._numbers: list[list[int]] = [[]]
        for number, parts in paths:
            node = 0
            for part in reversed(parts):
                node = self._nodes.setdefault((node, part), len(self._numbers))
                if node == len(self._numbers):
                    self._numbers.append([])
                self._numbers[node].append(number)

    def find(self, path: str) -> Sequence[int]:
        """The numbers of the paths that end in these folders and this name, as whole words."""
        node: int | None = 0
        for part in reversed(path.split("/")):
            node = self._nodes.get((node or 0, part))
            if node is None:
                return ()
        return self._numbers[node or 0]


def _grouped(entries: Iterable[tuple[_Key, int]]) -> dict[_Key, list[int]]:
    groups: dict[_Key, list[int]] = defaultdict(list)
    for key, file in entries:
        groups[key].append(file)
    return dict(groups)


def _shared(folder: Sequence[str], parts: Sequence[str]) -> int:
    """How many folders two paths have in common, from the root."""
    count = 0
    for one, other in zip(folder, parts[:-1], strict=False):
        if one != other:
            break
        count += 1
    return count
