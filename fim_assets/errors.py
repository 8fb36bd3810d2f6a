"""Errors whose message says all that a user needs, so that a traceback would only hide it."""


class UserError(ValueError):
    """Input, files or settings that cannot be used; `str()` says with what, why and what to do.

    Attributes:
        problem: What is wrong.
        advice: What to do; '' where the problem says it.
        location: The shard or file with the problem; '' where the problem names it.
    """

    def __init__(self, problem: str, advice: str = "", location: object = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.advice = advice
        self.location = str(location)

    @property
    def message(self) -> str:
        """What is wrong, and where."""
        return f"{self.location}: {self.problem}" if self.location else self.problem

    def __str__(self) -> str:
        return f"{self.message}; {self.advice}" if self.advice else self.message


class ShardError(UserError):
    """Shards that cannot be used; the message names the shard, and the line where there is one.

    Attributes:
        fault: What shards with the same fault have in common, '' where that is not known.
    """

    def __init__(self, problem: str, advice: str = "", location: object = "") -> None:
        super().__init__(problem, advice, location)
        self.fault = advice


USER_ERRORS = (UserError, OSError)
"""What can be wrong with input, files, settings and storage, and no fault of the program."""
