from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from scipy.stats import chisquare
from tree_sitter import Node, Tree, TreeCursor

from fim_assets.cuts import syntax, syntax_tree
from fim_assets.cuts.syntax_tree import LEVELS, CannotCutError, Span, choose_span, find_middle
from fim_assets.draws import RandomStream, document_keys, uniforms
from fim_assets.parsing.grammars import GRAMMARS
from fim_assets.parsing.tree import CannotParseError
from fim_assets_tests.parsing.test_tree import SNIPPETS, Snippet, error_bytes, grammar, parse

MANY = 20_000


def cuts_of(
    key: int, file: int, text: str, language: str | None, path: str | None = None
) -> tuple[int, int]:
    """Code points before the middle and before the suffix."""
    source = text.encode()
    span = find_middle(source, GRAMMARS[grammar(language, path)], key, file)
    return len(source[: span.start].decode()), len(source[: span.end].decode())


LAW_SOURCES = {
    "Python": "import os\n\n\ndef add(a, b):\n    # sümme 🚀\n    return a + b\n\n\nadd(1, 2)\n",
    "C": "int f(int a) { return a + 1; }\n\n\nint g(void) { return f(2) }\n",
    "Markdown": "# Title\n\nSome *text*.\n\n- a\n- b\n",
    "Rust": "/// é\nfn f(a: u8) -> u8 {\n    if a > 1 { a } else { 2 }\n}\n",
    "SQL": "SELECT a,\n       b\nFROM t;\n\nSELECT 1;\n",
}
"""Small sources; C's holds a MISSING node, which has no size."""


def parsed(language: str) -> tuple[Tree, bytes]:
    source = LAW_SOURCES[language].encode()
    return parse(source, language), source


def named_nodes(cursor: TreeCursor, level: int = 0) -> Iterator[tuple[int, Span]]:
    """All named nodes below the cursor's that are no ERROR, with how many stand above each."""
    if cursor.goto_first_child():
        more = True
        while more:
            node = cursor.node
            assert node is not None
            counts = node.is_named and node.type != "ERROR"
            if counts:
                yield level, Span(node.start_byte, node.end_byte)
            yield from named_nodes(cursor, level + counts)
            more = cursor.goto_next_sibling()
        cursor.goto_parent()


def node_law(tree: Tree) -> Counter[Span]:
    """The weight of each node's extent; those that coincide add up."""
    law: Counter[Span] = Counter()
    for level, span in named_nodes(tree.walk()):
        if level < LEVELS and span.end > span.start:
            law[span] += span.end - span.start
    return law


def best_run(root: Node, start: int, end: int) -> Span | None:
    """By trying each: the children in a row with the largest intersection over union."""
    around = root
    while inner := [n for n in around.children if n.start_byte <= start and n.end_byte >= end]:
        around = inner[0]
    children = around.children or [around]
    best, best_fit = None, 0.0
    for left in range(len(children)):
        for right in range(left, len(children)):
            run = Span(children[left].start_byte, children[right].end_byte)
            shared = min(run.end, end) - max(run.start, start)
            fit = shared / (max(run.end, end) - min(run.start, start))
            if fit > best_fit:
                best, best_fit = run, fit
    return best


def run_law(tree: Tree, size: int) -> Counter[Span]:
    """How many random spans each run is the best for."""
    law: Counter[Span] = Counter()
    for start in range(size + 1):
        for end in range(start + 1, size + 1):
            run = best_run(tree.root_node, start, end)
            if run is not None:
                law[run] += 1
    return law


def assert_follows(drawn: Counter[Span], law: Counter[Span]) -> None:
    assert drawn.keys() <= law.keys()
    total, count = sum(law.values()), sum(drawn.values())
    expected = {span: weight / total * count for span, weight in law.items()}
    cells = [(drawn[span], weight) for span, weight in expected.items() if weight >= 5]
    rare = [(drawn[span], weight) for span, weight in expected.items() if weight < 5]
    if rare:
        cells.append((sum(n for n, _ in rare), sum(weight for _, weight in rare)))
    observed, expectations = zip(*cells, strict=True)
    assert chisquare(observed, expectations).pvalue > 1e-6


@pytest.mark.parametrize("language", LAW_SOURCES)
def test_each_byte_and_level_leads_to_a_node_so_that_nodes_weigh_their_size(language: str) -> None:
    """Over all bytes and levels: no draw is left to chance, so the weights are exact."""
    tree, source = parsed(language)
    reached = Counter(
        syntax_tree._node_at(tree, position, level)
        for position in range(len(source) + 1)
        for level in range(LEVELS)
    )
    del reached[None]
    assert reached == node_law(tree)


@pytest.mark.parametrize("language", LAW_SOURCES)
def test_each_span_leads_to_the_siblings_that_fit_it_best(language: str) -> None:
    tree, source = parsed(language)
    root = tree.root_node
    for start in range(len(source) + 1):
        assert syntax_tree._aligned_run(root, start, start) is None
        for end in range(start + 1, len(source) + 1):
            expected = best_run(root, start, end)
            assert syntax_tree._aligned_run(root, start, end) == expected, (start, end)


def test_nodes_and_runs_follow_the_enumerated_law_half_each() -> None:
    language = "Python"
    tree, source = parsed(language)
    keys = document_keys(1, [str(n) for n in range(MANY)], [LAW_SOURCES[language]] * MANY)
    as_run = uniforms(keys, np.zeros(MANY, np.int64), RandomStream.NODE_OR_RUN) < 0.5
    assert chisquare([as_run.sum(), MANY - as_run.sum()]).pvalue > 1e-6
    runs, nodes = Counter[Span](), Counter[Span]()
    for key, run in zip(keys.tolist(), as_run.tolist(), strict=True):
        (runs if run else nodes)[choose_span(tree, len(source), key, 0)] += 1
    assert_follows(nodes, node_law(tree))
    assert_follows(runs, run_law(tree, len(source)))
    total = Counter[Span]()
    for law in (node_law(tree), run_law(tree, len(source))):
        weight = sum(law.values())
        for span, share in law.items():
            total[span] += round(share / weight * 10**12)
    assert_follows(runs + nodes, total)


def test_nodes_deeper_than_the_levels_are_left_out() -> None:
    source = b"x = " + b"[" * 60 + b"]" * 60 + b"\n"
    tree = parse(source, "Python")
    levels = dict(named_nodes(tree.walk()))
    assert max(levels) > LEVELS
    reached = {
        syntax_tree._node_at(tree, position, level)
        for position in range(len(source))
        for level in range(LEVELS)
    }
    assert reached - {None} == {span for level, span in levels.items() if level < LEVELS} | {
        Span(0, 1)
    }


@pytest.mark.parametrize(
    ("snippet", "language", "path"),
    [
        (snippet, *called)
        for snippet in SNIPPETS
        for called in (
            *((name, None) for name in snippet.names),
            *((f" {name.upper()}\n", "a.unknown") for name in snippet.names),
            *((None, f"src/a.b{ending}") for ending in snippet.endings),
            *(("Esperanto", f"A{ending.upper()} ") for ending in snippet.endings),
        )
    ],
)
def test_languages_are_known_by_name_and_by_ending(
    snippet: Snippet, language: str | None, path: str | None
) -> None:
    root = parse(snippet.source.encode(), language, path).root_node
    assert root.type == snippet.root
    assert not root.has_error
    assert str(root) == str(parse(snippet.source.encode(), snippet.names[0]).root_node)
    first, second = cuts_of(1, 0, snippet.source, language, path)
    assert 0 <= first < second <= len(snippet.source)


@pytest.mark.parametrize(
    "snippet",
    [snippet for snippet in SNIPPETS if snippet.names[0] != "Markdown"],
    ids=lambda s: s.names[0],
)
def test_white_space_alone_has_no_node(snippet: Snippet) -> None:
    """But in Markdown, whose grammar has nodes for blank lines."""
    for source in (b" \n\t\n", b"\r\n", b" ", b"\n"):
        tree = parse(source, snippet.names[0])
        for key in document_keys(1, [None] * 8, [str(n) for n in range(8)]).tolist():
            with pytest.raises(CannotCutError, match="no_node"):
                choose_span(tree, len(source), key, 0)


def test_a_file_with_some_errors_is_served_and_errors_are_no_nodes() -> None:
    source = "#define X(a) a {\nint f(void) { X(int) b = ; return @ 1; }\n" + "int g(void);\n" * 5
    tree = parse(source.encode(), "C")
    assert 0 < 2 * error_bytes(tree.root_node) <= len(source)
    law = node_law(tree)
    for key in document_keys(1, [None] * 300, [str(n) for n in range(300)]).tolist():
        span = choose_span(tree, len(source), key, 0)
        as_run = (
            uniforms(np.array([key], np.uint64), np.array([0]), RandomStream.NODE_OR_RUN)[0] < 0.5
        )
        assert as_run or span in law


@pytest.mark.parametrize("language", LAW_SOURCES)
def test_cuts_are_code_points_and_the_middle_is_the_spans_text(language: str) -> None:
    text = f"{LAW_SOURCES[language]}".replace("a", "ä").replace("Title", "タイトル🚀e\u0301")
    source = text.encode()
    tree = parse(source, language)
    for key in document_keys(2, [None] * 200, [str(n) for n in range(200)]).tolist():
        first, second = cuts_of(key, 3, text, language)
        span = choose_span(tree, len(source), key, 3)
        assert text[:first].encode() == source[: span.start]
        assert text[first:second].encode() == source[span.start : span.end]


def test_cuts_depend_on_key_and_file_alone() -> None:
    text = LAW_SOURCES["Python"]
    cuts = {
        (key, file): cuts_of(key, file, text, "Python") for key in range(20) for file in range(5)
    }
    assert len(set(cuts.values())) > 20
    for (key, file), pair in reversed(cuts.items()):
        assert cuts_of(key, file, text, None, "a.py") == pair


GENERATOR = np.random.default_rng(1)
HOSTILE = {
    **{repr(c): c for c in ("\0", "(", "{", "[", "/*", '"', "'", "`", "<", "\\", "${", "\r", "🚀")},
    "nested": "(" * 1000 + ")" * 1000,
    "blocks": "{" * 1000 + ";" + "}" * 1000,
    "indented": "".join(" " * depth + "if x:\n" for depth in range(60)),
    "latin-1": GENERATOR.bytes(2000).decode("latin-1"),
    "punctuation": "".join(GENERATOR.choice(list("(){}[]<>\"'`/*\\\n #$@!;:,.ab0=+-|&?"), 2000)),
    "unicode": "".join(map(chr, GENERATOR.integers(1, 0xD800, 700))),
}


def spans_or_reason(source: bytes, language: str) -> list[Span] | str:
    try:
        tree = parse(source, language)
        return [choose_span(tree, len(source), key, 0) for key in range(8)]
    except (CannotParseError, CannotCutError) as error:
        return error.reason


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda s: s.names[0])
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_texts_are_cut_at_code_points_or_refused(snippet: Snippet, text: str) -> None:
    source = (text * max(1, 700 // len(text))).encode()
    outcome = spans_or_reason(source, snippet.names[0])
    if isinstance(outcome, str):
        assert outcome in syntax.CUT.reasons
    else:
        assert all(source[start:end].decode() for start, end in outcome)


def test_a_wide_letter_leaves_the_cuts_around_it_where_they_are() -> None:
    wide = "for a in \U000f02a2; do\n  echo {\U0010ffff,$a} # é\ndone\n"
    plain = "for a in zzzz; do\n  echo {zzzz,$a} # zz\ndone\n"
    for key in document_keys(3, [None] * 200, [str(n) for n in range(200)]).tolist():
        span = find_middle(wide.encode(), GRAMMARS[grammar("Bash")], key, 0)
        assert span == find_middle(plain.encode(), GRAMMARS[grammar("Bash")], key, 0)


@pytest.mark.parametrize("text", ["echo $é\n", "echo \\é1\n", "a=1é {é..ü}\n", "é=(é)\n"])
def test_such_a_grammars_nodes_are_cut_at_code_points(text: str) -> None:
    source = text.encode()
    for key in document_keys(4, [None] * 300, [str(n) for n in range(300)]).tolist():
        start, end = find_middle(source, GRAMMARS[grammar("Bash")], key, 0)
        assert source[:start].decode() + source[start:end].decode() + source[end:].decode() == text
