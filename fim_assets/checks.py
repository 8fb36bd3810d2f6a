"""What must be true of a finished partition: each check reads the files as they lie there."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from fim_assets.fim.record import FimShardReader, restore_document
from fim_assets.receipts import Place, Receipt
from fim_assets.recipe import Recipe
from fim_assets.shards import ShardReader, text_span
from fim_assets.stats import Rate, binomial_rate
from fim_assets.tokens.arrays import ArrayReader, Ints
from fim_assets.tokens.tokenizer import Controls, LoadedTokenizer

RATE_ERROR = 1e-9
"""Probability that a partition with the right rates is refused, shared among its tests."""

Number = int | float | str | None


@dataclass(frozen=True)
class CheckOutcome:
    """A check's verdict on one partition.

    Attributes:
        name: The check.
        passed: Its verdict.
        description: The verdict in one sentence, with the first fault if there is one.
        numbers: What was counted.
    """

    name: str
    passed: bool
    description: str
    numbers: dict[str, Number] = field(default_factory=dict)


CHECKS = {
    "lossless": "Every original text comes back from the FIM shard and its parquet, and every "
    "other byte of its line is as it came.",
    "rates_within_bounds": "The shares of rearranged files and of PSM order are within the exact "
    "two-sided binomial bounds of the probabilities asked for (error probability 1e-9 a "
    "partition). Counted over files long enough to cut; true copies count once.",
    "one_eos_per_document": "Documents cover the arrays without gap or overlap, each ends in EOS, "
    "and EOS stands nowhere else.",
    "decodes_to_fim_text": "The ids of every document decode to its text in the FIM shard.",
}
"""Names and descriptions, in the order of running."""


def lossless(raw_shard: Path, fim: Place, recipe: Recipe) -> CheckOutcome:
    """Restore every document and compare it with the raw shard's, texts and other bytes."""
    name = "lossless"
    restored = _restored(fim)
    documents = chars = 0
    with ShardReader(raw_shard, recipe.raw) as reader:
        for block in reader:
            for number, line, text in zip(block.numbers, block.lines, block.texts, strict=True):
                found = next(restored, None)
                if found is None:
                    return _fault(name, f"{raw_shard}: line {number} is not in the FIM shard")
                fault = _difference(line, text, number, found, recipe.raw.text_field)
                if fault:
                    return _fault(name, f"{raw_shard}: line {number}: {fault}")
                documents += 1
                chars += len(text)
    if next(restored, None) is not None:
        return _fault(name, f"{fim.file('.jsonl.zst')} has more documents than {raw_shard}")
    return CheckOutcome(
        name,
        passed=True,
        description=f"All {documents:,} documents come back exactly.",
        numbers={"documents": documents, "chars": chars},
    )


@dataclass(frozen=True)
class _Restored:
    line: bytes
    text: str
    raw_number: int
    rearranged: bool


def _restored(fim: Place) -> Iterator[_Restored]:
    with FimShardReader(fim.file(".jsonl.zst"), fim.file(".parquet")) as reader:
        for block in reader:
            documents = block.documents
            for line, text, number, files in zip(
                documents.lines, documents.texts, block.raw_numbers, block.files, strict=True
            ):
                yield _Restored(
                    line,
                    restore_document(text, files, reader.fim),
                    number,
                    any(row.order != "none" for row in files),
                )


def _difference(
    line: bytes, text: str, number: int, found: _Restored, text_field: str
) -> str | None:
    if number != found.raw_number:
        return f"the FIM shard has line {found.raw_number} in its place"
    if not found.rearranged:
        return None if found.line == line else "left alone, but its bytes differ"
    if found.text != text:
        return "another text comes back"
    before, after = text_span(line, text_field), text_span(found.line, text_field)
    if (line[: before.start], line[before.stop :]) != (
        found.line[: after.start],
        found.line[after.stop :],
    ):
        return "bytes outside the text differ"
    return None


def rates(counts: dict[str, int], recipe: Recipe) -> dict[str, Rate]:
    """The two rates of a partition, from its `fim_shards` receipt's counts, with their bounds."""
    psm, spm = counts["distinct_psm"], counts["distinct_spm"]
    error = RATE_ERROR / 2
    return {
        "fim_rate": binomial_rate(
            psm + spm, counts["distinct_eligible"], recipe.fim.fim_rate, error
        ),
        "psm_share": binomial_rate(psm, psm + spm, recipe.fim.psm_spm_split, error),
    }


def rates_within_bounds(receipt: Receipt, recipe: Recipe) -> CheckOutcome:
    """Compare the realised rates with the recipe's."""
    numbers: dict[str, Number] = {}
    sentences = []
    tested = rates(receipt.result.counts, recipe)
    for name, rate in tested.items():
        numbers |= {
            f"{name}_asked": rate.asked,
            f"{name}_realised": rate.realised,
            f"{name}_hits": rate.hits,
            f"{name}_trials": rate.trials,
            f"{name}_fewest_accepted": rate.low,
            f"{name}_most_accepted": rate.high,
        }
        sentences.append(
            f"{name}: {rate.hits:,} of {rate.trials:,} at a probability of {rate.asked:g}, "
            f"{rate.low:,} to {rate.high:,} accepted"
        )
    passed = all(rate.within for rate in tested.values())
    return CheckOutcome("rates_within_bounds", passed, "; ".join(sentences) + ".", numbers)


def one_eos_per_document(
    tokens: Place, receipt: Receipt, recipe: Recipe, tokenizer: LoadedTokenizer
) -> CheckOutcome:
    """Compare where EOS stands in the arrays with where documents end."""
    name = "one_eos_per_document"
    documents = 0
    frame = pl.read_parquet(tokens.file(".parquet"), glob=False, columns=["array", "start", "end"])
    arrays = [o.name for o in receipt.result.outputs if o.name.endswith(".npy")]
    if sorted(frame["array"].unique()) != sorted(arrays):
        return _fault(name, f"the parquet names {sorted(frame['array'].unique())}, not {arrays}")
    for array in arrays:
        spans = frame.filter(pl.col("array") == array)
        with ArrayReader(tokens.folder / array, recipe.tokens.dtype) as ids:
            fault = _misplaced_end(spans, ids, tokenizer.controls)
        if fault:
            return _fault(name, f"{array}: {fault}")
        documents += spans.height
    if documents != receipt.result.documents:
        return _fault(name, f"{documents:,} documents, expected {receipt.result.documents:,}")
    return CheckOutcome(
        name,
        passed=True,
        description=f"{documents:,} documents in {len(arrays)} arrays, one EOS at the end of each.",
        numbers={"documents": documents, "arrays": len(arrays)},
    )


def _misplaced_end(spans: pl.DataFrame, ids: ArrayReader, controls: Controls) -> str | None:
    starts, ends = spans["start"].to_numpy(), spans["end"].to_numpy()
    covers = np.array_equal(np.append(starts, ids.size), np.append(0, ends))
    if not covers or (ends <= starts).any():
        return f"its documents do not cover its {ids.size:,} tokens"
    begun: list[Ints] = []
    ended: list[Ints] = []
    for begin, block in ids.blocks():
        ended.append(np.flatnonzero(block == controls.eos) + begin)
        if controls.bos is not None:
            begun.append(np.flatnonzero(block == controls.bos) + begin)
    expected = ends - 1
    if controls.bos == controls.eos:
        expected = np.sort(np.concatenate([starts, expected]))
    elif controls.bos is not None and not np.isin(starts, np.concatenate(begun)).all():
        return "a document does not start with BOS"
    if not np.array_equal(np.concatenate(ended), expected):
        return "EOS does not stand once at each document's end"
    return None


def decodes_to_fim_text(
    fim: Place, tokens: Place, recipe: Recipe, tokenizer: LoadedTokenizer
) -> CheckOutcome:
    """Decode every document's ids and compare them with its text in the FIM shard."""
    name = "decodes_to_fim_text"
    frame = pl.read_parquet(
        tokens.file(".parquet"), glob=False, columns=["line", "array", "start", "end"]
    )
    spans = frame.sort("line").select("array", "start", "end").iter_rows()
    head = 0 if tokenizer.controls.bos is None else 1
    documents = size = 0
    with (
        FimShardReader(fim.file(".jsonl.zst"), fim.file(".parquet")) as reader,
        ExitStack() as opened,
    ):
        arrays = {
            array: opened.enter_context(ArrayReader(tokens.folder / array, recipe.tokens.dtype))
            for array in frame["array"].unique()
        }
        for block in reader:
            for number, text in zip(block.documents.numbers, block.documents.texts, strict=True):
                span = next(spans, None)
                if span is None:
                    return _fault(name, f"line {number} of the FIM shard is in no array")
                array, start, end = span
                try:
                    decoded = tokenizer.decode(arrays[array].read(start + head, end - 1))
                except (TypeError, IndexError):
                    return _fault(name, f"{array}: tokens {start} to {end} hold an unknown id")
                if decoded != text.encode():
                    return _fault(
                        name,
                        f"{array}: tokens {start} to {end} decode to another text than line "
                        f"{number} of the FIM shard",
                    )
                documents += 1
                size += len(decoded)
    if next(spans, None) is not None:
        return _fault(name, "the arrays hold more documents than the FIM shard")
    return CheckOutcome(
        name,
        passed=True,
        description=f"All {documents:,} documents decode to their FIM texts.",
        numbers={"documents": documents, "bytes": size},
    )


def _fault(name: str, description: str) -> CheckOutcome:
    return CheckOutcome(name, passed=False, description=description)
