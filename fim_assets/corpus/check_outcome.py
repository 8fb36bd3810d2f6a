"""A check's verdict."""

from dataclasses import dataclass, field

Number = int | float | str | None


@dataclass(frozen=True)
class CheckOutcome:
    """A check's verdict on one partition.

    Attributes:
        name: The check.
        passed: Its verdict.
        description: The verdict in one sentence, with the first fault if there is one.
        numbers: What was counted.
    """

    name: str
    passed: bool
    description: str
    numbers: dict[str, Number] = field(default_factory=dict)


def fault(name: str, description: str) -> CheckOutcome:
    """The verdict of a check that found a fault."""
    return CheckOutcome(name, passed=False, description=description)
