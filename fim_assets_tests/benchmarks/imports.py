"""Dependencies of files in real repositories: what Python's own machinery says, reasons, and time.

`python -m fim_assets_tests.benchmarks.imports [folder] [--differences N]`: of a folder of source
distributions and wheels, or of folders of source code; without it, of the packages of this
environment.
"""

import argparse
import sysconfig
import tarfile
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from time import perf_counter
from typing import NamedTuple

from fim_assets.imports.graph import Graph, Source, dependency_graph
from fim_assets.imports.order import order_by_dependencies
from fim_assets.parsing.grammars import find_grammar
from fim_assets.parsing.parser_process import ask
from fim_assets_tests.benchmarks.fim_stage import ParsedFile, parse_file
from fim_assets_tests.benchmarks.measure import Row, cpu_seconds
from fim_assets_tests.benchmarks.python_imports import Tree, forget
from fim_assets_tests.benchmarks.stage import Cost, cost_row, take_turns
from fim_assets_tests.benchmarks.tables import console, print_rows

MAX_BYTES = 1 << 20

RATIO_TARGET = 1.4
"""CPU time of the graph over that of tree-sitter's parse."""

_ENDINGS = (".tar.gz", ".zip", ".whl")


class Named(NamedTuple):
    """A repository: its name, and its files as text by path."""

    name: str
    files: dict[str, str]

    @property
    def sources(self) -> list[Source]:
        """What `dependency_graph` is given; a language is what the path's ending tells."""
        return [Source(path, None, text) for path, text in self.files.items()]


def repositories(folder: Path | None) -> Iterator[Named]:
    """Those of a folder, by name; without one, the packages of this environment."""
    for place in sorted((folder or Path(sysconfig.get_path("purelib"))).iterdir()):
        files: dict[str, str] = {}
        if place.is_dir() and place.suffix != ".dist-info":
            files = _of_folder(place, place if folder else place.parent)
        elif place.name.endswith(_ENDINGS):
            files = _of_tar(place) if place.name.endswith(".tar.gz") else _of_zip(place)
        if any(path.endswith(".py") for path in files):
            yield Named(place.name, files)


def _of_folder(place: Path, root: Path) -> dict[str, str]:
    found = {p.relative_to(root).as_posix(): p for p in sorted(place.rglob("*.*"))}
    return _texts((path, file.read_bytes()) for path, file in found.items() if file.is_file())


def _of_tar(place: Path) -> dict[str, str]:
    with tarfile.open(place) as tar:
        members = [member for member in tar if member.isfile()]
        # A source distribution is one folder.
        return _texts(
            (member.name.partition("/")[2], file.read())
            for member in members
            if (file := tar.extractfile(member))
        )


def _of_zip(place: Path) -> dict[str, str]:
    with zipfile.ZipFile(place) as archive:
        return _texts((name, archive.read(name)) for name in archive.namelist())


def _texts(files: Iterable[tuple[str, bytes]]) -> dict[str, str]:
    """Those in UTF-8 that a language or a project's file is written in."""
    texts = {}
    for path, content in files:
        wanted = find_grammar(None, path) is not None
        if wanted or PurePosixPath(path).suffix in {".txt", ".toml", ".mod", ".json"}:
            try:
                texts[path] = content.decode()
            except UnicodeDecodeError:
                continue
    return texts


@dataclass
class Comparison:
    """Edges between the Python files of repositories.

    Attributes:
        found: Those that both have.
        beyond: Those that only we have, `repository: file → file`.
        missed: Those that only Python's machinery has.
        unread: Files that one of the two could not parse.
    """

    found: int = 0
    beyond: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    unread: int = 0

    def add(self, repository: Named, graph: Graph) -> None:
        """Compare a repository's edges."""
        paths = list(repository.files)
        with tempfile.TemporaryDirectory(prefix="fim-bench-") as folder:
            tree = Tree.write(repository.files, Path(folder))
            for path, others, reason in zip(paths, graph.depends_on, graph.reasons, strict=True):
                if not path.endswith(".py"):
                    continue
                expected = tree.imports(path)
                if expected is None or reason is not None:
                    self.unread += 1
                    continue
                ours = {paths[other] for other in others}
                self.found += len(ours & expected)
                self.beyond += [f"{repository.name}: {path} → {o}" for o in sorted(ours - expected)]
                self.missed += [f"{repository.name}: {path} → {o}" for o in sorted(expected - ours)]
        forget()


def _cost(work: Callable[[], object]) -> Cost:
    cpu, wall = cpu_seconds(), perf_counter()
    work()
    return Cost(perf_counter() - wall, cpu_seconds() - cpu)


def _graphs(sources: Sequence[Sequence[Source]]) -> list[Graph]:
    return [dependency_graph(files, MAX_BYTES) for files in sources]


def _parse(sources: Sequence[Sequence[Source]], graphs: Sequence[Graph]) -> None:
    """Parse the same files in the same way, a repository at a time."""
    for files, graph in zip(sources, graphs, strict=True):
        ask(
            parse_file,
            [
                ParsedFile(file.text.encode(), grammar)
                for file, reason in zip(files, graph.reasons, strict=True)
                if reason in {None, "syntax_errors"}
                and (grammar := find_grammar(file.language, file.path)) is not None
            ],
        )


def _order(graphs: Sequence[Graph], sources: Sequence[Sequence[Source]]) -> None:
    for graph, files in zip(graphs, sources, strict=True):
        order_by_dependencies(graph.depends_on, [(f.path, f.text) for f in files])


def import_rows(found: Sequence[Named], rounds: Iterable[object]) -> tuple[list[Row], Comparison]:
    """What repositories' edges are beside Python's, why files were not read, and what it costs."""
    sources = [repository.sources for repository in found]
    graphs = _graphs(sources)
    comparison, reasons = Comparison(), Counter[str]()
    for repository, graph in zip(found, graphs, strict=True):
        comparison.add(repository, graph)
        reasons.update(reason or "read" for reason in graph.reasons)
    size = sum(
        len(file.text.encode())
        for files, graph in zip(sources, graphs, strict=True)
        for file, reason in zip(files, graph.reasons, strict=True)
        if reason is None
    )
    variants = {
        "parse": partial(_cost, partial(_parse, sources, graphs)),
        "graph": partial(_cost, partial(_graphs, sources)),
        "order": partial(_cost, partial(_order, graphs, sources)),
    }
    costs = take_turns(variants, rounds)
    edges = comparison.found + len(comparison.beyond)
    expected = comparison.found + len(comparison.missed)
    return [
        Row(
            "edges of Python",
            {
                "repositories": len(found),
                "files": reasons.total(),
                "edges": expected,
                "precision %": 100 * comparison.found / max(edges, 1),
                "recall %": 100 * comparison.found / max(expected, 1),
            },
        ),
        *(Row(reason, {"files": count}) for reason, count in reasons.most_common()),
        cost_row("parse", costs, size),
        cost_row("graph", costs, size, ["parse"], RATIO_TARGET),
        cost_row("order", costs, None),
    ], comparison


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser("fim_assets_tests.benchmarks.imports", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--runs", type=int, default=3, help="medians of N rounds")
    parser.add_argument("--differences", type=int, default=20, help="how many edges are shown")
    options = parser.parse_args(arguments)
    rows, comparison = import_rows(list(repositories(options.folder)), range(options.runs))
    terminal = console()
    print_rows(terminal, "dependencies of files", rows)
    for name, edges in (("missed", comparison.missed), ("beyond", comparison.beyond)):
        for edge in edges[: options.differences]:
            terminal.print(f"{name}  {edge}", markup=False, highlight=False)


if __name__ == "__main__":
    main()
