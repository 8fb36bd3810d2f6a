"""The tokenizer: found, verified, and two engines that give the same ids."""

import json
import logging
import re
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from importlib.metadata import version
from io import StringIO
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import tokenizers

from fim_assets.recipe import Recipe
from fim_assets.tokens import dolma2

log = logging.getLogger(__name__)

TokenIds = npt.NDArray[np.uint32]
Offsets = npt.NDArray[np.int64]

_BUNDLED = {"allenai/dolma2-tokenizer": dolma2.FOLDER}

_FILES = (
    "added_tokens.json",
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


class TokenizerError(ValueError):
    """A tokenizer that cannot be used; the message names it and what is wrong."""


def find_tokenizer(name_or_path: str) -> Path:
    """The folder with a tokenizer's files: bundled, a folder, or downloaded from the Hub.

    Raises:
        TokenizerError: If there is none.
    """
    folder = _BUNDLED.get(name_or_path, Path(name_or_path).expanduser())
    if folder.is_dir():
        if not any((folder / name).is_file() for name in _FILES):
            raise TokenizerError(f"{folder}: holds none of a tokenizer's files")
        return folder
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name_or_path, allow_patterns=list(_FILES)))
    except Exception as error:
        raise TokenizerError(
            f"tokens.tokenizer.name_or_path = {name_or_path}: no folder of this name, and the "
            f"Hub did not give it: {error}"
        ) from error


def content_hash(folder: Path) -> str:
    """Hash a tokenizer's files, names and contents: 32 hex digits."""
    digest = blake2b(digest_size=16)
    for name in _FILES:
        path = folder / name
        if path.is_file():
            digest.update(f"{name} {path.stat().st_size}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


class Engine(Protocol):
    """Encodes ordinary text: no added token is matched in it."""

    @property
    def name(self) -> str:
        """Library and version."""

    def encode(self, texts: list[str]) -> tuple[TokenIds, Offsets]:
        """Encode texts: flat ids, and n + 1 offsets of where each text's ids begin in them."""


class ReferenceEngine:
    """Hugging Face tokenizers, which serves every tokenizer."""

    name = f"tokenizers {tokenizers.__version__}"

    def __init__(self, plain: str) -> None:
        self._tokenizer = tokenizers.Tokenizer.from_str(plain)

    def encode(self, texts: list[str]) -> tuple[TokenIds, Offsets]:
        """See `Engine`."""
        rows = [e.ids for e in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        return np.fromiter(chain.from_iterable(rows), np.uint32, int(offsets[-1])), offsets


_NEWER_UNICODE = re.compile(
    "["
    "\u088f\u0c5c\u0cdc\ua7ce-\ua7cf\ua7d2\ua7d4\ua7f1\U00010940-\U00010959"
    "\U00010ec5-\U00010ec7\U00011db0-\U00011ddb\U00011de0-\U00011de9"
    "\U00016ea0-\U00016eb8\U00016ebb-\U00016ed3\U00016ff2-\U00016ff6"
    "\U000187f8-\U000187ff\U00018d09-\U00018d1e\U00018d80-\U00018df2"
    "\U0001e6c0-\U0001e6de\U0001e6e0-\U0001e6e2\U0001e6e4-\U0001e6e5"
    "\U0001e6e7-\U0001e6ed\U0001e6f0-\U0001e6f4\U0001e6fe-\U0001e6ff"
    "\U0002b73a-\U0002b73f\U0002cea2-\U0002cead\U000323b0-\U00033479"
    "]"
)
"""Letters to quicktok 0.4, but not yet to Hugging Face tokenizers 0.23, which splits there."""


class QuicktokEngine:
    """quicktok, for the byte-level BPE tokenizers whose splitting it knows.

    Texts with letters that only its newer Unicode tables hold go to the reference.

    Raises:
        ImportError: If it is not installed.
        ValueError: If it refuses the tokenizer.
    """

    def __init__(self, plain: str, reference: Engine) -> None:
        import quicktok

        self._reference = reference
        with TemporaryDirectory() as folder, redirect_stdout(StringIO()):
            source = Path(folder) / "tokenizer.json"
            source.write_text(plain, "utf-8")
            quicktok.import_tokenizer(str(source), "tokenizer", folder)
            self._tokenizer = quicktok.Tokenizer("tokenizer", folder)
        self.name = f"quicktok {version('quicktok-v1')}"

    def encode(self, texts: list[str]) -> tuple[TokenIds, Offsets]:
        """See `Engine`."""
        ids, offsets = self._tokenizer.encode_batch(texts, 1)
        doubtful = [
            place
            for place, text in enumerate(texts)
            if not text.isascii() and _NEWER_UNICODE.search(text)
        ]
        if not doubtful:
            return ids, offsets
        rows = np.split(ids, offsets[1:-1])
        exact, bounds = self._reference.encode([texts[place] for place in doubtful])
        for place, row in zip(doubtful, np.split(exact, bounds[1:-1]), strict=True):
            rows[place] = row
        lengths = [len(row) for row in rows]
        return np.concatenate(rows), np.cumsum([0, *lengths], dtype=np.int64)


PROBES = [
    "",
    " ",
    "def add(a, b):\n    return a + b\n",
    "\r\nwindows\r\nlines\r\n\r\n",
    "\tfor (;;) {\n\t\t\n\t}   \n   \t \n",
    "don't CAN'T we'Ve I'LL 'tis ''s",
    "1234567 3.14159 0xDEADBEEF ½ ² ٣٤٥٦",
    "日本語のコメント // émoji 🚀🔥 👩‍👩‍👧 e\u0301 ﷽ \u200b\u00a0\u3000\u2028 \ufeff",
    "ǅungla ſtraße ΑΒΓ İı K's ﬁ",
    "\x00\x01\x7f\x85\u0085 \x1c\x1d",
    "<|endoftext|> <|fim_prefix|> |||EMAIL_ADDRESS||| <s> </s> [MID]",
    " " * 300 + "x" + "\n" * 200 + "=" * 500 + "a" * 1000,
    "/* **** */ ####### -------- ======== ;;;; }}}} ))))",
    "naïve café Zürich Ω≈ç√∫ हिन्दी 한국어 עברית العربية ไทย",
]
"""Texts on which engines have differed; a fast engine must agree on them to be used."""


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


@dataclass(frozen=True)
class LoadedTokenizer:
    """A tokenizer that was verified for a recipe.

    Attributes:
        engine: Encodes.
        controls: The ids to place.
        added: Contents of all added tokens.
        vocab_size: Highest id plus one.
        token_bytes: Each id's bytes, None where an id is not used.
    """

    engine: Engine
    controls: Controls
    added: tuple[str, ...]
    vocab_size: int
    token_bytes: Sequence[bytes | None]

    def decode(self, ids: npt.NDArray[np.unsignedinteger]) -> bytes:
        """The bytes that ids stand for, control tokens by their names.

        Raises:
            TypeError: If an id is not used by the tokenizer.
            IndexError: If an id is outside the vocabulary.
        """
        table = self.token_bytes
        return b"".join([table[token] for token in ids.tolist()])


@lru_cache(maxsize=4)
def load_tokenizer(recipe: Recipe, expected_hash: str | None = None) -> LoadedTokenizer:
    """Load the recipe's tokenizer and verify that it can do what the recipe asks.

    Args:
        recipe: Names the tokenizer, the sentinels, the control ids and the dtype.
        expected_hash: Content hash that fingerprints were made with; None takes any.

    Raises:
        TokenizerError: If it is not there, is another than expected, changes text, has no id for a
            sentinel, BOS or EOS, can be made to give a control id for ordinary text, or the dtype
            is not the one that readers infer from its vocabulary.
    """
    name = recipe.tokens.tokenizer.name_or_path
    folder = find_tokenizer(name)
    if expected_hash not in (None, content_hash(folder)):
        raise TokenizerError(
            f"{folder}: the tokenizer changed since the definitions were loaded; load them again"
        )
    content = _read_json(folder)
    _refuse_lossy(content, name)
    added = {token["content"]: token["id"] for token in content["added_tokens"]}
    token_bytes = _token_bytes(content["model"]["vocab"], added)
    _check_dtype(recipe.tokens.dtype, len(token_bytes), name)
    plain = json.dumps(content | {"added_tokens": [], "post_processor": None})
    reference = ReferenceEngine(plain)
    _refuse_forgeable(reference, added, name)
    return LoadedTokenizer(
        _choose_engine(plain, reference, list(added)),
        _controls(recipe, added, name),
        tuple(added),
        len(token_bytes),
        token_bytes,
    )


def _read_json(folder: Path) -> dict[str, Any]:
    if folder in _BUNDLED.values():
        text = (folder / "tokenizer.json").read_text("utf-8")
    else:
        from transformers import AutoTokenizer

        try:
            loaded = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, use_fast=True)
            text = loaded.backend_tokenizer.to_str()
        except (OSError, ValueError, AttributeError) as error:
            raise TokenizerError(f"{folder}: transformers cannot load it: {error}") from error
    content: dict[str, Any] = json.loads(text)
    return content | {"truncation": None, "padding": None}


def _refuse_lossy(content: dict[str, Any], name: str) -> None:
    pre = content.get("pre_tokenizer") or {}
    steps = pre.get("pretokenizers", [pre])
    byte_level = [step for step in steps if step.get("type") == "ByteLevel"]
    reason = None
    if content["model"].get("dropout"):
        reason = f"it draws merges at random (dropout {content['model']['dropout']})"
    elif content.get("normalizer"):
        reason = f"it normalizes text ({content['normalizer'].get('type')})"
    elif content["model"]["type"] != "BPE" or not byte_level:
        reason = f"it is no byte-level BPE ({content['model']['type']})"
    elif any(step.get("add_prefix_space") for step in byte_level):
        reason = "it puts a space before text"
    if reason:
        raise TokenizerError(
            f"tokens.tokenizer.name_or_path = {name}: its tokens would not give texts back, or "
            f"not twice the same: {reason}"
        )


def _token_bytes(vocab: dict[str, int], added: dict[str, int]) -> list[bytes | None]:
    byte_of = {character: byte for byte, character in dolma2.byte_characters().items()}
    table: list[bytes | None] = [None] * (max(chain(vocab.values(), added.values())) + 1)
    for token, number in vocab.items():
        if all(character in byte_of for character in token):
            table[number] = bytes(byte_of[character] for character in token)
    for token, number in added.items():
        table[number] = token.encode()
    return table


def _check_dtype(dtype: str, vocab_size: int, name: str) -> None:
    smallest = "uint16" if vocab_size - 1 <= np.iinfo(np.uint16).max else "uint32"
    if dtype != smallest:
        raise TokenizerError(
            f"tokens.dtype = {dtype}: {name} has {vocab_size} ids, for which trainers infer "
            f"{smallest}; set tokens.dtype to {smallest}"
        )


def _refuse_forgeable(engine: Engine, added: dict[str, int], name: str) -> None:
    ids, _ = engine.encode(list(added))
    forged = set(ids.tolist()) & set(added.values())
    for token, number in added.items():
        if number in forged:
            raise TokenizerError(
                f"tokens.tokenizer.name_or_path = {name}: ordinary text gives the id {number} of "
                f"{token}, so that a document could forge it"
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


def _choose_engine(plain: str, reference: Engine, added: list[str]) -> Engine:
    try:
        fast = QuicktokEngine(plain, reference)
    except ImportError:
        log.info("quicktok is not installed; %s encodes", reference.name)
        return reference
    except ValueError as error:
        log.warning("quicktok refuses the tokenizer; %s encodes: %s", reference.name, error)
        return reference
    probes = [*PROBES, *added]
    (ids, offsets), (expected_ids, expected_offsets) = fast.encode(probes), reference.encode(probes)
    if np.array_equal(ids, expected_ids) and np.array_equal(offsets, expected_offsets):
        return fast
    log.warning("%s differs from %s, which encodes", fast.name, reference.name)
    return reference
