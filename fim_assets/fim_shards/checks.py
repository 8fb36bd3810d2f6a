"""Checks of `fim_shards`: originals come back, and rates and cuts follow the law."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import polars as pl

from fim_assets.corpus.check_outcome import CheckOutcome, Number, fault
from fim_assets.corpus.partition_files import PartitionFiles
from fim_assets.corpus.receipts import Receipt
from fim_assets.cuts.splits import Cuts, Ranks, character_ranks, min_chars
from fim_assets.draws import RandomStream, copies_before, draw_bits
from fim_assets.fim_shards.decisions import FALLBACKS
from fim_assets.fim_shards.rates import rates, rates_by_language
from fim_assets.fim_shards.record import PART_CHARS, FimShardReader, restore_document
from fim_assets.io.parquet import read_frames
from fim_assets.io.shard_writer import Line
from fim_assets.raw_shards.documents import text_span
from fim_assets.raw_shards.shard_reader import ShardReader
from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import CharacterSplit, Fim
from fim_assets.statistics.rates import Rate, uniform_bound, uniform_distance
from fim_assets.wording import plural, shown_language

LAW_ERROR = 1e-9
"""Probability that a partition whose cuts follow their laws is refused, see `RATE_ERROR`."""

_LANGUAGES_NAMED = 10

CHECKS = {
    "lossless": "Every document is restored from the FIM shard and its parquet and compared with "
    "the raw shard's: its text character by character, every other byte of its line as it came.",
    "rates_within_bounds": "The shares of rearranged files, of PSM order and of each law of where "
    "to cut are compared with the probabilities that the recipe asks for, over all files and by "
    "language; with a document_rate, the share of documents that are candidates too. Accepted is "
    "what the exact two-sided binomial test accepts: a right partition fails with a probability "
    "of 1e-9 at most, all its tests together. Files too short to cut are left out, and true "
    "copies count once.",
    "split_law": "Where dolma and uniform cut is compared with their laws: the rank of the first "
    "cut given the length, and of the second given the first, are uniform within the "
    "Dvoretzky-Kiefer-Wolfowitz bound: a right partition fails with a probability of 1e-9 at most. "
    "It never fails the rest: no file is cut by another law than the recipe's, or left alone as "
    "too short without being so.",
}
"""Names and descriptions, in the order of running."""


def lossless(raw_shard: Path, fim: PartitionFiles, recipe: Recipe) -> CheckOutcome:
    """Restore every document and compare it with the raw shard's, texts and other bytes."""
    name = "lossless"
    restored = _restored(fim)
    documents = chars = 0
    with ShardReader(raw_shard, recipe.raw) as reader:
        for block in reader:
            for number, line, text in zip(block.numbers, block.lines, block.texts, strict=True):
                found = next(restored, None)
                if found is None:
                    return fault(name, f"{raw_shard}: line {number} is not in the FIM shard")
                difference = _difference(line, text, number, found, recipe.raw.text_field)
                if difference:
                    return fault(name, f"{raw_shard}: line {number}: {difference}")
                documents += 1
                chars += len(text)
    if next(restored, None) is not None:
        return fault(name, f"{fim.file('.jsonl.zst')} has more documents than {raw_shard}")
    return CheckOutcome(
        name,
        passed=True,
        description=f"Documents that come back exactly: {documents:,} of {documents:,}.",
        numbers={"documents": documents, "chars": chars},
    )


@dataclass(frozen=True)
class _Restored:
    line: Line
    text: str
    raw_number: int
    rearranged: bool


def _restored(fim: PartitionFiles) -> Iterator[_Restored]:
    shard = fim.file(".jsonl.zst")
    with FimShardReader(shard, fim.file(".parquet")) as reader:
        for block in reader:
            documents = block.documents
            for line, text, number, files in zip(
                documents.lines, documents.texts, block.raw_numbers, block.files, strict=True
            ):
                try:
                    original = restore_document(text, files, reader.fim)
                except ValueError as error:
                    raise ValueError(f"{shard}, document of line {number}: {error}") from error
                rearranged = any(row.order != "none" for row in files)
                yield _Restored(line, original, number, rearranged)


def _difference(
    line: Line, text: str, number: int, found: _Restored, text_field: str
) -> str | None:
    if number != found.raw_number:
        return f"the FIM shard has line {found.raw_number} in its place"
    if not found.rearranged:
        return None if bytes(found.line) == bytes(line) else "left alone, but its bytes differ"
    if found.text != text:
        return "another text comes back"
    before, after = text_span(line, text_field), text_span(found.line, text_field)
    outside = bytes(line[: before.start]), bytes(line[before.stop :])
    if outside != (bytes(found.line[: after.start]), bytes(found.line[after.stop :])):
        return "bytes outside the text differ"
    return None


def rates_within_bounds(receipt: Receipt, recipe: Recipe) -> CheckOutcome:
    """Compare the realised rates with the recipe's, over all files and by language.

    What is outside its bounds comes first in the description.
    """
    numbers: dict[str, Number] = {}
    inside: list[str] = []
    outside: list[str] = []
    for name, rate in rates(receipt.result.counts, recipe).items():
        numbers |= {
            f"{name}_asked": rate.asked,
            f"{name}_realised": rate.realised,
            f"{name}_hits": rate.hits,
            f"{name}_trials": rate.trials,
            f"{name}_fewest_accepted": rate.low,
            f"{name}_most_accepted": rate.high,
        }
        (inside if rate.within else outside).append(_in_words(name, rate))
    languages = rates_by_language(receipt.result.counts, recipe)
    too_few = [
        shown_language(language)
        for language, its in languages.items()
        if not any(rate.can_fail for rate in its.values())
    ]
    outside += [
        f"{shown_language(language)}: {_in_words(name, rate)}"
        for language, its in languages.items()
        for name, rate in its.items()
        if not rate.within
    ]
    numbers |= {
        "languages_tested": len(languages) - len(too_few),
        "languages_left_out": len(too_few),
    }
    sentences = [*outside, *inside]
    if outside:
        sentences[0] = f"outside the bounds: {sentences[0]}"
        sentences[len(outside) :] = [f"within: {rate}" for rate in inside]
    else:
        tested = plural(len(languages) - len(too_few), "language")
        sentences.append(f"{tested} within bounds")
    if too_few:
        rest = len(too_few) - _LANGUAGES_NAMED
        shown = ", ".join(too_few[:_LANGUAGES_NAMED]) + (f" and {rest} more" if rest > 0 else "")
        sentences.append(f"left out, with too few files for any bound: {shown}")
    absent = sorted(recipe.fim.languages - languages.keys())
    if absent:
        names = ", ".join(map(shown_language, absent))
        sentences.append(f"no file of {names}, though fim_rate names it")
    description = "; ".join(sentences) + "."
    return CheckOutcome("rates_within_bounds", not outside, description, numbers)


def _in_words(name: str, rate: Rate) -> str:
    return (
        f"{name}: {rate.hits:,} of {rate.trials:,} at a probability of {rate.asked:g}, "
        f"{rate.low:,} to {rate.high:,} accepted"
    )


def split_law(fim: PartitionFiles, recipe: Recipe) -> CheckOutcome:
    """Hold the cuts of the character laws against their laws.

    The rank of a cut in its law is uniform if the law holds, see `splits.character_ranks`; the
    Dvoretzky-Kiefer-Wolfowitz inequality (with Massart's constant) bounds how far the ranks'
    distribution may be from that.

    Raises:
        ValueError: If a file was cut by another law than the recipe's, or left alone as too short
            though it is not, or a cut cannot come from its law at all.
    """
    name = "split_law"
    parquet = fim.file(".parquet")
    used = {*recipe.fim.weights, recipe.fim.split_fallback}
    laws = [law for law in get_args(CharacterSplit) if law in used]
    found = {law: _Cuts() for law in laws}
    others = 0
    columns = ["line", "file", "chars", "split", "reason", "draw_key", *PART_CHARS[:2]]
    for frame in read_frames(parquet, columns):
        _refuse_other_laws(frame, recipe.fim, parquet)
        others += frame.filter(pl.col("split").is_in(["lines", "syntax"])).height
        for law, cuts in found.items():
            files = frame.filter(pl.col("split") == law)
            if not files.is_empty():
                cuts.add(files, _ranks(law, files, parquet))
    numbers: dict[str, Number] = {}
    sentences = []
    passed = True
    for law, cuts in found.items():
        ranks = cuts.distinct()
        count = len(ranks[0])
        if not count:
            continue
        bound = uniform_bound(count, LAW_ERROR / (len(laws) * len(ranks)))
        numbers |= {f"{law}_files": count, f"{law}_most_accepted": bound}
        for cut, values in ranks._asdict().items():
            distance = uniform_distance(values)
            passed &= distance <= bound
            numbers[f"{law}_{cut}_cut_distance"] = distance
            sentences.append(
                f"{law}, {cut} cut: {distance:.4f} from its law over {plural(count, 'file')}, "
                f"{bound:.4f} accepted"
            )
    if others:
        numbers["other_files"] = others
        sentences.append(f"{plural(others, 'file')} cut by lines or syntax, which look at the text")
    return CheckOutcome(name, passed, "; ".join(sentences or ["no file was cut"]) + ".", numbers)


class _Cuts:
    """The ranks of one law's cuts, gathered; true copies count once."""

    def __init__(self) -> None:
        self._keys = [np.empty(0, np.uint64)]
        self._ranks = [[np.empty(0)] for _ in Ranks._fields]

    def add(self, files: pl.DataFrame, ranks: Ranks) -> None:
        """Gather some files' ranks."""
        numbers = files["file"].to_numpy()
        self._keys.append(draw_bits(files["draw_key"].to_numpy(), numbers, RandomStream.SPLIT))
        for gathered, values in zip(self._ranks, ranks, strict=True):
            gathered.append(values)

    def distinct(self) -> Ranks:
        """The first cut of each file; what was gathered is let go of meanwhile."""
        keys = np.concatenate(self._keys)
        self._keys.clear()
        first = copies_before(keys) == 0
        del keys
        return Ranks(*(np.concatenate(self._ranks.pop(0))[first] for _ in Ranks._fields))


def _refuse_other_laws(frame: pl.DataFrame, fim: Fim, parquet: Path) -> None:
    """Hold what is exact in a record against the recipe.

    Raises:
        ValueError: If a file's law or reason is not the recipe's.
    """
    fallen = pl.col("reason").is_in(FALLBACKS).fill_null(False)
    short = pl.col("chars") < min_chars(fim)
    marker = pl.col("reason").eq_missing("repository")
    wrong = {
        "is cut by a law that the recipe does not name": ~fallen
        & ~pl.col("split").is_in(list(fim.weights)),
        "has fallen back on another law than split_fallback": fallen
        & (pl.col("split") != fim.split_fallback),
        "is left alone as too_short, or should be": ~marker
        & (short != pl.col("reason").eq_missing("too_short")),
    }
    for what, condition in wrong.items():
        found = frame.filter(condition)
        if not found.is_empty():
            row = found.row(0, named=True)
            raise ValueError(
                f"{parquet}: line {row['line']}, file {row['file']} {what}: {row['chars']} "
                f"characters, split {row['split']}, reason {row['reason']}"
            )


def _ranks(law: CharacterSplit, files: pl.DataFrame, parquet: Path) -> Ranks:
    """Where the cuts of files stand in their law.

    Raises:
        ValueError: If the law cannot give one of them.
    """
    first = files["prefix_chars"].to_numpy()
    ranks = character_ranks(
        law,
        files["draw_key"].to_numpy(),
        files["file"].to_numpy(),
        files["chars"].to_numpy(),
        Cuts(first, first + files["middle_chars"].to_numpy()),
    )
    possible = np.all([(values >= 0) & (values <= 1) for values in ranks], axis=0)
    if not possible.all():
        row = files.row(int(np.argmin(possible)), named=True)
        raise ValueError(
            f"{parquet}: line {row['line']}, file {row['file']}: a prefix of "
            f"{row['prefix_chars']} and a middle of {row['middle_chars']} in {row['chars']} "
            f"characters are no cut by {law}"
        )
    return ranks
