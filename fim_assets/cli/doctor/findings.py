"""Findings and the estimate, as values and for the terminal, and what findings are made of."""

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from logging.handlers import BufferingHandler
from typing import Any, Literal

import humanize
import yaml
from rich.console import Group
from rich.table import Table
from rich.text import Text

from fim_assets.cli.doctor.estimate import FEW_DOCUMENTS, Estimate
from fim_assets.errors import UserError
from fim_assets.wording import escape_control_characters, escape_to_one_line, file_size, plural

Mark = Literal["ok", "look", "mend"]
"""Recorded in the JSON of `doctor --json`: fine, a warning, and an error that lets no run start."""

_SIGNS = {"ok": ("✓", "green"), "look": ("!", "yellow"), "mend": ("✗", "red")}


@dataclass(frozen=True)
class Finding:
    """The state of one part of what a run needs, and what to do if it is not in order.

    `recipe` is what a recipe should say, as a part of it.
    """

    mark: Mark
    part: str
    text: str
    advice: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Report:
    """All findings, taken one by one; no estimate where none can be made."""

    can_start: bool = True
    findings: list[Finding] = field(default_factory=list)
    estimate: Estimate | None = None

    def add(self, finding: Finding) -> None:
        """Take one more finding into account."""
        self.findings.append(finding)
        self.can_start = self.can_start and finding.mark != "mend"

    @property
    def verdict(self) -> str:
        """Whether a run can start, in one sentence."""
        marks = [finding.mark for finding in self.findings]
        errors, warnings = marks.count("mend"), plural(marks.count("look"), "warning")
        if errors:
            more = f", and {warnings}" if "look" in marks else ""
            return f"No run can start: {errors} to mend{more}."
        return f"A run can start{f', with {warnings}' if 'look' in marks else ''}."


def error_finding(part: str, error: Exception, advice: str = "") -> Finding:
    """An error that lets no run start, with advice for where it has none of its own."""
    if isinstance(error, UserError):
        return Finding("mend", part, error.message, error.advice or advice)
    return Finding("mend", part, str(error), advice)


@contextmanager
def log_records(logger: str, level: int) -> Iterator[list[logging.LogRecord]]:
    """Collect what is logged meanwhile, from a level on, instead of showing it."""
    source, collector = logging.getLogger(logger), BufferingHandler(sys.maxsize)
    before = source.level
    collector.setLevel(level)
    source.addHandler(collector)
    source.setLevel(level)
    try:
        yield collector.buffer
    finally:
        source.removeHandler(collector)
        source.setLevel(before)


def render_finding(finding: Finding, in_columns: bool) -> Table | Text | Group:
    """A finding for the terminal: in columns, where a long one is folded, or on one line.

    What a recipe should say can be copied: in columns it begins its lines, as YAML does.
    """
    sign, colour = _SIGNS[finding.mark]
    mark = Text(f"{sign} {finding.mark:<4}", colour)
    advice = finding.advice if finding.mark != "ok" else ""
    if not in_columns:
        line = finding.text.replace(":\n", ": ").replace("\n", "; ")
        line += f"  → {advice}" if advice else ""
        if finding.recipe:
            line += f" {_yaml(finding.recipe, on_one_line=True)[1:-1]}"
        return Text.assemble(mark, f"  {finding.part:<10} {escape_to_one_line(line)}")
    text = Text(escape_control_characters(finding.text))
    if advice:
        text.append("\n").append("→ ", colour).append(escape_control_characters(advice), "bold")
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, min_width=9)
    table.add_column(overflow="fold")
    table.add_row(mark, Text(finding.part, "bold"), text)
    return Group(table, Text(_yaml(finding.recipe), "bold")) if finding.recipe else table


def _yaml(recipe: Mapping[str, Any], *, on_one_line: bool = False) -> str:
    """A part of a recipe, in ASCII: what else a name holds is escaped."""
    return yaml.safe_dump(
        dict(recipe), default_flow_style=on_one_line, sort_keys=False, width=sys.maxsize
    ).strip()


def render_estimate(estimate: Estimate) -> Table:
    """An estimate for the terminal, with its basis."""
    disk = ", ".join(f"{asset} {file_size(size)}" for asset, size in estimate.disk_bytes.items())
    minutes = humanize.precisedelta(
        60 * round(estimate.seconds / 60), minimum_unit="minutes", format="%.0f"
    )
    duration = f"about {minutes}" if estimate.seconds >= 60 else "under a minute"
    workers = plural(estimate.workers, "worker")
    rows = {
        "documents": f"{estimate.documents:,}, {file_size(estimate.text_bytes)} of text",
        "tokens": f"{estimate.tokens:,}",
        "disk": f"{file_size(sum(estimate.disk_bytes.values()))}: {disk}",
        "scratch": f"{file_size(estimate.scratch_bytes)} of temporary files while it runs",
        "time": f"{duration} with {workers}",
    }
    if estimate.bytes_per_second is not None:
        rows["time"] += f" of {file_size(estimate.bytes_per_second)} of text a second"
        if estimate.largest_share * estimate.workers > 1.5:
            part = f"{estimate.largest_share:.0%}, which one worker does alone"
            rows["time"] += f"; the largest shard holds {part}: cut it in several"
            rows["time"] += " (where collect wrote it: by a smaller --shard-size)"
    rough = estimate.of_documents < min(FEW_DOCUMENTS, estimate.documents)
    kind = "Rough estimate" if rough else "Estimate"
    sample = f"{plural(estimate.of_documents, 'document')} of {plural(estimate.of_shards, 'shard')}"
    table = Table.grid(padding=(0, 2, 0, 0))
    table.title = Text(f"{kind}, from {sample} ({file_size(estimate.of_bytes)} of text)", "bold")
    table.title_justify = "left"
    for name, value in rows.items():
        table.add_row(Text(f"  {name}"), Text(value))
    return table
