"""The cut method `syntax`: the middle is around a syntax node, or a run of sibling nodes."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fim_assets.cuts.base import Attempt, Cut, CutError
from fim_assets.cuts.bounded import Answer, Bound, first_fitting
from fim_assets.parsing.grammars import find_grammar, grammar_versions

if TYPE_CHECKING:
    from fim_assets.cuts.files import Files
    from fim_assets.cuts.syntax_tree import Request
    from fim_assets.draws import Ints

_VERSION = 2
"""Raised whenever `syntax` would cut a file elsewhere."""


def _cut(
    files: "Files", rows: "Ints", *, syntax_max_bytes: int, max_middle: Bound | None
) -> Attempt:
    from fim_assets.cuts.syntax_tree import Request

    answers: dict[int, Answer] = {}
    requests: dict[int, Request] = {}
    code_starts: dict[int, int] = {}
    for row in rows.tolist():
        index, path_chars = int(files.indices[row]), int(files.path_chars[row])
        code, language, path = files.texts[row], files.languages[row], files.paths[row]
        code, code_starts[row] = code[path_chars:], path_chars
        if files.markers[row - index]:
            # In a repository's document the first line of each file is its path, and no code.
            path, feed, code = code.partition("\n")
            language, code_starts[row] = None, len(path) + len(feed)
        grammar, source = find_grammar(language, path), code.encode()
        if grammar is None:
            answers[row] = "no_grammar"
        elif len(source) > syntax_max_bytes:
            answers[row] = "too_large"
        else:
            requests[row] = Request(source, grammar, int(files.keys[row]), index)
    if max_middle is None:
        return Attempt.of(answers | _answers(files, requests, code_starts))
    bounded = _bounded(requests, max_middle)

    def draw(some: Sequence[int], turn: int) -> dict[int, Answer]:
        asked = {row: bounded[row]._replace(passed=turn) for row in some}
        return _answers(files, asked, code_starts)

    texts = {row: files.texts[row] for row in requests}
    return Attempt.of(answers | first_fitting(draw, texts, max_middle, _NO_NODE_FITS))


def _bounded(requests: "Mapping[int, Request]", bound: Bound) -> "dict[int, Request]":
    from fim_assets.cuts.syntax_tree import Limit

    ends = bound.ends([request.source.decode() for request in requests.values()])
    return {
        row: request._replace(limit=Limit.of(bound.most, of_source))
        for (row, request), of_source in zip(requests.items(), ends, strict=True)
    }


def _answers(
    files: "Files", requests: "Mapping[int, Request]", code_starts: Mapping[int, int]
) -> dict[int, Answer]:
    """What the parsers make of files, in code points of the file."""
    from fim_assets.cuts.syntax_tree import find_middles
    from fim_assets.parsing.parser_process import ParserError

    try:
        middles = find_middles([*requests.values()])
    except ParserError as error:
        row = [*requests][error.request]
        advice = "run it again, or take the document out of the raw shard"
        raise CutError(int(files.documents[row]), f"{error}; {advice}") from error
    answers: dict[int, Answer] = {}
    for (row, request), middle in zip(requests.items(), middles, strict=True):
        if isinstance(middle, str):
            answers[row] = middle
        else:
            before, inside = request.source[: middle.start], request.source[slice(*middle)]
            start = code_starts[row] + len(before.decode())
            answers[row] = start, start + len(inside.decode())
    return answers


def _identity() -> dict[str, Any]:
    return {"grammars": grammar_versions(), "syntax": _VERSION}


_NO_NODE_FITS = "no_node_fits"

CUT = Cut(
    name="syntax",
    text="around a node of the syntax tree, or sibling nodes",
    cut=_cut,
    reasons={
        "no_grammar": "no language with a grammar is named",
        "too_large": "larger than fim.syntax_max_bytes",
        "repetitive": "repeats itself, which can cost a parser minutes",
        "too_complex": "takes its grammar's parser more steps than code does",
        "syntax_errors": "syntax errors over more than half of it",
        "no_node": "its syntax tree has no node to cut out",
        _NO_NODE_FITS: "no node that was found is within fim.max_middle",
        "parser_crashed": "its grammar's parser crashes on it",
    },
    mistakes={
        "no_grammar": "neither raw.language_field, {language_field}, nor raw.path_field, "
        "{path_field}, names a language with a grammar"
    },
    fields=("syntax_max_bytes", "max_middle"),
    raw_fields=("path_field", "schema_name"),
    identity=_identity,
)
