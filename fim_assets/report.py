"""The corpus's report: the receipts of all partitions to one summary and one page.

Only receipts are read, so that the cost is that of three small files a partition.
"""

import os
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from importlib.resources import files
from typing import Literal, NamedTuple

import yaml
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from pydantic import BaseModel, ConfigDict

from fim_assets import charts
from fim_assets.checks.fim_shards import RATE_ERROR, rates, rates_by_language
from fim_assets.pipeline import Corpus
from fim_assets.receipts import (
    Histogram,
    ReceiptError,
    Result,
    disagreement,
    read_receipt,
    sizes_of,
)
from fim_assets.recipe import ASSETS, SPLITS, Layout, Recipe
from fim_assets.stats import EDGES, Rate, add_histograms, counted
from fim_assets.storage import REQUESTS_AT_ONCE, is_remote, remove, write_bytes
from fim_assets.tokens.layouts import LAYOUTS, id_dtype, mask_name

FORMAT: Literal[1] = 1

_NO_FOLDER = "fim"
"""The label, in a mix, of arrays whose shard lies in no folder below its glob's fixed part."""

ROWS_SHOWN = 1000
"""Partitions in each of the page's tables and charts; the summary has no such bound."""

LANGUAGES_SHOWN = 50

_RATE_TITLES = {
    "document_rate": "Documents that are candidates",
    "fim_rate": "Files rearranged",
    "psm_share": "Of these, in PSM order",
    **{f"{split}_share": f"Of these, drawn for {split}" for split in SPLITS},
}

_LENGTHS = {
    "document_chars": ("Documents", "code points", "documents"),
    "file_chars": ("Files", "code points", "files"),
    "document_tokens": ("Documents in tokens", "tokens", "documents"),
    "prefix_chars": ("Prefixes of rearranged files", "code points", "files"),
    "middle_chars": ("Middles", "code points", "files"),
    "suffix_chars": ("Suffixes", "code points", "files"),
}
"""The histograms that the page draws: title, unit, what is counted."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Partitions(_Part):
    """How far the corpus is finished.

    Attributes:
        total: Partitions there should be.
        complete: Those whose three receipts are there and agree; all other numbers of the summary
            are about these.
        incomplete: Why each of the others is not, by key.
    """

    total: int
    complete: int
    incomplete: dict[str, str]


class CorpusTotals(_Part):
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


class RateNumbers(_Part):
    """A realised share against the probability asked for, see `stats.Rate`."""

    asked: float
    realised: float | None
    hits: int
    trials: int
    low: int
    high: int
    within: bool


class ListedArray(_Part):
    """A token array of a complete partition.

    Attributes:
        path: Where it lies, relative to the data root, with `/`.
        label_mask: Where its label mask lies, null where it has none.
        layout: Whose layout it is in, see `recipe.Tokens`.
        dtype: Type of one id, little-endian; the file has no header.
        tokens: Number of ids.
        partition: The partition's key.
    """

    path: str
    label_mask: str | None
    layout: Layout
    dtype: str
    tokens: int
    partition: str


class Summary(_Part):
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
        languages: Documents by language, most first; '' where none is named.
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
    languages: dict[str, int]
    histograms: dict[str, Histogram]
    arrays: list[ListedArray]


def build_summary(corpus: Corpus, keys: Sequence[str]) -> Summary:
    """Sum up the receipts of a corpus.

    Args:
        corpus: Recipe, tokenizer and folders.
        keys: All partitions that there should be.
    """
    return _gather(corpus, keys).summary


def write_report(corpus: Corpus, keys: Sequence[str]) -> Summary:
    """Write `corpus_report/report.html`, `corpus_report/summary.json` and `token_arrays/mix.txt`.

    Each file takes the place of the old one at once. Only arrays in Dolma's layout are in a mix.

    Args:
        corpus: Recipe, tokenizer and folders.
        keys: All partitions that there should be.
    """
    report = _gather(corpus, keys)
    folder = corpus.folder("corpus_report")
    summary_path = corpus.relative("corpus_report", "summary.json")
    contents = {
        folder / "report.html": _render(report, summary_path),
        folder / "summary.json": report.summary.model_dump_json(indent=1) + "\n",
    }
    mix = corpus.folder("token_arrays") / "mix.txt"
    if corpus.recipe.tokens.layout == "dolma":
        contents[mix] = _mix(report.summary.arrays)
    else:
        remove([mix])
    for path, content in contents.items():
        write_bytes(path, content.encode())
    return report.summary


class _Results(NamedTuple):
    """A complete partition."""

    raw: Result
    fim: Result
    tokens: Result


@dataclass(frozen=True)
class _Row:
    """A complete partition in the page's table."""

    results: _Results
    rates: dict[str, Rate]


@dataclass(frozen=True)
class _Report:
    """The summary, and the first partitions one by one."""

    summary: Summary
    rows: list[_Row]


def _gather(corpus: Corpus, keys: Sequence[str]) -> _Report:
    recipe = corpus.recipe
    rows: list[_Row] = []
    complete = 0
    incomplete: dict[str, str] = {}
    sums: Counter[str] = Counter()
    fim_counts: Counter[str] = Counter()
    languages: Counter[str] = Counter()
    histograms: dict[str, Histogram] = {}
    arrays: list[ListedArray] = []
    for key, results in _read_all(corpus, sorted(keys)):
        if isinstance(results, str):
            incomplete[key] = results
            continue
        complete += 1
        sums.update(_totals(results).model_dump())
        fim_counts.update(results.fim.counts)
        languages.update(counted(results.raw.counts, "documents"))
        for result in results:
            for name, lengths in result.histograms.items():
                known = [histograms[name]] if name in histograms else []
                histograms[name] = add_histograms([*known, lengths])
        arrays += _arrays(corpus, results.tokens)
        if len(rows) < ROWS_SHOWN:
            rows.append(_Row(results, rates(results.fim.counts, recipe)))

    totals = CorpusTotals(**sums)
    summary = Summary(
        recipe=recipe,
        seed=recipe.seed,
        tokenizer_hash=corpus.tokenizer_hash,
        fingerprints={asset: corpus.fingerprint(asset) for asset in ASSETS},
        partitions=Partitions(total=len(keys), complete=complete, incomplete=incomplete),
        totals=totals,
        rates=_rate_numbers(rates(fim_counts, recipe)),
        rates_by_language={
            language: _rate_numbers(its)
            for language, its in rates_by_language(fim_counts, recipe).items()
        },
        splits=counted(fim_counts, "split"),
        fallbacks=counted(fim_counts, "fallback"),
        languages=dict(sorted(languages.items(), key=lambda entry: (-entry[1], entry[0]))),
        histograms=histograms,
        arrays=sorted(arrays, key=lambda array: array.path),
    )
    return _Report(summary, rows)


def _read_all(corpus: Corpus, keys: Sequence[str]) -> Iterator[tuple[str, _Results | str]]:
    """Each partition's receipts, or why it is not complete."""

    def read(key: str) -> _Results | str:
        try:
            return _read_results(corpus, key, sizes)
        except ReceiptError as error:
            return str(error).replace(f"{corpus.data_root}{os.sep}", "")

    sizes: dict[str, dict[str, int]] = {}
    if not is_remote(corpus.data_root):
        yield from zip(keys, map(read, keys), strict=True)
        return
    # One listing a thousand files, and many receipts at once: each is a request that waits.
    sizes = {a: sizes_of(folder) for a in ASSETS if is_remote(folder := corpus.folder(a))}
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        yield from zip(keys, pool.map(read, keys), strict=True)


def _read_results(corpus: Corpus, key: str, sizes: Mapping[str, Mapping[str, int]]) -> _Results:
    """Read a partition's receipts.

    Raises:
        ReceiptError: If the partition is not complete; the message says why.
    """
    found = []
    for asset in ASSETS:
        place = corpus.place(asset, key)
        receipt = read_receipt(place)
        if receipt is None:
            raise ReceiptError(f"{asset}: not materialized")
        reason = disagreement(receipt, place, corpus.fingerprint(asset), sizes.get(asset))
        if reason:
            raise ReceiptError(f"{asset}: {reason}")
        found.append(receipt.result)
    results = _Results(*found)
    if results.fim.input.blake2b != results.raw.input.blake2b:
        raise ReceiptError("fim_shards: made of another content of the raw shard than raw_shards")
    if results.tokens.input not in results.fim.outputs:
        raise ReceiptError("token_arrays: made of another FIM shard than the one that is there")
    return results


def _totals(results: _Results) -> CorpusTotals:
    raw, fim, tokens = results
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
    beside, dtype = LAYOUTS[tokens.layout], id_dtype(tokens)

    def path(name: str) -> str:
        return corpus.relative(result.asset, name)

    outputs = {output.name: output.bytes for output in result.outputs}
    arrays = []
    for name, size in outputs.items():
        if name.endswith(beside.ending) and "/" not in name:
            mask = mask_name(name, tokens.layout)
            arrays.append(
                ListedArray(
                    path=path(name),
                    label_mask=path(mask) if tokens.label_mask is not None else None,
                    layout=tokens.layout,
                    dtype=dtype.name,
                    tokens=size // dtype.itemsize,
                    partition=result.key,
                )
            )
    return arrays


def _mix(arrays: Sequence[ListedArray]) -> str:
    """Arrays as OLMo-core's mixes list theirs: `label,path`, paths relative to the data root.

    The label is the shard's top folder, which in a corpus sorted by language is the language. A
    reader strips lines, and takes one that begins with `#` for a comment.
    """
    rows = []
    for array in arrays:
        folder, separator, _ = array.partition.partition("__")
        label = folder.strip().lstrip("#") if separator else ""
        rows.append(f"{label or _NO_FOLDER},{array.path}\n")
    return "".join(rows)


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


class _Figure(NamedTuple):
    """A chart and the words beside it."""

    title: str
    caption: str
    svg: Markup


def _render(report: _Report, summary_path: str) -> str:
    """The page; `summary_path` is relative to the data root."""
    summary = report.summary
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters |= {"number": _number, "percent": _percent, "sha256": _sha256}
    template = environment.from_string((files("fim_assets") / "report.html.j2").read_text("utf-8"))
    return template.render(
        summary=summary,
        dtype=id_dtype(summary.recipe.tokens).name,
        rate_error=RATE_ERROR,
        rows=report.rows,
        rate_titles=_RATE_TITLES,
        rate_figures=_rate_figures(report.rows),
        length_figures=_length_figures(summary.histograms),
        languages=list(summary.languages.items())[:LANGUAGES_SHOWN],
        incomplete=list(summary.partitions.incomplete.items())[:ROWS_SHOWN],
        recipe=yaml.safe_dump(
            summary.recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True
        ),
        summary_path=summary_path,
    )


def _rate_figures(rows: list[_Row]) -> list[_Figure]:
    return [
        _Figure(
            title,
            f"{len(rows):,} partitions",
            _inline(charts.realised_shares([row.rates[name] for row in rows])),
        )
        for name, title in _RATE_TITLES.items()
        if rows and name in rows[0].rates
    ]


def _length_figures(histograms: dict[str, Histogram]) -> list[_Figure]:
    drawn = {name: histograms[name] for name in _LENGTHS if name in histograms}
    longest = max((lengths.max or 0 for lengths in drawn.values()), default=0)
    figures = []
    for name, lengths in drawn.items():
        title, unit, counted = _LENGTHS[name]
        svg = charts.length_distribution(lengths, unit, counted, longest)
        figures.append(_Figure(title, _describe(lengths, counted), _inline(svg)))
    return figures


def _inline(svg: str) -> Markup:
    """A chart that may stand in the page as it is: it is given numbers only, and Vega escapes."""
    return Markup(svg)  # noqa: S704 - no text of a document or file name is in it


def _describe(lengths: Histogram, counted: str) -> str:
    """Count, mean, the median's bin and the largest of a distribution, in words."""
    if lengths.max is None or lengths.min is None:
        return f"no {counted}"
    rank = (lengths.count - 1) // 2
    low = high = below = 0
    for edge, n in lengths.bins.items():
        low, high = edge, EDGES[EDGES.index(edge) + 1] - 1
        below += n
        if below > rank:
            break
    low, high = max(low, lengths.min), min(high, lengths.max)
    median = f"{low:,}" if low == high else f"{low:,}–{high:,}"
    return (
        f"{lengths.count:,} {counted}; mean {lengths.sum / lengths.count:,.0f}, "
        f"median {median}, longest {lengths.max:,}"
    )


def _number(count: int) -> str:
    return f"{count:,}"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.2%}"


def _sha256(content: str) -> str:
    """A Content-Security-Policy source for an inline style."""
    return f"sha256-{b64encode(sha256(content.encode()).digest()).decode()}"
