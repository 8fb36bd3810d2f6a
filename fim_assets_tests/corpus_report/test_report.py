import json
import re
import shutil
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pytest
import yaml
from huggingface_hub import DatasetCard
from markdown_it import MarkdownIt

from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus.raw_shard import RawShard
from fim_assets.corpus.receipts import read_receipt
from fim_assets.corpus_report.card import _size_category
from fim_assets.corpus_report.gather import build_summary
from fim_assets.corpus_report.heading import recipe_name
from fim_assets.corpus_report.numbers import length_of
from fim_assets.corpus_report.summary import ListedArray, Summary
from fim_assets.corpus_report.verdict import corpus_verdict
from fim_assets.corpus_report.write import FILES, _mix, write_report
from fim_assets.recipe import Recipe, load_recipe, parse_recipe
from fim_assets.recipe.context import Context
from fim_assets.recipe.fim import Fim, LanguageRates, MaxMiddle, SplitWeights
from fim_assets.recipe.tokens import Tokens
from fim_assets.run.local import run_in_processes
from fim_assets.run.partition import Task
from fim_assets.stages import ASSETS
from fim_assets.statistics.histograms import Histogram
from fim_assets_tests.corpora import TOLERANT, corpus_of

RECIPE = Recipe(raw=TOLERANT, fim=Fim(fim_rate=0.0))
HOSTILE = "<script>alert(1)</script>"

# "hello" and "é" are one token each.
SHARDS = {
    "a": '{"id": "1", "text": "hello", "metadata": {"language": "C"}}\n'
    "\n"
    "no document\n"
    '{"id": "2", "text": "é", "metadata": {"language": "Python"}}\n',
    "b": '{"id": "3", "text": "hello"}\n{"id": "3", "text": "hello"}\n',
}


def corpus_at(root: Path, recipe: Recipe = RECIPE) -> Corpus:
    return corpus_of(recipe, root)


def materialize(
    corpus: Corpus, shards: Mapping[str, str], assets: tuple[str, ...] = ASSETS
) -> list[str]:
    """Write raw shards and materialize them, without checks; the keys."""
    raw = Path(str(corpus.data_root), "raw")
    raw.mkdir(parents=True, exist_ok=True)
    tasks = []
    for key, content in shards.items():
        path = raw / f"{key}.jsonl"
        path.write_bytes(content.encode())
        tasks.append(Task(corpus, key, RawShard(str(path)), frozenset(assets), frozenset()))
    for outcome in run_in_processes(tasks, workers=1):
        assert outcome.failure is None, outcome.failure
    return list(shards)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data root of a finished corpus."""
    root = tmp_path_factory.mktemp("made")
    materialize(corpus_at(root), SHARDS)
    return root


@pytest.fixture
def corpus(made: Path, tmp_path: Path) -> Corpus:
    """A copy of it, which may be harmed."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return corpus_at(tmp_path)


@pytest.fixture(scope="module")
def reported(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The corpus with its report, to be read only."""
    corpus = corpus_at(shutil.copytree(made, tmp_path_factory.mktemp("reported") / "root"))
    write_report(corpus, ["a", "b"])
    return corpus


@pytest.fixture(scope="module")
def reported_incomplete(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The same where an array is damaged and a partition missing."""
    corpus = corpus_at(shutil.copytree(made, tmp_path_factory.mktemp("incomplete") / "root"))
    lengthen_array(corpus)
    write_report(corpus, ["a", "b", "missing"])
    return corpus


def read_page(corpus: Corpus) -> str:
    return (corpus.folder("corpus_report") / "report.html").read_text("utf-8")


def read_card(corpus: Corpus) -> str:
    return (corpus.folder("corpus_report") / "README.md").read_text("utf-8")


class Elements(HTMLParser):
    """A page's elements with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    @property
    def tags(self) -> set[str]:
        return {tag for tag, _ in self.found}


def charts_of(page: str) -> int:
    return page.count('<div role="img"')


def test_totals_are_those_worked_out_by_hand(corpus: Corpus) -> None:
    summary = build_summary(corpus, ["a", "b"])
    assert summary.totals.model_dump() == {
        "lines": 6,
        "blank": 1,
        "rejected": 1,
        "documents": 4,
        "files": 4,
        "chars": 16,
        "bytes": 17,
        "fim_chars": 16,
        "tokens": 8,
        "arrays": 2,
        "psm": 0,
        "spm": 0,
        "not_selected": 3,
        "too_short": 1,
        "gate": 0,
        "repository": 0,
        "separators": 0,
        "changed_documents": 0,
        "copies": 1,
        "sentinel_literals": 0,
        "documents_with_sentinel_literals": 0,
        "distinct_documents": 2,
        "distinct_candidates": 2,
        "distinct_eligible": 2,
        "distinct_psm": 0,
        "distinct_spm": 0,
    }
    assert list(summary.languages.items()) == [("", 2), ("C", 1), ("Python", 1)]
    assert list(summary.tokens_by_language.items()) == [("", 4), ("C", 2), ("Python", 2)]
    assert summary.rejections == {"not_json": 1}
    assert {its.documents for its in summary.longer.values()} == {0}
    assert summary.histograms["rearranged_tokens"].count == 0
    assert summary.histograms["document_chars"] == Histogram(
        count=4, sum=16, min=1, max=5, p50=None, p95=None, bins={1: 1, 4: 3}
    )
    assert summary.histograms["document_tokens"].bins == {2: 4}
    assert [array.model_dump() for array in summary.arrays] == [
        {
            "path": f"token_arrays/{key}-00000.npy",
            "label_mask": None,
            "layout": "dolma",
            "dtype": "uint32",
            "tokens": 4,
            "partition": key,
        }
        for key in ("a", "b")
    ]
    assert summary.partitions.model_dump() == {
        "total": 2,
        "complete": 2,
        "incomplete": {},
        "empty": [],
    }


def test_rates_are_over_the_whole_corpus_and_count_copies_once(tmp_path: Path) -> None:
    corpus = corpus_at(tmp_path, Recipe(raw=TOLERANT, fim=Fim(fim_rate=1.0, psm_spm_split=0.0)))
    summary = build_summary(corpus, materialize(corpus, SHARDS))
    assert summary.totals.spm == 3
    assert summary.rates["fim_rate"].model_dump() == {
        "asked": 1.0,
        "realised": 1.0,
        "hits": 2,
        "trials": 2,
        "low": 2,
        "high": 2,
        "within": True,
    }
    assert (summary.rates["psm_share"].hits, summary.rates["psm_share"].trials) == (0, 2)


def test_rates_without_trials_have_no_share(corpus: Corpus) -> None:
    rates = build_summary(corpus, ["a", "b"]).rates
    assert (rates["fim_rate"].realised, rates["fim_rate"].trials) == (0.0, 2)
    assert (rates["psm_share"].realised, rates["psm_share"].trials) == (None, 0)


def remove_receipt(corpus: Corpus) -> None:
    corpus.files("token_arrays", "a").receipt.unlink()


def spoil_receipt(corpus: Corpus) -> None:
    corpus.files("fim_shards", "a").receipt.write_text("{")


def use_other_seed(corpus: Corpus) -> None:
    other = replace(corpus, recipe=corpus.recipe.model_copy(update={"seed": 1}))
    materialize(other, {"a": SHARDS["a"]})


def lengthen_array(corpus: Corpus) -> None:
    with corpus.files("token_arrays", "a").file("-00000.npy").open("ab") as file:
        file.write(b"\0")


def remove_array(corpus: Corpus) -> None:
    corpus.files("token_arrays", "a").file("-00000.npy").unlink()


def change_raw_shard(corpus: Corpus) -> None:
    materialize(corpus, {"a": SHARDS["b"]}, ("raw_shards",))


def change_fim_shard(corpus: Corpus) -> None:
    materialize(corpus, {"a": SHARDS["b"]}, ("raw_shards", "fim_shards"))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (remove_receipt, "token_arrays: not materialized"),
        (spoil_receipt, "fim_shards/a.json: not a receipt: "),
        (use_other_seed, "fim_shards: made by another recipe (fingerprint "),
        (
            lengthen_array,
            "token_arrays: token_arrays/a-00000.npy has 17 bytes, the receipt says 16",
        ),
        (remove_array, "token_arrays: token_arrays/a-00000.npy is missing"),
        (change_raw_shard, "fim_shards: made of another content of the raw shard"),
        (change_fim_shard, "token_arrays: made of another"),
    ],
)
def test_incomplete_partition_is_named_with_its_reason_and_counts_nowhere(
    corpus: Corpus, damage: Callable[[Corpus], None], reason: str
) -> None:
    damage(corpus)
    summary = build_summary(corpus, ["a", "b"])
    assert summary.partitions.total == 2
    assert summary.partitions.complete == 1
    assert summary.partitions.incomplete.keys() == {"a"}
    assert summary.partitions.incomplete["a"].startswith(reason)
    assert "\n" not in summary.partitions.incomplete["a"]
    assert [array.partition for array in summary.arrays] == ["b"]
    assert summary.totals.documents == 2


def test_incomplete_partitions_are_shown_with_their_reasons(reported_incomplete: Corpus) -> None:
    page = unescape(read_page(reported_incomplete))
    assert "token_arrays/a-00000.npy has 17 bytes" in page
    assert "raw_shards: not materialized" in page
    assert "2\xa0incomplete" in page


def test_shard_without_documents_is_complete_without_arrays(tmp_path: Path) -> None:
    corpus = corpus_at(tmp_path)
    summary = write_report(corpus, materialize(corpus, {"empty": "\n"}))
    assert (summary.partitions.complete, summary.totals.blank, summary.arrays) == (1, 1, [])
    assert summary.partitions.empty == ["empty"]
    page = unescape(read_page(corpus))
    assert "1\xa0empty" in page
    assert "empty." in page.partition('<section id="empty">')[2].partition("</section>")[0]
    assert "without any document: 1;" in read_card(corpus)


def test_empty_corpus_has_zeros_and_an_honest_page(tmp_path: Path) -> None:
    corpus = corpus_at(tmp_path)
    summary = write_report(corpus, [])
    assert set(summary.totals.model_dump().values()) == {0}
    assert (summary.partitions.total, summary.arrays, summary.histograms) == (0, [], {})
    assert "No partition is complete" in read_page(corpus)
    assert "import json" not in read_page(corpus) + read_card(corpus)


def test_same_receipts_give_the_same_summary(reported: Corpus, tmp_path: Path) -> None:
    corpus = corpus_at(shutil.copytree(str(reported.data_root), tmp_path / "root"))
    path = corpus.folder("corpus_report") / "summary.json"
    first = path.read_bytes()
    # Receipts of another run differ in `made`, and only there.
    materialize(corpus, SHARDS)
    written = write_report(corpus, ["b", "a"])
    assert path.read_bytes() == first
    assert Summary.model_validate_json(first) == written
    assert str(reported.data_root).encode() not in first
    assert {file.name for file in path.parent.iterdir()} == set(FILES)


def test_prefix_goes_before_the_arrays_paths(tmp_path: Path) -> None:
    corpus = replace(corpus_at(tmp_path), prefix=("code", "v2"))
    summary = write_report(corpus, materialize(corpus, {"a": SHARDS["a"]}))
    assert [array.path for array in summary.arrays] == ["code/v2/token_arrays/a-00000.npy"]
    assert 'open("code/v2/corpus_report/summary.json")' in unescape(read_page(corpus))


MEGATRON = Tokens(layout="megatron", label_mask="middle")


def test_arrays_of_another_layout_come_with_their_masks(tmp_path: Path) -> None:
    corpus = replace(
        corpus_at(tmp_path, RECIPE.model_copy(update={"tokens": MEGATRON})), prefix=("v2",)
    )
    (array,) = build_summary(corpus, materialize(corpus, {"a": SHARDS["a"]})).arrays
    assert (array.path, array.dtype) == ("v2/token_arrays/a-00000.bin", "int32")
    assert array.label_mask == "v2/label_masks/a-00000.npy"
    assert (tmp_path / array.label_mask).stat().st_size == array.tokens


def test_a_mix_lists_label_and_path_of_complete_partitions(tmp_path: Path) -> None:
    corpus = corpus_at(tmp_path)
    keys = materialize(corpus, {"C__x__a": SHARDS["a"], "b": SHARDS["b"]})
    write_report(corpus, [*keys, "missing"])
    mix = tmp_path / "token_arrays" / "mix.txt"
    assert mix.read_text() == ("C,token_arrays/C__x__a-00000.npy\nfim,token_arrays/b-00000.npy\n")
    other = corpus_at(tmp_path, RECIPE.model_copy(update={"tokens": MEGATRON}))
    write_report(other, [])
    assert not mix.exists(), "Megatron's arrays are in no mix of OLMo-core's"


def test_no_line_of_a_mix_is_a_comment() -> None:
    """OLMo-core's reader strips lines and takes one that begins with `#` for a comment."""
    labels = {}
    for key in ("#C__a", "##__b", " C# __c", "#d"):
        array = ListedArray(
            path="x.npy", label_mask=None, layout="dolma", dtype="uint32", tokens=1, partition=key
        )
        labels[key] = _mix([array]).partition(",")[0]
    assert labels == {"#C__a": "C", "##__b": "fim", " C# __c": "C#", "#d": "fim"}


def test_page_shows_how_to_read_the_arrays(
    reported: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    snippet = re.search(r"<code>(import json.*?)</code>", read_page(reported), re.DOTALL)
    assert snippet
    names: dict[str, Any] = {}
    monkeypatch.chdir(str(reported.data_root))
    exec(unescape(snippet[1]), names)
    eos = reported.recipe.tokens.tokenizer.eos_token_id
    assert len(names["ids"]) == 4
    assert names["ids"][-1] == eos


def test_only_many_partitions_have_a_chart_of_their_tokens(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Tokens a partition" not in read_page(corpus_with_report(corpus))
    monkeypatch.setattr("fim_assets.corpus_report.figures._PARTITIONS_DRAWN", 2)
    chart = read_page(corpus_with_report(corpus)).partition("Tokens a partition")[2]
    assert "partition, in the table's order" in unescape(chart.partition("</svg>")[0])


def corpus_with_report(corpus: Corpus) -> Corpus:
    write_report(corpus, ["a", "b"])
    return corpus


def test_one_of_a_kind_is_one(corpus: Corpus) -> None:
    write_report(corpus, materialize(corpus, {"one": '{"text": "h"}\n'}))
    page, card = read_page(corpus), (corpus.folder("corpus_report") / "README.md").read_text()
    assert "1 of 1 partition complete" in page
    assert "1 of 1 partition complete" in card
    assert "- Documents: median 1; mean 1, 95 % up to 1, largest 1, of 1 document\n" in card
    assert not re.findall(
        r"\b1 (?:partition|document|file|character|line|language)s\b", page + card
    )


def test_hostile_names_are_text(tmp_path: Path) -> None:
    corpus = corpus_at(tmp_path)
    keys = ["<img src=x onerror=alert>", "'\"&amp;"]
    line = {"id": HOSTILE, "text": "hello", "metadata": {"language": HOSTILE}}
    materialize(corpus, {keys[0]: json.dumps(line) + "\n"})
    write_report(corpus, keys)
    page = read_page(corpus)
    elements = Elements(page)
    assert not elements.tags & {"script", "img", "iframe", "object", "embed"}
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;img src=x onerror=alert&gt;" in page
    assert "&#39;&#34;&amp;amp;" in page
    assert not [name for _, given in elements.found for name in given if name.startswith("on")]


def test_page_loads_nothing_and_its_policy_allows_its_own_style_alone(
    reported_incomplete: Corpus,
) -> None:
    page = read_page(reported_incomplete)
    elements = Elements(page)
    links = {
        link for _, given in elements.found for name in ("src", "href") if (link := given.get(name))
    }
    places = {f"#{given['id']}" for _, given in elements.found if "id" in given}
    files = {link for link in links - {"data:,", *places} if not link.startswith("data:text/yaml")}
    assert files == {
        *("summary.json", "README.md", "../token_arrays/mix.txt", "../token_arrays/"),
        *("../fim_shards/", "../fim_shards/b.jsonl.zst", "../token_arrays/b-00000.npy"),
        "../token_arrays/b.json",
    }
    folder = Path(str(reported_incomplete.folder("corpus_report")))
    assert all((folder / link).exists() for link in files)
    assert "#incomplete" in links
    assert not [given for _, given in elements.found if "style" in given]
    policy = next(given["content"] for tag, given in elements.found if "http-equiv" in given)
    styles = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = b64encode(sha256(styles[0].encode()).digest()).decode()
    assert len(styles) == 1
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )


def test_long_tables_say_what_they_leave_out(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("view", "page"):
        monkeypatch.setattr(f"fim_assets.corpus_report.{module}.ROWS_SHOWN", 1)
    monkeypatch.setattr("fim_assets.corpus_report.view.LANGUAGES_SHOWN", 1)
    summary = write_report(corpus, ["a", "b", "x", "y", "z"])
    page = read_page(corpus)
    assert summary.totals.documents == 4
    assert "1 complete partition;" in page
    assert "2 languages;" in page
    assert "2 partitions;" in page
    assert '<th scope="row">b</th>' not in page


def test_a_length_has_its_median_as_a_number() -> None:
    """The third of five values is 6 or 7; the last one alone is exact."""
    bins = {3: 1, 6: 2, 8: 1, 16: 1}
    lengths = Histogram(count=5, sum=40, min=3, max=17, p50=None, p95=None, bins=bins)
    shown = length_of("Files", "tokens", "file", lengths)
    assert shown.median == "about 7"
    assert shown.text == "mean 8, 95 % up to about 16, largest 17, of 5 files"
    one = Histogram(count=2, sum=14_000, min=7_000, max=7_000, p50=None, p95=None, bins={6144: 2})
    assert length_of("Files", "tokens", "file", one).median == "7,000"
    nothing = Histogram(count=0, sum=0, min=None, max=None, p50=None, p95=None, bins={})
    assert length_of("Files", "tokens", "file", nothing)[-2:] == ("–", "no file")


def test_laws_fallbacks_and_languages_are_shown(tmp_path: Path) -> None:
    weights = SplitWeights(lines=0.5, uniform=0.5)
    fim = Fim(fim_rate=1.0, document_rate=0.5, split=weights, split_fallback="uniform")
    made = corpus_at(tmp_path, Recipe(fim=fim))
    lines = "".join(
        f'{{"text": "one line {n}", "metadata": {{"language": "C"}}}}\n' for n in range(400)
    )
    summary = write_report(made, materialize(made, {"a": lines}))
    totals = summary.totals
    assert (totals.psm + totals.spm + totals.gate, totals.not_selected) == (400, 0)
    assert 100 < totals.gate < 300
    assert summary.splits == {"uniform": 400 - totals.gate}
    assert 20 < summary.fallbacks["one_line"] < 200
    assert summary.rates["lines_share"].hits == summary.fallbacks["one_line"]
    assert summary.rates["document_rate"].trials == 400
    assert summary.rates_by_language["C"]["fim_rate"].realised == 1.0
    page = unescape(read_page(made))
    share = f"{1 - totals.gate / 400:.2%}"
    assert f"<dd>{share}</dd><dd>{share} if long enough, asked 50.00%" in page
    assert (
        f'<th scope="row">one_line</th><td class="number">{summary.fallbacks["one_line"]}' in page
    )
    assert "Of these, drawn for lines" in page


def test_a_bound_of_middles_is_said_with_what_cuts_and_is_a_line_of_the_recipe(
    tmp_path: Path, reported: Corpus
) -> None:
    fim = Fim(fim_rate=1.0, split=SplitWeights(lines=0.5, uniform=0.5), split_fallback="uniform")
    bounded = fim.model_copy(update={"max_middle": MaxMiddle(lines=1)})
    made = corpus_at(tmp_path, Recipe(raw=TOLERANT, fim=bounded))
    lines = "".join(f'{{"text": "a\\n{n}\\n\\nb\\n"}}\n' for n in range(50))
    summary = write_report(made, materialize(made, {"a": lines}))
    assert summary.histograms["middle_chars"].max == 3
    page = unescape(read_page(made))
    assert "a length of the middle, then its start; at most 1 line" in page
    assert "two distinct line starts; at most 1 line" in page
    assert "lines: 1" in page
    # A field that is not there is no line.
    assert "{}" not in unescape(read_page(reported))
    assert "max_middle" not in unescape(read_page(reported))


TEXT = "def f():\n    return 1\n"


def test_cuts_parts_and_long_documents_add_up(tmp_path: Path) -> None:
    corpus = corpus_at(tmp_path, Recipe(fim=Fim(fim_rate=1.0, psm_spm_split=1.0)))
    long = "hello " * 3000
    lines = [{"id": str(n), "text": text} for n, text in enumerate([TEXT, TEXT * 2, long])]
    shard = "".join(json.dumps(line) + "\n" for line in lines)
    summary = build_summary(corpus, materialize(corpus, {"a": shard, "b": shard}))
    assert [sum(places.values()) for places in summary.cuts.values()] == [6, 6]
    assert list(summary.cuts["first_cut"]) == list(range(0, 100, 5))
    tokens = summary.histograms
    parts = [tokens[f"{part}_tokens"] for part in ("prefix", "middle", "suffix")]
    # A document is its parts, three sentinels and EOS.
    assert sum(part.sum for part in parts) + 4 * 6 == summary.totals.tokens
    assert tokens["rearranged_tokens"].sum == summary.totals.tokens
    counted = {length: its.documents for length, its in summary.longer.items()}
    assert counted == {2048: 2, **{1 << power: 0 for power in range(12, 17)}}
    assert 6000 < summary.longer[2048].tokens < 6100


def test_what_trainers_see_adds_up_over_partitions(tmp_path: Path) -> None:
    corpus = corpus_at(tmp_path, Recipe(fim=Fim(fim_rate=1.0, psm_spm_split=1.0)))
    long = json.dumps({"id": "long", "text": "hello " * 3000}) + "\n"
    short = json.dumps({"id": "short", "text": TEXT}) + "\n"
    keys = materialize(corpus, {"a": long + short, "b": short, "c": long})
    summary = write_report(corpus, keys)
    rates, tokens = summary.effective_rates, summary.totals.tokens
    assert (rates.partitions, rates.files) == (3, 4)
    # Every file is rearranged, and all of its document: there is no token beside.
    assert rates.tokens == rates.file_tokens == tokens
    short_tokens = summary.arrays[1].tokens
    assert 3000 < summary.arrays[2].tokens < 4096 - short_tokens
    first = rates.ways["truncated"][2048]
    assert (first.whole_files, first.whole_tokens, first.lost_ends) == (2, 2 * short_tokens, 2)
    assert first.discarded_tokens == tokens - 2 * (2048 + short_tokens)
    assert rates.ways["fragments"][4096].whole_files == 4
    # An array shorter than a sequence gives no chunk.
    assert rates.ways["chunks"][4096].model_dump() == {
        "whole_files": 0,
        "whole_tokens": 0,
        "lost_ends": 4,
        "discarded_tokens": tokens,
    }
    page = unescape(read_page(corpus)).partition('<section id="sequences">')[2]
    title = "Rearranged files that a trainer sees whole"
    assert page.index(title) < page.index('aria-label="Chunks: 0.00% at S = 8,192.')
    cells = re.findall(
        r'<th scope="row">First tokens</th>((?:<td class="number">[^<]*</td>)+)', page
    )
    chosen, *whole = [re.findall("[0-9.]+%", row) for row in cells]
    assert chosen == ["100.00%", "100.00%", "0.00%", "0.00%"]
    discarded = first.discarded_tokens / tokens
    assert [row[0] for row in whole] == [
        "50.00%",
        f"{2 * short_tokens / tokens:.2%}",
        "50.00%",
        f"{discarded:.2%}",
    ]
    card = read_card(corpus)
    assert "NumpyPaddedFSLDataset | 100.00% | 0.00% | 0.00% |" in card


def test_receipts_of_an_older_version_do_not_say_what_trainers_see(tmp_path: Path) -> None:
    corpus = corpus_at(tmp_path, Recipe(raw=TOLERANT, fim=Fim(fim_rate=1.0)))
    keys = materialize(corpus, SHARDS)
    of_all = build_summary(corpus, keys).effective_rates

    def make_older(key: str) -> None:
        path = Path(str(corpus.files("token_arrays", key).receipt))
        receipt = json.loads(path.read_bytes())
        assert receipt.pop("seen")["rearranged_files"] > 0
        path.write_text(json.dumps(receipt))

    make_older("a")
    summary = write_report(corpus, keys)
    assert summary.partitions.complete == 2
    known = summary.effective_rates
    assert (known.partitions, known.files, known.tokens) == (1, 2, summary.arrays[1].tokens)
    assert known.files < of_all.files
    assert "Known for 1 of 2 complete partitions" in unescape(read_page(corpus))
    assert "2 rearranged files in 1 of 2 complete partitions" in read_card(corpus)
    make_older("b")
    nothing = write_report(corpus, keys).effective_rates
    assert (nothing.partitions, nothing.files, nothing.tokens) == (0, 0, 0)
    page = unescape(read_page(corpus))
    assert "Known for 0 of 2 complete partitions" in page
    assert "Middles that lose their end" not in page
    assert "seen whole" not in read_card(corpus)


def test_the_share_of_tokens_is_that_of_the_rearranged_files_with_what_ends_them(
    tmp_path: Path,
) -> None:
    """Of each order too, unless a receipt of an older version does not count it."""
    corpus = corpus_at(tmp_path, Recipe(fim=Fim(fim_rate=0.5)))
    lines = [{"id": str(n), "text": f"{TEXT}# {n}"} for n in range(60)]
    keys = materialize(corpus, {"a": "".join(json.dumps(line) + "\n" for line in lines)})
    summary = write_report(corpus, keys)
    table = pl.read_parquet(tmp_path / "token_arrays" / "a.parquet")
    psm, spm = (
        sum(table.filter(pl.col("order") == order)["tokens"].to_list()) for order in ("psm", "spm")
    )
    assert min(psm, spm) > 0
    assert (summary.psm_tokens, summary.effective_rates.file_tokens) == (psm, psm + spm)
    shares = [f"{its / summary.totals.tokens:.2%}" for its in (psm, spm, psm + spm)]
    assert fim_shares(corpus) == shares
    path = Path(str(corpus.files("token_arrays", "a").receipt))
    receipt = json.loads(path.read_bytes())
    del receipt["seen"]["psm_tokens"]
    path.write_text(json.dumps(receipt))
    assert write_report(corpus, keys).psm_tokens is None
    assert fim_shares(corpus) == ["–", "–", shares[2]]
    del receipt["seen"]
    path.write_text(json.dumps(receipt))
    write_report(corpus, keys)
    assert fim_shares(corpus) == ["–", "–", "–"]


def fim_shares(corpus: Corpus) -> list[str]:
    """The last column of the table of FIM shares, of which the card has the last row."""
    table = read_page(corpus).partition('aria-label="FIM share"')[2].partition("</table>")[0]
    shares = re.findall(r">([^<>]*)</td></tr>", table)
    assert f"| their share of all tokens | {shares[-1]} |" in read_card(corpus)
    return shares


@pytest.mark.parametrize("longer", ["unchanged", "pieces"])
def test_long_documents_may_be_in_a_language_that_raw_shards_do_not_name(
    tmp_path: Path, longer: Literal["unchanged", "pieces"]
) -> None:
    context = Context(tokens=64, longer=longer)
    corpus = corpus_at(tmp_path, Recipe(fim=Fim(fim_rate=1.0), context=context))
    text = "".join(f"{n} + {n}\n" for n in range(90))
    shard = "".join(json.dumps({"text": its}) + "\n" for its in (text, TEXT))
    keys = materialize(corpus, {"a": shard})
    path = Path(str(corpus.files("raw_shards", "a").receipt))
    receipt = json.loads(path.read_bytes())
    # As if a stage in between had named it.
    counts = receipt["result"]["counts"]
    counts["documents:Python"] = counts.pop("documents:")
    path.write_text(json.dumps(receipt))
    summary = write_report(corpus, keys)
    assert ([*summary.languages], [*summary.context]) == (["Python"], [""])
    title = 'aria-label="Documents longer than the context"'
    row = read_page(corpus).partition(title)[2].partition("<tbody>")[2].partition("</tr>")[0]
    its = summary.context[""]
    share = f"{its.tokens / summary.totals.tokens:.2%}"
    cells = ["1", "–", f"{its.pieces or its.files}", f"{its.tokens:,}", share]
    assert re.findall(r'<td class="number">([^<]*)', row) == cells


def test_the_card_is_one_of_hugging_faces(
    reported: Corpus, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = DatasetCard(read_card(reported))
    fields = vars(card.data)
    assert (fields["license"], fields["size_categories"]) == ("unknown", ["n<1K"])
    (config,) = fields["configs"]
    found = Path(str(reported.data_root)).glob(config["data_files"])
    assert sorted(path.name for path in found) == ["a.jsonl.zst", "b.jsonl.zst"]
    assert "| documents | 4 |" in card.text
    snippet = re.search(r"```python\n(import json.*?)```", card.text, re.DOTALL)
    assert snippet
    names: dict[str, Any] = {}
    monkeypatch.chdir(str(reported.data_root))
    exec(snippet[1], names)
    assert len(names["ids"]) == 4
    # A glob would take in the FIM shards of partitions that are not counted.
    write_report(corpus, ["a"])
    assert "configs" not in vars(DatasetCard(read_card(corpus)).data)


@pytest.mark.parametrize(
    ("documents", "name"),
    [
        (999, "n<1K"),
        (1000, "1K<n<10K"),
        (9_999, "1K<n<10K"),
        (123_456, "100K<n<1M"),
        (10**9, "1B<n<10B"),
        (10**12, "n>1T"),
    ],
)
def test_sizes_are_named_as_on_the_hub(documents: int, name: str) -> None:
    assert _size_category(documents) == name


EVIL = [
    HOSTILE,
    "a|b `c` ``d",
    "[x](http://forged.invalid) ![y](http://forged.invalid/z.png)",
    "evil\u202eflow\x1b[31m",
    "http://forged.invalid www.forged.invalid a@forged.invalid",
    "--- \n# heading\n<b>",
]


def test_hostile_text_is_inert_in_card_and_page(tmp_path: Path) -> None:
    rates = LanguageRates.model_validate({"default": 1.0} | dict.fromkeys(EVIL, 1.0))
    corpus = corpus_at(tmp_path, Recipe(raw=TOLERANT, fim=Fim(fim_rate=rates)))
    lines = [
        {"id": evil, "text": f"{evil}\n" * 20, "metadata": {"language": evil}} for evil in EVIL
    ]
    key = "a|b`c`<b>"
    keys = materialize(corpus, {key: "".join(json.dumps(line) + "\n" for line in lines)})
    write_report(corpus, [*keys, "missing"])
    page, card = read_page(corpus), read_card(corpus)
    for text in (page, card):
        assert not set(text) & {"\u202e", "\x1b"}
        assert "‹U+202E›" in text
    assert not Elements(page).tags & {"b", "script", "img"}
    body = DatasetCard(card).text
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    kinds = {inner.type for token in tokens for inner in [token, *(token.children or [])]}
    assert not kinds & {"link_open", "image", "html_block", "html_inline"}
    texts = [t.content for token in tokens for t in token.children or [] if t.type == "text"]
    assert not [text for text in texts if "forged" in text], "nothing that a reader would link"
    assert "# heading" not in [line[:9] for line in body.splitlines()]
    codes = [t.content for token in tokens for t in token.children or [] if t.type == "code_inline"]
    assert {HOSTILE, "a|b `c` ``d"} <= set(codes)


def test_examples_are_shown_part_by_part(tmp_path: Path) -> None:
    corpus = corpus_at(tmp_path, Recipe(fim=Fim(fim_rate=1.0)))
    texts = [TEXT * 20 + f"# {n}" for n in range(20)]
    lines = [{"id": f"id {n}", "text": text} for n, text in enumerate(texts)]
    keys = materialize(corpus, {"a": "".join(json.dumps(line) + "\n" for line in lines)})
    write_report(corpus, keys)
    page = unescape(read_page(corpus))
    assert page.count('<article class="example">') == 2, "one in each order, all in one language"
    for part in ("prefix", "middle", "suffix"):
        assert page.count(f'<div class="part {part}"><strong>{part}</strong>') == 2
        assert page.count(f'<span class="sentinel"><|fim_{part}|></span>') == 2
    assert re.findall(r"file 0 (\w+): cut by dolma", page) in (["PSM", "SPM"], ["SPM", "PSM"])

    shard = corpus.files("fim_shards", "a").file(".jsonl.zst")
    shard.write_bytes(b"\0" * shard.stat().st_size)
    summary = write_report(corpus, keys)
    assert summary.partitions.complete == 1
    assert "The FIM shards of a could not be read" in read_page(corpus)


def test_the_recipe_is_shown_and_gives_itself_again(tmp_path: Path) -> None:
    fim = Fim(fim_rate=0.25, spm_format="v2", repository_tokens=("<repo>",))
    corpus = corpus_at(tmp_path, Recipe(seed=7, fim=fim))
    write_report(corpus, [])
    page = unescape(read_page(corpus))
    marked = re.findall(r'<span class="differs">(.*?)  ●</span>', page)
    assert marked == [
        "seed: 7",
        "  fim_rate: 0.25",
        "  spm_format: v2",
        "  repository_tokens:",
        "  - <repo>",
    ]
    saved = re.search(r"<code>recipe.yaml</code>:</p>\n<pre><code>(.*?)</code>", page, re.DOTALL)
    assert saved
    assert parse_recipe(saved[1], "page") == corpus.recipe
    assert "export FIM_RECIPE=recipe.yaml" in page
    whole, differing, commands = re.findall(r"```\w+\n(.*?)```", read_card(corpus), re.DOTALL)
    assert yaml.safe_load(whole) == corpus.recipe.model_dump(mode="json")
    assert parse_recipe(whole, "card") == parse_recipe(differing, "card") == corpus.recipe
    assert "export FIM_RECIPE=recipe.yaml" in commands
    write_report(corpus_at(tmp_path, load_recipe("ast_fim")), [])
    assert "export FIM_RECIPE=ast_fim" in read_page(corpus)
    whole, commands = re.findall(r"```\w+\n(.*?)```", read_card(corpus), re.DOTALL)
    assert parse_recipe(whole, "card") == load_recipe("ast_fim")
    assert "export FIM_RECIPE=ast_fim" in commands


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({}, "olmo_midtraining"),
        ({"raw": {"documents": ["mine/*.jsonl"]}}, "olmo_midtraining"),
        ({"fim": {"fim_rate": 0.7}}, "olmo_midtraining with other fim.fim_rate"),
        (
            {"seed": 1, "fim": {"fim_rate": {"C": 1, "default": 0}}, "context": {"tokens": 512}}
            | {"tokens": {"tokenizer": {"bos_token_id": 2}}},
            "olmo_midtraining with other seed, fim.fim_rate, context and 1 more",
        ),
        (
            load_recipe("ast_fim").model_dump() | {"seed": 1},
            "ast_fim with other seed",
        ),
    ],
)
def test_a_recipe_is_named_after_the_nearest_that_is_built_in(
    fields: dict[str, Any], name: str
) -> None:
    assert recipe_name(Recipe.model_validate(fields)) == name


def test_page_and_card_begin_with_the_corpus_its_recipe_and_its_verdict(
    reported: Corpus, reported_incomplete: Corpus
) -> None:
    # They were made without checks.
    for corpus, keys in ((reported, ["a", "b"]), (reported_incomplete, ["a", "b", "missing"])):
        said = corpus_verdict(build_summary(corpus, keys))
        page, card = unescape(read_page(corpus)), read_card(corpus)
        assert "<title>root: corpus report</title>" in page
        assert "<h1>Corpus report: root</h1>" in page
        assert f'<span aria-hidden="true">▲</span> {said}</p>' in page
        assert f"\n{said} Tokenizer `allenai/dolma2-tokenizer`; recipe olmo\\_midtraining" in card


def test_commands_and_places_are_those_of_the_key_prefix(corpus: Corpus) -> None:
    folder = Path(str(corpus.data_root))
    (folder / "x y" / "b").mkdir(parents=True)
    for asset in ASSETS:
        (folder / asset).rename(folder / "x y" / "b" / asset)
    prefixed = replace(corpus, prefix=("x y", "b"))
    summary = write_report(prefixed, ["a", "b"])
    assert summary.partitions.complete == 2
    assert summary.arrays[0].path == "x y/b/token_arrays/a-00000.npy"
    mix = (folder / "x y" / "b" / "token_arrays" / "mix.txt").read_text()
    assert mix.startswith("fim,x y/b/token_arrays/a-00000.npy\n")
    for text in (unescape(read_page(prefixed)), read_card(prefixed)):
        assert """dagster asset materialize -f FILE.py --select 'key:"x y/b/*"' """ in text
        assert "\nfim-assets --key-prefix 'x y/b' verify\n" in text
        assert "FILE.py" in text.partition("fim-assets --key-prefix")[2]
        assert 'open("x y/b/corpus_report/summary.json")' in text


def test_a_language_that_no_document_has_is_told(corpus: Corpus) -> None:
    """On the page and the card, about all partitions: C stands in one of them alone."""
    rates = LanguageRates.model_validate({"default": 0.0, "C": 0.0, "python": 0.0, "Ada": 0.0})
    recipe = corpus.recipe.model_copy(update={"fim": Fim(fim_rate=rates)})
    other = replace(corpus, recipe=recipe)
    summary = write_report(other, materialize(other, SHARDS))
    ada, python = summary.warnings
    assert "language Ada, which no document names; they name C, Python" in ada
    assert "language python, which no document names; close: Python" in python
    page, card = unescape(read_page(other)), read_card(other).replace("\\_", "_")
    for warning in (ada, python):
        assert f'<p class="alarm">{warning}</p>' in page
        assert f"**Warning**: {warning}." in card
    incomplete = build_summary(other, ["a", "b", "missing"])
    assert incomplete.warnings == [python], "the missing partition may be of Ada"


def test_with_a_schema_languages_are_told_as_the_data_name_them(corpus: Corpus) -> None:
    raw, rates = "{schema: dolma, max_rejected_share: 1}", "{default: 0, c: 1, py3: 0, Ada: 0}"
    recipe = parse_recipe(f"raw: {raw}\nfim: {{fim_rate: {rates}}}", "r")
    other = replace(corpus, recipe=recipe)
    summary = write_report(other, materialize(other, SHARDS))
    [ada] = summary.warnings
    assert "language Ada, which no document names; they name C, Python" in ada
    assert summary.rates_by_language["C"]["fim_rate"].realised == 1.0
    folder = other.folder("corpus_report")
    assert Summary.model_validate_json((folder / "summary.json").read_bytes()) == summary
    page = unescape(read_page(other))
    assert all(line in page for line in ("  schema: dolma", "  text_field: text"))
    assert "  schema: dolma\n" in read_card(other)


def test_partitions_of_several_versions_and_engines_are_told(
    reported: Corpus, corpus: Corpus
) -> None:
    assert "several versions" not in read_page(reported)
    place = corpus.files("token_arrays", "a")
    receipt = read_receipt(place)
    assert receipt
    made = receipt.made.model_copy(
        update={"seconds": 7200.0, "engine": "other", "versions": {"polars": "0.1"}}
    )
    place.receipt.write_text(receipt.model_copy(update={"made": made}).model_dump_json())
    write_report(corpus, ["a", "b"])
    page = read_page(corpus)
    assert "several versions" in page
    assert "0.1 (1 receipt)" in page
    assert "other (1 partition)" in page
    assert "2.0 h" in page
