from collections.abc import Sequence
from pathlib import Path

import pytest

from fim_assets.corpus.groups import compare_groups, group_shards, read_group_size
from fim_assets.corpus.manifest import COLUMNS, manifest_rows, read_manifest
from fim_assets.corpus.raw_shard import RawInput, RawShard
from fim_assets.corpus.sources import find_shards
from fim_assets.errors import ShardError


def sized(**sizes: int) -> dict[str, RawInput]:
    """Shards of so many bytes, by their keys; `C__a` is in the folder `C`."""
    return {
        key: RawShard(f"/raw/{key.replace('__', '/')}.jsonl", size) for key, size in sizes.items()
    }


def names(groups: dict[str, RawInput]) -> dict[str, list[str]]:
    return {
        key: [member.place.removeprefix("/raw/").removesuffix(".jsonl") for member in group.members]
        for key, group in groups.items()
    }


@pytest.mark.parametrize(
    ("text", "size"),
    [("100MB", 100_000_000), ("64MiB", 1 << 26), ("4096", 4096), ("1.5GB", 1_500_000_000)],
)
def test_a_size_is_one_of_bytes(text: str, size: int) -> None:
    assert read_group_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "100XB", "many", "1e9"])
def test_what_is_no_size_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="100MB, 64MiB or a number of bytes"):
        read_group_size(text)


def test_shards_are_grouped_in_order_to_at_most_the_size() -> None:
    shards = sized(a=40, b=60, c=1, d=100, e=101, f=50, g=50, h=50)
    assert names(group_shards(shards, {}, 100)) == {
        "a.group": ["a", "b"],
        "c": ["c"],
        "d": ["d"],
        "e": ["e"],
        "f.group": ["f", "g"],
        "h": ["h"],
    }


def test_a_folder_of_the_size_shares_no_group_and_smaller_ones_do() -> None:
    shards = sized(A__1=30, A__2=30, B__1=90, B__2=30, C__1=30, D__1=30)
    assert names(group_shards(shards, {}, 100)) == {
        "A__1.group": ["A/1", "A/2"],
        "B__1": ["B/1"],
        "B__2": ["B/2"],
        "C__1.group": ["C/1", "D/1"],
    }


def test_shards_that_come_leave_every_group_as_it_is() -> None:
    earlier = group_shards(sized(b=50, d=50, f=50), {}, 100)
    now = group_shards(sized(a=10, b=50, c=10, d=50, e=10, f=50), earlier, 100)
    assert names(now) == {"b.group": ["b", "d"], "f": ["f"], "a.group": ["a", "c", "e"]}
    changes = compare_groups(earlier, now)
    assert (changes.kept, changes.new) == (["b.group", "f"], ["a.group"])
    assert changes.changed == changes.gone == []


def test_a_shard_that_is_gone_changes_its_group_alone() -> None:
    earlier = group_shards(sized(a=50, b=50, c=50, d=50, e=50), {}, 100)
    now = group_shards(sized(b=50, c=50, d=50), earlier, 100)
    assert names(now) == {"a.group": ["b"], "c.group": ["c", "d"]}
    changes = compare_groups(earlier, now)
    assert (changes.kept, changes.changed, changes.new) == (["c.group"], ["a.group"], [])
    assert changes.gone == ["/raw/a.jsonl", "/raw/e.jsonl"]
    back = group_shards(sized(a=50, b=50, c=50, d=50, f=1), now, 100)
    assert names(back) == {"a.group": ["b"], "c.group": ["c", "d"], "a.group.2": ["a", "f"]}


def test_a_group_has_changed_whose_shard_is_another() -> None:
    pinned = RawShard("/raw/a.jsonl", 5, "", "0" * 64)
    changed = [
        RawShard("/raw/a.jsonl", 5, "", "1" * 64),
        RawShard("/raw/a.jsonl", 6, "", "0" * 64),
        RawShard("/raw/b.jsonl", 5, "", "0" * 64),
    ]
    for shard in changed:
        assert compare_groups({"k": pinned}, {"k": shard}).changed == ["k"]
    assert compare_groups({"k": pinned}, {"k": RawShard("/raw/a.jsonl", 5)}).kept == ["k"]


def test_a_groups_key_that_is_none_is_refused() -> None:
    with pytest.raises(ShardError, match="a key has at most 200 bytes"):
        group_shards(sized(**{"k" * 199: 1, "l": 1}), {}, 100)


def write_manifest(folder: Path, keys: Sequence[str]) -> Path:
    rows = [COLUMNS, *((key, f"raw/{n}.jsonl", "3", "", "") for n, key in enumerate(keys))]
    path = folder / "m.tsv"
    path.write_text("".join("\t".join(row) + "\n" for row in rows), "utf-8")
    return path


def test_lines_of_one_key_are_a_group_in_their_order(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, ["b", "a", "a", "a"])
    found = find_shards([str(manifest)], tmp_path)
    assert {key: [Path(m.place).name for m in shard.members] for key, shard in found.items()} == {
        "a": ["1.jsonl", "2.jsonl", "3.jsonl"],
        "b": ["0.jsonl"],
    }
    assert (found["a"].size, found["b"].size) == (9, 3)
    assert found["a"].members[2].pinned_by == f"{manifest}, line 5"


def test_one_shard_in_two_groups_is_refused(tmp_path: Path) -> None:
    text = write_manifest(tmp_path, ["a", "a", "b"]).read_text()
    (tmp_path / "m.tsv").write_text(text.replace("2.jsonl", "1.jsonl"))
    with pytest.raises(ShardError, match=r"raw/1\.jsonl has two keys, a and b"):
        find_shards(["m.tsv"], tmp_path)


@pytest.mark.parametrize("name", ["raw/link.jsonl", "raw/sub/../0.jsonl", "linked/0.jsonl"])
@pytest.mark.parametrize("keys", ["gg", "gh"])
def test_one_file_under_two_names_is_refused(tmp_path: Path, keys: str, name: str) -> None:
    """Its documents would count twice, in one partition or in two."""
    (tmp_path / "raw" / "sub").mkdir(parents=True)
    (tmp_path / "raw" / "0.jsonl").write_bytes(b"{}\n")
    (tmp_path / "raw" / "link.jsonl").symlink_to("0.jsonl")
    (tmp_path / "linked").symlink_to("raw")
    manifest = write_manifest(tmp_path, list(keys))
    manifest.write_text(manifest.read_text().replace("raw/1.jsonl", name))
    with pytest.raises(ShardError) as refused:
        find_shards(["m.tsv"], tmp_path)
    for part in (f"{manifest}, line 3: ", f"{tmp_path}/{name}", f"{tmp_path}/raw/0.jsonl"):
        assert part in str(refused.value)


def test_a_manifest_of_groups_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    for number in range(5):
        (tmp_path / "raw" / f"{number}.jsonl").write_bytes(b'{"text": "x"}\n' * (number + 1))
    groups = group_shards(find_shards(["raw/*"], tmp_path), {}, 60)
    assert names(groups).keys() == {"0.group", "2", "3", "4"}
    manifest = tmp_path / "m.tsv"
    manifest.write_text("".join(manifest_rows(groups, content=False)), "utf-8")
    again = group_shards(find_shards(["raw/*"], tmp_path), read_manifest(manifest), 1 << 30)
    assert "".join(manifest_rows(again, content=False)) == manifest.read_text("utf-8")
