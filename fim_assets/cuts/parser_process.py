"""The process that parses, and what asks it: grammars are C code of many hands.

A grammar that reads or writes where it must not takes its process with it, by chance or always. So
none is run in the processes of a run, a command or a notebook: each of these keeps one more, which
parses for it and ends with it. A file whose parser crashes each time, in fresh processes too, is
left to `fim.split_fallback`; one whose parser crashes only sometimes is an error, since what
becomes of a file must not depend on chance.

Grammars ask the C library what is a letter or a space, and its answer depends on the locale. The
process has the C locale, in which ASCII alone is either, so that all machines parse alike.
"""

import locale
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from itertools import accumulate, groupby
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from tempfile import TemporaryFile
from threading import Lock
from typing import NamedTuple

import msgspec

from fim_assets.cuts.grammars import GRAMMARS
from fim_assets.cuts.syntax_tree import CannotCutError, Limit, Span, find_middle
from fim_assets.io.child_process import own_process

_TRIES = 3
"""Fresh processes in which the parser of a file must crash for it to be cut by the fallback."""

_BATCH_BYTES = 1 << 20
"""Source that is sent at once: of small files many, so that asking costs little."""

_KILLED = (signal.SIGKILL, signal.SIGTERM)
"""Signals that come from outside: the kernel, for want of memory, or whoever ends the run."""

_NO_MEMORY = b"failed to allocate"
"""What tree-sitter says before it aborts for want of memory."""


class ParserError(RuntimeError):
    """A file whose parsing says nothing of the file: the parser was killed, or crashes by chance.

    `request` is the file's index among those that were asked for.
    """

    def __init__(self, message: str, request: int) -> None:
        super().__init__(message)
        self.request = request


class Request(NamedTuple):
    """A file in UTF-8, its grammar's index in `GRAMMARS`, its document's key, its index there.

    Where there is a limit, so many middles within it are passed over.
    """

    source: bytes
    grammar: int
    key: int
    file: int
    limit: Limit | None = None
    passed: int = 0


Answer = Span | str
"""The middle, or the reason why there is none, see `syntax.CUT`."""


class _DiedError(Exception):
    """A process that ended while it parsed; `killed` says by whom, if not by the grammar."""

    def __init__(self, how: str, killed: str | None) -> None:
        super().__init__(how)
        self.killed = killed


def find_middles(requests: Sequence[Request]) -> list[Answer]:
    """Find the middle of each file, see `syntax_tree.find_middle`.

    Raises:
        ParserError: If the parser of a file was killed, or crashes on some tries and not on others.
    """
    answers: list[Answer] = []
    ends = accumulate(len(request.source) for request in requests)
    parts = groupby(zip(ends, requests, strict=True), lambda entry: entry[0] // _BATCH_BYTES)
    for _, part in parts:
        batch = [request for _, request in part]
        try:
            answers += _ask(batch)
        except _DiedError:
            # Each alone: the one whose parser dies must not cost its neighbours theirs.
            for request in batch:
                answers.append(_alone(request, len(answers)))
    return answers


def _alone(request: Request, number: int) -> Answer:
    """A file's answer, in fresh processes once its parser crashes."""
    deaths: list[str] = []
    language = GRAMMARS[request.grammar].names[0]
    for _ in range(_TRIES):
        try:
            [answer] = _ask([request])
        except _DiedError as died:
            if died.killed is not None:
                raise ParserError(f"the {language} parser {died.killed}", number) from died
            deaths.append(str(died))
            continue
        if not deaths:
            return answer
        raise ParserError(
            f"the {language} parser crashes by chance ({deaths[0]}): it did in {len(deaths)} of "
            f"{len(deaths) + 1} tries",
            number,
        )
    return "parser_crashed"


_lock = Lock()
_parsers: "dict[int, _Parser]" = {}
"""The parser of each process, by its number: a forked one must not use its parent's."""


def _ask(batch: list[Request]) -> list[Answer]:
    with _lock:
        parser = _parsers.get(os.getpid()) or _Parser()
        try:
            answers = parser.ask(batch)
        except BaseException:
            # An interrupt leaves an answer on its way, which the next one to ask would get.
            parser.end()
            _parsers.pop(os.getpid(), None)
            raise
        _parsers[os.getpid()] = parser
        return answers


class _Parser:
    """A process that parses. It ends when nobody holds the other end of its connection any more."""

    def __init__(self) -> None:
        self._connection, its_end = Pipe()
        self._errors = TemporaryFile()  # noqa: SIM115 - `end` closes it
        command, environment = own_process("fim_assets.cuts.parser_process", str(its_end.fileno()))
        with its_end:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=[its_end.fileno()],
                env=environment,
            )

    def ask(self, batch: list[Request]) -> list[Answer]:
        try:
            self._connection.send_bytes(msgspec.msgpack.encode(batch))
            return msgspec.msgpack.decode(self._connection.recv_bytes(), type=list[Answer])
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise self._death() from None

    def end(self) -> None:
        self._connection.close()
        self._errors.close()
        self._process.kill()
        self._process.wait()

    def _death(self) -> Exception:
        code = self._process.wait()
        self._errors.seek(0)
        output = self._errors.read()
        if b"Traceback" in output:
            shown = output.decode(errors="replace")
            return RuntimeError(f"the process that parses failed:\n{shown}")
        if _NO_MEMORY in output:
            return _DiedError("out of memory", "found no memory")
        if code >= 0:
            return _DiedError(f"exit status {code}", None)
        name = signal.Signals(-code).name
        return _DiedError(name, f"was killed by {name}" if -code in _KILLED else None)


def _serve(connection: Connection) -> None:
    """Answer until nobody asks any more: what asked has ended, however it did."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for what asks
    locale.setlocale(locale.LC_CTYPE, "C")
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            batch = msgspec.msgpack.decode(connection.recv_bytes(), type=list[Request])
            connection.send_bytes(msgspec.msgpack.encode([_answer(request) for request in batch]))


def _answer(request: Request) -> Answer:
    try:
        return find_middle(**request._asdict() | {"grammar": GRAMMARS[request.grammar]})
    except CannotCutError as error:
        return error.reason


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])))
