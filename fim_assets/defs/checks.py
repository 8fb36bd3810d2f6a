"""Asset checks: their specifications, and verdicts as events of one partition each."""

import dagster as dg

from fim_assets.checks.outcome import CheckOutcome
from fim_assets.defs.metadata import check_metadata
from fim_assets.pipeline import CHECKS_OF


def check_specs(
    asset_keys: dict[str, dg.AssetKey], partitions: dg.StaticPartitionsDefinition
) -> list[dg.AssetCheckSpec]:
    """The checks of the partitioned assets, all blocking.

    The assets' own step runs them and stops a shard whose check fails: over a range, Dagster by
    itself would gate either nothing or every partition.
    """
    return [
        dg.AssetCheckSpec(
            name,
            asset=asset_keys[asset],
            description=description,
            blocking=True,
            partitions_def=partitions,
        )
        for asset, checks in CHECKS_OF.items()
        for name, description in checks.items()
    ]


def evaluation(outcome: CheckOutcome, asset: dg.AssetKey, key: str) -> dg.AssetCheckEvaluation:
    """A verdict as the event that Dagster records for a partition."""
    return dg.AssetCheckEvaluation(
        asset_key=asset,
        check_name=outcome.name,
        passed=outcome.passed,
        metadata=check_metadata(outcome),
        description=outcome.description,
        partition=key,
        blocking=True,
    )
