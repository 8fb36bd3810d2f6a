"""A small shard of repositories, taken through the stage; and what is written changed by hand."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import zstandard

from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus.receipts import read_receipt
from fim_assets.corpus.stage import CheckOutcome, Finished, Source, fault
from fim_assets.io.hashing import HashingWriter
from fim_assets.io.parquet import TableReader, TableWriter, read_metadata
from fim_assets.recipe import Recipe
from fim_assets.repository_shards.record import SCHEMA
from fim_assets.repository_shards.stage import REPOSITORY_SHARDS
from fim_assets_tests.corpora import open_corpus, run_all, write_shard

FILES = {
    "r/tree": {
        "main.py": "import utils\nimport config\nprint(utils.f(), config.K)\n",
        "utils.py": "import helpers\n\n\ndef f():\n    return helpers.g()\n",
        "config.py": "import os\n\nK = 1\n",
        "helpers.py": "def g():\n    return 2\n",
    },
    "r/cycle": {
        "x.py": "import y\nimport z\n",
        "y.py": "import x\n",
        "z.py": "Z = '日本語 <|file_sep|>'\n",
    },
    "Ω <b>": {"a/b.c": "int a;\n", "c.c": "int c;\n", "c/ü|.c": "int d;\n"},
}
"""Texts by repository and path."""


def rows() -> list[Any]:
    """The lines of a shard: files of repositories mixed, a copy, two files without repository."""
    files = [
        {
            "id": f"{name}:{path}",
            "text": text,
            "stars": number,
            "metadata": {
                "repo_name": name,
                "path": path,
                "language": "Python" if path.endswith(".py") else "C",
            },
        }
        for name, texts in FILES.items()
        for number, (path, text) in enumerate(texts.items())
    ]
    copied = files[1] | {"id": "copy"}
    alone = [{"id": f"alone {n}", "text": f"no repository {n}\n"} for n in range(2)]
    odd = b' {"text" : "\\u0061bc", "metadata":{"repo_name":"r/tree","path":"z.txt"}} '
    mixed = [*files[::2], alone[0], *files[1::2], copied, alone[1], odd]
    return [*mixed[3:], b"refused", *mixed[:3]]


class Shard(NamedTuple):
    """A partition that the stage has made: the lines of its shard, and the rows of its parquet."""

    corpus: Corpus
    lines: list[bytes]
    rows: list[dict[str, Any]]

    def numbers(self, path: str) -> tuple[int, int]:
        """Which line a file stands in, and which row it has."""
        row = next(n for n, its in enumerate(self.rows) if its["path"] == path)
        line = sum(its["file"] == 0 for its in self.rows[: row + 1]) - 1
        return line, row


def recipe(**section: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "raw": {"path_field": "metadata.path", "documents": ["raw/*.jsonl"]},
            "repositories": section,
        }
    )


def make(root: Path, content: Sequence[Any] | None = None, **section: Any) -> Shard:
    """Take a shard through `raw_shards` and `repository_shards`, its checks among them."""
    write_shard(root / "raw" / "a.jsonl", rows() if content is None else content)
    corpus = open_corpus(root, recipe(**section))
    outcome = run_all(corpus, ["raw_shards", REPOSITORY_SHARDS.name])["a"]
    assert outcome.failure is None
    files = corpus.files(REPOSITORY_SHARDS.name, "a")
    content_of = zstandard.ZstdDecompressor().decompressobj()
    lines = content_of.decompress(files.file(".jsonl.zst").read_bytes()).splitlines()
    with TableReader(files.file(".parquet"), SCHEMA.names) as table:
        return Shard(corpus, lines, [row for part in table for row in part.to_pylist()])


Edit = Callable[[list[bytes], list[dict[str, Any]]], None]


def checked(shard: Shard, check: str, edit: Edit | None = None) -> CheckOutcome:
    """What a check says of the partition, of which lines and rows were edited before."""
    corpus, key = shard.corpus, "a"
    files = corpus.files(REPOSITORY_SHARDS.name, key)
    receipt = read_receipt(files)
    assert receipt is not None
    before = {ending: files.file(ending).read_bytes() for ending in (".jsonl.zst", ".parquet")}
    if edit is not None:
        lines, table = [*shard.lines], [dict(row) for row in shard.rows]
        edit(lines, table)
        metadata = read_metadata(files.file(".parquet"))
        content = b"".join(line + b"\n" for line in lines)
        files.file(".jsonl.zst").write_bytes(zstandard.compress(content))
        files.file(".parquet").unlink()
        with (
            HashingWriter(files.file(".parquet")) as file,
            TableWriter(file, SCHEMA, metadata) as writer,
        ):
            writer.write({name: [row[name] for row in table] for name in SCHEMA.names})
        counts = REPOSITORY_SHARDS.statistics(files.file(".parquet")).counts
        receipt = receipt.model_copy(
            update={"result": receipt.result.model_copy(update={"counts": counts})}
        )
    raw = Path(str(corpus.data_root)) / "raw" / "a.jsonl"
    finished = Finished(
        corpus.recipe,
        corpus.tokenizer_hash,
        files,
        receipt,
        lambda: Source((raw,), None, raw.name, None),
        dict,
        None,
    )
    [run] = [one.run for one in REPOSITORY_SHARDS.checks if one.name == check]
    try:
        return run(finished)
    except ValueError as error:
        return fault(check, str(error))
    finally:
        for ending, written in before.items():
            files.file(ending).write_bytes(written)


def changed(line: bytes, **fields: Any) -> bytes:
    """A line with other fields."""
    return orjson.dumps(orjson.loads(line) | fields)
