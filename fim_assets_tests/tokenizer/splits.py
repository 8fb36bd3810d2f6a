"""How published tokenizers split texts, as their `tokenizer.json` has it."""

from typing import Any

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WHITE_SPACE = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_WORDS = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+@|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*@|"
_REST = rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_WHITE_SPACE}"

LLAMA_3 = (
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}"
    rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_WHITE_SPACE}"
)
GPT_2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CL100K = LLAMA_3.replace(r"[\r\n]+|\s+(", r"[\r\n]|\s+(")
CL100K_POSSESSIVE = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+"
    r"| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s+"
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
    "GPT-2's pattern": _splits(GPT_2),
    "cl100k_base": _splits(CL100K),
    "cl100k_base, possessive": _splits(CL100K_POSSESSIVE),
    "Llama 3, OLMo 2": _splits(LLAMA_3),
    "Qwen 2": _splits(QWEN_2),
    "Qwen 3.5": _splits(QWEN_3_5),
    "o200k": _splits(O200K),
    "Nemotron 3": _splits(NEMOTRON),
    "DeepSeek V3": _splits(*DEEPSEEK_V3),
}
"""Pre-tokenizers, by who has published tokenizers with them."""
