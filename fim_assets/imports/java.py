"""Java: `import`, `import static`, `import … .*`, and types of the file's own package, by name.

A file declares the type of its own name, in the package that it states. `import a.b.C` means that
of `a.b`, and so does what is in it (`a.b.C.D`, `import static a.b.C.m`). Of `import a.b.*`, and of
its own package, a file depends on those whose names it uses; the package without a name is another
one in each folder. Names that are written with their package where they are used are not followed,
nor are types that a file declares beside that of its name.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath

from fim_assets.imports.base import FileIndex, Import, ImportRules, Match, folder_of
from fim_assets.imports.type_names import type_names

_QUERY = """
(package_declaration [(identifier) (scoped_identifier)] @package)
(import_declaration) @import
"""
_WORDS = ("package", "import")


def _read(matches: Sequence[Match]) -> list[Import]:
    package, imports = "", []
    for match in matches:
        if match.texts.get("package"):
            package = re.sub(r"\s", "", match.text("package"))
        else:
            words = match.text("import").rstrip("; ").split()[1:]
            static = words[:1] == ["static"]
            name = "".join(words[static:])
            every = name.endswith(".*")
            imports.append(
                Import("every" if every and not static else "import", name[: -2 * every or None])
            )
    return [Import("package", package), *dict.fromkeys(imports)]


class _Packages:
    """The types of a repository's packages, by their names."""

    def __init__(self, repository: FileIndex) -> None:
        self._repository = repository
        self._types: dict[str, dict[str, list[int]]] = {}
        packages = {found[0].target for found in repository.imports.values() if found}
        for package in packages:
            types = self._types[package] = defaultdict(list)
            for file in repository.declaring("package", package):
                types[PurePosixPath(repository.paths[file]).stem].append(file)

    def meant(self, file: int, imports: Sequence[Import]) -> list[Collection[int] | None]:
        """The files that each import means, see the module's docstring."""
        if not imports:
            return []
        own, *imported, used = imports
        names = {*used.names} - {PurePosixPath(self._repository.paths[file]).stem}
        resolved = [self._import(file, found, names) for found in imported]
        single = {found.target.rpartition(".")[2] for found in imported if found.kind == "import"}
        return [None, *resolved, self._types_of(file, own.target, names - single) or None]

    def _import(self, file: int, imported: Import, names: set[str]) -> Collection[int] | None:
        if imported.kind == "every" and imported.target in self._types:
            return self._types_of(file, imported.target, names) or None
        parts = imported.target.split(".")
        for length in range(len(parts) - 1, 0, -1):
            types = self._types.get(".".join(parts[:length]), {})
            if files := types.get(parts[length]):
                return self._repository.nearest(file, files)
        return ()

    def _types_of(self, file: int, package: str, names: set[str]) -> set[int]:
        types: Mapping[str, Sequence[int]] = self._types.get(package, {})
        folder = folder_of(self._repository.paths[file])
        found = [self._repository.nearest(file, types[name]) for name in names & types.keys()]
        return {
            other
            for files in found
            for other in files
            if package or folder_of(self._repository.paths[other]) == folder
        }


def _resolve(
    repository: FileIndex, file: int, imports: Sequence[Import]
) -> Sequence[Collection[int] | None]:
    return repository.of(_Packages).meant(file, imports)


RULES = ImportRules(
    {"java": _QUERY}, _read, _resolve, _WORDS, partial(type_names, behind_dots=True)
)
