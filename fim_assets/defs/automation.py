"""What runs by itself once somebody switches it on, and the job of all assets."""

import dagster as dg

from fim_assets.corpus_report.summary import CORPUS_REPORT
from fim_assets.defs.corpus_definition import CorpusDefinition

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


def automation(graph: CorpusDefinition) -> dg.Definitions:
    """The job of all assets, and the sensor that asks for what `FOLLOW` says is due.

    The sensor is switched off until somebody switches it on in the UI.
    """
    assets = dg.AssetSelection.assets(*map(graph.key, (*graph.corpus.names, CORPUS_REPORT)))
    job = dg.define_asset_job(
        graph.named("raw_shards_to_corpus_report"),
        selection=assets,
        description="Takes raw shards through every stage to token arrays, then makes the "
        "corpus report. Without a partition it takes all, and skips those that are complete.",
    )
    sensor = dg.AutomationConditionSensorDefinition(
        graph.named("materialize_what_is_due"),
        target=assets,
        default_status=dg.DefaultSensorStatus.STOPPED,
        minimum_interval_seconds=30,
        description="While switched on, materializes partitions that are missing, once; those of "
        "new shards; a stage again whose earlier one was made again; and the report when all "
        "partitions are there. It does not try again what failed.",
    )
    return dg.Definitions(jobs=[job], sensors=[sensor])
