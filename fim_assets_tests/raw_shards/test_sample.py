import sysconfig
from pathlib import Path
from typing import Any

import orjson
import pytest

from fim_assets.corpus.sources import find_shards
from fim_assets.raw_shards.sample import SHARDS, sample_documents, write_sample
from fim_assets.raw_shards.shard_reader import ShardReader
from fim_assets.recipe.raw import Raw
from fim_assets_tests.corpora import file_bytes

LIBRARY = Path(sysconfig.get_path("stdlib"))


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "raw"
    paths = write_sample(folder)
    assert sorted(folder.iterdir()) == paths
    return folder


@pytest.fixture(scope="module")
def documents() -> list[Any]:
    return [orjson.loads(line) for line in sample_documents()]


def test_there_are_eight_shards(sample: Path) -> None:
    found = find_shards(["raw/**/*.json*"], sample.parent)
    assert list(found) == [f"stdlib-{number}" for number in range(8)]
    assert SHARDS == 8


def test_a_second_call_writes_the_same_bytes(sample: Path) -> None:
    before = file_bytes(sample)
    (sample / "stdlib-3.jsonl.zst").write_bytes(b"damaged")
    (sample / "stdlib-5.jsonl.zst").unlink()
    write_sample(sample)
    assert file_bytes(sample) == before


def test_every_document_is_the_file_it_names(sample: Path, documents: list[Any]) -> None:
    count = 0
    for path in sorted(sample.iterdir()):
        with ShardReader(path, Raw()) as reader:
            for block in reader:
                for name, text, line in zip(block.ids, block.texts, block.lines, strict=True):
                    assert name is not None
                    assert text.encode() == (LIBRARY / name).read_bytes()
                    assert orjson.loads(line)["metadata"]["path"] == name
                    count += 1
            assert reader.documents == reader.lines > 0
    assert count == len(documents)


def test_documents_are_dealt_out_in_turn(sample: Path, documents: list[Any]) -> None:
    with ShardReader(sample / "stdlib-1.jsonl.zst", Raw()) as reader:
        names = [name for block in reader for name in block.ids]
    everything = [document["id"] for document in documents]
    assert names == everything[1::8]
    assert len(set(everything)) == len(everything)
    assert not any("site-packages" in Path(name).parts for name in everything)


def test_every_document_names_its_language(documents: list[Any]) -> None:
    languages = {document["metadata"]["language"] for document in documents}
    assert "Python" in languages
    assert None not in languages


@pytest.mark.parametrize("other", ["mine.jsonl", "stdlib-8.jsonl.zst", ".hidden"])
def test_a_folder_with_other_files_is_refused_and_unchanged(tmp_path: Path, other: str) -> None:
    (tmp_path / other).write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="FIM_DATA_ROOT") as caught:
        write_sample(tmp_path)
    assert str(tmp_path / other) in str(caught.value)
    assert file_bytes(tmp_path) == {other: b"mine"}
