"""The sentinels of model families."""

from typing import NamedTuple


class Sentinels(NamedTuple):
    """The control tokens of a rearranged file, as text; None where a family has none."""

    prefix: str
    middle: str | None
    suffix: str
    end: str | None = None


SENTINELS = {
    "dolma2": Sentinels("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"),
    "starcoder2": Sentinels("<fim_prefix>", "<fim_middle>", "<fim_suffix>"),
    "qwen2.5-coder": Sentinels("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"),
    "deepseek-coder": Sentinels("<｜fim▁begin｜>", "<｜fim▁end｜>", "<｜fim▁hole｜>"),
    "code-llama": Sentinels("▁<PRE>", "▁<MID>", "▁<SUF>", "▁<EOT>"),
    "codegemma": Sentinels("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"),
    "codestral": Sentinels("[PREFIX]", None, "[SUFFIX]"),
}
"""By the names that `fim.sentinels` takes."""

SEPARATORS = {
    "starcoder2": "<file_sep>",
    "qwen2.5-coder": "<|file_sep|>",
    "codegemma": "<|file_separator|>",
}
"""The file separators of the families that have one, which come with their sentinels."""
