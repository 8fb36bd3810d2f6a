"""A repository that is too large for one document, divided between its files.

    most 10   files in order, those of a part in brackets   (4 3) (5) (6 2 4 3)
    documents                                                4 3 | 5 | 6 2 | 4 3

What hangs together by imports goes to one document where it fits in one: it begins another where it
does not fit behind the others. A part that is too large fills documents in its order. A file that
is too large is a document of its own.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from fim_assets.recipe import Recipe
from fim_assets.repository_shards.join import join, opening
from fim_assets.repository_shards.order import PlacedFile, UnusableFileError
from fim_assets.tokenizer.contents import encode_runs
from fim_assets.tokenizer.controls import Content
from fim_assets.tokenizer.encoders import UnencodableTextError

if TYPE_CHECKING:
    from fim_assets.tokenizer.load import LoadedTokenizer


def divide(sizes: Sequence[int], components: Sequence[int], most: int) -> list[int]:
    """How many files each document has, of files in order, each by its size and its part."""
    documents: list[int] = []
    filled = most  # so that the first file begins a document
    for _, of_part in groupby(zip(components, sizes, strict=True), lambda file: file[0]):
        part = [size for _, size in of_part]
        total = sum(part)
        if total <= most < filled + total:
            filled = most
        for size in part:
            if filled + size > most or not documents:
                documents.append(0)
                filled = 0
            documents[-1] += 1
            filled += size
    return documents


def divided(
    placed: list[PlacedFile], name: str | None, recipe: Recipe, tokenizer: "LoadedTokenizer | None"
) -> tuple[list[int], list[PlacedFile]]:
    """How many files each document of a repository has; its files, with ids if they were counted.

    `name` and `tokenizer` are as `join` and `join_shard` take them.
    """
    section = recipe.repositories
    if section is None or (section.max_bytes is None and section.max_tokens is None):
        return [len(placed)], placed
    before = opening(name, recipe)
    joined = join([one.file.document for one in placed], name, recipe)
    # Each document is opened anew, so that it counts for all of them.
    joined[0] = joined[0]._replace(lead=joined[0].lead.removeprefix(before))
    components = [one.component for one in placed]
    sizes, taken = [len("".join(file).encode()) for file in joined], len(before.encode())
    if section.max_tokens is None or tokenizer is None:
        return divide(sizes, components, (section.max_bytes or 0) - taken), placed
    room = section.max_tokens - recipe.tokens.tokenizer.head - 1
    # A text has no more ids than bytes, unless the tokenizer changes texts.
    if not tokenizer.vocabulary.lossy and taken + sum(sizes) <= room:
        return [len(placed)], placed
    lead = tokenizer.controls.lead
    runs: list[list[Content]] = [lead(before)]
    runs += [[*lead(file.lead), file.header + file.text + file.tail] for file in joined]
    counts = []
    for number, run in enumerate(runs):
        try:
            [rows] = encode_runs([run], tokenizer)
        except UnencodableTextError as error:
            line = placed[max(number - 1, 0)].file.number
            advice = "take the document out of the raw shard"
            raise UnusableFileError(line, f"it cannot be encoded: {error}", advice) from error
        counts.append(sum(map(len, rows)))
    taken, *ids = counts
    placed = [one._replace(tokens=count) for one, count in zip(placed, ids, strict=True)]
    return divide(ids, components, room - taken), placed
