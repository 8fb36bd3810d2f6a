"""Texts through the recipe's transformation, for notebooks and scripts."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from itertools import groupby, zip_longest
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from fim_assets.errors import ShardError
from fim_assets.fim_shards.arrangements import BESIDE, Beside, Part, Piece
from fim_assets.fim_shards.record import DocumentPiece, restore_document
from fim_assets.fim_shards.segments import Segment, segments
from fim_assets.fim_shards.transform import DocumentError
from fim_assets.preview.documents import (
    FilePreview,
    RecordedDocument,
    encode_segments,
    transformed_documents,
)
from fim_assets.preview.view import PART_COLOURS, Limits, ShownFile, show_files
from fim_assets.raw_shards.documents import Document, RejectionError
from fim_assets.raw_shards.shard_reader import BLOCK_BYTES, BLOCK_LINES, Documents, KnownFile
from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import Fim
from fim_assets.token_arrays.reader import TokenPart
from fim_assets.tokenizer.load import LoadedTokenizer
from fim_assets.wording import shown_name

_LIMITS = Limits(files=8, lines=40, chars=4000)

_ARGUMENTS = ("texts", "document_ids", "languages", "paths")
"""Of `transform_texts`: what is given of each text."""

_ENDED = object()

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
        fim: What was done to it.
        piece: Which piece of a document it is, where that was divided.
        index: Which of the given texts it is, or is a piece of, 0-based.
    """

    text: str
    fim: Fim = field(repr=False)
    piece: DocumentPiece = field(repr=False)
    index: int = field(repr=False, compare=False)
    _document: RecordedDocument = field(repr=False, compare=False)

    @cached_property
    def files(self) -> tuple[FilePreview, ...]:
        """Its files in order, one where it holds no separator.

        Each has `text`, `order` (`psm`, `spm`, or `none` where it is unchanged), `split` (how it
        was cut), `reason` (why it is unchanged, or was cut by the fallback) and, where it was
        rearranged, `parts` (prefix, middle, suffix) and `lengths` (their code points).
        """
        return self._document.files(self.fim)

    def restore(self) -> str:
        r"""The original text, from the text and the lengths alone.

        >>> recipe = Recipe(fim=Fim(fim_rate=1.0))
        >>> transform_text("x = 1\n", recipe).restore()
        'x = 1\n'
        """
        return restore_document(self.text, self._document.rows, self.fim)

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
        contents = list(segments(self.text, self._document.rows, self.fim, tokenizer))
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
        rearranged = self._document.rows[segment.file].order != "none"
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
    about = {"document_ids": [document_id], "languages": [language], "paths": [path]}
    return [*transform_texts([text], recipe, partition_key=partition_key, **about)]


def transform_texts(
    texts: Iterable[str],
    recipe: Recipe,
    *,
    partition_key: str = "",
    document_ids: Iterable[str | int | None] | None = None,
    languages: Iterable[str | None] | None = None,
    paths: Iterable[str | None] | None = None,
) -> Iterator[TransformedText]:
    r"""Do to texts what a recipe does to the documents of a shard, as fast as it is done there.

    Of each text the result is that of `transform_text`, and they come in order. Of a recipe with
    `context.longer: pieces` a text may come in several, which have its `index` in common. Texts
    are read a few megabytes at a time, and results made as they are taken.

    Args:
        texts: The documents. With `repositories` in the recipe, each is a file that stands alone.
        recipe: What is done to them.
        partition_key: See `transform_text`.
        document_ids: Of each text; None where no document has one. Likewise the others.
        languages: See `transform_text`.
        paths: See `transform_text`.

    Raises:
        RejectionError: If one of them is no text that a shard can hold; it names its index.
        ShardError: If one of them cannot be cut.
        TypeError: If a single string is given in place of many.
        ValueError: If there are not as many ids, languages or paths as texts.

    >>> recipe = Recipe.model_validate({"fim": {"fim_rate": 1, "psm_spm_split": 1}})
    >>> texts = ["a = 1\nb = 2\n", "import os\n"]
    >>> documents = [*transform_texts(texts, recipe, document_ids=["a", "b"])]
    >>> [document.restore() for document in documents] == texts
    True
    """
    columns = zip(_ARGUMENTS, (texts, document_ids, languages, paths), strict=True)
    given = {name: values for name, values in columns if values is not None}
    for name, values in given.items():
        if isinstance(values, str):
            raise TypeError(f"{name} is one string; give a list, with one for each text")
    seed = recipe.partition_seed(partition_key)
    for block in _blocks(given, joined=recipe.repositories is not None):
        try:
            for document in transformed_documents(block, seed, recipe):
                index, text, piece = document.line, document.text, document.piece
                yield TransformedText(text, recipe.fim, piece, index, document)
        except DocumentError as error:
            raise ShardError(f"texts[{error.line}] {error.why}") from error


def _blocks(given: Mapping[str, Iterable[Any]], *, joined: bool) -> Iterator[Documents]:
    """What was given of each text as documents, whose line is the text's index."""
    block, chars = Documents(), 0
    for index, values in enumerate(zip_longest(*given.values(), fillvalue=_ENDED)):
        row = dict(zip(given, values, strict=True))
        for name, value in row.items():
            if value is _ENDED:
                others = f"{name} has {index:,} values, and another argument has more"
                raise ValueError(f"{others}: give one for each text")
        try:
            document = _judged(*map(row.get, _ARGUMENTS))
        except RejectionError as error:
            raise RejectionError(error.reason, f"texts[{index}]: {error.detail}") from error
        block.add(index, document)
        if joined:
            _, text, language, path = document
            block.files.append([KnownFile(index, language, path, 0, 0, len(text), 0)])
        chars += len(document.text)
        if chars >= BLOCK_BYTES or len(block.texts) >= BLOCK_LINES:
            yield block
            block, chars = Documents(), 0
    if block.texts:
        yield block


def _judged(text: Any, identifier: Any, language: Any, path: Any) -> Document:
    """What a line with these values would hold."""
    if isinstance(identifier, Integral) and not isinstance(identifier, bool):
        identifier = str(identifier)
    if not isinstance(text, str):
        raise RejectionError("text_not_string", f"the text is a {type(text).__name__}")
    if not text:
        raise RejectionError("empty", "the text is empty")
    if not isinstance(identifier, str | None):
        raise RejectionError("id_not_string", f"the id is a {type(identifier).__name__}")
    names = (name if isinstance(name, str) else None for name in (language, path))
    document = Document(identifier, text, *names)
    try:
        for value in document:
            if value is not None and not value.isascii():
                value.encode()
    except UnicodeEncodeError as error:
        raise RejectionError("not_utf8", f"no text that UTF-8 can hold: {error}") from error
    return document


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
