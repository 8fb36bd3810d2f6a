"""Go: `import "path"`, which means a package: the Go files of one folder.

A package is all files of its folder but tests (`_test.go`, `package x_test`), and but `package
main` where there is another one. A path is looked for in the modules that `go.mod` files name, the
longest module's path first, of several modules with one path in the nearest one; then as a folder
of the whole path anywhere, such as `vendor`, the nearest one. Where there is no `go.mod`, the
repository's root is the module whose path makes most of the paths that are imported folders of the
repository; names of the standard library are left out. Files of one package use each other without
an import, which is no edge; `replace` is not followed.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import chain

from fim_assets.imports.base import FileIndex, Import, ImportRules, Match, folder_of, joined

_QUERY = """
(package_clause (package_identifier) @package)
(import_declaration (import_spec path: (_) @path))
(import_declaration (import_spec_list (import_spec path: (_) @path)))
"""

_STANDARD = re.compile(
    "(?:archive|bufio|builtin|bytes|cmp|compress|container|context|crypto|database|debug|embed"
    "|encoding|errors|expvar|flag|fmt|go|hash|html|image|index|io|iter|log|maps|math|mime|net|os"
    "|path|plugin|reflect|regexp|runtime|slices|sort|strconv|strings|structs|sync|syscall|testing"
    "|text|time|unicode|unique|unsafe|weak)(?:/|$)"
)
"""What paths of the standard library begin with; no other one may, but in a module."""

_MODULE = re.compile(r'^[ \t]*module[ \t]+["`]?([^\s"`]+)', re.MULTILINE)


def _read(matches: Sequence[Match]) -> list[Import]:
    return [
        Import("package", name)
        if (name := match.text("package"))
        else Import("import", match.text("path").strip('"`'))
        for match in matches
    ]


class _Resolver:
    """Finds the packages of a repository."""

    def __init__(self, repository: FileIndex) -> None:
        self._repository = repository
        self._packages: dict[str, list[int]] = {}
        self._modules: dict[str, list[str]] = {}
        for folder, text in repository.project_files("go.mod").items():
            if found := _MODULE.search(text):
                self._modules.setdefault(found[1], []).append(folder)
        self._has_modules = bool(self._modules)
        if not self._has_modules and (guess := self._likely_module()):
            self._modules[guess] = [""]

    def package(self, file: int, path: str) -> Collection[int]:
        """The files of the package that a path means in a file."""
        if path.startswith("."):
            return self._files(joined(folder_of(self._repository.paths[file]), path))
        if not self._has_modules and _is_standard(path):
            return ()
        for module, rest in _divided(path):
            folders = [joined(folder, rest) for folder in self._modules.get(module, ())]
            folder = self._repository.nearest_folder(
                file, [folder for folder in folders if self._files(folder)]
            )
            if folder is not None:
                return self._files(folder)
        ending = self._repository.folders_ending(path)
        folder = None if _is_standard(path) else self._repository.nearest_folder(file, ending)
        return () if folder is None else self._files(folder)

    def _files(self, folder: str) -> list[int]:
        if folder not in self._packages:
            self._packages[folder] = self._package_of(folder)
        return self._packages[folder]

    def _package_of(self, folder: str) -> list[int]:
        packages: dict[str, list[int]] = {}
        for file in self._repository.inside(folder):
            declared = [i.target for i in self._repository.imports[file] if i.kind == "package"]
            name = declared[0] if declared else ""
            if not (self._repository.paths[file].endswith("_test.go") or name.endswith("_test")):
                packages.setdefault(name, []).append(file)
        if len(packages) > 1:
            packages.pop("main", None)
        return [*chain.from_iterable(packages.values())]

    def _likely_module(self) -> str | None:
        """The path that most imports, which are folders behind it, have in front of that."""
        paths = {
            i.target
            for imports in self._repository.imports.values()
            for i in imports
            if i.kind == "import" and not _is_standard(i.target)
        }
        counts = Counter(
            module
            for path in paths
            for module, rest in _divided(path)
            if rest and self._repository.inside(rest)
        )
        return min(counts, key=lambda module: (-counts[module], module), default=None)


def _is_standard(path: str) -> bool:
    return _STANDARD.match(path) is not None


def _divided(path: str) -> Iterator[tuple[str, str]]:
    """A module's path and a folder in it, the longest module's path first."""
    parts = path.split("/")
    for count in range(len(parts), 0, -1):
        yield "/".join(parts[:count]), "/".join(parts[count:])


def _resolve(
    repository: FileIndex, file: int, imports: Sequence[Import]
) -> Sequence[Collection[int] | None]:
    resolver = repository.of(_Resolver)
    return [None if i.kind == "package" else resolver.package(file, i.target) for i in imports]


RULES = ImportRules({"go": _QUERY}, _read, _resolve, ("import", "package"))
