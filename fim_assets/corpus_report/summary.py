"""What `corpus_report/summary.json` holds: the corpus in numbers, from the receipts alone.

How the numbers are gathered stands in `gather`; how they are shown, in `view`.
"""

import operator
from collections import Counter
from typing import Literal

from pydantic import Field

from fim_assets.corpus_report.repositories import JoinedRepositories
from fim_assets.fim_shards.unmatched import Occurrences, unmatched_names
from fim_assets.io.frozen_model import FrozenModel
from fim_assets.recipe import Recipe
from fim_assets.recipe.tokens import LayoutName
from fim_assets.statistics.histograms import Histogram
from fim_assets.statistics.rates import Rate
from fim_assets.token_arrays.effective_rate import EffectiveRates

CORPUS_REPORT = "corpus_report"
"""The asset, and its folder."""


class Partitions(FrozenModel):
    """How far the corpus is finished; all other numbers of the summary are of complete partitions.

    A partition is complete if the receipts of all stages are there and agree. `incomplete` says by
    key why each of the others is not; `empty` are the complete ones without any document.
    """

    total: int
    complete: int
    incomplete: dict[str, str]
    empty: list[str]


class CorpusTotals(FrozenModel):
    """Sums over the complete partitions.

    `lines` are those of the raw shards: documents + blank + rejected. `chars` and `bytes` (in
    UTF-8) are of the texts as they came, `fim_chars` of the FIM texts; `tokens` include BOS and
    EOS. `copies` are exact duplicates of another document of their partition; each `distinct_…`
    counts them once, and only documents with a file that is long enough to cut.

    Attributes:
        psm: Files in PSM order, as `spm` in SPM order.
        not_selected: Files that were not drawn.
        too_short: Files too short to cut, which are not drawn for.
        gate: Files of documents that are no candidates.
        longer_than_context: Files of documents longer than `context.tokens`; left out where 0.
        not_last: Files that are not the last of their document, where `fim.files` is `last`; left
            out where 0.
        repository: Files that hold a repository token.
        separators: File separators in the documents.
        joined: Documents that are written as a part of another one, behind its first; left out
            where 0.
        changed_documents: Documents whose texts the tokenizer changes (`tokens.allow_lossy`).
        sentinel_literals: Sentinels that stand in the texts as ordinary text.
        documents_with_sentinel_literals: Documents that hold any.
        distinct_candidates: Documents that are candidates.
        distinct_eligible: The candidates' files that are long enough to cut.
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
    longer_than_context: int = Field(default=0, exclude_if=operator.not_)
    not_last: int = Field(default=0, exclude_if=operator.not_)
    repository: int = 0
    separators: int = 0
    joined: int = Field(default=0, exclude_if=operator.not_)
    changed_documents: int = 0
    copies: int = 0
    sentinel_literals: int = 0
    documents_with_sentinel_literals: int = 0
    distinct_documents: int = 0
    distinct_candidates: int = 0
    distinct_eligible: int = 0
    distinct_psm: int = 0
    distinct_spm: int = 0

    @property
    def joined_documents(self) -> int:
        """Documents when those that belong together are joined."""
        return self.documents - self.joined

    @property
    def rearranged(self) -> int:
        """Files in PSM or SPM order."""
        return self.psm + self.spm

    @property
    def candidates(self) -> int:
        """Files that are long enough to cut."""
        return self.rearranged + self.not_selected + self.gate

    @property
    def rearranged_share(self) -> float | None:
        """Share of the candidates that are rearranged, None without any."""
        return self.rearranged / self.candidates if self.candidates else None


class ListedArray(FrozenModel):
    """A token array of a complete partition, and its label mask, null where it has none.

    Paths are relative to the data root, with `/`. `dtype` is the type of one id, little-endian;
    `tokens` is the number of ids, and `partition` the key.
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


class InContext(FrozenModel):
    """Documents of a language that are longer than `context.tokens`.

    Attributes:
        documents: How many there are.
        files: Their files that are left unchanged for that, whether or not they were drawn.
        pieces: What they are divided in.
        tokens: Their tokens.
    """

    documents: int
    files: int
    pieces: int
    tokens: int


class Summary(FrozenModel):
    """The corpus in numbers, as `corpus_report/summary.json` holds it: the same for same receipts.

    All that is counted by name begins with what occurs most; a language is '' where none is named.

    Attributes:
        fingerprints: Which recipe and stage version made each asset.
        checks: How many complete partitions passed each check, as their receipts say.
        rates: `fim_rate`, `psm_share` and what else the recipe asks for, over the whole corpus.
        rates_by_language: `fim_rate` and `psm_share` of each language.
        splits: Rearranged files by cut method.
        fallbacks: Rearranged files that the drawn cut method could not cut, by reason.
        rejections: Rejected lines by reason.
        dropped: Documents that a stage read and did not write by reason; left out of the file
            where there are none.
        languages: Documents by language.
        tokens_by_language: Their tokens, BOS and EOS included.
        cuts: Rearranged files by where their `first_cut` (of prefix and middle) and `second_cut`
            fall: lower edge in percent of the file's length, in steps of 5.
        longer: Documents with a rearranged file that have more tokens than a sequence length.
        context: Documents longer than the recipe's `context.tokens`, by language; left out of the
            file where there are none.
        psm_tokens: Tokens of the files in PSM order, of `effective_rates.file_tokens`; left out of
            the file where a receipt of an older version does not count them.
        effective_rates: What trainers see of the rearranged files whole, by their way of cutting.
        repositories: Left out of the file where the recipe joins no files.
        histograms: Distributions of lengths by name.
        arrays: What a trainer should read, sorted by path.
    """

    format: Literal[1] = 1
    recipe: Recipe
    seed: int
    tokenizer_hash: str
    fingerprints: dict[str, str]
    partitions: Partitions
    checks: dict[str, int]
    totals: CorpusTotals
    rates: dict[str, Rate]
    rates_by_language: dict[str, dict[str, Rate]]
    splits: dict[str, int]
    fallbacks: dict[str, int]
    rejections: dict[str, int]
    dropped: dict[str, int] = Field(default_factory=dict, exclude_if=operator.not_)
    languages: dict[str, int]
    tokens_by_language: dict[str, int]
    cuts: dict[str, dict[int, int]]
    longer: dict[int, Longer]
    context: dict[str, InContext] = Field(default_factory=dict, exclude_if=operator.not_)
    psm_tokens: int | None = Field(default=None, exclude_if=lambda tokens: tokens is None)
    effective_rates: EffectiveRates
    repositories: JoinedRepositories | None = Field(default=None, exclude_if=operator.not_)
    histograms: dict[str, Histogram]
    arrays: list[ListedArray]

    @property
    def tested_languages(self) -> dict[str, dict[str, Rate]]:
        """`rates_by_language` in the order of `languages`."""
        rates = self.rates_by_language
        return {name: rates[name] for name in self.languages if name in rates}

    @property
    def warnings(self) -> list[str]:
        """What of the recipe matches nothing in the complete partitions, a sentence each."""
        languages, splits, fallbacks = map(Counter, (self.languages, self.splits, self.fallbacks))
        occurrences = Occurrences(languages, splits, fallbacks)
        if self.repositories is not None:
            occurrences.repositories = self.repositories.repositories
            occurrences.unnamed = self.repositories.files_without_repository
        complete = not self.partitions.incomplete
        warnings = unmatched_names(self.recipe, occurrences, complete=complete)
        return warnings + (self.repositories.warnings if self.repositories else [])
