"""Rates as metadata shows them, of a partition and of the corpus: tables, and numbers to plot."""

from collections.abc import Mapping

from fim_assets.statistics.rates import Rate, deviation, verdict
from fim_assets.statistics.tables import Record, Table, language_table

ByLanguage = Mapping[str, Mapping[str, Rate]]
"""The rates of each language, as `rates_by_language` gives them."""


def rates_table(rates: Mapping[str, Rate], by_language: ByLanguage) -> Table:
    """Each rate as a share of its trials, and the least and the most that its test accepts."""
    columns = {"rate": "string", "asked": "float", "realised": "float", "of": "int"}
    columns |= {"deviation": "string", "accepted": "string", "verdict": "string"}
    rows: list[Record] = [
        {
            "rate": name,
            "asked": round(rate.asked, 4),
            "realised": _rounded(rate.realised),
            "of": rate.trials,
            "deviation": _sigmas(_deviation(name, rate, by_language)),
            "accepted": _accepted(rate),
            "verdict": rate.verdict,
        }
        for name, rate in rates.items()
    ]
    return Table(columns, rows)


def totals_table(rates: Mapping[str, Rate], by_language: ByLanguage) -> Table:
    """The same of the corpus in fewer columns, for a narrower page."""
    columns = {"rate": "string", "asked": "float", "realised": "string", "accepted": "string"}
    rows: list[Record] = [
        row | {"realised": " ".join(str(row[n]) for n in ("realised", "deviation") if row[n])}
        for row in rates_table(rates, by_language).rows
    ]
    return Table(columns, rows)


def rates_by_language_table(rates: ByLanguage) -> Table:
    """The rates of each language, those with most files first."""
    columns = {"files": "int", "asked": "float", "fim_rate": "float", "deviation": "string"}
    columns |= {"psm_share": "float", "verdict": "string"}
    rows: dict[str, Record] = {}
    for language, tested in sorted(rates.items(), key=lambda entry: -entry[1]["fim_rate"].trials):
        fim, psm = tested["fim_rate"], tested["psm_share"]
        rows[language] = {
            "files": fim.trials,
            "asked": round(fim.asked, 4),
            "fim_rate": _rounded(fim.realised),
            "deviation": _sigmas(deviation(fim)),
            "psm_share": _rounded(psm.realised),
            "verdict": verdict(*tested.values()),
        }
    return language_table(columns, rows)


def plotted_rates(rates: Mapping[str, Rate], by_language: ByLanguage) -> dict[str, float]:
    """Each rate's realised share and its deviation, where it has them."""
    numbers: dict[str, float] = {}
    for name, rate in rates.items():
        if rate.realised is not None:
            numbers[f"{name}_realised"] = round(rate.realised, 6)
        if (sigmas := _deviation(name, rate, by_language)) is not None:
            numbers[f"{name}_deviation"] = round(sigmas, 2)
    return numbers


def _deviation(name: str, rate: Rate, by_language: ByLanguage) -> float | None:
    """A rate's deviation; languages may be asked for different shares of their files."""
    of_languages = [tested["fim_rate"] for tested in by_language.values()]
    return deviation(*of_languages) if name == "fim_rate" else deviation(rate)


def _sigmas(standard_deviations: float | None) -> str | None:
    if standard_deviations is None:
        return None
    return f"{standard_deviations:+.1f} σ".replace("-", "−")


def _accepted(rate: Rate) -> str | None:
    return None if rate.accepted is None else "–".join(f"{share:.4f}" for share in rate.accepted)


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)
