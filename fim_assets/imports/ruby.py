"""Ruby: `require_relative`, `require`, `load` and `autoload` of literal names.

`require_relative` starts from the file's folder, as do paths that begin with `.` and
`File.expand_path("…", __FILE__)` or `__dir__`. Another name is looked for as Ruby's load path has
it in projects: in `lib`, `spec` and `test` of the folders above, the nearest first, in the
repository's root, then below any folder called `lib`, the nearest to the file. Constants that a
framework loads by their names are not followed.
"""

from collections.abc import Collection, Sequence

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
((call !receiver method: (identifier) @method
  arguments: (argument_list . (string . (string_content) @name .) .))
  (#any-of? @method "require" "require_relative" "load"))
((call method: (identifier) @method
  arguments: (argument_list (simple_symbol) . (string . (string_content) @name .)))
  (#eq? @method "autoload"))
((call !receiver method: (identifier) @method
  arguments: (argument_list . (call receiver: (constant) @_file method: (identifier) @_expand
    arguments: (argument_list . (string . (string_content) @name .) . (_) @from .))))
  (#any-of? @method "require" "load") (#eq? @_file "File") (#eq? @_expand "expand_path"))
((call !receiver method: (identifier) @method
  arguments: (argument_list . (call receiver: (constant) @_file method: (identifier) @_join
    arguments: (argument_list . (_) @from . (string . (string_content) @name .) .))))
  (#any-of? @method "require" "load") (#eq? @_file "File") (#eq? @_join "join"))
"""

_FOLDER = {"__dir__", "File.dirname(__FILE__)"}
"""What means the file's folder."""

_ROOTS = ("lib", "spec", "test")


def _read(matches: Sequence[Match]) -> list[Import]:
    imports = []
    for match in matches:
        name = match.text("name")
        if kind := _kind(match.text("method"), name, match.text("from")):
            imports.append(Import(kind, name))
    return imports


def _kind(method: str, name: str, start: str) -> str | None:
    """From what a name starts: the file, its folder, or the load path; None is not known."""
    if start:
        return "beside" if start in _FOLDER else "file" if start == "__FILE__" else None
    return "beside" if method == "require_relative" or name[0] == "." else "required"


def _resolve(
    repository: FileIndex, file: int, imports: Sequence[Import]
) -> Sequence[Collection[int]]:
    return [_meant(repository, file, imported) for imported in imports]


def _meant(repository: FileIndex, file: int, imported: Import) -> Collection[int]:
    path = repository.paths[file]
    name = imported.target if imported.target.endswith(".rb") else f"{imported.target}.rb"
    if imported.kind != "required":
        return repository.at(joined(folder_of(path) if imported.kind == "beside" else path, name))
    places = [joined(above, f"{r}/{name}") for above in folders_above(path) for r in _ROOTS]
    for place in [*places, joined("", name)]:
        if files := repository.at(place):
            return files
    return repository.nearest(file, repository.ending(joined("lib", name)))


RULES = ImportRules(
    {"ruby": _QUERY}, _read, _resolve, ("require", "require_relative", "load", "autoload")
)
