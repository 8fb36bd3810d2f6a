"""From a bucket to a bucket, through a server that refuses, cuts and delays some answers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import s3fs

from fim_assets.regroup.write import WriteTask
from fim_assets_tests.regroup.corpora import regroup, regrouped, write_inputs
from fim_assets_tests.s3_server import BUCKET, file_system, s3_server

SMALL = "--shard-size", "10kB"


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[s3fs.S3FileSystem]:
    with s3_server(tmp_path / "log", refused=23, cut=29, slow=61) as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield file_system()


def test_a_bucket_gets_what_a_folder_gets_and_keeps_what_is_finished(
    root: Path, bucket: s3fs.S3FileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_inputs(root, 20)
    expected = regrouped(root, *SMALL)
    bucket.put(str(root / "raw"), f"{BUCKET}/raw", recursive=True)
    there = f"s3://{BUCKET}/whole"
    arguments = "raw/**/*", "-o", there, *SMALL
    monkeypatch.setenv("FIM_INPUT_ROOT", f"s3://{BUCKET}")
    with monkeypatch.context() as patch:
        patch.setattr(WriteTask, "run", lambda task: task.failed("ended"))
        failed = regroup(*arguments)
    assert failed.exit_code == 1
    assert f"{there}/.repositories.regroup: run the same command again" in failed.stderr
    names = {Path(path).name for path in bucket.find(f"{BUCKET}/whole")}
    assert "read-00000.json" in names
    read = bucket.info(f"{BUCKET}/whole/.repositories.regroup/00000.runs")["LastModified"]
    with monkeypatch.context() as patch:
        patch.setattr("fim_assets.regroup.regroup.Destination.publish", lambda *_: None)
        assert regroup(*arguments).exit_code == 0
    again = bucket.info(f"{BUCKET}/whole/.repositories.regroup/00000.runs")["LastModified"]
    assert again == read, "what was read is not read again"
    assert regroup(*arguments).exit_code == 0
    paths = bucket.find(f"{BUCKET}/whole")
    found = {Path(path).name: bucket.cat_file(path) for path in paths}
    assert found.keys() - expected.keys() == {".repositories.json"}
    assert {name: found[name] for name in expected} == expected
    assert regroup(*arguments).stdout.startswith("finished already")
    refused = regroup("raw/**/*", "-o", there)
    assert f"{there}/repositories-00000.jsonl.zst: is there already" in refused.stderr
