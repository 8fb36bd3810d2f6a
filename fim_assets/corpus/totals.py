"""What a stage read and wrote."""

from dataclasses import dataclass, field

from fim_assets.io.hashing import FileRecord


@dataclass(frozen=True)
class Totals:
    """What a stage read and wrote, as its receipt says it, see `receipts.Result`.

    `counts` are further numbers, which no table holds: `rejected:<reason>`, `tokens:<language>`.
    """

    input: FileRecord
    lines: int
    blank: int
    rejected: int
    documents: int
    chars: int
    files: int | None = None
    tokens: int | None = None
    counts: dict[str, int] = field(default_factory=dict)
