"""The names of languages that mean the same one: `C++`, `cpp`; `C#`, `c-sharp`, `CSharp`.

The table is that of Linguist, which names the languages of GitHub's files; how it is built stands
in `fim_assets_tests/languages/build_table.py`. Which names are compared by it, `recipe` says.
"""

import json
import re
from functools import cache, lru_cache
from hashlib import blake2b
from importlib.resources import files
from typing import Any

_VERSION = 1
"""Raised whenever other spellings mean the same language, though the table is the same."""

_TABLE = files("fim_assets") / "languages" / "data" / "linguist.json"

_SEPARATORS = re.compile(r"[\s_-]+(?=[^\s_-])")


@lru_cache(maxsize=1024)
def canonical(name: str) -> str | None:
    """Linguist's name of a language, by that or by an alias; None for what has none.

    Case, white space, and `-` and `_` in front of something else make no difference.

    >>> canonical("c-sharp"), canonical("Jupyter_Notebook"), canonical("Klingon")
    ('C#', 'Jupyter Notebook', None)
    """
    return _names().get(_folded(name))


@cache
def names_identity() -> dict[str, Any]:
    """What decides which names mean the same language, for fingerprints."""
    return {"version": _VERSION, "table": blake2b(_TABLE.read_bytes(), digest_size=8).hexdigest()}


@cache
def _names() -> dict[str, str]:
    table = json.loads(_TABLE.read_text("utf-8"))
    return {
        _folded(spelling): name for name, aliases in table.items() for spelling in (name, *aliases)
    }


def _folded(name: str) -> str:
    return _SEPARATORS.sub("", name.strip().casefold())
