import os
import re
from pathlib import Path

import pytest

from fim_assets.corpus.manifest import COLUMNS, manifest_rows, read_manifest
from fim_assets.corpus.raw_shard import RawShard
from fim_assets.corpus.sources import find_shards
from fim_assets.errors import ShardError
from fim_assets.io.hashing import record_file
from fim_assets.io.locations import StorageError, parse_url
from fim_assets_tests.corpora import documents, write_shard


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


@pytest.mark.parametrize(
    ("pattern", "name", "key"),
    [
        ("raw/*.jsonl.zst", "raw/a.jsonl.zst", "a"),
        ("raw/**/*", "raw/C/bucket_0015/a.jsonl.zst", "C__bucket_0015__a"),
        ("raw/**/*", "raw/a.json", "a"),
        ("raw/C/**/*.json*", "raw/C/bucket_0015/a.jsonl", "bucket_0015__a"),
        ("raw/*/a.jsonl", "raw/C/a.jsonl", "C__a"),
        ("raw/C*/x/*", "raw/C1/x/a.jsonl.gz", "C1__x__a"),
        ("raw/C/a.jsonl.gz", "raw/C/a.jsonl.gz", "a"),
        ("a.jsonl", "a.jsonl", "a"),
        ("*", "a.json.gz", "a"),
        ("**/*", "raw/a.json.zst", "raw__a"),
        ("raw/*", "raw/a.jsonl.bz2", "a"),
        ("raw/*", "raw/a.json.xz", "a"),
        ("raw/[ab].jsonl", "raw/a.jsonl", "a"),
        ("raw/?.jsonl", "raw/a.jsonl", "a"),
        ("raw/*", "raw/a.json.jsonl", "a.json"),
        ("raw/*", "raw/v1.2 ünï.jsonl", "v1.2 ünï"),
    ],
)
def test_a_key_is_the_path_below_the_globs_fixed_part(
    tmp_path: Path, pattern: str, name: str, key: str
) -> None:
    touch(tmp_path, name)
    assert find_shards([pattern], tmp_path) == {key: RawShard(str(tmp_path / name))}
    found = find_shards([str(tmp_path / pattern)], Path("elsewhere"))
    assert found == {key: RawShard(str(tmp_path / name))}


def test_shards_are_sorted_by_key(tmp_path: Path) -> None:
    touch(tmp_path, "z/b.jsonl", "z/a.jsonl", "y/c.jsonl", "y/a-b/d.jsonl", "y/a/d.jsonl")
    found = find_shards(["z/*", "y/**/*"], tmp_path)
    assert list(found) == ["a", "a-b__d", "a__d", "b", "c"]


def test_a_shard_that_two_globs_match_counts_once(tmp_path: Path) -> None:
    touch(tmp_path, "raw/a.jsonl")
    assert list(find_shards(["raw/*", "raw/*.jsonl", "raw/a.jsonl"], tmp_path)) == ["a"]


@pytest.mark.parametrize("pattern", ["nowhere/*.jsonl", "raw/*.zst", "raw/b.jsonl", "raw"])
def test_no_match_is_no_error(tmp_path: Path, pattern: str) -> None:
    touch(tmp_path, "raw/a.jsonl")
    assert find_shards([pattern], tmp_path) == {}


def test_folders_are_no_shards(tmp_path: Path) -> None:
    touch(tmp_path, "raw/c.jsonl/a.jsonl")
    assert find_shards(["raw/*"], tmp_path) == {}
    assert list(find_shards(["raw/**/*"], tmp_path)) == ["c.jsonl__a"]


@pytest.mark.parametrize("hidden", ["raw/.b.jsonl", "raw/.tmp/b.jsonl", "raw/C/.git/x/b.txt"])
def test_hidden_files_and_folders_are_left_out(tmp_path: Path, hidden: str) -> None:
    touch(tmp_path, "raw/a.jsonl", hidden)
    assert list(find_shards(["raw/**/*"], tmp_path)) == ["a"]


def test_a_root_may_lie_below_a_hidden_folder(tmp_path: Path) -> None:
    touch(tmp_path, ".cache/raw/a.jsonl")
    assert list(find_shards(["raw/*"], tmp_path / ".cache")) == ["a"]
    assert list(find_shards([".cache/raw/*"], tmp_path)) == ["a"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("raw/a.jsonl", "raw/a.json"),
        ("raw/a.jsonl", "raw/a.jsonl.zst"),
        ("raw/a.jsonl.gz", "raw/a.jsonl.zst"),
        ("raw/C/a.jsonl", "raw/C__a.jsonl"),
    ],
)
def test_two_shards_with_one_key_are_refused(tmp_path: Path, first: str, second: str) -> None:
    touch(tmp_path, first, second)
    with pytest.raises(ShardError) as caught:
        find_shards(["raw/**/*"], tmp_path)
    message = str(caught.value)
    assert message.startswith("two shards have the key ")
    assert str(tmp_path / first) in message
    assert str(tmp_path / second) in message


def test_one_name_below_two_globs_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "x/a.jsonl", "y/a.jsonl")
    with pytest.raises(ShardError, match="two shards have the key a: "):
        find_shards(["x/*", "y/*"], tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        *("a,b", "a...b", "a[0]", "a]", "a(1)", "{a}", "a\\b", "-a", "a\nb", "a\x7f", "a\x85b"),
        "C/[x]/a",
    ],
)
def test_a_key_that_dagster_cannot_carry_is_refused_with_the_path(
    tmp_path: Path, name: str
) -> None:
    touch(tmp_path, f"raw/{name}.jsonl")
    with pytest.raises(ShardError, match="its key would be ") as caught:
        find_shards(["raw/**/*"], tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'raw' / name}.jsonl: ")


@pytest.mark.parametrize(
    "name", ["a.txt", "a", "a.jsonl.lz4", "a.jsonl.zst.tmp", "a.JSONL", "a.parquet.gz", "ajsonl"]
)
def test_an_unsupported_ending_is_refused_with_the_path(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "raw/b.jsonl", f"raw/{name}")
    with pytest.raises(ShardError, match=r"ends in \.json or .jsonl") as caught:
        find_shards(["raw/*"], tmp_path)
    assert str(tmp_path / "raw" / name) in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://host/raw/*.jsonl", "https://host/a.jsonl"])
def test_a_url_of_no_object_storage_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(StorageError) as caught:
        find_shards([url], tmp_path)
    assert str(caught.value).startswith(f"{url}: {url.partition('/')[0]}// is not supported; s3://")


def test_a_relative_glob_stays_in_the_commit() -> None:
    root = parse_url(f"hf://datasets/org/code@{'0' * 40}/data")
    with pytest.raises(StorageError, match=r"/data/\.\./x: `\.\.` would lead out of the commit"):
        find_shards(["../x/*.jsonl"], root)


def test_one_shard_with_two_keys_is_refused(tmp_path: Path) -> None:
    """Overlapping globs would count its documents twice."""
    write_shard(tmp_path / "raw" / "C" / "a.jsonl", [])
    with pytest.raises(ShardError, match="has two keys, C__a and a"):
        find_shards(["raw/**/*", "raw/C/*"], tmp_path)
    assert list(find_shards(["raw/**/*", "raw/*/*"], tmp_path)) == ["C__a"]


@pytest.mark.parametrize("pattern", ["raw/**", "/", "."])
def test_a_glob_that_names_no_files_is_refused(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(ShardError, match="names no files"):
        find_shards([pattern], tmp_path)


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"a\xff.jsonl")).write_bytes(b"")
    with pytest.raises(ShardError, match="its key would be"):
        find_shards(["*.jsonl"], tmp_path)


def test_a_linked_folder_is_read_like_any_other(tmp_path: Path) -> None:
    write_shard(tmp_path / "elsewhere" / "a.jsonl", [])
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "C").symlink_to(tmp_path / "elsewhere")
    assert list(find_shards(["raw/**/*.json*"], tmp_path)) == ["C__a"]


def test_a_link_to_nothing_is_refused(tmp_path: Path) -> None:
    write_shard(tmp_path / "raw" / "a.jsonl", [])
    (tmp_path / "raw" / "b.jsonl").symlink_to(tmp_path / "gone.jsonl")
    with pytest.raises(ShardError, match=r"b\.jsonl: a link to nothing"):
        find_shards(["raw/*"], tmp_path)


def test_a_folder_that_links_to_itself_is_refused(tmp_path: Path) -> None:
    write_shard(tmp_path / "raw" / "a.jsonl", [])
    (tmp_path / "raw" / "loop").symlink_to(tmp_path / "raw")
    with pytest.raises(ShardError, match=r"has two keys|a link to nothing"):
        find_shards(["raw/**/*"], tmp_path)


def test_a_glob_that_matches_nothing_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_shard(tmp_path / "raw" / "a.jsonl", [])
    assert list(find_shards(["raw/*.jsonl", "rwa/*.jsonl"], tmp_path)) == ["a"]
    assert "rwa/*.jsonl matches nothing" in caplog.text
    assert "raw/*.jsonl matches nothing" not in caplog.text


def test_a_pipe_is_no_shard(tmp_path: Path) -> None:
    """Whoever read it would wait for ever."""
    os.mkfifo(tmp_path / "a.jsonl")
    with pytest.raises(ShardError, match=r"a\.jsonl: no file, but a pipe"):
        find_shards(["*"], tmp_path)


def test_all_files_that_are_no_shards_are_named_at_once(tmp_path: Path) -> None:
    touch(tmp_path, "a.jsonl", "b.txt", "c.jsonl.Z")
    with pytest.raises(ShardError, match=r"b\.txt, .*c\.jsonl\.Z: raw\.documents matches"):
        find_shards(["*"], tmp_path)


def test_the_first_file_of_each_kind_is_named_with_what_to_do(tmp_path: Path) -> None:
    kinds = ("z.jsonl.lz4", "y.tar.gz", "x.zip", "w.csv", "v.arrow", "u.TGZ", "t.parquet.sha256")
    touch(tmp_path, *(f"a{number:02}.txt" for number in range(20)), *kinds)
    with pytest.raises(ShardError) as caught:
        find_shards(["*"], tmp_path)
    assert all(name in caught.value.message for name in ("a00.txt", *kinds))
    assert "a03.txt" not in caught.value.message
    told = [advice.partition(": ")[0] for advice in caught.value.advice.split("; ")]
    assert {".txt", ".lz4", ".tgz, .tar.gz", ".zip", ".csv", ".arrow"} <= {*told}
    assert "fim-assets collect" in caught.value.advice


@pytest.mark.parametrize("name", ["a..jsonl", f"{'k' * 201}.jsonl"])
def test_keys_that_break_ranges_or_file_names_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ShardError, match="its key would be"):
        find_shards(["*.jsonl"], tmp_path)


def write_manifest(folder: Path, *lines: str) -> Path:
    path = folder / "shards.tsv"
    text = "".join(f"{line}\n" for line in ["\t".join(COLUMNS), *lines])
    path.write_text(text, "utf-8")
    return path


def test_a_manifest_gives_the_shards_that_its_globs_gave(tmp_path: Path) -> None:
    for name in ("C/a.jsonl.zst", "C/b.json", "a.jsonl.gz"):
        write_shard(tmp_path / "raw" / name, documents(3))
    found = find_shards(["raw/**/*"], tmp_path)
    rows = list(manifest_rows(found, content=False))
    (tmp_path / "shards.tsv").write_text("".join(rows), "utf-8")
    pinned = find_shards(["shards.tsv"], tmp_path)
    assert list(pinned) == ["C__a", "C__b", "a"] == list(found)
    for key in pinned:
        (shard,), (listed,) = pinned[key].members, found[key].members
        path = listed.location
        assert isinstance(path, Path)
        assert shard.location == path
        assert shard.bytes == path.stat().st_size == shard.size
        assert shard.blake2b == record_file(path).blake2b
        assert shard.fetch(tmp_path / "unused") == path
        shard.refuse_other(record_file(path))


def test_a_manifest_pins_no_download_that_failed(tmp_path: Path) -> None:
    """A packed file of nothing has some bytes; one that is not packed may be empty."""
    write_shard(tmp_path / "a.jsonl", [])
    found = find_shards(["*"], tmp_path)
    assert len(list(manifest_rows(found, content=False))) == 2
    for name in ("b.jsonl.gz", "c.json.zst"):
        (tmp_path / name).touch()
    with pytest.raises(ShardError, match=r"b\.jsonl\.gz, .*c\.json\.zst: 0 bytes.*fetch it again"):
        list(manifest_rows(find_shards(["*"], tmp_path), content=False))


def test_a_manifests_paths_start_from_its_own_folder(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, "a\traw/a.jsonl\t1\t\t", "b\ts3://bucket/b.jsonl\t2\ttag\t")
    found = find_shards([str(manifest)], Path("elsewhere"))
    assert {key: str(shard) for key, shard in found.items()} == {
        "a": str(tmp_path / "raw" / "a.jsonl"),
        "b": "s3://bucket/b.jsonl",
    }


def test_no_shard_of_a_manifest_is_looked_at_before_it_is_read(tmp_path: Path) -> None:
    found = find_shards([str(write_manifest(tmp_path, "a\tnowhere/a.jsonl\t7\t\t"))], tmp_path)
    assert found["a"].size == 7
    message = "nowhere/a.jsonl: is gone; .*shards.tsv, line 2 names it$"
    with pytest.raises(ShardError, match=message):
        found["a"].members[0].fetch(tmp_path)


def test_a_shard_that_is_not_the_manifests_is_refused(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "a.jsonl", documents(2))
    rows = "".join(manifest_rows(find_shards(["*.jsonl"], tmp_path), content=False))
    (tmp_path / "shards.tsv").write_text(rows, "utf-8")
    (shard,) = find_shards(["shards.tsv"], tmp_path)["a"].members
    content = path.read_bytes()
    path.write_bytes(content.swapcase())
    shard.fetch(tmp_path)
    with pytest.raises(ShardError, match=r"a.jsonl: has changed: .*, line 2 says blake2b "):
        shard.refuse_other(record_file(path))
    path.write_bytes(content + b"\n")
    said = f"a.jsonl: has changed: .*, line 2 says bytes {len(content)}, it has {len(content) + 1};"
    with pytest.raises(ShardError, match=said):
        shard.fetch(tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a\ta.jsonl\t1\t", "line 2: 4 columns, a manifest has 5"),
        ("a,b\ta.jsonl\t1\t\t", "line 2: key 'a,b': a key has at most"),
        ("\ta.jsonl\t1\t\t", "line 2: key '': a key has at most"),
        ("a\ta.txt\t1\t\t", "line 2: url 'a.txt': a shard's name ends in"),
        ("a\ta.zip\t1\t\t", "line 2: url 'a.zip': a shard's name ends in"),
        ("a\thttp://h/a.jsonl\t1\t\t", "line 2: url http://h/a.jsonl: http:// is not supported"),
        ("a\thf://org/h/a.jsonl\t1\t\t", "line 2: url hf://org/h/a.jsonl: shards on the Hub are"),
        ("a\ta.jsonl\t-1\t\t", "line 2: bytes '-1': not a whole number"),
        ("a\ta.jsonl\t²\t\t", "line 2: bytes '²': not a whole number"),
        ("a\ta.jsonl\t1\t\tabc", "line 2: blake2b 'abc': not 64 hex digits"),
        ("a\ta.jsonl\t1\t\t\na\ta.jsonl\t1\t\t", "line 3: url a.jsonl stands there twice"),
        (
            "a\ta.jsonl\t1\t\t\nb\tb.jsonl\t1\t\t\na\tc.jsonl\t1\t\t",
            "line 4: key a: stands there already",
        ),
    ],
)
def test_a_line_that_is_none_is_refused(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(ShardError, match=re.escape(f"shards.tsv, {message}")):
        find_shards([str(write_manifest(tmp_path, line))], tmp_path)


def test_a_shard_that_stands_under_two_keys_is_refused(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, "a\tx.jsonl\t1\t\t", "b\tx.jsonl\t1\t\t")
    with pytest.raises(ShardError, match="has two keys, a and b"):
        find_shards([str(manifest)], tmp_path)


@pytest.mark.parametrize("content", [b"", b"key\turl\n", b"\xff\xfe", b"a.jsonl\n"])
def test_what_is_no_manifest_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "shards.tsv").write_bytes(content)
    with pytest.raises(ShardError, match=r"shards.tsv(, line 1: a manifest begins|: not UTF-8)"):
        find_shards(["shards.tsv"], tmp_path)


def test_a_table_in_place_of_a_manifest_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "documents.tsv").write_text("id\ttext\n1\ta\n")
    with pytest.raises(ShardError) as caught:
        find_shards(["documents.tsv"], tmp_path)
    assert "scan_csv('x.tsv'" in caught.value.advice


def test_a_manifest_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match=r"shards.tsv: no such manifest"):
        find_shards(["shards.tsv"], tmp_path)


MANIFEST = "key\turl\tbytes\tetag\tblake2b\n"


def test_a_manifest_names_links_as_they_are_named(tmp_path: Path) -> None:
    """In a cache of downloads, what they lead to has no name of a shard."""
    touch(tmp_path, "blobs/0123", "raw/b.jsonl")
    link = tmp_path / "raw" / "a.jsonl"
    link.symlink_to(tmp_path / "blobs" / "0123")
    manifest = tmp_path / "m.tsv"
    manifest.write_text("".join(manifest_rows(find_shards(["raw/*"], tmp_path), content=True)))
    assert [shard.members[0].location for shard in read_manifest(manifest).values()] == [
        link,
        tmp_path / "raw" / "b.jsonl",
    ]


def test_the_content_of_a_file_is_not_known_by_an_etag_that_nobody_compares(tmp_path: Path) -> None:
    """As in a manifest of a bucket that was copied to a disk."""
    (tmp_path / "a.jsonl").write_bytes(b"12345")
    (tmp_path / "m.tsv").write_text(f"{MANIFEST}a\ta.jsonl\t5\ttag\t{'0' * 64}\n")
    assert read_manifest(tmp_path / "m.tsv")["a"].known_record() is None


def test_a_manifest_that_is_no_table_is_told_with_the_line(tmp_path: Path) -> None:
    (tmp_path / "m.tsv").write_text(f"{MANIFEST}a\ta\rb.jsonl\t5\t\t\n", newline="")
    with pytest.raises(ShardError, match=r"m\.tsv, line 2: new-line character"):
        read_manifest(tmp_path / "m.tsv")


def test_an_absolute_glob_is_one_of_this_machine_below_any_root(tmp_path: Path) -> None:
    touch(tmp_path, "raw/a.jsonl")
    found = find_shards([str(tmp_path / "raw" / "*")], parse_url("s3://corpus"))
    assert found == {"a": RawShard(str(tmp_path / "raw" / "a.jsonl"))}


@pytest.mark.parametrize("documents", [["raw/*", "m.tsv"], ["m.tsv", "raw/*"]])
def test_a_shard_stays_pinned_that_a_glob_matches_too(tmp_path: Path, documents: list[str]) -> None:
    touch(tmp_path, "raw/a.jsonl")
    (tmp_path / "m.tsv").write_text(f"{MANIFEST}a\traw/a.jsonl\t0\t\t{'0' * 64}\n")
    assert find_shards(documents, tmp_path)["a"].members[0].blake2b == "0" * 64
