"""Tables of numbers and names, as metadata shows them; who draws them knows no stage."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

from fim_assets.wording import shown_language

Record = dict[str, str | int | float | bool | None]
"""A row of a table."""

_LANGUAGES_SHOWN = 50


@dataclass(frozen=True)
class Table:
    """Columns' types by name (`string`, `int` or `float`), and rows, which may leave some out."""

    columns: dict[str, str]
    rows: list[Record] = field(default_factory=list)


def share(part: int, of: int) -> float:
    """A share to six digits, 0 of nothing."""
    return round(part / of, 6) if of else 0.0


def mean(total: int, count: int) -> float:
    """A mean to two digits, 0 of nothing."""
    return round(total / count, 2) if count else 0.0


def language_table(columns: Mapping[str, str], rows: Mapping[str, Record]) -> Table:
    """A row a language, '' for none named; of those after the first ones, how many they are."""
    shown: list[Record] = [
        {"language": shown_language(language), **row}
        for language, row in islice(rows.items(), _LANGUAGES_SHOWN)
    ]
    if len(rows) > _LANGUAGES_SHOWN:
        shown.append({"language": f"({len(rows) - _LANGUAGES_SHOWN:,} more)"})
    return Table({"language": "string", **columns}, shown)


def languages(measures: Mapping[str, Mapping[str, int]]) -> Table:
    """Languages in the order of their first measure, with their share of it."""
    numbers, *_ = measures.values()
    total = sum(numbers.values())
    rows: dict[str, Record] = {
        language: {
            **{measure: counts[language] for measure, counts in measures.items()},
            "share": round(count / total, 4),
        }
        for language, count in sorted(numbers.items(), key=lambda entry: -entry[1])
    }
    columns = {**dict.fromkeys(measures, "int"), "share": "float"}
    return language_table(columns, rows)


def warnings_table(warnings: Iterable[str]) -> Table:
    """Warnings, a row each."""
    return Table({"warning": "string"}, [{"warning": warning} for warning in warnings])
