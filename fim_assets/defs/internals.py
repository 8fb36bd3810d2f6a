"""What the assets rely on that Dagster does not document: every such name, and what breaks with it.

Each was tried with the version that `requirements.lock` pins, and is tested through real runs; look
here first when Dagster is upgraded. Nothing else imports `dagster._core`, but `launcher.py`, whose
class is a run launcher of Dagster's own, and `failures.py`, for one error class. `component.py`
relies on how Dagster says where a value of a YAML file stands, and on the error that it shows
without a traceback.
"""

from collections.abc import Iterable, Mapping

import dagster as dg
from dagster._core.definitions.data_version import (
    DEFAULT_DATA_VERSION,
    extract_data_version_from_entry,
)
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.storage.tags import AUTOMATION_CONDITION_TAG

from fim_assets.settings import in_repository

RECORDED_BY_STEP = {SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True}
"""Metadata of an output that tells Dagster that the step has recorded its materializations itself.

Dagster calls it a temporary workaround (`execute_step.py`). The step records each partition when it
is done, so that a long run shows how far it is, and one that is killed keeps what it finished.
Without it Dagster would record every partition of the range again at the end, without metadata.
"""

_OWN_DEFINITIONS = "fim_assets.definitions"

PARTITION = "dagster/partition"
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
"""Tags that name a run's partitions. A run that only checks has no partitions in its context, and
one that names none would else be refused; without these tags both would take all partitions."""

BY_AUTOMATION = AUTOMATION_CONDITION_TAG
"""Tag of runs that automation asked for. Without it they would make complete partitions again."""


InputVersions = Mapping[str, tuple[str, int | None]]
"""By the user string of a key, the version of what was read, and the number of the event that
recorded it."""


def upstream_versions(instance: dg.DagsterInstance, keys: Iterable[dg.AssetKey]) -> InputVersions:
    """The versions of assets of others as they are now; one without a record has Dagster's default.

    Without them the partitions that are made from these would be shown as out of date.
    """
    found: dict[str, tuple[str, int | None]] = {}
    for key in keys:
        record = instance.get_latest_data_version_record(key)
        version = record and extract_data_version_from_entry(record.event_log_entry)
        number = record.storage_id if record else None
        found[key.to_user_string()] = (version or DEFAULT_DATA_VERSION).value, number
    return found


def version_tags(code_version: str, data_version: str, inputs: InputVersions) -> dict[str, str]:
    """Tags by which Dagster tells that a partition is out of date.

    Dagster writes them itself for what it records at a step's end, and not for what a step records.
    Without them every partition would be shown as out of date.
    """
    tags = {
        "dagster/code_version": code_version,
        "dagster/data_version": data_version,
        "dagster/data_version_is_user_provided": "true",
    }
    for name, (version, event) in inputs.items():
        tags[f"dagster/input_data_version/{name}"] = version
        tags[f"dagster/input_event_pointer/{name}"] = "NULL" if event is None else str(event)
    return tags


def show_in_overview(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Name the code location of a run of this package's own definitions, if a command began it.

    The UI's Overview shows no run without one, and a command's has none. The location is that of
    `workspace.yaml`, or where there is no repository, of `dagster dev -m fim_assets.definitions`.
    Dagster writes the whole run again: as it is recorded, which may have got tags since its start.
    By the location Dagster would also find what to run again, where it retries failed runs: there a
    command's stays without one.
    """
    if instance.run_retries_enabled:
        return
    recorded = instance.get_run_by_id(run.run_id) or run
    code = recorded.job_code_origin
    module = getattr(code and code.repository_origin.code_pointer, "module", None)
    if recorded.remote_job_origin is not None or module != _OWN_DEFINITIONS:
        return
    location = RegisteredCodeLocationOrigin("fim_assets" if in_repository() else module)
    repository = RemoteRepositoryOrigin(location, "__repository__")
    instance.run_storage.replace_job_origin(recorded, RemoteJobOrigin(repository, run.job_name))
