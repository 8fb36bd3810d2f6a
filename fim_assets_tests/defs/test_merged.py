"""A corpus among the definitions of others: whose executor runs it, and who waits for whom."""

from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterInstance
from dagster._core.definitions.asset_daemon_cursor import AssetDaemonCursor
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from fim_assets.definitions import build_definitions
from fim_assets.definitions import defs as of_the_environment
from fim_assets.recipe import Recipe
from fim_assets.settings import Settings, SettingsError
from fim_assets.stages import ASSETS
from fim_assets_tests.corpora import documents, write_shard

ALL = [*ASSETS, "corpus_report"]


@dg.asset(group_name="mine")
def upstream() -> None:
    """Writes the raw shards, or would."""


@dg.asset(deps=["corpus_report"], group_name="mine")
def downstream() -> None:
    """Reads the arrays, or would."""


@pytest.fixture
def merged(tmp_path: Path) -> dg.Definitions:
    for key in ("a", "b"):
        write_shard(tmp_path / "raw" / f"{key}.jsonl", documents(9, key))
    settings = Settings(data_root=tmp_path, workers=1)
    corpus = build_definitions(Recipe(), settings, deps=[upstream])
    return dg.Definitions.merge(dg.Definitions(assets=[upstream, downstream]), corpus)


@pytest.fixture
def instance() -> DagsterInstance:
    return DagsterInstance.ephemeral()


def materialize(
    merged: dg.Definitions, instance: DagsterInstance, *assets: str, partition: str | None = None
) -> None:
    done = merged.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance,
        asset_selection=[dg.AssetKey(asset) for asset in assets],
        partition_key=partition,
    )
    assert done.success


def status(
    merged: dg.Definitions, instance: DagsterInstance, asset: str, partition: str
) -> StaleStatus:
    graph = merged.resolve_asset_graph()
    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    return resolver.get_status(dg.AssetKey(asset), partition)


@pytest.mark.parametrize("executor", [dg.in_process_executor, dg.multiprocess_executor, None])
def test_merging_leaves_the_executor_as_it_is(
    tmp_path: Path, executor: dg.ExecutorDefinition | None
) -> None:
    settings = Settings(data_root=tmp_path)
    corpora = [build_definitions(Recipe(), settings, [prefix]) for prefix in ("x", "y")]
    # A resource of theirs may have a name that one of ours could have.
    mine = dg.Definitions(executor=executor, resources={"end_of_run": "mine"})
    merged = dg.Definitions.merge(mine, *corpora)
    assert merged.executor is executor
    for job in merged.resolve_all_job_defs():
        assert job.executor_def is (executor or dg.multi_or_in_process_executor), job.name


def test_the_executor_of_a_location_can_be_given(tmp_path: Path) -> None:
    executor = dg.multiprocess_executor.configured({"max_concurrent": 1})
    settings = Settings(data_root=tmp_path)
    assert build_definitions(Recipe(), settings, executor=executor).executor is executor
    assert of_the_environment().executor is dg.in_process_executor


def test_each_corpus_has_a_group_of_its_own(tmp_path: Path) -> None:
    settings = Settings(data_root=tmp_path)
    for prefix, given, group in (
        ([], None, "fim_assets"),
        (["a", "b"], None, "a__b"),
        (["a"], "c", "c"),
    ):
        built = build_definitions(Recipe(), settings, prefix, group_name=given)
        assert {spec.group_name for spec in built.resolve_all_asset_specs()} == {group}


@pytest.mark.parametrize("prefix", [["a-b"], ["a", ""], ["é"], "code"])
def test_a_prefix_that_nothing_can_be_named_after_is_refused(
    tmp_path: Path, prefix: list[str]
) -> None:
    with pytest.raises(SettingsError, match=r"^key_prefix="):
        build_definitions(Recipe(), Settings(data_root=tmp_path), prefix)


def test_deps_are_no_single_text(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^deps=upstream: "):
        build_definitions(Recipe(), Settings(data_root=tmp_path), deps="upstream")


def test_the_graph_goes_from_their_asset_to_theirs(merged: dg.Definitions) -> None:
    graph = merged.resolve_asset_graph()
    chain = ["upstream", *ALL, "downstream"]
    for before, after in pairwise(chain):
        assert graph.get(dg.AssetKey(after)).parent_keys == {dg.AssetKey(before)}


def test_partitions_go_stale_with_the_asset_that_wrote_their_shards(
    merged: dg.Definitions, instance: DagsterInstance
) -> None:
    materialize(merged, instance, "upstream")
    materialize(merged, instance, *ASSETS, partition="a")
    for asset in ASSETS:
        assert status(merged, instance, asset, "a") == StaleStatus.FRESH
    materialize(merged, instance, "upstream")
    assert status(merged, instance, "raw_shards", "a") == StaleStatus.STALE
    materialize(merged, instance, *ASSETS, partition="a")
    for asset in ASSETS:
        assert status(merged, instance, asset, "a") == StaleStatus.FRESH


def test_automation_waits_for_the_asset_that_writes_the_shards(
    merged: dg.Definitions, instance: DagsterInstance
) -> None:
    def requested(cursor: AssetDaemonCursor | None) -> tuple[set[str], AssetDaemonCursor]:
        found = dg.evaluate_automation_conditions(merged, instance, cursor=cursor)
        return {a for a in ALL if found.get_num_requested(dg.AssetKey(a))}, found.cursor

    asked, cursor = requested(None)
    assert asked == set()
    materialize(merged, instance, "upstream")
    asked, cursor = requested(cursor)
    assert asked == set(ASSETS)
    for key in ("a", "b"):
        materialize(merged, instance, *ASSETS, partition=key)
    materialize(merged, instance, "corpus_report")
    asked, cursor = requested(cursor)
    assert asked == set()
    materialize(merged, instance, "upstream")
    assert requested(cursor)[0] == {"raw_shards", "fim_shards", "token_arrays"}
