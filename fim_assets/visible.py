"""Text of others made visible: nothing in it acts on what shows it."""


def visible(text: str) -> str:
    """Text of which only line feeds and tabs still act on what shows it."""
    return text if text.isprintable() else "".join(map(_visible_character, text))


def visible_line(text: str) -> str:
    """The same on one line."""
    return visible(text).replace("\n", "↵").replace("\t", "→")


def _visible_character(character: str) -> str:
    # Not printable are controls, marks that change the direction of writing or join characters, and
    # what Unicode has not assigned.
    if character in "\n\t" or character.isprintable():
        return character
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"‹U+{code:04X}›"
