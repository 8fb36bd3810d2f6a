"""The rates that a recipe asks for, tested: for a partition's check, the report and the metadata.

What a test is stands in `statistics.rates`; how counts come about, in `fim_shards.statistics`.
"""

from collections.abc import Mapping

from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import LanguageRates
from fim_assets.statistics.counts import counted
from fim_assets.statistics.rates import Rate, binomial_rate, sum_rates

RATE_ERROR = 1e-9
"""Probability that a partition with the right rates is refused, shared among its tests."""

DISTINCT = ("distinct_eligible", "distinct_psm", "distinct_spm")
"""Files that could be rearranged, those in PSM and those in SPM order; copies count once."""

_FIRST = ("document_rate", "fim_rate")


def rates(counts: Mapping[str, int], recipe: Recipe) -> dict[str, Rate]:
    """The rates that a recipe asks for, with their bounds.

    Half of `RATE_ERROR` is shared among them, the other half among `rates_by_language`. A
    `fim_rate` by language is the sum of the languages'. `counts` are of a `fim_shards` receipt, or
    the sums of several.
    """
    fim = recipe.fim
    eligible, psm, spm = (counts[name] for name in DISTINCT)
    rearranged = psm + spm
    asked: dict[str, tuple[int, int, float]] = {}
    if fim.document_rate < 1:
        candidates, documents = counts["distinct_candidates"], counts["distinct_documents"]
        asked["document_rate"] = (candidates, documents, fim.document_rate)
    if not isinstance(fim.fim_rate, LanguageRates):
        asked["fim_rate"] = (rearranged, eligible, fim.fim_rate)
    asked["psm_share"] = (psm, rearranged, fim.psm_spm_split)
    if len(fim.weights) > 1:
        for split, weight in fim.weights.items():
            drawn = counts.get(f"distinct_drawn:{split}", 0)
            asked[f"{split}_share"] = (drawn, rearranged, weight)
    error = RATE_ERROR / 2 / len(asked)
    tested = {name: binomial_rate(*numbers, error) for name, numbers in asked.items()}
    if isinstance(fim.fim_rate, LanguageRates):
        nothing = binomial_rate(0, 0, fim.fim_rate.default, error)
        languages = [tests["fim_rate"] for tests in rates_by_language(counts, recipe).values()]
        tested["fim_rate"] = sum_rates(languages) if languages else nothing
    return {name: tested[name] for name in sorted(tested, key=lambda name: name not in _FIRST)}


def rates_by_language(counts: Mapping[str, int], recipe: Recipe) -> dict[str, dict[str, Rate]]:
    """`fim_rate` and `psm_share` of each language, as `rates`; '' is no language named."""
    eligible, psm, spm = (counted(counts, name) for name in DISTINCT)
    error = RATE_ERROR / 4 / max(len(eligible), 1)
    tested = {}
    for language, files in eligible.items():
        rearranged, asked = psm[language] + spm[language], recipe.rate(language)
        tested[language] = {
            "fim_rate": binomial_rate(rearranged, files, asked, error),
            "psm_share": binomial_rate(psm[language], rearranged, recipe.fim.psm_spm_split, error),
        }
    return tested
