"""The process that parses, and what asks it: grammars are C code of many hands.

A grammar that reads or writes where it must not takes its process with it, by chance or always. So
none is run in the processes of a run, a command or a notebook: each of these keeps one more, which
parses for it and ends with it. What it makes of a file, the functions say that it is sent: it knows
none of them. A file whose parser crashes each time, in fresh processes too, has a reason for an
answer; one whose parser crashes only sometimes is an error, since what becomes of a file must not
depend on chance.

Grammars ask the C library what is a letter or a space, and its answer depends on the locale. The
process has the C locale, in which ASCII alone is either, so that all machines parse alike.
"""

import locale
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from itertools import accumulate, groupby
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pkgutil import resolve_name
from tempfile import TemporaryFile
from threading import Lock
from types import GenericAlias
from typing import Any, NamedTuple, Protocol, TypeVar, get_type_hints

import msgspec

from fim_assets.io.child_process import own_process
from fim_assets.parsing.grammars import GRAMMARS

CRASHED = "parser_crashed"
"""The answer for a file whose parser crashes each time."""

_TRIES = 3
"""Fresh processes in which the parser of a file must crash for that to be its answer."""

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


class Request(Protocol):
    """What is asked about a file: a named tuple, with these attributes among others."""

    @property
    def source(self) -> bytes:
        """The text in UTF-8."""

    @property
    def grammar(self) -> int:
        """The grammar's index in `GRAMMARS`."""


_Asked = TypeVar("_Asked", bound=Request)
_Answer = TypeVar("_Answer")


_Message = tuple[str, msgspec.Raw]
"""What is sent: a function's name, and requests."""


class _Types(NamedTuple):
    """What a function is given and gives, many at once: types that MessagePack is decoded to."""

    requests: Any
    answers: Any


@cache
def _types(function: Callable[..., Any]) -> _Types:
    request, answer = get_type_hints(function).values()
    return _Types(*(GenericAlias(list, one) for one in (request, answer)))


class _DiedError(Exception):
    """A process that ended while it parsed; `killed` says by whom, if not by the grammar."""

    def __init__(self, how: str, killed: str | None) -> None:
        super().__init__(how)
        self.killed = killed


def ask(
    function: Callable[[_Asked], _Answer | str], requests: Sequence[_Asked]
) -> list[_Answer | str]:
    """What a function makes of each request, in the process that parses.

    Args:
        function: One of a module's, with annotations: requests and answers go through MessagePack.
            It is loaded there by its name.
        requests: One a file. Where the parser of one crashes each time, its answer is `CRASHED`.

    Raises:
        ParserError: If the parser of a file was killed, or crashes on some tries and not on others.
    """
    answers: list[_Answer | str] = []
    ends = accumulate(len(request.source) for request in requests)
    parts = groupby(zip(ends, requests, strict=True), lambda entry: entry[0] // _BATCH_BYTES)
    for _, part in parts:
        batch = [request for _, request in part]
        try:
            answers += _ask(function, batch)
        except _DiedError:
            # Each alone: the one whose parser dies must not cost its neighbours theirs.
            for request in batch:
                answers.append(_alone(function, request, len(answers)))
    return answers


def _alone(
    function: Callable[[_Asked], _Answer | str], request: _Asked, number: int
) -> _Answer | str:
    """A file's answer, in fresh processes once its parser crashes."""
    deaths: list[str] = []
    language = GRAMMARS[request.grammar].names[0]
    for _ in range(_TRIES):
        try:
            [answer] = _ask(function, [request])
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
    return CRASHED


_lock = Lock()
_parsers: "dict[int, _Parser]" = {}
"""The parser of each process, by its number: a forked one must not use its parent's."""


def _ask(function: Callable[[_Asked], _Answer | str], batch: list[_Asked]) -> list[_Answer | str]:
    with _lock:
        parser = _parsers.get(os.getpid()) or _Parser()
        try:
            answers = parser.ask(function, batch)
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
        command, environment = own_process(
            "fim_assets.parsing.parser_process", str(its_end.fileno())
        )
        with its_end:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=[its_end.fileno()],
                env=environment,
            )

    def ask(
        self, function: Callable[[_Asked], _Answer | str], batch: list[_Asked]
    ) -> list[_Answer | str]:
        name = f"{function.__module__}:{function.__qualname__}"
        try:
            self._connection.send_bytes(msgspec.msgpack.encode((name, batch)))
            received = self._connection.recv_bytes()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise self._death() from None
        answers: list[_Answer | str] = msgspec.msgpack.decode(
            received, type=_types(function).answers
        )
        return answers

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
            name, batch = msgspec.msgpack.decode(connection.recv_bytes(), type=_Message)
            function = resolve_name(name)
            requests = msgspec.msgpack.decode(batch, type=_types(function).requests)
            answers = [function(request) for request in requests]
            connection.send_bytes(msgspec.msgpack.encode(answers))


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])))
