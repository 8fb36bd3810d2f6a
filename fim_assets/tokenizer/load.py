"""The tokenizer: found, verified for a recipe, and what its ids stand for."""

import json
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import msgspec
import numpy as np
import numpy.typing as npt
import tokenizers

from fim_assets.errors import UserError
from fim_assets.io.storage import cache_folders
from fim_assets.recipe import Recipe
from fim_assets.recipe.tokens import Tokenizer, Tokens
from fim_assets.recipe.values import HOW_TO_PIN
from fim_assets.settings import named_path
from fim_assets.tokenizer import dolma2
from fim_assets.tokenizer.encoders import EDGE_CASE_TEXTS, Encoders, Engine, choose_engine
from fim_assets.tokenizer.vocabulary import (
    PUTS_SPACE,
    Vocabulary,
    byte_ids,
    flattened,
    read_vocabulary,
    why_unusable,
)

_BUNDLED = {"allenai/dolma2-tokenizer": dolma2.FOLDER}

_FILES = (
    "added_tokens.json",
    "config.json",
    "merges.txt",
    "special_tokens_map.json",
    "spiece.model",
    "tekken.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)


_KNOCKS = 3
_SECONDS_TO_CONNECT = 3.0


class TokenizerError(UserError):
    """A tokenizer that cannot be used; the message names it and what is wrong."""


def find_tokenizer(tokenizer: Tokenizer) -> Path:
    """The folder with a tokenizer's files: bundled, a folder, or a commit of the Hub's.

    Raises:
        TokenizerError: If there is none, or a name on the Hub comes without a commit.
    """
    name, revision = tokenizer.name_or_path, tokenizer.revision
    if revision is None and name in _BUNDLED:
        return _BUNDLED[name]
    try:
        folder = named_path(name)
        is_folder = folder.is_dir()
    except OSError as error:
        raise TokenizerError(f"tokens.tokenizer.name_or_path = {name[:200]}: {error}") from error
    if is_folder:
        if revision is not None:
            raise TokenizerError(
                f"tokens.tokenizer.revision = {revision}: {folder} is a folder, which has none; "
                "take the field away"
            )
        if not any((folder / file).is_file() for file in _FILES):
            raise TokenizerError(f"{folder}: holds none of a tokenizer's files")
        return folder
    if revision is None:
        raise TokenizerError(
            f"tokens.tokenizer.name_or_path = {name}: no folder of this name; if it is a name on "
            f"the Hub, pin it: tokens.tokenizer.revision takes the commit's {HOW_TO_PIN}"
        )
    from huggingface_hub.errors import LocalEntryNotFoundError

    reason = _why_unreachable()
    try:
        return _from_hub(name, revision, offline=reason is not None)
    except LocalEntryNotFoundError as error:
        if reason is None:
            raise _not_given(tokenizer, error) from error
        raise TokenizerError(
            f"tokens.tokenizer.name_or_path = {name}, revision {revision}: not in this machine's "
            f"cache, and the Hub cannot be asked: {reason}; name a folder that holds it"
        ) from error
    except Exception as error:
        raise _not_given(tokenizer, error) from error


def _from_hub(name: str, revision: str, *, offline: bool) -> Path:
    """A commit's files: out of the Hub's own cache, or out of ours where that cannot be used."""
    from huggingface_hub import constants, get_token, snapshot_download

    token: str | bool = False
    with suppress(OSError):  # the home that would hold it is a file
        token = get_token() or False
    folders = [Path(constants.HF_HUB_CACHE), *(folder / "hub" for folder in cache_folders())]
    if folders[0].parts[0] == "~":
        del folders[0]  # no home is known: the Hub's client would make a folder of this name here
    for number, folder in enumerate(folders, 1):
        try:
            return Path(
                snapshot_download(
                    name,
                    revision=revision,
                    allow_patterns=list(_FILES),
                    local_files_only=offline,
                    cache_dir=folder,
                    token=token,
                )
            )
        except OSError as error:
            # Of the disk, or not in this cache; what the Hub answers has no number.
            if number == len(folders) or (error.errno is None and not offline):
                raise
    raise TokenizerError(f"{name}: no cache folder can be written; set HF_HOME to one")


def _not_given(tokenizer: Tokenizer, error: Exception) -> TokenizerError:
    return TokenizerError(
        f"tokens.tokenizer.name_or_path = {tokenizer.name_or_path}, revision "
        f"{tokenizer.revision}: the Hub did not give it: {error}"
    )


def _why_unreachable() -> str | None:
    """Why the Hub is not to be asked: its client would try for half a minute.

    None where somebody listens at its address, or where a proxy is asked instead.
    """
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return "HF_HUB_OFFLINE is set"
    place = urlsplit(constants.ENDPOINT)
    host, port = place.hostname or "", place.port or (80 if place.scheme == "http" else 443)
    if {"http", "https", "all"} & getproxies().keys() and not proxy_bypass(host):
        return None
    reason = ""
    for attempt in range(_KNOCKS):
        time.sleep(attempt)
        try:
            socket.create_connection((host, port), _SECONDS_TO_CONNECT).close()
        except OSError as error:
            reason = f"{constants.ENDPOINT}: {error}"
        else:
            return None
    return reason


def content_hash(folder: Path) -> str:
    """Hash a tokenizer's files, names and contents: 32 hex digits.

    And the version of transformers, where it is what makes a tokenizer of them.
    """
    digest = blake2b(digest_size=16)
    if not (folder / "tokenizer.json").is_file():
        digest.update(f"transformers {version('transformers')}\n".encode())
    for name in _FILES:
        path = folder / name
        if path.is_file():
            digest.update(f"{name} {path.stat().st_size}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


class _AddedToken(msgspec.Struct):
    content: str
    id: int


class _Listed(msgspec.Struct):
    """What of a tokenizer.json is looked at: passing over the rest takes a tenth of the time."""

    added_tokens: list[_AddedToken]


_listed = msgspec.json.Decoder(_Listed)


def refuse_missing_controls(recipe: Recipe, folder: Path) -> None:
    """Refuse control tokens that a tokenizer has not, by its list of added tokens alone.

    What `load_tokenizer` finds beside that takes far longer; without a tokenizer.json nothing is
    looked at.

    Raises:
        TokenizerError: If a sentinel, BOS, EOS or padding is no added token.
    """
    try:
        listed = _listed.decode((folder / "tokenizer.json").read_bytes()).added_tokens
    except (OSError, msgspec.DecodeError):
        return  # whoever loads it says what is wrong
    added = {token.content: token.id for token in listed}
    _controls(recipe, added, recipe.tokens.tokenizer.name_or_path)


class Controls(NamedTuple):
    """Ids that are placed, never matched in text.

    Attributes:
        sentinels: By name: prefix, middle, suffix, end; those that the recipe has.
        boundaries: Of the file separator and the repository tokens, by their text; those that the
            tokenizer has an id for.
        bos: Begins a document, None where nothing does.
        eos: Ends a document.
    """

    sentinels: dict[str, int]
    boundaries: dict[str, int]
    bos: int | None
    eos: int

    def all(self) -> Iterator[int]:
        """Every id that is placed."""
        yield from self.sentinels.values()
        yield from self.boundaries.values()
        yield self.eos
        if self.bos is not None:
            yield self.bos


@dataclass(frozen=True)
class LoadedTokenizer:
    """A tokenizer that was verified for a recipe.

    Attributes:
        engines: What encodes, and the reference beside it.
        vocabulary: What its ids stand for.
        controls: The ids to place.
        added: Contents of all added tokens.
        absent: Ids that neither a text gives nor the recipe places: padding, other control tokens.
        paragraphs: Whether texts are encoded paragraph by paragraph, see `tokenize.paragraphs`.
        content_hash: Of its files.
    """

    engines: Encoders
    vocabulary: Vocabulary
    controls: Controls
    added: tuple[str, ...]
    absent: frozenset[int]
    paragraphs: bool
    content_hash: str

    @property
    def engine(self) -> Engine:
        """What encodes."""
        return self.engines.engine

    @property
    def engine_in_words(self) -> str:
        """What encodes, with its version, and why it is not the fast one where it is not."""
        reason = self.engines.reason
        return self.engine.name + ("" if reason is None else f" ({reason})")

    def decode(self, ids: npt.NDArray[np.integer]) -> bytes:
        """The bytes that ids stand for, control tokens by their names; see `Vocabulary.decode`."""
        return self.vocabulary.decode(ids)

    def normal_form(self, text: str) -> bytes:
        """What the ids of a text decode to: its UTF-8, unless the tokenizer is lossy."""
        if not self.vocabulary.lossy or (self.vocabulary.ascii_comes_back and text.isascii()):
            return text.encode()
        return self.vocabulary.spell(self.engines.reference.pieces(text))


@lru_cache(maxsize=4)
def load_tokenizer(recipe: Recipe, expected_hash: str | None = None) -> LoadedTokenizer:
    """Load the recipe's tokenizer and verify that it can do what the recipe asks.

    Args:
        recipe: Names the tokenizer, the sentinels, the control ids and the dtype.
        expected_hash: Content hash that fingerprints were made with; None takes any.

    Raises:
        TokenizerError: If it is not there, is another than expected, changes text without
            `tokens.allow_lossy`, has no id for a sentinel, BOS or EOS, can be made to give a
            control id for ordinary text, or the dtype is not the one that readers infer from its
            vocabulary.
    """
    name = recipe.tokens.tokenizer.name_or_path
    folder = find_tokenizer(recipe.tokens.tokenizer)
    found_hash = content_hash(folder)
    if expected_hash not in (None, found_hash):
        raise TokenizerError(
            f"{folder}: the tokenizer changed since the definitions were loaded; load them again"
        )
    files = _open_files(folder, found_hash, name)
    _refuse_changing_text(files.vocabulary.lossy, recipe.tokens, name)
    _check_dtype(recipe.tokens.dtype, len(files.vocabulary.token_bytes), name)
    controls = _controls(recipe, files.added, name)
    engines = files.engines
    protected = files.special | _placed_ids(recipe, controls)
    protected_bytes = protected & files.byte_ids
    _refuse_forgeable(engines.reference, files.added, protected, protected_bytes, name)
    loaded = LoadedTokenizer(
        engines,
        files.vocabulary,
        controls,
        tuple(files.added),
        frozenset(protected - {*controls.all()}),
        recipe.tokens.tokenizer.segment_before_tokenization,
        files.content_hash,
    )
    _refuse_other_decoding(loaded, name)
    return loaded


class _Files:
    """What a tokenizer's files say, whatever a recipe asks of it.

    Args:
        folder: Where they lie.
        content_hash: Of them: files that changed are read again.
        name: What the recipe calls them.

    Attributes:
        content_hash: Of them.
        vocabulary: What its ids stand for.
        added: Ids of the added tokens, by content.
        special: Those that are special.
        byte_ids: See `vocabulary.byte_ids`.
    """

    def __init__(self, folder: Path, content_hash: str, name: str) -> None:
        self.content_hash = content_hash
        content = _read_json(folder)
        _refuse_unusable(content, name)
        self.vocabulary = read_vocabulary(content)
        self.added = {token["content"]: token["id"] for token in content["added_tokens"]}
        self.special = {token["id"] for token in content["added_tokens"] if token["special"]}
        self.byte_ids = byte_ids(content)
        self._plain = content | {"added_tokens": [], "post_processor": None}

    @cached_property
    def engines(self) -> Encoders:
        """The engines, chosen once a recipe was found that the tokenizer suits: it takes long."""
        chosen = choose_engine(self._plain, self.vocabulary.token_bytes, list(self.added))
        self._plain = {}  # tens of megabytes, which nothing else needs
        return chosen


_open_files = lru_cache(maxsize=2)(_Files)
"""Recipes that differ in other things share what was read, and the engines."""


def _read_json(folder: Path) -> dict[str, Any]:
    """The tokenizer as `tokenizer.json` has it, or as transformers makes it of other files.

    Where there is a tokenizer.json, transformers is not asked: for some classes of tokenizers it
    takes the vocabulary alone from the file, and makes the rest itself.
    """
    file = folder / "tokenizer.json"
    try:
        if folder in _BUNDLED.values():
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
    content: dict[str, Any] = json.loads(text)
    normalizers = flattened(content.get("normalizer"), "normalizers")
    if len(normalizers) < 2:
        content["normalizer"] = normalizers[0] if normalizers else None
    return content | {"truncation": None, "padding": None}


def _refuse_unusable(content: dict[str, Any], name: str) -> None:
    unusable = why_unusable(content)
    if unusable:
        raise TokenizerError(
            f"tokens.tokenizer.name_or_path = {name}: its ids would not give texts back, or not "
            f"twice the same: {unusable}"
        )


def _refuse_changing_text(lossy: Sequence[str], tokens: Tokens, name: str) -> None:
    if lossy and not tokens.allow_lossy:
        raise TokenizerError(
            f"tokens.tokenizer.name_or_path = {name}: its ids would not give texts back exactly: "
            f"{'; '.join(lossy)}. tokens.allow_lossy: true takes it, and counts the documents that "
            "it changes"
        )
    if not lossy and tokens.allow_lossy:
        raise TokenizerError(
            f"tokens.allow_lossy = true: {name} gives every text back exactly; take the field away"
        )
    if tokens.tokenizer.segment_before_tokenization and PUTS_SPACE in lossy:
        raise TokenizerError(
            f"tokens.tokenizer.segment_before_tokenization = true: {name} puts a space before "
            "each text, and so before each paragraph; set it to false"
        )


def _check_dtype(dtype: str, vocab_size: int, name: str) -> None:
    smallest = "uint16" if vocab_size - 1 <= np.iinfo(np.uint16).max else "uint32"
    if dtype != smallest:
        raise TokenizerError(
            f"tokens.dtype = {dtype}: {name} has {vocab_size} ids, for which trainers infer "
            f"{smallest}; set tokens.dtype to {smallest}"
        )


def _placed_ids(recipe: Recipe, controls: Controls) -> set[int]:
    """All ids that are placed or could be, and so must not be made of text."""
    padding = recipe.tokens.tokenizer.pad_token_id
    return {*controls.all()} | ({padding} if padding is not None else set())


def _refuse_forgeable(
    engine: Engine, added: dict[str, int], protected: set[int], forged: set[int], name: str
) -> None:
    """Raise if a name of an added token, in one of some contexts, gives a protected id as text.

    Args:
        engine: Encodes the names.
        added: Ids by name.
        protected: Ids that no text must give.
        forged: Those of them that are known to be given.
        name: The tokenizer's.
    """
    contexts = [
        text
        for token in added
        for text in (token, f"a{token}b", f"\n{token}", f" {token}", token * 2, token.lstrip(" ▁"))
    ]
    ids, _ = engine.encode(contexts)
    forged = forged | (protected & set(ids.tolist()))
    for token, number in added.items():
        if number in forged:
            raise TokenizerError(
                f"tokens.tokenizer.name_or_path = {name}: ordinary text gives the id {number} of "
                f"{token}, so that a document could forge it"
            )


def _refuse_other_decoding(tokenizer: LoadedTokenizer, name: str) -> None:
    """Raise if an awkward text's ids stand for another text: the vocabulary is not understood."""
    for text in (*EDGE_CASE_TEXTS, *tokenizer.added, "<0x41>"):
        ids, _ = tokenizer.engines.reference.encode([text])
        try:
            decoded = tokenizer.decode(ids)
        except ValueError as error:
            decoded = str(error).encode()
        if decoded != tokenizer.normal_form(text):
            raise TokenizerError(
                f"tokens.tokenizer.name_or_path = {name}: the ids of {text!r} decode to "
                f"{decoded.decode(errors='replace')!r}"
            )


def _controls(recipe: Recipe, added: dict[str, int], name: str) -> Controls:
    sentinels = {
        part: token for part, token in recipe.fim.sentinels._asdict().items() if token is not None
    }
    for part, token in sentinels.items():
        if token not in added:
            raise TokenizerError(
                f"fim.fim_{part}_token = {token}: not one id in {name}; its added tokens are "
                f"{', '.join(added)}"
            )
    ids = recipe.tokens.tokenizer
    for field in ("bos_token_id", "eos_token_id", "pad_token_id"):
        number = getattr(ids, field)
        if number is not None and number not in added.values():
            raise TokenizerError(
                f"tokens.tokenizer.{field} = {number}: no added token of {name} has this id"
            )
    boundaries = [*recipe.fim.repository_tokens, recipe.fim.file_separator_token]
    controls = Controls(
        sentinels={part: added[token] for part, token in sentinels.items()},
        boundaries={token: added[token] for token in boundaries if token in added},
        bos=ids.bos_token_id,
        eos=ids.eos_token_id,
    )
    _refuse_shared_ids(recipe, {number: token for token, number in added.items()}, controls)
    return controls


def _refuse_shared_ids(recipe: Recipe, names: dict[int, str], controls: Controls) -> None:
    inside = {*controls.sentinels.values(), *controls.boundaries.values()}
    for field in ("bos_token_id", "eos_token_id", "pad_token_id"):
        number = getattr(recipe.tokens.tokenizer, field)
        if number in inside:
            raise TokenizerError(
                f"tokens.tokenizer.{field} = {number}: it is {names[number]}, which stands inside "
                "documents"
            )
