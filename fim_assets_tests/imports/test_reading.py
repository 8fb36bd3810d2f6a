"""Reading imports: whatever a file holds, and wherever in it they stand."""

import random
from collections.abc import Iterator
from itertools import chain

import pytest

from fim_assets.imports import reading
from fim_assets.imports.base import Import
from fim_assets.imports.reading import Request, read_imports
from fim_assets.imports.registry import RULES
from fim_assets.parsing.grammars import GRAMMARS, find_grammar
from fim_assets_tests.imports import (
    test_c,
    test_csharp,
    test_go,
    test_java,
    test_javascript,
    test_php,
    test_python,
    test_ruby,
    test_rust,
)
from fim_assets_tests.parsing.test_tree import grammar

REPOSITORIES = (
    test_c.PROGRAM,
    test_csharp.SHOP,
    test_go.MODULE,
    test_java.SHOP,
    test_javascript.APP,
    test_php.SHOP,
    test_python.PACKAGE,
    test_ruby.GEM,
    test_rust.WORKSPACE,
)
LANGUAGES = sorted({name for rules in RULES for name in rules.queries})


def requests(between: str) -> Iterator[Request]:
    """The sources of all repositories, with something between two lines."""
    for path, text in chain.from_iterable(files.items() for files in REPOSITORIES):
        found = find_grammar(None, path)
        if found is not None:
            yield Request(text.replace("\n", between).encode(), found)


def test_each_language_is_read_by_the_rules_of_one_module() -> None:
    assert len(LANGUAGES) == sum(len(rules.queries) for rules in RULES)
    assert {*LANGUAGES} <= {each.names[0] for each in GRAMMARS}


@pytest.mark.parametrize("far", [0, 3000])
def test_what_is_read_around_words_is_what_the_whole_tree_holds(
    far: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where there are three thousand blanks between two lines."""
    blanks = "".join(random.Random(1).choices("\n\t ", k=far))
    asked = [*requests(f"\n{blanks}\n")]
    found = [read_imports(request) for request in asked]
    with_words = reading._reader
    monkeypatch.setattr(reading, "_reader", lambda g: with_words(g)._replace(words=()))
    whole = [read_imports(request) for request in asked]
    assert [sorted(imports) for imports in found] == [sorted(imports) for imports in whole]
    assert sum(isinstance(found, Import) for found in chain.from_iterable(found)) > 50


@pytest.mark.parametrize("language", LANGUAGES)
def test_broken_texts_give_imports_or_a_reason(language: str) -> None:
    draws = random.Random(language)
    pieces = [*"{}()[];:.,*'\"\\/#<$ \n", "as", "self", "::", "\0", "é", "use", "import", "from"]
    ours = [r.source for r in requests("\n") if GRAMMARS[r.grammar].names[0] == language]
    for source in ours * 20:
        text = source.decode()
        for _ in range(draws.randrange(1, 8)):
            at = draws.randrange(len(text) + 1)
            text = text[:at] + draws.choice(pieces) + text[at + draws.choice([0, 0, 1, 5]) :]
        answer = read_imports(Request(text.encode(), grammar(language)))
        assert isinstance(answer, str) or all(isinstance(found, Import) for found in answer)
