"""What Dagster records of a partition as soon as it is done: what was made, or why it was not."""

from collections.abc import Iterator
from hashlib import blake2b

import dagster as dg

from fim_assets.corpus.receipts import Result
from fim_assets.defs.corpus_definition import CorpusDefinition
from fim_assets.defs.failures import failure_metadata
from fim_assets.defs.internals import InputVersions, version_tags
from fim_assets.defs.metadata import stage_metadata
from fim_assets.io.hashing import FileRecord
from fim_assets.run.partition import Outcome


def materializations(
    outcome: Outcome,
    graph: CorpusDefinition,
    selected: list[str],
    upstream: InputVersions,
    instance: dg.DagsterInstance,
) -> Iterator[dg.AssetMaterialization]:
    """A materialization of each asset of a partition that was made or is complete."""
    for stage in outcome.stages:
        if stage.asset in selected and stage.receipt is not None:
            yield dg.AssetMaterialization(
                graph.key(stage.asset),
                partition=outcome.key,
                metadata=stage_metadata(graph.corpus, stage),
                tags=_versions(graph, stage.receipt.result, upstream, instance),
            )


def failures(
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
