"""`python -m fim_assets_tests.faults [--times N]`: put every fault in, print what came of it."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from fim_assets.stages import ASSETS
from fim_assets_tests.faults import scenarios
from fim_assets_tests.faults.broken import SHARDS
from fim_assets_tests.faults.corpus import FaultCorpus
from fim_assets_tests.faults.run import NO_LOCKS
from fim_assets_tests.faults.scenarios import Finding

_WIDTH = 200
_SEEN = 200


def main() -> int:
    """Print the table; the exit status is 1 if anything was lost, wrong or not told."""
    parser = argparse.ArgumentParser("fim_assets_tests.faults", description=__doc__)
    parser.add_argument("--times", type=int, default=20, help="how often a run is killed, an asset")
    times: int = parser.parse_args().times
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    findings: list[Finding] = []
    with (
        tempfile.TemporaryDirectory(prefix="faults-") as folder,
        Progress(console=console, transient=True) as progress,
    ):
        corpus = FaultCorpus(Path(folder))
        faults = list(_faults(corpus, Path(folder) / "disk", times))
        for fault in progress.track(faults, description="faults"):
            try:
                findings.append(fault())
            except PermissionError as error:
                console.print(f"not possible here: {error}", markup=False)
            shown = (folder, "…")
    console.print(_table(findings, *shown))
    bad = [f for f in findings if f.unnoticed or any(vars(f.damage).values())]
    console.print(
        f"{sum(f.injected for f in findings):,} faults, {len(bad)} kinds with a fault of ours"
    )
    return 1 if bad else 0


def _faults(corpus: FaultCorpus, disk: Path, times: int) -> Iterator[Callable[[], Finding]]:
    for asset in ASSETS:
        yield partial(scenarios.killed, corpus, asset, times, seed=1)
    yield partial(scenarios.killed_often, corpus, times, seed=2)
    yield partial(scenarios.dead_run, corpus, max(1, times // 10), seed=3)
    for ask in scenarios.ASKS:
        yield partial(scenarios.told_to_end, disk.parent, ask, max(1, times // 2), seed=4)
    for again in (False, True):
        yield partial(scenarios.worker_killed, corpus, max(1, times // 5), again=again)
    yield partial(scenarios.grammar_crashes, disk.with_name("grammar"))
    yield partial(scenarios.full_disk, corpus, disk, times)
    yield partial(scenarios.limited_files, corpus, times)
    yield partial(scenarios.read_only, corpus, disk)
    for no_locks in (None, *NO_LOCKS):
        yield partial(scenarios.two_at_once, corpus, max(1, times // 2), no_locks)
    for name, change in scenarios.CHANGES.items():
        yield partial(scenarios.damaged_at_rest, corpus, change, name)
    yield partial(scenarios.shard_replaced, corpus)
    yield partial(scenarios.too_many_rejected, corpus)
    yield partial(scenarios.long_runs, corpus)
    yield partial(scenarios.address_space, corpus, times)
    yield partial(scenarios.other_encodings, corpus)
    for name in SHARDS:
        yield partial(scenarios.broken_shard, corpus, name)


def _table(findings: list[Finding], folder: str, shown: str) -> Table:
    table = Table(title="faults", title_justify="left", box=box.SIMPLE_HEAD, collapse_padding=True)
    table.add_column("fault", max_width=42, overflow="fold")
    for column in ("times", "documents\nlost", "bytes\nwrong", "files\nleft", "not\ntold"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("what the user sees", overflow="fold")
    for finding in findings:
        damage = finding.damage
        numbers = (finding.injected, damage.lost, damage.wrong, damage.left, finding.unnoticed)
        seen = " ".join(finding.seen.replace(folder, shown).split())[:_SEEN]
        table.add_row(Text(finding.fault), *(f"{number:,}" for number in numbers), Text(seen))
    return table


if __name__ == "__main__":
    sys.exit(main())
