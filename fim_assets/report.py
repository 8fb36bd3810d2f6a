"""The corpus's report: a page, a data-set card, the summary, and OLMo-core's mix.

The summary is the same for same receipts. Page and card also say how the partitions were made, and
show a few documents.
"""

import json
import logging
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import yaml
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from pydantic import BaseModel

from fim_assets import charts
from fim_assets.checks.fim_shards import RATE_ERROR
from fim_assets.fim.decisions import LEFT_ALONE
from fim_assets.fim.orders import Part, layout
from fim_assets.fim.splits import min_chars
from fim_assets.pipeline import Corpus
from fim_assets.preview.documents import DocumentPreview, FilePreview, finished_documents
from fim_assets.preview.excerpts import (
    Excerpt,
    Limits,
    excerpt,
    how_cut,
    one_line,
    shown_files,
    shown_name,
)
from fim_assets.preview.markdown import code, fenced, to_markdown
from fim_assets.receipts import Histogram
from fim_assets.recipe import (
    ASSETS,
    SPLITS,
    Fim,
    Recipe,
    built_in_name,
    harmless_yaml,
    recipe_yaml,
)
from fim_assets.stats import EDGES, Rate
from fim_assets.storage import is_remote, read_bytes, remove, working_folder, write_bytes
from fim_assets.summary import (
    Gathered,
    ListedArray,
    Partition,
    RateNumbers,
    Summary,
    gather,
)
from fim_assets.tokens.layouts import id_dtype
from fim_assets.visible import visible

log = logging.getLogger(__name__)

FILES = ("report.html", "README.md", "summary.json")
"""What lies in `corpus_report`: the page, the data-set card and the summary."""

ROWS_SHOWN = 1000
"""Partitions in each of the page's tables and charts; the summary has no such bound."""

LANGUAGES_SHOWN = 50

_LANGUAGES_DRAWN = 25
_LABEL_CHARS = 20

_NO_FOLDER = "fim"
"""The label, in a mix, of arrays whose shard lies in no folder below its glob's fixed part."""

_EXAMPLES = 3
_EXAMPLE_PARTITIONS = 4
_EXAMPLE_BLOCKS = 4
_EXAMPLE_BYTES = 4 << 20
_EXAMPLE_PARQUET_BYTES = 16 << 20
"""How much is read to find examples: partitions, blocks of 1 MB of each, and on object storage so
much of the packed shard, and of a parquet that is no larger."""

_EXAMPLE_CHARS = range(200, 3000)
"""Code points of a document that can be read as a whole."""

_EXAMPLE_LIMITS = Limits(files=2, lines=14, chars=1100)

_RATE_TITLES = {
    "document_rate": "Documents that are candidates",
    "fim_rate": "Files rearranged",
    "psm_share": "Of these, in PSM order",
    **{f"{split}_share": f"Of these, drawn for {split}" for split in SPLITS},
}

_LENGTHS = {
    "In characters": {
        "document_chars": ("Documents", "characters", "documents"),
        "prefix_chars": ("Prefixes", "characters", "files"),
        "middle_chars": ("Middles", "characters", "files"),
        "suffix_chars": ("Suffixes", "characters", "files"),
    },
    "In tokens": {
        "document_tokens": ("Documents", "tokens", "documents"),
        "prefix_tokens": ("Prefixes", "tokens", "files"),
        "middle_tokens": ("Middles", "tokens", "files"),
        "suffix_tokens": ("Suffixes", "tokens", "files"),
    },
}
"""The histograms that are shown: title, unit, what is counted."""

_CUTS = {
    "first_cut": ("First cut", "between prefix and middle"),
    "second_cut": ("Second cut", "between middle and suffix"),
}

_LAWS = {
    "dolma": "two distinct positions",
    "uniform": "two independent positions, ends included",
    "lines": "two distinct line starts",
    "syntax": "around a node of the syntax tree, or sibling nodes",
}
"""Where the laws cut."""

_REASONS = {
    "not_selected": "not drawn, at the probability fim_rate",
    "gate": "its document was not drawn, at the probability document_rate",
    "repository": "holds a repository token",
    "one_line": "has one line, and lines are to be cut between lines",
    "no_grammar": "no language with a grammar is named",
    "too_large": "larger than fim.syntax_max_bytes",
    "repetitive": "repeats itself, which can cost a parser minutes",
    "syntax_errors": "syntax errors over more than half of it",
    "no_node": "its syntax tree has no node to cut out",
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
"""What the reasons in receipts mean."""


def write_report(corpus: Corpus, keys: Sequence[str]) -> Summary:
    """Write `FILES` to `corpus_report`, and `token_arrays/mix.txt`.

    Each file takes the place of the old one at once. Only arrays in Dolma's layout are in a mix.

    Args:
        corpus: Recipe, tokenizer and folders.
        keys: All partitions that there should be.
    """
    gathered = gather(corpus, keys, ROWS_SHOWN)
    examples = find_examples(corpus, gathered.partitions)
    folder = corpus.folder("corpus_report")
    summary = gathered.summary
    facts = _facts(corpus, gathered, examples)
    contents = {
        folder / "report.html": _render_page(facts, gathered, examples),
        folder / "README.md": _render_card(facts, gathered, examples),
        folder / "summary.json": summary.model_dump_json(indent=1) + "\n",
    }
    mix = corpus.folder("token_arrays") / "mix.txt"
    if corpus.recipe.tokens.layout == "dolma":
        contents[mix] = _mix(summary.arrays)
    else:
        remove([mix])
    for path, content in contents.items():
        write_bytes(path, content.encode())
    return summary


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


class Examples(NamedTuple):
    """Rearranged documents of a corpus.

    Attributes:
        documents: Each with its partition's key.
        unread: Partitions whose FIM shards could not be read.
    """

    documents: list[tuple[str, DocumentPreview]]
    unread: list[str]


def find_examples(corpus: Corpus, partitions: Iterable[Partition]) -> Examples:
    """A few rearranged documents: one in PSM order, one in SPM, one in another language.

    Short ones are preferred. Only the beginnings of the first FIM shards are read; one that cannot
    be read is named.

    Args:
        corpus: Recipe and folders.
        partitions: Complete ones.
    """
    short: dict[str, tuple[str, DocumentPreview]] = {}
    others: dict[str, tuple[str, DocumentPreview]] = {}
    unread = []
    for partition in islice(partitions, _EXAMPLE_PARTITIONS):
        try:
            with _beginning(corpus, partition) as (shard, parquet):
                for preview in finished_documents(shard, parquet, corpus.recipe, _EXAMPLE_BLOCKS):
                    if preview.rearranged:
                        found = short if len(preview.text) in _EXAMPLE_CHARS else others
                        _keep(found, partition.key, preview)
                    if len(short) == _EXAMPLES:
                        break
        except (ValueError, LookupError, OSError, pa.ArrowException) as error:
            log.warning("no examples from %s: %s", partition.key, error)
            unread.append(partition.key)
        if {"psm", "spm"} <= short.keys():
            break
    return Examples(list((others | short).values()), unread)


def _keep(
    found: dict[str, tuple[str, DocumentPreview]], key: str, preview: DocumentPreview
) -> None:
    """Take a document as the first of its order, or as the one in another language than these."""
    orders = [order for order in ("psm", "spm") if order in preview.orders]
    slots: list[str] = [order for order in orders if order not in found]
    languages = {its.language for _, its in found.values()}
    if not slots and "other" not in found and preview.language not in languages:
        slots = ["other"]
    if slots:
        found[slots[0]] = (key, preview)


@contextmanager
def _beginning(corpus: Corpus, partition: Partition) -> Iterator[tuple[Path, Path]]:
    """A FIM shard's first documents on this machine, and its parquet."""
    place = corpus.place("fim_shards", partition.key)
    names = f"{partition.key}.jsonl.zst", f"{partition.key}.parquet"
    if not is_remote(place.folder):
        yield place.file(".jsonl.zst"), place.file(".parquet")
        return
    sizes = {output.name: output.bytes for output in partition.fim.outputs}
    if sizes[names[1]] > _EXAMPLE_PARQUET_BYTES:
        raise ValueError(f"{names[1]} is too large to fetch for examples")
    with working_folder() as folder:
        for name, most in zip(names, (_EXAMPLE_BYTES, None), strict=True):
            (folder / name).write_bytes(read_bytes(place.published(name), most))
        yield folder / names[0], folder / names[1]


# What page and card say alike


class _Entry(NamedTuple):
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


def _facts(corpus: Corpus, gathered: Gathered, examples: Examples) -> dict[str, Any]:
    summary = gathered.summary
    recipe, totals, fim = summary.recipe, summary.totals, summary.recipe.fim
    rearranged = totals.psm + totals.spm
    candidates = rearranged + totals.not_selected + totals.gate
    short = {"too_short": f"under {min_chars(fim):,} characters"}
    left = {reason: getattr(totals, reason) for reason in LEFT_ALONE}
    orders = {"PSM": totals.psm, "SPM": totals.spm} | {r: n for r, n in left.items() if n}
    of_rearranged = summary.histograms.get("rearranged_tokens")
    lengths = summary.histograms
    return {
        "summary": summary,
        "totals": totals,
        "partitions": summary.partitions,
        "recipe": recipe,
        "rearranged": rearranged,
        "rearranged_share": rearranged / candidates if candidates else None,
        "asked_share": fim.document_rate * summary.rates["fim_rate"].asked,
        "rate_error": RATE_ERROR,
        "rate_titles": _RATE_TITLES,
        "rates": _tested(
            {name: summary.rates[name] for name in _RATE_TITLES if name in summary.rates}
        ),
        "languages_tested": _languages_tested(summary),
        "orders": _entries(orders, totals.files, _layouts(fim) | _REASONS | short),
        "splits": _entries(summary.splits, rearranged, _LAWS),
        "fallbacks": _entries(summary.fallbacks, rearranged, _REASONS),
        "rejections": _entries(summary.rejections, totals.lines, _REASONS),
        "lengths": {
            unit: [(title, _describe(lengths[name], of)) for name, (title, _, of) in those.items()]
            for unit, those in _LENGTHS.items()
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
        "loading": _loading(corpus.relative("corpus_report", "summary.json")),
        "prefix": "/".join(corpus.prefix),
        "built_in": built_in_name(recipe),
        "recipe_yaml": recipe_yaml(recipe),
        "commands": _commands(recipe),
        "unread": examples.unread,
    }


def _loading(summary_path: str) -> str:
    return (
        "import json, numpy as np\n"
        f'arrays = json.load(open({json.dumps(summary_path)}))["arrays"]\n'
        'ids = np.memmap(arrays[0]["path"], dtype=arrays[0]["dtype"], mode="r")'
    )


def _commands(recipe: Recipe) -> str:
    return (
        f"export FIM_RECIPE={built_in_name(recipe) or 'recipe.yaml'}\n"
        "export FIM_INPUT_ROOT=…    # folder or URL of the same raw shards\n"
        "export FIM_DATA_ROOT=…     # an empty folder or URL\n"
        "dagster asset materialize -m fim_assets.definitions --select '*' \\\n"
        '  --partition-range "$(fim-assets keys --range)"\n'
        "fim-assets verify\n"
    )


def _layouts(fim: Fim) -> dict[str, str]:
    """How each order lays out its parts, in words."""
    used = {"psm": fim.psm_spm_split > 0, "spm": fim.psm_spm_split < 1}
    return {
        order.upper(): " ".join(piece.part or piece.text for piece in layout(order, fim))
        for order in ("psm", "spm")
        if used[order]
    }


def _entries(
    counts: Mapping[str, int], whole: int, meanings: Mapping[str, str] | None = None
) -> list[_Entry]:
    meanings = meanings or {}
    return [_Entry(name, n, _share(n, whole), meanings.get(name, "")) for name, n in counts.items()]


def _tested(rates: Mapping[str, RateNumbers]) -> dict[str, Rate]:
    return {
        name: Rate(rate.hits, rate.trials, rate.asked, rate.low, rate.high)
        for name, rate in rates.items()
    }


def _languages_tested(summary: Summary) -> dict[str, dict[str, Rate]]:
    """Languages that have files to rearrange, those with most documents first."""
    tested = summary.rates_by_language
    return {name: _tested(tested[name]) for name in summary.languages if name in tested}


class _Language(NamedTuple):
    """A language's documents and tokens."""

    name: str
    documents: int
    tokens: int
    share: float


def _language_rows(summary: Summary) -> list[_Language]:
    tokens = summary.tokens_by_language
    return [
        _Language(name, n, tokens.get(name, 0), _share(tokens.get(name, 0), summary.totals.tokens))
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
        words = [f"{e} ({n:,} partitions)" if len(engines) > 1 else e for e, n in engines]
        stages.append(_Stage(asset, seconds, rate, words))
    return stages


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


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


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.2%}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.1f} min" if hours < 1 else f"{hours:,.1f} h"


def _language_name(name: str) -> str:
    return shown_name(name) if name else "(none named)"


_FILTERS = {
    "number": "{:,}".format,
    "percent": _percent,
    "duration": _duration,
    "language": _language_name,
    "name": shown_name,
}


# The page


class _Figure(NamedTuple):
    """A chart and the words beside it."""

    title: str
    caption: str
    svg: Markup
    wide: bool = False


class _ShownPiece(NamedTuple):
    """A sentinel, or a part and what is shown of it."""

    sentinel: str | None
    part: Part | None
    chars: int
    text: Excerpt


class _ShownFile(NamedTuple):
    """A file of an example."""

    file: FilePreview
    how: str
    pieces: list[_ShownPiece]


class _Example(NamedTuple):
    """A document of the page."""

    key: str
    document: DocumentPreview
    files: list[_ShownFile]
    omitted: int


def _render_page(facts: Mapping[str, Any], gathered: Gathered, examples: Examples) -> str:
    summary, rows = gathered.summary, gathered.partitions
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_harmless,
    )
    environment.filters |= _FILTERS | {"sha256": _sha256}
    template = environment.from_string(_template("report.html.j2"))
    return template.render(
        facts,
        rows=rows,
        partition_figures=_partition_figures(rows),
        language_figures=_language_figures(facts["languages_tested"]),
        order_figure=_order_figure(facts["orders"], summary.totals.files),
        length_figures=_length_figures(summary.histograms),
        cut_figures=_cut_figures(summary.cuts),
        tokens_figures=_tokens_figures(facts["languages"]),
        examples=[_example(key, document) for key, document in examples.documents],
        incomplete=list(summary.partitions.incomplete.items())[:ROWS_SHOWN],
        recipe_lines=list(_recipe_lines(summary.recipe, Recipe())),
    )


def _template(name: str) -> str:
    return (files("fim_assets") / name).read_text("utf-8")


def _harmless(value: Any) -> Any:
    """What stands in the page: of text, nothing that is not seen but acts."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value)
    return value


def _partition_figures(rows: list[Partition]) -> list[_Figure]:
    if not rows:
        return []
    wide = charts.is_wide(len(rows))
    figures = []
    for name, title in _RATE_TITLES.items():
        if name in rows[0].rates:
            rates = [row.rates[name] for row in rows]
            outside = sum(not rate.within for rate in rates)
            beyond = f"{outside:,} outside their bounds" if outside else "none outside its bounds"
            caption = f"{len(rows):,} partitions, {beyond}"
            figures.append(_Figure(title, caption, _inline(charts.realised_shares(rates)), wide))
    tokens = [row.tokens.tokens or 0 for row in rows]
    caption = f"{min(tokens):,} to {max(tokens):,}, mean {sum(tokens) / len(tokens):,.0f}"
    svg = _inline(charts.partition_tokens(tokens))
    return [*figures, _Figure("Tokens a partition", caption, svg, wide)]


def _language_figures(tested: Mapping[str, Mapping[str, Rate]]) -> list[_Figure]:
    rates = {name: its["fim_rate"] for name, its in tested.items() if its["fim_rate"].trials}
    if not rates:
        return []
    within = sum(rate.within for rate in rates.values())
    few = sum(not rate.can_fail for rate in rates.values())
    caption = f"{within:,} of {len(rates):,} languages within their bounds"
    caption += f", {few:,} of them with too few files for any bound" if few else ""
    if len(rates) > _LANGUAGES_DRAWN:
        caption += f"; the {_LANGUAGES_DRAWN} with most documents are drawn"
    drawn = [(_label(name), rate) for name, rate in islice(rates.items(), _LANGUAGES_DRAWN)]
    return [
        _Figure("Files rearranged, by language", caption, _inline(charts.language_rates(drawn)))
    ]


def _order_figure(orders: list[_Entry], files: int) -> _Figure:
    colours = {"PSM": "accent", "SPM": "second"}
    words = "; ".join(f"{order.name} {_percent(order.share)}" for order in orders)
    bars = [
        charts.Amount(
            order.name.replace("_", " "),
            order.number,
            f"{order.number:,} · {_percent(order.share)}",
            colours.get(order.name, "muted"),
        )
        for order in orders
    ]
    return _Figure("Orders", f"Of {files:,} files: {words}", _inline(charts.amounts(bars)))


def _length_figures(histograms: Mapping[str, Histogram]) -> dict[str, list[_Figure]]:
    figures = {}
    for unit, those in _LENGTHS.items():
        drawn = {name: histograms[name] for name in those if name in histograms}
        longest = max((lengths.max or 0 for lengths in drawn.values()), default=0)
        figures[unit] = [
            _Figure(
                title,
                _describe(drawn[name], of),
                _inline(charts.length_distribution(drawn[name], axis, of, longest)),
            )
            for name, (title, axis, of) in those.items()
            if name in drawn
        ]
    return figures


def _cut_figures(cuts: Mapping[str, Mapping[int, int]]) -> list[_Figure]:
    most = max((n for places in cuts.values() for n in places.values()), default=0)
    figures = []
    for name, (title, where) in _CUTS.items():
        places = cuts[name]
        total = sum(places.values())
        if not total:
            continue
        first_half = sum(n for place, n in places.items() if place < 50)
        caption = f"{where}: {_percent(first_half / total)} in the first half of the file"
        figures.append(_Figure(title, caption, _inline(charts.cut_places(places, most))))
    return figures


def _tokens_figures(languages: Sequence[_Language]) -> list[_Figure]:
    most = sorted(languages, key=lambda its: -its.tokens)[:_LANGUAGES_DRAWN]
    if not most:
        return []
    bars = [
        charts.Amount(_label(its.name), its.tokens, f"{its.tokens:,} · {_percent(its.share)}")
        for its in most
    ]
    caption = f"most in {_label(most[0].name)}, {_percent(most[0].share)} of all"
    return [_Figure("Tokens by language", caption, _inline(charts.amounts(bars)))]


def _label(language: str) -> str:
    return one_line(language, _LABEL_CHARS) or "(none named)"


def _inline(svg: str) -> Markup:
    """A chart that may stand in the page as it is: Vega escapes the names that it is given."""
    return Markup(svg)  # noqa: S704 - names in it are harmless text, see `_label`


def _example(key: str, document: DocumentPreview) -> _Example:
    shown = shown_files(document.files, _EXAMPLE_LIMITS.files)
    return _Example(
        key,
        document,
        [_ShownFile(file, how_cut(file), list(_pieces(file))) for file in shown],
        len(document.files) - len(shown),
    )


def _pieces(file: FilePreview) -> Iterator[_ShownPiece]:
    if not file.pieces:
        yield _ShownPiece(None, None, len(file.text), excerpt(file.text, _EXAMPLE_LIMITS))
    for piece in file.pieces:
        sentinel = piece.text if piece.part is None else None
        text = excerpt("" if sentinel else piece.text, _EXAMPLE_LIMITS)
        yield _ShownPiece(sentinel, piece.part, len(piece.text), text)


def _recipe_lines(
    recipe: BaseModel, default: BaseModel, indent: str = ""
) -> Iterator[tuple[str, bool]]:
    """A recipe's lines as YAML, and whether each differs from the default's."""
    for name in type(recipe).model_fields:
        value, other = getattr(recipe, name), getattr(default, name)
        if type(value) is type(other) and isinstance(value, BaseModel) and name in _SECTIONS:
            yield f"{indent}{name}:", False
            yield from _recipe_lines(value, other, f"{indent}  ")
            continue
        content = recipe.model_dump(mode="json", include={name})
        for line in harmless_yaml(content).splitlines():
            yield f"{indent}{line}", value != other


_SECTIONS = ("raw", "fim", "tokens", "tokenizer")


def _sha256(content: str) -> str:
    """A Content-Security-Policy source for an inline style."""
    return f"sha256-{b64encode(sha256(content.encode()).digest()).decode()}"


# The card


def _render_card(facts: Mapping[str, Any], gathered: Gathered, examples: Examples) -> str:
    # What `finalize` has escaped for Markdown is not escaped for HTML too.
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_escaped,
    )
    environment.filters |= _FILTERS | {
        "code": lambda text: _markdown(code(text).replace("|", "\\|")),
        "fenced": lambda text, *of: _markdown(fenced(text.strip(), *of)),
    }
    summary = gathered.summary
    documents = [document for _, document in examples.documents]
    return environment.from_string(_template("card.md.j2")).render(
        facts,
        front_matter=_markdown(yaml.safe_dump(_front_matter(facts), sort_keys=False)),
        examples=_markdown(to_markdown(documents, summary.recipe.fim, None)) if documents else "",
    )


def _front_matter(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of Hugging Face's data-set cards that are known to be true."""
    folders = [*filter(None, [facts["prefix"]]), "fim_shards"]
    fields: dict[str, Any] = {
        "license": "unknown",
        "pretty_name": "Fill-in-the-middle token arrays",
        "task_categories": ["text-generation"],
        "tags": ["fill-in-the-middle", "pre-training", "tokenized"],
        "size_categories": [_size_category(facts["totals"].documents)],
    }
    if facts["partitions"].complete:
        path = "/".join([*folders, "*.jsonl.zst"])
        fields["configs"] = [{"config_name": "fim_shards", "data_files": path}]
    return fields


def _size_category(documents: int) -> str:
    """The Hub's name of a number of documents."""
    names = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
    if documents < 1000:
        return "n<1K"
    power = len(str(documents)) - 4
    return f"{names[power]}<n<{names[power + 1]}" if power + 1 < len(names) else "n>1T"


def _escaped(value: Any) -> Any:
    """What stands in the card: of text, nothing that is markup or acts without being seen."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return _markdown("".join(f"\\{c}" if c in _MARKUP else c for c in visible(value)))


def _markdown(text: str) -> Markup:
    """Text that is Markdown already."""
    return Markup(text)  # noqa: S704 - the card is no HTML


_MARKUP = frozenset("\\`*_[]<>|~&!#$@")
