"""Which encoder serves a tokenizer: gigatoken where it is proved equal, else the reference.

A proof is made once for a tokenizer and a set of versions. Those of the bundled tokenizer and of
splits that many tokenizers have come with the package, in `data/proofs.json`, which tests make
again; others are kept in the user's cache folder, as `encoders/<key>.json`.
"""

import logging
import platform
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from itertools import chain, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from fim_assets.io.machine_folders import cache_folders
from fim_assets.tokenizer.byte_level import CHARACTER_OF, to_bytes
from fim_assets.tokenizer.encoders import (
    Encoder,
    EncoderError,
    ReferenceEncoder,
    UnencodableTextError,
)
from fim_assets.tokenizer.gigatoken_encoder import (
    Gigatoken,
    GigatokenEncoder,
    gigatoken_version,
)
from fim_assets.tokenizer.proof import PROOF_VERSION, find_mismatches, proof_texts, prove
from fim_assets.tokenizer.vocabulary import flattened, vocabulary_ids

log = logging.getLogger(__name__)

BUNDLED_PROOFS = Path(__file__).parent / "data" / "proofs.json"


class Encoders(NamedTuple):
    """The encoders of a tokenizer; `reason` says why the used one is the reference, if it is."""

    reference: ReferenceEncoder
    used: Encoder
    reason: str | None = None


_Point = Annotated[int, Field(ge=0x80, le=0x10FFFF)]


class Proof(BaseModel):
    """What a proof has shown.

    `refused` says why gigatoken cannot serve the tokenizer, None if it can; `mismatches` are the
    ranges of mismatching code points, each as its first and its last.
    """

    model_config = ConfigDict(extra="forbid")

    refused: str | None
    mismatches: list[tuple[_Point, _Point]]

    @classmethod
    def of_points(cls, points: Sequence[int]) -> "Proof":
        """The proof of an encoder that serves; the code points ascend."""
        ranges: list[tuple[int, int]] = []
        for point in points:
            if ranges and ranges[-1][1] == point - 1:
                ranges[-1] = ranges[-1][0], point
            else:
                ranges.append((point, point))
        return cls(refused=None, mismatches=ranges)

    def points(self) -> list[int]:
        """The mismatching code points; an EncoderError is raised if gigatoken cannot serve."""
        if self.refused is not None:
            raise EncoderError(self.refused)
        return list(chain.from_iterable(range(a, b + 1) for a, b in self.mismatches))


_proofs = TypeAdapter(dict[str, Proof])


def choose_encoder(
    content: dict[str, Any], token_bytes: Sequence[bytes | None], names: Sequence[str]
) -> Encoders:
    """Choose what encodes a tokenizer's texts: gigatoken if it is proved, or the reference.

    Args:
        content: `tokenizer.json` without added tokens and without a post-processor.
        token_bytes: Each id's bytes, None where an id is not used.
        names: Names of the added tokens, which as text must give the same ids too.
    """
    reference = ReferenceEncoder(to_json(content))
    normalizer = content["normalizer"]
    # NFC leaves ASCII unchanged, so that only other texts have to be compared with theirs.
    if normalizer and normalizer["type"] != "NFC":
        reason = f"gigatoken does not know the normalizer {normalizer['type']}"
        return Encoders(reference, reference, reason)
    try:
        # Texts that the normalizer changes go to the reference.
        gigatoken = Gigatoken(content | {"normalizer": None})

        def make() -> Sequence[int]:
            mismatches = mismatches_of_split(content["pre_tokenizer"])
            # gigatoken takes tokens that are not spelled in bytes for tokens of their own text.
            others = [token for token in vocabulary_ids(content) if to_bytes(token) is None]
            texts = proof_texts(token_bytes, [*names, *others])
            prove(gigatoken.encode, reference, texts, mismatches)
            return mismatches

        mismatches = _proved(what_of_tokenizer(content, names), make).points()
        fast = GigatokenEncoder(gigatoken, mismatches, reference, token_bytes)
    except ImportError:
        reason = "gigatoken is not installed"
    except EncoderError as error:
        reason = f"gigatoken {error}"
    else:
        return Encoders(reference, fast)
    return Encoders(reference, reference, reason)


def mismatches_of_split(split: dict[str, Any] | None) -> Sequence[int]:
    """The mismatching code points of all tokenizers with a pre-tokenizer.

    An EncoderError is raised if gigatoken cannot serve them.
    """

    def make() -> Sequence[int]:
        probe = _probe(split)
        return find_mismatches(Gigatoken(probe).encode, ReferenceEncoder(to_json(probe)))

    return _proved(what_of_split(split), make).points()


def what_of_split(split: dict[str, Any] | None) -> list[str]:
    """What is proved of a pre-tokenizer: its steps, without an option that changes no id."""
    steps = flattened(split, "pretokenizers")
    return ["split", to_json([step | {"trim_offsets": True} for step in steps])]


def what_of_tokenizer(content: dict[str, Any], names: Iterable[str]) -> list[str]:
    """What is proved of a tokenizer; the arguments are those of `choose_encoder`."""
    return ["tokenizer", *names, to_json(content)]


def _probe(split: dict[str, Any] | None) -> dict[str, Any]:
    """A tokenizer that splits as another one does, and whose ids show where.

    It merges a letter or a space with the bytes that begin or end other characters, these with each
    other, and `'ll`: in `aé`, bytes 61 C3 A9, it merges 61 and C3 unless the text is split between
    `a` and `é`.
    """
    leads = [CHARACTER_OF[byte] for byte in range(0xC2, 0xF5)]
    tails = [CHARACTER_OF[byte] for byte in range(0x80, 0xC0)]
    merges = [("l", "l"), ("'", "ll"), *product([*"aA", CHARACTER_OF[0x20]], leads)]
    merges += [*product(tails, [*"bB", *leads])]
    tokens = [*CHARACTER_OF.values(), *("".join(merge) for merge in merges)]
    vocab = {token: number for number, token in enumerate(tokens)}
    return {
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": split,
        "model": {"type": "BPE", "vocab": vocab, "merges": merges},
    }


def to_json(content: object) -> str:
    """As libraries take it."""
    return orjson.dumps(content).decode()


def _proved(what: Sequence[str], make: Callable[[], Sequence[int]]) -> Proof:
    """The proof of something, which is made, and kept, where there is none."""
    name = f"{proof_key(what)}.json"
    proof = bundled_proofs().get(name.removesuffix(".json"))
    kept = [folder / "encoders" / name for folder in cache_folders()]
    for file in kept:
        proof = proof or _read(file)
    if proof is None:
        try:
            proof = Proof.of_points(make())
        except (EncoderError, UnencodableTextError) as error:
            proof = Proof(refused=str(error), mismatches=[])
        if not any(_keep(proof, file) for file in kept):
            log.info("no cache folder can be written: each process proves its encoder again")
    return proof


def proof_key(what: Sequence[str]) -> str:
    """The key of a proof, 32 hex digits: the same for the same texts, versions and machine."""
    digest = blake2b(digest_size=16)
    versions = str(PROOF_VERSION), gigatoken_version(), ReferenceEncoder.name, platform.machine()
    for part in (*versions, *what):
        digest.update(f"{len(part)} {part}".encode())
    return digest.hexdigest()


@cache
def bundled_proofs() -> dict[str, Proof]:
    """The proofs that come with the package, by their keys."""
    return _proofs.validate_json(BUNDLED_PROOFS.read_bytes())


def _read(file: Path) -> Proof | None:
    """A kept proof, None where there is none."""
    with suppress(OSError, ValidationError):
        return Proof.model_validate_json(file.read_bytes())
    return None


def _keep(proof: Proof, file: Path) -> bool:
    """Put a proof where the next process finds it; whether that worked."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".", dir=file.parent) as temporary:
            written = Path(temporary, file.name)
            written.write_text(proof.model_dump_json(), "utf-8")
            written.replace(file)
    except OSError as error:
        log.info("%s cannot be kept: %s", file, error)
        return False
    return True
