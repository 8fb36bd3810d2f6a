"""A path as a comment of its file's language, as DeepSeek-Coder's layout has it."""

from pathlib import PurePosixPath

from fim_assets.languages.names import canonical

_STYLES = {
    "//{}": (
        *("C", "C++", "C#", "Cuda", "D", "Dart", "F#", "GLSL", "Go", "Groovy", "HLSL", "Java"),
        *("JavaScript", "Kotlin", "Less", "Objective-C", "Objective-C++", "PHP", "Pascal"),
        *("Protocol Buffer", "Rust", "SCSS", "Scala", "Solidity", "Swift", "SystemVerilog", "TSX"),
        *("TypeScript", "Verilog", "Zig"),
    ),
    "--{}": ("Ada", "AppleScript", "Elm", "Haskell", "Lua", "PLSQL", "PLpgSQL", "SQL", "VHDL"),
    ";{}": ("Assembly", "Clojure", "Common Lisp", "Emacs Lisp", "Racket", "Scheme"),
    "%{}": ("Erlang", "MATLAB", "Prolog", "TeX"),
    '"{}': ("Vim Script",),
    "'{}": ("VBA", "VBScript", "Visual Basic .NET"),
    "!{}": ("Fortran", "Fortran Free Form"),
    "/*{}*/": ("CSS",),
    "(*{}*)": ("OCaml", "Standard ML", "Mathematica"),
    "<!--{}-->": ("HTML", "Markdown", "SVG", "Svelte", "Vue", "XML"),
}
"""Languages by Linguist's names; in all others a line that begins with # is a comment, as far as
they have any."""

_BY_LANGUAGE = {language: style for style, languages in _STYLES.items() for language in languages}

_ENDINGS = {
    **dict.fromkeys((".c", ".h", ".cc", ".cpp", ".cxx", ".hpp", ".hh", ".cs", ".java"), "C"),
    **dict.fromkeys((".js", ".mjs", ".cjs", ".jsx", ".ts", ".mts", ".cts", ".tsx"), "C"),
    **dict.fromkeys((".go", ".rs", ".swift", ".php", ".kt", ".scala", ".dart", ".proto"), "C"),
    **dict.fromkeys((".sql", ".lua", ".hs"), "SQL"),
    **dict.fromkeys((".html", ".md", ".xml", ".vue", ".svelte"), "HTML"),
    **dict.fromkeys((".css",), "CSS"),
}
"""For files that name no language."""


def comment(path: str, language: str | None) -> str:
    """The path as a comment, without a space, as in `#utils.py`."""
    named = language and (canonical(language) or language)
    known = named or _ENDINGS.get(PurePosixPath(path).suffix.lower())
    return _BY_LANGUAGE.get(known or "", "#{}").format(path)
