"""The corpus in one sentence: every branch of it, by the numbers that it says."""

from typing import Any

import pytest

from fim_assets.corpus_report.gather import build_summary
from fim_assets.corpus_report.summary import CorpusTotals, Partitions, Summary
from fim_assets.corpus_report.verdict import corpus_verdict, faults
from fim_assets.recipe import Recipe
from fim_assets.statistics.rates import binomial_rate
from fim_assets_tests.corpora import corpus_of

WITHIN, OUTSIDE, FEW = (binomial_rate(*hits, 0.5, 1e-9) for hits in ((99, 200), (0, 200), (1, 2)))
FINE = {
    "partitions": Partitions(total=8, complete=8, incomplete={}, empty=[]),
    "checks": {"rates": 8, "lossless": 8},
    "totals": CorpusTotals(lines=1888, documents=1888, tokens=7_764_499),
    "rates": {"fim_rate": WITHIN, "psm_share": FEW},
    "rates_by_language": {"C": {"fim_rate": WITHIN}, "Ada": {"fim_rate": FEW}},
}

ADA = Recipe.model_validate({"fim": {"fim_rate": {"Ada": 1, "default": 0}}})


@pytest.fixture(scope="module")
def nothing(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """The summary of a corpus without a partition."""
    return build_summary(corpus_of(Recipe(), tmp_path_factory.mktemp("nothing")), [])


def test_without_a_complete_partition_there_is_nothing_to_count(nothing: Summary) -> None:
    assert (
        corpus_verdict(nothing) == "0 of 0 partitions complete, so that there is nothing to count."
    )


def test_what_is_right_is_said_with_what_there_is(nothing: Summary) -> None:
    assert corpus_verdict(nothing.model_copy(update=FINE)) == (
        "8 of 8 partitions complete, 1,888 documents and 7.8 M tokens; "
        "all 2 checks passed and each realised rate lies within its bounds."
    )


@pytest.mark.parametrize(
    ("what", "found"),
    [
        ({"rates": {"fim_rate": OUTSIDE, "psm_share": WITHIN}}, "1 of 2 rates outside"),
        ({"rates_by_language": {"C": {"a": WITHIN, "b": OUTSIDE}}}, "1 of 1 language outside"),
        ({"checks": {}}, "no check"),
        ({"checks": {"rates": 8, "lossless": 3}}, "1 of 2 checks"),
        ({"recipe": ADA, "languages": {"C": 1}}, "1 warning"),
    ],
)
def test_what_is_wrong_comes_first(nothing: Summary, what: dict[str, Any], found: str) -> None:
    summary = nothing.model_copy(update=FINE | what)
    [fault] = faults(summary)
    assert fault.startswith(found)
    said = corpus_verdict(summary)
    assert said.startswith(found if found[0] != "n" else "No check")
    assert "8 of 8 partitions complete, 1,888 documents" in said
    assert ("passed" in said) == ("checks" not in what)
    assert ("each realised rate" in said) == (not what.keys() & {"rates", "rates_by_language"})


def test_incomplete_partitions_come_before_all_else(nothing: Summary) -> None:
    partitions = Partitions(total=3, complete=2, incomplete={"c": "missing"}, empty=[])
    totals = CorpusTotals(lines=210, blank=10, rejected=50, documents=150, tokens=1)
    update = {"partitions": partitions, "totals": totals, "checks": {"rates": 2}}
    outside = {"rates": {"fim_rate": OUTSIDE}}
    assert corpus_verdict(nothing.model_copy(update=FINE | update | outside)) == (
        "Only 2 of 3 partitions complete, so far 150 documents and 1 token, "
        "25.00% of the lines rejected; 1 of 1 rate outside its bounds; all 1 check passed in these."
    )


def test_documents_are_counted_before_and_after_they_are_joined(nothing: Summary) -> None:
    joined = {"totals": CorpusTotals(lines=100, documents=100, joined=90, tokens=5)}
    said = corpus_verdict(nothing.model_copy(update=FINE | joined))
    assert "complete, 100 documents, 10 when joined, and 5 tokens; all" in said


def test_few_files_judge_nothing(nothing: Summary) -> None:
    few = {"rates": {"fim_rate": FEW}, "rates_by_language": {}}
    said = corpus_verdict(nothing.model_copy(update=FINE | few))
    assert said.endswith("all 2 checks passed and there are too few files to judge a rate.")
