"""Tasks: what the executors know of the work that they spread, a partition's or a command's."""

from collections.abc import Sequence
from typing import ClassVar, Protocol, TypeVar

from fim_assets.errors import UserError
from fim_assets.io.locations import Location


class ClusterError(UserError):
    """A cluster that cannot be reached, or a node that cannot work; the message says what to do."""


class TaskOutcome(Protocol):
    """What became of a task.

    Attributes:
        interrupted: Whether a worker process died over it, so that it was worked on again.
    """

    interrupted: bool


OutcomeT = TypeVar("OutcomeT", bound=TaskOutcome)
OutcomeT_co = TypeVar("OutcomeT_co", bound=TaskOutcome, covariant=True)


class Task(Protocol[OutcomeT_co]):
    """Work for one worker, which does the largest tasks first; a frozen dataclass.

    Attributes:
        shared: The field that all tasks of a run have in common, which a cluster is sent once.
    """

    shared: ClassVar[str]

    @property
    def key(self) -> str:
        """Its name among those of the run."""

    @property
    def size(self) -> int:
        """How much there is to do."""

    @property
    def folder(self) -> Location:
        """A folder that all workers must see."""

    def identity(self) -> Sequence[str]:
        """What decides the bytes that a worker would make, and must be the same on all of them."""

    def run(self) -> OutcomeT_co:
        """Do the work; raises only what asks the run to end, and faults of the program."""

    def failed(self, reason: str) -> OutcomeT_co:
        """What became of it where no worker could finish it."""
