"""C and C++: `#include "x.h"` and `#include <x.h>`, also in a branch that a build may leave out.

A quoted path is looked for beside the including file; then, as an angled one from the start, in
each folder above the file and in `include`, `inc` and `src` of it, the nearest first; then wherever
a path of the repository ends in it, the nearest to the file. An angled header of the standards is
meant only in an `include` above the file, as in the repository of a C library: others have headers
of the same names beside it. Names that a macro makes are not followed; the grammar reads no
`import` of C++20.
"""

import re
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
(preproc_include path: (string_literal) @quoted)
(preproc_include path: (system_lib_string) @angled)
"""
_INCLUDE_FOLDERS = ("", "include", "inc", "src")

_STANDARD = re.compile(
    r"(?:aio|assert|complex|cpio|ctype|direct|dirent|dlfcn|endian|errno|fcntl|features|fenv|float"
    r"|fnmatch|ftw|getopt|glob|grp|iconv|inttypes|io|iso646|langinfo|libgen|limits|locale|malloc"
    r"|math|memory|monetary|mqueue|ndbm|netdb|nl_types|paths|poll|process|pthread|pwd|regex|sched"
    r"|search|semaphore|setjmp|signal|spawn|stdalign|stdarg|stdatomic|stdbool|stdckdint|stddef"
    r"|stdint|stdio|stdlib|stdnoreturn|string|strings|stropts|syslog|tar|termios|tgmath|threads"
    r"|time|trace|uchar|ulimit|unistd|utime|utmpx|wchar|wctype|windows|wordexp)\.h"
)
"""Headers of the C and POSIX standards, and of the C library of Windows."""


def _read(matches: Sequence[Match]) -> list[Import]:
    found = [
        Import(kind, text[1:-1].strip().replace("\\", "/"))
        for match in matches
        for kind, [text] in match.texts.items()
    ]
    return list(dict.fromkeys(found))


class _Resolver:
    """Finds headers in a repository; what it found once, it keeps."""

    def __init__(self, repository: FileIndex) -> None:
        self._repository = repository
        self._from: dict[tuple[str, str], Sequence[int]] = {}

    def meant(self, file: int, imported: Import) -> Sequence[int]:
        """The files that an include means, see the module's docstring."""
        folder, path = folder_of(self._repository.paths[file]), imported.target
        beside = self._repository.at(joined(folder, path))
        if beside and imported.kind == "quoted":
            return beside
        if imported.kind == "angled" and _STANDARD.fullmatch(path):
            return self._above(folder, path, ["include"])
        if (folder, path) not in self._from:
            self._from[folder, path] = self._above(folder, path, _INCLUDE_FOLDERS)
        if files := self._from[folder, path]:
            return files
        end = re.sub(r"^(\.\./)+", "", joined("", path))
        return self._repository.nearest(file, self._repository.ending(end))

    def _above(self, folder: str, path: str, includes: Sequence[str]) -> Sequence[int]:
        for above in (folder, *folders_above(folder)):
            for include in includes:
                if files := self._repository.at(joined(above, f"{include}/{path}")):
                    return files
        return ()


def _resolve(
    repository: FileIndex, file: int, imports: Sequence[Import]
) -> Sequence[Collection[int]]:
    resolver = repository.of(_Resolver)
    return [resolver.meant(file, imported) for imported in imports]


RULES = ImportRules({"c": _QUERY, "c++": _QUERY}, _read, _resolve, ("include",))
