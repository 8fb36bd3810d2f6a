"""The cut method `syntax`: the middle is around a syntax node, or a run of sibling nodes."""

from typing import TYPE_CHECKING, Any

from fim_assets.cuts.base import Attempt, Cut, CutError
from fim_assets.cuts.grammars import find_grammar, grammar_versions

if TYPE_CHECKING:
    from fim_assets.cuts.files import Files
    from fim_assets.draws import Ints

_VERSION = 2
"""Raised whenever `syntax` would cut a file elsewhere."""


def _cut(files: "Files", rows: "Ints", *, syntax_max_bytes: int) -> Attempt:
    from fim_assets.cuts.parser_process import ParserError, Request, find_middles

    answers: dict[int, tuple[int, int] | str] = {}
    requests: dict[int, Request] = {}
    code_starts: dict[int, int] = {}
    for row in rows.tolist():
        index, document = int(files.indices[row]), int(files.documents[row])
        code, language, path = files.texts[row], files.languages[document], files.paths[document]
        code_starts[row] = 0
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
    try:
        middles = find_middles([*requests.values()])
    except ParserError as error:
        row = [*requests][error.request]
        raise CutError(int(files.documents[row]), str(error)) from error
    for (row, request), middle in zip(requests.items(), middles, strict=True):
        if isinstance(middle, str):
            answers[row] = middle
        else:
            before, inside = request.source[: middle.start], request.source[slice(*middle)]
            start = code_starts[row] + len(before.decode())
            answers[row] = start, start + len(inside.decode())
    return Attempt.of(answers)


def _identity() -> dict[str, Any]:
    return {"grammars": grammar_versions(), "syntax": _VERSION}


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
        "parser_crashed": "its grammar's parser crashes on it",
    },
    mistakes={
        "no_grammar": "neither raw.language_field, {language_field}, nor raw.path_field, "
        "{path_field}, names a language with a grammar"
    },
    fields=("syntax_max_bytes",),
    raw_fields=("path_field",),
    identity=_identity,
)
