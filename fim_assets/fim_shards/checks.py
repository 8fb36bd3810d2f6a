"""Checks of `fim_shards`: originals come back, and rates and cuts are those of the recipe."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import polars as pl

from fim_assets.corpus.partition_files import PartitionFiles
from fim_assets.corpus.stage import Check, CheckOutcome, Finished, Number, fault
from fim_assets.cuts.base import Cuts, Ranks, RanksOf
from fim_assets.cuts.registry import CUTS
from fim_assets.draws import RandomStream, copies_before, draw_bits
from fim_assets.fim_shards.rates import rates, rates_by_language
from fim_assets.fim_shards.record import (
    NOT_RECORDED,
    PART_CHARS,
    FimShardReader,
)
from fim_assets.fim_shards.restore import Restored, restored_documents
from fim_assets.io.parquet import read_frames
from fim_assets.io.shard_writer import Line
from fim_assets.raw_shards.documents import text_span
from fim_assets.raw_shards.shard_reader import ShardReader
from fim_assets.recipe.fim import Fim
from fim_assets.recipe.raw import Raw
from fim_assets.statistics.rates import Rate, uniform_bound, uniform_distance
from fim_assets.wording import plural, shown_language

CUT_ERROR = 1e-9
"""Probability that a partition whose cuts follow their distributions is refused."""

_RAW_BYTES = 1 << 20
"""Decompressed bytes of a raw shard that are compared at once: few, so that they stay in caches."""

_LANGUAGES_NAMED = 10


def lossless(partition: Finished) -> CheckOutcome:
    """Restore every document and compare it with the raw shard's, texts and other bytes.

    Lines of the raw shard that the FIM shard does not have are judged: they must be no documents.
    """
    name = "lossless"
    source, fim, recipe = partition.source(), partition.files, partition.recipe
    all_restored = _restored(fim, recipe.raw)
    restored = next(all_restored, None)
    documents = chars = 0
    with ShardReader(source.paths, recipe.raw, _RAW_BYTES, source.parquet) as reader:
        for number, line in reader.unjudged():
            # A document has a text.
            if restored is None or restored.raw_number != number or not restored.text:
                if reader.is_document(line):
                    problem = "is not in the FIM shard"
                    if restored is not None:
                        problem = (
                            f"is a document, the FIM shard has line {restored.raw_number} there"
                        )
                    return fault(name, f"{_place(reader, number)} {problem}")
                continue
            if difference := _difference(line, restored, recipe.raw.text_field):
                return fault(name, f"{_place(reader, number)}: {difference}")
            documents += 1
            chars += len(restored.text)
            restored = next(all_restored, None)
    if restored is not None:
        return fault(name, f"{fim.file('.jsonl.zst')} has more documents than {reader}")
    description = f"Documents that come back exactly: {documents:,} of {documents:,}."
    return CheckOutcome(name, True, description, {"documents": documents, "chars": chars})


def _place(reader: ShardReader, number: int) -> str:
    path, line = reader.place(number)
    return f"{path}: line {line}"


def _restored(fim: PartitionFiles, raw: Raw) -> Iterator[Restored]:
    shard = fim.file(".jsonl.zst")
    with FimShardReader(shard, fim.file(".parquet")) as reader:
        recorded, asked = (part.model_dump(exclude=NOT_RECORDED) for part in (reader.raw, raw))
        if recorded != asked:
            raise ValueError(f"{shard}: its lines were judged by another section raw")
        yield from restored_documents(reader)


def _difference(line: Line, other: Restored, field: str) -> str | None:
    """How a raw shard's line differs from a restored document; None if it holds the same one.

    The raw line is not parsed. It holds the same document if it has the FIM line's bytes before the
    text's value and behind it, and what is between is one string that reads as the restored text.
    """
    if not other.changed:
        return None if bytes(other.line) == bytes(line) else "unchanged, but its bytes differ"
    span = text_span(other.line, field)
    end = len(line) - (len(other.line) - span.stop)
    value = line[span.start : end]
    outside = other.line[: span.start], other.line[span.stop :]
    if tuple(map(bytes, outside)) != (bytes(line[: span.start]), bytes(line[end:])):
        return "bytes outside the text differ"
    try:
        # A string's parser would pass over spaces around it.
        same = value[:1] == value[-1:] == b'"' and orjson.loads(value) == other.text
    except orjson.JSONDecodeError:
        same = False
    return None if same else "another text comes back"


def rates_within_bounds(partition: Finished) -> CheckOutcome:
    """Compare the realised rates with the recipe's, over all files and by language.

    What is outside its bounds comes first in the description.
    """
    receipt, recipe = partition.receipt, partition.recipe
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
        (inside if rate.within else outside).append(_as_text(name, rate))
    too_few: list[str] = []
    languages = rates_by_language(receipt.result.counts, recipe)
    for language, tested in languages.items():
        shown = shown_language(language)
        if not any(rate.can_fail for rate in tested.values()):
            too_few.append(shown)
        refused = {name: rate for name, rate in tested.items() if not rate.within}
        outside += [f"{shown}: {_as_text(name, rate)}" for name, rate in refused.items()]
    languages_tested = len(languages) - len(too_few)
    numbers |= {"languages_tested": languages_tested, "languages_left_out": len(too_few)}
    if outside:
        sentences = [f"outside the bounds: {outside[0]}", *outside[1:]]
        sentences += [f"within: {rate}" for rate in inside]
    else:
        sentences = [*inside, f"{plural(languages_tested, 'language')} within bounds"]
    if too_few:
        rest = len(too_few) - _LANGUAGES_NAMED
        names = ", ".join(too_few[:_LANGUAGES_NAMED]) + (f" and {rest} more" if rest > 0 else "")
        sentences.append(f"left out, with too few files for any bound: {names}")
    absent = sorted(recipe.fim.languages - {*map(recipe.named, languages)})
    if absent:
        names = ", ".join(map(shown_language, absent))
        sentences.append(f"no file of {names}, though fim_rate names it")
    description = "; ".join(sentences) + "."
    return CheckOutcome("rates_within_bounds", not outside, description, numbers)


def _as_text(name: str, rate: Rate) -> str:
    return (
        f"{name}: {rate.hits:,} of {rate.trials:,} at a probability of {rate.asked:g}, "
        f"{rate.low:,} to {rate.high:,} accepted"
    )


def split_law(partition: Finished) -> CheckOutcome:
    """Compare the cuts of the methods that have ranks with their distributions.

    The rank of a cut is uniform if it follows the distribution, see `Ranks`; the
    Dvoretzky-Kiefer-Wolfowitz inequality (with Massart's constant) bounds how far the ranks'
    distribution may be from that. What is exact is compared too: which methods cut, which files are
    unchanged as too short, and that a cut can come from its method at all. Where lines or ids bound
    middles, cuts depend on the text, and no method has ranks.
    """
    name = "split_law"
    recipe, parquet = partition.recipe, partition.files.file(".parquet")
    asked = {*recipe.fim.weights, recipe.fim.split_fallback}
    functions, drawn = _rank_functions(recipe.fim)
    gathered = {method: _Ranks() for method in functions if method in asked}
    by_text = [method for method in recipe.fim.cut_methods if method not in gathered]
    others = 0
    columns = ["line", "file", "chars", "split", "reason", "draw_key", *PART_CHARS[:2]]
    for frame in read_frames(parquet, columns):
        _refuse_other_methods(frame, recipe.fim, parquet)
        others += frame.filter(pl.col("split").is_in(by_text)).height
        for method, ranks in gathered.items():
            files = frame.filter(pl.col("split") == method)
            if not files.is_empty():
                ranks.add(files, _ranks(method, functions[method], files, parquet))
    numbers: dict[str, Number] = {}
    sentences = []
    passed = True
    for method, of_method in gathered.items():
        ranks_once = of_method.distinct()
        count = len(ranks_once.first)
        if not count:
            continue
        bound = uniform_bound(count, CUT_ERROR / (len(gathered) * len(ranks_once)))
        numbers |= {f"{method}_files": count, f"{method}_most_accepted": bound}
        of_files = f"over {plural(count, 'file')}, {bound:.4f} accepted"
        for name_of_rank, values in zip(drawn, ranks_once, strict=True):
            distance = uniform_distance(values)
            passed &= distance <= bound
            numbers[f"{method}_{name_of_rank.replace(' ', '_')}_distance"] = distance
            what = f"{method}, {name_of_rank}"
            sentences.append(f"{what}: {distance:.4f} from its distribution {of_files}")
    if others:
        numbers["other_files"] = others
        names = " or ".join(by_text)
        sentences.append(f"{plural(others, 'file')} cut by {names}, by what their text is")
    return CheckOutcome(name, passed, "; ".join(sentences or ["no file was cut"]) + ".", numbers)


def _rank_functions(fim: Fim) -> tuple[dict[str, RanksOf], tuple[str, str]]:
    """Ranks by method, where the record alone gives them, and what they are ranks of."""
    most = {} if fim.max_middle is None else fim.max_middle.given
    if not most:
        return CUTS.rank_functions(), ("first cut", "second cut")
    functions = CUTS.bounded_rank_functions(most["chars"]) if "chars" in most else {}
    return functions, ("middle length", "middle start")


class _Ranks:
    """The ranks of one method's cuts, gathered; exact duplicates count once."""

    def __init__(self) -> None:
        self._keys = [np.empty(0, np.uint64)]
        self._ranks = [[np.empty(0)] for _ in Ranks._fields]

    def add(self, files: pl.DataFrame, ranks: Ranks) -> None:
        numbers = files["file"].to_numpy()
        self._keys.append(draw_bits(files["draw_key"].to_numpy(), numbers, RandomStream.SPLIT))
        for gathered, values in zip(self._ranks, ranks, strict=True):
            gathered.append(values)

    def distinct(self) -> Ranks:
        """The ranks, each file once; what was gathered is let go of meanwhile."""
        keys = np.concatenate(self._keys)
        self._keys.clear()
        first = copies_before(keys) == 0
        del keys
        return Ranks(*(np.concatenate(self._ranks.pop(0))[first] for _ in Ranks._fields))


def _refuse_other_methods(frame: pl.DataFrame, fim: Fim, parquet: Path) -> None:
    # A file that fell back was drawn for the method whose reason it has.
    drawn = pl.col("reason").replace_strict(CUTS.methods_by_reason(), default=None)
    fallen = drawn.is_not_null()
    short = pl.col("chars") < fim.min_chars
    marker = pl.col("reason").eq_missing("repository")
    asked = drawn.fill_null(pl.col("split")).is_in(list(fim.weights))
    other_fallback = fallen & (pl.col("split") != fim.split_fallback)
    wrong_length = ~marker & (short != pl.col("reason").eq_missing("too_short"))
    most_chars = fim.max_middle.chars if fim.max_middle else None
    wrong = {
        "is cut by a method that the recipe does not name": ~asked,
        "has fallen back on another method than split_fallback": other_fallback,
        "is unchanged as too_short, or should be": wrong_length,
        "has a middle over max_middle": pl.col("middle_chars") > (most_chars or sys.maxsize),
    }
    for what, condition in wrong.items():
        rows = frame.filter(condition)
        if not rows.is_empty():
            row = rows.row(0, named=True)
            cut = f"{row['chars']} characters, split {row['split']}, reason {row['reason']}"
            raise ValueError(f"{parquet}: line {row['line']}, file {row['file']} {what}: {cut}")


def _ranks(method: str, ranks_of: RanksOf, files: pl.DataFrame, parquet: Path) -> Ranks:
    columns = ("draw_key", "file", "chars", *PART_CHARS[:2])
    keys, indices, chars, first, middle = (files[column].to_numpy() for column in columns)
    ranks = ranks_of(keys, indices, chars, Cuts(first, first + middle))
    possible = np.all([(values >= 0) & (values <= 1) for values in ranks], axis=0)
    if not possible.all():
        row = files.row(int(np.argmin(possible)), named=True)
        parts = f"a prefix of {row['prefix_chars']} and a middle of {row['middle_chars']}"
        where = f"{parquet}: line {row['line']}, file {row['file']}"
        raise ValueError(f"{where}: {parts} in {row['chars']} characters are no cut by {method}")
    return ranks


CHECKS = (
    Check(
        "lossless",
        "Every document is restored from the FIM shard and its parquet and compared with the raw "
        "shard's: its text character by character, every other byte of its line unchanged. The "
        "raw shard's other lines are no documents.",
        lossless,
    ),
    Check(
        "rates_within_bounds",
        "The shares of rearranged files, PSM order and each cut method are compared with the "
        "probabilities that the recipe asks for, over all files and by language; with a "
        "document_rate, the share of documents that are candidates too. Accepted is what the "
        "exact two-sided binomial test accepts: a correct partition fails with a probability of "
        "1e-9 at most, all its tests together. Files too short to cut are left out, and exact "
        "duplicates count once.",
        rates_within_bounds,
    ),
    Check(
        "split_law",
        "Of the cut methods that depend on a file's length alone, the cuts are compared with "
        "their distribution: the rank of the first cut given the length, and of the second given "
        "the first, are uniform within the Dvoretzky-Kiefer-Wolfowitz bound: a correct partition "
        "fails with a probability of 1e-9 at most. Where max_middle bounds characters, these are "
        "the ranks of the middle's length and of its start. Two more tests never fail a correct "
        "partition: no file is cut by another method than the recipe's, and those unchanged as "
        "too short are too short.",
        split_law,
    ),
)
"""In the order of running."""
