import json
import multiprocessing
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from fim_assets.corpus.partition_files import PartitionFiles, ReceiptError
from fim_assets.corpus.partition_lock import partition_lock
from fim_assets.corpus.receipts import (
    Provenance,
    Receipt,
    Result,
    delete_receipt,
    read_receipt,
    why_incomplete,
)
from fim_assets.corpus.sources import find_shards
from fim_assets.corpus.staging import Staging, write_receipt
from fim_assets.io.hashing import FileRecord, record_file
from fim_assets.statistics.histograms import Histogram
from fim_assets_tests.corpora import partition_files

MASKS = "label_masks"
ENDINGS = (".parquet", ".jsonl.zst", ".rejected.jsonl", ".failed.jsonl")


def receipt_of(files: PartitionFiles, outputs: list[FileRecord]) -> Receipt:
    result = Result(
        asset=files.local.name,
        key=files.key,
        fingerprint="f" * 32,
        seed="0123456789abcdef",
        input=FileRecord(name="ü.jsonl.zst", bytes=12, blake2b="0" * 64),
        outputs=outputs,
        lines=3,
        blank=1,
        rejected=0,
        documents=2,
        chars=10,
        tokens=5,
        counts={"language:C++": 2, "language:": 0},
        histograms={
            "chars": Histogram(count=2, sum=10, min=4, max=6, p50=4, p95=6, bins={4: 1, 6: 1}),
            "none": Histogram(count=0, sum=0, min=None, max=None, p50=None, p95=None, bins={}),
        },
    )
    made = Provenance(
        at=datetime(2026, 1, 2, 3, 4, 5, 678, UTC), seconds=0.125, versions={}, engine="e"
    )
    return Receipt(result=result, made=made)


def publish(files: PartitionFiles, contents: dict[str, bytes]) -> list[FileRecord]:
    with Staging(files) as staging:
        for ending, content in contents.items():
            staging.create(ending).write(content)
        return staging.publish()


def complete(files: PartitionFiles, contents: dict[str, bytes]) -> Receipt:
    receipt = receipt_of(files, publish(files, contents))
    write_receipt(files, receipt)
    return receipt


def fail_half_way(files: PartitionFiles) -> None:
    with Staging(files) as staging:
        staging.create(".parquet").write(b"new")
        staging.create("-00001.npy").write(b"new")
        staging.create("-00001.npy", MASKS).write(b"new")
        (staging.folder / "spool").write_bytes(b"new")
        raise KeyboardInterrupt


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def arrays(count: int) -> dict[str, bytes]:
    return {
        f"-{number:05d}{ending}": f"{count}/{number}{ending}".encode()
        for number in range(count)
        for ending in (".npy", ".csv.gz")
    }


@pytest.fixture
def files(tmp_path: Path) -> PartitionFiles:
    return partition_files(tmp_path / "token_arrays", "a")


def test_a_partitions_files_lie_in_the_assets_folder(tmp_path: Path) -> None:
    files = partition_files(tmp_path / "fim_shards", "C__a")
    assert files.receipt == tmp_path / "fim_shards" / "C__a.json"
    assert files.file(".jsonl.zst") == tmp_path / "fim_shards" / "C__a.jsonl.zst"


def test_a_receipt_reads_back_as_it_was_written(files: PartitionFiles) -> None:
    assert read_receipt(files) is None
    receipt = complete(files, {".parquet": b"rows"})
    assert read_receipt(files) == receipt


def test_a_receipt_is_json_with_the_documented_fields(files: PartitionFiles) -> None:
    complete(files, {".parquet": b"rows"})
    stored = json.loads(files.receipt.read_text("utf-8"))
    assert list(stored) == ["format", "result", "made"]
    assert stored["format"] == 1
    assert list(stored["result"]) == [
        *("asset", "key", "fingerprint", "seed", "input", "outputs"),
        *("lines", "blank", "rejected", "documents", "files", "chars", "tokens"),
        *("counts", "histograms"),
    ]
    assert list(stored["result"]["input"]) == ["name", "bytes", "blake2b"]
    assert list(stored["made"]) == ["at", "seconds", "versions", "engine", "checks"]
    assert list(files.local.glob(".*")) == []


def test_what_trainers_see_stands_beside_the_result_where_it_is_counted(
    files: PartitionFiles,
) -> None:
    receipt = complete(files, {".parquet": b"rows"})
    counted = receipt.model_copy(update={"seen": {"tokens": 0}})
    write_receipt(files, counted)
    stored = json.loads(files.receipt.read_text("utf-8"))
    assert list(stored) == ["format", "result", "made", "seen"]
    assert read_receipt(files) == counted
    # It decides nothing: the partition is as complete as it was.
    assert why_incomplete(counted, files, receipt.result.fingerprint) is None
    del stored["seen"]
    files.receipt.write_text(json.dumps(stored), "utf-8")
    assert read_receipt(files) == receipt


@pytest.mark.parametrize("damage", ["", "{", "null", "[]", "{}", "cut", "format", "field", "type"])
def test_a_damaged_receipt_is_an_error_that_names_it(files: PartitionFiles, damage: str) -> None:
    complete(files, {".parquet": b"rows"})
    text = files.receipt.read_text("utf-8")
    stored: dict[str, Any] = json.loads(text)
    if damage == "cut":
        damage = text[: len(text) // 2]
    elif damage == "format":
        damage = json.dumps(stored | {"format": 2})
    elif damage == "field":
        damage = json.dumps(stored | {"more": 1})
    elif damage == "type":
        stored["result"]["documents"] = "many"
        damage = json.dumps(stored)
    files.receipt.write_text(damage, "utf-8")
    with pytest.raises(ReceiptError, match=r"token_arrays.a\.json: not a receipt: "):
        read_receipt(files)


def test_a_receipt_that_is_not_utf8_is_an_error(files: PartitionFiles) -> None:
    files.local.mkdir()
    files.receipt.write_bytes(b'{"format": "\xff"}')
    with pytest.raises(ReceiptError, match="not a receipt"):
        read_receipt(files)


def test_withdrawing_deletes_the_receipt_and_nothing_else(files: PartitionFiles) -> None:
    complete(files, {".parquet": b"rows"})
    delete_receipt(files)
    delete_receipt(files)
    assert content_of(files.local) == {"a.parquet": b"rows"}


def test_entering_deletes_the_receipt_before_anything_is_made(files: PartitionFiles) -> None:
    complete(files, {".parquet": b"rows"})
    with Staging(files):
        assert not files.receipt.exists()
        assert files.file(".parquet").read_bytes() == b"rows"


def test_published_files_are_recorded_as_they_lie(files: PartitionFiles) -> None:
    contents = {".parquet": b"rows", "-00000.npy": b"\0" * 8, "-00000.csv.gz": b""}
    records = publish(files, contents)
    assert content_of(files.local) == {f"a{end}": content for end, content in contents.items()}
    assert records == [record_file(files.file(ending)) for ending in contents]


def test_nothing_is_in_its_place_before_publishing(files: PartitionFiles) -> None:
    complete(files, {".parquet": b"old"})
    with Staging(files) as staging:
        staging.create(".parquet").write(b"new")
        staging.create("-00000.npy").write(b"new")
        assert files.file(".parquet").read_bytes() == b"old"
        assert not files.file("-00000.npy").exists()


def test_temporary_files_match_no_documented_glob(files: PartitionFiles) -> None:
    folder = files.local
    with Staging(files) as staging:
        for ending in (*ENDINGS, *arrays(1)):
            staging.create(ending).write(b"half")
        (staging.folder / "spool").write_bytes(b"half")
        for ending in (".npy", ".csv.gz", ".parquet", ".jsonl.zst", ".rejected.jsonl", ".json"):
            assert list(folder.rglob(f"*{ending}")) == []
        assert [path.name for path in folder.iterdir() if path.name[0] != "."] == []
        assert find_shards(["**/*.json*"], folder) == {}
        staging.publish()
    assert len(list(folder.rglob("*.npy"))) == 1


def test_what_else_lies_in_the_hidden_folder_is_gone_in_the_end(files: PartitionFiles) -> None:
    with Staging(files) as staging:
        staging.create(".parquet").write(b"rows")
        (staging.folder / "spool").write_bytes(b"half")
        staging.publish()
    assert content_of(files.local) == {"a.parquet": b"rows"}


@pytest.mark.parametrize(("before", "after"), [(5, 2), (3, 1), (2, 2), (1, 4), (12, 3), (2, 0)])
def test_arrays_of_an_earlier_run_do_not_stay(
    files: PartitionFiles, before: int, after: int
) -> None:
    publish(files, arrays(before))
    publish(files, arrays(after))
    assert content_of(files.local) == {f"a{end}": data for end, data in arrays(after).items()}


@pytest.mark.parametrize("left", ["-00001.npy", "-00002.npy", "-00003.csv.gz"])
def test_an_old_array_does_not_stay_behind_a_gap(files: PartitionFiles, left: str) -> None:
    publish(files, arrays(4))
    for path in list(files.local.iterdir()):
        if path.name != f"a{left}":
            path.unlink()
    publish(files, {".parquet": b"rows"})
    assert content_of(files.local) == {"a.parquet": b"rows"}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_that_is_not_made_any_more_does_not_stay(files: PartitionFiles, ending: str) -> None:
    publish(files, {ending: b"old"})
    publish(files, {"-00000.npy": b"new"})
    assert content_of(files.local) == {"a-00000.npy": b"new"}


@pytest.mark.parametrize("other", ["ab", "a-00000", "a-00001", "a.b", "a.failed", "b", "aa"])
def test_another_partitions_files_stay(files: PartitionFiles, other: str) -> None:
    neighbour = partition_files(files.local, other)
    contents = dict.fromkeys(ENDINGS, b"theirs") | arrays(3)
    complete(neighbour, contents)
    theirs = content_of(files.local)
    complete(files, dict.fromkeys(ENDINGS, b"ours") | arrays(3))
    publish(files, {})
    assert content_of(files.local) == theirs


@pytest.mark.parametrize("old", [{}, {".parquet": b"old", "-00000.npy": b"old"}])
def test_an_exception_leaves_old_outputs_and_nothing_new(
    files: PartitionFiles, old: dict[str, bytes]
) -> None:
    if old:
        complete(files, old)
    with pytest.raises(KeyboardInterrupt):
        fail_half_way(files)
    assert content_of(files.local) == {f"a{ending}": data for ending, data in old.items()}


def test_what_a_killed_run_left_does_not_mix_in(files: PartitionFiles) -> None:
    killed = Staging(files).__enter__()
    killed.create(".parquet").write(b"half")
    killed.create("-00000.npy").write(b"half")
    publish(files, {".parquet": b"rows"})
    assert content_of(files.local) == {"a.parquet": b"rows"}


def test_a_complete_partition_agrees(files: PartitionFiles) -> None:
    receipt = complete(files, {".parquet": b"rows", "-00000.npy": b""})
    assert why_incomplete(receipt, files, "f" * 32) is None


def test_another_law_disagrees(files: PartitionFiles) -> None:
    receipt = complete(files, {".parquet": b"rows"})
    assert why_incomplete(receipt, files, "e" * 32) == (
        f"made by another recipe (fingerprint {'f' * 32}, now {'e' * 32})"
    )


def test_a_receipt_of_another_partition_disagrees(files: PartitionFiles) -> None:
    receipt = complete(files, {})
    copies = [
        partition_files(files.local, "b"),
        partition_files(files.local.parent / "fim_shards", "a"),
    ]
    for copy in copies:
        copy.local.mkdir(exist_ok=True)
        shutil.copy(files.file(".json"), copy.file(".json"))
        assert read_receipt(copy) == receipt
        reason = why_incomplete(receipt, copy, "f" * 32)
        assert reason == f"{copy.receipt} is the receipt of token_arrays a"


@pytest.mark.parametrize("ending", [".parquet", "-00000.npy", "-00001.npy"])
def test_a_missing_file_disagrees(files: PartitionFiles, ending: str) -> None:
    receipt = complete(files, {".parquet": b"rows", "-00000.npy": b"0", "-00001.npy": b"1"})
    files.file(ending).unlink()
    assert why_incomplete(receipt, files, "f" * 32) == f"{files.file(ending)} is missing"


@pytest.mark.parametrize("content", [b"", b"row", b"rows and more"])
def test_a_file_of_another_size_disagrees(files: PartitionFiles, content: bytes) -> None:
    receipt = complete(files, {"-00000.npy": b"0", ".parquet": b"rows"})
    files.file(".parquet").write_bytes(content)
    assert why_incomplete(receipt, files, "f" * 32) == (
        f"{files.file('.parquet')} has {len(content)} bytes, the receipt says 4"
    )


def test_a_receipt_that_cannot_be_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    files = partition_files(tmp_path, "a")
    files.receipt.mkdir()
    with pytest.raises(ReceiptError, match="cannot be read"):
        read_receipt(files)


def publish_masks(files: PartitionFiles, count: int, content: bytes = b"mask") -> list[FileRecord]:
    """Arrays with a label mask each, in the folder beside theirs."""
    with Staging(files) as staging:
        for number in range(count):
            staging.create(f"-{number:05d}.npy").write(b"ids")
            staging.create(f"-{number:05d}.npy", MASKS).write(content)
        return staging.publish()


def test_a_file_beside_lies_in_the_folder_that_its_record_names(files: PartitionFiles) -> None:
    array, mask = publish_masks(files, 1)
    assert (array.name, mask.name) == ("a-00000.npy", "label_masks/a-00000.npy")
    assert files.output(array.name) == files.local / "a-00000.npy"
    assert files.output(mask.name) == files.local.parent / MASKS / "a-00000.npy"
    assert content_of(files.local) == {"a-00000.npy": b"ids"}
    assert content_of(files.local.parent / MASKS) == {"a-00000.npy": b"mask"}
    assert mask.blake2b == record_file(files.output(mask.name)).blake2b


def test_no_folder_beside_is_made_before_publishing(files: PartitionFiles) -> None:
    with Staging(files) as staging:
        staging.create("-00000.npy", MASKS).write(b"mask")
        assert not (files.local.parent / MASKS).exists()
        assert list(files.local.parent.rglob("*.npy")) == []
    assert not (files.local.parent / MASKS).exists()


@pytest.mark.parametrize(("before", "after"), [(3, 1), (1, 3), (2, 2), (2, 0), (12, 3)])
def test_masks_of_an_earlier_run_do_not_stay(
    files: PartitionFiles, before: int, after: int
) -> None:
    publish_masks(files, before, b"old")
    publish_masks(files, after, b"new")
    masks = {f"a-{number:05d}.npy": b"new" for number in range(after)}
    assert content_of(files.local.parent / MASKS) == masks


def test_masks_do_not_stay_where_the_recipe_has_none_any_more(files: PartitionFiles) -> None:
    publish_masks(files, 2)
    publish(files, arrays(2))
    assert content_of(files.local.parent / MASKS) == {}


@pytest.mark.parametrize("asset", ["raw_shards", "fim_shards", "corpus_report", "label_mask"])
def test_no_other_asset_deletes_masks(files: PartitionFiles, asset: str) -> None:
    publish_masks(files, 2)
    publish(partition_files(files.local.with_name(asset), files.key), {".parquet": b"rows"})
    assert len(content_of(files.local.parent / MASKS)) == 2


def test_token_arrays_delete_nothing_in_other_assets_folders(files: PartitionFiles) -> None:
    fim = partition_files(files.local.with_name("fim_shards"), files.key)
    publish(fim, {".parquet": b"rows", ".jsonl.zst": b"lines"})
    publish_masks(files, 1)
    publish(files, {})
    assert content_of(fim.local) == {"a.parquet": b"rows", "a.jsonl.zst": b"lines"}


@pytest.mark.parametrize("other", ["ab", "a-00000", "a.b", "b", "aa"])
def test_another_partitions_masks_stay(files: PartitionFiles, other: str) -> None:
    publish_masks(partition_files(files.local, other), 2, b"theirs")
    publish_masks(files, 2, b"ours")
    publish(files, {})
    masks = {f"{other}-{number:05d}.npy": b"theirs" for number in range(2)}
    assert content_of(files.local.parent / MASKS) == masks


def test_an_exception_leaves_old_masks_and_no_new_one(files: PartitionFiles) -> None:
    publish_masks(files, 1, b"old")
    with pytest.raises(KeyboardInterrupt):
        fail_half_way(files)
    assert content_of(files.local.parent / MASKS) == {"a-00000.npy": b"old"}


@pytest.mark.parametrize(("content", "reason"), [(None, "is missing"), (b"ma", "has 2 bytes, the")])
def test_a_mask_that_is_missing_or_of_another_size_disagrees(
    files: PartitionFiles, content: bytes | None, reason: str
) -> None:
    receipt = receipt_of(files, publish_masks(files, 1))
    assert why_incomplete(receipt, files, "f" * 32) is None
    mask = files.local.parent / MASKS / "a-00000.npy"
    mask.unlink()
    if content is not None:
        mask.write_bytes(content)
    assert (why_incomplete(receipt, files, "f" * 32) or "").startswith(f"{mask} {reason}")


def test_a_receipt_of_files_that_changed_meanwhile_is_not_written(files: PartitionFiles) -> None:
    receipt = receipt_of(files, publish(files, {".parquet": b"rows"}))
    files.file(".parquet").write_bytes(b"more rows")
    with pytest.raises(ReceiptError, match="another run has written here"):
        write_receipt(files, receipt)
    assert read_receipt(files) is None
    assert [path.name for path in files.local.iterdir()] == ["a.parquet"]


def test_two_runs_without_a_lock_never_mix(files: PartitionFiles) -> None:
    """The second deletes what the first has begun: the first fails, the second is whole."""
    with Staging(files) as first:
        first.create(".parquet").write(b"first")
        records = publish(files, {".parquet": b"second"})
        with pytest.raises(FileNotFoundError):
            first.publish()
    assert files.file(".parquet").read_bytes() == b"second"
    write_receipt(files, receipt_of(files, records))


def hold(folder: Path, key: str, seconds: float, log: Path) -> None:
    with partition_lock(folder, key):
        with log.open("a") as file:
            file.write("in\n")
        time.sleep(seconds)
        with log.open("a") as file:
            file.write("out\n")


def test_one_run_at_a_time_writes_a_partition(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    log = tmp_path / "log"
    runs = [context.Process(target=hold, args=(tmp_path, "a", 0.3, log)) for _ in range(4)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
    assert [run.exitcode for run in runs] == [0] * 4
    assert log.read_text().split() == ["in", "out"] * 4
    assert list((tmp_path / ".locks").iterdir()) == []


def test_a_killed_run_leaves_no_lock(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = tmp_path / "log"
    run = multiprocessing.get_context("spawn").Process(target=hold, args=(tmp_path, "a", 600, log))
    run.start()
    while not log.exists():
        time.sleep(0.01)
    Timer(0.5, run.kill).start()
    with partition_lock(tmp_path, "b"):
        assert caplog.messages == [], "another partition is not waited for"
    with partition_lock(tmp_path, "a"):
        assert caplog.messages == ["a: another run is writing this partition; waiting for it"]
    run.join()
    assert list((tmp_path / ".locks").iterdir()) == []
