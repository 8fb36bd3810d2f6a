import json
import logging
import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterEventType, DagsterInstance
from dagster._core.definitions.asset_daemon_cursor import AssetDaemonCursor
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from fim_assets.definitions import build_definitions
from fim_assets.recipe import Recipe, parse_recipe
from fim_assets.recipe.fim import Fim
from fim_assets.settings import Settings
from fim_assets.stages import ASSETS, STAGES
from fim_assets_tests.corpora import CHECKS_OF, TOLERANT, documents, write_shard

KEYS = ["a", "b", "c"]
ALL = [*ASSETS, "corpus_report"]
DATA = {"raw_shards": ".parquet", "fim_shards": ".jsonl.zst", "token_arrays": "-00000.npy"}
RANGE = {"dagster/asset_partition_range_start": "a", "dagster/asset_partition_range_end": "c"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for key in KEYS:
        write_shard(tmp_path / "raw" / f"{key}.jsonl.zst", [*documents(60, key), b"refused"])
    return tmp_path


def definitions(root: Path, prefix: Sequence[str] = (), workers: int = 1) -> dg.Definitions:
    return build_definitions(Recipe(raw=TOLERANT), Settings(root, root, "test", workers), prefix)


def assets_of(built: dg.Definitions) -> list[dg.AssetsDefinition]:
    return [asset for asset in built.assets or [] if isinstance(asset, dg.AssetsDefinition)]


def materialize(
    root: Path,
    select: Sequence[str] = ASSETS,
    key: str | None = None,
    tags: dict[str, str] | None = None,
    instance: DagsterInstance | None = None,
    config: dict[str, bool] | None = None,
    workers: int = 1,
) -> dg.ExecuteInProcessResult:
    """Materialize assets, the report only if it is among those that are selected."""
    assets = assets_of(definitions(root, workers=workers))
    return dg.materialize(
        assets,
        selection=dg.AssetSelection.assets(*select),
        partition_key=key,
        tags=tags,
        instance=instance or DagsterInstance.ephemeral(),
        raise_on_error=False,
        run_config={"ops": {"raw_shards_to_token_arrays": {"config": config}}} if config else None,
    )


def materialized(instance: DagsterInstance, asset: str) -> dict[str | None, dict[str, object]]:
    """Metadata values of an asset's materializations in its last run, by partition."""
    records = instance.fetch_materializations(dg.AssetKey(asset), limit=100).records
    latest = [r.partition_key for r in records if r.run_id == records[0].run_id]
    assert len(latest) == len(set(latest)), "a run records a partition once"
    return {
        record.partition_key: {
            name: entry.value for name, entry in record.asset_materialization.metadata.items()
        }
        for record in records
        if record.asset_materialization and record.run_id == records[0].run_id
    }


def observed(instance: DagsterInstance, asset: str) -> list[tuple[str | None, dict[str, object]]]:
    """Partition and metadata values of an asset's observations, the last first."""
    records = instance.fetch_observations(dg.AssetKey(asset), limit=100).records
    observations = [record.event_log_entry.asset_observation for record in records]
    return [
        (one.partition, {name: entry.value for name, entry in one.metadata.items()})
        for one in observations
        if one is not None
    ]


def evaluations(instance: DagsterInstance) -> list[tuple[str, str, bool]]:
    """Asset, check and verdict of all recorded evaluations, the last run's last."""
    return [
        (verdict.asset_key.to_user_string(), verdict.check_name, verdict.passed)
        for verdict in verdicts(instance)
    ]


def verdicts(instance: DagsterInstance) -> list[dg.AssetCheckEvaluation]:
    """All recorded evaluations, the last run's last."""
    entries = [
        entry
        for run in instance.get_runs()
        for entry in instance.all_logs(run.run_id, of_type=DagsterEventType.ASSET_CHECK_EVALUATION)
    ]
    return [
        entry.dagster_event.asset_check_evaluation_data
        for entry in sorted(entries, key=lambda entry: entry.timestamp)
        if entry.dagster_event is not None
    ]


def rows_of(value: object) -> list[dict[str, object]]:
    """A table's rows."""
    assert isinstance(value, dg.TableMetadataValue)
    return [dict(record.data) for record in value.records]


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    """The message of the one step that failed."""
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert failure.step_failure_data.error is not None
    return failure.step_failure_data.error.message


CHECKS = [(asset, name) for asset, names in CHECKS_OF.items() for name in names]
ALL_PASSED = [(asset, name, True) for asset, name in CHECKS]


def counted(verdict: dg.AssetCheckEvaluation) -> tuple[object, ...]:
    """Of how many partitions a verdict says that they passed, passed before, and failed."""
    names = ("passed", "passed_before", "failed")
    return tuple(verdict.metadata[name].value for name in names)


def test_graph_is_a_chain_of_four_described_assets(root: Path) -> None:
    graph = definitions(root).resolve_asset_graph()
    parents = {node.key.to_user_string(): node.parent_keys for node in graph.asset_nodes}
    assert set(parents) == set(ALL)
    for before, after in pairwise(ALL):
        assert parents[after] == {dg.AssetKey(before)}
    for node in graph.asset_nodes:
        assert len(node.description or "") > 100
        assert len(node.code_version or "") == 32
    checks = {(key.asset_key.to_user_string(), key.name) for key in graph.asset_check_keys}
    assert checks == set(CHECKS)
    described = {check.name: check.description for stage in STAGES for check in stage.checks}
    for key in graph.asset_check_keys:
        check = graph.get(key)
        assert check.blocking
        assert (check.description or "").startswith(described[key.name])


@pytest.mark.parametrize("per_run", [None, 1, 7])
def test_a_backfill_is_split_as_the_setting_says(root: Path, per_run: int | None) -> None:
    settings = Settings(root, root, "test", workers=2, partitions_per_run=per_run)
    graph = build_definitions(Recipe(raw=TOLERANT), settings).resolve_asset_graph()
    for asset in ASSETS:
        policy = graph.get(dg.AssetKey(asset)).backfill_policy
        assert policy is not None
        assert policy.max_partitions_per_run == per_run


def test_one_partition(root: Path) -> None:
    instance = DagsterInstance.ephemeral()
    assert materialize(root, ALL, key="b", instance=instance).success
    for asset in ASSETS:
        assert list(materialized(instance, asset)) == ["b"]
        assert [p.name for p in (root / asset).glob("*.json")] == ["b.json"]
    assert evaluations(instance) == ALL_PASSED
    assert (root / "corpus_report" / "report.html").exists()


def test_range_is_one_run_with_each_partitions_own_metadata(root: Path) -> None:
    instance = DagsterInstance.ephemeral()
    assert materialize(root, ALL, tags=RANGE, instance=instance, workers=2).success
    assert evaluations(instance) == ALL_PASSED
    assert {counted(verdict) for verdict in verdicts(instance)} == {(3, 0, 0)}
    of = {verdict.check_name: verdict.metadata for verdict in verdicts(instance)}
    assert of["lossless"]["looked_at_documents"].value == 180
    for asset in ASSETS:
        found = materialized(instance, asset)
        assert set(found) == set(KEYS)
        for key, metadata in found.items():
            receipt = json.loads((root / asset / f"{key}.json").read_bytes())["result"]
            assert metadata["seed"] == receipt["seed"]
            assert metadata["fingerprint"] == receipt["fingerprint"]
            assert metadata["dagster/partition_row_count"] == 60
            assert (
                json.loads(json.dumps(metadata["receipt_json"]))["result"]["input"]
                == receipt["input"]
            )
            assert metadata["dagster/uri"] == str(root / asset / f"{key}{DATA[asset]}")
            assert metadata["rejected_lines"] == (0 if asset == "token_arrays" else 1)
    fim = materialized(instance, "fim_shards")["a"]
    checks = fim["checks"]
    assert isinstance(checks, dg.TableMetadataValue)
    assert [row.data["check"] for row in checks.records] == list(CHECKS_OF["fim_shards"])
    assert checks.records[0].data["found"] == "Documents that come back exactly: 60 of 60."
    assert fim["fim_rate_asked"] == 0.5
    assert isinstance(fim["fim_rate_realised"], float)
    assert "middle_chars_p95" in fim
    tokens = materialized(instance, "token_arrays")["a"]
    assert isinstance(tokens["tokens_per_second"], float)
    assert isinstance(tokens["added_token_literals"], int)
    assert tokens["added_token_literals"] > 0, "the corpus holds <|endoftext|> as text"
    (report,) = materialized(instance, "corpus_report").values()
    assert report["documents"] == 180
    assert report["partitions_complete"] == 3


def test_a_preview_stands_in_the_metadata_with_tokens_where_they_are_made(root: Path) -> None:
    instance = DagsterInstance.ephemeral()
    assert materialize(root, key="a", instance=instance).success
    fim = str(materialized(instance, "fim_shards")["a"]["preview_documents"])
    tokens = str(materialized(instance, "token_arrays")["a"]["preview_documents"])
    assert [kind in fim for kind in ("### PSM", "### SPM", "### Unchanged")] == [True] * 3
    assert "<|fim_middle|>" in fim
    assert "100259 <|fim_middle|>" not in fim
    assert "100259 <|fim_middle|>" in tokens
    assert "preview" not in materialized(instance, "raw_shards")["a"]
    assert "100259 <|fim_middle|>" not in str(materialized(instance, "fim_shards")["a"]["preview"])
    assert str(materialized(instance, "token_arrays")["a"]["preview"]).startswith("**PSM**, line ")


def made_now(instance: DagsterInstance) -> set[tuple[str, str | None]]:
    """Asset and partition of what the last run made and did not skip."""
    return {
        (asset, key)
        for asset in ASSETS
        for key, metadata in materialized(instance, asset).items()
        if "skipped" not in metadata
    }


def test_a_range_again_makes_only_what_is_not_complete(root: Path) -> None:
    instance = DagsterInstance.ephemeral()
    assert materialize(root, tags=RANGE, instance=instance).success
    assert made_now(instance) == {(asset, key) for asset in ASSETS for key in KEYS}
    before = times(root)
    assert materialize(root, tags=RANGE, instance=instance).success
    assert made_now(instance) == set()
    assert times(root) == before
    assert evaluations(instance) == ALL_PASSED * 2
    made = [counted(verdict) for verdict in verdicts(instance)]
    assert made == [*[(3, 0, 0)] * len(CHECKS), *[(3, 3, 0)] * len(CHECKS)], "what was true stays"
    seeds = {metadata["seed"] for metadata in materialized(instance, "fim_shards").values()}
    assert len(seeds) == 3, "a skipped partition's metadata says what a made one's says"
    write_shard(root / "raw" / "b.jsonl.zst", documents(61, "b"))
    (root / "token_arrays" / "c-00000.npy").unlink()
    assert materialize(root, tags=RANGE, instance=instance).success
    assert made_now(instance) == {*((asset, "b") for asset in ASSETS), ("token_arrays", "c")}


def times(root: Path) -> dict[Path, int]:
    return {
        path: path.stat().st_mtime_ns
        for asset in ASSETS
        for path in (root / asset).iterdir()
        if path.name != "mix.txt"
    }


def test_a_single_partition_is_made_again_unless_the_run_is_told_otherwise(root: Path) -> None:
    instance = DagsterInstance.ephemeral()
    skip, make = {"skip_complete": True}, {"skip_complete": False}
    assert materialize(root, key="a", instance=instance, config=skip).success
    assert materialize(root, key="a", instance=instance, config=skip).success
    assert made_now(instance) == set()
    assert materialize(root, key="a", instance=instance).success
    assert made_now(instance) == {(asset, "a") for asset in ASSETS}
    last = {"dagster/asset_partition_range_start": "c", "dagster/asset_partition_range_end": "c"}
    assert materialize(root, tags=last, instance=instance).success
    assert made_now(instance) == {(asset, "c") for asset in ASSETS}
    assert materialize(root, tags=last, instance=instance).success
    assert made_now(instance) == set(), "a backfill in runs ends in one that holds what is left"
    assert materialize(root, tags=RANGE, instance=instance).success
    assert materialize(root, tags=RANGE, instance=instance, config=make).success
    assert made_now(instance) == {(asset, key) for asset in ASSETS for key in KEYS}


def test_one_asset_of_a_range(root: Path) -> None:
    instance = DagsterInstance.ephemeral()
    assert materialize(root, ["fim_shards"], tags=RANGE, instance=instance).success
    assert set(materialized(instance, "fim_shards")) == set(KEYS)
    assert not (root / "raw_shards").exists()
    assert evaluations(instance) == ALL_PASSED[: len(CHECKS_OF["fim_shards"])]


def test_failed_shard_is_named_and_the_finished_ones_stay_recorded(root: Path) -> None:
    damaged = root / "raw" / "b.jsonl.zst"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    instance = DagsterInstance.ephemeral()
    result = materialize(root, ALL, tags=RANGE, instance=instance)
    assert not result.success
    message = failure_of(result)
    assert "1 of 3 partitions failed:" in message
    assert f"b: raw_shards: {damaged}: after line" in message
    assert "what the message names" in message
    for asset in ASSETS:
        assert set(materialized(instance, asset)) == {"a", "c"}
        ((partition, metadata),) = observed(instance, asset)
        assert partition == "b"
        assert str(metadata["failure"]).startswith(f"raw_shards: {damaged}: after line")
        assert "what the message names" in str(metadata["what_to_do"])
    assert evaluations(instance) == ALL_PASSED
    assert {counted(verdict) for verdict in verdicts(instance)} == {(2, 0, 0)}
    assert materialized(instance, "corpus_report") == {}
    assert not (root / "corpus_report").exists()


def test_a_wrong_text_field_is_told_once_without_a_stack_trace(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The lines are kept by name until the partition is finished."""
    for key in KEYS:
        write_shard(root / "raw" / f"{key}.jsonl.zst", [{"content": "text"}] * 40)
    strict = build_definitions(Recipe(), Settings(root, root, "test", 1))
    instance = DagsterInstance.ephemeral()
    result = dg.materialize(
        assets_of(strict),
        selection=dg.AssetSelection.assets("raw_shards"),
        tags=RANGE,
        instance=instance,
        raise_on_error=False,
    )
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    assert failed.step_failure_data.error is not None
    assert failed.step_failure_data.error.stack == []
    message = failed.step_failure_data.error.message
    assert message.count("40 of 40 lines rejected") == 1
    assert message.count("raw.text_field is text; these lines hold text in content: ") == 1
    assert "b, c: the same fault as a" in message
    shown = capfd.readouterr().err
    assert "Traceback" not in shown
    assert "Stack Trace" not in shown
    assert shown.count("no_text: text is missing") == 3, "the first partition's, and the failure's"
    kept = [root / "raw_shards" / f"{key}.failed.jsonl" for key in KEYS]
    assert sorted((root / "raw_shards").iterdir()) == kept
    assert str(kept[0]) in message
    assert len(kept[2].read_bytes().splitlines()) == 40
    write_shard(root / "raw" / "a.jsonl.zst", documents(20))
    assert materialize(root, ["raw_shards"], key="a", instance=instance).success
    assert not kept[0].exists()


def test_partitions_finished_in_a_failing_run_go_stale_with_the_recipe(root: Path) -> None:
    (root / "raw" / "b.jsonl.zst").write_bytes(b"damaged")
    instance = DagsterInstance.ephemeral()
    assert not materialize(root, tags=RANGE, instance=instance).success
    (record, *_) = instance.fetch_materializations(dg.AssetKey("fim_shards"), limit=1).records
    assert record.asset_materialization is not None
    tags = record.asset_materialization.tags or {}
    receipt = json.loads((root / "fim_shards" / "a.json").read_bytes())["result"]
    assert tags["dagster/code_version"] == receipt["fingerprint"]


def test_a_run_tells_of_what_it_replaces_and_of_another_corpus_records(
    root: Path, tmp_path_factory: pytest.TempPathFactory, capfd: pytest.CaptureFixture[str]
) -> None:
    instance = DagsterInstance.ephemeral()

    def told(folder: Path, recipe: Recipe) -> tuple[int, int]:
        capfd.readouterr()
        built = build_definitions(recipe, Settings(folder, folder, "test", 1))
        assert dg.materialize(assets_of(built)[:1], tags=RANGE, instance=instance).success
        log = capfd.readouterr().err
        return log.count("another recipe had made"), log.count("DAGSTER_HOME")

    tolerant = Recipe(raw=TOLERANT)
    assert told(root, tolerant) == (0, 0)
    assert told(root, tolerant) == (0, 0)
    assert told(root, tolerant.model_copy(update={"seed": 1})) == (2, 0)
    other = tmp_path_factory.mktemp("other")
    shutil.copytree(root / "raw", other / "raw")
    assert told(other, tolerant) == (0, 2), "the warning names it twice"


def test_a_range_without_partitions_fails(root: Path) -> None:
    tags = {"dagster/asset_partition_range_start": "c", "dagster/asset_partition_range_end": "a"}
    instance = DagsterInstance.ephemeral()
    assert not materialize(root, ["fim_shards"], tags=tags, instance=instance).success
    assert materialized(instance, "fim_shards") == {}


def test_failed_check_stops_its_shard_and_fails_the_run(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transformation that loses a character is caught before anything is tokenized."""
    monkeypatch.setattr("fim_assets.fim_shards.transform.arrange", lambda *_: "<|fim_prefix|>lost")
    instance = DagsterInstance.ephemeral()
    result = materialize(root, key="a", instance=instance)
    assert not result.success
    found = {verdict.check_name: verdict for verdict in verdicts(instance)}
    assert list(found) == list(CHECKS_OF["fim_shards"]), "no later stage was reached"
    assert not found["lossless"].passed
    assert counted(found["lossless"]) == (0, 0, 1)
    (row,) = rows_of(found["lossless"].metadata["faults"])
    assert row["partition"] == "a"
    assert str(row["found"]).startswith(f"{root / 'fim_shards' / 'a.jsonl.zst'} and ")
    assert found["rates_within_bounds"].passed
    assert observed(instance, "raw_shards") == []
    for asset in ("fim_shards", "token_arrays"):
        ((partition, metadata),) = observed(instance, asset)
        assert partition == "a"
        assert str(metadata["failure"]).startswith("fim_shards: check lossless failed: ")
        assert "failure_lines" not in metadata
    assert set(materialized(instance, "raw_shards")) == {"a"}
    assert materialized(instance, "fim_shards") == {}
    assert not (root / "token_arrays").exists()
    assert not (root / "fim_shards" / "a.json").exists()


def check_alone(
    root: Path, name: str, instance: DagsterInstance, tags: dict[str, str] | None = None
) -> dg.ExecuteInProcessResult:
    """Run one check of the token arrays and nothing else."""
    key = dg.AssetCheckKey(dg.AssetKey("token_arrays"), name)
    return dg.materialize(
        assets_of(definitions(root)),
        selection=dg.AssetSelection.checks(key),
        tags=tags,
        instance=instance,
        raise_on_error=False,
    )


def test_a_check_runs_alone(root: Path) -> None:
    instance = DagsterInstance.ephemeral()
    materialize(root, key="a", instance=instance)
    for path in (root / "token_arrays").glob("*.npy"):
        path.write_bytes(path.read_bytes()[:-8] + b"\0\0\0\0\0\0\0\0")
    before = len(verdicts(instance))
    one = {"dagster/partition": "a"}
    assert check_alone(root, "nothing_lost", instance, one).success, "the parquet is as it was"
    assert not check_alone(root, "one_eos_per_document", instance, one).success
    ((partition, _),) = observed(instance, "token_arrays")
    assert partition == "a"
    assert evaluations(instance)[before:] == [
        ("token_arrays", "nothing_lost", True),
        ("token_arrays", "one_eos_per_document", False),
    ]


def test_checks_alone_look_at_all_that_is_finished_or_at_a_range(root: Path) -> None:
    instance = DagsterInstance.ephemeral()
    for key in ("a", "c"):
        assert materialize(root, key=key, instance=instance).success
    assert check_alone(root, "nothing_lost", instance).success
    assert counted(verdicts(instance)[-1]) == (2, 0, 0)
    assert not check_alone(root, "nothing_lost", instance, RANGE).success, "b is not finished"
    (root / "token_arrays" / "a.json").write_bytes(b"{")
    found = check_alone(root, "nothing_lost", instance)
    assert counted(verdicts(instance)[-1]) == (1, 0, 0)
    assert "a.json: not a receipt" in failure_of(found)
    for key in ("a", "c"):
        (root / "token_arrays" / f"{key}.json").unlink()
    found = check_alone(root, "nothing_lost", instance)
    assert "no partition of token_arrays is finished" in failure_of(found)


def test_prefix_goes_before_keys_and_folders(root: Path) -> None:
    assets = assets_of(definitions(root, ["b", "low"]))
    result = dg.materialize(assets, partition_key="a", instance=DagsterInstance.ephemeral())
    assert result.success
    keys = {event.asset_key for event in result.get_asset_materialization_events()}
    assert keys == {dg.AssetKey(["b", "low", asset]) for asset in ALL}
    assert (root / "b" / "low" / "corpus_report" / "summary.json").exists()
    assert not (root / "fim_shards").exists()


def test_two_recipes_stand_in_one_code_location(root: Path) -> None:
    merged = dg.Definitions.merge(definitions(root, ["x"]), definitions(root, ["y"]))
    assert len(list(merged.resolve_asset_graph().asset_nodes)) == 8


def test_control_tokens_that_the_tokenizer_has_not_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for text, warned in (
        ("tokens: {tokenizer: {eos_token_id: 5}}", "tokens.tokenizer.eos_token_id = 5: no added"),
        ("fim: {fim_end_token: '<end>'}", "fim.fim_end_token = <end>: not one id in "),
        ("seed: 1", ""),
    ):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            settings = Settings(tmp_path, tmp_path, "x", 1)
            build_definitions(parse_recipe(text, "x"), settings)
        assert f"token_arrays would fail: {warned}" in caplog.text or not warned
        assert warned or "would fail" not in caplog.text


def test_a_language_that_no_document_has_is_warned_of_once_a_run(tmp_path: Path) -> None:
    """Shards of one language each: what one of them lacks is no reason to warn."""
    for language in ("C", "markdown"):
        rows = [{"text": "x" * 20 + str(n), "metadata": {"language": language}} for n in range(9)]
        write_shard(tmp_path / "raw" / f"{language}.jsonl", rows)
    rates = {"default": 0.5, "Markdown": 0, "C": 0.5, "Ada": 0}
    recipe = Recipe.model_validate({"fim": {"fim_rate": rates}})
    assets = assets_of(build_definitions(recipe, Settings(tmp_path, tmp_path, "x", 1)))
    fim = dg.AssetSelection.assets("fim_shards")
    every = {"dagster/asset_partition_range_start": "C"}
    every["dagster/asset_partition_range_end"] = "markdown"
    for run, warned in (
        ({"partition_key": "C"}, []),
        ({"partition_key": "markdown"}, ["Markdown"]),
        ({"tags": every}, ["Ada", "Markdown"]),
    ):
        instance = DagsterInstance.ephemeral()
        result = dg.materialize(assets, selection=fim, instance=instance, **run)
        assert result.success
        entries = instance.all_logs(result.run_id)
        told = [entry.user_message for entry in entries if entry.level == logging.WARNING]
        assert len(told) == len(warned)
        for line, language in zip(told, warned, strict=True):
            assert f"the language {language}, which no document names" in line
            assert ("close: markdown" in line) == (language == "Markdown")
    warned_of = {
        key: its.get("warnings") for key, its in materialized(instance, "fim_shards").items()
    }
    assert warned_of["C"] is None
    assert len(rows_of(warned_of["markdown"])) == 1


def test_no_shard_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        definitions(tmp_path)
    assert "no shard found: raw/**/*.json* below " in caplog.text
    assets = assets_of(definitions(tmp_path))
    result = dg.materialize(
        assets,
        selection=["corpus_report"],
        instance=DagsterInstance.ephemeral(),
        raise_on_error=False,
    )
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert failure.step_failure_data.error is not None
    assert "raw/**/*.json*" in failure.step_failure_data.error.message


def test_nothing_runs_by_itself_until_it_is_switched_on(root: Path) -> None:
    (sensor,) = definitions(root).sensors or []
    assert isinstance(sensor, dg.AutomationConditionSensorDefinition)
    assert sensor.name == "materialize_what_is_due"
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED


def requested(
    built: dg.Definitions, instance: DagsterInstance, cursor: AssetDaemonCursor | None = None
) -> tuple[dict[str, set[str]], AssetDaemonCursor]:
    """The partitions of each asset that automation asks for."""
    found = dg.evaluate_automation_conditions(built, instance, cursor=cursor)
    keys = {
        asset: found.get_requested_partitions(dg.AssetKey(asset))
        for asset in ALL
        if found.get_num_requested(dg.AssetKey(asset))
    }
    return {asset: {key for key in its if key} for asset, its in keys.items()}, found.cursor


def test_what_is_missing_is_asked_for_once_when_automation_is_switched_on(root: Path) -> None:
    """A shard that came before, one that cannot be made, and the report behind them."""
    instance = DagsterInstance.ephemeral()
    assert materialize(root, tags=RANGE, instance=instance).success
    write_shard(root / "raw" / "d.jsonl.zst", documents(9, "d"))
    (root / "raw" / "e.jsonl.zst").write_bytes(b"damaged")
    built = definitions(root)
    asked, cursor = requested(built, instance)
    assert asked == {asset: {"d", "e"} for asset in ASSETS}
    both = {"dagster/asset_partition_range_start": "d", "dagster/asset_partition_range_end": "e"}
    assert not materialize(root, tags=both, instance=instance).success
    for _ in range(3):
        asked, cursor = requested(built, instance, cursor)
        assert asked == {}, "what failed is not asked for again, and what is there is not remade"
    write_shard(root / "raw" / "e.jsonl.zst", documents(9, "e"))
    assert materialize(root, key="e", instance=instance).success
    asked, cursor = requested(built, instance, cursor)
    assert asked == {"corpus_report": set()}
    assert materialize(root, ["corpus_report"], instance=instance).success
    assert requested(built, instance, cursor)[0] == {}


def test_automation_leaves_a_complete_partition_as_it_is(root: Path) -> None:
    """Provenance where no record was kept, it is missing to Dagster and not on the disk."""
    assert materialize(root, key="a").success
    instance = DagsterInstance.ephemeral()
    tags = {"dagster/from_automation_condition": "true"}
    assert materialize(root, key="a", tags=tags, instance=instance).success
    assert made_now(instance) == set()


def test_later_stages_follow_earlier_ones_and_new_shards_are_made(root: Path) -> None:
    instance = DagsterInstance.ephemeral()
    built = definitions(root)
    assert materialize(root, ALL, tags=RANGE, instance=instance).success
    asked, cursor = requested(built, instance)
    assert asked == {}
    assert materialize(root, ["fim_shards"], key="b", instance=instance).success
    asked, cursor = requested(built, instance, cursor)
    assert asked == {"token_arrays": {"b"}}
    write_shard(root / "raw" / "d.jsonl.zst", documents(9, "d"))
    asked, _ = requested(definitions(root), instance, cursor)
    assert asked == {asset: {"d"} for asset in ASSETS}


@pytest.mark.parametrize("partition", ["a", None])
def test_a_job_goes_the_whole_way_of_one_partition_or_of_all(
    root: Path, partition: str | None
) -> None:
    job = definitions(root).resolve_job_def("raw_shards_to_corpus_report")
    instance = DagsterInstance.ephemeral()
    assert job.execute_in_process(partition_key=partition, instance=instance).success
    for asset in ASSETS:
        assert set(materialized(instance, asset)) == ({partition} if partition else set(KEYS))
    assert set(materialized(instance, "corpus_report")) == {None}
    if partition is None:
        assert job.execute_in_process(instance=instance).success
        assert made_now(instance) == set(), "what is complete is left as it is"


def statuses(built: dg.Definitions, instance: DagsterInstance, key: str) -> dict[str, StaleStatus]:
    resolver = CachingStaleStatusResolver(
        instance, built.resolve_asset_graph(), LoadingContextForTest(instance)
    )
    return {asset: resolver.get_status(dg.AssetKey(asset), key) for asset in ASSETS}


def test_partitions_go_stale_with_the_recipe_and_with_what_they_are_made_of(root: Path) -> None:
    instance = DagsterInstance.ephemeral()
    assert materialize(root, tags=RANGE, instance=instance).success
    fresh = dict.fromkeys(ASSETS, StaleStatus.FRESH)
    assert statuses(definitions(root), instance, "b") == fresh
    recipe = Recipe(raw=TOLERANT, fim=Fim(fim_rate=0.25))
    changed = build_definitions(recipe, Settings(root, root, "test", workers=1))
    stale = dict.fromkeys(["fim_shards", "token_arrays"], StaleStatus.STALE)
    assert statuses(changed, instance, "b") == fresh | stale
    write_shard(root / "raw" / "b.jsonl.zst", documents(61, "b"))
    assert materialize(root, ["raw_shards"], key="b", instance=instance).success
    assert statuses(definitions(root), instance, "b") == fresh | {"fim_shards": StaleStatus.STALE}
    assert materialize(root, key="b", instance=instance).success
    assert statuses(definitions(root), instance, "b") == fresh
    assert materialize(root, ["fim_shards"], key="b", instance=instance).success
    assert statuses(definitions(root), instance, "b") == fresh, "it is the same content"


def test_a_reason_of_a_failure_makes_nothing_stale_and_nothing_due(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = DagsterInstance.ephemeral()
    built = definitions(root)
    assert materialize(root, ALL, tags=RANGE, instance=instance).success
    asked, cursor = requested(built, instance)
    before = statuses(built, instance, "b")
    with monkeypatch.context() as patched:
        patched.setattr("fim_assets.fim_shards.transform.arrange", lambda *_: "<|fim_prefix|>lost")
        assert not materialize(root, ["fim_shards"], key="b", instance=instance).success
    assert [partition for partition, _ in observed(instance, "fim_shards")] == ["b"]
    assert statuses(built, instance, "b") == before == dict.fromkeys(ASSETS, StaleStatus.FRESH)
    for _ in range(2):
        asked, cursor = requested(built, instance, cursor)
        assert asked == {}
    assert materialize(root, ["fim_shards"], key="b", instance=instance).success
    assert requested(built, instance, cursor)[0] == {"token_arrays": {"b"}}
