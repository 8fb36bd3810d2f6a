"""Rust: `mod x;`, `use`, `extern crate` and `include!`, wherever they stand in a file.

`mod x;` means `x.rs` or `x/mod.rs` beside the file's children, or what `#[path]` names. A path of
`use` means the deepest module on it that is a file: from `crate`, `self` or `super` on, or from a
child of the file's own module, a crate of the workspace (by the name of `Cargo.toml`, or of the
folder around `src`), or a child of the crate's root, in this order. A crate's root is the first
folder above the file that holds `lib.rs` or `main.rs`; a file in `tests`, `examples` or `benches`
is its own. Modules that are written in a file are counted: `super` inside of one means the file.
Paths outside of `use`, macros and `mod` in macros are not read.
"""

import re
import tomllib
from collections.abc import Collection, Iterator, Sequence
from itertools import takewhile
from typing import NamedTuple

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
(mod_item name: (identifier) @mod !body)
((attribute_item (attribute (identifier) @_path value: (string_literal (string_content) @path)))
  . (attribute_item)? . (mod_item name: (identifier) @mod !body)
  (#eq? @_path "path"))
(mod_item name: (identifier) @name body: (declaration_list)) @inline
(use_declaration argument: (_) @use)
(extern_crate_declaration name: (identifier) @use)
((macro_invocation macro: (identifier) @_include
  (token_tree . (string_literal (string_content) @include) .))
  (#eq? @_include "include"))
"""

_COMMENTS = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_TOKENS = re.compile(r"[{},*]|::|[^\s{},*:]+")


class _Inline(NamedTuple):
    """A module that is written in its parent's file: its name, and where it ends, in bytes."""

    name: str
    end: int


def _read(matches: Sequence[Match]) -> list[Import]:
    with_path = {match.text("mod") for match in matches if match.text("path")}
    imports: list[Import] = []
    inline: list[_Inline] = []
    for match in sorted(matches, key=lambda match: match.start):
        while inline and inline[-1].end <= match.start:
            inline.pop()
        around = [module.name for module in inline]
        if text := match.text("inline"):
            name = _plain(match.text("name"))
            inline.append(_Inline(name, match.start + len(text.encode())))
        elif place := match.text("path") or match.text("include"):
            imports.append(Import("path", place))
        elif (module := match.text("mod")) and module not in with_path:
            imports.append(Import("mod", "::".join([*around, _plain(module)])))
        elif use := match.text("use"):
            imports += [_use(path, around) for path in _paths(use) if path]
    return imports


def _paths(use: str) -> Iterator[list[str]]:
    """The paths of a `use`, its braces opened: `a::{b, c::{self, d}}` is a::b, a::c and a::c::d."""
    before: list[list[str]] = []
    path: list[str] = []
    named = False
    tokens = iter([*_TOKENS.findall(_COMMENTS.sub(" ", use)), ","])
    for token in tokens:
        if token in {"{", "}", ","}:
            if named and token != "{":
                yield path
            if token == "{":
                before.append(path)
            elif token == "}":
                before = before[:-1]
            path, named = [*before[-1]] if before else [], False
        elif token == "as":
            next(tokens)
        elif token != "::":
            named = True
            if token != "*" and not (token == "self" and path):
                path.append(_plain(token))


def _use(path: list[str], around: list[str]) -> Import:
    """A path as seen from the file's own module, when it stands in modules of that file."""
    supers = len([*takewhile(lambda part: part == "super", path)])
    if path[0] == "crate":
        return Import("crate", "::".join(path[1:]))
    if path[0] == "self" or 0 < supers <= len(around):
        inside = around[: len(around) - supers]
        return Import("self", "::".join([*inside, *path[max(supers, 1) :]]))
    if supers:
        return Import("super", "::".join(path[len(around) + 1 :]))
    return Import("use", "::".join(path))


def _plain(name: str) -> str:
    return name.removeprefix("r#")


class _Resolver:
    """Finds the modules of a repository. A module is named by the folder of its children."""

    def __init__(self, repository: FileIndex) -> None:
        self._repository = repository
        self._roots: dict[str, str] = {}
        self._crates: dict[str, list[str]] = {}
        for folder, text in repository.project_files("Cargo.toml").items():
            for name, root in _crates(text):
                self._crates.setdefault(name, []).append(joined(folder, root))
        for root in repository.folders_ending("src"):
            if self._root_file(root):
                name = folder_of(root).rpartition("/")[2].replace("-", "_")
                self._crates.setdefault(name, []).append(root)

    def meant(self, file: int, imported: Import) -> Collection[int]:
        """The files that an import means, see the module's docstring."""
        path = self._repository.paths[file]
        folder, kind = folder_of(path), imported.kind
        parts = imported.target.split("::") if imported.target else []
        if kind == "path":
            return self._repository.at(joined(folder, imported.target))
        module = self._module(path)
        if kind == "mod":
            child = "/".join(parts)
            places = (module, folder, path.removesuffix(".rs"))
            return next(filter(None, (self._child(place, child) for place in places)), ())
        if kind == "self":
            return self._deepest(module, parts) or (file,)
        if kind == "super":
            while parts[:1] == ["super"]:
                module, parts = folder_of(module), parts[1:]
            parent = folder_of(module)
            return self._deepest(parent, parts) or self._file(parent)
        root = self._root(path)
        if kind == "crate":
            itself = path.endswith("/main.rs") and folder == root
            root_file = () if itself else self._root_file(root)
            return self._deepest(root, parts) or root_file or (file,)
        return self._named(file, module, root, parts)

    def _named(self, file: int, module: str, root: str, parts: list[str]) -> Collection[int]:
        """What a path means that begins with a name."""
        if self._child(module, parts[0]):
            return self._deepest(module, parts)
        crate = self._repository.nearest_folder(file, self._crates.get(parts[0], ()))
        if crate is not None:
            return self._deepest(crate, parts[1:]) or self._root_file(crate)
        return self._deepest(root, parts) if self._child(root, parts[0]) else ()

    def _module(self, path: str) -> str:
        """The module of a file."""
        folder, _, name = path.rpartition("/")
        is_root = name in {"lib.rs", "main.rs"} or not self._root_file(self._root(path))
        return folder if is_root or name == "mod.rs" else path.removesuffix(".rs")

    def _root(self, path: str) -> str:
        """The root module of a file's crate."""
        folder, *above = folders_above(path)
        if folder not in self._roots:
            roots = (root for root in (folder, *above) if self._root_file(root))
            self._roots[folder] = next(roots, folder)
        root = self._roots[folder]
        # Each file right in `bin` is a program of its own.
        return folder if folder == f"{root}/bin".lstrip("/") else root

    def _root_file(self, root: str) -> Sequence[int]:
        return self._at(root, "lib.rs") or self._at(root, "main.rs")

    def _file(self, module: str) -> Sequence[int]:
        """The file of a module."""
        beside = self._repository.at(f"{module}.rs")
        return beside or self._at(module, "mod.rs") or self._root_file(module)

    def _child(self, module: str, name: str) -> Sequence[int]:
        return self._at(module, f"{name}.rs") or self._at(module, f"{name}/mod.rs")

    def _at(self, folder: str, name: str) -> Sequence[int]:
        return self._repository.at(f"{folder}/{name}".lstrip("/"))

    def _deepest(self, module: str, parts: Sequence[str]) -> Sequence[int]:
        """The file of the last module on a path that has one, none where none of them has."""
        deepest: Sequence[int] = ()
        for part in parts:
            files = self._child(module, part)
            module = f"{module}/{part}".lstrip("/")
            if not files and not self._repository.has_folder(module):
                break
            deepest = files or deepest
        return deepest


def _crates(text: str) -> Iterator[tuple[str, str]]:
    """The library's name of a `Cargo.toml`, and the folder of its root."""
    try:
        cargo = tomllib.loads(text)
        library = cargo.get("lib", {})
        name = library.get("name") or cargo["package"]["name"]
        yield name.replace("-", "_"), folder_of(library.get("path", "src/lib.rs"))
    except (tomllib.TOMLDecodeError, AttributeError, KeyError, TypeError):
        return  # no crate, or not as Cargo wants it


def _resolve(
    repository: FileIndex, file: int, imports: Sequence[Import]
) -> Sequence[Collection[int]]:
    resolver = repository.of(_Resolver)
    return [resolver.meant(file, imported) for imported in imports]


RULES = ImportRules({"rust": _QUERY}, _read, _resolve, ("mod", "path", "use", "extern", "include"))
