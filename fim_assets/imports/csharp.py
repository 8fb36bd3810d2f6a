"""C#: `using`, `global using`, `using static`, aliases, and types of the namespaces around a file.

A file depends on the files that declare the types whose names it uses: of its own namespace first,
then of those around it, then of those that it uses. Of several equal types the nearest counts, with
the other parts of a partial type that lie beside it. A global `using` counts for all files.
Extension methods are not followed, nor are names that are written with their namespace where they
are used, nor types in a namespace that another one holds.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from itertools import chain

from fim_assets.imports.base import FileIndex, Import, ImportRules, Match, folder_of
from fim_assets.imports.type_names import type_names

_KINDS = ("class", "struct", "interface", "enum", "record", "delegate")
_TYPE = " ".join(f"({kind}_declaration name: (identifier) @type)" for kind in _KINDS)
_QUERY = f"""
(using_directive) @using
(file_scoped_namespace_declaration name: (_) @scope)
(compilation_unit [{_TYPE}])
(namespace_declaration name: (_) @namespace body: (declaration_list [{_TYPE}]))
"""
_WORDS = ("using", "namespace", *_KINDS)

_ATTRIBUTE = re.compile(rb"\[\s*([\w\x80-\xff]+)")
_USING = re.compile(r"(global\s+)?using\s+(static\s+)?(?:unsafe\s+)?(?:[\w@]+\s*=)?([\w\s.:]+)")


def _read(matches: Sequence[Match]) -> list[Import]:
    scope = next(filter(None, (match.text("scope") for match in matches)), "")
    found = []
    for match in matches:
        if written := _USING.match(match.text("using")):
            kind = "global" if written[1] else "using"
            found.append(Import(kind, _dotted(written[3].rpartition("::")[2])))
        elif name := match.text("type"):
            space = _dotted(match.text("namespace") or scope)
            found += [Import("namespace", space), Import("type", f"{space}.{name}")]
    return list(dict.fromkeys(found))


def _dotted(name: str) -> str:
    return re.sub(r"\s", "", name)


def _around(namespace: str) -> list[str]:
    """A namespace and those around it, the innermost first; the last is the global one."""
    parts = namespace.split(".") if namespace else []
    return [".".join(parts[:length]) for length in range(len(parts), -1, -1)]


class _Namespaces:
    """The types of a repository's namespaces, by their names."""

    def __init__(self, repository: FileIndex) -> None:
        self._repository = repository
        self._types: dict[str, dict[str, Sequence[int]]] = defaultdict(dict)
        self._in_folder: dict[tuple[str, str], list[int]] = defaultdict(list)
        declared = set(chain.from_iterable(repository.imports.values()))
        for kind, target, _ in declared:
            if kind == "type":
                namespace, _, name = target.rpartition(".")
                self._types[namespace][name] = repository.declaring(kind, target)
                for file in self._types[namespace][name]:
                    self._in_folder[target, folder_of(repository.paths[file])].append(file)
        self._global = sorted(found.target for found in declared if found.kind == "global")

    def meant(self, file: int, imports: Sequence[Import]) -> list[Collection[int] | None]:
        """The files that each import means, see the module's docstring."""
        if not imports:
            return []
        *imports, used = imports
        targets = {kind: [i.target for i in imports if i.kind == kind] for kind in _RESOLVED}
        own = {target.rpartition(".")[2] for target in targets["type"]}
        names = {*used.names} - own
        around = dict.fromkeys(chain.from_iterable(map(_around, ["", *targets["namespace"]][::-1])))
        files: set[int] = set()
        for namespace in around:
            found = names & self._types.get(namespace, {}).keys()
            names -= found
            files |= self._files(file, namespace, found)
        for target in self._global:
            files |= self._using(file, target, [""], names) or set()
        return [
            *(
                self._using(file, target, around, names) if kind == "using" else None
                for kind, target, _ in imports
            ),
            files or None,
        ]

    def _using(
        self, file: int, target: str, around: Iterable[str], names: set[str]
    ) -> set[int] | None:
        """The files that a `using` means, None where no name of its namespace is used."""
        for namespace in around:
            within = f"{namespace}.{target}".lstrip(".")
            if within in self._types:
                found = names & self._types[within].keys()
                return self._files(file, within, found) or None
        parts = target.split(".")
        for length in range(len(parts) - 1, -1, -1):
            namespace = ".".join(parts[:length])
            if parts[length] in self._types.get(namespace, {}):
                return self._files(file, namespace, {parts[length]})
        return set()

    def _files(self, file: int, namespace: str, names: Iterable[str]) -> set[int]:
        """Of files that declare equal types, the nearest and those beside it."""
        files: set[int] = set()
        for name in names:
            first = self._repository.nearest(file, self._types[namespace][name])[0]
            folder = folder_of(self._repository.paths[first])
            files.update(self._in_folder[f"{namespace}.{name}", folder])
        return files


_RESOLVED = ("type", "namespace", "using", "global")


def _resolve(
    repository: FileIndex, file: int, imports: Sequence[Import]
) -> Sequence[Collection[int] | None]:
    return repository.of(_Namespaces).meant(file, imports)


def _names(source: bytes) -> tuple[str, ...]:
    """With those of attributes, which are written without their last word."""
    names = type_names(source, behind_dots=False)
    attributes = {name.decode() for name in _ATTRIBUTE.findall(source)}
    return names + tuple(sorted(f"{name}Attribute" for name in attributes))


RULES = ImportRules({"c#": _QUERY}, _read, _resolve, _WORDS, _names)
