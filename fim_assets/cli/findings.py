"""What was found before a run: findings and an estimate, as values and for the terminal."""

from dataclasses import dataclass, field
from typing import Literal

import humanize
from rich.table import Table
from rich.text import Text

from fim_assets.cli.estimate import FEW_DOCUMENTS, Estimate
from fim_assets.wording import escape_control_characters, escape_to_one_line, file_size, plural

Mark = Literal["ok", "look", "mend"]


@dataclass(frozen=True)
class Finding:
    """What was found.

    Attributes:
        mark: `ok`; `look`, a warning; or `mend`, without which no run can start.
        part: What was looked at.
        text: What it is like.
        advice: What to do; empty where there is nothing to.
    """

    mark: Mark
    part: str
    text: str
    advice: str = ""


@dataclass
class Report:
    """All that was found; filled while it is looked at.

    Attributes:
        can_start: Whether a run can start.
        findings: In the order of looking.
        estimate: What a run would take, None where it cannot be told.
    """

    can_start: bool = True
    findings: list[Finding] = field(default_factory=list)
    estimate: Estimate | None = None

    @property
    def verdict(self) -> str:
        """In one sentence."""
        mend, look = (
            sum(finding.mark == mark for finding in self.findings) for mark in ("mend", "look")
        )
        warnings = plural(look, "warning")
        if mend:
            more = f", and {warnings}" if look else ""
            return f"No run can start: {mend} to mend{more}."
        return f"A run can start{f', with {warnings}' if look else ''}."


_SIGNS: dict[Mark, tuple[str, str]] = {
    "ok": ("✓", "green"),
    "look": ("!", "yellow"),
    "mend": ("✗", "red"),
}


def render_finding(finding: Finding, in_columns: bool) -> Table | Text:
    """A finding for the terminal: a mark, a word, what it is about, and what to do.

    Args:
        finding: It.
        in_columns: Whether long ones are folded; else each stands on one line.
    """
    sign, colour = _SIGNS[finding.mark]
    mark = Text(f"{sign} {finding.mark:<4}", colour)
    text = Text(escape_control_characters(finding.text))
    if not in_columns:
        arrow = f"  → {finding.advice}" if finding.advice and finding.mark != "ok" else ""
        line = f"  {finding.part:<10} {escape_to_one_line(finding.text + arrow)}"
        return Text.assemble(mark, line)
    if finding.advice and finding.mark != "ok":
        text = Text.assemble(
            text, "\n", ("→ ", colour), (escape_control_characters(finding.advice), "bold")
        )
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, min_width=9)
    table.add_column(overflow="fold")
    table.add_row(mark, Text(finding.part, "bold"), text)
    return table


def render_estimate(reckoned: Estimate) -> Table:
    """An estimate for the terminal, with its basis."""
    disk = ", ".join(f"{asset} {file_size(size)}" for asset, size in reckoned.disk_bytes.items())
    minutes = humanize.precisedelta(round(reckoned.seconds), minimum_unit="seconds", format="%.0f")
    workers = plural(reckoned.workers, "worker")
    rows = {
        "documents": f"{reckoned.documents:,}, {file_size(reckoned.text_bytes)} of text",
        "tokens": f"{reckoned.tokens:,}",
        "disk": f"{file_size(sum(reckoned.disk_bytes.values()))}: {disk}",
        "scratch": f"{file_size(reckoned.scratch_bytes)} while it runs",
        "time": f"{minutes} with {workers}",
    }
    if reckoned.bytes_per_second is not None:
        rows["time"] += f" of {file_size(reckoned.bytes_per_second)} of text a second"
        if reckoned.largest_share * reckoned.workers > 1.5:
            rows["time"] += (
                f"; the largest shard holds {reckoned.largest_share:.0%}, which one worker does "
                "alone: cut it in several"
            )
    rough = reckoned.of_documents < min(FEW_DOCUMENTS, reckoned.documents)
    kind = "Rough estimate" if rough else "Estimate"
    table = Table.grid(padding=(0, 2, 0, 0))
    table.title = Text(
        f"{kind}, from {plural(reckoned.of_documents, 'document')} of "
        f"{plural(reckoned.of_shards, 'shard')} ({file_size(reckoned.of_bytes)} of text)",
        "bold",
    )
    table.title_justify = "left"
    for name, value in rows.items():
        table.add_row(Text(f"  {name}"), Text(value))
    return table
