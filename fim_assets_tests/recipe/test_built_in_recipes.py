"""Each built-in recipe does what its file states: shares, laws and layouts, numbers spelled out."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binomtest, kstest

from fim_assets.cuts.base import Cuts
from fim_assets.cuts.files import Files
from fim_assets.cuts.registry import CUTS
from fim_assets.draws import document_keys
from fim_assets.fim_shards.decisions import Decisions, decide
from fim_assets.fim_shards.transform import rearranged_texts
from fim_assets.recipe import built_in_recipes, load_recipe

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
    assert built_in_recipes() == ["ast_fim", "olmo_midtraining", "openai_fim", "starcoder2"]


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


def test_starcoder2_gates_repositories_and_leaves_their_names_alone() -> None:
    """Half of the repositories are candidates, and half of their files: a quarter of all."""
    files = "".join(f"<file_sep>{text}" for text in numbered(9))
    named = [f"<repo_name>me/repo-{n}<file_sep>a.py\n{files}" for n in range(6000)]
    unnamed = [f"{files}<file_sep>{n}" for n in range(6000)]
    found = realise("starcoder2", named + unnamed)
    marker = found.reason("repository")
    assert marker.sum() == 6000
    assert all(text.startswith("<repo_name>") for text in np.array(found.files.texts)[marker])
    eligible = ~marker & (found.files.lengths > 0)
    passed = eligible & ~found.reason("gate")
    by_document = np.unique(found.files.documents[passed])
    assert binomtest(len(by_document), 12_000, 0.5).pvalue > 1e-6
    gated = set(found.files.documents[found.reason("gate")].tolist())
    assert gated.isdisjoint(by_document.tolist())
    found.share(found.rearranged, passed, 0.5)
    assert found.rearranged.sum() / eligible.sum() == pytest.approx(0.25, abs=0.02)
    found.share(found.order("psm"), found.rearranged, 0.5)
    assert (found.split("uniform") == found.rearranged).all()
    found.follows("uniform")
    (document, text), *_ = found.texts.items()
    assert "<fim_middle>" in text
    v2 = [t for t in found.texts.values() if "<fim_prefix><fim_suffix>" in t]
    assert len(v2) > 1000
    assert (named + unnamed)[document] != text


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
