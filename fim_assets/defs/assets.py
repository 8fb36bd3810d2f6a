"""The assets: one step takes each shard through all that have partitions, and one reports."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from hashlib import blake2b

import dagster as dg
from pydantic import Field

from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus.partition_lock import no_locks_warning
from fim_assets.corpus.raw_shard import RawInput
from fim_assets.corpus.receipts import Result, keys_of_receipts
from fim_assets.corpus_report.summary import CORPUS_REPORT
from fim_assets.corpus_report.write import write_report
from fim_assets.defs.checks import Verdict, check_specs
from fim_assets.defs.failures import (
    StepFailedError,
    failure_message,
    failure_metadata,
    without_lines,
)
from fim_assets.defs.internals import (
    BY_AUTOMATION,
    PARTITION,
    RANGE_END,
    RANGE_START,
    RECORDED_BY_STEP,
    InputVersions,
    upstream_versions,
    version_tags,
)
from fim_assets.defs.launcher import PARTITIONS_STEP, name_process
from fim_assets.defs.metadata import DATA, report_metadata, stage_metadata
from fim_assets.defs.partitions import backfill_policy, run_tasks, shard_partitions
from fim_assets.defs.progress import progress
from fim_assets.defs.specs import GROUP, Dep, report_spec, stage_specs
from fim_assets.fim_shards.unmatched import Occurrences, unmatched_names
from fim_assets.io.hashing import FileRecord
from fim_assets.io.storage import read_bytes
from fim_assets.nothing_found import nothing_found
from fim_assets.run.partition import Outcome, Task
from fim_assets.settings import Settings
from fim_assets.wording import plural

# In the name, since a location has one resource of a name.
_END_OF_RUN = "fim_assets_end_of_run"

_PARTITIONS = """
Takes each partition of the run through the selected stages and their checks, one partition
independently of the others: `FIM_WORKERS` at a time. A partition that fails costs only its own
later stages. Each is recorded when it is done; at the end the run fails if any did, and names each
with its stage and the reason.
"""
_REPORT = "Adds up the receipts of all partitions: the report, the dataset card and the summary."

Event = dg.AssetMaterialization | dg.AssetObservation | dg.AssetCheckEvaluation


@dg.resource(description="Ends the workers of a run, however it ends.")
def _end_of_run() -> Iterator[ExitStack]:
    """What is to be closed when Dagster ends a run.

    A step that Dagster ends between two of its events does not notice: its generator stays open,
    and Python may wait for its workers for ever. Resources are always closed.
    """
    with ExitStack() as stack:
        yield stack


@dataclass(frozen=True)
class CorpusDefinition:
    """What the assets are made from; `shards` are the raw shards by partition key.

    `deps` are the assets that write these.
    """

    corpus: Corpus
    settings: Settings
    shards: dict[str, RawInput]
    group_name: str = GROUP
    deps: Sequence[Dep] = ()

    def key(self, asset: str) -> dg.AssetKey:
        """The asset's key, behind the prefix."""
        return dg.AssetKey([*self.corpus.prefix, asset])


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
    specs = stage_specs(corpus, keys, graph.group_name, graph.deps)
    specs_of_checks = check_specs(corpus, keys)

    @dg.multi_asset(
        name="__".join([*corpus.prefix, PARTITIONS_STEP]),
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
    ) -> Iterator[Event | dg.MaterializeResult[None] | dg.Output[None]]:
        name_process(context.instance, context.run)
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
        log = _RunLog(context.log, graph)
        log.records(context.instance, selected)
        tally = _Tally({name: Verdict() for name in checks})
        upstream = upstream_versions(context.instance, [dep.asset_key for dep in specs[0].deps])
        with ExitStack() as work:
            getattr(context.resources, _END_OF_RUN).callback(work.close)
            advance = work.enter_context(progress(tasks, context))
            for outcome in work.enter_context(closing(run_tasks(tasks, graph.settings))):
                log.outcome(outcome)
                yield from _materializations(outcome, graph, selected, upstream, context.instance)
                yield from _failures(outcome, graph, selected, checked)
                tally.add(outcome)
                advance(outcome)
        log.end(tally, complete=len(tasks) == len(graph.shards) and not tally.failed)
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
        return _no_shards(graph)
    return f"no partition of {' and '.join(checked)} is finished; materialize some first"


def _no_shards(graph: CorpusDefinition) -> str:
    return "; ".join(nothing_found(graph.corpus.recipe.raw.documents, graph.settings))


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


class _RunLog:
    """What the log of a run says, each thing once however many partitions it concerns."""

    def __init__(self, log: dg.DagsterLogManager, graph: CorpusDefinition) -> None:
        self._log = log
        self._graph = graph
        self._logged: set[str | None] = set()
        root = graph.corpus.folder("")
        log.info("outputs lie in %s", root)
        if warning := no_locks_warning(root):
            log.warning("%s", warning)

    def outcome(self, outcome: Outcome) -> None:
        """Log a partition's failure, and what else is notable of it."""
        for stage in outcome.stages:
            if stage.receipt is not None and not stage.skipped:
                encoder = stage.receipt.made.engine
                if encoder not in self._logged and not encoder.startswith("python "):
                    self._log.info("%s: texts are encoded by %s", stage.asset, encoder)
                self._logged.add(encoder)
            if stage.replaced:
                self._once(
                    f"{stage.asset}: what another recipe had made is made again by this one, in "
                    "its place; corpora of two recipes need a FIM_DATA_ROOT each"
                )
        if outcome.interrupted:
            self._log.warning(
                "%s: a worker process died while %s was being worked on; it was worked on again",
                outcome.key,
                self._graph.shards[outcome.key],
            )
        if outcome.failure:
            text = outcome.details or outcome.failure
            # The lines of a shard that are examples of a fault stand in the log once.
            if outcome.details is None and "\n" in text:
                text = without_lines(text) if outcome.fault in self._logged else text
                self._logged.add(outcome.fault)
            self._log.error("%s: %s", outcome.key, text)

    def records(self, instance: dg.DagsterInstance, assets: Sequence[str]) -> None:
        """Log whether Dagster has records of another corpus under the same keys."""
        for asset in assets:
            folder = self._graph.corpus.folder(asset)
            event = instance.get_latest_materialization_event(self._graph.key(asset))
            made = event.asset_materialization if event else None
            where = made.metadata.get(DATA) if made else None
            if where is not None and not str(where.value).startswith(f"{folder}"):
                self._log.warning(
                    "the records of this DAGSTER_HOME are of %s in %s too, and the UI shows both "
                    "corpora as one: give each a DAGSTER_HOME or a key prefix of its own",
                    asset,
                    str(where.value),
                )
                return

    def _once(self, warning: str) -> None:
        if warning not in self._logged:
            self._log.warning("%s", warning)
        self._logged.add(warning)

    def end(self, tally: _Tally, *, complete: bool) -> None:
        """Log what is known of all partitions together; `complete`, if they are all there are."""
        if tally.skipped:
            self._log.info("complete already, and skipped: %s", plural(tally.skipped, "partition"))
        recipe = self._graph.corpus.recipe
        for warning in unmatched_names(recipe, tally.occurrences, complete=complete):
            self._log.warning("%s", warning)


def _materializations(
    outcome: Outcome,
    graph: CorpusDefinition,
    selected: list[str],
    upstream: InputVersions,
    instance: dg.DagsterInstance,
) -> Iterator[dg.AssetMaterialization]:
    """What Dagster records of a partition, as soon as it is done."""
    for stage in outcome.stages:
        if stage.asset in selected and stage.receipt is not None:
            yield dg.AssetMaterialization(
                graph.key(stage.asset),
                partition=outcome.key,
                metadata=stage_metadata(graph.corpus, stage),
                tags=_versions(graph, stage.receipt.result, upstream, instance),
            )


def _failures(
    outcome: Outcome, graph: CorpusDefinition, selected: list[str], checked: list[str]
) -> Iterator[dg.AssetObservation]:
    """Why a partition failed, on the page of each of its assets that the run did not finish.

    An observation without a version of data, which to Dagster makes nothing stale and nothing due.
    """
    finished = {stage.asset for stage in outcome.stages if stage.receipt is not None}
    for asset in dict.fromkeys(selected + checked):
        if outcome.failure is not None and asset not in finished:
            yield dg.AssetObservation(
                graph.key(asset),
                partition=outcome.key,
                description="Not finished: the run failed on this partition.",
                metadata=failure_metadata(outcome, graph.corpus, selected),
            )


def _versions(
    graph: CorpusDefinition, result: Result, inputs: InputVersions, instance: dg.DagsterInstance
) -> dict[str, str]:
    """By what Dagster knows a stale partition: its fingerprint, its content and its input's.

    `inputs` are those of the first stage.
    """
    before = graph.corpus.before(graph.corpus.stage(result.asset))
    if before:
        upstream = graph.key(before[-1].name)
        made = instance.get_latest_storage_id_by_partition(
            upstream, dg.DagsterEventType.ASSET_MATERIALIZATION, {result.key}
        )
        inputs = {upstream.to_user_string(): (result.input.blake2b, made.get(result.key))}
    return version_tags(result.fingerprint, _content(result.outputs), inputs)


def _content(outputs: list[FileRecord]) -> str:
    return blake2b("".join(o.blake2b for o in outputs).encode(), digest_size=16).hexdigest()


def _report_asset(graph: CorpusDefinition) -> dg.AssetsDefinition:
    last = graph.key(graph.corpus.names[-1])
    arrays = dg.AssetDep(last, partition_mapping=dg.AllPartitionMapping())
    spec = report_spec(graph.corpus, graph.key(CORPUS_REPORT), graph.group_name)

    @dg.multi_asset(
        name="__".join([*graph.corpus.prefix, CORPUS_REPORT]),
        description=_REPORT,
        specs=[spec.replace_attributes(deps=[arrays])],
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def corpus_report(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        name_process(context.instance, context.run)
        if not graph.shards:
            raise StepFailedError(_no_shards(graph))
        summary = write_report(graph.corpus, list(graph.shards))
        card = read_bytes(graph.corpus.folder(CORPUS_REPORT) / "README.md").decode()
        return dg.MaterializeResult(metadata=report_metadata(graph.corpus, summary, card))

    return corpus_report
