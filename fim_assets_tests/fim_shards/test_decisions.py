from collections import Counter
from collections.abc import Sequence
from itertools import combinations, permutations, product
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest, chi2_contingency, chisquare

from fim_assets.cuts.base import LONGER, UNCHANGED
from fim_assets.cuts.files import Files
from fim_assets.cuts.registry import CUTS
from fim_assets.cuts.syntax_tree import find_middle
from fim_assets.draws import document_keys
from fim_assets.fim_shards.decisions import decide
from fim_assets.parsing.grammars import GRAMMARS, find_grammar
from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import Fim

MANY = 30_000
SEPARATOR = "<|file_sep|>"
LINES = "if a:\n  b()\n\nelse:\n  c()\n"
ONE_LINE = "x = f(1)"


def files_of(
    texts: Sequence[str],
    languages: Sequence[str | None] | None = None,
    paths: Sequence[str | None] | None = None,
    separator: str | None = SEPARATOR,
    repository_tokens: Sequence[str] = (),
) -> Files:
    count = len(texts)
    keys = document_keys(1, [str(n) for n in range(count)], texts)
    languages, paths = languages or [None] * count, paths or [None] * count
    return Files.split(texts, keys, languages, paths, separator, repository_tokens)


def fim_of(**fields: Any) -> Fim:
    return Fim.model_validate(fields)


def repositories(texts: Sequence[str], fim: Fim, **about: Any) -> Files:
    return files_of(texts, **about, repository_tokens=fim.repository_tokens)


class Decided:
    """Decisions by name: `orders`, `splits`, `reasons` and (first, second), one a file."""

    def __init__(self, files: Files, fim: Fim) -> None:
        decisions = decide(files, Recipe(fim=fim), None)
        self.orders = decisions.orders
        self.splits, self.reasons = (
            np.array([name or "none" for name in names])
            for names in (decisions.splits, decisions.reasons)
        )
        self.cuts = np.stack(decisions.cuts, axis=1)

    def pairs(self, split: str) -> Counter[tuple[int, int]]:
        return Counter(map(tuple, self.cuts[self.splits == split].tolist()))


def assert_share(hits: int, count: int, rate: float) -> None:
    assert binomtest(int(hits), int(count), rate).pvalue > 1e-6


def assert_follows(drawn: Counter[tuple[int, int]], asked: Counter[tuple[int, int]]) -> None:
    assert set(drawn) <= set(asked)
    pairs, share = sorted(asked), sum(drawn.values()) / sum(asked.values())
    expected = [asked[pair] * share for pair in pairs]
    assert chisquare([drawn[pair] for pair in pairs], expected).pvalue > 1e-6


def enumerated(split: str, text: str) -> Counter[tuple[int, int]]:
    if split == "dolma":
        return Counter((min(p) + 1, max(p) + 1) for p in permutations(range(len(text) - 3), 2))
    if split == "uniform":
        return Counter((min(p), max(p)) for p in product(range(len(text) + 1), repeat=2))
    starts = [0, *(n + 1 for n, character in enumerate(text) if character == "\n")]
    return Counter(combinations(starts, 2))


# Files


def test_files_by_hand() -> None:
    texts = ["a", f"{SEPARATOR}bc{SEPARATOR}{SEPARATOR}é🚀", SEPARATOR]
    files = files_of(texts)
    assert files.texts == ["a", "", "bc", "", "é🚀", "", ""]
    assert files.documents.tolist() == [0, 1, 1, 1, 1, 2, 2]
    assert files.indices.tolist() == [0, 0, 1, 2, 3, 0, 1]
    assert files.lengths.tolist() == [1, 0, 2, 0, 2, 0, 0]
    assert len(set(files.keys.tolist())) == 3
    whole = files_of(texts, separator=None)
    assert whole.texts == texts
    assert whole.indices.tolist() == [0, 0, 0]


def test_no_files() -> None:
    fim = fim_of(fim_rate={"default": 1.0}, split="lines")
    decisions = decide(files_of([]), Recipe(fim=fim), None)
    assert len(decisions.orders) == len(decisions.cuts.first) == 0


# Rates


def test_orders_and_selection_follow_their_rates_and_are_independent() -> None:
    decided = Decided(files_of([LINES] * MANY), fim_of(fim_rate=0.7, psm_spm_split=0.2))
    rearranged = decided.orders != "none"
    assert_share(rearranged.sum(), MANY, 0.7)
    assert_share((decided.orders == "psm").sum(), rearranged.sum(), 0.2)
    assert set(decided.reasons[~rearranged]) == {"not_selected"}
    assert set(decided.reasons[rearranged]) == {"none"}
    assert not decided.cuts[~rearranged].any()
    middles = decided.cuts[rearranged, 0] > len(LINES) // 3
    psm = decided.orders[rearranged] == "psm"
    table = np.histogram2d(middles, psm, bins=2)[0]
    assert chi2_contingency(table).pvalue > 1e-6


def test_rates_by_language() -> None:
    rates = {"Python": 0.2, "C": 0.9, "Go": 0.0, "SQL": 1.0, "default": 0.6}
    names = ["Python", "C", "Go", "SQL", "default", "python", None]
    languages = [names[n % len(names)] for n in range(MANY)]
    decided = Decided(files_of([ONE_LINE] * MANY, languages), fim_of(fim_rate=rates))
    for place, name in enumerate(names):
        rearranged = decided.orders[place :: len(names)] != "none"
        rate = rates.get(name or "", rates["default"])
        assert_share(rearranged.sum(), len(rearranged), rate)
        if rate in (0, 1):
            assert rearranged.mean() == rate


def test_the_gate_is_the_documents_and_the_rate_its_files() -> None:
    """6,000 documents of 5 files: 0.4 are candidates; of their files, 0.7 are rearranged."""
    count, each = MANY // 5, 5
    files = files_of([SEPARATOR.join([ONE_LINE] * each)] * count)
    decided = Decided(files, fim_of(document_rate=0.4, fim_rate=0.7))
    gated = (decided.reasons == "gate").reshape(count, each)
    assert (gated.all(axis=1) | ~gated.any(axis=1)).all()
    candidates = ~gated[:, 0]
    assert_share(candidates.sum(), count, 0.4)
    chosen = (decided.orders != "none").reshape(count, each)
    assert not chosen[~candidates].any()
    assert_share(chosen[candidates].sum(), candidates.sum() * each, 0.7)
    # Within a candidate the files are independent: how many are chosen is binomial.
    found = np.bincount(chosen[candidates].sum(axis=1), minlength=each + 1)
    binomial = np.array([1, 5, 10, 10, 5, 1]) * 0.7 ** np.arange(6) * 0.3 ** np.arange(5, -1, -1)
    assert chisquare(found, binomial * candidates.sum()).pvalue > 1e-6


def test_gates_of_zero_and_one() -> None:
    files = files_of([ONE_LINE] * 1000)
    assert set(Decided(files, fim_of(document_rate=0.0, fim_rate=1.0)).reasons) == {"gate"}
    assert set(Decided(files, fim_of(document_rate=1.0, fim_rate=1.0)).reasons) == {"none"}


# Unchanged files


@pytest.mark.parametrize("place", ["{}name", "name{}", "na{}me", "{}", "long{}" + "x" * 50])
def test_a_repositorys_marker_is_never_rearranged(place: str) -> None:
    fim = fim_of(fim_rate=1.0, repository_tokens=["<repo_name>", "<repo_url>"])
    for token in fim.repository_tokens:
        for at in range(3):
            pieces = [ONE_LINE] * 3
            pieces[at] = place.format(token)
            decided = Decided(repositories([SEPARATOR.join(pieces)] * 50, fim), fim)
            for row in range(150):
                unchanged = row % 3 == at
                assert (decided.orders[row] == "none") == unchanged
                assert decided.reasons[row] == ("repository" if unchanged else "none")


def test_reasons_hold_in_their_order() -> None:
    """A marker, a short file and an ordinary one, under rates that keep fewer unchanged."""
    texts = ["<repo_name>", "<repo_name>long enough", "abcd", "", "abcde"]
    tokens = {"repository_tokens": ["<repo_name>"]}
    for fields, last in (
        ({"document_rate": 0.0, "fim_rate": 0.0}, "gate"),
        ({"fim_rate": 0.0}, "not_selected"),
        ({"fim_rate": 1.0}, "none"),
    ):
        fim = fim_of(**tokens, **fields)
        decided = Decided(repositories(texts, fim), fim)
        expected = ["repository", "repository", "too_short", "too_short", last]
        assert decided.reasons.tolist() == expected
    assert UNCHANGED == ("repository", "too_short", "not_last", "gate", LONGER, "not_selected")


@pytest.mark.parametrize(
    ("split", "fallback", "shortest"),
    [
        ("dolma", "dolma", 5),
        ("uniform", "uniform", 1),
        ("lines", "uniform", 1),
        ("lines", "dolma", 5),
        ({"uniform": 0.999, "dolma": 0.001}, "uniform", 5),
        ({"uniform": 0.999, "lines": 0.001}, "dolma", 5),
    ],
)
def test_too_short_is_decided_before_any_draw(
    split: str | dict[str, float], fallback: str, shortest: int
) -> None:
    fim = fim_of(fim_rate=1.0, split=split, split_fallback=fallback)
    for chars in (0, 1, 4, 5):
        decided = Decided(files_of(["é" * chars] * 500), fim)
        assert set(decided.reasons == "too_short") == {chars < shortest}
        assert set(decided.orders == "none") == {chars < shortest}


# Cut methods


def syntax_cuts(key: int, file: int) -> tuple[int, int]:
    """Where `syntax` cuts `LINES` as Python; all of it is ASCII."""
    python = find_grammar("Python", None)
    assert python is not None
    return find_middle(LINES.encode(), GRAMMARS[python], key, file)


def test_weights_give_each_method_its_share_and_leave_its_cuts_as_they_are() -> None:
    weights = {"dolma": 0.3, "uniform": 0.25, "lines": 0.43, "syntax": 0.02}
    files = files_of([LINES] * MANY, ["Python"] * MANY)
    decided = Decided(files, fim_of(fim_rate=1.0, split=weights))
    found = Counter(decided.splits.tolist())
    assert set(found) == set(weights)
    expected = [weight * MANY for weight in weights.values()]
    assert chisquare([found[split] for split in weights], expected).pvalue > 1e-6
    for split in ("dolma", "uniform", "lines"):
        assert_follows(decided.pairs(split), enumerated(split, LINES))
    assert set(decided.reasons) == {"none"}
    for row in np.flatnonzero(decided.splits == "syntax").tolist():
        key = int(files.keys[row])
        assert tuple(decided.cuts[row]) == syntax_cuts(key, 0)


def test_methods_are_drawn_independently_of_orders_and_selection() -> None:
    fim = fim_of(fim_rate=0.5, split={"dolma": 0.5, "uniform": 0.5})
    decided = Decided(files_of([ONE_LINE] * MANY), fim)
    table = [
        [((decided.orders == order) & (decided.splits == split)).sum() for order in ("psm", "spm")]
        for split in ("dolma", "uniform")
    ]
    assert np.sum(table) == (decided.orders != "none").sum()
    assert chi2_contingency(table).pvalue > 1e-6


@pytest.mark.parametrize("fallback", ["dolma", "uniform"])
@pytest.mark.parametrize(("split", "reason"), [("lines", "one_line"), ("syntax", "no_grammar")])
def test_the_fallback_follows_its_own_distribution(split: str, reason: str, fallback: str) -> None:
    fim = fim_of(fim_rate=1.0, split=split, split_fallback=fallback)
    decided = Decided(files_of([ONE_LINE] * MANY), fim)
    assert set(decided.splits) == {fallback}
    assert set(decided.reasons) == {reason}
    assert_share((decided.orders == "psm").sum(), MANY, 0.5)
    assert_follows(decided.pairs(fallback), enumerated(fallback, ONE_LINE))


def test_every_fallback_is_named() -> None:
    texts = ["one", LINES, LINES + " " * 900, "x=>" * 250, "(((((((((", " \n \n "]
    languages = ["Python", "COBOL", "Python", "C", "C", "Python"]
    fim = fim_of(fim_rate=1.0, split="syntax", split_fallback="uniform", syntax_max_bytes=900)
    decided = Decided(files_of(texts, languages), fim)
    reasons = ["none", "no_grammar", "too_large", "repetitive", "syntax_errors", "no_node"]
    assert decided.reasons.tolist() == reasons
    assert decided.splits.tolist() == ["syntax"] + ["uniform"] * 5
    others = {"one_line", "too_complex", "parser_crashed", "no_lines_fit", "no_node_fits"}
    assert others | {*reasons[1:]} == CUTS.reason_texts().keys()


def test_too_large_counts_bytes_and_the_limit_itself_is_served() -> None:
    source = "x = 'ü'\n"
    assert len(source.encode()) == 9
    for limit, reason in ((8, "too_large"), (9, "none")):
        fim = fim_of(fim_rate=1.0, split="syntax", syntax_max_bytes=limit)
        assert Decided(files_of([source], ["Python"]), fim).reasons.tolist() == [reason]


@pytest.mark.parametrize("text", ["one line", "one line\n", "\n", "é\r\n"])
def test_one_line_has_no_place_to_cut(text: str) -> None:
    decided = Decided(
        files_of([text]), fim_of(fim_rate=1.0, split="lines", split_fallback="uniform")
    )
    assert decided.reasons.tolist() == ["one_line"]
    assert decided.splits.tolist() == ["uniform"]


def test_only_the_drawn_method_of_a_mixture_falls_back() -> None:
    fim = fim_of(fim_rate=1.0, split={"lines": 0.5, "uniform": 0.5}, split_fallback="dolma")
    decided = Decided(files_of([ONE_LINE] * MANY), fim)
    fallen = decided.reasons == "one_line"
    assert_share(fallen.sum(), MANY, 0.5)
    assert set(decided.splits[fallen]) == {"dolma"}
    assert set(decided.splits[~fallen]) == {"uniform"}


def test_a_path_that_begins_a_repositorys_file_is_no_code() -> None:
    """After a marker, the first line's ending tells the language, whatever the document's is."""
    path = "src/ünï🚀.py"
    text = SEPARATOR.join(["<repo_name>a/b", f"{path}\n{LINES}", f"a.cob\n{LINES}", path])
    fim = fim_of(fim_rate=1.0, split="syntax", repository_tokens=["<repo_name>"])
    files = repositories([text] * 100, fim, languages=["C"] * 100, paths=["x.c"] * 100)
    decided = Decided(files, fim)
    assert decided.reasons.reshape(100, 4)[0].tolist() == [
        *("repository", "none", "no_grammar", "no_node")
    ]
    before = len(path) + 1
    for row in range(1, 400, 4):
        expected = syntax_cuts(int(files.keys[row]), 1)
        assert tuple(decided.cuts[row] - before) == expected


def test_without_a_marker_the_documents_language_and_path_tell() -> None:
    text = SEPARATOR.join([LINES, LINES])
    fim = fim_of(fim_rate=1.0, split="syntax", repository_tokens=["<repo_name>"])
    for language, path, reason in (
        ("Python", None, "none"),
        (None, "a.py", "none"),
        ("COBOL", "a.py", "none"),
        (None, None, "no_grammar"),
    ):
        files = repositories([text] * 10, fim, languages=[language] * 10, paths=[path] * 10)
        decided = Decided(files, fim)
        assert set(decided.reasons) == {reason}
