"""Each built-in recipe does what its file states: shares, laws and layouts, numbers spelled out."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl
import pytest
import zstandard
from scipy.stats import binomtest, kstest

from fim_assets.cuts.base import Cuts
from fim_assets.cuts.files import Files
from fim_assets.cuts.registry import CUTS
from fim_assets.draws import document_keys
from fim_assets.fim_shards.decisions import Decisions, decide
from fim_assets.fim_shards.transform import rearranged_texts
from fim_assets.recipe import Recipe, built_in_recipes, load_recipe
from fim_assets_tests.corpora import open_corpus, run_all, write_shard

Mask = npt.NDArray[np.bool_]

CODE = "def f(x):\n    if x:\n        return [x, 1]\n    return g(x) + 2\n\n\nclass A:\n    y = 3\n"


class Realised(NamedTuple):
    """What a recipe did to some documents."""

    files: Files
    decisions: Decisions
    texts: dict[int, str]

    def share(self, what: Mask, of: Mask, asked: float) -> None:
        """Compare a share with a probability: an exact binomial test at one in a million."""
        assert of.sum() > 1000
        assert binomtest(int((what & of).sum()), int(of.sum()), asked).pvalue > 1e-6

    def split(self, name: str) -> Mask:
        return np.asarray(self.decisions.splits == name, np.bool_)

    def order(self, name: str) -> Mask:
        return np.asarray(self.decisions.orders == name, np.bool_)

    def reason(self, name: str) -> Mask:
        return np.asarray(self.decisions.reasons == name, np.bool_)

    @property
    def rearranged(self) -> Mask:
        return ~self.order("none")

    def follows(self, split: str) -> None:
        """Compare the cuts of a method with its distribution."""
        rows = np.flatnonzero(self.split(split))
        files, cuts = self.files, self.decisions.cuts
        ranks = CUTS.rank_functions()[split](
            files.keys[rows],
            files.indices[rows],
            files.lengths[rows],
            Cuts(cuts.first[rows], cuts.second[rows]),
        )
        assert kstest(ranks.first, "uniform").pvalue > 1e-6
        assert kstest(ranks.second, "uniform").pvalue > 1e-6


def realise(recipe_name: str, texts: list[str], language: str | None = "Python") -> Realised:
    recipe = load_recipe(recipe_name)
    fim = recipe.fim
    keys = document_keys(11, [str(n) for n in range(len(texts))], texts)
    names = [language] * len(texts)
    boundaries = fim.file_separator_token, fim.repository_tokens
    files = Files.split(texts, keys, names, [None] * len(texts), *boundaries)
    decisions = decide(files, recipe, None)
    return Realised(files, decisions, dict(rearranged_texts(files, decisions, fim)))


def layouts(found: Realised, order: str) -> set[tuple[str, ...]]:
    """Sentinels of rearranged documents of one file, in their order, and what parts they precede.

    A text of p, m and s cannot be told apart, so that the parts' lengths name them.
    """
    sentinels = ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")
    seen = set()
    for document in np.flatnonzero(found.order(order))[:200].tolist():
        text = found.texts[document]
        places = sorted((text.index(sentinel), sentinel) for sentinel in sentinels)
        ends = [place for place, _ in places[1:]] + [len(text)]
        contents = (
            (sentinel, text[place + len(sentinel) : end])
            for (place, sentinel), end in zip(places, ends, strict=True)
        )
        first, second = (int(cut[document]) for cut in found.decisions.cuts)
        original = found.files.texts[document]
        names = {
            original[:first]: "prefix",
            original[first:second]: "middle",
            original[second:]: "suffix",
            original[:second]: "prefix middle",
            "": "",
        }
        if len(names) < 5:
            continue  # An empty part, or two that are alike, have no name of their own.
        seen.add(tuple(part for s, content in contents for part in (s, names[content])))
    return seen


def numbered(count: int) -> list[str]:
    """Different files of 20 to 99 characters, all of whose parts differ."""
    return [
        f"{n:06d}" + "".join(chr(97 + (n * k) % 26) for k in range(14 + n % 80))
        for n in range(count)
    ]


PSM = ("<|fim_prefix|>", "prefix", "<|fim_suffix|>", "suffix", "<|fim_middle|>", "middle")


def test_every_built_in_recipe_is_tested_here() -> None:
    assert built_in_recipes() == [
        *("ast_fim", "deepseek_coder", "olmo_midtraining", "openai_fim"),
        *("qwen2_5_coder", "seed_coder", "starcoder2"),
    ]


@pytest.mark.parametrize(
    ("name", "split", "spm"),
    [
        (
            "olmo_midtraining",
            "dolma",
            ("<|fim_suffix|>", "suffix", "<|fim_prefix|>", "prefix", "<|fim_middle|>", "middle"),
        ),
        (
            "openai_fim",
            "uniform",
            ("<|fim_prefix|>", "", "<|fim_suffix|>", "suffix", "<|fim_middle|>", "prefix middle"),
        ),
    ],
)
def test_half_of_the_files_half_of_these_in_psm_order(
    name: str, split: str, spm: tuple[str, ...]
) -> None:
    found = realise(name, numbered(30_000))
    everything = np.ones(30_000, np.bool_)
    found.share(found.rearranged, everything, 0.5)
    found.share(found.order("psm"), found.rearranged, 0.5)
    assert (found.split(split) == found.rearranged).all()
    found.follows(split)
    assert layouts(found, "psm") == {PSM}
    assert layouts(found, "spm") == {spm}


def test_openai_knows_no_separator_and_olmo_does() -> None:
    text = "one file here<|file_sep|>another file"
    assert len(realise("openai_fim", [text]).files.texts) == 1
    assert len(realise("olmo_midtraining", [text]).files.texts) == 2


def repositories(count: int, files: int) -> list[dict[str, Any]]:
    """Lines of repositories of some files each, all of whose texts differ."""
    texts = iter(numbered(count * files))
    return [
        {
            "text": next(texts),
            "metadata": {"repo_name": f"me/{n}", "path": f"src/{m}.py", "language": "Python"},
        }
        for n in range(count)
        for m in range(files)
    ]


class Joined(NamedTuple):
    """What a recipe joined and rearranged of a shard: a row a file of each stage's parquet."""

    texts: list[str]
    joined: pl.DataFrame
    rows: pl.DataFrame

    def share(self, what: pl.Expr, of: pl.Expr, asked: float) -> None:
        """As `Realised.share`."""
        chosen = self.rows.filter(of)
        assert chosen.height > 1000
        assert binomtest(chosen.filter(what).height, chosen.height, asked).pvalue > 1e-6


def join(name: str, root: Path, lines: list[dict[str, Any]]) -> Joined:
    """Take a shard through the stages up to the FIM shard.

    Tokenizers of the Hub are not there: they decide where a repository is divided, and no more.
    """
    recipe = load_recipe(name)
    assert recipe.repositories is not None
    undivided = recipe.repositories.model_copy(update={"max_tokens": None})
    update = {"repositories": undivided, "tokens": Recipe().tokens}
    recipe = recipe.model_copy(update=update)
    write_shard(root / "raw" / "a.jsonl", lines)
    corpus = open_corpus(root, recipe)
    outcome = run_all(corpus, ["raw_shards", "repository_shards", "fim_shards"])["a"]
    assert outcome.failure is None, outcome.details
    shard = corpus.files("fim_shards", "a").file(".jsonl.zst")
    content = zstandard.decompress(shard.read_bytes(), 1 << 28).splitlines()
    tables = (
        pl.read_parquet(corpus.files(stage, "a").file(".parquet"))
        for stage in ("repository_shards", "fim_shards")
    )
    return Joined([orjson.loads(line)["text"] for line in content], *tables)


IS_REARRANGED = pl.col("order") != "none"
EVERY = pl.lit(value=True)


def test_starcoder2_joins_in_random_order_and_rearranges_a_quarter(tmp_path: Path) -> None:
    """Half of the repositories are named, half are candidates, and half of their files."""
    found = join("starcoder2", tmp_path, repositories(1200, 4))
    named = sum(text.startswith("<repo_name>me/") for text in found.texts)
    assert binomtest(named, 1200, 0.5).pvalue > 1e-6
    assert all(text.startswith("<file_sep>") for text in found.texts if "<repo_name>" not in text)
    firsts = found.joined.filter(pl.col("file") == 0)["line"] % 4
    assert all(binomtest(int((firsts == n).sum()), 1200, 0.25).pvalue > 1e-6 for n in range(4))
    gated = found.rows.filter(pl.col("reason") == "gate")["id"].unique()
    assert binomtest(len(gated), 1200, 0.5).pvalue > 1e-6
    found.share(IS_REARRANGED, pl.col("reason").ne_missing("gate"), 0.5)
    found.share(IS_REARRANGED, EVERY, 0.25)
    found.share(pl.col("order") == "psm", IS_REARRANGED, 0.5)
    rearranged = found.rows.filter(IS_REARRANGED)
    assert set(rearranged["split"]) == {"uniform"}
    # A path is cut with its file, and the name is not.
    assert set(found.rows["header_chars"]) == {0}
    assert set(found.rows["path_chars"]) == {0, len("src/0.py\n")}
    assert sum("<fim_prefix><fim_suffix>" in text for text in found.texts) > 300


def test_qwen_rearranges_the_last_file_behind_its_path(tmp_path: Path) -> None:
    found = join("qwen2_5_coder", tmp_path, repositories(1100, 2))
    assert all(text.startswith("<|repo_name|>me/") for text in found.texts)
    last = pl.col("file") == 1
    assert set(found.rows.filter(~last)["reason"]) == {"not_last"}
    found.share(IS_REARRANGED, last, 0.5)
    assert set(found.rows["order"]) == {"none", "psm"}
    assert set(found.rows["header_chars"]) == {len("src/0.py\n")}
    behind_path = sum(".py\n<|fim_prefix|>" in text for text in found.texts)
    assert behind_path == found.rows.filter(IS_REARRANGED).height


@pytest.mark.parametrize(("name", "order"), [("deepseek_coder", "psm"), ("seed_coder", "spm")])
def test_half_of_the_files_behind_what_they_import(tmp_path: Path, name: str, order: str) -> None:
    lines = repositories(550, 2)
    for line, other in zip(lines[::2], lines[1::2], strict=True):
        # The first in order of paths imports the second.
        line["text"] = f"from src import m1\n{line['text']}"
        other["metadata"]["path"] = "src/m1.py"
    found = join(name, tmp_path, lines)
    assert found.joined["line"].to_list()[:4] == [2, 1, 4, 3]
    assert found.joined["place"].to_list()[:2] == ["imports_none", "imports"]
    found.share(IS_REARRANGED, EVERY, 0.5)
    assert set(found.rows["order"]) == {"none", order}
    assert "#src/m1.py\n" in found.texts[0] + found.texts[1] + found.texts[2]
    assert set(found.rows.filter(IS_REARRANGED)["split"]) == {"uniform"}
    assert set(found.rows["path_chars"]) == {len("#src/m1.py\n"), len("#src/0.py\n")}


def test_tokens_of_the_hub_are_pinned() -> None:
    for name in ("starcoder2", "qwen2_5_coder", "deepseek_coder"):
        tokens = load_recipe(name).tokens
        assert tokens.tokenizer.revision is not None
        assert "/" in tokens.tokenizer.name_or_path
        # Qwen's alone normalizes text (NFC), and would be refused.
        assert tokens.allow_lossy == (name == "qwen2_5_coder")


def test_ast_fim_cuts_nine_of_ten_around_syntax() -> None:
    found = realise("ast_fim", [f"{CODE}z = {n}\n" for n in range(8_000)])
    found.share(found.rearranged, np.ones(8_000, np.bool_), 0.5)
    found.share(found.order("psm"), found.rearranged, 0.5)
    found.share(found.split("syntax"), found.rearranged, 0.9)
    assert (found.split("syntax") | found.split("uniform"))[found.rearranged].all()
    assert not found.decisions.reasons[found.rearranged].any()
    found.follows("uniform")


def test_ast_fim_cuts_at_random_characters_what_has_no_grammar() -> None:
    found = realise("ast_fim", numbered(8_000), "COBOL")
    assert (found.split("uniform") == found.rearranged).all()
    found.share(found.reason("no_grammar"), found.rearranged, 0.9)
    found.follows("uniform")
