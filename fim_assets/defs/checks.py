"""Asset checks: one an asset and run, whose verdict names what failed of which partition.

It has no partitions of its own: for each, Dagster would store the list of all, so that ten thousand
partitions cost two gigabytes of database and of memory before any work begins. What each partition
passed is in its materialization's metadata and in its receipt.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from fim_assets.corpus.corpus import Corpus
from fim_assets.cuts.registry import CUTS
from fim_assets.defs.metadata import table
from fim_assets.run.partition import StageOutcome
from fim_assets.statistics.tables import Record, Table

_NAME = "sound"
_FAULTS_SHOWN = 20


def _looked_at() -> dict[str, str]:
    """Which of a check's numbers say how much it looked at, added up over the partitions."""
    return {
        **{name: name for name in ("documents", "files", "tokens", "chars", "arrays")},
        "psm": "files in PSM",
        "spm": "files in SPM",
        "fim_rate_trials": "files long enough to cut",
        **{f"{name}_files": f"files cut by {name}" for name in CUTS.rank_functions()},
        "other_files": "files cut by what their text is",
        "passed_over": "documents passed over",
    }


_IF_ONE_FAILS = """
Where no probability is named, a correct partition never fails. Every partition is checked before
its receipt is written, and there is one verdict a run. Where a check fails, the partition does not
count as finished and no later stage sees it. Then:

1. `faults` names the partition, the check and what was found first; so does the run's log.
2. `fim-assets preview <partition>` shows what the recipe does to a document of it, and
   `fim-assets verify <partition>` whether its files are still what their receipts say.
3. Materialize the partition again. If it fails again, the fault is the program's: please report it,
   with what was found.
"""


def check_specs(corpus: Corpus, keys: Mapping[str, dg.AssetKey]) -> dict[str, dg.AssetCheckSpec]:
    """The blocking check of each stage that has checks, by the stage's name.

    The assets' own step runs them and stops a shard whose check fails: over a range, Dagster by
    itself would gate either nothing or every partition.
    """
    return {
        stage.name: dg.AssetCheckSpec(
            _NAME,
            asset=keys[stage.name],
            description="\n".join(f"- **{c.name}**: {c.description}" for c in checks)
            + f"\n{_IF_ONE_FAILS}",
            blocking=True,
        )
        for stage in corpus.stages
        if (checks := stage.checks_of(corpus.recipe))
    }


@dataclass
class Verdict:
    """What a run's checks of one asset say, partition by partition.

    Attributes:
        passed: Partitions that passed, now or when they were made.
        before: Those that were complete and unchanged: their receipts name what they passed.
        by_check: Of each check, how many partitions passed or failed it, and what it looked at.
        faults: The faults of the first partitions that failed.
    """

    passed: int = 0
    before: int = 0
    by_check: dict[str, Counter[str]] = field(default_factory=dict)
    faults: list[Record] = field(default_factory=list)

    def add(self, key: str, stage: StageOutcome) -> None:
        """Take one more partition into account."""
        if stage.skipped and stage.receipt is not None:
            self.before += 1
            for name in stage.receipt.made.checks:
                self.by_check.setdefault(name, Counter()).update(["passed", "before"])
        self.passed += all(check.passed for check in stage.checks)
        looked_at = _looked_at()
        for check in stage.checks:
            counts = self.by_check.setdefault(check.name, Counter())
            counts["passed" if check.passed else "failed"] += 1
            for name, number in check.numbers.items():
                if name in looked_at and isinstance(number, int):
                    counts[name] += number
            if not check.passed and len(self.faults) < _FAULTS_SHOWN:
                fault: Record = {"partition": key, "check": check.name, "found": check.description}
                self.faults.append(fault)

    @property
    def failed(self) -> dict[str, int]:
        """How many partitions failed each check that any failed."""
        return {name: n["failed"] for name, n in self.by_check.items() if n["failed"]}

    @property
    def reached(self) -> bool:
        """Whether any partition came as far as to be checked."""
        return bool(self.by_check)

    def evaluation(self, asset: dg.AssetKey) -> dg.AssetCheckEvaluation:
        """The event that Dagster records."""
        texts = [f"partitions that passed: {self.passed:,}"]
        if self.before:
            texts.append(f"of them passed before and are as they were: {self.before:,}")
        texts += [f"failed {name}: {n:,}" for name, n in self.failed.items()]
        metadata: dict[str, Any] = {}
        # No Markdown: a fault may quote the shard.
        if self.faults:
            columns = dict.fromkeys(("partition", "check", "found"), "string")
            metadata["faults"] = table(Table(columns, self.faults))
        metadata["checks"] = self._checks()
        metadata |= {"passed": self.passed, "passed_before": self.before}
        return dg.AssetCheckEvaluation(
            asset_key=asset,
            check_name=_NAME,
            passed=not self.failed,
            description="; ".join(texts),
            metadata=metadata | {f"failed_{name}": n for name, n in self.failed.items()},
            blocking=True,
        )

    def _checks(self) -> dg.TableMetadataValue:
        integers = dict.fromkeys(("passed", "passed_before", "failed"), "int")
        columns = {"check": "string", **integers, "looked_at": "string"}
        rows: list[Record] = []
        for check, counts in self.by_check.items():
            numbers = (counts["passed"], counts["before"], counts["failed"])
            looked_at = [f"{w}: {counts[n]:,}" for n, w in _looked_at().items() if n in counts]
            values = (check, *numbers, ", ".join(looked_at))
            rows.append(dict(zip(columns, values, strict=True)))
        return table(Table(columns, rows))
