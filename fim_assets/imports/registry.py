"""The languages whose imports are read. To add one: its module, and its rules in `RULES`."""

from functools import cache

from fim_assets.imports import c, csharp, go, java, javascript, php, python, ruby, rust
from fim_assets.imports.base import ImportRules
from fim_assets.parsing.grammars import GRAMMARS

RULES = (
    c.RULES,
    csharp.RULES,
    go.RULES,
    java.RULES,
    javascript.RULES,
    php.RULES,
    python.RULES,
    ruby.RULES,
    rust.RULES,
)


@cache
def rules_of(grammar: int) -> ImportRules | None:
    """The rules of a grammar, an index in `GRAMMARS`; None where its imports are not read."""
    name = GRAMMARS[grammar].names[0]
    return next((rules for rules in RULES if name in rules.queries), None)
