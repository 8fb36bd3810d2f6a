"""PHP: `include` and `require` of literal paths, and names of classes and functions.

A path may begin with `__DIR__`, `dirname(__FILE__)` or `dirname(__DIR__)`; without, it is looked
for in the file's folder, then in the folders above it. A `use` means the file that declares what it
names, as do `extends`, `implements` and the `use` of a trait, whose names are read by the file's
namespace and its own `use`. Of several files that declare a name, the nearest one is meant. An
autoloader finds the same files where it follows PSR-4 (a class a file, folders by namespaces), so
that `composer.json` is not needed. Classes that code only mentions, and paths that a program
computes, are not followed.
"""

import re
from collections.abc import Collection, Iterator, Sequence

from fim_assets.imports.base import (
    FileIndex,
    Import,
    ImportRules,
    Match,
    folder_of,
    folders_above,
    joined,
)

_QUERY = """
(include_expression (_) @path)
(include_once_expression (_) @path)
(require_expression (_) @path)
(require_once_expression (_) @path)
(namespace_definition name: (namespace_name) @namespace)
(namespace_definition !name body: (compound_statement . "{" @global))
(namespace_use_declaration) @use
(class_declaration name: (name) @class)
(interface_declaration name: (name) @class)
(trait_declaration name: (name) @class)
(enum_declaration name: (name) @class)
(program (function_definition name: (name) @function))
(namespace_definition body: (compound_statement (function_definition name: (name) @function)))
(base_clause [(name) (qualified_name)] @parent)
(class_interface_clause [(name) (qualified_name)] @parent)
(declaration_list (use_declaration [(name) (qualified_name)] @parent))
"""

_PATH = re.compile(
    r"""[( ]* (?: (?P<folder> __DIR__ | dirname\(__FILE__\) )
                | (?P<above> dirname\(__DIR__\) | dirname\(dirname\(__FILE__\)\) ) )?
        [ ]? \.? [ ]? (?P<quote>['"]) (?P<path> [^'"$\\{]+ ) (?P=quote) [) ]*""",
    re.VERBOSE | re.IGNORECASE,
)
_SPACE = re.compile(r"/\*.*?\*/|(?://|\#)[^\n]*|\s+", re.DOTALL)
_KIND = re.compile(r"use (?:(function|const) )?", re.IGNORECASE)
_CLAUSE = re.compile(r"(?:(function|const) )?([^ ]+)(?: as ([^ ]+))?", re.IGNORECASE)

_DECLARED = {"use function": "function", "use const": "const"}
"""What a kind of import means a declaration of, where that is no class."""


def _read(matches: Sequence[Match]) -> list[Import]:
    imports: list[Import] = []
    namespace = ""
    names: dict[str, str] = {}
    for match in sorted(matches, key=lambda match: match.start):
        [(kind, [text, *_])] = match.texts.items()
        if kind == "path":
            imports += _path(text)
        elif kind in {"namespace", "global"}:
            namespace, names = (f"{text.lower()}\\" if kind == "namespace" else ""), {}
        elif kind == "use":
            for used, alias in _uses(text):
                imports.append(used)
                names[alias] = used.target
        elif kind == "parent":
            imports.append(Import("parent", _whole(text.lower(), namespace, names)))
        else:
            imports.append(Import(kind, namespace + text.lower()))
    return imports


def _path(expression: str) -> Iterator[Import]:
    """What an expression includes, if it is of literals."""
    found = _PATH.fullmatch(" ".join(expression.split()))
    if found:
        above = "../" if found["above"] else ""
        based = found["folder"] or found["above"]
        yield Import("beside" if based else "path", above + found["path"])


def _uses(statement: str) -> Iterator[tuple[Import, str]]:
    """What a `use` names, its braces opened, and what it is called in the file."""
    text = _SPACE.sub(" ", statement).strip(" ;")
    kind = _KIND.match(text)
    if kind is None:
        return
    prefix, _, clauses = text[kind.end() :].rpartition("{")
    for clause in clauses.strip("} ").split(","):
        if found := _CLAUSE.fullmatch(clause.strip()):
            of = kind[1] or found[1]
            name = f"{prefix}{found[2]}".strip("\\ ").lower()
            alias = found[3] or name.rpartition("\\")[2]
            yield Import(f"use {of.lower()}" if of else "use", name), alias.lower()


def _whole(name: str, namespace: str, names: dict[str, str]) -> str:
    """A name with its namespace, as the file reads it."""
    if name.startswith("\\"):
        return name[1:]
    first, slash, rest = name.partition("\\")
    return names[first] + slash + rest if first in names else namespace + name


def _resolve(
    repository: FileIndex, file: int, imports: Sequence[Import]
) -> Sequence[Collection[int] | None]:
    return [_meant(repository, file, imported) for imported in imports]


def _meant(repository: FileIndex, file: int, imported: Import) -> Collection[int] | None:
    kind, target = imported.kind, imported.target
    if kind in {"class", "function"}:
        return None
    path = repository.paths[file]
    if kind == "beside":
        return repository.at(joined(folder_of(path), target))
    if kind == "path":
        found = (repository.at(joined(above, target)) for above in folders_above(path))
        return next(filter(None, found), ())
    declared = repository.declaring(_DECLARED.get(kind, "class"), target)
    # A class of PHP's own, or one that a `use` names and that is counted there.
    return None if kind == "parent" and not declared else repository.nearest(file, declared)


RULES = ImportRules({"php": _QUERY}, _read, _resolve)
