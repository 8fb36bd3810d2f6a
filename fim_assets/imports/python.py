"""Python: `import a.b`, `from .a import b`, wherever they stand in a file.

What an import runs, as `importlib` finds it: `import a.b.c` means `a/__init__.py`,
`a/b/__init__.py` and `a/b/c.py`; `from a import b` means `a/b.py` if there is one, else what `a`
itself is. A package that the importing file lies in has begun to run before it, so that its
`__init__.py` is meant only by a name that it must hold: `from . import x` with no `x.py`. A package
goes before a module of its name, and a module's stub (`.pyi`) counts where there is no module.

An absolute name is looked for in the folders above the file that are no packages themselves, the
nearest first, and in `src` of each; then anywhere else in the repository below a folder that is no
package, the nearest to the file. There a lone module counts only outside of packages, and for a
file outside of them: in a package `import re` is the standard library's, whatever `tools/re.py` is.
Python 2's implicit relative imports are not followed, nor are names that a program computes.
"""

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple
from unicodedata import normalize

from fim_assets.imports.base import (
    FileIndex,
    Import,
    ImportRules,
    Match,
    folder_of,
    folders_above,
)

_QUERY = """
(import_statement
  name: [(dotted_name) @module (aliased_import name: (dotted_name) @module)])
(import_from_statement
  module_name: (_) @from
  name: [(dotted_name) @name (aliased_import name: (dotted_name) @name)])
(import_from_statement
  module_name: (_) @from
  (wildcard_import) @name)
"""

_ENDINGS = ("/__init__.py", ".py", "/__init__.pyi", ".pyi")
"""What a module's file is called behind the module's path, the first that there is."""

_PACKAGE = ("/__init__.py", "/__init__.pyi")
"""Those of a package."""


def _read(matches: Sequence[Match]) -> list[Import]:
    modules: dict[int, str] = {}
    names: dict[int, list[str]] = {}
    for match in matches:
        modules[match.start] = _name(match.text("module") or match.text("from"))
        if name := match.text("name"):
            names.setdefault(match.start, []).append(_name(name))
    return [
        Import("from" if start in names else "import", module, tuple(names.get(start, ())))
        for start, module in modules.items()
    ]


def _name(text: str) -> str:
    """A dotted name as Python reads it: without white space, in the normal form KC."""
    return normalize("NFKC", re.sub(r"[\s\\]", "", text))


class _Module(NamedTuple):
    """Where a module is: its path without what `_ENDINGS` holds, and the files of it.

    A folder without `__init__.py` is a module without files.
    """

    path: str
    files: Sequence[int]
    is_package: bool

    def holds(self, folder: str) -> bool:
        """Whether a folder is the package's or lies in it."""
        above = f"{self.path}/".lstrip("/")
        return self.is_package and f"{folder}/".startswith(above)


class _Resolver:
    """Finds the modules of a repository; what it found once, it keeps."""

    def __init__(self, repository: FileIndex) -> None:
        self._repository = repository
        paths = (repository.paths[file] for file in repository.imports)
        self._names = {part.partition(".")[0] for path in paths for part in path.split("/")}
        self._roots: dict[str, list[str]] = {}
        self._elsewhere: dict[str, list[int]] = {}

    def meant(self, file: int, imported: Import) -> Collection[int]:
        """The files that an import runs, see the module's docstring."""
        folder = folder_of(self._repository.paths[file])
        dotted = imported.target.lstrip(".")
        dots = len(imported.target) - len(dotted)
        parts = dotted.split(".") if dotted else []
        root = self._above(folder, dots) if dots else self._root(file, folder, imported)
        if root is None:
            return ()
        way = self._follow(root, parts)
        files = {file for module in way if not module.holds(folder) for file in module.files}
        if len(way) <= len(parts):
            return files
        last = way[-1]
        for name in imported.names or ("*",):
            named = self._module(f"{last.path}/{name}") if last.is_package else None
            files.update((named or last).files)
        return files

    def _above(self, folder: str, dots: int) -> str | None:
        """The folder that so many dots mean, None outside of the repository."""
        return [folder, *folders_above(folder), *[None] * dots][dots - 1]

    def _follow(self, root: str, parts: Sequence[str]) -> list[_Module]:
        """The modules of a dotted name, one after the other, as far as there are any.

        The first one is the root itself.
        """
        inits = (self._repository.at(f"{root}{ending}".lstrip("/")) for ending in _PACKAGE)
        way = [_Module(root, next(filter(None, inits), ()), is_package=True)]
        for part in parts:
            module = self._module(f"{way[-1].path}/{part}") if way[-1].is_package else None
            if module is None:
                break
            way.append(module)
        return way

    def _module(self, path: str) -> _Module | None:
        path = path.lstrip("/")
        for ending in _ENDINGS:
            if files := self._repository.at(f"{path}{ending}".lstrip("/")):
                return _Module(path, files, is_package=ending[0] == "/")
        return _Module(path, (), is_package=True) if self._repository.has_folder(path) else None

    def _root(self, file: int, folder: str, imported: Import) -> str | None:
        """The folder in which an absolute name is found."""
        top = imported.target.partition(".")[0]
        if top not in self._names:
            return None
        for root in self._roots_of(folder):
            module = self._module(f"{root}/{top}")
            if module and (module.files or self._reaches(root, imported)):
                return root
        for name in _dotted(imported):
            # Code of a package that imports one word means the standard library's module.
            alone = [".py"] if "." in name or self._is_root(folder) else []
            for ending in (_PACKAGE[0], *alone):
                end = name.replace(".", "/") + ending
                if found := self._repository.nearest(file, self._below_roots(end)):
                    return self._root_before(end, found[0])
        return None

    def _reaches(self, root: str, imported: Import) -> bool:
        """Whether a file is found below a root whose folder of that name is no package."""
        ways = ((self._follow(root, n.split(".")), n.count(".") + 2) for n in _dotted(imported))
        return any(len(way) == whole and way[-1].files for way, whole in ways)

    def _roots_of(self, folder: str) -> list[str]:
        """The folders above that are no packages, and `src` in each, the nearest first."""
        if folder not in self._roots:
            above = [folder, *folders_above(folder)]
            self._roots[folder] = [
                root
                for parent in above
                for root in (parent, f"{parent}/src".lstrip("/"))
                if self._is_root(root)
            ]
        return self._roots[folder]

    def _is_root(self, folder: str) -> bool:
        has_folder, at = self._repository.has_folder, self._repository.at
        return has_folder(folder) and not at(f"{folder}/__init__.py".lstrip("/"))

    def _below_roots(self, end: str) -> list[int]:
        """The files whose paths end so, below a folder that is no package.

        That of a lone module does not lie in one either.
        """
        if end not in self._elsewhere:
            self._elsewhere[end] = [
                file
                for file in self._repository.ending(end)
                for root in [self._root_before(end, file)]
                if all(map(self._is_root, [root] if "/" in end else [root, *folders_above(root)]))
            ]
        return self._elsewhere[end]

    def _root_before(self, end: str, file: int) -> str:
        return self._repository.paths[file].removesuffix(end).rstrip("/")


def _dotted(imported: Import) -> list[str]:
    """The names of modules that an import can mean, the longest first."""
    longer = [f"{imported.target}.{name}" for name in imported.names if imported.kind == "from"]
    return [*longer, imported.target]


def _resolve(
    repository: FileIndex, file: int, imports: Sequence[Import]
) -> Sequence[Collection[int]]:
    resolver = repository.of(_Resolver)
    return [resolver.meant(file, imported) for imported in imports]


RULES = ImportRules({"python": _QUERY}, _read, _resolve, ("import",))
