"""Shards of documents: JSON lines, packed or not; read, judged and written.

A line is a document, blank, or rejected with a reason. Every stage reads with the same reader, so
that all of them judge a line alike.
"""

from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple, Self, cast

import msgspec
import numpy as np
import orjson
import zstandard

from fim_assets.files import DIGEST_BYTES, FileRecord, HashingReader, HashingWriter
from fim_assets.packing import PackingError, unpack
from fim_assets.recipe import Raw, field_names
from fim_assets.rejections import (
    CARRIAGE_RETURNS,
    NOT_EXPLAINED,
    Excess,
    RejectedLine,
    Rejections,
    ends_in_carriage_returns,
    explain_line,
    one_value,
)

BLOCK_BYTES = 8 << 20
"""Decompressed bytes that are read and worked on at once; decides memory and nothing else."""

_BLOCK_LINES = 1 << 14
"""Lines that are worked on at once at most: of tiny documents, what they are to Python decides."""

ZSTD_LEVEL = 3

MAX_DEPTH = 128
"""Levels of nesting in a line: a bound of our own, since parsers' bounds differ and depend on the
caller's stack."""

_LONG_LINE_KEPT = 1 << 10
"""Bytes that are kept of a line over `raw.max_line_bytes`."""

_JSON_SPACE = b" \t\r"


Line = bytes | memoryview


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


class TooManyRejectedError(ShardError):
    """A shard of which more lines were rejected than the recipe allows.

    Attributes:
        lines: Some of them, in words.
        kept: Where all of them are, in words; '' where they are not kept.
    """

    def __init__(self, path: Path, excess: Excess) -> None:
        explanation = excess.explanation
        super().__init__(f"{path}: {excess.text}", explanation or NOT_EXPLAINED)
        self.fault = explanation
        some = excess.first[: 1 if explanation else None]
        self.lines = [
            f"{line}; {line.advice}" if line.advice and not explanation else str(line)
            for line in some
        ]
        if excess.lines > len(some):
            self.lines.append(f"and {excess.lines - len(some):,} more")
        self.kept = ""

    def __str__(self) -> str:
        """All of it, with the lines below."""
        kept = f"; {self.kept}" if self.kept else ""
        return "\n  ".join([f"{super().__str__()}{kept}:", *self.lines])


class RejectionError(ValueError):
    """A line that is no document.

    Attributes:
        reason: One word, for counting.
        detail: What is wrong, in words.
        advice: What the line is instead, and what to do; '' where that is not known.
    """

    def __init__(self, reason: str, detail: str, advice: str = "") -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.advice = advice

    def rejected(self, number: int, content: bytes) -> RejectedLine:
        """The record of a line, by its number and its bytes."""
        return RejectedLine(number, self.reason, self.detail, content, advice=self.advice)


class _LongLine:
    """A line over the bound, of which the beginning, the size and the hash are kept."""

    def __init__(self, begin: Line) -> None:
        self.size = 0
        self._content = bytes(begin[:_LONG_LINE_KEPT])
        self._advice = CARRIAGE_RETURNS if ends_in_carriage_returns(begin) else ""
        self._advice = self._advice or one_value(self._content)
        self._digest = blake2b(digest_size=DIGEST_BYTES)
        self.add(begin)

    def add(self, piece: Line) -> None:
        """Pass over what follows."""
        self.size += len(piece)
        self._digest.update(piece)

    def rejected(self, number: int, bound: int) -> RejectedLine:
        """The line's record."""
        detail = f"{self.size:,} bytes, raw.max_line_bytes is {bound:,}; its beginning is kept"
        whole = self.size, self._digest.hexdigest()
        return RejectedLine(number, "too_long", detail, self._content, whole, self._advice)


@dataclass(slots=True)
class Documents:
    """Documents of one block of a shard, in order: parallel lists, and the lines refused.

    Attributes:
        numbers: Physical line numbers, 1-based.
        lines: The lines as they came, without the line feed; views of the block's bytes.
        ids: Ids as strings, None where a document has none.
        texts: The texts.
        languages: Languages, None where a document names none.
        paths: Paths, None where a document has none.
        rejected: Lines of this block that are no document.
        blank: Lines of this block with nothing but white space.
    """

    numbers: list[int] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    ids: list[str | None] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    languages: list[str | None] = field(default_factory=list)
    paths: list[str | None] = field(default_factory=list)
    rejected: list[RejectedLine] = field(default_factory=list)
    blank: int = 0


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


class ShardReader:
    """Reads a shard once, block by block, and hashes it; a context manager.

    Attributes:
        lines: Lines read so far.
        blank: Of these, blank ones.
        rejected: Of these, rejected ones.
        documents: Of these, documents; `lines == documents + blank + rejected`.
        rejections: What is known of the rejected ones.
    """

    def __init__(self, path: Path, raw: Raw, block_bytes: int = BLOCK_BYTES) -> None:
        self.lines = self.blank = self.rejected = self.documents = 0
        self.rejections = Rejections(raw)
        self._path = path
        self._raw = raw
        self._block_bytes = block_bytes

    def __enter__(self) -> Self:
        self._file = HashingReader(self._path)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Documents]:
        bound = self._raw.max_line_bytes
        pieces = unpack(self._file, self._path.suffix)
        try:
            for data in _blocks(pieces, self._block_bytes, bound):
                if isinstance(data, _LongLine):
                    yield self._count(Documents(rejected=[data.rejected(self.lines + 1, bound)]))
                    continue
                lines = _lines(data)
                while some := list(islice(lines, _BLOCK_LINES)):
                    yield self._count(self._judge(some))
        except PackingError as error:
            # What is no shard from its first byte on has no place in it.
            place = f"after line {self.lines:,}: " if self.lines or not error.advice else ""
            raise ShardError(f"{self._path}: {place}{error}", error.advice) from error

    def refuse_many_rejected(self) -> None:
        """Refuse the shard, once it was read, if too large a share of its lines was rejected.

        Raises:
            TooManyRejectedError: If more than the recipe's bounds allow.
        """
        if excess := self.rejections.excess(self.lines - self.blank):
            raise TooManyRejectedError(self._path, excess)

    def totals(self, chars: int, files: int | None = None, tokens: int | None = None) -> Totals:
        """What was read of the shard, once it was read, and what a stage made of it.

        Args:
            chars: Unicode code points of the texts as the stage leaves them.
            files: Files in the documents, None where they were not looked at.
            tokens: Token ids written, None where there are none.
        """
        return Totals(
            input=self._file.record(),
            lines=self.lines,
            blank=self.blank,
            rejected=self.rejected,
            documents=self.documents,
            chars=chars,
            files=files,
            tokens=tokens,
            counts={f"rejected:{name}": n for name, n in sorted(self.rejections.reasons.items())},
        )

    def _judge(self, lines: list[memoryview]) -> Documents:
        block = Documents()
        bound = self._raw.max_line_bytes
        for number, line in enumerate(lines, self.lines + 1):
            if len(line) > bound:
                block.rejected.append(_LongLine(line).rejected(number, bound))
                continue
            try:
                document = read_document(line, self._raw)
            except RejectionError as error:
                content = bytes(line)
                if content.strip(_JSON_SPACE):
                    block.rejected.append(error.rejected(number, content))
                else:
                    block.blank += 1
                continue
            block.numbers.append(number)
            block.lines.append(line)
            block.ids.append(document.id)
            block.texts.append(document.text)
            block.languages.append(document.language)
            block.paths.append(document.path)
        return block

    def _count(self, block: Documents) -> Documents:
        self.lines += len(block.lines) + block.blank + len(block.rejected)
        self.blank += block.blank
        self.rejected += len(block.rejected)
        self.documents += len(block.lines)
        for refused in block.rejected:
            self.rejections.add(refused)
        return block


def _blocks(
    pieces: Iterator[bytes], block_bytes: int, max_line_bytes: int
) -> Iterator["bytes | _LongLine"]:
    """Whole lines, about `block_bytes` of them or one longer line, and lines over the bound."""
    pending: list[bytes] = []
    size = unfinished = 0
    long: _LongLine | None = None
    for read in pieces:
        piece = read
        if long is not None:
            rest = read.find(b"\n") + 1
            long.add(read[: rest - 1] if rest else read)
            if not rest:
                continue
            yield long
            long, piece = None, read[rest:]
        pending.append(piece)
        size += len(piece)
        end = piece.rfind(b"\n") + 1
        unfinished = len(piece) - end if end else unfinished + len(piece)
        if size >= block_bytes and end:
            pending[-1] = piece[:end]
            yield b"".join(pending)
            pending = [piece[end:]]
            size = len(pending[0])
        if unfinished > max_line_bytes:
            data = b"".join(pending)
            if size > unfinished:
                yield data[:-unfinished]
            long = _LongLine(memoryview(data)[size - unfinished :])
            pending, size, unfinished = [], 0, 0
    if long is not None:
        yield long
    if size:
        yield b"".join(pending)


def _lines(data: bytes) -> Iterator[memoryview]:
    """The lines of a block, without their line feeds and without copying them."""
    view = memoryview(data)
    begin = 0
    while begin < len(data):
        end = data.find(b"\n", begin)
        end = len(data) if end < 0 else end
        yield view[begin:end]
        begin = end + 1


class Document(NamedTuple):
    """What a line holds.

    Attributes:
        id: Its id, numbers as they are written; None where it has none.
        text: Its text.
        language: The name of its language, None where it names none.
        path: Its path, None where it has none.
    """

    id: str | None
    text: str
    language: str | None = None
    path: str | None = None


def read_document(line: Line, fields: Raw) -> Document:
    """Read one line.

    Raises:
        RejectionError: If the line is no document.
    """
    try:
        content = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise _not_json(bytes(line), error) from None
    if not isinstance(content, dict):
        detail = f"the line is a JSON {_json_type(content)}"
        raise RejectionError("not_an_object", detail, one_value(bytes(line)))
    if _deeper_than(content, MAX_DEPTH):
        raise _too_deep()
    text = _lookup(content, fields.text_field)
    if text is None:
        raise RejectionError("no_text", f"{fields.text_field} is missing or null")
    if not isinstance(text, str):
        raise RejectionError("text_not_string", f"{fields.text_field} is a JSON {_json_type(text)}")
    if not text:
        raise RejectionError("empty", f"{fields.text_field} is empty")
    identifier = _lookup(content, fields.id_field)
    if isinstance(identifier, int | float) and not isinstance(identifier, bool):
        identifier = bytes(_raw_value(line, fields.id_field)).decode()
    elif identifier is not None and not isinstance(identifier, str):
        raise RejectionError(
            "id_not_string", f"{fields.id_field} is a JSON {_json_type(identifier)}"
        )
    return Document(
        identifier,
        text,
        _text_or_none(_lookup(content, fields.language_field)),
        _text_or_none(_lookup(content, fields.path_field)),
    )


def _not_json(line: bytes, cause: orjson.JSONDecodeError) -> RejectionError:
    if line.startswith(BOM_UTF8):
        return RejectionError("byte_order_mark", "the line begins with UTF-8's byte-order mark")
    try:
        line.decode()
    except UnicodeDecodeError as error:
        where = f"byte {error.start + 1:,}, {line[error.start]:#04x}"
        return RejectionError("not_utf8", f"{where}: {error.reason}")
    if "depth limit" in str(cause):
        return _too_deep()
    return RejectionError("not_json", str(cause), explain_line(line, cause))


def _too_deep() -> RejectionError:
    return RejectionError("nested_too_deep", f"more than {MAX_DEPTH} levels of objects and arrays")


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _deeper_than(content: Any, depth: int) -> bool:
    level = [content]
    for _ in range(depth):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _lookup(content: Any, field_path: str) -> Any:
    for name in field_names(field_path):
        if not isinstance(content, dict):
            return None
        content = content.get(name)
    return content


def _json_type(value: Any) -> str:
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "array"}
    return "null" if value is None else names.get(type(value), "object")


_raw_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _raw_value(line: Line, field_path: str) -> msgspec.Raw:
    first, *inner = field_names(field_path)
    raw = _raw_object.decode(line)[first]
    for name in inner:
        raw = _raw_object.decode(raw)[name]
    return raw


def text_span(line: Line, field_path: str) -> slice:
    """Where the bytes of a field's value stand in a line; with duplicate keys, the last one's.

    Args:
        line: A document's line.
        field_path: The field, see `recipe.field_names`.
    """
    value = _raw_value(line, field_path)
    # msgspec.Raw is a view into the line, so that its address tells the place.
    start = _address(value) - _address(line)
    span = slice(start, start + memoryview(value).nbytes)
    if not 0 <= start <= span.stop <= len(line):
        raise RuntimeError(f"msgspec.Raw is not a view into the line: {bytes(line[:100])!r}")
    return span


def _address(buffer: Any) -> int:
    address: int = np.frombuffer(buffer, np.uint8).__array_interface__["data"][0]
    return address


def replace_text(line: Line, field_path: str, text: str) -> bytes:
    """The line with another text: only the value's bytes change."""
    span = text_span(line, field_path)
    return b"".join([line[: span.start], orjson.dumps(text), line[span.stop :]])


class ShardWriter:
    """Writes lines as one zstd stream of one thread; a context manager.

    Bytes depend on the lines alone, not on how many are written at once. The stream ends in a
    checksum of its content, so that whoever reads it notices damage.
    """

    def __init__(self, file: HashingWriter) -> None:
        compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True)
        self._stream = compressor.stream_writer(cast("IO[bytes]", file), closefd=False)

    def write(self, lines: Iterable[Line]) -> None:
        """Append lines, each without its line feed."""
        write = self._stream.write
        for line in lines:
            write(line)
            write(b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the stream, unless something failed."""
        if kind is None:
            self._stream.close()
