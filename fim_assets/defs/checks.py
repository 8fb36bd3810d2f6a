"""Asset checks: one an asset and run, whose verdict names what failed of which partition.

It has no partitions of its own: for each, Dagster would store the list of all, so that ten thousand
partitions cost two gigabytes of database and of memory before any work begins. What each partition
passed stands in its materialization's metadata and in its receipt.
"""

from collections import Counter
from dataclasses import dataclass, field

import dagster as dg

from fim_assets.pipeline import CHECKS_OF, StageOutcome

NAME = "sound"
"""The check of each asset that has any."""

_FAULTS_SHOWN = 20


def check_specs(asset_keys: dict[str, dg.AssetKey]) -> dict[str, dg.AssetCheckSpec]:
    """The blocking check of each partitioned asset that has one.

    The assets' own step runs them and stops a shard whose check fails: over a range, Dagster by
    itself would gate either nothing or every partition.
    """
    return {
        asset: dg.AssetCheckSpec(
            NAME,
            asset=asset_keys[asset],
            description="\n".join(f"- **{name}**: {text}" for name, text in checks.items()),
            blocking=True,
        )
        for asset, checks in CHECKS_OF.items()
        if checks
    }


@dataclass
class Verdict:
    """What a run's checks of one asset say, partition by partition.

    Attributes:
        passed: Partitions that passed.
        before: Those that were complete and left as they are: they had passed when they were made.
        failed: How many partitions failed each check.
        faults: What was found, of the first partitions that failed.
    """

    passed: int = 0
    before: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def add(self, key: str, stage: StageOutcome) -> None:
        """Take one more partition into account."""
        faults = [check for check in stage.checks if not check.passed]
        self.before += stage.skipped
        self.passed += bool(stage.checks) and not faults
        self.failed.update(check.name for check in faults)
        if faults and len(self.faults) < _FAULTS_SHOWN:
            self.faults += [f"{key}: {check.name}: {check.description}" for check in faults]

    @property
    def reached(self) -> bool:
        """Whether any partition came as far as to be checked."""
        return bool(self.passed or self.before or self.failed)

    def evaluation(self, asset: dg.AssetKey) -> dg.AssetCheckEvaluation:
        """The event that Dagster records."""
        said = [f"partitions that passed: {self.passed:,}"]
        if self.before:
            said.append(f"had passed before and are as they were: {self.before:,}")
        said += [f"failed {name}: {n:,}" for name, n in self.failed.items()]
        return dg.AssetCheckEvaluation(
            asset_key=asset,
            check_name=NAME,
            passed=not self.failed,
            description="; ".join(said),
            metadata={"passed": self.passed, "passed_before": self.before}
            | {f"failed_{name}": n for name, n in self.failed.items()}
            # No Markdown: a fault may quote what stands in the shard.
            | ({"faults": dg.MetadataValue.json(self.faults)} if self.faults else {}),
            blocking=True,
        )
