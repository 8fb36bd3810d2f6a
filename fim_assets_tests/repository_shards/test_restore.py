"""From a repository shard or a FIM shard of joined files, every line comes back."""

from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from fim_assets.errors import ShardError
from fim_assets.fim_shards.restore import count_record, restore_shard
from fim_assets.io.compression import decompress
from fim_assets.io.hashing import HashingReader, HashingWriter
from fim_assets.io.shard_writer import ShardWriter
from fim_assets_tests.corpora import TEXTS, open_corpus, run_all, write_shard
from fim_assets_tests.repository_shards.shards import file_of, recipe_of

DEEP = b'{"text": "deep", "metadata": {"repo_name": "r"}, "x": ' + b"[" * 126 + b"]" * 126 + b"}"
STAGES = ["repository_shards", "fim_shards"]


def lines() -> list[bytes]:
    """Files of three repositories and of none, whose texts are awkward, and long ones."""
    files: list[dict[str, Any]] = []
    for number in range(48):
        text = f"{TEXTS[number % len(TEXTS)]}# {number}\n" * (1 + 8 * (number % 5))
        path = [f"src/{number}.py", f"<repo_name>{number}", None, f"ü{number}"][number % 4]
        name = ["a/r", "<file_sep>", None, "資料"][number % 4]
        files.append(file_of(path, text, name, ["Python", "C", None][number % 3], id=number))
    plain = [orjson.dumps(file) for file in files]
    plain[5] = b"  " + plain[5] + b"\t\r"
    plain[7] = b'{"metadata" : {"repo_name":"a/r"}, "text":"\xc3\xa9","text":"twice"}'
    return [*plain, DEEP]


LAYOUTS = {
    "dolma": ("{order: given}", ""),
    "starcoder2": (
        "{layout: starcoder2, names: 0.5, order: random, max_bytes: 3000}",
        "fim: {file_separator_token: '<file_sep>'}",
    ),
    "qwen2.5-coder": (
        "{layout: qwen2.5-coder, order: path}",
        "fim: {files: last, fim_rate: 1.0}",
    ),
    "deepseek-coder": (
        "{layout: deepseek-coder, max_tokens: 900}",
        "context: {tokens: 256, longer: pieces}",
    ),
    "qwen in pieces": (
        "{layout: qwen2.5-coder, names: 0.8}",
        "fim: {fim_rate: 0.9}\ncontext: {tokens: 128, longer: pieces}",
    ),
    "starcoder2 in pieces": (
        "{layout: starcoder2, by_language: true}",
        "fim: {split: lines}\ncontext: {tokens: 64, longer: pieces}",
    ),
}


def made(root: Path, layout: str) -> Any:
    section, more = LAYOUTS[layout]
    raw = f"raw: {{documents: ['raw/*'], max_rejected_share: 1}}\n{more}"
    write_shard(root / "raw" / "a.jsonl.zst", [*lines(), b"", b"refused"])
    corpus = open_corpus(root, recipe_of(section, raw))
    outcome = run_all(corpus, ["raw_shards", *STAGES])["a"]
    assert outcome.failure is None, outcome.details
    return corpus


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_line_comes_back(layout: str, tmp_path: Path) -> None:
    corpus, expected = made(tmp_path, layout), lines()
    # JSON may escape a character otherwise; else the bytes are the same.
    texts = [orjson.loads(line)["text"] for line in expected]
    for stage in STAGES:
        files = corpus.files(stage, "a")
        shard, parquet = files.file(".jsonl.zst"), files.file(".parquet")
        restored = [*restore_shard(shard, parquet)]
        assert [orjson.loads(line)["text"] for line in restored] == texts
        assert [len(line) for line in restored] == [*map(len, expected)]
        assert restored == expected
        assert count_record(parquet).documents == len(expected)


def test_what_disagrees_is_an_error(tmp_path: Path) -> None:
    corpus = made(tmp_path, "qwen in pieces")
    for stage in STAGES:
        files = corpus.files(stage, "a")
        shard, parquet = files.file(".jsonl.zst"), files.file(".parquet")
        with HashingReader(shard) as file:
            content = b"".join(decompress(file, ".zst")).splitlines()
        # One member too many, in the last document.
        content[-1] = content[-1].replace(b'"members":[', b'"members":[{"text":""},')
        other = tmp_path / f"{stage}.jsonl.zst"
        with ShardWriter(HashingWriter(other)) as writer:
            writer.write(content)
        with pytest.raises(ShardError, match="disagree"):
            list(restore_shard(other, parquet))
        rows = pl.read_parquet(parquet)
        assert rows["line"].n_unique() == len(lines())
