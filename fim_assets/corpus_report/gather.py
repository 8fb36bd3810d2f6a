"""From the receipts of all partitions to one summary: no other file is read.

Stages are taken as they come, in their order. What a certain stage alone knows has names of its own
in its receipt's counts and histograms, so that those of all stages can be put together.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus.partition_files import FAILED, ReceiptError, published_sizes
from fim_assets.corpus.receipts import Receipt, Result, read_receipt, why_incomplete
from fim_assets.corpus_report.repositories import JoinedRepositories
from fim_assets.corpus_report.summary import (
    CorpusTotals,
    InContext,
    ListedArray,
    Longer,
    Partitions,
    Summary,
)
from fim_assets.fim_shards.rates import rates, rates_by_language
from fim_assets.io.locations import is_remote
from fim_assets.io.storage import REQUESTS_AT_ONCE
from fim_assets.layouts.registry import LAYOUTS
from fim_assets.recipe import Recipe
from fim_assets.statistics.counts import CUT_BINS, counted
from fim_assets.statistics.histograms import Histogram, add_histograms
from fim_assets.statistics.name_samples import NamesInSeveral
from fim_assets.statistics.rates import Rate
from fim_assets.token_arrays.arrays import id_dtype
from fim_assets.token_arrays.effective_rate import (
    PSM_TOKENS,
    EffectiveRates,
    is_seen,
    sequence_lengths,
)
from fim_assets.token_arrays.statistics import TRAINED_LENGTHS

_ADDED_AT_ONCE = 256

Receipts = dict[str, Receipt]
"""The receipts of one complete partition by stage, in the order of the stages."""


@dataclass
class Counts:
    """Numbers by name, of a partition or of all, and the recipe's rates that they come to."""

    recipe: Recipe
    numbers: Counter[str] = field(default_factory=Counter)

    @cached_property
    def rates(self) -> dict[str, Rate]:
        """The tested rates over all files."""
        return rates(self.numbers, self.recipe)

    @property
    def rates_by_language(self) -> dict[str, dict[str, Rate]]:
        """The tested rates of each language."""
        return rates_by_language(self.numbers, self.recipe)

    def most_first(self, name: str) -> dict[str, int]:
        """The numbers `name:…` by what stands behind the colon."""
        entries = counted(self.numbers, name).items()
        return dict(sorted(entries, key=lambda entry: (-entry[1], entry[0])))


@dataclass(frozen=True)
class Partition:
    """A complete partition: its receipts, and what they add up to."""

    key: str
    receipts: Receipts
    counts: Counts
    totals: CorpusTotals

    @property
    def seed(self) -> str:
        """Its seed, of which every receipt says the same."""
        return next(iter(self.receipts.values())).result.seed

    @property
    def seconds(self) -> dict[str, float]:
        """How long each stage took, checks left out."""
        return {stage: receipt.made.seconds for stage, receipt in self.receipts.items()}


@dataclass
class RunStatistics:
    """How the complete partitions were made: free to differ between runs of the same corpus.

    Seconds of each stage are those of all partitions together, checks left out. Of engines the
    partitions are counted, and of libraries' versions the receipts. `first` and `last` say when
    partitions were begun.
    """

    seconds: dict[str, float]
    engines: dict[str, Counter[str]]
    versions: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    first: datetime | None = None
    last: datetime | None = None

    def add(self, receipts: Receipts) -> None:
        """Take one more partition into account."""
        for stage, receipt in receipts.items():
            made = receipt.made
            self.seconds[stage] += made.seconds
            self.engines[stage][made.engine] += 1
            for library, version in made.versions.items():
                self.versions[library][version] += 1
            self.first = min(self.first or made.at, made.at)
            self.last = max(self.last or made.at, made.at)


@dataclass(frozen=True)
class Gathered:
    """A corpus in numbers: all complete partitions, and the first of them one by one."""

    summary: Summary
    made: RunStatistics
    partitions: list[Partition]


def build_summary(corpus: Corpus, keys: Sequence[str]) -> Summary:
    """Sum up the receipts of all partitions that there should be."""
    return gather(corpus, keys).summary


def gather(corpus: Corpus, keys: Sequence[str], shown: int = 0) -> Gathered:
    """Read the receipts of all partitions that there should be.

    So many complete ones as are `shown` are kept one by one, the first in the order of keys.
    """
    recipe, names = corpus.recipe, corpus.names
    made = RunStatistics(dict.fromkeys(names, 0.0), {stage: Counter() for stage in names})
    partitions: list[Partition] = []
    incomplete: dict[str, str] = {}
    empty: list[str] = []
    sums: Counter[str] = Counter()
    counts = Counts(recipe)
    checks: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    seen_partitions, lengths, every_order = 0, sequence_lengths(recipe), True
    histograms: defaultdict[str, list[Histogram]] = defaultdict(list)
    arrays: list[ListedArray] = []
    names_in, joined_documents = NamesInSeveral(), 0
    for key, receipts in _read_all(corpus, sorted(keys)):
        if isinstance(receipts, str):
            incomplete[key] = receipts
            continue
        results = [receipt.result for receipt in receipts.values()]
        of_partition = _counts(results)
        totals = _totals(results, of_partition)
        made.add(receipts)
        sums.update(totals.model_dump())
        counts.numbers.update(of_partition)
        for result in results:
            _add_histograms(histograms, result.histograms)
            if result.names is not None:
                names_in.add(result.names)
                joined_documents += result.documents
        for receipt in receipts.values():
            checks.update(receipt.made.checks)
            if is_seen(receipt.seen, lengths, joined=recipe.repositories is not None):
                seen.update(receipt.seen)
                seen_partitions += 1
                every_order &= PSM_TOKENS in receipt.seen
        arrays += _arrays(corpus, results[-1])
        if not totals.documents:
            empty.append(key)
        if len(partitions) < shown:
            partitions.append(Partition(key, receipts, Counts(recipe, of_partition), totals))
    numbers, edges = counts.numbers, range(0, 100, 100 // CUT_BINS)
    complete = len(keys) - len(incomplete)
    finished = Partitions(total=len(keys), complete=complete, incomplete=incomplete, empty=empty)
    summary = Summary(
        recipe=recipe,
        seed=recipe.seed,
        tokenizer_hash=corpus.tokenizer_hash,
        fingerprints={stage: corpus.fingerprint(stage) for stage in names},
        partitions=finished,
        checks=dict(checks),
        totals=CorpusTotals(**sums),
        rates=counts.rates,
        rates_by_language=counts.rates_by_language,
        splits=counts.most_first("split"),
        fallbacks=counts.most_first("fallback"),
        rejections=counts.most_first("rejected"),
        dropped=counts.most_first("dropped"),
        languages=counts.most_first("documents"),
        tokens_by_language=counts.most_first("tokens"),
        cuts={
            cut: {edge: numbers[f"{cut}:{edge}"] for edge in edges}
            for cut in ("first_cut", "second_cut")
        },
        longer={length: _longer(numbers, length) for length in TRAINED_LENGTHS},
        context=_in_context(counts),
        psm_tokens=seen[PSM_TOKENS] if seen_partitions and every_order else None,
        effective_rates=EffectiveRates.of(seen, recipe, seen_partitions),
        repositories=None
        if recipe.repositories is None
        else JoinedRepositories.of(numbers, recipe, joined_documents, names_in),
        histograms={name: add_histograms(waiting) for name, waiting in histograms.items()},
        arrays=sorted(arrays, key=lambda array: array.path),
    )
    return Gathered(summary, made, partitions)


def _in_context(counts: Counts) -> dict[str, InContext]:
    """Documents that were left unchanged or divided for their length, those with most first."""
    numbers = counts.numbers

    def both(one: str, other: str, language: str) -> int:
        return numbers.get(f"{one}:{language}", 0) + numbers.get(f"{other}:{language}", 0)

    documents = counts.most_first("longer_documents") | counts.most_first("divided_documents")
    return {
        language: InContext(
            documents=n,
            files=numbers.get(f"longer_files:{language}", 0),
            pieces=numbers.get(f"pieces:{language}", 0),
            tokens=both("longer_tokens", "piece_tokens", language),
        )
        for language, n in documents.items()
    }


def _longer(numbers: Mapping[str, int], length: int) -> Longer:
    documents, tokens = f"rearranged_longer:{length}", f"rearranged_tokens_longer:{length}"
    return Longer(documents=numbers.get(documents, 0), tokens=numbers.get(tokens, 0))


def _add_histograms(
    waiting: dict[str, list[Histogram]], histograms: Mapping[str, Histogram]
) -> None:
    """Take some more into account; they are added up some hundred at a time."""
    for name, lengths in histograms.items():
        waiting[name].append(lengths)
        if len(waiting[name]) == _ADDED_AT_ONCE:
            waiting[name] = [add_histograms(waiting[name])]


def _counts(results: Sequence[Result]) -> Counter[str]:
    """The counts of all stages: the first stage's where two count the same, as rejected lines."""
    return Counter({name: n for result in reversed(results) for name, n in result.counts.items()})


def _totals(results: Sequence[Result], counts: Mapping[str, int]) -> CorpusTotals:
    """The numbers of a partition: the first stage knows what was read, the last what was made."""
    first, last = results[0], results[-1]
    return CorpusTotals(
        lines=first.lines,
        blank=first.blank,
        rejected=first.rejected,
        documents=first.documents,
        files=last.files or 0,
        chars=first.chars,
        fim_chars=last.chars,
        tokens=last.tokens or 0,
        **{name: n for name, n in counts.items() if name in CorpusTotals.model_fields},
    )


def _arrays(corpus: Corpus, result: Result) -> Iterator[ListedArray]:
    tokens, dtype = corpus.recipe.tokens, id_dtype(corpus.recipe.tokens)
    layout = LAYOUTS[tokens.layout]
    for output in result.outputs:
        if output.name.endswith(layout.ending) and "/" not in output.name:
            mask = layout.mask_name(output.name) if tokens.label_mask else None
            yield ListedArray(
                path=corpus.relative(result.asset, output.name),
                label_mask=mask and corpus.relative(result.asset, mask),
                layout=tokens.layout,
                dtype=dtype.name,
                tokens=layout.count_ids(output.bytes, dtype.itemsize),
                partition=result.key,
            )


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
    for stage in corpus.stages:
        if is_remote(folder := corpus.folder(stage.name)):
            sizes[stage.name] = published_sizes(folder, stage.outputs.folders)
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        yield from zip(keys, pool.map(read, keys), strict=True)


def _read_receipts(corpus: Corpus, key: str, sizes: Mapping[str, Mapping[str, int]]) -> Receipts:
    """Read a partition's receipts.

    Raises:
        ReceiptError: If the partition is not complete; the message says why. So it is if a stage
            read other documents than there are now, or than an earlier stage.
    """
    receipts: Receipts = {}
    raw_shards: dict[str, str] = {}
    for stage in corpus.stages:
        name, source = stage.name, corpus.source(stage)
        files = corpus.files(name, key)
        receipt = read_receipt(files)
        if receipt is None:
            failed = not is_remote(files.folder) and files.file(FAILED).is_file()
            why = f"; {key}{FAILED} holds the lines that were rejected" if failed else ""
            raise ReceiptError(f"{name}: not materialized{why}")
        reason = why_incomplete(receipt, files, corpus.fingerprint(name), sizes.get(name))
        if reason:
            raise ReceiptError(f"{name}: {reason}")
        read = receipt.result.input
        if source is None:
            first, digest = next(iter(raw_shards.items()), (name, read.blake2b))
            if read.blake2b != digest:
                raise ReceiptError(f"{name}: made of another content of the raw shard than {first}")
            raw_shards[name] = digest
        elif read not in receipts[source.name].result.outputs:
            raise ReceiptError(f"{name}: made of another output of {source.name} than there is")
        receipts[name] = receipt
    return receipts
