"""`make fuzz`: hostile texts through every grammar and cut method, in two processes that differ.

One has another locale, and memory that is filled with other bytes: where native code reads what it
must not, the two cut elsewhere, or one of them crashes. `--minutes N --seed N`.
"""

import argparse
import os
import random
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import msgspec
import orjson
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from fim_assets.cuts.base import CutError
from fim_assets.cuts.files import Files
from fim_assets.cuts.registry import CUTS
from fim_assets.draws import document_keys
from fim_assets.fim_shards.decisions import decide
from fim_assets.parsing import parser_process
from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import Fim
from fim_assets_tests.parsing.test_tree import SNIPPETS

_SIDES = (
    {"LC_ALL": "C.UTF-8", "MALLOC_PERTURB_": "0"},
    {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "MALLOC_PERTURB_": "165"},
)

_COPIES = 4
"""Documents of each text, whose draws differ."""

_TOKENS: dict[str, list[str]] = orjson.loads(Path(__file__).with_name("tokens.json").read_bytes())
"""What each language's scanner looks for."""

_ORDINARY = (
    *("a", "b1", "_", "x y", " ", "  ", "0", "1", "foo"),
    *("\n", "\r\n", "\t", "\0", "\x01", "\x7f", "\r", "\v", "\f"),
)
_WIDE = (
    "\u00e9\u00a0\u0085\u00b2\u0100\u01c5\u0301\u03b1\u0600\u0660\u200b\u2028\u3000\u4e00\ud7ff\ufeff"
    "\uffff\U0001f680\U00020000\U000f02a2\U0010ffff"
)


def hostile_text(draws: random.Random, language: str) -> str:
    """A text in the way of a language: pieces that its scanner looks for, without their order."""
    tokens = _TOKENS[language]
    pieces = [*tokens * 2, *_ORDINARY * 2, *_WIDE, chr(draws.randrange(0x10000, 0x110000))]
    [sound] = [s.source for s in SNIPPETS if language.lower() in map(str.lower, s.names)]

    def some(count: int, of: list[str] = pieces) -> str:
        return "".join(draws.choices(of, k=count))

    def word(size: int) -> str:
        name = "".join(draws.choices("abcdefgh_1", k=size))
        return name if draws.random() < 0.8 else name[1:] + draws.choice(_WIDE)

    def broken() -> str:
        text = sound * draws.choice([1, 5, 40])
        for _ in range(draws.randrange(1, 12)):
            at = draws.randrange(len(text) + 1)
            text = text[:at] + some(1) + text[at + draws.choice([0, 0, 1, 5, 40]) :]
        return text

    def nested() -> str:
        return some(draws.choice([300, 1000, 3000]), draws.sample(tokens, draws.choice([2, 3, 5])))

    def indented() -> str:
        return "".join(
            draws.choice(" \t") * abs(depth % 80 - 40) + draws.choice(tokens) + some(1) + "\n"
            for depth in range(draws.choice([50, 300]))
        )

    def long_names() -> str:
        """Over what scanners keep of delimiters (1,024 bytes) and of columns (65,535)."""
        names = [word(draws.choice([100, 255, 1023, 1025, 70_000])) for _ in range(3)]
        return "".join(some(3) + draws.choice(tokens).rstrip() + n + some(3) for n in names * 2)

    def delimiters() -> str:
        opener = {"Shell": "cat <<", "Ruby": "<<~", "PHP": "<?php <<<", "SQL": "$", "C++": 'R"'}
        hashes = "#" * draws.randrange(1, 300)
        begin = opener.get(language, f'{"r" if language == "Rust" else ""}{hashes}"')
        count = draws.choice([1, 3, 40, 200])
        return "".join(
            f"{begin}{word(draws.choice([1, 8, 255, 300]))}{some(1)}" for _ in range(count)
        )

    def unterminated() -> str:
        return sound + draws.choice(tokens) + word(draws.choice([1, 50_000])) + some(200)

    kinds = (broken, nested, indented, long_names, delimiters, unterminated, lambda: some(300))
    return draws.choice(["", "", "", "\ufeff"]) + draws.choice(kinds)()


class Outcome(NamedTuple):
    """What became of one text.

    Attributes:
        cuts: Reason, method and both cuts of each document, by every cut method.
        crashed: Whether a parser crashed.
        seconds: Time that it took.
        bytes: The most memory that the process that parses has taken, 0 if it took it before.
    """

    cuts: list[tuple[str | None, str, int, int]]
    crashed: bool
    seconds: float
    bytes: int


def _outcome(text: str, language: str) -> Outcome:
    texts = [text] * _COPIES
    keys = document_keys(1, [str(n) for n in range(_COPIES)], texts)
    files = Files.split(texts, keys, [language] * _COPIES, [None] * _COPIES, None, ())
    cuts = []
    before = _peak()
    begin = time.perf_counter()
    for split in CUTS:
        try:
            fim = Fim(fim_rate=1, split=split, split_fallback="uniform")
            decided = decide(files, Recipe(fim=fim), None)
        except CutError:
            return Outcome([], True, time.perf_counter() - begin, 0)
        rows = zip(decided.reasons, decided.splits, *decided.cuts, strict=True)
        cuts += [(reason, split, int(a), int(b)) for reason, split, a, b in rows]
    crashed = any(reason == "parser_crashed" for reason, *_ in cuts)
    seconds, after = time.perf_counter() - begin, _peak()
    return Outcome(cuts, crashed, seconds, after if after > before else 0)


def _peak() -> int:
    parser = parser_process._parsers.get(os.getpid())
    if parser is None:
        return 0
    status = Path(f"/proc/{parser._process.pid}/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


class _Side:
    """A process that decides about texts, in surroundings of its own."""

    def __init__(self, surroundings: dict[str, str]) -> None:
        self.connection, its_end = Pipe()
        with its_end:
            self.process = subprocess.Popen(
                [sys.executable, "-m", __spec__.name, "--side", str(its_end.fileno())],
                pass_fds=[its_end.fileno()],
                env=os.environ | surroundings,
            )


def _serve(connection: Connection) -> None:
    try:
        while True:
            text, language = msgspec.msgpack.decode(connection.recv_bytes())
            connection.send_bytes(msgspec.msgpack.encode(_outcome(text, language)))
    except EOFError:
        return


@dataclass
class Row:
    """What came of a language's texts: how many, what was wrong, and the worst cost."""

    texts: int = 0
    crashes: int = 0
    differences: int = 0
    seconds: float = 0.0
    bytes: int = 0


def fuzz(seconds: float, seed: int, folder: Path) -> dict[str, Row]:
    """Try texts of one language after the other until the time is over.

    Args:
        seconds: Time; each language gets a text at least.
        seed: Of the texts.
        folder: Takes each text that crashed a parser, or that the two processes cut elsewhere.
    """
    draws = random.Random(seed)
    rows: dict[str, Row] = defaultdict(Row)
    sides = [_Side(surroundings) for surroundings in _SIDES]
    end = time.monotonic() + seconds
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("texts", total=seconds)
        while time.monotonic() < end or len(rows) < len(_TOKENS):
            for language in _TOKENS:
                text = hostile_text(draws, language)
                message = msgspec.msgpack.encode((text, language))
                for side in sides:
                    side.connection.send_bytes(message)
                found = [
                    msgspec.msgpack.decode(side.connection.recv_bytes(), type=Outcome)
                    for side in sides
                ]
                row = rows[language]
                row.texts += 1
                row.crashes += sum(outcome.crashed for outcome in found)
                row.differences += found[0].cuts != found[1].cuts
                row.seconds = max(row.seconds, *(outcome.seconds for outcome in found))
                row.bytes = max(row.bytes, *(outcome.bytes for outcome in found))
                if any(outcome.crashed for outcome in found) or found[0].cuts != found[1].cuts:
                    (folder / f"{language}-{row.texts}.txt").write_text(text, "utf-8", newline="")
            progress.update(bar, completed=seconds - (end - time.monotonic()))
    for side in sides:
        side.connection.close()
        side.process.wait()
    return rows


def main() -> int:
    """Print the table; the exit status is 1 if anything crashed or differed."""
    parser = argparse.ArgumentParser("fim_assets_tests.faults.grammars", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--texts", type=Path, default=Path(".fuzz"), help="takes what went wrong")
    parser.add_argument("--side", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side is not None:
        _serve(Connection(options.side))
        return 0
    options.texts.mkdir(exist_ok=True)
    rows = fuzz(60 * options.minutes, options.seed, options.texts)
    table = Table("language", box=box.SIMPLE_HEAD, title="grammars and cut methods")
    for column in ("texts", "crashes", "differences", "worst seconds", "parser's peak, MB"):
        table.add_column(column, justify="right")
    for language, row in rows.items():
        numbers = (row.texts, row.crashes, row.differences)
        costs = f"{row.seconds:.2f}", f"{row.bytes / 1e6:,.0f}"
        table.add_row(language, *(f"{number:,}" for number in numbers), *costs)
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    return 1 if any(row.crashes or row.differences for row in rows.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
