"""A recipe's tokenizer: its files read, and refused where they cannot do what the recipe asks.

`find` says where the files are, `vocabulary` what ids stand for, `choose` which encoder serves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import tokenizers

from fim_assets.recipe import Recipe
from fim_assets.recipe.tokens import Tokens
from fim_assets.tokenizer.choose import Encoders, choose_encoder
from fim_assets.tokenizer.controls import Controls, find_controls
from fim_assets.tokenizer.encoders import Encoder
from fim_assets.tokenizer.find import BUNDLED, TokenizerError, content_hash, find_tokenizer
from fim_assets.tokenizer.proof import EDGE_CASE_TEXTS
from fim_assets.tokenizer.vocabulary import (
    PUTS_SPACE,
    Vocabulary,
    byte_ids,
    flattened,
    read_vocabulary,
    why_unusable,
)

_NAMED = "tokens.tokenizer.name_or_path = "


@dataclass(frozen=True)
class LoadedTokenizer:
    """A tokenizer that was verified for a recipe; `content_hash` is that of its files.

    Attributes:
        added: Contents of all added tokens.
        forbidden_ids: Ids that neither a text gives nor the recipe places: padding, other control
            tokens.
        paragraphs: Whether texts are encoded paragraph by paragraph, see `paragraphs`.
    """

    encoders: Encoders
    vocabulary: Vocabulary
    controls: Controls
    added: tuple[str, ...]
    forbidden_ids: frozenset[int]
    paragraphs: bool
    content_hash: str

    @property
    def encoder(self) -> Encoder:
        """What encodes."""
        return self.encoders.used

    @property
    def encoder_description(self) -> str:
        """What encodes, with its version; where it is the reference, why."""
        reason = self.encoders.reason
        return self.encoder.name + ("" if reason is None else f" ({reason})")

    def decode(self, ids: npt.NDArray[np.integer]) -> bytes:
        """The bytes that ids stand for, control tokens by their names; see `Vocabulary.decode`."""
        return self.vocabulary.decode(ids)

    def normal_form(self, text: str) -> bytes:
        """What the ids of a text decode to: its UTF-8, unless the tokenizer is lossy."""
        if not self.vocabulary.lossy or (self.vocabulary.ascii_comes_back and text.isascii()):
            return text.encode()
        return self.vocabulary.spell(self.encoders.reference.pieces(text))


@lru_cache(maxsize=4)
def load_tokenizer(recipe: Recipe, expected_hash: str | None = None) -> LoadedTokenizer:
    """Load the recipe's tokenizer and verify that it can do what the recipe asks.

    `expected_hash` is the content hash that fingerprints were made with; None takes any.

    Raises:
        TokenizerError: If it is not there, is another than expected, changes text without
            `tokens.allow_lossy`, has no id for a sentinel, BOS or EOS, can be made to give a
            control id for ordinary text, or has another dtype than readers infer from its size.
    """
    name = recipe.tokens.tokenizer.name_or_path
    folder = find_tokenizer(recipe.tokens.tokenizer)
    hash_now = content_hash(folder)
    if expected_hash not in (None, hash_now):
        problem = "the tokenizer changed since the definitions were loaded"
        raise TokenizerError(problem, "load them again", folder)
    files = _open_files(folder, hash_now, name)
    _refuse_changing_text(files.vocabulary.lossy, recipe.tokens, name)
    _check_dtype(recipe.tokens.dtype, len(files.vocabulary.token_bytes), name)
    controls = find_controls(recipe, files.added)
    padding = recipe.tokens.tokenizer.pad_token_id
    protected = files.special | {*controls.all()} | ({padding} if padding is not None else set())
    _refuse_forgeable(files, protected, name)
    loaded = LoadedTokenizer(
        files.encoders,
        files.vocabulary,
        controls,
        tuple(files.added),
        frozenset(protected - {*controls.all()}),
        recipe.tokens.tokenizer.segment_before_tokenization,
        files.content_hash,
    )
    _refuse_other_decoding(loaded, name)
    return loaded


def load_for_fim(recipe: Recipe, expected_hash: str | None = None) -> LoadedTokenizer | None:
    """The tokenizer for `fim_shards`, None where the recipe needs none there; errors as above."""
    return load_tokenizer(recipe, expected_hash) if recipe.fim_needs_tokenizer else None


class _TokenizerFiles:
    """What a tokenizer's files say, whatever a recipe asks of it; `name` is the recipe's for them.

    `added` are the ids of the added tokens, by content; `special` those that are special. The
    content hash is an argument so that changed files are read again.
    """

    def __init__(self, folder: Path, content_hash: str, name: str) -> None:
        self.content_hash = content_hash
        content = _read_json(folder)
        if unusable := why_unusable(content):
            problem = f"its ids would not give texts back, or not twice the same: {unusable}"
            raise TokenizerError(problem, location=_NAMED + name)
        self.vocabulary = read_vocabulary(content)
        self.added = {token["content"]: token["id"] for token in content["added_tokens"]}
        self.special = {token["id"] for token in content["added_tokens"] if token["special"]}
        self.byte_ids = byte_ids(content)
        self._plain = content | {"added_tokens": [], "post_processor": None}

    @cached_property
    def encoders(self) -> Encoders:
        """Chosen only once a recipe suits the tokenizer, since it takes long."""
        chosen = choose_encoder(self._plain, self.vocabulary.token_bytes, list(self.added))
        self._plain = {}  # tens of megabytes, which nothing else needs
        return chosen


# Recipes that differ in other things share what was read, and the encoders.
_open_files = lru_cache(maxsize=2)(_TokenizerFiles)


def _read_json(folder: Path) -> dict[str, Any]:
    """The tokenizer as `tokenizer.json` has it, or as transformers makes it of other files.

    Where there is a tokenizer.json, transformers is not asked: for some classes of tokenizers it
    takes the vocabulary alone from the file, and makes the rest itself.
    """
    file = folder / "tokenizer.json"
    try:
        if folder in BUNDLED.values():
            text = file.read_text("utf-8")
        elif file.is_file():
            text = tokenizers.Tokenizer.from_file(str(file)).to_str()
        else:
            from transformers import AutoTokenizer

            loaded = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, use_fast=True)
            text = loaded.backend_tokenizer.to_str()
    except Exception as error:
        # Both libraries raise bare exceptions.
        reader = "tokenizers" if file.is_file() else "transformers"
        raise TokenizerError(f"{folder}: {reader} cannot load it: {error}") from error
    content: dict[str, Any] = orjson.loads(text)
    normalizers = flattened(content.get("normalizer"), "normalizers")
    if len(normalizers) < 2:
        content["normalizer"] = normalizers[0] if normalizers else None
    return content | {"truncation": None, "padding": None}


def _refuse_changing_text(lossy: Sequence[str], tokens: Tokens, name: str) -> None:
    if lossy and not tokens.allow_lossy:
        problem = f"its ids would not give texts back exactly: {'; '.join(lossy)}"
        advice = "tokens.allow_lossy: true takes it, and counts the documents that it changes"
        raise TokenizerError(f"{problem}. {advice}", location=_NAMED + name)
    if not lossy and tokens.allow_lossy:
        problem = f"{name} gives every text back exactly"
        raise TokenizerError(problem, "take the field away", "tokens.allow_lossy = true")
    if tokens.tokenizer.segment_before_tokenization and PUTS_SPACE in lossy:
        where = "tokens.tokenizer.segment_before_tokenization = true"
        problem = f"{name} puts a space before each text, and so before each paragraph"
        raise TokenizerError(problem, "set it to false", where)


def _check_dtype(dtype: str, vocab_size: int, name: str) -> None:
    smallest = "uint16" if vocab_size - 1 <= np.iinfo(np.uint16).max else "uint32"
    if dtype != smallest:
        problem = f"{name} has {vocab_size} ids, for which trainers infer {smallest}"
        raise TokenizerError(problem, f"set tokens.dtype to {smallest}", f"tokens.dtype = {dtype}")


def _refuse_forgeable(files: _TokenizerFiles, protected: set[int], name: str) -> None:
    """Raise if ordinary text gives a protected id: a byte, or the name of an added token."""
    contexts = [
        text
        for token in files.added
        for text in (token, f"a{token}b", f"\n{token}", f" {token}", token * 2, token.lstrip(" ▁"))
    ]
    rows = files.encoders.reference.encode(contexts)
    forged = protected & files.byte_ids.union(*(ids.tolist() for ids in rows))
    for token, number in files.added.items():
        if number in forged:
            problem = f"ordinary text gives the id {number} of {token}"
            where = _NAMED + name
            raise TokenizerError(f"{problem}, so that a document could forge it", location=where)


def _refuse_other_decoding(tokenizer: LoadedTokenizer, name: str) -> None:
    """Raise if the ids of a test text stand for another text: the vocabulary is misunderstood."""
    for text in (*EDGE_CASE_TEXTS, *tokenizer.added, "<0x41>"):
        [ids] = tokenizer.encoders.reference.encode([text])
        try:
            decoded = tokenizer.decode(ids)
        except ValueError as error:
            decoded = str(error).encode()
        if decoded != tokenizer.normal_form(text):
            problem = f"the ids of {text!r} decode to {decoded.decode(errors='replace')!r}"
            raise TokenizerError(problem, location=_NAMED + name)
