"""Byte-level BPE, as GPT-2 has it: bytes written as printable characters.

Printable bytes stand for themselves; the others, in order, for the characters from U+0100 on. So
the text " é", in UTF-8 the bytes 20 C3 A9, is spelled `ĠÃ©`: 20 is the 33rd byte that is not
printable, and U+0100 + 32 is `Ġ`.
"""

_PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]

CHARACTER_OF = {byte: chr(byte) for byte in _PRINTABLE} | {
    byte: chr(256 + number) for number, byte in enumerate(_OTHERS)
}
BYTE_OF = {character: byte for byte, character in CHARACTER_OF.items()}


def to_bytes(token: str) -> bytes | None:
    """The bytes of a token, None where it holds another character."""
    try:
        return bytes(map(BYTE_OF.__getitem__, token))
    except KeyError:
        return None
