"""Object storage, against a real server that refuses, cuts and delays some of its answers."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import gettempdir
from typing import Any
from unittest.mock import Mock

import pytest
import s3fs
from click.testing import CliRunner
from upath import UPath

from fim_assets.cli.main import main
from fim_assets.corpus.partition_files import ReceiptError
from fim_assets.corpus.raw_shard import RawShard
from fim_assets.corpus.receipts import read_receipt
from fim_assets.corpus.sources import find_shards
from fim_assets.corpus.staging import write_receipt
from fim_assets.corpus_report.gather import build_summary
from fim_assets.io.locations import StorageError, is_remote, parse_url
from fim_assets.io.machine_folders import working_folder
from fim_assets.io.storage import (
    fetch,
    objects,
    read_bytes,
    remove,
    sizes_below,
    store,
    write_bytes,
)
from fim_assets.recipe import Recipe
from fim_assets.run.partition import Task, run_partition
from fim_assets.stages import ASSETS
from fim_assets_tests.corpora import corpus_of, partition_files
from fim_assets_tests.corpus.test_receipts import complete, publish, receipt_of
from fim_assets_tests.s3_server import BUCKET, file_system, s3_server

ROOT = f"s3://{BUCKET}"
PARTS = Random(1).randbytes(20_000_001)
"""More than two parts of an upload."""


@pytest.fixture(scope="module", autouse=True)
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    log = tmp_path_factory.mktemp("s3") / "log"
    with (
        s3_server(log, refused=7, cut=11, slow=31) as variables,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in variables.items():
            patch.setenv(name, value)
        patch.setattr("fim_assets.io.storage._LONGEST_PAUSE", 0.2)
        file_system()
        yield


def test_a_file_comes_back_as_it_went_in_parts(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(PARTS)
    location = parse_url(f"{ROOT}/out/a.npy")
    store(path, location)
    assert "-" in file_system().info(f"{BUCKET}/out/a.npy")["ETag"], "it went in several parts"
    fetched = fetch(location, tmp_path / "back")
    assert fetched.read_bytes() == PARTS
    assert sizes_below(parse_url(f"{ROOT}/out"), "a.") == {"a.npy": len(PARTS)}


def test_small_files_are_read_written_listed_and_deleted() -> None:
    folder = parse_url(f"{ROOT}/small/")
    names = [f"{letter}{number}.json" for letter in "ab" for number in range(3)]
    for name in names:
        write_bytes(folder / name, name.encode())
    assert [read_bytes(folder / name) for name in names] == [name.encode() for name in names]
    write_bytes(folder / "deep" / "c.json", b"")
    assert sorted(sizes_below(folder)) == names, "files of the folder alone"
    assert sorted(sizes_below(folder, "b")) == names[3:]
    remove(folder / name for name in names)
    remove([folder / names[0]])
    assert sizes_below(folder, "a") == {}
    with pytest.raises(FileNotFoundError):
        read_bytes(folder / names[0])


def test_what_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        fetch(parse_url(f"{ROOT}/nowhere/a.jsonl"), tmp_path)
    assert sizes_below(parse_url(f"{ROOT}/nowhere")) == {}


def test_globs_find_every_file_whatever_its_name() -> None:
    folder = parse_url(f"{ROOT}/globs")
    names = ["a.jsonl", "a.jsonl/b.jsonl", *(f"a{sign}.jsonl" for sign in " #?%+ü[")]
    for name in (*names, "b/.c.jsonl"):
        write_bytes(folder / name, name.encode())
    file_system().call_s3("put_object", Bucket=BUCKET, Key="globs/")
    top = sorted(names[:1] + names[2:])
    found = objects(folder, "*.jsonl")
    assert sorted(location.name for location in found) == top
    assert len(objects(folder, "**/*")) == len(names), "what is hidden is left out"
    assert list(objects(folder, "**/.c*")) == [folder / "b" / ".c.jsonl"]
    assert list(objects(folder, "a.jsonl")) == [folder / "a.jsonl"]
    assert sorted(sizes_below(folder)) == top


def refuse(monkeypatch: pytest.MonkeyPatch, refused: str) -> None:
    """Have the server refuse an operation."""
    call = s3fs.S3FileSystem._call_s3

    async def call_or_refuse(
        self: s3fs.S3FileSystem, method: str, *args: Any, **kwargs: Any
    ) -> Any:
        if method == refused:
            raise PermissionError("access denied")
        return await call(self, method, *args, **kwargs)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", call_or_refuse)


def test_a_folder_that_cannot_be_listed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = parse_url(f"{ROOT}/lists")
    refuse(monkeypatch, "list_objects_v2")
    with pytest.raises(StorageError, match=r"^s3://corpus/lists: .* listed: access denied$"):
        objects(folder, "*/*.jsonl")
    with pytest.raises(StorageError, match=r"^s3://corpus/lists: .* listed: access denied$"):
        sizes_below(folder)


def test_a_receipt_that_cannot_be_read_leaves_no_partition_out_of_the_report(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    corpus = corpus_of(Recipe(), parse_url(f"{ROOT}/report"))
    write_bytes(corpus.folder("raw_shards") / "a.json", b"{}")
    refuse(monkeypatch, "get_object")
    with pytest.raises(StorageError, match=r"/a.json: could not be read: access denied$"):
        build_summary(corpus, ["a"])


def test_a_bucket_that_is_not_there_is_named() -> None:
    nowhere = parse_url("s3://nowhere")
    with pytest.raises(StorageError, match=r"^s3://nowhere/: could not be listed: "):
        objects(nowhere, "raw/*.jsonl")
    with pytest.raises(FileNotFoundError, match=r"^s3://nowhere/a: could not be written: "):
        write_bytes(nowhere / "a", b"")


def test_a_name_that_links_urls_is_refused_before_another_file_is_read() -> None:
    folder = parse_url(f"{ROOT}/links")
    write_bytes(folder / "a", b"another")
    file_system().pipe_file(f"{BUCKET}/links/a::b.jsonl", b"1")
    with pytest.raises(StorageError, match=r"links/a::b.jsonl: :: in a name"):
        objects(folder, "*")
    with pytest.raises(StorageError, match=r"links/a::b.jsonl: :: in a name"):
        read_bytes(folder / "a::b.jsonl")


@pytest.mark.parametrize("url", ["s3://", "s3:///", "s3:///raw", f"{ROOT}/links/a::b.jsonl"])
def test_a_url_that_leads_elsewhere_is_refused(url: str) -> None:
    with pytest.raises(StorageError) as caught:
        parse_url(url)
    assert str(caught.value).startswith(f"{url}: ")


@pytest.mark.parametrize(
    ("variable", "value"),
    [("AWS_PROFILE", "nobody"), ("AWS_SECRET_ACCESS_KEY", ""), ("AWS_DEFAULT_REGION", "a b")],
)
def test_what_no_second_try_mends_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value) if value else monkeypatch.delenv(variable)
    location = UPath(f"{ROOT}/a", skip_instance_cache=True)
    with pytest.raises(StorageError, match=r"^s3://corpus/a: could not be read: "):
        read_bytes(location)
    assert "try 1" not in caplog.text


def test_another_size_than_expected_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fim_assets.io.storage._TRIES", 2)
    location = parse_url(f"{ROOT}/sizes/a.jsonl")
    write_bytes(location, b"12345")
    with pytest.raises(StorageError, match=r"sizes/a.jsonl: could not be fetched: 5 bytes came"):
        fetch(location, tmp_path, expected_bytes=6)


def test_a_file_that_changes_while_it_comes_is_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = parse_url(f"{ROOT}/changing/a.jsonl")
    write_bytes(location, b"old")
    get = location.fs.get_file

    def change(*paths: str) -> None:
        get(*paths)
        write_bytes(location, b"new")

    monkeypatch.setattr(location.fs, "get_file", change)
    assert fetch(location, tmp_path).read_bytes() == b"new"


def test_a_shard_that_nothing_pins_may_be_another_one_since_it_was_listed(tmp_path: Path) -> None:
    location = parse_url(f"{ROOT}/listed/a.jsonl")
    write_bytes(location, b"old")
    (shard,) = find_shards(["listed/*"], parse_url(ROOT)).values()
    write_bytes(location, b"newer")
    assert shard.members[0].fetch(tmp_path).read_bytes() == b"newer"


def test_a_server_that_is_gone_is_told_after_the_fifth_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fim_assets.io.storage._LONGEST_PAUSE", 0.0)
    location = parse_url(f"{ROOT}/a.jsonl")
    reset = Mock(side_effect=ConnectionResetError("connection reset by peer"))
    monkeypatch.setattr(location.fs, "put_file", reset)
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"1")
    message = r"^s3://corpus/a.jsonl: could not be written: connection reset by peer$"
    with pytest.raises(StorageError, match=message):
        store(path, location)
    assert reset.call_count == 5


def test_local_paths_are_no_remote_ones(tmp_path: Path) -> None:
    assert not is_remote(tmp_path)
    assert fetch(tmp_path / "a", tmp_path / "b") == tmp_path / "a"
    write_bytes(tmp_path / "c" / "d.txt", b"text")
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["d.txt"]


def test_a_working_folder_goes_in_the_end_and_what_the_dead_left_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    others = tmp_path / "fim_assets-main"
    others.mkdir()
    with working_folder() as first:
        left = first.with_name("tmp_of_the_dead")
        left.mkdir()
        (first / "file").write_bytes(b"")
        with working_folder() as second:
            assert first != second
            assert (first / "file").exists(), "it is in use"
            assert not left.exists()
    assert [path.name for path in first.parent.iterdir()] == ["lock"]
    assert str(os.getuid()) in first.parent.name, "another user has a lock of its own"
    assert others.exists()


def test_a_preview_names_the_shard_where_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    write_bytes(parse_url(f"{ROOT}/preview/raw/a.jsonl"), b'{"text": "a"}\n')
    monkeypatch.setenv("FIM_INPUT_ROOT", f"{ROOT}/preview")
    shown = CliRunner().invoke(main, ["preview", "a", "--line", "9"]).stderr
    assert shown.startswith(f"Error: {ROOT}/preview/raw/a.jsonl: no line 9")


def test_no_receipt_is_left_beside_what_another_run_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits here, and files of one size may have other contents."""
    folder = parse_url(f"{ROOT}/runs/raw_shards")
    one, two = (
        partition_files(folder, "a", tmp_path / run / "raw_shards") for run in ("one", "two")
    )
    receipt = receipt_of(one, publish(one, {".parquet": b"one"}))

    def store_and_be_overwritten(path: Path, location: UPath) -> tuple[int, str]:
        stored = store(path, location)
        write_bytes(location, b"two")
        return stored

    with monkeypatch.context() as patch:
        patch.setattr("fim_assets.corpus.staging.store", store_and_be_overwritten)
        with pytest.raises(
            ReceiptError, match=r"a\.parquet has changed .* another run has written"
        ):
            write_receipt(one, receipt)
    complete(two, {".parquet": b"two"})
    with monkeypatch.context() as patch:
        patch.setattr(
            "fim_assets.corpus.staging.published_sizes", Mock(side_effect=KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            write_receipt(one, receipt)
    assert read_receipt(two) is None


def test_a_disk_that_is_full_is_not_said_to_be_the_buckets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr("fim_assets.raw_shards.measure.measure_shard", Mock(side_effect=full))
    corpus = corpus_of(Recipe(), parse_url(f"{ROOT}/full"))
    task = Task(corpus, "a", RawShard(str(tmp_path / "a.jsonl")), frozenset(ASSETS), frozenset())
    failure = run_partition(task).failure
    assert failure is not None
    assert failure.startswith(f"raw_shards: {gettempdir()}: [Errno 28] No space left on device, ")
