"""Rates as metadata shows them, of a partition and of the corpus: tables, and numbers to plot."""

from collections.abc import Mapping

from fim_assets.statistics.rates import Rate, verdict
from fim_assets.statistics.tables import Record, Table, language_table


def rates_table(rates: Mapping[str, Rate]) -> Table:
    """Each rate as a share, and the least and the most that its test accepts."""
    columns = {"rate": "string", "asked": "float", "realised": "float", "accepted": "string"}
    columns |= {"verdict": "string", "hits": "int", "trials": "int"}
    rows: list[Record] = [
        {
            "rate": name,
            "asked": round(rate.asked, 4),
            "realised": _rounded(rate.realised),
            "accepted": _accepted(rate),
            "verdict": rate.verdict,
            "hits": rate.hits,
            "trials": rate.trials,
        }
        for name, rate in rates.items()
    ]
    return Table(columns, rows)


def rates_by_language_table(rates: Mapping[str, Mapping[str, Rate]]) -> Table:
    """The rates of each language, those with most files first."""
    columns = {"files": "int", "asked": "float", "fim_rate": "float", "accepted": "string"}
    columns |= {"psm_share": "float", "psm_accepted": "string", "verdict": "string"}
    rows: dict[str, Record] = {}
    for language, tested in sorted(rates.items(), key=lambda entry: -entry[1]["fim_rate"].trials):
        fim, psm = tested["fim_rate"], tested["psm_share"]
        rows[language] = {
            "files": fim.trials,
            "asked": round(fim.asked, 4),
            "fim_rate": _rounded(fim.realised),
            "accepted": _accepted(fim),
            "psm_share": _rounded(psm.realised),
            "psm_accepted": _accepted(psm),
            "verdict": verdict(*tested.values()),
        }
    return language_table(columns, rows)


def realised_shares(rates: Mapping[str, Rate]) -> dict[str, float]:
    """The shares that are plotted, where there is any trial."""
    return {
        f"{name}_realised": round(rate.realised, 6)
        for name, rate in rates.items()
        if rate.realised is not None
    }


def _accepted(rate: Rate) -> str | None:
    return None if rate.accepted is None else "–".join(f"{share:.4f}" for share in rate.accepted)


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)
