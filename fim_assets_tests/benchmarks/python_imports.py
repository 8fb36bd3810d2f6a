"""What Python's own machinery says a file imports: `ast` and `importlib`, and nothing is run.

The path that modules are searched on is that of an installed or tested package: the file's first
folder that is no package, the folders that hold what `top_level.txt` names, the repository's root
and its `src`. What is resolved there is narrowed as `fim_assets.imports.python` says: a package
that the file lies in counts only where a name must be its own.
"""

import ast
import sys
import warnings
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import resolve_name
from pathlib import Path, PurePosixPath
from typing import NamedTuple


class Tree(NamedTuple):
    """A repository's Python files, written to a folder.

    Attributes:
        folder: Where they are.
        roots: Folders that hold the packages, besides a file's own.
    """

    folder: Path
    roots: tuple[Path, ...]

    @classmethod
    def write(cls, files: dict[str, str], folder: Path) -> "Tree":
        """From texts by path; other files tell the names of packages."""
        for path, text in files.items():
            if path.endswith(".py"):
                place = folder / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(text, "utf-8", newline="")
        names = {
            name
            for path, text in files.items()
            if PurePosixPath(path).name == "top_level.txt"
            for name in text.split()
        }
        named = [root for name in sorted(names) if (root := cls._root_of(folder, name))]
        return cls(folder, tuple(dict.fromkeys([*named, folder, folder / "src"])))

    @staticmethod
    def _root_of(folder: Path, name: str) -> Path | None:
        found = [*folder.rglob(f"{name}/__init__.py"), *folder.rglob(f"{name}.py")]
        places = [path.parent.parent if path.stem == "__init__" else path.parent for path in found]
        return min(places, key=lambda place: (len(place.parts), place), default=None)

    def imports(self, path: str) -> set[str] | None:
        """Paths of the files that a file imports; None where this Python cannot parse it."""
        place = self.folder / path
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(place.read_bytes())
        except (SyntaxError, ValueError, RecursionError):
            return None
        found = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    found |= self._named(place, alias.name, None)
            elif isinstance(node, ast.ImportFrom):
                found |= self._from(place, node)
        return {found.relative_to(self.folder).as_posix() for found in found} - {path}

    def _from(self, place: Path, node: ast.ImportFrom) -> set[Path]:
        names = [alias.name for alias in node.names]
        if not node.level:
            return self._named(place, node.module or "", names)
        root = next(root for root in self.roots[::-1] if place.is_relative_to(root))
        package = ".".join(place.parent.relative_to(root).parts)
        try:
            absolute = resolve_name("." * node.level + (node.module or ""), package)
        except ImportError:
            return set()
        return self._named(place, absolute, names, [root])

    def _named(
        self, place: Path, name: str, names: Sequence[str] | None, path: Sequence[Path] = ()
    ) -> set[Path]:
        search = [str(root) for root in path or (self._own_root(place), *self.roots)]
        specs = list(_specs(name, search))
        files = {file for spec in specs if (file := _file(spec)) and not _holds(file, place)}
        if len(specs) <= name.count("."):
            return files
        last = specs[-1]
        for attribute in names or ["*"]:
            inside = last.submodule_search_locations
            named = _find(attribute, list(inside)) if inside else None
            if file := _file(named or last):
                files.add(file)
        return files

    def _own_root(self, place: Path) -> Path:
        return next(
            p for p in place.parents if p == self.folder or not (p / "__init__.py").exists()
        )


def _specs(name: str, path: list[str]) -> Iterator[ModuleSpec]:
    """What `import` finds for each part of a dotted name, as far as it comes."""
    for part in name.split("."):
        spec = _find(part, path)
        if spec is None:
            return
        yield spec
        path = list(spec.submodule_search_locations or ())


def _find(name: str, path: list[str]) -> ModuleSpec | None:
    """By the last part of its name: the whole one of a namespace is looked up in `sys.modules`."""
    return PathFinder.find_spec(name, path) if path else None


def _file(spec: ModuleSpec) -> Path | None:
    """Where its source is, None of a package without a file."""
    return Path(spec.origin) if isinstance(spec.loader, SourceFileLoader) and spec.origin else None


def _holds(file: Path, place: Path) -> bool:
    return file.name == "__init__.py" and place.is_relative_to(file.parent)


def forget() -> None:
    """Forget the folders that were looked into, so that they may go."""
    sys.path_importer_cache.clear()
