"""The assets: one step takes each shard through all that have partitions, and one reports."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field

import dagster as dg
from pydantic import Field

from fim_assets.corpus.receipts import keys_of_receipts
from fim_assets.corpus_report.summary import CORPUS_REPORT
from fim_assets.corpus_report.write import write_report
from fim_assets.defs.checks import Verdict, check_specs
from fim_assets.defs.corpus_definition import CorpusDefinition
from fim_assets.defs.events import failures, materializations
from fim_assets.defs.failures import StepFailedError, failure_message
from fim_assets.defs.internals import (
    BY_AUTOMATION,
    PARTITION,
    RANGE_END,
    RANGE_START,
    RECORDED_BY_STEP,
    show_in_overview,
    upstream_versions,
)
from fim_assets.defs.launcher import PARTITIONS_STEP, name_process
from fim_assets.defs.metadata import report_metadata
from fim_assets.defs.partitions import backfill_policy, run_tasks, shard_partitions
from fim_assets.defs.progress import progress
from fim_assets.defs.run_log import RunLog
from fim_assets.defs.specs import report_spec, stage_specs
from fim_assets.fim_shards.unmatched import Occurrences
from fim_assets.io.storage import read_bytes
from fim_assets.run.partition import Outcome, Task

# In the name, since a location has one resource of a name.
_END_OF_RUN = "fim_assets_end_of_run"

_PARTITIONS = """
Takes each partition of the run through the selected stages and their checks, one partition
independently of the others: `FIM_WORKERS` at a time. A partition that fails costs only its own
later stages. Each is recorded when it is done; at the end the run fails if any did, and names each
with its stage and the reason.
"""
_REPORT = "Adds up the receipts of all partitions: the report, the dataset card and the summary."

_Event = dg.AssetMaterialization | dg.AssetObservation | dg.AssetCheckEvaluation


@dg.resource(description="Ends the workers of a run, however it ends.")
def _end_of_run() -> Iterator[ExitStack]:
    """What is to be closed when Dagster ends a run.

    A step that Dagster ends between two of its events does not notice: its generator stays open,
    and Python may wait for its workers for ever. Resources are always closed.
    """
    with ExitStack() as stack:
        yield stack


class RunConfig(dg.Config):
    """What can be set for a run in the launchpad."""

    skip_complete: bool | None = Field(
        default=None,
        description="Leave partitions as they are whose receipts are complete and agree with the "
        "recipe, the input's content and the files' sizes. By default so for a range, and not for "
        "a partition that is named alone.",
    )

    def skips(self, run: dg.DagsterRun) -> bool:
        """Whether a run leaves complete partitions as they are."""
        if self.skip_complete is not None:
            return self.skip_complete
        return PARTITION not in run.tags or RANGE_START in run.tags or BY_AUTOMATION in run.tags


def build_assets(graph: CorpusDefinition) -> list[dg.AssetsDefinition]:
    """All assets and their checks."""
    with warnings.catch_warnings():
        # Backfill policies and references to code: tried, and pinned in the lock.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return [_partitioned_assets(graph), _report_asset(graph)]


def _partitioned_assets(graph: CorpusDefinition) -> dg.AssetsDefinition:
    corpus = graph.corpus
    partitions = shard_partitions(graph.shards)
    keys = {asset: graph.key(asset) for asset in corpus.names}
    specs = stage_specs(graph)
    specs_of_checks = check_specs(graph)

    @dg.multi_asset(
        name=graph.named(PARTITIONS_STEP),
        description=_PARTITIONS,
        specs=specs,
        check_specs=list(specs_of_checks.values()),
        partitions_def=partitions,
        can_subset=True,
        backfill_policy=backfill_policy(graph.settings),
        resource_defs={_END_OF_RUN: _end_of_run},
    )
    def shards(
        context: dg.AssetExecutionContext, config: RunConfig
    ) -> Iterator[_Event | dg.MaterializeResult[None] | dg.Output[None]]:
        _begin(context)
        selected = [asset for asset, key in keys.items() if key in context.selected_asset_keys]
        checks = {
            name: spec.key
            for name, spec in specs_of_checks.items()
            if spec.key in context.selected_asset_check_keys
        }
        of_checks = {key.asset_key for key in checks.values()}
        checked = [asset for asset, key in keys.items() if key in of_checks]
        partition_keys = _partition_keys(context, graph, partitions, checked)
        if not partition_keys:
            raise StepFailedError(_why_nothing(context, graph, checked))
        skips = config.skips(context.run)
        tasks = [
            Task(corpus, key, graph.shards[key], frozenset(selected), frozenset(checks), skips)
            for key in partition_keys
        ]
        log = RunLog(context.log, graph)
        log.records(context.instance, selected)
        tally = _Tally({name: Verdict() for name in checks})
        upstream = upstream_versions(context.instance, [dep.asset_key for dep in specs[0].deps])
        with ExitStack() as work:
            getattr(context.resources, _END_OF_RUN).callback(work.close)
            advance = work.enter_context(progress(tasks, context))
            for outcome in work.enter_context(closing(run_tasks(tasks, graph.settings))):
                log.outcome(outcome)
                yield from materializations(outcome, graph, selected, upstream, context.instance)
                yield from failures(outcome, graph, selected, checked)
                tally.add(outcome)
                advance(outcome)
        complete = len(tasks) == len(graph.shards) and not tally.failed
        log.end(tally.skipped, tally.occurrences, complete=complete)
        for name, verdict in tally.verdicts.items():
            if verdict.reached:
                yield verdict.evaluation(checks[name])
        if tally.failed:
            raise StepFailedError(failure_message(tally.failed, len(tasks), corpus, selected))
        # Every partition was recorded above; these only satisfy the op's outputs.
        for asset in selected:
            yield dg.MaterializeResult(keys[asset], metadata=RECORDED_BY_STEP)
        for name in checks:
            yield dg.Output(None, output_name=specs_of_checks[name].get_python_identifier())

    return shards


def _begin(context: dg.AssetExecutionContext) -> None:
    """Make the run known to the UI and to the launcher, where there is a record of it."""
    if not context.instance.is_ephemeral:
        show_in_overview(context.instance, context.run)
        name_process(context.instance, context.run)


def _partition_keys(
    context: dg.AssetExecutionContext,
    graph: CorpusDefinition,
    partitions: dg.StaticPartitionsDefinition,
    checked: Sequence[str],
) -> Sequence[str]:
    """The run's partitions; if it names none, all, or of one that only checks all finished ones."""
    tags = context.run.tags
    if context.selected_asset_keys:
        named = PARTITION in tags or RANGE_START in tags
        return list(context.partition_keys if named else graph.shards)
    if PARTITION in tags:
        return [tags[PARTITION]]
    if RANGE_START in tags:
        ends = dg.PartitionKeyRange(tags[RANGE_START], tags[RANGE_END])
        return partitions.get_partition_keys_in_range(ends)
    finished = [keys_of_receipts(graph.corpus.folder(asset)) for asset in checked]
    return [key for key in graph.shards if all(key in keys for keys in finished)]


def _why_nothing(
    context: dg.AssetExecutionContext, graph: CorpusDefinition, checked: Sequence[str]
) -> str:
    if RANGE_START in context.run.tags:
        return "the range holds no partition; is its first key after its last?"
    if context.selected_asset_keys:
        return graph.no_shards
    return f"no partition of {' and '.join(checked)} is finished; materialize some first"


@dataclass
class _Tally:
    """What a run adds up over its partitions; `verdicts` are by the checks' names."""

    verdicts: dict[str, Verdict]
    failed: list[Outcome] = field(default_factory=list)
    skipped: int = 0
    occurrences: Occurrences = field(default_factory=Occurrences)

    def add(self, outcome: Outcome) -> None:
        """Take one more partition into account."""
        for stage in outcome.stages:
            if stage.receipt is not None:
                self.occurrences.add(stage.receipt.result.counts)
                if stage.skipped:
                    for name in self.verdicts.keys() & stage.receipt.made.checks:
                        self.verdicts[name].add_passed_before()
            for check in stage.checks:
                self.verdicts[check.name].add(outcome.key, check)
        if outcome.failure:
            self.failed.append(outcome)
        else:
            self.skipped += all(stage.skipped for stage in outcome.stages)


def _report_asset(graph: CorpusDefinition) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name=graph.named(CORPUS_REPORT),
        description=_REPORT,
        specs=[report_spec(graph)],
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def corpus_report(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        _begin(context)
        if not graph.shards:
            raise StepFailedError(graph.no_shards)
        summary = write_report(graph.corpus, list(graph.shards))
        card = read_bytes(graph.corpus.folder(CORPUS_REPORT) / "README.md").decode()
        return dg.MaterializeResult(metadata=report_metadata(graph.corpus, summary, card))

    return corpus_report
