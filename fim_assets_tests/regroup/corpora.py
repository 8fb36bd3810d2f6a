"""Inputs with repositories, how the tests run the command on them, and what must hold of shards."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import orjson
import zstandard
from click.testing import Result

from fim_assets_tests.cli.running import run
from fim_assets_tests.corpora import json_lines, write_shard

NAMES: list[Any] = [f"org/r{number}" for number in range(20)] + ["日本/レポ", "Ünï/код", 17, "17"]
NO_NAMES: list[Any] = ["", 1.5, True, None, ["org/r1"], {"a": "b"}]
"""Values of the field that name no repository."""


def document(number: int, **fields: Any) -> dict[str, Any]:
    """A document of one of the repositories; every seventh has none."""
    values = NO_NAMES if number % 7 == 0 else NAMES
    name = values[number * 31 % 101 % len(values)]
    return {
        "id": f"{number}",
        "text": f"x = {number}\n" * (1 + number % 23),
        "metadata": {"repo_name": name, "path": f"{number}.py"},
        **fields,
    }


def lines_of(first: int, count: int) -> list[bytes]:
    """Lines of documents, with some that are blank, and some that are none."""
    rows: list[Any] = [document(number) for number in range(first, first + count)]
    rows[3:3] = [b"", b" \t\r"]
    rows[7:7] = [b"no json", b'{"text": "\xff"}', {"metadata": {"repo_name": "org/r3"}, "text": ""}]
    rows[9:9] = [b"\xef\xbb\xbf{}", b'{"text": 1}\r']
    return json_lines(rows).split(b"\n")[:-1]


def write_inputs(root: Path, count: int = 60) -> list[bytes]:
    """Inputs of several endings below `raw/`, and all their lines in order."""
    lines: list[bytes] = []
    for number, name in enumerate(("a.jsonl", "b/c.json.gz", "b/d.jsonl.zst", "e.jsonl.xz")):
        # Blanks behind the line, so that no two lines are the same.
        own = [line + b" " * number * bool(line) for line in lines_of(number * count, count)]
        write_shard(root / "raw" / name, own)
        lines += own
    return lines


def regroup(*arguments: str | Path) -> Result:
    """Run the command."""
    return run("regroup", *map(str, arguments))


def regrouped(root: Path, *options: str) -> dict[str, bytes]:
    """The files that the command makes of `raw/` in `whole/`."""
    done = regroup("raw/**/*", "-o", root / "whole", *options)
    assert done.exit_code == 0, done.output
    return files(root / "whole")


def files(folder: Path) -> dict[str, bytes]:
    """The files that a user sees."""
    found = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    return {path.name: path.read_bytes() for path in found}


def shard_lines(found: dict[str, bytes]) -> list[list[bytes]]:
    """The lines of each shard."""
    unpack = zstandard.ZstdDecompressor().decompressobj
    contents = [unpack().decompress(c) for name, c in found.items() if name.endswith(".zst")]
    return [content.split(b"\n")[:-1] for content in contents]


def name_of(line: bytes) -> str | None:
    """The repository of a line, told apart from the project's own way."""
    try:
        content = orjson.loads(line)
        name = content["metadata"]["repo_name"]
    except (ValueError, LookupError, TypeError):
        return None
    if isinstance(name, int) and not isinstance(name, bool):
        return str(name)
    return name if isinstance(name, str) and name else None


def refuse_others(lines: Sequence[bytes], shards: Iterable[Sequence[bytes]]) -> None:
    """Assert all that shards promise of the lines that they were made of; no two are the same."""
    shards = [*shards]
    written = [line for shard in shards for line in shard]
    assert Counter(written) == Counter(line for line in lines if line.strip())
    place = {line: number for number, line in enumerate(lines)}
    seen: set[str | None] = set()
    for shard in shards:
        groups = [(name, [*its]) for name, its in groupby(shard, name_of)]
        for name, its in groups:
            assert [*map(place.__getitem__, its)] == sorted(map(place.__getitem__, its)), name
        names = [name for name, _ in groups]
        assert None not in names[:-1], "those without a repository are the last"
        assert len({*names}) == len(names), "a repository stands in one piece"
        assert seen.isdisjoint({*names} - {None}), "and in one shard"
        seen |= {*names}
