"""Who works on tasks: processes of this machine, or a Ray cluster, as the settings say."""

from collections.abc import Generator, Sequence

from fim_assets.run.local import run_in_processes
from fim_assets.run.tasks import OutcomeT, Task
from fim_assets.settings import Settings


def run_tasks(
    tasks: Sequence[Task[OutcomeT]], settings: Settings
) -> Generator[OutcomeT, None, None]:
    """Run tasks and yield the outcome of each, as they finish.

    A `ClusterError` is raised if there is no cluster to use.
    """
    if settings.engine == "local":
        yield from run_in_processes(tasks, settings.workers)
        return
    from fim_assets.run.on_ray import run_on_ray

    yield from run_on_ray(tasks)
