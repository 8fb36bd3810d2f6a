"""Rejected lines: kept, counted, compared with the recipe's bounds, and explained.

A line is explained by its reason, and a whole shard by what its rejected lines have in common, such
as text in another field than the recipe names.
"""

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import orjson

from fim_assets.recipe.raw import Raw
from fim_assets.recipe.values import field_path
from fim_assets.wording import plural

REJECTED_SHOWN = 10
"""Rejected lines that the error names when there are too many."""

_LINES_LOOKED_AT = 1000
_FIELDS_SHOWN = 4

_BARE_NUMBER = re.compile(r"-?(NaN|Infinity)\b")
_CARRIAGE_RETURN_ALONE = re.compile(rb"\}[ \t]*\r[ \t\r]*\{")

NO_NUMBERS = (
    "NaN, Infinity and -Infinity, which Python's json writes, are no JSON: have null written in "
    "their place"
)
CARRIAGE_RETURNS = (
    r"its lines end in CR alone, and those of a shard in LF: convert it, as `tr '\r' '\n'` does"
)
NORMAL_EMPTY_SHARE = 0.1
"""A share of empty texts that code may well have, as empty `__init__.py`."""

EMPTY_TEXTS = (
    "empty files are normal in code: write `raw: {max_empty_share: "
    f"{NORMAL_EMPTY_SHARE}}}` in the recipe; they are left out and counted, and broken lines still "
    "stop the run"
)
MORE_EMPTY_TEXTS = "raise raw.max_empty_share, if so many empty texts are meant to be there"
NOT_EXPLAINED = "mend the shard, or raise raw.max_rejected_share"

ONE_ARRAY = (
    "it is a JSON array, and a shard has one object a line: convert it, as `jq -c '.[]'` does"
)
ONE_DOCUMENT = (
    "its JSON is spread over several lines, and a shard has one object a line: convert it, as "
    "`jq -c .` does"
)

REJECTION_MEANINGS = {
    "not_json": "is no JSON",
    "not_utf8": "is no UTF-8",
    "byte_order_mark": "begins with a byte order mark",
    "not_an_object": "is JSON, but no object",
    "nested_too_deep": "is nested deeper than 128 levels",
    "no_text": "has no raw.text_field",
    "text_not_string": "its text is no string",
    "empty": "its text is empty",
    "id_not_string": "its id is neither a string nor a number",
    "too_long": "is longer than raw.max_line_bytes",
}
"""What the reasons say about a line."""


@dataclass(frozen=True, slots=True)
class RejectedLine:
    """A rejected line.

    Attributes:
        line: Number in the shard, 1-based.
        reason: One word, for counting.
        detail: What is wrong, as text.
        content: The line's bytes; the first 1,024 of one that is too long.
        identity: Size and BLAKE2b (64 hex digits) of a line that is too long.
        advice: What the line is instead and what to do, '' where that is not known; not kept.
        place: In a group of shards, the file and the line in it, 1-based; else None.
    """

    line: int
    reason: str
    detail: str
    content: bytes
    identity: tuple[int, str] | None = None
    advice: str = ""
    place: tuple[Path, int] | None = None

    def __str__(self) -> str:
        where = f"line {self.line:,}"
        if self.place is not None:
            path, line = self.place
            where = f"{path}, line {line:,}"
        return f"{where}: {self.reason}: {self.detail}"

    def placed(self, path: Path, line: int) -> Self:
        """The same line, by the file that it stands in and its line there."""
        return replace(self, place=(path, line))

    def to_json(self) -> bytes:
        """One line of `<key>.rejected.jsonl`; bytes that are not UTF-8 stand as `content_hex`."""
        row: dict[str, Any] = {"line": self.line, "reason": self.reason, "detail": self.detail}
        if self.place is not None:
            path, row["shard_line"] = self.place
            row["shard"] = path.name
        if self.identity is not None:
            row["bytes"], row["blake2b"] = self.identity
        try:
            row["content"] = self.content.decode()
        except UnicodeDecodeError:
            row["content_hex"] = self.content.hex()
        return orjson.dumps(row) + b"\n"


class Excess(NamedTuple):
    """More lines than a bound allows.

    Attributes:
        lines: How many.
        share: The bound, a share of all lines that are not blank.
        text: Both as text, with the reasons.
        first: The first of these lines, without their content.
        explanation: What most of them have in common and what to do; '' where it is not known.
    """

    lines: int
    share: float
    text: str
    first: list[RejectedLine]
    explanation: str


@dataclass
class Rejections:
    """What is remembered of a shard's rejected lines, to judge and to explain them.

    `raw` has their bounds, and where a text should be; `reasons` counts them.
    """

    raw: Raw
    reasons: Counter[str] = field(default_factory=Counter)
    _first: list[RejectedLine] = field(default_factory=list)
    _first_empty: list[RejectedLine] = field(default_factory=list)
    _advice: Counter[str] = field(default_factory=Counter)
    _without_text: int = 0
    _fields: Counter[str] = field(default_factory=Counter)

    def add(self, line: RejectedLine) -> None:
        """Count a line, and remember what may explain the shard."""
        self.reasons[line.reason] += 1
        if line.advice:
            self._advice[line.advice] += 1
        if line.reason in {"no_text", "text_not_string"}:
            self._without_text += 1
            if self._without_text <= _LINES_LOOKED_AT:
                self._fields.update(string_fields(line.content))
        has_own_bound = line.reason == "empty" and self.raw.max_empty_share is not None
        first = self._first_empty if has_own_bound else self._first
        if len(first) < REJECTED_SHOWN:
            first.append(replace(line, content=b""))

    def excess(self, lines: int, of: str = "line") -> Excess | None:
        """What exceeds the recipe's bounds, by the number of lines that are not blank.

        `of` is what the lines are called: not all of them may have been read.
        """
        counted = Counter(self.reasons)
        share, empty_share = self.raw.max_rejected_share, self.raw.max_empty_share
        empty = counted.pop("empty", 0) if empty_share is not None else 0
        rejected = counted.total()
        if rejected > share * lines:
            reasons = ", ".join(f"{reason} {n:,}" for reason, n in counted.most_common())
            what, bound = f"rejected ({reasons})", f"raw.max_rejected_share is {share:g}"
            only_empty = rejected - counted["empty"] <= share * lines
            explanation = EMPTY_TEXTS if only_empty else self._explanation(rejected, lines)
            number, exceeded, first = rejected, share, self._first
        elif empty_share is not None and empty > empty_share * lines:
            what, bound = "with an empty text", f"raw.max_empty_share is {empty_share:g}"
            number, exceeded, first = empty, empty_share, self._first_empty
            explanation = MORE_EMPTY_TEXTS
        else:
            return None
        text = f"{number:,} of {plural(lines, of)} {what}, {bound}"
        return Excess(number, exceeded, text, first, explanation)

    def _explanation(self, rejected: int, lines: int) -> str:
        opening = self._first[0]
        if opening.line == 1 and opening.advice in {ONE_ARRAY, ONE_DOCUMENT}:
            return opening.advice
        advice, times = next(iter(self._advice.most_common(1)), ("", 0))
        if 2 * times > rejected:
            return advice
        # Where most lines have their text, the field is right, and these hold other strings.
        if not self._fields or 2 * self._without_text <= lines:
            return ""
        fields = ", ".join(name for name, _ in self._fields.most_common(_FIELDS_SHOWN))
        of_schema = f"raw.schema is {self.raw.schema_name}, and " if self.raw.schema_name else ""
        right = "another schema, or the fields instead of it," if of_schema else "the right one"
        return (
            f"{of_schema}raw.text_field is {self.raw.text_field}; these lines hold text in "
            f"{fields}: name {right} in the recipe"
        )


def string_fields(line: bytes) -> Counter[str]:
    """The fields of a line, an object, that hold strings, as paths, with the strings' lengths."""
    sizes: Counter[str] = Counter()

    def walk(value: Any, names: tuple[str, ...]) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                walk(inner, (*names, name))
        elif isinstance(value, str) and value and all(names):
            sizes[field_path(names)] += len(value)

    walk(orjson.loads(line), ())
    return sizes


def one_value(line: bytes) -> str:
    """What to do about a first line that begins one JSON value for all the shard, else ''."""
    line = line.strip()
    if line.startswith(b"[") and line[1:].lstrip()[:1] in {b"", b"{"}:
        return ONE_ARRAY
    return ONE_DOCUMENT if line == b"{" else ""


def explain_line(line: bytes, error: orjson.JSONDecodeError) -> str:
    """What a line that is not JSON is instead, and what to do; '' where that is not known."""
    if _BARE_NUMBER.match(error.doc, error.pos):
        return NO_NUMBERS
    if ends_in_carriage_returns(line):
        return CARRIAGE_RETURNS
    return one_value(line)


def ends_in_carriage_returns(lines: bytes | bytearray | memoryview) -> bool:
    """Whether objects stand behind one another with nothing between them but CR."""
    return _CARRIAGE_RETURN_ALONE.search(lines) is not None
