"""The corpus in numbers: the receipts of all partitions to one summary.

Only receipts are read, so that the cost is that of three small files a partition.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus.partition_files import ReceiptError, published_sizes
from fim_assets.corpus.receipts import Receipt, Result, read_receipt, why_incomplete
from fim_assets.fim_shards.checks import rates, rates_by_language
from fim_assets.fim_shards.unmatched import Occurrences, unmatched_names
from fim_assets.io.frozen_model import FrozenModel
from fim_assets.io.locations import is_remote
from fim_assets.io.storage import REQUESTS_AT_ONCE
from fim_assets.layouts.registry import LAYOUTS
from fim_assets.recipe import Recipe
from fim_assets.recipe.tokens import LayoutName
from fim_assets.stages import ASSETS
from fim_assets.statistics.counts import CUT_BINS, counted
from fim_assets.statistics.histograms import Histogram, add_histograms
from fim_assets.statistics.rates import Rate
from fim_assets.token_arrays.arrays import id_dtype
from fim_assets.token_arrays.statistics import TRAINED_LENGTHS

_ADDED_AT_ONCE = 256

FORMAT: Literal[1] = 1


class Partitions(FrozenModel):
    """How far the corpus is finished.

    Attributes:
        total: Partitions there should be.
        complete: Those whose three receipts are there and agree; all other numbers of the summary
            are about these.
        incomplete: Why each of the others is not, by key.
        empty: The complete ones that hold no document.
    """

    total: int
    complete: int
    incomplete: dict[str, str]
    empty: list[str]


class CorpusTotals(FrozenModel):
    """Sums over the complete partitions.

    Attributes:
        lines: Lines of the raw shards: documents + blank + rejected.
        blank: Lines without anything but white space.
        rejected: Lines that are no document.
        documents: Documents.
        files: Files in these documents.
        chars: Code points of the texts as they came.
        bytes: Bytes of the same in UTF-8.
        fim_chars: Code points of the FIM texts.
        tokens: Token ids in the arrays, BOS and EOS included.
        arrays: Array files.
        psm: Files in PSM order.
        spm: Files in SPM order.
        not_selected: Files left alone by their draw.
        too_short: Files too short to cut, left alone before any draw.
        gate: Files of documents that are no candidates.
        repository: Files that hold a repository token.
        separators: File separators in the documents.
        changed_documents: Documents whose texts the tokenizer changes (`tokens.allow_lossy`).
        copies: Documents that are true copies of another one of their partition.
        sentinel_literals: Sentinels that stand in the texts as ordinary text.
        documents_with_sentinel_literals: Documents that hold any.
        distinct_documents: Documents with a file long enough to cut; copies count once.
        distinct_candidates: Those of them that are candidates.
        distinct_eligible: Their files long enough to cut; copies count once.
        distinct_psm: Those of them in PSM order.
        distinct_spm: Those of them in SPM order.
    """

    lines: int = 0
    blank: int = 0
    rejected: int = 0
    documents: int = 0
    files: int = 0
    chars: int = 0
    bytes: int = 0
    fim_chars: int = 0
    tokens: int = 0
    arrays: int = 0
    psm: int = 0
    spm: int = 0
    not_selected: int = 0
    too_short: int = 0
    gate: int = 0
    repository: int = 0
    separators: int = 0
    changed_documents: int = 0
    copies: int = 0
    sentinel_literals: int = 0
    documents_with_sentinel_literals: int = 0
    distinct_documents: int = 0
    distinct_candidates: int = 0
    distinct_eligible: int = 0
    distinct_psm: int = 0
    distinct_spm: int = 0


class RateNumbers(FrozenModel):
    """A realised share against the probability asked for, see `stats.Rate`."""

    asked: float
    realised: float | None
    hits: int
    trials: int
    low: int
    high: int
    within: bool


class ListedArray(FrozenModel):
    """A token array of a complete partition.

    Attributes:
        path: Where it lies, relative to the data root, with `/`.
        label_mask: Where its label mask lies, null where it has none.
        layout: Whose layout it is in, see `recipe.Tokens`.
        dtype: Type of one id, little-endian; a header stands before them if the layout has one.
        tokens: Number of ids.
        partition: The partition's key.
    """

    path: str
    label_mask: str | None
    layout: LayoutName
    dtype: str
    tokens: int
    partition: str


class Longer(FrozenModel):
    """Documents with a rearranged file that are longer than a sequence, and their tokens."""

    documents: int
    tokens: int


class Summary(FrozenModel):
    """The corpus in numbers, as `corpus_report/summary.json` holds it: the same for same receipts.

    Attributes:
        format: Version of this layout.
        recipe: What decided the bytes.
        seed: The recipe's seed.
        tokenizer_hash: Content hash of the tokenizer's files.
        fingerprints: The law that made each asset.
        partitions: How many are complete, and why the others are not.
        totals: Sums over the complete partitions.
        rates: `fim_rate`, `psm_share` and what else the recipe asks for, over the whole corpus.
        rates_by_language: `fim_rate` and `psm_share` of each language; '' where none is named.
        splits: Rearranged files by the law that cut them.
        fallbacks: Why another law than the drawn one cut a file, and how many.
        rejections: Rejected lines by reason, most first.
        languages: Documents by language, most first; '' where none is named.
        tokens_by_language: Their tokens, BOS and EOS included, most first.
        cuts: Rearranged files by where their `first_cut` (of prefix and middle) and `second_cut`
            fall: lower edge in percent of the file's length, in steps of 5.
        longer: Documents with a rearranged file that have more tokens than a sequence length.
        histograms: Distributions of lengths by name.
        arrays: What a trainer should read, sorted by path.
    """

    format: Literal[1] = FORMAT
    recipe: Recipe
    seed: int
    tokenizer_hash: str
    fingerprints: dict[str, str]
    partitions: Partitions
    totals: CorpusTotals
    rates: dict[str, RateNumbers]
    rates_by_language: dict[str, dict[str, RateNumbers]]
    splits: dict[str, int]
    fallbacks: dict[str, int]
    rejections: dict[str, int]
    languages: dict[str, int]
    tokens_by_language: dict[str, int]
    cuts: dict[str, dict[int, int]]
    longer: dict[int, Longer]
    histograms: dict[str, Histogram]
    arrays: list[ListedArray]

    @property
    def tested(self) -> dict[str, Rate]:
        """`rates`, with what their tests say."""
        return _tested(self.rates)

    @property
    def languages_tested(self) -> dict[str, dict[str, Rate]]:
        """`rates_by_language` in the order of `languages`, with what their tests say."""
        found = self.rates_by_language
        return {name: _tested(found[name]) for name in self.languages if name in found}

    @property
    def warnings(self) -> list[str]:
        """What of the recipe matches nothing in the complete partitions, a sentence each."""
        counted_names = (self.languages, self.splits, self.fallbacks)
        occurrences = Occurrences(*map(Counter, counted_names))
        complete = not self.partitions.incomplete
        return unmatched_names(self.recipe, occurrences, complete=complete)


class Receipts(NamedTuple):
    """A complete partition's."""

    raw: Receipt
    fim: Receipt
    tokens: Receipt


@dataclass(frozen=True)
class Partition:
    """A complete partition: what its receipts say, and its rates with their bounds."""

    key: str
    raw: Result
    fim: Result
    tokens: Result
    totals: CorpusTotals
    token_seconds: float
    rates: dict[str, Rate]


@dataclass
class RunStatistics:
    """How the complete partitions were made: free to differ between runs of the same corpus.

    Attributes:
        seconds: What a stage took, all partitions together, checks left out.
        engines: What did a stage's work, and for how many partitions.
        versions: Each library's versions, and how many receipts name them.
        first: When the first partition was begun.
        last: When the last one was.
    """

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(ASSETS, 0.0))
    engines: dict[str, Counter[str]] = field(default_factory=lambda: {a: Counter() for a in ASSETS})
    versions: dict[str, Counter[str]] = field(default_factory=dict)
    first: datetime | None = None
    last: datetime | None = None

    def add(self, receipts: Receipts) -> None:
        """Take one more partition into account."""
        for asset, receipt in zip(ASSETS, receipts, strict=True):
            made = receipt.made
            self.seconds[asset] += made.seconds
            self.engines[asset][made.engine] += 1
            for library, version in made.versions.items():
                self.versions.setdefault(library, Counter())[version] += 1
            self.first = min(self.first or made.at, made.at)
            self.last = max(self.last or made.at, made.at)


@dataclass(frozen=True)
class Gathered:
    """A corpus: its summary, how it was made, and the first complete partitions one by one."""

    summary: Summary
    making: RunStatistics
    partitions: list[Partition]


def build_summary(corpus: Corpus, keys: Sequence[str]) -> Summary:
    """Sum up the receipts of a corpus.

    Args:
        corpus: Recipe, tokenizer and folders.
        keys: All partitions that there should be.
    """
    return gather(corpus, keys).summary


def gather(corpus: Corpus, keys: Sequence[str], shown: int = 0) -> Gathered:
    """Read the receipts of a corpus.

    Args:
        corpus: Recipe, tokenizer and folders.
        keys: All partitions that there should be.
        shown: Complete partitions that are kept one by one, the first in the order of keys.
    """
    recipe = corpus.recipe
    partitions: list[Partition] = []
    making = RunStatistics()
    complete = 0
    incomplete: dict[str, str] = {}
    empty: list[str] = []
    sums: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    histograms = _Histograms()
    arrays: list[ListedArray] = []
    for key, receipts in _read_all(corpus, sorted(keys)):
        if isinstance(receipts, str):
            incomplete[key] = receipts
            continue
        complete += 1
        making.add(receipts)
        raw, fim, tokens = results = [receipt.result for receipt in receipts]
        totals = _totals(raw, fim, tokens)
        if not totals.documents:
            empty.append(key)
        sums.update(totals.model_dump())
        counts.update(_counts(raw, fim, tokens))
        for result in results:
            histograms.add(result.histograms)
        arrays += _arrays(corpus, tokens)
        if len(partitions) < shown:
            tested = rates(fim.counts, recipe)
            seconds = receipts.tokens.made.seconds
            partitions.append(Partition(key, raw, fim, tokens, totals, seconds, tested))

    return Gathered(
        Summary(
            recipe=recipe,
            seed=recipe.seed,
            tokenizer_hash=corpus.tokenizer_hash,
            fingerprints={asset: corpus.fingerprint(asset) for asset in ASSETS},
            partitions=Partitions(
                total=len(keys), complete=complete, incomplete=incomplete, empty=empty
            ),
            totals=CorpusTotals(**sums),
            rates=_rate_numbers(rates(counts, recipe)),
            rates_by_language={
                language: _rate_numbers(its)
                for language, its in rates_by_language(counts, recipe).items()
            },
            splits=_most_first(counts, "split"),
            fallbacks=_most_first(counts, "fallback"),
            rejections=_most_first(counts, "rejected"),
            languages=_most_first(counts, "documents"),
            tokens_by_language=_most_first(counts, "tokens"),
            cuts={
                name: {
                    100 * n // CUT_BINS: counts[f"{name}:{100 * n // CUT_BINS}"]
                    for n in range(CUT_BINS)
                }
                for name in ("first_cut", "second_cut")
            },
            longer={
                length: Longer(
                    documents=counts[f"rearranged_longer:{length}"],
                    tokens=counts[f"rearranged_tokens_longer:{length}"],
                )
                for length in TRAINED_LENGTHS
            },
            histograms=histograms.sums(),
            arrays=sorted(arrays, key=lambda array: array.path),
        ),
        making,
        partitions,
    )


class _Histograms:
    """Histograms by name, added up some hundred at a time."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Histogram]] = {}

    def add(self, histograms: Mapping[str, Histogram]) -> None:
        """Take some more into account."""
        for name, lengths in histograms.items():
            waiting = self._waiting.setdefault(name, [])
            waiting.append(lengths)
            if len(waiting) == _ADDED_AT_ONCE:
                waiting[:] = [add_histograms(waiting)]

    def sums(self) -> dict[str, Histogram]:
        """The sums."""
        return {name: add_histograms(waiting) for name, waiting in self._waiting.items()}


def _counts(raw: Result, fim: Result, tokens: Result) -> dict[str, int]:
    """The three receipts' counts; rejections are those of the raw shard."""
    of_fim = {name: n for name, n in fim.counts.items() if not name.startswith("rejected:")}
    return raw.counts | of_fim | tokens.counts


def _most_first(counts: Mapping[str, int], name: str) -> dict[str, int]:
    entries = counted(counts, name).items()
    return dict(sorted(entries, key=lambda entry: (-entry[1], entry[0])))


def _read_all(corpus: Corpus, keys: Sequence[str]) -> Iterator[tuple[str, Receipts | str]]:
    """Each partition's receipts, or why it is not complete."""

    def read(key: str) -> Receipts | str:
        try:
            return _read_receipts(corpus, key, sizes)
        except ReceiptError as error:
            return str(error).replace(f"{corpus.data_root}{os.sep}", "")

    sizes: dict[str, dict[str, int]] = {}
    if not is_remote(corpus.data_root):
        yield from zip(keys, map(read, keys), strict=True)
        return
    # One listing a thousand files, and many receipts at once: each is a request that waits.
    sizes = {
        s.name: published_sizes(folder, s.outputs.folders)
        for s in corpus.stages
        if is_remote(folder := corpus.folder(s.name))
    }
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        yield from zip(keys, pool.map(read, keys), strict=True)


def _read_receipts(corpus: Corpus, key: str, sizes: Mapping[str, Mapping[str, int]]) -> Receipts:
    """Read a partition's receipts.

    Raises:
        ReceiptError: If the partition is not complete; the message says why.
    """
    found = []
    for asset in ASSETS:
        place = corpus.files(asset, key)
        receipt = read_receipt(place)
        if receipt is None:
            raise ReceiptError(f"{asset}: not materialized")
        reason = why_incomplete(receipt, place, corpus.fingerprint(asset), sizes.get(asset))
        if reason:
            raise ReceiptError(f"{asset}: {reason}")
        found.append(receipt)
    receipts = Receipts(*found)
    raw, fim, tokens = (receipt.result for receipt in receipts)
    if fim.input.blake2b != raw.input.blake2b:
        raise ReceiptError("fim_shards: made of another content of the raw shard than raw_shards")
    if tokens.input not in fim.outputs:
        raise ReceiptError("token_arrays: made of another FIM shard than the one that is there")
    return receipts


def _totals(raw: Result, fim: Result, tokens: Result) -> CorpusTotals:
    counts = raw.counts | fim.counts | tokens.counts
    return CorpusTotals(
        lines=raw.lines,
        blank=raw.blank,
        rejected=raw.rejected,
        documents=raw.documents,
        files=fim.files or 0,
        chars=raw.chars,
        fim_chars=fim.chars,
        tokens=tokens.tokens or 0,
        **{name: n for name, n in counts.items() if name in CorpusTotals.model_fields},
    )


def _arrays(corpus: Corpus, result: Result) -> list[ListedArray]:
    tokens = corpus.recipe.tokens
    layout, dtype = LAYOUTS[tokens.layout], id_dtype(tokens)

    def path(name: str) -> str:
        return corpus.relative(result.asset, name)

    outputs = {output.name: output.bytes for output in result.outputs}
    arrays = []
    for name, size in outputs.items():
        if name.endswith(layout.ending) and "/" not in name:
            mask = layout.mask_name(name)
            arrays.append(
                ListedArray(
                    path=path(name),
                    label_mask=path(mask) if tokens.label_mask is not None else None,
                    layout=tokens.layout,
                    dtype=dtype.name,
                    tokens=layout.count_ids(size, dtype.itemsize),
                    partition=result.key,
                )
            )
    return arrays


def _rate_numbers(tested: dict[str, Rate]) -> dict[str, RateNumbers]:
    return {
        name: RateNumbers(
            asked=rate.asked,
            realised=rate.realised,
            hits=rate.hits,
            trials=rate.trials,
            low=rate.low,
            high=rate.high,
            within=rate.within,
        )
        for name, rate in tested.items()
    }


def _tested(rates: dict[str, RateNumbers]) -> dict[str, Rate]:
    return {
        name: Rate(rate.hits, rate.trials, rate.asked, rate.low, rate.high)
        for name, rate in rates.items()
    }
