"""Rows of numbers as a table in the terminal."""

import sys
from collections.abc import Sequence
from math import isnan

from rich.console import Console
from rich.table import Table

from fim_assets_tests.benchmarks.measure import Figure, Row

_WIDTH_OF_LOGS = 150


def console() -> Console:
    """The terminal, or a log that is wide enough."""
    return Console(width=None if sys.stdout.isatty() else _WIDTH_OF_LOGS)


def print_rows(console: Console, title: str, rows: Sequence[Row]) -> None:
    """Print them, a column a number, an empty cell where a row has none."""
    columns = list(dict.fromkeys(column for row in rows for column in row.numbers))
    table = Table(title=title, title_justify="left")
    table.add_column("", overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", overflow="fold")
    remarks = any(row.remark for row in rows)
    if remarks:
        table.add_column("", overflow="fold")
    for row in rows:
        remark = [row.remark] if remarks else []
        table.add_row(row.name, *(_cell(row, column) for column in columns), *remark)
    console.print(table)


def _cell(row: Row, column: str) -> str:
    if column not in row.numbers:
        return ""
    number = row.numbers[column]
    if not isinstance(number, Figure):
        return _text(number)
    median, least, most = map(_text, number)
    return median if least == most else f"{median} ({least}–{most})"


def _text(number: float | None) -> str:
    if number is None or isnan(number):
        return "unknown"
    # Three digits, as far as they stand behind the point.
    return f"{number:,.{max(0, 2 - (abs(number) >= 10) - (abs(number) >= 100))}f}"
