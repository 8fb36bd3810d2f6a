"""A text through the recipe's transformation, for notebooks and scripts."""

from dataclasses import dataclass, field
from html import escape
from itertools import groupby
from typing import NamedTuple

import numpy as np
import orjson

from fim_assets.fim_shards.arrangements import BESIDE, Beside, Part, Piece
from fim_assets.fim_shards.record import WHOLE, DocumentPiece, restore_document
from fim_assets.fim_shards.segments import Segment, segments
from fim_assets.preview.documents import FilePreview, encode_segments, preview_documents
from fim_assets.preview.view import PART_COLOURS, Limits, ShownFile, show_files
from fim_assets.raw_shards.documents import RejectionError, read_document
from fim_assets.raw_shards.shard_reader import Documents, KnownFile
from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import Fim
from fim_assets.recipe.raw import Raw
from fim_assets.token_arrays.reader import TokenPart
from fim_assets.tokenizer.load import LoadedTokenizer
from fim_assets.wording import shown_name

_LIMITS = Limits(files=8, lines=40, chars=4000)

_PRE = "margin:0;padding:0 0 0 .6em;white-space:pre-wrap;word-break:break-word"
_GREY = "#808080"


class _Run(NamedTuple):
    """What segments share that make one `TokenPart`; a sentinel stands alone, by its index."""

    file: int | None
    part: Part | Beside | None
    control: bool
    segment: int | None = None


@dataclass(frozen=True)
class TransformedText:
    """What a recipe makes of a document.

    In a notebook it shows itself: each part in its colour, with its name and its length.

    Attributes:
        text: The document as it stands in a FIM shard.
        files: Its files in order, one where it holds no separator. Each has `text`, `order`
            (`psm`, `spm`, or `none` where it is unchanged), `split` (how it was cut),
            `reason` (why it is unchanged, or was cut by the fallback) and, where it was
            rearranged, `parts` (prefix, middle, suffix) and `lengths` (their code points).
        fim: What was done to it.
        piece: Which piece of a document it is, where that was divided.
    """

    text: str
    files: tuple[FilePreview, ...]
    fim: Fim = field(repr=False)
    piece: DocumentPiece = field(default=WHOLE, repr=False)

    def restore(self) -> str:
        r"""The original text, from the text and the lengths alone.

        >>> recipe = Recipe(fim=Fim(fim_rate=1.0))
        >>> transform_text("x = 1\n", recipe).restore()
        'x = 1\n'
        """
        return restore_document(self.text, [file.row for file in self.files], self.fim)

    def tokens(self, tokenizer: LoadedTokenizer) -> tuple[TokenPart, ...]:
        r"""The token ids as they stand in an array: parts, and sentinels and EOS between them.

        The tokenizer is the recipe's.

        >>> from fim_assets import load_tokenizer
        >>> recipe = Recipe(fim=Fim(fim_rate=1.0))
        >>> document = transform_text("def add(a, b):\n    return a + b\n", recipe)
        >>> for part in document.tokens(load_tokenizer(recipe)):
        ...     print(part.part, part.ids.tolist())
        None [100258]
        prefix [755, 923]
        None [100260]
        suffix [220, 471, 264, 489, 293, 198]
        None [100259]
        middle [2948, 11, 293, 997, 256]
        None [100257]
        """
        rows = [file.row for file in self.files]
        contents = list(segments(self.text, rows, self.fim, tokenizer))
        encoded = [segment.ids for segment in encode_segments(contents, tokenizer)]
        runs = groupby(range(len(contents)), lambda index: self._run(index, contents[index]))
        parts = []
        for run, indices in runs:
            ids = np.array([token for index in indices for token in encoded[index]], np.uint32)
            parts.append(TokenPart(ids, run.file, run.part, run.control))
        return tuple(parts)

    def _run(self, index: int, segment: Segment) -> _Run:
        if segment.file is None or segment.part in BESIDE:
            return _Run(None, None, control=True)
        rearranged = self.files[segment.file].order != "none"
        sentinel = rearranged and isinstance(segment.content, int)
        return _Run(segment.file, segment.part, sentinel, index if sentinel else None)

    def _repr_html_(self) -> str:
        shown, omitted = show_files(self.files, _LIMITS)
        return f"<div>{''.join(map(_file_html, shown))}<div>{omitted}</div></div>"


def transform_text(
    text: str,
    recipe: Recipe,
    *,
    partition_key: str = "",
    document_id: str | None = None,
    language: str | None = None,
    path: str | None = None,
) -> TransformedText:
    r"""Do to one text what a recipe does to a document of a shard.

    Draws depend on the recipe's seed, the partition's key, the document's id and its text. With the
    key and the id that a document has in a shard, the result is what its FIM shard holds.

    Args:
        text: The document.
        recipe: What is done to it.
        partition_key: The partition's key, as `fim-assets keys` prints it.
        document_id: The document's id; a number as it is written in the shard.
        language: The document's language, for rates by language and for `syntax`.
        path: The document's path, whose ending tells `syntax` the language where `language` does
            not.

    Raises:
        RejectionError: If it is no text that a shard can hold: empty, or with half of a surrogate
            pair.
        ValueError: If the recipe divides it, see `transform_pieces`.

    >>> from fim_assets import load_recipe
    >>> recipe = load_recipe("olmo_midtraining")
    >>> document = transform_text("for i in range(3):\n    print(i)\n", recipe, document_id="7")
    >>> [file] = document.files
    >>> file.order, file.split, file.reason
    ('spm', 'dolma', None)
    >>> file.parts
    Parts(prefix='for i in rang', middle='e(3):\n', suffix='    print(i)\n')
    >>> file.lengths
    Lengths(prefix=13, middle=6, suffix=13)
    """
    pieces = transform_pieces(
        text,
        recipe,
        partition_key=partition_key,
        document_id=document_id,
        language=language,
        path=path,
    )
    if len(pieces) > 1:
        raise ValueError(f"the text is divided in {len(pieces)}: take transform_pieces")
    return pieces[0]


def transform_pieces(
    text: str,
    recipe: Recipe,
    *,
    partition_key: str = "",
    document_id: str | None = None,
    language: str | None = None,
    path: str | None = None,
) -> list[TransformedText]:
    r"""Do to one text what a recipe with `context.longer: pieces` does, see `transform_text`.

    The pieces are in order, one where the text fits.

    >>> recipe = Recipe.model_validate({"context": {"tokens": 64, "longer": "pieces"}})
    >>> pieces = transform_pieces("a = 1\n" * 40, recipe)
    >>> "".join(piece.restore() for piece in pieces) == "a = 1\n" * 40
    True
    """
    # Field names are no part of any draw; a schema decides how names of languages are compared.
    raw = Raw(schema=recipe.raw.schema_name and "dolma")
    plain = recipe.model_copy(update={"raw": raw})
    metadata = {"language": language, "path": path}
    try:
        line = orjson.dumps({"id": document_id, "text": text, "metadata": metadata})
    except orjson.JSONEncodeError as error:
        raise RejectionError("not_utf8", f"no text that UTF-8 can hold: {error}") from error
    read = read_document(line, plain.raw)
    block = Documents([1], [line], [read.id], [read.text], [read.language], [read.path])
    if recipe.repositories is not None:
        block.files = [[KnownFile(1, read.language, read.path, 0, 0, len(read.text), 0)]]
    previews = preview_documents(block, recipe.partition_seed(partition_key), plain)
    return [
        TransformedText(preview.text, preview.files, recipe.fim, preview.piece)
        for preview in previews
    ]


def _file_html(shown: ShownFile) -> str:
    html = f"<div><b>{escape(f'{shown.name}: {shown.about}')}</b></div>"
    html += "".join(map(_code_html, shown.beside[0]))
    for piece in shown.pieces:
        if isinstance(piece, Piece):
            html += _code_html(piece.text)
            continue
        colour = PART_COLOURS.get(piece.name, _GREY)
        length = f" {piece.chars:,}" if piece.part else ""
        # Nothing is typeset in <pre>, as formulas between dollar signs are elsewhere in a notebook.
        text = escape("\n".join(piece.excerpt.lines))
        html += f'<div style="color:{colour}">{piece.name}{length}</div>'
        html += f'<pre style="{_PRE};border-left:4px solid {colour}">{text}</pre>'
    return html + "".join(map(_code_html, shown.beside[1]))


def _code_html(text: str) -> str:
    return f"<div><code>{escape(shown_name(text))}</code></div>"
