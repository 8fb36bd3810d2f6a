"""The section `context`: a trainer's sequence, and what becomes of documents that exceed it."""

from typing import Annotated, Literal

from pydantic import Field

from fim_assets.recipe.values import Section


class Context(Section):
    """Which documents are too long for a trainer's sequence, and what becomes of them.

    Attributes:
        tokens: Ids in a sequence. A document that fits has no more, with BOS, EOS, sentinels and
            separators.
        longer: What becomes of a document that does not fit once its files are rearranged:
            `unchanged`, it is left as it came; `pieces`, it is divided in pieces that fit, each a
            document of the arrays.
    """

    tokens: Annotated[int, Field(ge=64, le=1 << 24)]
    longer: Literal["unchanged", "pieces"] = "unchanged"
