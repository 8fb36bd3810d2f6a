"""Rows of numbers as a table in the terminal."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from fim_assets_tests.benchmarks.measure import Row

_WIDTH_OF_LOGS = 130


def console() -> Console:
    """The terminal, or a log that is wide enough."""
    return Console(width=None if sys.stdout.isatty() else _WIDTH_OF_LOGS)


def print_rows(console: Console, title: str, rows: Sequence[Row]) -> None:
    """Print them, a column a number, an empty cell where a row has none."""
    columns = list(dict.fromkeys(column for row in rows for column in row.numbers))
    table = Table(title=title, title_justify="left")
    table.add_column("", overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    if any(row.remark for row in rows):
        table.add_column("", overflow="fold")
    for row in rows:
        table.add_row(row.name, *(_cell(row, column) for column in columns), row.remark)
    console.print(table)


def _cell(row: Row, column: str) -> str:
    if column not in row.numbers:
        return ""
    number = row.numbers[column]
    if number is None:
        return "unknown"
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:,.2f}"
