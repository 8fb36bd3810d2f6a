"""`python -m fim_assets_tests.tokenizer.bundled_proofs`: prove what comes with the package.

They hold for the locked versions of gigatoken and tokenizers and for this kind of machine: they are
written again when one of these changes, or what a proof looks at.
"""

import json
import os
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import TypeAdapter
from rich.progress import track

from fim_assets.tokenizer.choose import (
    BUNDLED_PROOFS,
    Proof,
    bundled_proofs,
    choose_encoder,
    mismatches_of_split,
    proof_key,
    what_of_split,
    what_of_tokenizer,
)
from fim_assets.tokenizer.find import DOLMA2
from fim_assets.tokenizer.vocabulary import read_vocabulary
from fim_assets_tests.tokenizer.splits import SPLITS


def dolma2() -> tuple[dict[str, Any], list[str]]:
    """The bundled tokenizer as `choose_encoder` takes it, and its added tokens' names."""
    content = json.loads((DOLMA2 / "tokenizer.json").read_text("utf-8"))
    names = [token["content"] for token in content["added_tokens"]]
    without: dict[str, Any] = {
        "added_tokens": [],
        "post_processor": None,
        "truncation": None,
        "padding": None,
    }
    return content | without, names


def main() -> None:
    """Prove, and write what was proved."""
    BUNDLED_PROOFS.write_text("{}\n", "utf-8")
    bundled_proofs.cache_clear()
    with TemporaryDirectory() as empty:
        os.environ["XDG_CACHE_HOME"] = empty
        proofs = _proofs()
    BUNDLED_PROOFS.write_bytes(TypeAdapter(dict[str, Proof]).dump_json(proofs) + b"\n")


def _proofs() -> dict[str, Proof]:
    proofs = {}
    for split in track(SPLITS.values()):
        proofs[proof_key(what_of_split(split))] = Proof.of_points(mismatches_of_split(split))
    content, names = dolma2()
    chosen = choose_encoder(content, read_vocabulary(content).token_bytes, names)
    if chosen.reason is not None:
        raise SystemExit(f"the bundled tokenizer is not proved: {chosen.reason}")
    points = mismatches_of_split(content["pre_tokenizer"])
    proofs[proof_key(what_of_tokenizer(content, names))] = Proof.of_points(points)
    return proofs


if __name__ == "__main__":
    main()
