import re
from pathlib import Path

import pytest
import yaml

from fim_assets import nothing_found as module
from fim_assets.corpus.sources import find_shards
from fim_assets.io.locations import parse_url
from fim_assets.nothing_found import nothing_found
from fim_assets.settings import Settings
from fim_assets_tests.corpora import documents, open_corpus, run_all, write_shard

GLOBS = ("raw/**/*.none",)


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def told(root: Path, *patterns: str) -> tuple[str, str]:
    return nothing_found(patterns or GLOBS, Settings(root, root, "", workers=1))


def to_write(advice: str) -> list[str]:
    recipe = yaml.safe_load(advice[advice.index("raw:") :])
    globs: list[str] = recipe["raw"]["documents"]
    return globs


def test_the_globs_to_write_match_what_is_there(tmp_path: Path) -> None:
    names = ("a b/x/1.jsonl.zst", "a b/2.jsonl.zst", "a b/3.jsonl.xz", "ü/c.jsonl", "4.jsonl.gz")
    touch(tmp_path, *names, "a b/info.json", "a b/notes.md", ".hidden/5.jsonl", "a b/.6.jsonl")
    message, advice = told(tmp_path)
    assert "2 files *.jsonl.zst in a b/" in message
    assert "1 file *.jsonl.gz in ./" in message
    assert "json in" not in message.replace("jsonl", "")
    found = find_shards(to_write(advice), tmp_path)
    assert sorted(shard.members[0].place for shard in found.values()) == sorted(
        str(tmp_path / name) for name in names
    )


def test_json_is_told_where_there_is_nothing_else(tmp_path: Path) -> None:
    touch(tmp_path, "data/a.json", "data/b.zip")
    assert to_write(told(tmp_path)[1]) == ["data/**/*.json"]


def test_what_is_no_shard_is_told_with_what_makes_shards_of_it(tmp_path: Path) -> None:
    touch(tmp_path, "data/a.tar", "data/b.tar", "notes.md", "manifest.tsv")
    message, advice = told(tmp_path)
    assert "tsv" not in message + advice
    assert "2 files *.tar in data/" in message
    assert "fim-assets collect" in advice


def test_outputs_are_no_input(tmp_path: Path) -> None:
    write_shard(tmp_path / "raw" / "a.jsonl", documents(30))
    assert run_all(open_corpus(tmp_path))["a"].failure is None
    touch(tmp_path, "corpus_report/summary.json")
    assert to_write(told(tmp_path)[1]) == ["raw/**/*.jsonl"]
    (tmp_path / "raw" / "a.jsonl").unlink()
    message, advice = told(tmp_path)
    assert message == f"no shard found: {GLOBS[0]} below {tmp_path}"
    assert "FIM_INPUT_ROOT" in advice


def test_a_folder_without_end_is_looked_at_in_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, *(f"data/{number}.jsonl" for number in range(20)), "other/a.jsonl.gz")
    (tmp_path / "data" / "loop").symlink_to(tmp_path)
    monkeypatch.setattr(module, "_MOST_ENTRIES", 15)
    message, advice = told(tmp_path)
    files = int(re.findall(r"(\d+) files \*\.jsonl in data/", message)[0])
    assert files in {12, 13}
    assert message.endswith(", of the first 15 files and folders")
    assert to_write(advice) == ["data/**/*.jsonl"]


@pytest.mark.parametrize("pattern", ["/nowhere/*.jsonl", "~/nowhere/*", "s3://bucket/*.jsonl"])
def test_globs_that_do_not_start_from_the_root_are_not_answered_from_it(
    tmp_path: Path, pattern: str
) -> None:
    touch(tmp_path, "data/a.jsonl")
    assert "data/" not in told(tmp_path, pattern)[0]
    assert "data/" in told(tmp_path, pattern, *GLOBS)[0]
    assert str(tmp_path) not in told(tmp_path, pattern)[0]


def test_no_folder_and_object_storage_are_told_as_such(tmp_path: Path) -> None:
    assert told(tmp_path / "none")[0].endswith(f"{tmp_path / 'none'}, which is no folder")
    remote = Settings(tmp_path, parse_url("s3://bucket"), "", workers=1)
    assert nothing_found(GLOBS, remote)[0].endswith("below s3://bucket/")
