"""What page and card say alike."""

import json
from collections.abc import Mapping
from importlib.resources import files
from itertools import islice
from typing import Any, NamedTuple

from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus_report.examples import Examples
from fim_assets.corpus_report.summary import Gathered, Summary
from fim_assets.cuts.base import UNCHANGED
from fim_assets.cuts.registry import CUTS
from fim_assets.fim_shards.arrangements import REARRANGED, layout
from fim_assets.fim_shards.checks import RATE_ERROR
from fim_assets.io.storage import names_in
from fim_assets.layouts.registry import LAYOUTS
from fim_assets.recipe import built_in_name, harmless_yaml, recipe_yaml
from fim_assets.recipe.fim import Fim
from fim_assets.stages import ASSETS
from fim_assets.statistics.histograms import EDGES, Histogram
from fim_assets.statistics.rates import verdict
from fim_assets.token_arrays.arrays import id_dtype
from fim_assets.wording import plural, shown_language, shown_name

ROWS_SHOWN = 1000
"""Partitions in each of the page's tables and charts; the summary has no such bound."""

LANGUAGES_SHOWN = 50

LENGTHS = {
    "In characters": {
        "document_chars": ("Documents", "characters", "document"),
        "prefix_chars": ("Prefixes", "characters", "file"),
        "middle_chars": ("Middles", "characters", "file"),
        "suffix_chars": ("Suffixes", "characters", "file"),
    },
    "In tokens": {
        "document_tokens": ("Documents", "tokens", "document"),
        "prefix_tokens": ("Prefixes", "tokens", "file"),
        "middle_tokens": ("Middles", "tokens", "file"),
        "suffix_tokens": ("Suffixes", "tokens", "file"),
    },
}
"""The histograms that are shown: title, unit, what has such a length."""

CUT_POSITIONS = {
    "first_cut": ("First cut", "between prefix and middle"),
    "second_cut": ("Second cut", "between middle and suffix"),
}

_UNCHANGED = {
    "not_selected": "not drawn, at the probability fim_rate",
    "gate": "its document was not drawn, at the probability document_rate",
    "repository": "holds a repository token",
}
"""Why files stay unchanged; those that are too short, by the recipe."""

_REJECTED = {
    "not_json": "is no JSON",
    "not_utf8": "is no UTF-8",
    "byte_order_mark": "begins with a byte order mark",
    "not_an_object": "is JSON, but no object",
    "nested_too_deep": "is nested deeper than 128 levels",
    "no_text": "has no raw.text_field",
    "text_not_string": "its text is no string",
    "empty": "its text is empty",
    "id_not_string": "its id is neither a string nor a number",
    "too_long": "is longer than raw.max_line_bytes",
}
"""Why lines are no documents."""


class Entry(NamedTuple):
    """Something counted, of a whole."""

    name: str
    number: int
    share: float
    meaning: str = ""


class _Stage(NamedTuple):
    """What a stage took."""

    asset: str
    seconds: float
    rate: str
    engines: list[str]


def _counts_every_shard(corpus: Corpus, complete: int) -> bool:
    """Whether the FIM shards that lie there are those of the complete partitions, and no others."""
    names = names_in(corpus.folder("fim_shards"))
    return 0 < complete == sum(name.endswith(".jsonl.zst") for name in names)


def rate_titles() -> dict[str, str]:
    """What the rates are called, in the order that they are shown."""
    return {
        "document_rate": "Documents that are candidates",
        "fim_rate": "Files rearranged",
        "psm_share": "Of these, in PSM order",
        **{f"{name}_share": f"Of these, drawn for {name}" for name in CUTS},
    }


def gather_facts(corpus: Corpus, gathered: Gathered, examples: Examples) -> dict[str, Any]:
    """What both templates are given, by the names that they use."""
    summary = gathered.summary
    recipe, totals, fim = summary.recipe, summary.totals, summary.recipe.fim
    rearranged = totals.psm + totals.spm
    candidates = rearranged + totals.not_selected + totals.gate
    short = {"too_short": f"under {plural(fim.min_chars, 'character')}"}
    unchanged = {reason: n for reason in UNCHANGED if (n := getattr(totals, reason))}
    orders = {"PSM": totals.psm, "SPM": totals.spm} | unchanged
    titles = rate_titles()
    of_rearranged = summary.histograms.get("rearranged_tokens")
    lengths = summary.histograms
    header_bytes = LAYOUTS[recipe.tokens.layout].header_bytes
    return {
        "summary": summary,
        "totals": totals,
        "partitions": summary.partitions,
        "recipe": recipe,
        "counts_every_shard": _counts_every_shard(corpus, summary.partitions.complete),
        "rearranged": rearranged,
        "rearranged_share": rearranged / candidates if candidates else None,
        "asked_share": fim.document_rate * summary.rates["fim_rate"].asked,
        "rate_error": RATE_ERROR,
        "rate_titles": titles,
        "rates": {name: summary.tested[name] for name in titles if name in summary.rates},
        "languages_tested": summary.languages_tested,
        "warnings": summary.warnings,
        "orders": _entries(orders, totals.files, _layouts(fim) | _UNCHANGED | short),
        "splits": _entries(
            summary.splits, rearranged, {name: cut.text for name, cut in CUTS.items()}
        ),
        "fallbacks": _entries(summary.fallbacks, rearranged, CUTS.reason_texts()),
        "rejections": _entries(summary.rejections, totals.lines, _REJECTED),
        "lengths": {
            unit: [(title, describe(lengths[name], of)) for name, (title, _, of) in those.items()]
            for unit, those in LENGTHS.items()
            if lengths
        },
        "rearranged_documents": of_rearranged.count if of_rearranged else 0,
        "longer": [
            (
                length,
                its,
                _share(its.documents, of_rearranged.count),
                _share(its.tokens, of_rearranged.sum),
            )
            for length, its in summary.longer.items()
            if of_rearranged
        ],
        "languages": _language_rows(summary),
        "languages_left_out": max(len(summary.languages) - LANGUAGES_SHOWN, 0),
        "stages": _stages(gathered),
        "versions": {
            library: [(version, n) for version, n in sorted(found.items(), key=lambda its: -its[1])]
            for library, found in sorted(gathered.making.versions.items())
        },
        "begun": (gathered.making.first, gathered.making.last),
        "dtype": id_dtype(recipe.tokens).name,
        "header_bytes": header_bytes,
        "loading": _loading(corpus.relative("corpus_report", "summary.json"), header_bytes),
        "prefix": "/".join(corpus.prefix),
        "built_in": built_in_name(recipe),
        "recipe_yaml": recipe_yaml(recipe),
        "whole_recipe_yaml": harmless_yaml(recipe.model_dump(mode="json")),
        "commands": _commands(corpus),
        "unread": examples.unread,
    }


def _loading(summary_path: str, header_bytes: int) -> str:
    offset = f", offset={header_bytes}" if header_bytes else ""
    return (
        "import json, numpy as np\n"
        f'arrays = json.load(open({json.dumps(summary_path)}))["arrays"]\n'
        f'ids = np.memmap(arrays[0]["path"], dtype=arrays[0]["dtype"], mode="r"{offset})'
    )


def _commands(corpus: Corpus) -> str:
    return (
        f"export FIM_RECIPE={built_in_name(corpus.recipe) or 'recipe.yaml'}\n"
        "export FIM_INPUT_ROOT=…    # folder or URL of the same raw shards\n"
        "export FIM_DATA_ROOT=…     # an empty folder or URL\n"
        f"dagster asset materialize {corpus.definitions} --select {corpus.selection('*')} \\\n"
        '  --partition-range "$(fim-assets keys --range)"\n'
        f"{corpus.command} verify\n"
    )


def _layouts(fim: Fim) -> dict[str, str]:
    """How each order lays out its parts, in words."""
    used = {"psm": fim.psm_spm_split > 0, "spm": fim.psm_spm_split < 1}
    return {
        order.upper(): " ".join(piece.part or piece.text for piece in layout(order, fim))
        for order in REARRANGED
        if used[order]
    }


def _entries(
    counts: Mapping[str, int], whole: int, meanings: Mapping[str, str] | None = None
) -> list[Entry]:
    meanings = meanings or {}
    return [Entry(name, n, _share(n, whole), meanings.get(name, "")) for name, n in counts.items()]


class Language(NamedTuple):
    """A language's documents and tokens."""

    name: str
    documents: int
    tokens: int
    share: float


def _language_rows(summary: Summary) -> list[Language]:
    tokens = summary.tokens_by_language
    return [
        Language(name, n, tokens.get(name, 0), _share(tokens.get(name, 0), summary.totals.tokens))
        for name, n in islice(summary.languages.items(), LANGUAGES_SHOWN)
    ]


def _stages(gathered: Gathered) -> list[_Stage]:
    totals, making = gathered.summary.totals, gathered.making
    worked = {
        "raw_shards": (totals.chars, "characters"),
        "fim_shards": (totals.chars, "characters"),
        "token_arrays": (totals.tokens, "tokens"),
    }
    stages = []
    for asset in ASSETS:
        seconds, (count, unit) = making.seconds[asset], worked[asset]
        rate = f"{count / seconds:,.0f} {unit} a second" if seconds else "–"
        engines = making.engines[asset].most_common()
        words = [f"{e} ({plural(n, 'partition')})" if len(engines) > 1 else e for e, n in engines]
        stages.append(_Stage(asset, seconds, rate, words))
    return stages


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def describe(lengths: Histogram, of: str) -> str:
    """Count, mean, the median's bin and the largest of a distribution, in words.

    Args:
        lengths: The distribution.
        of: What has such a length, one of them.
    """
    if lengths.max is None or lengths.min is None:
        return f"no {of}"
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
        f"{plural(lengths.count, of)}; mean {lengths.sum / lengths.count:,.0f}, "
        f"median {median}, longest {lengths.max:,}"
    )


def percent(share: float | None) -> str:
    """A share in per cent, a dash for none."""
    return "–" if share is None else f"{share:.2%}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.1f} min" if hours < 1 else f"{hours:,.1f} h"


FILTERS = {
    "number": "{:,}".format,
    "plural": plural,
    "percent": percent,
    "verdict": verdict,
    "duration": _duration,
    "language": shown_language,
    "name": shown_name,
}


def template_text(name: str) -> str:
    """The text of one of the package's templates."""
    return (files("fim_assets") / "corpus_report" / name).read_text("utf-8")
