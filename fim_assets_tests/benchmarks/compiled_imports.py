"""Dependencies of files beside what compilers say: Node and TypeScript, and javac.

`python -m fim_assets_tests.benchmarks.compiled_imports <folder> [--differences N]`: of each folder
in it, a repository. It needs `node` with npm, and `javac`; TypeScript is installed for it, beside.
Of C and C++, which no compiler reads without a build, the share of includes that mean a file.
"""

import argparse
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fim_assets.imports import c
from fim_assets.imports.base import FileIndex
from fim_assets.imports.graph import Source, dependency_graph
from fim_assets.imports.reading import Request, read_imports
from fim_assets.parsing.grammars import GRAMMARS, find_grammar
from fim_assets_tests.benchmarks.measure import Row
from fim_assets_tests.benchmarks.tables import console, print_rows

MAX_BYTES = 1 << 20

Edge = tuple[str, str]

_HERE = Path(__file__).parent
_LANGUAGES = {
    "JavaScript, TypeScript": {"javascript", "typescript", "tsx"},
    "Java": {"java"},
    "C, C++": {"c", "c++"},
}


@dataclass
class Comparison:
    """Edges of repositories: those that both have, and those that one alone has."""

    found: int = 0
    beyond: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    def add(self, repository: str, ours: set[Edge], theirs: set[Edge]) -> None:
        """Compare a repository's."""
        self.found += len(ours & theirs)
        for edges, only in ((self.beyond, ours - theirs), (self.missed, theirs - ours)):
            edges += [f"{repository}: {file} → {other}" for file, other in sorted(only)]

    def row(self, name: str) -> Row:
        """What of both is in the other."""
        ours, theirs = self.found + len(self.beyond), self.found + len(self.missed)
        shares = {"precision %": ours, "recall %": theirs}
        numbers = {title: 100 * self.found / max(edges, 1) for title, edges in shares.items()}
        return Row(name, {"edges": theirs, **numbers})


def texts(folder: Path) -> dict[str, str]:
    """The files of a folder that are read, by path: those in UTF-8."""
    found = {}
    for file in sorted(folder.rglob("*.*")):
        wanted = find_grammar(None, file.name) is not None or file.suffix == ".json"
        if wanted and file.is_file() and "node_modules" not in file.parts:
            try:
                found[file.relative_to(folder).as_posix()] = file.read_bytes().decode()
            except UnicodeDecodeError:
                continue
    return found


def javascript(folder: Path, modules: Path) -> set[Edge]:
    """What Node and TypeScript, which lies in `modules`, resolve."""
    return _edges("node", _HERE / "javascript_imports.js", modules, folder)


def java(folder: Path, _modules: Path) -> set[Edge]:
    """What javac resolves."""
    return _edges("java", _HERE / "JavaImports.java", folder)


def _edges(*command: str | Path) -> set[Edge]:
    lines = subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout
    pairs = (line.split("\t") for line in lines.splitlines())
    return {(file, other) for file, other in pairs if file != other}


def install_typescript(folder: Path) -> Path:
    """Where it is then."""
    command = [
        "npm",
        "install",
        "--silent",
        "--ignore-scripts",
        "--prefix",
        str(folder),
        "typescript@5",
    ]
    subprocess.run(command, check=True)
    return folder / "node_modules"


def include_shares(files: dict[str, str]) -> Counter[str]:
    """How many includes of each kind there are, and how many of these mean a file."""
    imports = {}
    for number, (path, text) in enumerate(files.items()):
        grammar = find_grammar(None, path)
        if grammar is not None and GRAMMARS[grammar].names[0] in _LANGUAGES["C, C++"]:
            answer = read_imports(Request(text.encode(), grammar))
            imports[number] = [] if isinstance(answer, str) else answer
    repository = FileIndex([*files], [*files.values()], imports)
    counts = Counter[str]()
    for file, found in imports.items():
        for each, meant in zip(found, c.RULES.resolve(repository, file, found), strict=True):
            counts[each.kind] += 1
            counts[f"{each.kind}, found"] += bool(meant)
    return counts


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser("fim_assets_tests.benchmarks.compiled_imports")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--differences", type=int, default=20, help="how many edges are shown")
    options = parser.parse_args(arguments)
    references = {"JavaScript, TypeScript": javascript, "Java": java}
    comparisons = {language: Comparison() for language in references}
    includes = Counter[str]()
    with tempfile.TemporaryDirectory(prefix="fim-bench-") as place:
        modules = install_typescript(Path(place))
        for folder in sorted(place for place in options.folder.iterdir() if place.is_dir()):
            files = texts(folder)
            includes += include_shares(files)
            for language, reference in references.items():
                ours, read = _ours(files, _LANGUAGES[language])
                if read:
                    theirs = {edge for edge in reference(folder, modules) if read.issuperset(edge)}
                    comparisons[language].add(folder.name, ours, theirs)
    terminal = console()
    rows = [comparison.row(language) for language, comparison in comparisons.items()]
    shares = [
        Row(f"includes, {kind}", {"edges": includes[kind], "found %": 100 * found / includes[kind]})
        for kind in ("quoted", "angled")
        if (found := includes[f"{kind}, found"])
    ]
    print_rows(terminal, "dependencies of files", [*rows, *shares])
    for comparison in comparisons.values():
        for name, edges in (("missed", comparison.missed), ("beyond", comparison.beyond)):
            for edge in edges[: options.differences]:
                terminal.print(f"{name}  {edge}", markup=False, highlight=False)


def _ours(files: dict[str, str], languages: set[str]) -> tuple[set[Edge], set[str]]:
    """The edges between files of some languages, and those of them that were read."""
    named = {
        path
        for path in files
        if (grammar := find_grammar(None, path)) is not None
        and GRAMMARS[grammar].names[0] in languages
    }
    paths = [*files]
    graph = dependency_graph([Source(path, None, files[path]) for path in paths], MAX_BYTES)
    read = {p for p, reason in zip(paths, graph.reasons, strict=True) if not reason} & named
    edges = {
        (path, paths[other])
        for path, others in zip(paths, graph.depends_on, strict=True)
        for other in others
    }
    return {edge for edge in edges if read.issuperset(edge)}, read


if __name__ == "__main__":
    main()
