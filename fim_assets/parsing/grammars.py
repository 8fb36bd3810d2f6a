"""The grammars that we have, and which of them a file's language needs."""

from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import PurePosixPath


@dataclass(frozen=True)
class Grammar:
    """A tree-sitter grammar: its module, its language's names in lower case, and file endings.

    Attributes:
        function: Gives the grammar.
        ascii_only: Whether it is given ASCII alone, since its code looks other characters up in a
            table that ends before them: what it reads there is chance, or no memory.
    """

    module: str
    names: tuple[str, ...]
    endings: tuple[str, ...]
    function: str = "language"
    ascii_only: bool = False


_TYPESCRIPT = "tree_sitter_typescript"
_CPP_ENDINGS = (".cpp", ".cc", ".cxx", ".c++", ".hpp", ".hh", ".hxx", ".h++")

GRAMMARS = (
    Grammar("tree_sitter_bash", ("bash", "shell", "sh"), (".sh", ".bash"), ascii_only=True),
    Grammar("tree_sitter_c", ("c",), (".c", ".h")),
    Grammar("tree_sitter_c_sharp", ("c#", "c-sharp", "csharp", "c_sharp"), (".cs",)),
    Grammar("tree_sitter_cpp", ("c++", "cpp"), _CPP_ENDINGS),
    Grammar("tree_sitter_go", ("go", "golang"), (".go",)),
    Grammar("tree_sitter_java", ("java",), (".java",)),
    Grammar("tree_sitter_javascript", ("javascript", "js", "jsx"), (".js", ".mjs", ".cjs", ".jsx")),
    Grammar("tree_sitter_markdown", ("markdown", "md"), (".md", ".markdown")),
    Grammar("tree_sitter_php", ("php",), (".php",), "language_php"),
    Grammar("tree_sitter_python", ("python", "py", "python3"), (".py", ".pyi")),
    Grammar("tree_sitter_ruby", ("ruby", "rb"), (".rb",)),
    Grammar("tree_sitter_rust", ("rust", "rs"), (".rs",)),
    Grammar("tree_sitter_sql", ("sql",), (".sql",)),
    Grammar("tree_sitter_swift", ("swift",), (".swift",)),
    Grammar(_TYPESCRIPT, ("typescript", "ts"), (".ts", ".mts", ".cts"), "language_typescript"),
    Grammar(_TYPESCRIPT, ("tsx",), (".tsx",), "language_tsx"),
)

_BY_NAME = {name: grammar for grammar in GRAMMARS for name in grammar.names}
_BY_ENDING = {ending: grammar for grammar in GRAMMARS for ending in grammar.endings}


@cache
def grammar_versions() -> dict[str, str]:
    """Versions of tree-sitter and its grammars, by package: they decide what is parsed how."""
    modules = ("tree_sitter", *(grammar.module for grammar in GRAMMARS))
    packages = dict.fromkeys(module.replace("_", "-") for module in modules)
    return {package: version(package) for package in packages}


def find_grammar(language: str | None, path: str | None) -> int | None:
    """The grammar of a file's language: its index in `GRAMMARS`, None where there is none.

    The path's ending decides where no grammar has the language's name, and between the grammars of
    one language.
    """
    named = _BY_NAME.get((language or "").strip().lower())
    ended = _BY_ENDING.get(PurePosixPath((path or "").strip()).suffix.lower())
    grammar = ended if named is None or (ended and ended.module == named.module) else named
    return None if grammar is None else GRAMMARS.index(grammar)
