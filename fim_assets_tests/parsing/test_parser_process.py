"""Grammars that crash, in real processes: a module of a grammar's name does what they do."""

import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from subprocess import run
from textwrap import dedent
from time import monotonic, sleep

import pytest

from fim_assets.cuts.syntax_tree import Request, Span, find_middle, find_middles
from fim_assets.imports.graph import Source, dependency_graph
from fim_assets.parsing import parser_process
from fim_assets.parsing.grammars import GRAMMARS, find_grammar
from fim_assets.parsing.parser_process import ParserError
from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import Fim
from fim_assets_tests.corpora import open_corpus, run_all, write_shard

PYTHON = "def add(a, b):\n    return a + b\n"
STAGES = ["raw_shards", "fim_shards"]
GO = "package a\n\nfunc F(a int) int { return a }\n"


@pytest.fixture(autouse=True)
def fresh_process() -> Iterator[None]:
    """Begin and end each test without a process that parses: one imports a grammar once."""
    yield
    end_process()


def end_process() -> None:
    while parser_process._parsers:
        parser_process._parsers.popitem()[1].end()


@pytest.fixture
def go_grammar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that takes the place of Go's grammar in processes which start from now on."""
    monkeypatch.syspath_prepend(tmp_path / "grammars")
    module = tmp_path / "grammars" / "tree_sitter_go.py"
    module.parent.mkdir()
    return module


def request(text: str, language: str, key: int = 1) -> Request:
    grammar = find_grammar(language, None)
    assert grammar is not None
    return Request(text.encode(), grammar, key, 0)


def here(request: Request) -> Span:
    return find_middle(request.source, GRAMMARS[request.grammar], request.key, request.file)


def test_answers_are_those_of_this_process_in_the_order_of_requests() -> None:
    requests = [request(PYTHON * (key % 50 + 1), "Python", key) for key in range(100)]
    large = request("x = [1, 2, 3]\n# é\n" * 100_000, "Python", 7)
    requests[50:50] = [large, large, request("((((((((((", "C")]
    answers = find_middles(requests)
    assert answers.pop(52) == "syntax_errors"
    del requests[52]
    assert answers == [here(request) for request in requests]
    assert find_middles([]) == []


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT"])
def test_a_parser_that_always_crashes_costs_its_own_files_the_fallback(
    name: str, go_grammar: Path
) -> None:
    go_grammar.write_text(f"import os, signal\ndef language(): os.kill(os.getpid(), signal.{name})")
    requests = [request(PYTHON, "Python"), request(GO, "Go"), request(PYTHON, "Python", 2)]
    answers = find_middles(requests * 2)
    assert answers == [here(requests[0]), "parser_crashed", here(requests[2])] * 2


def test_a_grammar_that_ends_its_process_crashes_too_and_what_it_prints_is_no_answer(
    go_grammar: Path,
) -> None:
    go_grammar.write_text("import os\ndef language():\n    print('x' * 99999)\n    os._exit(0)")
    assert find_middles([request(GO, "Go")]) == ["parser_crashed"]


def test_a_parser_that_crashes_by_chance_is_an_error_of_its_document(
    go_grammar: Path, tmp_path: Path
) -> None:
    """It crashes in the batch and once alone, and then no more."""
    left = tmp_path / "crashes left"
    go_grammar.write_text(
        dedent(f"""
            import os, pathlib, tree_sitter_python
            def language():
                left = pathlib.Path({str(left)!r})
                if left.read_text():
                    left.write_text(left.read_text()[1:])
                    os.abort()
                return tree_sitter_python.language()
        """)
    )
    left.write_text("**")
    with pytest.raises(ParserError) as caught:
        find_middles([request(PYTHON, "Python"), request(GO, "Go")])
    assert caught.value.request == 1

    left.write_text("**")
    end_process()
    recipe = Recipe(fim=Fim(fim_rate=1, split="syntax"))
    rows = [
        {"id": name, "text": text, "metadata": {"language": name}}
        for name, text in (("Python", PYTHON), ("Go", GO))
    ]
    write_shard(tmp_path / "raw" / "a.jsonl", rows)
    corpus = open_corpus(tmp_path, recipe)
    failure = run_all(corpus, STAGES)["a"].failure or ""
    assert failure.startswith(f"fim_shards: {tmp_path / 'raw' / 'a.jsonl'}: ")
    assert "line 2 (id 'Go')" in failure
    assert not corpus.files("fim_shards", "a").receipt.exists()
    assert run_all(corpus, STAGES)["a"].failure is None


@pytest.mark.parametrize(
    "body",
    [
        "os.kill(os.getpid(), signal.SIGKILL)",
        "os.kill(os.getpid(), signal.SIGTERM)",
        "os.write(2, b'tree-sitter failed to allocate 8 bytes'); os.abort()",
    ],
)
def test_a_parser_that_others_end_says_nothing_of_the_file(body: str, go_grammar: Path) -> None:
    go_grammar.write_text(f"import os, signal\ndef language():\n    {body}\n")
    with pytest.raises(ParserError):
        find_middles([request(GO, "Go")])
    assert find_middles([request(PYTHON, "Python")]) == [here(request(PYTHON, "Python"))]


def test_so_it_is_where_imports_are_read_and_the_file_is_named(go_grammar: Path) -> None:
    go_grammar.write_text("import os\ndef language(): os.kill(os.getpid(), 9)\n")
    paths = ("README.md", "a.py", "b.go")
    with pytest.raises(ParserError) as caught:
        dependency_graph([Source(path, None, "") for path in paths], max_bytes=100)
    assert caught.value.request == 2


def test_a_fault_of_our_own_is_no_crash(go_grammar: Path) -> None:
    go_grammar.write_text("def language(): raise LookupError('ours')")
    with pytest.raises(RuntimeError, match="LookupError: ours"):
        find_middles([request(GO, "Go")])


def test_nothing_of_it_stays_when_its_process_ends_by_whatever_way() -> None:
    code = dedent("""
        import os, sys
        from fim_assets.cuts.syntax_tree import Request, find_middles
        from fim_assets.parsing.parser_process import _parsers
        find_middles([Request(b"x = 1\\n", 9, 1, 0)])
        print(_parsers[os.getpid()]._process.pid, flush=True)
        if sys.argv[1] == "kill": os.kill(os.getpid(), 9)
    """)
    for way in ("end", "kill"):
        ended = run([sys.executable, "-c", code, way], capture_output=True, check=False, text=True)
        status = Path("/proc", ended.stdout.strip(), "status")
        end = monotonic() + 10
        while status.exists() and "State:\tZ" not in status.read_text() and monotonic() < end:
            sleep(0.05)
        assert not status.exists() or "State:\tZ" in status.read_text()


LOCALES = {"LC_ALL": "C.UTF-8"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


def test_cuts_do_not_depend_on_the_locale_nor_on_what_memory_holds() -> None:
    """Each text is parsed differently in these locales by a process that keeps its own."""
    code = dedent("""
        import sys
        from fim_assets.cuts.syntax_tree import Request, find_middles
        from fim_assets.parsing.grammars import find_grammar
        texts = {
            "Ruby": "a = <<\u0100B\\nx\\n\u0100B\\ndef \u03b1? = :\u03b1?\\n",
            "Swift": "let a\u3000= 1\u2028let b\u00a0= 2 + \u03b1\\n",
            "TypeScript": "let a = 1\u3000\u03b1\\n\u03b1\\n",
            "Bash": "echo {\U000f02a2,x} {\u0100..\u0101}\\n",
        }
        print(find_middles([
            Request(text.encode() * 9, find_grammar(language, None), key, 0)
            for language, text in texts.items() for key in range(100)
        ]))
    """)
    found = Counter(
        run(
            [sys.executable, "-X", "utf8", "-c", code],
            capture_output=True,
            check=True,
            env=os.environ | locale | {"MALLOC_PERTURB_": perturb},
        ).stdout
        for locale in LOCALES
        for perturb in ("0", "165")
    )
    assert list(found.values()) == [4]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
