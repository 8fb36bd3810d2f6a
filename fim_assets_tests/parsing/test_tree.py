from pathlib import Path
from typing import NamedTuple

import pytest
from tree_sitter import Node, Tree

from fim_assets.parsing import grammars
from fim_assets.parsing import tree as bounded
from fim_assets.parsing.grammars import GRAMMARS, find_grammar
from fim_assets.parsing.tree import CannotParseError


def parse(source: bytes, language: str | None, path: str | None = None) -> Tree:
    """Parse with the grammar that a language or a path leads to."""
    return bounded.parse(source, GRAMMARS[grammar(language, path)])


def grammar(language: str | None, path: str | None = None) -> int:
    found = find_grammar(language, path)
    assert found is not None
    return found


class Snippet(NamedTuple):
    """A source without an error, its tree's root, and what its language is called."""

    source: str
    root: str
    names: tuple[str, ...]
    endings: tuple[str, ...]


SNIPPETS = [
    Snippet(
        'if [ -n "$1" ]; then\n  echo "$1"\nfi\n',
        "program",
        ("Shell", "Bash", "sh"),
        (".sh", ".bash"),
    ),
    Snippet("int f(int a) {\n    return a + 1;\n}\n", "translation_unit", ("C",), (".c", ".h")),
    Snippet(
        "class A {\n    int F(int a) => a + 1;\n}\n",
        "compilation_unit",
        ("C#", "C-Sharp", "CSharp"),
        (".cs",),
    ),
    Snippet(
        "template <class T> struct A { T f() const { return {}; } };\n",
        "translation_unit",
        ("C++", "Cpp"),
        (".cpp", ".cc", ".cxx", ".hpp", ".hh"),
    ),
    Snippet("package a\n\nfunc F(a int) int { return a }\n", "source_file", ("Go",), (".go",)),
    Snippet("class A {\n    int f(int a) { return a; }\n}\n", "program", ("Java",), (".java",)),
    Snippet(
        "const f = (a) => <b>{a}</b>;\n",
        "program",
        ("JavaScript", "js", "jsx"),
        (".js", ".mjs", ".cjs", ".jsx"),
    ),
    Snippet("# Title\n\nSome *text*.\n\n- a\n- b\n", "document", ("Markdown",), (".md",)),
    Snippet("<p>\n<?php function f($a) { return $a; } ?>\n</p>\n", "program", ("PHP",), (".php",)),
    Snippet("def f(a):\n    return a + 1\n", "module", ("Python",), (".py", ".pyi")),
    Snippet("class A\n  def f(a) = a + 1\nend\n", "program", ("Ruby",), (".rb",)),
    Snippet("fn f<'a>(a: &'a u8) -> u8 {\n    *a\n}\n", "source_file", ("Rust",), (".rs",)),
    Snippet("SELECT a, b FROM t WHERE a > 1;\n", "program", ("SQL",), (".sql",)),
    Snippet("func f(a: Int) -> Int { return a + 1 }\n", "source_file", ("Swift",), (".swift",)),
    Snippet(
        "function f<T>(a: T): T { return <T>a; }\n",
        "program",
        ("TypeScript", "ts"),
        (".ts", ".mts", ".cts"),
    ),
    Snippet("const f = (a: number) => <b>{a as number}</b>;\n", "program", ("TSX",), (".tsx",)),
]


def test_the_fifteen_languages_of_stack_edu_and_tsx_are_here() -> None:
    assert len(SNIPPETS) == 16
    ours = {name.lower() for snippet in SNIPPETS for name in snippet.names}
    assert {grammar.names[0] for grammar in GRAMMARS} <= ours


def test_the_name_decides_before_the_ending() -> None:
    assert parse(b"x = 1\n", "Python", "a.c").root_node.type == "module"
    assert parse(b"int x;\n", "", "a.c").root_node.type == "translation_unit"


@pytest.mark.parametrize(
    ("language", "path"),
    [
        (None, None),
        ("", ""),
        ("COBOL", None),
        ("COBOL", "a.cob"),
        (None, "py"),
        (None, ".py"),
        (None, "a.py/b"),
        (None, "."),
        (None, "a."),
        (None, "\0"),
    ],
)
def test_a_language_without_grammar(language: str | None, path: str | None) -> None:
    assert find_grammar(language, path) is None


def error_bytes(node: Node) -> int:
    if node.type == "ERROR":
        return node.end_byte - node.start_byte
    return sum(map(error_bytes, node.children))


@pytest.mark.parametrize(
    ("language", "broken"), [("C", "int f( { ) ] ]\n"), ("Go", "package a\n) ) ) ) ) ) )\n")]
)
def test_errors_over_more_than_half(language: str, broken: str) -> None:
    """Spaces behind belong to no node, so that they set the share of the ERROR nodes exactly."""
    tree = bounded._parser(grammars._BY_NAME[language.lower()]).parse(broken.encode())
    errors = error_bytes(tree.root_node)
    half = broken.ljust(2 * errors)
    assert len(half) == 2 * errors
    assert error_bytes(parse(half.encode(), language).root_node) == errors
    with pytest.raises(CannotParseError, match="syntax_errors"):
        parse(half[:-1].encode(), language)


NEEDS_SQUARES = {
    "bash": ["\0", "a?", "<", "|", "<<A\n", "[a]("],
    "c": ["x=>", "$("],
    "java": ["x=>", "a<"],
    "c#": ["a<"],
    "c++": ["a<"],
    "swift": ["/*", "#"],
}


@pytest.mark.parametrize(
    ("language", "unit"), [(name, unit) for name, units in NEEDS_SQUARES.items() for unit in units]
)
def test_a_repetition_that_no_parser_can_bear_is_not_parsed(language: str, unit: str) -> None:
    """200 kB of each took over 40 seconds, or gigabytes, before they were refused."""
    source = b"normal code; " + (unit * (200_000 // len(unit))).encode()
    with pytest.raises(CannotParseError, match="repetitive"):
        parse(source, language)


def test_what_no_parser_comes_to_an_end_with_is_not_parsed() -> None:
    """Broken TSX of 8 kB, which took over 1,000 s and 2 GB; others are served as before."""
    broken = Path(__file__).with_name("endless.tsx").read_bytes()
    sound = b"const f = (a: number) => <b>{a as number}</b>;\n" * 50
    before = str(parse(sound, "TSX").root_node)
    with pytest.raises(CannotParseError, match="too_complex"):
        parse(broken, "TSX")
    assert str(parse(sound, "TSX").root_node) == before


def test_what_a_scanner_reads_over_and_over_is_not_parsed() -> None:
    """Of white space between operators, Swift's reads far more than there is."""
    ladder = "".join(" " * (depth % 200) + "+ /a/ #/\n" for depth in range(1200))
    with pytest.raises(CannotParseError, match="too_complex"):
        parse(ladder.encode(), "Swift")


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda s: s.names[0])
def test_a_file_that_is_read_in_chunks_is_parsed_as_a_whole(snippet: Snippet) -> None:
    """Chunks end anywhere, also within a code point."""
    for before in range(4):
        source = b" " * before + (snippet.source.replace("a", "日") * 300).encode()
        parser = bounded._parser(GRAMMARS[grammar(snippet.names[0])])
        in_chunks = bounded._parse_within_bounds(parser, source).root_node
        assert str(in_chunks) == str(parser.parse(source).root_node)


@pytest.mark.parametrize("period", range(1, 10))
def test_a_repetition_is_one_of_a_short_period_and_long_enough(period: int) -> None:
    unit = bytes(range(65, 65 + period))
    before = bytes(range(97, 97 + 26))
    assert bounded._repeats(before + unit * (1100 // period)) is (period <= 8)
    assert not bounded._repeats(before + unit * (500 // period) + before)
    assert not bounded._repeats(b"")


def test_the_ending_decides_between_the_grammars_of_one_language() -> None:
    source = b"const a = <div>text</div>;\n"
    assert parse(source, "TypeScript", "a/b.tsx").root_node.has_error is False
    with pytest.raises(CannotParseError, match="syntax_errors"):
        parse(source, "TypeScript", "a/b.ts")
    assert parse(b"x = 1\n", "Python", "a/b.tsx").root_node.type == "module"


def test_a_grammar_that_is_given_ascii_alone_keeps_every_place() -> None:
    """Bash's code looks characters up in a table of 384: beyond it lies chance."""
    plain = "for a in zzzz; do\n  echo {zzzz,$a} # zz\ndone\n"
    wide = plain.replace("zzzz", "\U000f02a2", 1).replace("zzzz", "\U0010ffff").replace("zz", "é")
    assert len(wide.encode()) == len(plain)
    assert str(parse(wide.encode(), "Bash").root_node) == str(
        parse(plain.encode(), "Bash").root_node
    )
