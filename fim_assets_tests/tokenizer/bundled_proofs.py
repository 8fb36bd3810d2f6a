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

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WHITE_SPACE = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_WORDS = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+@|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*@|"
_REST = rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_WHITE_SPACE}"

LLAMA_3 = (
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}"
    rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_WHITE_SPACE}"
)
QWEN_2 = LLAMA_3.replace("{1,3}", "")
QWEN_3_5 = QWEN_2.replace(r"?\p{L}+", r"?[\p{L}\p{M}]+").replace(r"\s\p{L}", r"\s\p{L}\p{M}")
O200K = _WORDS.replace("@", _CONTRACTIONS + "?") + r"\p{N}{1,3}" + _REST
NEMOTRON = _WORDS.replace("@", "") + r"\p{N}" + _REST
DEEPSEEK_V3 = (
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
    "|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*"
    r"|\s*[" + "\r\n" + r"]+|\s+(?!\S)|\s+",
)


def _step(kind: str, **options: Any) -> dict[str, Any]:
    return {"type": kind, **options}


def _byte_level(*, use_regex: bool) -> dict[str, Any]:
    options = {"add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}
    return _step("ByteLevel", **options)


def _splits(*patterns: str) -> dict[str, Any]:
    steps = [
        _step("Split", pattern={"Regex": pattern}, behavior="Isolated", invert=False)
        for pattern in patterns
    ]
    return _step("Sequence", pretokenizers=[*steps, _byte_level(use_regex=False)])


SPLITS = {
    "GPT-2, GPT-NeoX": _byte_level(use_regex=True),
    "StarCoder2": _step(
        "Sequence",
        pretokenizers=[_step("Digits", individual_digits=True), _byte_level(use_regex=True)],
    ),
    "Llama 3, OLMo 2": _splits(LLAMA_3),
    "Qwen 2": _splits(QWEN_2),
    "Qwen 3.5": _splits(QWEN_3_5),
    "o200k": _splits(O200K),
    "Nemotron 3": _splits(NEMOTRON),
    "DeepSeek V3": _splits(*DEEPSEEK_V3),
}
"""Pre-tokenizers as `tokenizer.json` has them, by who has published tokenizers with them."""


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
