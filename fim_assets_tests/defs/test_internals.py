import sys
from pathlib import Path
from uuid import uuid4

import dagster as dg
import pytest
from dagster import DagsterInstance
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin

from fim_assets.defs.internals import show_in_overview


@pytest.mark.parametrize(
    ("module", "retries", "location"),
    [
        ("fim_assets.definitions", "false", "fim_assets"),
        ("fim_assets.definitions", "true", None),
        ("somebody.elses", "false", None),
    ],
)
def test_a_run_that_gets_a_location_stays_as_it_is_recorded(
    tmp_path: Path, module: str, retries: str, location: str | None
) -> None:
    """Status and tags have changed since the step was given the run."""
    code = RepositoryPythonOrigin(sys.executable, ModuleCodePointer(module, "defs"))
    origin = JobPythonOrigin("all", code)
    assets = {dg.AssetKey("raw_shards")}
    given = dg.DagsterRun("all", str(uuid4()), asset_selection=assets, job_code_origin=origin)
    (tmp_path / "dagster.yaml").write_text(f"run_retries: {{enabled: {retries}}}")
    with DagsterInstance.from_config(str(tmp_path)) as instance:
        instance.add_run(given)
        instance.add_run_tags(given.run_id, {"mine": "1"})
        instance.report_run_failed(given)
        for _ in range(2):
            show_in_overview(instance, given)
        found = instance.get_run_by_id(given.run_id)
        assert found is not None
        assert (found.status, found.asset_selection) == (dg.DagsterRunStatus.FAILURE, assets)
        assert found.tags["mine"] == "1"
        named = found.remote_job_origin
        assert (named and named.location_name) == location
