"""What Dagster is set to in the folder that `DAGSTER_HOME` names."""

from pathlib import Path

from dagster import DagsterInstance
from dagster._core.run_coordinator import QueuedRunCoordinator

from fim_assets_tests.end_to_end.commands import REPOSITORY, run


def test_a_folder_of_ones_own_takes_the_projects_settings_unless_it_has_some(
    tmp_path: Path,
) -> None:
    home = tmp_path / "two words" / "home"
    done = run("make -s home", REPOSITORY, {"DAGSTER_HOME": str(home)})
    assert done.returncode == 0, done.stderr
    with DagsterInstance.from_config(str(home)) as instance:
        assert not instance.telemetry_enabled
        assert not instance.nux_enabled
        assert instance.python_log_level == "INFO"
        queue = instance.get_concurrency_config().run_queue_config
        assert queue is not None
        assert queue.max_concurrent_runs == 1
        assert isinstance(instance.run_coordinator, QueuedRunCoordinator)
        assert instance.run_coordinator.dequeue_interval_seconds == 2
    settings = home / "dagster.yaml"
    settings.write_text("telemetry: {enabled: true}\n")
    done = run("make -s home", REPOSITORY, {"DAGSTER_HOME": str(home)})
    assert (done.returncode, done.stdout) == (0, "")
    assert settings.read_text() == "telemetry: {enabled: true}\n"


def test_a_home_that_is_set_to_nothing_is_the_repository() -> None:
    """It has settings, which stay."""
    done = run("make -s home", REPOSITORY, {"DAGSTER_HOME": ""})
    assert (done.returncode, done.stdout) == (0, "")
