"""The four assets: one step takes each shard through the three partitioned ones, one reports."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from hashlib import blake2b

import dagster as dg
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION
from dagster._core.storage.tags import AUTOMATION_CONDITION_TAG
from pydantic import Field

from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus.partition_lock import no_locks_warning
from fim_assets.corpus.receipts import Result, keys_of_receipts
from fim_assets.corpus.sources import RawShard
from fim_assets.corpus_report.asset import CORPUS_REPORT
from fim_assets.corpus_report.write import write_report
from fim_assets.defs.checks import Verdict, check_specs
from fim_assets.defs.executor import run_tasks
from fim_assets.defs.failures import StepFailedError, failure_message, without_lines
from fim_assets.defs.launcher import name_process
from fim_assets.defs.metadata import report_metadata, stage_metadata
from fim_assets.defs.partitions import backfill_policy, shard_partitions
from fim_assets.defs.progress import progress
from fim_assets.defs.specs import report_spec, stage_specs
from fim_assets.fim_shards.unmatched import Occurrences, unmatched_names
from fim_assets.io.hashing import FileRecord
from fim_assets.run.partition import Outcome, Task
from fim_assets.settings import Settings, nothing_found
from fim_assets.wording import plural

_RECORDED = {SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True}
"""Tells Dagster that a step has recorded its partitions itself, each as soon as it was done: a long
run shows how far it is, and one that is killed keeps the record of what it finished."""

_PARTITION = "dagster/partition"
_RANGE_START = "dagster/asset_partition_range_start"
_RANGE_END = "dagster/asset_partition_range_end"

_END_OF_RUN = "end_of_run"

Event = dg.AssetMaterialization | dg.AssetCheckEvaluation


@dg.resource(description="Ends the workers of a run, however it ends.")
def _end_of_run() -> Iterator[ExitStack]:
    """What is to be closed when Dagster ends a run.

    A step that is told to end between two of its events is not told so: Dagster leaves its
    generator open, and Python may wait for its workers for ever. Resources are always closed.
    """
    with ExitStack() as stack:
        yield stack


@dataclass(frozen=True)
class CorpusDefinition:
    """What the assets are made from.

    Attributes:
        corpus: Recipe, tokenizer and folders.
        settings: Where the input lies, and the number of workers.
        shards: Raw shards by partition key.
    """

    corpus: Corpus
    settings: Settings
    shards: dict[str, RawShard]

    def key(self, asset: str) -> dg.AssetKey:
        """The asset's key, behind the prefix."""
        return dg.AssetKey([*self.corpus.prefix, asset])


class RunConfig(dg.Config):
    """What a run can be told in the launchpad."""

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
        return (
            _PARTITION not in run.tags
            or _RANGE_START in run.tags
            or AUTOMATION_CONDITION_TAG in run.tags
        )


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
    specs = stage_specs(corpus, keys)
    specs_of_checks = check_specs(corpus.stages, keys)

    @dg.multi_asset(
        name="__".join([*corpus.prefix, "shards"]),
        specs=specs,
        check_specs=list(specs_of_checks.values()),
        partitions_def=partitions,
        can_subset=True,
        backfill_policy=backfill_policy(graph.settings),
        resource_defs={_END_OF_RUN: _end_of_run},
    )
    def shards(
        context: dg.AssetExecutionContext, config: RunConfig
    ) -> Iterator[Event | dg.MaterializeResult[None] | dg.Output[None]]:
        name_process(context.instance, context.run)
        selected = [asset for asset, key in keys.items() if key in context.selected_asset_keys]
        checked = [
            asset
            for asset, spec in specs_of_checks.items()
            if spec.key in context.selected_asset_check_keys
        ]
        partition_keys = _partition_keys(context, graph, partitions, checked)
        if not partition_keys:
            raise StepFailedError(_why_nothing(context, graph, checked))
        tasks = [
            Task(
                corpus,
                key,
                graph.shards[key],
                frozenset(selected),
                frozenset(c.name for asset in checked for c in corpus.stage(asset).checks),
                config.skips(context.run),
            )
            for key in partition_keys
        ]
        root = corpus.folder("")
        context.log.info("outputs lie in %s", root)
        warning = no_locks_warning(root)
        if warning is not None:
            context.log.warning(warning)
        verdicts = {asset: Verdict() for asset in checked}
        skipped = 0
        failed: list[Outcome] = []
        occurrences = Occurrences()
        logged: set[str | None] = set()
        with ExitStack() as work:
            getattr(context.resources, _END_OF_RUN).callback(work.close)
            advance = work.enter_context(progress(tasks, context))
            for outcome in work.enter_context(closing(run_tasks(tasks, graph.settings))):
                _log(outcome, graph, context, logged)
                yield from _materializations(outcome, graph, selected, context.instance)
                for stage in outcome.stages:
                    if stage.receipt is not None:
                        occurrences.add(stage.receipt.result.counts)
                    if stage.asset in verdicts:
                        verdicts[stage.asset].add(outcome.key, stage)
                skipped += not outcome.failure and all(stage.skipped for stage in outcome.stages)
                if outcome.failure:
                    failed.append(outcome)
                advance(outcome.key)
        if skipped:
            context.log.info("complete already, and left alone: %s", plural(skipped, "partition"))
        complete = len(tasks) == len(graph.shards) and not failed
        for warning in unmatched_names(corpus.recipe, occurrences, complete=complete):
            context.log.warning("%s", warning)
        yield from (its.evaluation(keys[asset]) for asset, its in verdicts.items() if its.reached)
        if failed:
            raise StepFailedError(failure_message(failed, len(tasks), corpus, selected))
        # All is recorded, a partition each: only the step's outputs are owed.
        yield from (dg.MaterializeResult(keys[asset], metadata=_RECORDED) for asset in selected)
        for asset in checked:
            yield dg.Output(None, output_name=specs_of_checks[asset].get_python_identifier())

    return shards


def _partition_keys(
    context: dg.AssetExecutionContext,
    graph: CorpusDefinition,
    partitions: dg.StaticPartitionsDefinition,
    checked: Sequence[str],
) -> Sequence[str]:
    """The run's partitions; if it names none, all, or of one that only checks all finished ones."""
    tags = context.run.tags
    if context.selected_asset_keys:
        named = _PARTITION in tags or _RANGE_START in tags
        return list(context.partition_keys if named else graph.shards)
    if _PARTITION in tags:
        return [tags[_PARTITION]]
    if _RANGE_START in tags:
        ends = dg.PartitionKeyRange(tags[_RANGE_START], tags[_RANGE_END])
        return partitions.get_partition_keys_in_range(ends)
    finished = [keys_of_receipts(graph.corpus.folder(asset)) for asset in checked]
    return [key for key in graph.shards if all(key in keys for keys in finished)]


def _why_nothing(
    context: dg.AssetExecutionContext, graph: CorpusDefinition, checked: Sequence[str]
) -> str:
    if _RANGE_START in context.run.tags:
        return "the range holds no partition; is its first key after its last?"
    if context.selected_asset_keys:
        return _no_shards(graph)
    return f"no partition of {' and '.join(checked)} is finished; materialize some first"


def _no_shards(graph: CorpusDefinition) -> str:
    return "; ".join(nothing_found(graph.corpus.recipe.raw.documents, graph.settings))


def _log(
    outcome: Outcome,
    graph: CorpusDefinition,
    context: dg.AssetExecutionContext,
    logged: set[str | None],
) -> None:
    """Log a partition's failure and what else is notable.

    Args:
        outcome: What became of the partition.
        graph: Its corpus.
        context: The run's.
        logged: Encoders and faults that the run has logged already, which are not repeated.
    """
    for stage in outcome.stages:
        if stage.receipt is not None and not stage.skipped:
            encoder = stage.receipt.made.engine
            if encoder not in logged and not encoder.startswith("python "):
                context.log.info("%s are encoded by %s", stage.asset, encoder)
            logged.add(encoder)
    if outcome.interrupted:
        context.log.warning(
            "%s: a worker process died while %s was being worked on; it was worked on again",
            outcome.key,
            graph.shards[outcome.key],
        )
    if outcome.failure:
        told = outcome.details or outcome.failure
        # Of a fault that many partitions share, the lines that are examples stand there once.
        if outcome.details is None and "\n" in told:
            told = without_lines(told) if outcome.fault in logged else told
            logged.add(outcome.fault)
        context.log.error("%s: %s", outcome.key, told)


def _materializations(
    outcome: Outcome, graph: CorpusDefinition, selected: list[str], instance: dg.DagsterInstance
) -> Iterator[dg.AssetMaterialization]:
    """What Dagster records of a partition, as soon as it is done."""
    for stage in outcome.stages:
        if stage.asset in selected and stage.receipt is not None:
            yield dg.AssetMaterialization(
                graph.key(stage.asset),
                partition=outcome.key,
                metadata=stage_metadata(graph.corpus, stage),
                tags=_versions(graph, stage.receipt.result, instance),
            )


def _versions(
    graph: CorpusDefinition, result: Result, instance: dg.DagsterInstance
) -> dict[str, str]:
    """What Dagster knows a partition's staleness by: its law, its content and its input's."""
    tags = {
        "dagster/code_version": result.fingerprint,
        "dagster/data_version": _content(result.outputs),
        "dagster/data_version_is_user_provided": "true",
    }
    before = graph.corpus.before(graph.corpus.stage(result.asset))
    if before:
        upstream = graph.key(before[-1].name)
        made = instance.get_latest_data_version_record(upstream, partition_key=result.key)
        name = upstream.to_user_string()
        tags[f"dagster/input_data_version/{name}"] = result.input.blake2b
        tags[f"dagster/input_event_pointer/{name}"] = str(made.storage_id) if made else "NULL"
    return tags


def _content(outputs: list[FileRecord]) -> str:
    """One hash of all files."""
    return blake2b("".join(o.blake2b for o in outputs).encode(), digest_size=16).hexdigest()


def _report_asset(graph: CorpusDefinition) -> dg.AssetsDefinition:
    last = graph.key(graph.corpus.names[-1])
    arrays = dg.AssetDep(last, partition_mapping=dg.AllPartitionMapping())
    spec = report_spec(graph.corpus, graph.key(CORPUS_REPORT))

    @dg.multi_asset(
        name="__".join([*graph.corpus.prefix, CORPUS_REPORT]),
        specs=[spec.replace_attributes(deps=[arrays])],
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def corpus_report(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        name_process(context.instance, context.run)
        if not graph.shards:
            raise StepFailedError(_no_shards(graph))
        summary = write_report(graph.corpus, list(graph.shards))
        return dg.MaterializeResult(metadata=report_metadata(graph.corpus, summary))

    return corpus_report
