"""Asset checks: one an asset, whose verdict on a partition names what failed of many checks.

An event costs Dagster's storage more than a small partition's work, and twelve that all passed say
no more than two that list them.
"""

from typing import Any

import dagster as dg

from fim_assets.checks.outcome import CheckOutcome
from fim_assets.pipeline import CHECKS_OF, StageOutcome

NAME = "sound"
"""The check of each asset that has any."""


def check_specs(
    asset_keys: dict[str, dg.AssetKey], partitions: dg.StaticPartitionsDefinition
) -> dict[str, dg.AssetCheckSpec]:
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
            partitions_def=partitions,
        )
        for asset, checks in CHECKS_OF.items()
        if checks
    }


def evaluation(stage: StageOutcome, asset: dg.AssetKey, key: str) -> dg.AssetCheckEvaluation | None:
    """The verdict on a partition as the event that Dagster records; None where none was reached.

    A stage that was left as it is has the verdict that its receipt names.
    """
    failed = [check for check in stage.checks if not check.passed]
    names = [check.name for check in stage.checks]
    if stage.skipped and stage.receipt is not None:
        names = list(stage.receipt.made.checks)
    if not names:
        return None
    if failed:
        description = "; ".join(f"{check.name}: {check.description}" for check in failed)
    else:
        before = ", when it was made" if stage.skipped else ""
        description = f"{len(names)} of {len(names)} passed{before}: {', '.join(names)}."
    return dg.AssetCheckEvaluation(
        asset_key=asset,
        check_name=NAME,
        passed=not failed,
        metadata=_metadata(stage.checks),
        description=description,
        partition=key,
        blocking=True,
    )


def _metadata(checks: tuple[CheckOutcome, ...]) -> dict[str, Any]:
    if not checks:
        return {}
    numbers = {
        check.name: {name: value for name, value in check.numbers.items() if value is not None}
        for check in checks
    }
    return {
        "failed": sum(not check.passed for check in checks),
        "verdicts": dg.MetadataValue.table(
            [
                dg.TableRecord(
                    {
                        "check": check.name,
                        "passed": check.passed,
                        "verdict": check.description,
                    }
                )
                for check in checks
            ],
            dg.TableSchema(
                [
                    dg.TableColumn("check", "string"),
                    dg.TableColumn("passed", "bool"),
                    dg.TableColumn("verdict", "string"),
                ]
            ),
        ),
        "numbers": dg.MetadataValue.json({name: its for name, its in numbers.items() if its}),
    }
