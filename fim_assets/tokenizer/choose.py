"""Which encoder serves a tokenizer: quicktok where it is proved equal, else the reference.

A proof is made once for a tokenizer and a pair of versions. It is kept, with quicktok's tables, in
the user's cache folder: `engines/<key>/` holds `proof.json` (`_Proof`) and the tables.
"""

import json
import logging
import platform
import shutil
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from functools import lru_cache, partial
from hashlib import blake2b
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fim_assets.io.hashing import record_file
from fim_assets.io.machine_folders import cache_folders
from fim_assets.tokenizer.byte_level import CHARACTER_OF, merge_of, to_bytes
from fim_assets.tokenizer.encoders import (
    TABLES,
    Encoder,
    QuicktokEncoder,
    ReferenceEncoder,
    UnencodableTextError,
)
from fim_assets.tokenizer.proof import (
    PROOF_VERSION,
    EncoderError,
    find_mismatches,
    proof_texts,
    prove,
)

log = logging.getLogger(__name__)

_PROOF_FILE = "proof.json"


class Encoders(NamedTuple):
    """The encoders of a tokenizer; `reason` says why the used one is the reference, if it is."""

    reference: ReferenceEncoder
    used: Encoder
    reason: str | None = None


class _Proof(BaseModel):
    """What a proof has shown.

    `refused` says why quicktok cannot serve the tokenizer, None if it can; `doubtful` are the
    mismatching code points, `files` the hashes of its tables, by name.
    """

    model_config = ConfigDict(extra="forbid")

    refused: str | None
    doubtful: list[Annotated[int, Field(ge=0x80, le=0x10FFFF)]]
    files: dict[str, str]


def choose_encoder(
    content: dict[str, Any], token_bytes: Sequence[bytes | None], names: Sequence[str]
) -> Encoders:
    """Choose what a tokenizer's texts are encoded with: quicktok if it is proved, or the reference.

    Args:
        content: `tokenizer.json` without added tokens and without a post-processor.
        token_bytes: Each id's bytes, None where an id is not used.
        names: Names of the added tokens, which as text must give the same ids too.
    """
    plain = json.dumps(content)
    reference = ReferenceEncoder(plain)
    texts = proof_texts(token_bytes, names)
    normalizer = content["normalizer"]
    # NFC leaves ASCII unchanged, so that only other texts have to be compared with theirs.
    if normalizer and normalizer["type"] != "NFC":
        reason = f"quicktok does not know the normalizer {normalizer['type']}"
        return Encoders(reference, reference, reason)
    try:
        with _proved_tables(plain, reference, texts, names) as tables:
            fast = QuicktokEncoder(*tables, reference, token_bytes, normalizes=bool(normalizer))
    except ImportError:
        reason = "quicktok is not installed"
    except EncoderError as error:
        reason = f"quicktok {error}"
    except (OSError, RuntimeError) as error:
        reason = f"quicktok cannot use its tables: {error}"
    else:
        return Encoders(reference, fast)
    return Encoders(reference, reference, reason)


@contextmanager
def _proved_tables(
    plain: str, reference: ReferenceEncoder, texts: Iterable[str], names: Sequence[str]
) -> Iterator[tuple[Path, list[int]]]:
    """Quicktok's tables for a tokenizer, and its mismatching code points.

    Where no cache folder can be written, they are made for this use.
    """
    import quicktok

    key = blake2b(digest_size=16)
    versions = (str(PROOF_VERSION), version("quicktok-v1"), reference.name, platform.machine())
    for part in (*versions, quicktok.__file__, *names, plain):
        key.update(f"{len(part)} {part}".encode())
    kept = [folder / "engines" / key.hexdigest() for folder in cache_folders()]
    for folder in kept:
        proof = _read_proof(folder)
        if proof is not None:
            yield folder, _mismatches_of(proof)
            return
    with TemporaryDirectory(prefix="fim-assets-") as temporary:
        made = Path(temporary, TABLES)
        made.mkdir()
        proof = _make_tables(made, plain, reference, texts, names)
        if not any(_keep(made, folder) for folder in kept):
            log.info("no cache folder can be written: each process proves its encoder again")
        yield made, _mismatches_of(proof)


def _mismatches_of(proof: _Proof) -> list[int]:
    if proof.refused:
        raise EncoderError(proof.refused)
    return proof.doubtful


def _read_proof(folder: Path) -> _Proof | None:
    """A kept proof, None where there is none or its tables have changed since."""
    try:
        proof = _Proof.model_validate_json((folder / _PROOF_FILE).read_bytes())
        unchanged = bool(proof.refused or proof.files) and all(
            record_file(folder / n).blake2b == h for n, h in proof.files.items()
        )
    except (OSError, ValidationError):
        return None
    return proof if unchanged else None


def _make_tables(
    made: Path, plain: str, reference: ReferenceEncoder, texts: Iterable[str], names: Sequence[str]
) -> _Proof:
    # Texts that the normalizer changes go to the reference.
    content = json.loads(plain) | {"normalizer": None}
    try:
        encode = partial(_import(content, made).encode_batch, threads=1)
        _refuse_other_merges(content["model"], names)
        mismatches = _mismatches_by_split(json.dumps(_probe(content)))
        prove(encode, reference, texts, mismatches)
        files = {path.name: record_file(path).blake2b for path in made.iterdir()}
        proof = _Proof(refused=None, doubtful=mismatches, files=files)
    except (EncoderError, UnencodableTextError) as error:
        proof = _Proof(refused=str(error), doubtful=[], files={})
    (made / _PROOF_FILE).write_text(proof.model_dump_json(), "utf-8")
    return proof


def _import(content: dict[str, Any], folder: Path) -> Any:
    """Quicktok's tokenizer of a tokenizer.json, its tables in a folder.

    What it refuses is an `EncoderError`, and kept; that it cannot use its own tables may be true
    this time only, and stays a `RuntimeError`.
    """
    import quicktok

    with TemporaryDirectory(dir=folder.parent) as temporary, redirect_stdout(StringIO()):
        source = Path(temporary, "tokenizer.json")
        source.write_text(json.dumps(content), "utf-8")
        try:
            quicktok.import_tokenizer(str(source), TABLES, str(folder))
            return quicktok.Tokenizer(TABLES, str(folder))
        except (ValueError, LookupError, struct.error) as error:
            # Behind a dash, it explains at length what it says before.
            reason = " ".join(str(error).split()).removeprefix("REFUSED: ").partition(" — ")[0]
            raise EncoderError(f"refuses the tokenizer: {reason}") from error
        except RuntimeError as error:
            # Receipts hold this reason: it must not name a temporary folder.
            reason = str(error).removeprefix("quicktok: ").replace(f"{folder}/", "")
            raise RuntimeError(reason) from error


def _refuse_other_merges(model: dict[str, Any], names: Sequence[str]) -> None:
    """Raise unless merges are those that the vocabulary's order implies, which is all it knows."""
    ranks = {
        spelled: number
        for token, number in model["vocab"].items()
        if (spelled := to_bytes(token)) is not None
    }
    last = -1
    pairs = set()
    for merge in model["merges"]:
        left, right = (to_bytes(token) or b"" for token in merge)
        number = ranks.get(left + right, -1)
        if number < last:
            raise EncoderError(f"knows no merge that comes before one of a lower id: {merge}")
        last = number
        pairs.add((left, right))
    named = {name.encode() for name in names}
    for token in ranks:
        if len(token) > 1 and token not in named and merge_of(token, ranks) not in pairs:
            raise EncoderError(f"knows no token that no merge makes: {token!r}")


def _probe(content: dict[str, Any]) -> dict[str, Any]:
    """A tokenizer that splits as another one does, and whose ids show where.

    It merges a letter with the bytes that begin or end other characters, and `'ll`: in `aé`, bytes
    61 C3 A9, it merges 61 and C3 unless the text is split between `a` and `é`.
    """
    merges = [("l", "l"), ("'", "ll")]
    merges += [(letter, CHARACTER_OF[lead]) for letter in "aA" for lead in range(0xC2, 0xF5)]
    merges += [(CHARACTER_OF[tail], letter) for letter in "bB" for tail in range(0x80, 0xC0)]
    tokens = [*CHARACTER_OF.values(), *("".join(merge) for merge in merges)]
    model = content["model"] | {
        "vocab": {token: number for number, token in enumerate(tokens)},
        "merges": merges,
        "ignore_merges": False,
    }
    return content | {"model": model}


@lru_cache(maxsize=4)
def _mismatches_by_split(probe: str) -> list[int]:
    """The mismatching code points of a probe, which tokenizers that split alike share."""
    with TemporaryDirectory(prefix="fim-assets-") as temporary:
        folder = Path(temporary, TABLES)
        folder.mkdir()
        encode = partial(_import(json.loads(probe), folder).encode_batch, threads=1)
    return find_mismatches(encode, ReferenceEncoder(probe))


def _keep(made: Path, folder: Path) -> bool:
    """Put tables where the next process finds them, unless another did; whether that worked."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".", dir=folder.parent) as temporary:
            copied = shutil.copytree(made, Path(temporary, TABLES))
            if _read_proof(folder) is None:
                # A folder that is not empty cannot be replaced.
                with suppress(FileNotFoundError):
                    folder.rename(Path(temporary, "damaged"))
                copied.rename(folder)
    except OSError as error:
        log.info("%s cannot be kept: %s", folder, error)
        return False
    return True
