import bz2
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from fim_assets.cli.doctor import estimate as estimating
from fim_assets.cli.doctor import sample as sampling
from fim_assets.cli.doctor.estimate import Estimate, estimate
from fim_assets.cli.doctor.findings import render_estimate
from fim_assets.cli.doctor.sample import (
    LEAST_WINDOW,
    Excerpt,
    SampledShard,
    choose,
    run_sample,
    seconds_of_a_partition,
    take_excerpt,
)
from fim_assets.corpus.corpus import list_shards
from fim_assets.corpus.raw_shard import RawShard, ShardGroup
from fim_assets.corpus.receipts import Result, read_receipt
from fim_assets.errors import ShardError
from fim_assets.io.hashing import FileRecord
from fim_assets.recipe import Recipe
from fim_assets.recipe.context import Context
from fim_assets.recipe.raw import Raw
from fim_assets.run.partition import Outcome
from fim_assets.stages import ASSETS
from fim_assets.tokenizer.load import load_tokenizer
from fim_assets_tests.corpora import (
    PACKINGS,
    documents,
    json_lines,
    open_corpus,
    run_all,
    write_shard,
)


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=60), st.integers(1, 12))
def test_shards_stand_for_all_bytes_and_each_large_one_for_about_its_own(
    sizes: list[int], most: int
) -> None:
    by_key = {str(number): size for number, size in enumerate(sizes)}
    chosen = choose(by_key, most)
    total = sum(max(size, 1) for size in sizes)
    assert len(chosen) <= max(most, 0)
    assert sum(chosen.values()) == pytest.approx(total)
    step = total / most
    for key, size in by_key.items():
        if len(by_key) > most:
            assert abs(chosen.get(key, 0.0) - size) <= step + 1
        else:
            assert chosen[key] == max(size, 1)


def test_one_shard_that_is_far_larger_stands_for_itself() -> None:
    chosen = choose({f"small-{n:02}": 10 for n in range(50)} | {"giant": 100_000})
    assert set(chosen) == {"giant"}


LINES = [b'{"text": "%s"}\n' % sha256(b"%d" % n).hexdigest().encode() for n in range(4000)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "work"
    path.mkdir()
    return path


@pytest.mark.parametrize("ending", [".jsonl", *(f".jsonl{ending}" for ending in PACKINGS)])
def test_an_excerpt_is_whole_or_spread_over_the_shard(
    tmp_path: Path, folder: Path, ending: str
) -> None:
    content = b"".join(LINES)
    # Of bzip2, the smallest blocks: of one that is cut short nothing is read.
    shard = write_shard(tmp_path / f"a{ending}", [line.strip() for line in LINES])
    if shard.suffix == ".bz2":
        shard.write_bytes(bz2.compress(content, 1))
    packed = shard.stat().st_size
    full = take_excerpt("a", RawShard(str(shard)), folder, 1 << 30, 1 << 30, Raw())
    assert full.path.read_bytes() == content
    assert (full.complete, full.bytes, full.by_lines) == (True, packed, packed)
    some = take_excerpt("a", RawShard(str(shard)), folder, len(content) // 10, 1 << 30, Raw())
    taken = some.path.read_bytes().splitlines(keepends=True)
    numbers = [LINES.index(line) for line in taken]
    assert [number // 10 for number in numbers] == list(range(400)), "one of each ten"
    assert len({number % 10 for number in numbers}) == 10
    assert not some.complete
    assert some.bytes == pytest.approx(packed * len(b"".join(taken)) / len(content))
    assert some.by_lines == pytest.approx(packed / 10)
    begin = take_excerpt("a", RawShard(str(shard)), folder, 1 << 30, packed // 2, Raw())
    lines = begin.path.read_bytes().splitlines(keepends=True)
    assert 0 < len(lines) < len(LINES)
    assert lines == LINES[: len(lines)]
    assert begin.bytes == pytest.approx(packed / 2, rel=0.1)


def test_the_smallest_window_shows_lines_of_every_packing(tmp_path: Path, folder: Path) -> None:
    noise = np.random.default_rng(0)
    lines = json_lines({"text": b64encode(noise.bytes(900)).decode()} for _ in range(4000))
    for ending, pack in PACKINGS.items():
        shard = tmp_path / f"a.jsonl{ending}"
        shard.write_bytes(pack(lines))
        assert shard.stat().st_size > 2 * LEAST_WINDOW
        some = take_excerpt("a", RawShard(str(shard)), folder, 1 << 30, LEAST_WINDOW, Raw())
        assert lines.startswith(some.path.read_bytes())
        assert some.path.stat().st_size > LEAST_WINDOW // 2


def test_an_excerpt_of_a_group_is_spread_over_its_members(tmp_path: Path, folder: Path) -> None:
    members = []
    for number in range(20):
        path = tmp_path / f"{number}.jsonl"
        path.write_bytes(b"".join(LINES[10 * number : 10 * number + 10]).removesuffix(b"\n"))
        members.append(RawShard(str(path)))
    group = ShardGroup(tuple(members))
    full = take_excerpt("g", group, folder, 1 << 30, 1 << 30, Raw())
    assert full.path.read_bytes() == b"".join(LINES[:200])
    assert (full.complete, full.by_lines) == (True, group.size)
    some = take_excerpt("g", group, folder, 1 << 30, group.size // 5, Raw())
    taken = [LINES.index(line) // 10 for line in some.path.read_bytes().splitlines(keepends=True)]
    assert set(taken) == {0, 5, 10, 15}
    assert not some.complete
    assert some.bytes == pytest.approx(group.size / 5, rel=0.1)


def packed_group(root: Path) -> ShardGroup:
    """Twenty members of ten lines, each one zstd block: of a part of it, no line is seen."""
    members = []
    for number in range(20):
        path = root / f"{number}.jsonl.zst"
        path.write_bytes(zstandard.compress(b"".join(LINES[10 * number : 10 * number + 10])))
        members.append(RawShard(str(path)))
    return ShardGroup(tuple(members))


def test_a_group_is_sampled_whatever_member_the_window_ends_in(
    tmp_path: Path, folder: Path
) -> None:
    group = packed_group(tmp_path)
    first = group.members[0].size
    for window in range(first, group.size, first // 7):
        some = take_excerpt("g", group, folder, 1 << 30, window, Raw())
        taken = some.path.read_bytes().splitlines(keepends=True)
        read = {LINES.index(line) // 10 for line in taken}
        assert len(taken) == 10 * len(read)
        assert some.bytes == sum(group.members[number].size for number in read)
        assert not some.complete
    group.members[1].location.write_bytes(b"<html>")
    with pytest.raises(ShardError, match=r"1\.jsonl\.zst: "):
        take_excerpt("g", group, folder, 1 << 30, group.size, Raw())


@pytest.mark.parametrize("members", [1, 3, 7])
def test_a_group_of_more_lines_than_are_kept_is_sampled(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, members: int
) -> None:
    kept = b"".join(LINES[: 10 * members])
    for most in (len(kept) - 1, len(kept), len(kept) + 1):
        monkeypatch.setattr(sampling, "_KEPT_BYTES", most)
        some = take_excerpt("g", packed_group(tmp_path), folder, 1 << 30, 1 << 30, Raw())
        assert some.path.read_bytes().startswith(kept)
        assert not some.complete


def test_a_last_line_without_a_line_feed_is_a_line(tmp_path: Path, folder: Path) -> None:
    shard = tmp_path / "a.jsonl"
    shard.write_bytes(b'{"text": "a"}\n{"text": "b\r"}')
    taken = take_excerpt("a", RawShard(str(shard)), folder, 1 << 20, 1 << 20, Raw())
    assert taken.path.read_bytes() == b'{"text": "a"}\n{"text": "b\r"}\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zstandard.compress(b"x" * 5000)[:-3], "ends inside the zstd frame"),
        (b"not zstd at all", "named as zstd, but its content is"),
        (zstandard.compress(b"".join(LINES).replace(b"\n", b" ")), "its first line does not end"),
    ],
)
def test_what_cannot_be_read_is_told(
    tmp_path: Path, folder: Path, content: bytes, message: str
) -> None:
    shard = tmp_path / "a.jsonl.zst"
    shard.write_bytes(content)
    with pytest.raises(ShardError, match=f"a.jsonl.zst: .*{message}"):
        take_excerpt("a", RawShard(str(shard)), folder, 1 << 16, max(len(content) - 1, 20), Raw())


def test_a_shard_that_is_gone_or_another_than_its_manifest_says_is_told(
    tmp_path: Path, folder: Path
) -> None:
    gone = RawShard(str(tmp_path / "a.jsonl"), 5, pinned_by="m.tsv, line 2")
    with pytest.raises(ShardError, match=r"is gone; m\.tsv, line 2 names it"):
        take_excerpt("a", gone, folder, 1 << 16, 1 << 16, Raw())
    (tmp_path / "a.jsonl").write_bytes(b"other than 5")
    with pytest.raises(ShardError, match="says bytes 5, it has 12"):
        take_excerpt("a", gone, folder, 1 << 16, 1 << 16, Raw())


def test_a_partition_is_timed_with_a_document(tmp_path: Path, folder: Path) -> None:
    write_shard(tmp_path / "raw" / "a.jsonl", [{"text": "x = 1\n" * 1000}])
    write_shard(tmp_path / "raw" / "b.jsonl", [b"", b"no json", *documents(3), {"text": "abc"}])
    write_shard(tmp_path / "raw" / "c.jsonl", [])
    trial = open_corpus(folder / "out", Recipe(raw=Raw(max_rejected_share=1)))
    load_tokenizer(trial.recipe, trial.tokenizer_hash)  # it takes long the first time
    shards = list_shards(open_corpus(tmp_path), tmp_path)
    found = run_sample(trial, shards, folder, trial.names, Raw())
    sampled = [shard for shard in found if isinstance(shard, SampledShard)]
    assert len(sampled) == 3
    assert seconds_of_a_partition(trial, sampled, folder) > 0
    receipt = read_receipt(trial.files("token_arrays", "one-document"))
    assert receipt is not None
    assert (receipt.result.documents, receipt.result.chars) == (1, 3), "the shortest of all shards"


def estimated(root: Path, folder: Path, workers: int = 2, recipe: Recipe | None = None) -> Estimate:
    corpus, trial = open_corpus(root, recipe), open_corpus(folder / "out", recipe)
    load_tokenizer(trial.recipe, trial.tokenizer_hash)  # it takes long the first time
    shards = list_shards(corpus, root)
    folder.mkdir()
    sampled = [
        s for s in run_sample(trial, shards, folder, ASSETS, Raw()) if isinstance(s, SampledShard)
    ]
    assert all(set(shard.results) == set(ASSETS) for shard in sampled)
    seconds = seconds_of_a_partition(trial, sampled, folder)
    sizes = [shard.size for shard in shards.values()]
    found = estimate(sampled, sizes, seconds, workers, remote=False)
    assert found is not None
    return found


def truth(root: Path, recipe: Recipe | None = None) -> dict[str, int]:
    """Documents, tokens and bytes of outputs of a corpus that is really run."""
    corpus = open_corpus(root, recipe)
    assert not any(outcome.failure for outcome in run_all(corpus).values())
    found = {"documents": 0, "tokens": 0, "disk": 0}
    for key in list_shards(corpus, root):
        for asset in ASSETS:
            receipt = read_receipt(corpus.files(asset, key))
            assert receipt is not None
            found["disk"] += sum(output.bytes for output in receipt.result.outputs)
            found["tokens"] += receipt.result.tokens or 0
            found["documents"] += receipt.result.documents if asset == "raw_shards" else 0
    return found


@pytest.mark.parametrize("recipe", [Recipe(), Recipe(context=Context(tokens=64, longer="pieces"))])
def test_of_few_small_shards_it_is_the_truth(tmp_path: Path, recipe: Recipe) -> None:
    write_shard(tmp_path / "raw" / "empty.jsonl", [])
    write_shard(tmp_path / "raw" / "packed.jsonl.zst", [])
    for number in range(3):
        rows: list[Any] = [b"", b"no json", *documents(20 + 30 * number, str(number))]
        write_shard(tmp_path / "raw" / f"{number}.jsonl.zst", rows)
    found = estimated(tmp_path, tmp_path / "work", recipe=recipe)
    really = truth(tmp_path, recipe)
    assert (found.documents, found.tokens) == (really["documents"], really["tokens"])
    assert (found.of_documents, found.of_shards) == (really["documents"], 5)
    assert sum(found.disk_bytes.values()) == pytest.approx(really["disk"], rel=1e-3)


def test_of_one_large_shard_among_small_ones_it_is_near(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thirtieth of the text is run; the documents become longer and longer."""
    monkeypatch.setattr(sampling, "TEXT_BYTES", 1 << 17)
    monkeypatch.setattr(sampling, "_LEAST_BYTES", 1 << 13)
    rows = [
        {"id": number, "text": "\n".join(f"x{n} = {number * n}" for n in range(number // 20 + 1))}
        for number in range(3000)
    ]
    write_shard(tmp_path / "raw" / "giant.jsonl.zst", rows)
    for number in range(12):
        write_shard(tmp_path / "raw" / f"small-{number}.jsonl.zst", documents(9, str(number)))
    found = estimated(tmp_path, tmp_path / "work")
    really = truth(tmp_path)
    assert found.of_documents < 200
    assert found.documents == pytest.approx(really["documents"], rel=0.05)
    assert found.tokens == pytest.approx(really["tokens"], rel=0.05)
    assert sum(found.disk_bytes.values()) == pytest.approx(really["disk"], rel=0.15)
    assert found.largest_share > 0.8


def sampled_whole(size: int, text: int, arrays: int, seconds: float) -> SampledShard:
    """A shard that was run as a whole: bytes as it is packed, of its text, and of its arrays."""
    record = FileRecord(name="a", bytes=arrays, blake2b="")
    results = {
        asset: Result(
            asset=asset,
            key="a",
            fingerprint="",
            seed="",
            input=record,
            outputs=[record],
            lines=10,
            blank=0,
            rejected=0,
            documents=10,
            chars=text,
            counts={"bytes": text},
            histograms={},
        )
        for asset in ASSETS
    }
    excerpt = Excerpt(Path("a.jsonl"), size, size, complete=True)
    return SampledShard("a", size, excerpt, Outcome("a"), results, seconds, 0)


def test_one_worker_does_the_largest_shard_alone() -> None:
    """10,000 bytes of text take 1 s, 7,000 of them in one shard, and a partition 0.1 s more."""
    sampled = [sampled_whole(1000, 10_000, 4000, seconds=1.1)]
    for workers, seconds in ((1, 4 * 0.1 + 1.0), (4, 0.1 + 0.7)):
        found = estimate(sampled, [700, 100, 100, 100], 0.1, workers, remote=False)
        assert found is not None
        dagster = estimating._DAGSTER_START + 4 * estimating._DAGSTER_A_PARTITION
        assert found.seconds == pytest.approx(dagster + seconds)


def test_a_time_is_told_in_minutes() -> None:
    """What is measured on the same data differs by seconds."""
    for seconds, told in ((59.0, "under a minute"), (100.0, "2 minutes"), (9000.0, "2 hours and")):
        few = Estimate(1, 1, 1, {}, 1, seconds, 1, None, 1.0, 1, 1, 1)
        time = str([*render_estimate(few).columns[1].cells][-1])
        assert told in time
        assert "second" not in time


def test_a_speed_is_told_only_where_the_texts_took_time() -> None:
    for seconds, speed in ((1.1, 10_000), (0.11, None), (0.09, None)):
        found = estimate([sampled_whole(1000, 10_000, 4000, seconds)], [1000], 0.1, 1, remote=False)
        assert found is not None
        assert found.bytes_per_second == pytest.approx(speed)
        (row,) = [list(c.cells)[-1] for c in render_estimate(found).columns][1:]
        assert ("of text a second" in str(row)) == (speed is not None)


@pytest.mark.parametrize(("remote", "scratch"), [(True, 3 * 8000), (False, 3200)])
def test_scratch_is_of_the_largest_shards_that_are_worked_on_at_once(
    *, remote: bool, scratch: int
) -> None:
    """Two of the four hold 8 of the 10 kB of text; on object storage, three times that is made."""
    sampled = [sampled_whole(1000, 10_000, 4000, seconds=1.1)]
    found = estimate(sampled, [100, 700, 100, 100], 0.1, 2, remote=remote)
    assert found is not None
    assert found.scratch_bytes == scratch


def test_nothing_is_estimated_of_no_document() -> None:
    assert estimate([], [5], 0.1, 2, remote=False) is None
