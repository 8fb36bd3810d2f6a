"""Examples differ in what they show, and are found where only beginnings of shards are fetched."""

from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from upath import UPath

from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus_report import examples
from fim_assets.corpus_report.gather import Partition, gather
from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import Fim
from fim_assets_tests.corpora import open_corpus, run_all, write_shard

_NUMBERS = count()


def row(number: int, language: str, lines: int) -> dict[str, object]:
    text = f"# {number}\n" + "".join(f"x{line} = {line}\n" for line in range(lines))
    return {"id": str(number), "text": text, "metadata": {"language": language}}


def transformed(root: Path, rows: list[dict[str, object]]) -> Corpus:
    """A corpus of one shard, all of it rearranged."""
    write_shard(root / "raw" / "a.jsonl.zst", rows)
    corpus = open_corpus(root, Recipe(fim=Fim(fim_rate=1.0)))
    assert run_all(corpus, ["raw_shards", "fim_shards"])["a"].failure is None
    return corpus


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Of 60 documents in three languages, one after the other."""
    return transformed(tmp_path, [row(n, ["C", "Go", "Java"][n // 20], 40) for n in range(60)])


def partitions(corpus: Corpus) -> list[Partition]:
    arrays = run_all(corpus, ["token_arrays"], [])
    assert arrays["a"].failure is None
    return list(gather(corpus, ["a"], 10).partitions)


def remote(corpus: Corpus) -> Corpus:
    """The same FIM shards on an object storage of this process."""
    root = UPath(f"memory://examples-{next(_NUMBERS)}")
    for path in Path(str(corpus.folder("fim_shards"))).iterdir():
        (root / "fim_shards" / path.name).write_bytes(path.read_bytes())
    return replace(corpus, data_root=root)


def test_both_orders_and_another_language(corpus: Corpus) -> None:
    found = examples.find_examples(corpus, partitions(corpus))
    assert found.unread == []
    first, second, third = (its for _, its in found.documents)
    assert [*first.orders, *second.orders] in (["psm", "spm"], ["spm", "psm"])
    assert (first.language, second.language, third.language) == ("C", "C", "Go")


def test_what_is_fetched_of_a_shard_may_end_anywhere(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete, cut = partitions(corpus), remote(corpus)
    shard = cut.folder("fim_shards") / "a.jsonl.zst"
    whole = examples.find_examples(cut, complete)
    assert len(whole.documents) == 3
    for share in (0.1, 0.5, 0.99):
        monkeypatch.setattr(examples, "_SHARD_BYTES", int(shard.stat().st_size * share))
        assert examples.find_examples(cut, complete).unread == []
    shard.write_bytes(shard.read_bytes()[:-20])
    monkeypatch.undo()
    assert examples.find_examples(cut, complete).unread == ["a"], "all of it was fetched"


def test_a_large_record_is_not_fetched(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "_PARQUET_BYTES", 10)
    complete = partitions(corpus)
    assert examples.find_examples(remote(corpus), complete) == ([], [])
    assert len(examples.find_examples(corpus, complete).documents) == 3


def test_a_third_document_is_in_another_language_than_the_two(tmp_path: Path) -> None:
    """The short ones, which are preferred, are all in one; a long one is in another."""
    rows = [row(n, "C" if n < 20 else "Go", 40 if n > 40 else 900) for n in range(60)]
    corpus = transformed(tmp_path, rows)
    found = [
        its.language for _, its in examples.find_examples(corpus, partitions(corpus)).documents
    ]
    assert found == ["Go", "Go", "C"]
