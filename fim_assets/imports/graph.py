"""Which files of a repository depend on which: imports read, and resolved to its files."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

from fim_assets.imports.base import FileIndex, Import, ImportRules, normalised
from fim_assets.imports.registry import rules_of
from fim_assets.parsing.grammars import find_grammar, grammar_versions
from fim_assets.parsing.parser_process import ParserError, ask

_VERSION = 1
"""Raised whenever files would depend on others, though the grammars are the same."""

NO_GRAMMAR = "no_grammar"
TOO_LARGE = "too_large"


class Source(NamedTuple):
    """A file of a repository: its path and its language as data sets write them, and its text."""

    path: str | None
    language: str | None
    text: str


class Graph(NamedTuple):
    """What the files of a repository depend on, by their indices in what was given.

    Attributes:
        depends_on: The files that each file imports, in ascending order, never itself.
        unresolved: How many imports of each file mean no file of the repository, such as packages.
        reasons: Why a file's imports were not read, None where they were: no rules for its language
            (`no_grammar`), `too_large`, or a reason of `parsing.tree` or `parser_process`.
    """

    depends_on: list[list[int]]
    unresolved: list[int]
    reasons: list[str | None]


def imports_identity() -> dict[str, Any]:
    """What decides which files depend on which, for fingerprints."""
    return {"grammars": grammar_versions(), "imports": _VERSION}


def dependency_graph(sources: Sequence[Source], max_bytes: int) -> Graph:
    """Read the imports of a repository's files, and find the files that they mean.

    A file depends on files of its own language alone, or of one that shares rules with it.

    Args:
        sources: All files of a repository; copies, and files without a path, may be among them.
        max_bytes: The largest file that is parsed, in UTF-8.

    Raises:
        ParserError: If the parser of a file was killed, or crashes by chance: `request` is the
            file's index.
    """
    imports, reasons = _imports(sources, max_bytes)
    paths, texts = [normalised(source.path) for source in sources], [s.text for s in sources]
    graph = Graph([[] for _ in sources], [0] * len(sources), reasons)
    for rules, of_language in imports.items():
        repository = FileIndex(paths, texts, of_language)
        for file, found in of_language.items():
            resolved = rules.resolve(repository, file, found)
            meant = [files for files in resolved if files is not None]
            itself = {file, *repository.at(paths[file])}
            graph.depends_on[file] = sorted({*chain.from_iterable(meant)} - itself)
            graph.unresolved[file] = sum(not files for files in meant)
    return graph


def _imports(
    sources: Sequence[Source], max_bytes: int
) -> tuple[dict[ImportRules, dict[int, list[Import]]], list[str | None]]:
    """The imports of each file, by the rules of its language; and why a file's were not read."""
    from fim_assets.imports.reading import Request, read_imports

    reasons: list[str | None] = [NO_GRAMMAR] * len(sources)
    imports: dict[ImportRules, dict[int, list[Import]]] = defaultdict(dict)
    found: dict[int, list[Import]] = {}
    requests: dict[int, Request] = {}
    for file, source in enumerate(sources):
        grammar = find_grammar(source.language, source.path)
        rules = None if grammar is None else rules_of(grammar)
        if grammar is None or rules is None:
            continue
        imports[rules][file] = found[file] = []
        encoded = source.text.encode()
        reasons[file] = TOO_LARGE if len(encoded) > max_bytes else None
        if reasons[file] is None:
            requests[file] = Request(encoded, grammar)
    try:
        answers = ask(read_imports, [*requests.values()])
    except ParserError as error:
        raise ParserError(str(error), [*requests][error.request]) from error
    for file, answer in zip(requests, answers, strict=True):
        if isinstance(answer, str):
            reasons[file] = answer
        else:
            found[file] += answer
    return imports, reasons
