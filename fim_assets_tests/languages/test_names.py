import json
from pathlib import Path

import enry
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim_assets.languages.names import canonical
from fim_assets_tests.languages.build_table import DATA

TABLE: dict[str, list[str]] = json.loads((DATA / "linguist.json").read_text("utf-8"))

SPELLINGS = [(s, name) for name, aliases in TABLE.items() for s in (name, *aliases)]

NAMES: dict[str, list[str]] = json.loads(
    Path(__file__).with_name("data_sets.json").read_text("utf-8")
)
"""How data sets write their languages, in a column or as a folder's name.

`the-stack` is the `lang` of programming-languages-to-file-extensions.json (bigcode-dataset);
`the-stack-smol-xs` and `starcoderdata` are names of folders, as those list them who load all;
`stack-edu` are the configurations of its card; `github-code` is `_LANG_TO_EXTENSION` of its script.
"""

UNKNOWN = {"Arduino", "JSX", "Jade", "KiCad", "Maple", "Nimrod", "Ragel in Ruby Host", "maple"}
"""Those of them that Linguist has no name for: it had once, or has names of parts of them."""

OTHERWISE = {
    "Bro": "Zeek",
    "CSharp": "C#",
    "Coq": "Rocq Prover",
    "Cpp": "C++",
    "Cucumber": "Gherkin",
    "GAS": "Unix Assembly",
    "Groff": "Roff",
    "HTML+Django": "Jinja",
    "ASP": "Classic ASP",
    "Mathematica": "Wolfram Language",
    "MediaWiki": "Wikitext",
    "Octave": "MATLAB",
    "Perl6": "Raku",
    "RHTML": "HTML+ERB",
    "SaltStack": "Salt",
    "VimL": "Vim script",
    "Visual Basic": "Visual Basic .NET",
    "c-sharp": "C#",
    "cpp": "C++",
    "f-sharp": "F#",
    "mathematica": "Wolfram Language",
    "visual-basic": "Visual Basic .NET",
}
"""Those whose name differs in more than case, white space and separators."""


def letters(name: str) -> str:
    return name.lower().replace(" ", "").replace("-", "")


@pytest.mark.parametrize("data_set", NAMES)
def test_the_languages_of_data_sets_are_known(data_set: str) -> None:
    for name in NAMES[data_set]:
        known = canonical(name)
        assert (known is None) == (name in UNKNOWN), name
        if known is not None and name in OTHERWISE:
            assert known == OTHERWISE[name]
        elif known is not None:
            assert letters(known) == letters(name)


def test_a_folder_of_the_stack_is_the_language_in_its_rows() -> None:
    folders = {name.lower().replace(" ", "-").replace("#", "-sharp") for name in NAMES["the-stack"]}
    assert {*NAMES["the-stack-smol-xs"]} <= folders
    for name in NAMES["the-stack"]:
        assert canonical(name.lower().replace(" ", "-").replace("#", "-sharp")) == canonical(name)


@pytest.mark.parametrize(
    ("name", "language"),
    [
        *[(name, "C++") for name in ("C++", "c++", "cpp", "Cpp", " CPP\n")],
        *[(name, "C#") for name in ("C#", "c-sharp", "CSharp", "c_sharp", "C Sharp")],
        *[(name, "Go") for name in ("GO", "golang")],
        *[(name, "Shell") for name in ("Shell", "bash", "sh", "shell-script")],
        *[(name, "Jupyter Notebook") for name in ("Jupyter_Notebook", "jupyter-notebook")],
        ("Objective-C++", "Objective-C++"),
        ("C", "C"),
        *[(name, None) for name in ("C--", "-", "", " ", "C+", "Klingon", "Python, Java")],
    ],
)
def test_spellings(name: str, language: str | None) -> None:
    assert canonical(name) == language


@given(st.one_of(st.sampled_from([s for s, _ in SPELLINGS]), st.text(max_size=12)))
def test_a_name_is_the_name_of_itself_in_any_case(name: str) -> None:
    known = canonical(name)
    assert known is None or canonical(known) == known
    assert canonical(f" {name.casefold()}\t") == known


def test_no_spelling_means_two_languages() -> None:
    assert len(SPELLINGS) > 1200
    assert [(s, canonical(s)) for s, name in SPELLINGS if canonical(s) != name] == []


RENAMED = {"robots.txt": "Robots Exclusion Rules", "SaltStack": "Salt", "Vim Script": "Vim script"}
"""What go-enry's Linguist, which is older, calls otherwise."""


def test_go_enry_resolves_every_alias_that_it_knows_to_the_same_language() -> None:
    known = 0
    for spelling, name in SPELLINGS:
        mode = spelling.replace(" ", "_")
        found = enry.get_language_by_modeline(f"# -*- mode: {mode} -*-\n".encode()).language
        known += bool(found)
        assert not found or RENAMED.get(found, found) == name, spelling
    assert known > 1150
