"""The order of a repository's files: a function of the set of files, not of their lines' order.

Only `given` keeps the lines' order.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from fim_assets.draws import document_keys, shuffled
from fim_assets.errors import ShardError, UserError
from fim_assets.raw_shards.shard_reader import ShardReader
from fim_assets.repository_shards.group import File

if TYPE_CHECKING:
    from fim_assets.imports.graph import Graph
    from fim_assets.recipe.repositories import Order

Imports = Callable[[Sequence[File]], "Graph"]
"""What says which of some files import which, by their indices."""


class UnusableFileError(UserError):
    """A file, by its line, of which nothing says what becomes of it."""

    def __init__(self, line: int, problem: str, advice: str) -> None:
        super().__init__(problem, advice)
        self.line = line

    def in_shard(self, reader: ShardReader) -> ShardError:
        """The same, with the path of the shard that holds the line."""
        path, line = reader.place(self.line)
        return ShardError(f"line {line:,}: {self.problem}", self.advice, path)


class PlacedFile(NamedTuple):
    """A file in its place.

    Attributes:
        place: Why it stands there, one of `record.PLACES`.
        component: What it should stay together with: files of a number hang together by imports.
        depends_on: The lines of the files that it imports.
        unresolved: How many of its imports are no files of the repository.
        copy: Whether a file of the same path and text stands before it.
        tokens: Its ids, where they were counted.
    """

    file: File
    place: str
    component: int
    depends_on: tuple[int, ...] = ()
    unresolved: int = 0
    copy: bool = False
    tokens: int | None = None


def order_files(
    files: Sequence[File], order: "Order", seed: int, imports: Imports
) -> list[PlacedFile]:
    """Order the files of one repository; `seed` is its own, for what is drawn.

    `imports` is asked if the order is `dependencies`; what it raises, this raises.
    """
    if order != "given":
        files = sorted(files, key=_key)
    placed = _ORDERS[order](files, seed, imports)
    seen: set[tuple[str | None, str]] = set()
    for number, one in enumerate(placed):
        what = one.file.document.path, one.file.document.text
        placed[number] = one._replace(copy=what in seen)
        seen.add(what)
    return placed


def read_imports(files: Sequence[File], most_parsed: int) -> "Graph":
    """What the files import, by their texts; those larger than `most_parsed` bytes are not read.

    Raises:
        UnusableFileError: If a file's parser was killed, or crashes by chance.
    """
    from fim_assets.imports.graph import Source, dependency_graph
    from fim_assets.parsing.parser_process import ParserError

    documents = [file.document for file in files]
    sources = [Source(one.path, one.language, one.text) for one in documents]
    try:
        return dependency_graph(sources, most_parsed)
    except ParserError as error:
        line = files[error.request].number
        advice = "run it again, or take the document out of the raw shard"
        raise UnusableFileError(line, str(error), advice) from error


def path_key(path: str | None) -> list[tuple[int, str]]:
    """Sorts paths depth first: the files of a folder, then its folders.

    Of `b.py`, `a/c.py` and `a/b/d.py`, `b.py` is the first and `a/b/d.py` the last.
    """
    *folders, name = (path or "").split("/")
    return [*((1, folder) for folder in folders), (0, name)]


def _key(file: File) -> tuple[object, ...]:
    """By which files are told apart: by their bytes, where all else is equal."""
    document = file.document
    return path_key(document.path), document.text, document.id or "", file.member


def _given(files: Sequence[File], _seed: int, _imports: Imports) -> list[PlacedFile]:
    return [PlacedFile(file, "given", number) for number, file in enumerate(files)]


def _by_path(files: Sequence[File], _seed: int, _imports: Imports) -> list[PlacedFile]:
    return [PlacedFile(file, "path", number) for number, file in enumerate(files)]


def _drawn(files: Sequence[File], seed: int, _imports: Imports) -> list[PlacedFile]:
    documents = [file.document for file in files]
    keys = document_keys(seed, [one.id for one in documents], [one.text for one in documents])
    drawn = enumerate(shuffled(keys).tolist())
    return [PlacedFile(files[file], "random", number) for number, file in drawn]


def _by_dependencies(files: Sequence[File], _seed: int, imports: Imports) -> list[PlacedFile]:
    from fim_assets.imports.order import order_by_dependencies

    graph = imports(files)
    # The files are sorted: their places tell them apart, and are quick to compare.
    placed = order_by_dependencies(graph.depends_on, range(len(files)))
    return [
        PlacedFile(
            files[one.file],
            graph.reasons[one.file]
            or ("cycle" if one.in_cycle else "imports" if depends_on else "imports_none"),
            one.component,
            tuple(sorted(files[other].number for other in depends_on)),
            graph.unresolved[one.file],
        )
        for one in placed
        for depends_on in [graph.depends_on[one.file]]
    ]


_ORDERS: "dict[Order, Callable[[Sequence[File], int, Imports], list[PlacedFile]]]" = {
    "given": _given,
    "path": _by_path,
    "random": _drawn,
    "dependencies": _by_dependencies,
}
