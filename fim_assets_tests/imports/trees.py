"""Repositories that tests write by hand, and what comes of them."""

from collections.abc import Mapping

from fim_assets.imports.graph import Graph, Source, dependency_graph
from fim_assets.imports.order import order_by_dependencies

MAX_BYTES = 1 << 20


def graph(files: Mapping[str, str]) -> Graph:
    """Of texts by path, whose endings tell their languages."""
    return dependency_graph([Source(path, None, text) for path, text in files.items()], MAX_BYTES)


def edges(files: Mapping[str, str]) -> dict[str, set[str]]:
    """The paths of what each file depends on, of files that depend on something."""
    paths = [*files]
    depends_on = zip(paths, graph(files).depends_on, strict=True)
    return {path: {paths[other] for other in others} for path, others in depends_on if others}


def order(files: Mapping[str, str]) -> list[str]:
    """The paths in the order of dependencies, ties by path."""
    paths = [*files]
    return [paths[placed.file] for placed in order_by_dependencies(graph(files).depends_on, paths)]


def unresolved(files: Mapping[str, str]) -> dict[str, int]:
    """How many imports of each file mean no file, of files that have such."""
    counts = zip(files, graph(files).unresolved, strict=True)
    return {path: count for path, count in counts if count}
