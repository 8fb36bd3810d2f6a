from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fim_assets.errors import ShardError
from fim_assets.io.hashing import joined_record, record_file
from fim_assets.raw_shards.shard_reader import ShardReader
from fim_assets.recipe.raw import Raw
from fim_assets_tests.corpora import PACKINGS

PACKED: dict[str, Callable[[bytes], bytes]] = {
    ".jsonl": bytes,
    **{f".jsonl{ending}": pack for ending, pack in PACKINGS.items()},
}
LINES = [b'{"text": "a"}', b'{"text": "longer text"}', b"", b"{", b'{"text": ""}', b"\r", b"x" * 99]

Place = tuple[str, int]


def write(folder: Path, members: Sequence[tuple[str, bytes]]) -> list[Path]:
    paths = [folder / f"{number}{ending}" for number, (ending, _) in enumerate(members)]
    for path, (ending, content) in zip(paths, members, strict=True):
        path.write_bytes(PACKED[ending](content))
    return paths


def read(shard: Path | list[Path], block_bytes: int) -> tuple[list[Any], list[int], ShardReader]:
    """Documents and rejected lines, each by its place; numbers of both in all; the reader."""
    found: list[Any] = []
    numbers: list[int] = []

    def place(number: int) -> Place:
        path, line = reader.place(number)
        return path.name, line

    with ShardReader(shard, Raw(max_line_bytes=50), block_bytes) as reader:
        for block in reader:
            found += [(*place(n), text) for n, text in zip(block.numbers, block.texts, strict=True)]
            found += [(*place(line.line), line.reason, line.content) for line in block.rejected]
            numbers += [*block.numbers, *(line.line for line in block.rejected)]
            for line in block.rejected:
                if line.place is not None:
                    assert (line.place[0].name, line.place[1]) == place(line.line)
    return sorted(found, key=str), numbers, reader


members = st.lists(
    st.tuples(
        st.sampled_from(sorted(PACKED)),
        st.lists(st.sampled_from(LINES), max_size=6).map(b"\n".join),
        st.sampled_from([b"", b"\n"]),
    ).map(lambda member: (member[0], member[1] + member[2])),
    min_size=2,
    max_size=5,
)


@given(members, st.integers(1, 100))
@settings(max_examples=150, deadline=None)
def test_a_group_is_read_as_its_shards_one_after_another(
    members: list[tuple[str, bytes]], block_bytes: int
) -> None:
    """Whatever ends them, and wherever a block does."""
    with TemporaryDirectory() as folder:
        paths = write(Path(folder), members)
        found, numbers, whole = read(paths, block_bytes)
        alone = [read(path, block_bytes) for path in paths]
        assert found == sorted((row for rows, _, _ in alone for row in rows), key=str)
        assert len(set(numbers)) == len(numbers)
        for count in ("lines", "blank", "rejected", "documents"):
            assert getattr(whole, count) == sum(getattr(reader, count) for _, _, reader in alone)
        totals = whole.totals(0)
        assert [member.lines for member in totals.members] == [r.lines for _, _, r in alone]
        records = [record_file(path) for path in paths]
        assert totals.input == joined_record(records)
        assert [member.blake2b for member in totals.members] == [r.blake2b for r in records]


def test_a_fault_is_told_of_its_shard_by_its_own_line(tmp_path: Path) -> None:
    whole = b'{"text": "a"}\n' * 10
    paths = write(tmp_path, [(".jsonl", whole), (".jsonl", whole), (".jsonl.gz", whole)])
    paths[2].write_bytes(paths[2].read_bytes()[:-4])
    with pytest.raises(ShardError) as caught:
        read(paths, 14)
    assert str(caught.value).startswith(f"{paths[2]}: after line 10: ends inside the gzip member")
    paths[1].write_bytes(b"BZh9 is bzip2")
    with pytest.raises(ShardError) as caught:
        read(paths, 1 << 20)
    assert caught.value.location == str(paths[1])


def test_a_single_shard_has_no_members(tmp_path: Path) -> None:
    (path,) = write(tmp_path, [(".jsonl", b'{"text": "a"}')])
    for shard in (path, [path]):
        _, _, reader = read(shard, 100)
        assert reader.totals(0).members == ()
        assert reader.totals(0).input == record_file(path)


def test_the_identity_of_files_is_that_of_their_order(tmp_path: Path) -> None:
    a, b = (record_file(path) for path in write(tmp_path, [(".jsonl", b"a"), (".jsonl", b"bc")]))
    assert (joined_record([a, b]).bytes, joined_record([a, b]).name) == (3, "0.jsonl and 1 more")
    assert joined_record([a, b]).blake2b != joined_record([b, a]).blake2b
    assert joined_record([a]) == a
