"""`syntax` with a limit: its own law, of the nodes and runs that are within it."""

from collections import Counter

import numpy as np
import pytest

from fim_assets.cuts.bounded import ENDS, TRIES, Bound, EndsOf
from fim_assets.cuts.files import Files
from fim_assets.cuts.registry import CUTS
from fim_assets.cuts.syntax_tree import (
    CannotCutError,
    Limit,
    Request,
    Span,
    choose_span,
    find_middle,
    find_middles,
)
from fim_assets.draws import Ints, RandomStream, document_keys, uniforms
from fim_assets.parsing.grammars import GRAMMARS
from fim_assets_tests.cuts.test_syntax_tree import (
    LAW_SOURCES,
    assert_follows,
    best_run,
    node_law,
    parsed,
)
from fim_assets_tests.parsing.test_tree import SNIPPETS, Snippet, grammar, parse

MANY = 6000


def fives(texts: list[str]) -> list[Ints]:
    """Ids of five bytes, and one of the rest."""
    sizes = (len(text.encode()) for text in texts)
    return [np.minimum(np.arange(5, size + 5, 5), size) for size in sizes]


ENDS_OF: dict[str, EndsOf] = ENDS | {"tokens": fives}


def touched(ends: list[int], span: Span) -> int:
    """Units that a span which is not empty has a byte of."""
    begins = [0, *ends[:-1]]
    units = zip(begins, ends, strict=True)
    return sum(begin < span.end and end > span.start for begin, end in units)


@pytest.mark.parametrize("language", ["Python", "Markdown", "Rust"])
@pytest.mark.parametrize(("unit", "most"), [("chars", 6), ("lines", 1), ("tokens", 2)])
def test_nodes_and_runs_follow_the_enumerated_law_of_those_that_fit(
    language: str, unit: str, most: int
) -> None:
    """Runs: of all random spans within the limit, those whose best run is within it too."""
    tree, source = parsed(language)
    [ends] = ENDS_OF[unit]([source.decode()])
    listed, size = ends.tolist(), len(source)
    nodes, runs = node_law(tree), Counter[Span]()
    for span in [*nodes]:
        if touched(listed, span) > most:
            del nodes[span]
    for start in range(size + 1):
        for end in range(start + 1, size + 1):
            if touched(listed, Span(start, end)) <= most:
                run = best_run(tree.root_node, start, end)
                if run is not None and touched(listed, run) <= most:
                    runs[run] += 1
    keys = document_keys(1, [str(n) for n in range(MANY)], [language] * MANY)
    as_run = uniforms(keys, np.zeros(MANY, np.int64), RandomStream.NODE_OR_RUN) < 0.5
    drawn = Counter[Span](), Counter[Span]()
    limit = Limit.of(most, ends)
    for key, run in zip(keys.tolist(), as_run.tolist(), strict=True):
        drawn[run][choose_span(tree, size, key, 0, limit)] += 1
    assert_follows(drawn[0], nodes)
    assert_follows(drawn[1], runs)


def test_a_limit_that_everything_is_within_passes_over_nothing_but_what_is_asked() -> None:
    """Nodes: with a wide limit they are those without one, and each is passed over in turn."""
    tree, source = parsed("Python")
    limit = Limit.of(len(source), ENDS["chars"]([source.decode()])[0])
    keys = document_keys(1, [str(n) for n in range(50)], ["x"] * 50)
    as_run = uniforms(keys, np.zeros(50, np.int64), RandomStream.NODE_OR_RUN) < 0.5
    changed = 0
    for key in keys[~as_run].tolist():
        first = choose_span(tree, len(source), key, 0)
        assert choose_span(tree, len(source), key, 0, limit) == first
        later = [choose_span(tree, len(source), key, 0, limit, passed) for passed in range(TRIES)]
        changed += len({*later}) > 1
    assert changed > 10


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: snippet.names[0])
@pytest.mark.parametrize(("unit", "most"), [("chars", 3), ("lines", 1), ("tokens", 1)])
def test_every_grammar_finds_middles_within_a_limit(snippet: Snippet, unit: str, most: int) -> None:
    [ends] = ENDS_OF[unit]([snippet.source])
    number, limit = grammar(snippet.names[0]), Limit.of(most, ends)
    requests = [Request(snippet.source.encode(), number, key, 0, limit) for key in range(20)]
    answers = find_middles(requests)
    spans = [answer for answer in answers if isinstance(answer, Span)]
    assert spans
    assert max(touched(ends.tolist(), span) for span in spans) <= most
    assert {answer for answer in answers if isinstance(answer, str)} <= {"no_node_fits"}


def test_where_no_node_is_within_the_limit_there_is_a_reason() -> None:
    source = f"{'x' * 200}\n".encode()
    tree = parse(source, "Python")
    limit = Limit.of(3, ENDS["chars"]([source.decode()])[0])
    for key in range(20):
        with pytest.raises(CannotCutError, match="no_node_fits"):
            choose_span(tree, len(source), key, 0, limit)
    empty = b" \n" * 40
    with pytest.raises(CannotCutError, match=r"no_node$"):
        choose_span(parse(empty, "Python"), len(empty), 1, 0, Limit.of(3, np.arange(1, 81)))


def test_the_process_that_parses_answers_as_this_one() -> None:
    source = LAW_SOURCES["Rust"].encode()
    limit = Limit.of(4, ENDS["chars"]([source.decode()])[0])
    asked = [
        Request(source, grammar("Rust"), key, 0, limit, passed)
        for key in range(5)
        for passed in range(3)
    ]
    rust = GRAMMARS[grammar("Rust")]
    here = [
        find_middle(source, rust, request.key, request.file, request.limit, request.passed)
        for request in asked
    ]
    assert find_middles(asked) == here


def test_a_node_that_does_not_fit_alone_is_passed_over() -> None:
    """Alone, what has a digit in it is three ids; in the file each line is one."""

    def ends(texts: list[str]) -> list[Ints]:
        found = ENDS["lines"](texts)
        for number, text in enumerate(texts):
            if len(text) < 40 and any(map(str.isdigit, text)):
                found[number] = np.array([1, 1, len(text.encode())])
        return found

    text = "alpha = beta\n1 + 2 + 3\ngamma(delta, 4)\n# é\nepsilon = zeta\n"
    count, languages = 300, ["Python"] * 300
    keys = document_keys(1, [str(n) for n in range(count)], [text] * count)
    files = Files.split([text] * count, keys, languages, [None] * count, None, ())
    bound = Bound("tokens", 1, ends)
    rows = np.arange(count)
    attempt = CUTS["syntax"].cut(files, rows, syntax_max_bytes=1000, max_middle=bound)
    assert not attempt.reasons
    middles = {text[a:b] for a, b in zip(*(cut.tolist() for cut in attempt.cuts), strict=True)}
    assert {"alpha", "beta", "gamma", "delta", "# é"} <= middles
    assert not any(character.isdigit() for middle in middles for character in middle)


def test_a_repositorys_paths_are_no_code() -> None:
    """Positions are those of the file, limits those of its code."""
    code = "αβγ = delta(epsilon)\n"
    texts = [f"<repo>x<sep>src/é🚀.py\n{code}"] * 200
    keys = document_keys(1, [str(n) for n in range(200)], texts)
    files = Files.split(texts, keys, [None] * 200, [None] * 200, "<sep>", ["<repo>"])
    rows = np.flatnonzero(files.indices == 1)
    bound = Bound("chars", 5, ENDS["chars"])
    attempt = CUTS["syntax"].cut(files, rows, syntax_max_bytes=1000, max_middle=bound)
    cuts = zip(attempt.rows.tolist(), *(cut.tolist() for cut in attempt.cuts), strict=True)
    middles = {files.texts[row][first:second] for row, first, second in cuts}
    assert not attempt.reasons
    assert {"αβγ", "delta"} <= middles
    assert not any("é" in middle or len(middle) > 5 for middle in middles)
