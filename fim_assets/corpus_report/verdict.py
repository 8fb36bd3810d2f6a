"""The corpus in one sentence, what is wrong first: for page, card, terminal and metadata."""

from collections.abc import Iterator
from itertools import chain

from fim_assets.corpus_report.summary import Summary
from fim_assets.wording import about, plural


def corpus_verdict(summary: Summary) -> str:
    """How much of the corpus is complete, what it holds, and whether it is as the recipe asks."""
    partitions, totals = summary.partitions, summary.totals
    complete = f"{partitions.complete:,} of {plural(partitions.total, 'partition')} complete"
    if not partitions.complete:
        return f"{complete}, so that there is nothing to count."
    joined = f", {totals.joined_documents:,} when joined," if totals.joined else ""
    held = f"{about(totals.documents, 'document')}{joined} and {about(totals.tokens, 'token')}"
    if totals.rejected:
        held += f", {totals.rejected / (totals.lines - totals.blank):.2%} of the lines rejected"
    if partitions.incomplete:
        clauses = [f"only {complete}, so far {held}", *faults(summary)]
    else:
        clauses = [*faults(summary), f"{complete}, {held}"]
    text = "; ".join(filter(None, [*clauses, " and ".join(_passed(summary))]))
    return f"{text[0].upper()}{text[1:]}."


def faults(summary: Summary) -> Iterator[str]:
    """What is wrong with the complete partitions, in a few words each."""
    outside = {
        "rate": [not rate.within for rate in summary.rates.values()],
        "language": [
            not all(rate.within for rate in its.values())
            for its in summary.rates_by_language.values()
        ],
    }
    for name, those in outside.items():
        if any(those):
            yield f"{sum(those):,} of {plural(len(those), name)} outside its bounds"
    if not summary.checks:
        yield "no check was run"
    elif partly := sum(n < summary.partitions.complete for n in summary.checks.values()):
        yield f"{partly:,} of {plural(len(summary.checks), 'check')} not run on every partition"
    if warnings := summary.warnings:
        yield plural(len(warnings), "warning")


def _passed(summary: Summary) -> Iterator[str]:
    """What is right, in a few words each."""
    checks, languages = summary.checks, summary.rates_by_language.values()
    rates = [*summary.rates.values(), *chain.from_iterable(its.values() for its in languages)]
    if checks and min(checks.values()) == summary.partitions.complete:
        where = " in these" if summary.partitions.incomplete else ""
        yield f"all {plural(len(checks), 'check')} passed{where}"
    if not any(rate.can_fail for rate in rates):
        yield "there are too few files to judge a rate"
    elif all(rate.within for rate in rates):
        yield "each realised rate lies within its bounds"
