"""How source code is parsed: the grammars, the bounds of parsing, the process that does it."""
