"""JavaScript and TypeScript: `import`, `export … from`, `import()`, `require()`, wherever they are.

So are TypeScript's `import x = require()`, types `import("x").T` and triple-slash references. A
path is looked for as Node, bundlers and TypeScript do: as it is, with the endings of the importing
file's own language first, behind `.js` for what is compiled to it, and as a folder with its
`package.json` or `index`. A bare name is looked for in `paths` and `baseUrl` of the `tsconfig.json`
above the file, the nearest first, then among the repository's own packages by their `name`; `#name`
in the `imports` of the nearest `package.json`. Names that a program computes are not followed.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from fim_assets.imports.base import (
    FileIndex,
    Import,
    ImportRules,
    Match,
    folder_of,
    folders_above,
    joined,
)

_FIRST = """
[(arguments . [(string) (template_string)] @module)
 (arguments . (comment) . [(string) (template_string)] @module)]
"""
_JAVASCRIPT_QUERY = f"""
(import_statement source: (string) @module)
(export_statement source: (string) @module)
(call_expression function: (import) arguments: {_FIRST})
((call_expression function: (identifier) @function arguments: {_FIRST})
  (#eq? @function "require"))
((comment) @reference (#match? @reference "^///"))
"""
_TYPESCRIPT_QUERY = f"""
{_JAVASCRIPT_QUERY}
(import_require_clause source: (string) @module)
"""
_WORDS = ("import", "require", "from", "reference")

_REFERENCE = re.compile(r"///\s*<reference\s+(path|types)\s*=\s*[\"']([^\"']+)[\"']")

_JAVASCRIPT = (".js", ".jsx", ".mjs", ".cjs")
_TYPESCRIPT = (".ts", ".tsx", ".d.ts", ".mts", ".d.mts", ".cts", ".d.cts")
_ALSO_WRITTEN = {
    ".js": (".ts", ".tsx", ".d.ts", ".jsx"),
    ".jsx": (".tsx", ".d.ts"),
    ".mjs": (".mts", ".d.mts"),
    ".cjs": (".cts", ".d.cts"),
    ".ts": (".d.ts",),
    ".tsx": (".d.ts",),
    ".mts": (".d.mts",),
    ".cts": (".d.cts",),
}
"""How the file may end whose path is written as it is called after or before it is compiled."""

_CONDITIONS = {"node", "default"}

_SOURCE_FOLDERS = ("", "src", "lib")
"""Where a package's files are, where those that it names are still to be built."""

_STRING = r'("[^"\\]*(?:\\.[^"\\]*)*(?:"|\Z))'
_COMMENT = re.compile(rf"{_STRING}|//[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)
_LAST_COMMA = re.compile(rf"{_STRING}|,(?=\s*[}}\]])", re.DOTALL)


def _read(matches: Sequence[Match]) -> list[Import]:
    found = []
    for match in matches:
        if comment := match.text("reference"):
            if reference := _REFERENCE.match(comment):
                kind = {"path": "path", "types": "import"}[reference[1]]
                found.append(Import(kind, reference[2]))
        elif "${" not in (literal := match.text("module")) or literal[0] != "`":
            kind = "require" if match.text("function") else "import"
            found.append(Import(kind, literal[1:-1]))
    return list(dict.fromkeys(found))


class _Resolver:
    """Finds the modules of a repository; what it found once, it keeps.

    Of packages of one name it knows the first below each folder.
    """

    def __init__(self, repository: FileIndex) -> None:
        self._repository = repository
        self._found: dict[tuple[str, bool, bool], Sequence[int]] = {}
        packages = repository.project_files("package.json").items()
        self._manifests = {folder: _object(text) for folder, text in packages}
        self._configurations = {
            folder: _dictionary(_object(text), "compilerOptions")
            for name in ("jsconfig.json", "tsconfig.json")
            for folder, text in repository.project_files(name).items()
        }
        self._packages: dict[tuple[str, str], str] = {}
        for folder, manifest in sorted(self._manifests.items()):
            for above in (folder, *folders_above(folder)):
                self._packages.setdefault((str(manifest.get("name")), above), folder)

    def meant(self, file: int, imported: Import) -> Sequence[int]:
        """The files that an import means, see the module's docstring."""
        path, name = self._repository.paths[file], imported.target
        typed = path.endswith(_TYPESCRIPT)
        find = partial(self._module, typed=typed)
        folder = folder_of(path)
        if imported.kind == "path" or re.match(r"\.\.?(/|$)", name):
            return find(joined(folder, name), is_folder=bool(re.search(r"(^|/)\.{0,2}$", name)))
        if name.startswith("/"):
            return find(joined("", name))
        above = [folder, *folders_above(folder)]
        conditions = {*_CONDITIONS, imported.kind, *(["types"] if typed else [])}
        ways = (self._by_manifest if name[:1] == "#" else self._bare)(above, name, conditions)
        return next(filter(None, map(find, ways)), ())

    def _module(self, path: str, *, typed: bool, is_folder: bool = False) -> Sequence[int]:
        key = path, typed, is_folder
        if key not in self._found:
            files = () if is_folder else self._file(path, typed)
            self._found[key] = files or self._folder(path, typed)
        return self._found[key]

    def _file(self, path: str, typed: bool) -> Sequence[int]:
        stem, dot, ending = path.rpartition(".")
        written = [stem + other for other in _ALSO_WRITTEN.get(dot + ending, ())]
        added = [path + ending for ending in _endings(typed)]
        is_compiled = typed and not path.endswith(_TYPESCRIPT)
        paths = [*written, path, *added] if is_compiled else [path, *added, *written]
        return next(filter(None, map(self._repository.at, paths)), ())

    def _folder(self, folder: str, typed: bool) -> Sequence[int]:
        manifest = self._manifests.get(folder, {})
        for field in ("types", "typings", "main") if typed else ("main",):
            main = manifest.get(field)
            if isinstance(main, str):
                path = joined(folder, main)
                if files := self._file(path, typed) or self._file(f"{path}/index", typed):
                    return files
        return self._file(f"{folder}/index".lstrip("/"), typed)

    def _bare(self, above: Sequence[str], name: str, conditions: Collection[str]) -> Iterator[str]:
        """The paths that a bare name can mean, the likeliest first."""
        for folder in above:
            options = self._configurations.get(folder, {})
            base = options.get("baseUrl")
            root = joined(folder, base) if isinstance(base, str) else folder
            for target in _mapped(_dictionary(options, "paths"), name, conditions):
                yield joined(root, target)
            if isinstance(base, str):
                yield joined(root, name)
        parts = name.split("/")
        length = 2 if name[:1] == "@" else 1
        package, inside = "/".join(parts[:length]), "/".join(parts[length:])
        for key in ((package, folder) for folder in above):
            if key in self._packages:
                yield from self._inside(self._packages[key], inside, conditions)
                return

    def _inside(self, package: str, path: str, conditions: Collection[str]) -> Iterator[str]:
        """The paths that a path in a package, or the package itself, can mean."""
        exports = self._manifests[package].get("exports")
        targets: dict[str, Any] = {".": exports}
        if isinstance(exports, dict) and any(key[:1] == "." for key in exports):
            targets = exports
        for target in _mapped(targets, f"./{path}" if path else ".", conditions):
            yield joined(package, target)
        for source in _SOURCE_FOLDERS:
            yield joined(joined(package, source), path)

    def _by_manifest(
        self, above: Sequence[str], name: str, conditions: Collection[str]
    ) -> Iterator[str]:
        for folder in above:
            targets = _dictionary(self._manifests.get(folder, {}), "imports")
            for target in _mapped(targets, name, conditions):
                yield joined(folder, target)


def _endings(typed: bool) -> Sequence[str]:
    return _TYPESCRIPT + _JAVASCRIPT if typed else _JAVASCRIPT + _TYPESCRIPT


def _mapped(targets: Mapping[str, Any], name: str, conditions: Collection[str]) -> Iterator[str]:
    """The paths of a name in `paths`, `exports` or `imports`: by itself, else by its pattern."""
    best = max(
        (key for key in targets if key == name or _within(key, name) is not None),
        key=lambda key: (key == name, len(key.partition("*")[0])),
        default=None,
    )
    if best is not None:
        for target in _strings(targets[best], conditions):
            yield target.replace("*", _within(best, name) or "")


def _within(pattern: str, name: str) -> str | None:
    """What of a name the asterisk of a pattern stands for."""
    before, asterisk, after = pattern.partition("*")
    if asterisk and name.startswith(before) and name.removeprefix(before).endswith(after):
        return name.removeprefix(before).removesuffix(after)
    return None


def _strings(target: Any, conditions: Collection[str]) -> Iterator[str]:
    """The paths of a target: one, or several, or some by condition, at any depth.

    Those of the conditions that hold come first.
    """
    targets = [target]
    while targets:
        target = targets.pop()
        if isinstance(target, str):
            yield target
        elif isinstance(target, list):
            targets += reversed(target)
        elif isinstance(target, dict):
            first = sorted(target, key=lambda condition: condition not in conditions)
            targets += [target[condition] for condition in reversed(first)]


def _object(text: str) -> dict[str, Any]:
    """The object of a JSON file with comments; one that is none says nothing."""
    text = _LAST_COMMA.sub(r"\1", _COMMENT.sub(r"\1", text))
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _dictionary(owner: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = owner.get(key)
    return value if isinstance(value, dict) else {}


def _resolve(
    repository: FileIndex, file: int, imports: Sequence[Import]
) -> Sequence[Collection[int]]:
    resolver = repository.of(_Resolver)
    return [resolver.meant(file, imported) for imported in imports]


_QUERIES = {"javascript": _JAVASCRIPT_QUERY, "typescript": _TYPESCRIPT_QUERY} | {
    "tsx": _TYPESCRIPT_QUERY
}
RULES = ImportRules(_QUERIES, _read, _resolve, _WORDS)
