"""Errors whose message says all that a user needs."""


class ShardError(ValueError):
    """Shards that cannot be used; the message names the shard, and the line where there is one.

    Attributes:
        message: What is wrong.
        advice: What to do, '' where the message says it.
        fault: What shards with the same fault have in common, '' where that is not known.
    """

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fault = self.advice = advice

    def __str__(self) -> str:
        """What is wrong, and what to do."""
        return f"{self.message}; {self.advice}" if self.advice else self.message
