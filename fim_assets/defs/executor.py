"""The executor of a run's partitions: processes of this machine, or a Ray cluster.

It is no executor of Dagster's, which would run one step of it.
"""

from collections.abc import Generator, Sequence

import dagster as dg

from fim_assets.run.local import run_partitions
from fim_assets.run.partition import Outcome, Task
from fim_assets.settings import Settings


def run_tasks(tasks: Sequence[Task], settings: Settings) -> Generator[Outcome, None, None]:
    """Run partitions of one corpus and yield the outcome of each, as they finish.

    Raises:
        Failure: If the cluster cannot be used; the message says why.
    """
    if settings.engine == "local":
        yield from run_partitions(tasks, settings.workers)
        return
    from fim_assets.run.on_ray import ClusterError, run_partitions_on_ray

    try:
        yield from run_partitions_on_ray(tasks)
    except ClusterError as error:
        raise dg.Failure(str(error)) from None
