"""Engines: two ways from text to ids, and the proof that they give the same ones.

The reference, Hugging Face tokenizers, serves every tokenizer. quicktok is many times faster and is
used where it was proved equal, once for a tokenizer and a pair of versions; what the proof found,
and quicktok's tables, are kept in the user's cache folder.
"""

import json
import logging
import platform
import random
import shutil
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from functools import lru_cache, partial
from hashlib import blake2b
from importlib.metadata import version
from io import StringIO
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import tokenizers
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fim_assets.io.hashing import record_file
from fim_assets.io.storage import cache_folders
from fim_assets.tokenizer import dolma2
from fim_assets.tokenizer.vocabulary import byte_level
from fim_assets.wording import plural

log = logging.getLogger(__name__)

TokenIds = npt.NDArray[np.uint32]
Offsets = npt.NDArray[np.int64]

_PROOF = 3
"""Version of the proof: raised when it looks at more, so that it is made again."""

_TABLES = "tables"
_VERDICT = "proof.json"
_DOUBTFUL_MOST = 1 << 14
_SURROGATES = range(0xD800, 0xE000)
_DENSE = (range(0x34000), range(0xE0000, 0xE0200))
_SPARSE = range(0x34000, 0x110000, 97)
"""Unicode has assigned code points in the first ranges alone: of the others few are looked at."""

_IN_ONE_TEXT = 16


class EngineError(ValueError):
    """An engine that cannot serve a tokenizer; the message says why."""


class UnencodableTextError(ValueError):
    """A text that the reference cannot encode: its regex gives up on runs of millions of spaces.

    Attributes:
        place: The text's, among those that were given.
    """

    def __init__(self, place: int, text: str, reason: BaseException) -> None:
        super().__init__(
            f"{ReferenceEngine.name} cannot encode a text of {plural(len(text), 'character')}: "
            f"{reason}"
        )
        self.place = place


def is_panic(error: BaseException) -> bool:
    """Whether an error is a panic in Rust, which is no `Exception` and cannot be imported."""
    return type(error).__name__ == "PanicException"


class Engine(Protocol):
    """Encodes ordinary text: no added token is matched in it."""

    @property
    def name(self) -> str:
        """Library and version."""

    def encode(self, texts: list[str]) -> tuple[TokenIds, Offsets]:
        """Encode texts: flat ids, and n + 1 offsets of where each text's ids begin in them.

        Raises:
            UnencodableTextError: If the reference has to encode one that it cannot.
        """


class ReferenceEngine:
    """Hugging Face tokenizers, which serves every tokenizer.

    Args:
        plain: `tokenizer.json` without added tokens and without a post-processor.
    """

    name = f"tokenizers {tokenizers.__version__}"

    def __init__(self, plain: str) -> None:
        self._tokenizer = tokenizers.Tokenizer.from_str(plain)

    def encode(self, texts: list[str]) -> tuple[TokenIds, Offsets]:
        """See `Engine`."""
        try:
            rows = self._rows(texts)
        except BaseException as error:
            if not is_panic(error):
                raise
            self._refuse_first(texts)
            raise
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        return np.fromiter(chain.from_iterable(rows), np.uint32, int(offsets[-1])), offsets

    def _rows(self, texts: list[str]) -> list[list[int]]:
        encoded = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [its.ids for its in encoded]

    def _refuse_first(self, texts: list[str]) -> None:
        """Raise for the first text that cannot be encoded: a panic does not say which it was."""
        for place, text in enumerate(texts):
            with _naming_the_text(place, text):
                self._rows([text])

    def normalize(self, text: str) -> str:
        """The text as the tokenizer's normalizer leaves it."""
        normalizer = self._tokenizer.normalizer
        return text if normalizer is None else str(normalizer.normalize_str(text))

    def pieces(self, text: str) -> list[str]:
        """What is given to the model: the normalized text as the pre-tokenizer cuts it.

        Raises:
            UnencodableTextError: If it cannot be cut.
        """
        normal = self.normalize(text)
        cut = self._tokenizer.pre_tokenizer
        if cut is None:
            return [normal]
        with _naming_the_text(0, text):
            return [piece for piece, _ in cut.pre_tokenize_str(normal)]


@contextmanager
def _naming_the_text(place: int, text: str) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        if not is_panic(error):
            raise
        raise UnencodableTextError(place, text, error) from None


class QuicktokEngine:
    """quicktok, for the byte-level BPE tokenizers whose splitting it knows.

    Texts that the tokenizer normalizes, and texts with letters that the two libraries know
    differently, go to the reference.

    Args:
        folder: Its tables.
        doubtful: Code points on which it was found to differ.
        reference: Serves where it does not.
        token_bytes: Each id's bytes.
        normalizes: Whether the tokenizer has a normalizer, one that leaves ASCII alone.
    """

    def __init__(
        self,
        folder: Path,
        doubtful: Sequence[int],
        reference: ReferenceEngine,
        token_bytes: Sequence[bytes | None],
        *,
        normalizes: bool,
    ) -> None:
        import quicktok

        self.name = f"quicktok {version('quicktok-v1')}"
        self._tokenizer = quicktok.Tokenizer(_TABLES, str(folder))
        self._reference = reference
        self._normalizes = normalizes
        self._doubtful = frozenset(map(chr, doubtful))
        self._begins_doubtful = _can_begin(doubtful, token_bytes) if doubtful else None

    def encode(self, texts: list[str]) -> tuple[TokenIds, Offsets]:
        """See `Engine`."""
        ids, offsets = self._tokenizer.encode_batch(texts, 1)
        others = sorted({*self._holding_doubtful(texts, ids, offsets), *self._normalized(texts)})
        if not others:
            return ids, offsets
        rows = np.split(ids, offsets[1:-1])
        try:
            exact, bounds = self._reference.encode([texts[place] for place in others])
        except UnencodableTextError as error:
            error.place = others[error.place]
            raise
        for place, row in zip(others, np.split(exact, bounds[1:-1]), strict=True):
            rows[place] = row
        return np.concatenate(rows), np.cumsum([0, *map(len, rows)], dtype=np.int64)

    def _holding_doubtful(self, texts: list[str], ids: TokenIds, offsets: Offsets) -> list[int]:
        if self._begins_doubtful is None:
            return []
        # Ids tell which few texts to search: searching them all would cost as much as encoding.
        return [
            place
            for place, text in enumerate(texts)
            if not text.isascii()
            and self._begins_doubtful[ids[offsets[place] : offsets[place + 1]]].any()
            and not self._doubtful.isdisjoint(text)
        ]

    def _normalized(self, texts: list[str]) -> list[int]:
        if not self._normalizes:
            return []
        return [
            place
            for place, text in enumerate(texts)
            if not text.isascii() and self._reference.normalize(text) != text
        ]


def _can_begin(
    doubtful: Sequence[int], token_bytes: Sequence[bytes | None]
) -> npt.NDArray[np.bool_]:
    """Which ids can hold the beginning of one of some characters, of their UTF-8 or all of it."""
    encoded = [chr(point).encode() for point in doubtful]
    begins = {whole[:size] for whole in encoded for size in range(1, len(whole) + 1)}
    sizes = {whole[0]: len(whole) for whole in encoded}
    can = np.zeros(len(token_bytes), np.bool_)
    for token, content in enumerate(token_bytes):
        if content is None or content.isascii():
            continue
        can[token] = any(
            content[at : at + sizes[byte]] in begins
            for at, byte in enumerate(content)
            if byte in sizes
        )
    return can


class Encoders(NamedTuple):
    """The engines of a tokenizer.

    Attributes:
        reference: Hugging Face tokenizers.
        engine: The one to encode with.
        reason: Why it is not the fast one, None where it is.
    """

    reference: ReferenceEngine
    engine: Engine
    reason: str | None = None


def choose_engine(
    content: dict[str, Any], token_bytes: Sequence[bytes | None], names: Sequence[str]
) -> Encoders:
    """Choose what a tokenizer's texts are encoded with: quicktok if it is proved, or the reference.

    Args:
        content: `tokenizer.json` without added tokens and without a post-processor.
        token_bytes: Each id's bytes, None where an id is not used.
        names: Names of the added tokens, which as text must give the same ids too.
    """
    plain = json.dumps(content)
    reference = ReferenceEngine(plain)
    try:
        _refuse_normalizer(content)
        with _proved_tables(plain, reference, token_bytes, names) as (folder, doubtful):
            fast = QuicktokEngine(
                folder, doubtful, reference, token_bytes, normalizes=bool(content["normalizer"])
            )
    except ImportError:
        return Encoders(reference, reference, "quicktok is not installed")
    except EngineError as error:
        return Encoders(reference, reference, f"quicktok {error}")
    except (OSError, RuntimeError) as error:
        return Encoders(reference, reference, f"quicktok cannot use its tables: {error}")
    return Encoders(reference, fast)


def _refuse_normalizer(content: dict[str, Any]) -> None:
    """Raise unless ASCII text, and what the reference leaves as it is, needs no normalizer."""
    normalizer = content["normalizer"]
    if normalizer and normalizer["type"] != "NFC":
        raise EngineError(f"does not know the normalizer {normalizer['type']}")


class _Proof(BaseModel):
    """What a proof found.

    Attributes:
        refused: Why quicktok cannot serve the tokenizer, None if it can.
        doubtful: Code points with which it gives other ids.
        files: Hashes of its tables, by name.
    """

    model_config = ConfigDict(extra="forbid")

    refused: str | None
    doubtful: list[Annotated[int, Field(ge=0x80, le=0x10FFFF)]]
    files: dict[str, str]


def _refusal(reason: str) -> _Proof:
    return _Proof(refused=reason, doubtful=[], files={})


@contextmanager
def _proved_tables(
    plain: str,
    reference: ReferenceEngine,
    token_bytes: Sequence[bytes | None],
    names: Sequence[str],
) -> Iterator[tuple[Path, list[int]]]:
    """Quicktok's tables for a tokenizer, and the code points with which it gives other ids.

    Kept in a cache folder; where none can be written, they are made for this use.

    Raises:
        ImportError: If quicktok is not installed.
        EngineError: If it refuses the tokenizer or differs from the reference.
    """
    import quicktok

    key = blake2b(digest_size=16)
    versions = (str(_PROOF), version("quicktok-v1"), reference.name, platform.machine())
    for part in (*versions, quicktok.__file__, *names, plain):
        key.update(f"{len(part)} {part}".encode())
    kept = [folder / "engines" / key.hexdigest() for folder in cache_folders()]
    for folder in kept:
        proof = _read_proof(folder)
        if proof is not None:
            yield _usable(folder, proof)
            return
    with TemporaryDirectory(prefix="fim-assets-") as temporary:
        made = Path(temporary, _TABLES)
        made.mkdir()
        proof = _make_tables(made, plain, reference, token_bytes, names)
        if not any(_keep(made, folder) for folder in kept):
            log.info("no cache folder can be written: each process proves its engine anew")
        yield _usable(made, proof)


def _usable(folder: Path, proof: _Proof) -> tuple[Path, list[int]]:
    if proof.refused:
        raise EngineError(proof.refused)
    return folder, proof.doubtful


def _read_proof(folder: Path) -> _Proof | None:
    """A proof that was kept, None where there is none or its tables are not as it left them."""
    try:
        proof = _Proof.model_validate_json((folder / _VERDICT).read_bytes())
        agree = bool(proof.refused or proof.files) and all(
            record_file(folder / n).blake2b == h for n, h in proof.files.items()
        )
    except (OSError, ValidationError):
        return None
    return proof if agree else None


def _make_tables(
    folder: Path,
    plain: str,
    reference: ReferenceEngine,
    token_bytes: Sequence[bytes | None],
    names: Sequence[str],
) -> _Proof:
    """Have quicktok read a tokenizer, and prove what it does with it."""
    content = json.loads(plain)
    # What is normalized, the reference encodes.
    content["normalizer"] = None
    try:
        tokenizer = _import(content, folder)
        _refuse_other_merges(content["model"], names)
        doubtful = _doubtful_of(json.dumps(_probe(content)))
        _prove(partial(tokenizer.encode_batch, threads=1), reference, doubtful, token_bytes, names)
        files = {path.name: record_file(path).blake2b for path in folder.iterdir()}
        proof = _Proof(refused=None, doubtful=doubtful, files=files)
    except (EngineError, UnencodableTextError) as error:
        proof = _Proof(refused=str(error), doubtful=[], files={})
    (folder / _VERDICT).write_text(proof.model_dump_json(), "utf-8")
    return proof


def _import(content: dict[str, Any], folder: Path) -> Any:
    """Quicktok's tokenizer of a tokenizer.json, its tables in a folder.

    Raises:
        EngineError: If it refuses it.
        RuntimeError: If it cannot use its own tables: then what it says may be true this time only.
    """
    import quicktok

    with TemporaryDirectory(dir=folder.parent) as beside, redirect_stdout(StringIO()):
        source = Path(beside, "tokenizer.json")
        source.write_text(json.dumps(content), "utf-8")
        try:
            quicktok.import_tokenizer(str(source), _TABLES, str(folder))
            return quicktok.Tokenizer(_TABLES, str(folder))
        except (ValueError, LookupError, struct.error) as error:
            # It explains at length behind a dash what it says before.
            reason = " ".join(str(error).split()).removeprefix("REFUSED: ").partition(" — ")[0]
            raise EngineError(f"refuses the tokenizer: {reason}") from error
        except RuntimeError as error:
            # Without a path that is another one each time: receipts hold what is said here.
            reason = str(error).removeprefix("quicktok: ").replace(f"{folder}/", "")
            raise RuntimeError(reason) from error


def _refuse_other_merges(model: dict[str, Any], names: Sequence[str]) -> None:
    """Raise unless merges are those that the vocabulary's order implies, which is all it knows."""
    ranks = {
        spelled: number
        for token, number in model["vocab"].items()
        if (spelled := byte_level(token)) is not None
    }
    last = -1
    pairs = set()
    for merge in model["merges"]:
        left, right = (byte_level(token) or b"" for token in merge)
        number = ranks.get(left + right, -1)
        if number < last:
            raise EngineError(f"knows no merge that comes before one of a lower id: {merge}")
        last = number
        pairs.add((left, right))
    named = {name.encode() for name in names}
    for token in ranks:
        if len(token) > 1 and token not in named and dolma2.merge_of(token, ranks) not in pairs:
            raise EngineError(f"knows no token that no merge makes: {token!r}")


def _probe(content: dict[str, Any]) -> dict[str, Any]:
    """A tokenizer that cuts as another one does, and whose ids show where.

    Its merges are of a letter and the bytes that begin or end other characters, and `'ll`.
    """
    spell = dolma2.byte_characters()
    merges = [("l", "l"), ("'", "ll")]
    merges += [(letter, spell[lead]) for letter in "aA" for lead in range(0xC2, 0xF5)]
    merges += [(spell[tail], letter) for letter in "bB" for tail in range(0x80, 0xC0)]
    tokens = [*spell.values(), *("".join(merge) for merge in merges)]
    model = content["model"] | {
        "vocab": {token: number for number, token in enumerate(tokens)},
        "merges": merges,
        "ignore_merges": False,
    }
    return content | {"model": model}


@lru_cache(maxsize=4)
def _doubtful_of(probe: str) -> list[int]:
    """`_doubtful` of quicktok with a probe, which tokenizers that cut alike share.

    Raises:
        EngineError: If it refuses the probe, or they differ too much.
    """
    with TemporaryDirectory(prefix="fim-assets-") as temporary:
        folder = Path(temporary, _TABLES)
        folder.mkdir()
        shape = _import(json.loads(probe), folder)
    return _doubtful(partial(shape.encode_batch, threads=1), ReferenceEngine(probe))


def _keep(made: Path, folder: Path) -> bool:
    """Put tables where the next process finds them, unless another one did; whether that worked."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".", dir=folder.parent) as beside:
            whole = shutil.copytree(made, Path(beside, _TABLES))
            if _read_proof(folder) is None:
                # A folder that is not empty cannot be replaced.
                with suppress(FileNotFoundError):
                    folder.rename(Path(beside, "damaged"))
                whole.rename(folder)
    except OSError as error:
        log.info("%s cannot be kept: %s", folder, error)
        return False
    return True


Encode = Callable[[list[str]], tuple[TokenIds, Offsets]]


def _doubtful(encode: Encode, reference: ReferenceEngine) -> list[int]:
    """The code points with which an engine gives other ids than the reference.

    Every one that Unicode may have assigned is tried, in places that show whether it is taken for a
    letter, a number, white space or none of these.

    Raises:
        EngineError: If they differ on ASCII or on too many code points.
    """
    doubtful = _differing(_code_points(), encode, reference)
    if doubtful and (doubtful[0] < 0x80 or len(doubtful) > _DOUBTFUL_MOST):
        raise EngineError(
            f"differs from {reference.name} on {len(doubtful)} code points, the first of them "
            f"U+{doubtful[0]:04X}"
        )
    return doubtful


def _prove(
    encode: Encode,
    reference: ReferenceEngine,
    doubtful: Sequence[int],
    token_bytes: Sequence[bytes | None],
    names: Sequence[str],
) -> None:
    """Compare an engine with the reference on texts without doubtful code points.

    They are awkward texts, every token's text, long runs, and random texts of characters that
    matter.

    Raises:
        EngineError: If they differ.
    """
    without = str.maketrans("", "", "".join(map(chr, doubtful)))
    texts = [text.translate(without) for text in _proof_texts(token_bytes, names)]
    texts = [text for text in texts if reference.normalize(text) == text]
    for place in _differences(texts, encode, reference):
        raise EngineError(f"differs from {reference.name} on {texts[place][:60]!r}")


def _code_points() -> list[int]:
    return sorted({*chain(*_DENSE, _SPARSE)} - {*_SURROGATES})


def _differing(points: list[int], encode: Encode, reference: ReferenceEngine) -> list[int]:
    """Code points with which the engines give other ids, found a group at a time."""
    groups = [points[at : at + _IN_ONE_TEXT] for at in range(0, len(points), _IN_ONE_TEXT)]
    found = _differences(["".join(map(_in_context, group)) for group in groups], encode, reference)
    alone = [point for place in found for point in groups[place]]
    return [alone[place] for place in _differences([*map(_in_context, alone)], encode, reference)]


def _in_context(point: int) -> str:
    return "_{0}'ll 1{0}2 {0}\na{0}bA{0}b a{0}B!A{0}B ".format(chr(point))


def _differences(texts: list[str], encode: Encode, reference: ReferenceEngine) -> list[int]:
    """Which texts get other ids; what the reference normalizes is left out."""
    (ids, offsets), (others, bounds) = encode(texts), reference.encode(texts)
    if np.array_equal(ids, others) and np.array_equal(offsets, bounds):
        return []
    return [
        place
        for place, text in enumerate(texts)
        if not np.array_equal(
            ids[offsets[place] : offsets[place + 1]], others[bounds[place] : bounds[place + 1]]
        )
        and reference.normalize(text) == text
    ]


EDGE_CASE_TEXTS = (
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
    "/* **** */ ####### -------- ======== ;;;; }}}} ))))",
    "naïve café Zürich Ω≈ç√∫ हिन्दी 한국어 עברית العربية ไทย",
)
"""Texts on which engines have differed."""

_RUN = 100_000
_RANDOM_TEXTS = 4000
_ALPHABETS = (
    "abcdefghij ABCDEFGHIJ",
    " \n\r\t",
    " \n\r\t.,;(){}[]'\"/*#<>|=-_",
    "'sStTlLvVrReEdDmM ſK",
    "0123456789.xe_ ½٣",
    "aé日本語Ωд한ไहन् \u0301\u200d\ufe0f🚀👩",
    "\x00\x7f\x85\xa0\u2028\u3000\ufeff\U0010ffff a1\n",
)


def _proof_texts(token_bytes: Sequence[bytes | None], names: Sequence[str]) -> Iterator[str]:
    yield from EDGE_CASE_TEXTS
    yield from names
    for content in token_bytes:
        if content is not None:
            with suppress(UnicodeDecodeError):
                yield content.decode()
    for character in "a \n=é0日🚀\t\r_":
        yield character * _RUN
    draws = random.Random(_PROOF)  # noqa: S311 - texts to try, nothing secret
    for _ in range(_RANDOM_TEXTS):
        alphabet = "".join(draws.sample(_ALPHABETS, 2))
        yield "".join(draws.choices(alphabet, k=draws.randrange(1, 60)))
