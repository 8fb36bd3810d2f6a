"""What runs by itself, once somebody switches it on, and the whole way as a job."""

from collections.abc import Sequence

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from fim_assets.recipe import ASSETS

_DUE = dg.AutomationCondition.newly_missing() | dg.AutomationCondition.any_deps_updated()
_HANDLED = dg.AutomationCondition.newly_requested() | dg.AutomationCondition.newly_updated()

FOLLOW = (
    _DUE.since(_HANDLED)
    & ~dg.AutomationCondition.any_deps_missing()
    & ~dg.AutomationCondition.any_deps_in_progress()
    & ~dg.AutomationCondition.in_progress()
)
"""A partition is made once when it is missing, and again when what it is made from was.

As Dagster's `eager`, which however never makes what was missing when it was switched on. What was
asked for and failed is not asked for again until what it is made from is made again.
"""


def automation_sensor(prefix: Sequence[str]) -> dg.AutomationConditionSensorDefinition:
    """Asks for what `FOLLOW` says is due; switched off until somebody switches it on in the UI.

    Args:
        prefix: Goes before the assets' keys.
    """
    return dg.AutomationConditionSensorDefinition(
        "__".join([*prefix, "follow_upstream"]),
        target=_all_assets(prefix),
        default_status=dg.DefaultSensorStatus.STOPPED,
        minimum_interval_seconds=30,
        description="Makes the partitions of new shards, and later stages again whose earlier one "
        "was made again; the report when all partitions are there.",
    )


def all_assets(prefix: Sequence[str]) -> UnresolvedAssetJobDefinition:
    """Every asset of chosen partitions in one job, for schedules, sensors and `dagster job`.

    Args:
        prefix: Goes before the assets' keys.
    """
    return dg.define_asset_job(
        "__".join([*prefix, "whole_way"]),
        selection=_all_assets(prefix),
        description="From raw shards to token arrays and report.",
    )


def _all_assets(prefix: Sequence[str]) -> dg.AssetSelection:
    names = (*ASSETS, "corpus_report")
    return dg.AssetSelection.assets(*(dg.AssetKey([*prefix, name]) for name in names))
