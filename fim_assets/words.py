"""Numbers in words."""

import humanize


def how_many(number: int, of: str) -> str:
    """A number of things: `1 document`, `1,024 documents`.

    Args:
        number: How many.
        of: One of them; several take an `s`.
    """
    return f"{number:,} {of}{'s' * (number != 1)}"


def how_large(count: float) -> str:
    """A number of bytes: `1.5 MB`."""
    return humanize.naturalsize(count, format="%.1f")
