"""The short form of `make faults`."""

from pathlib import Path

import pytest

from fim_assets.stages import ASSETS
from fim_assets_tests.faults import grammars, scenarios
from fim_assets_tests.faults.broken import SHARDS
from fim_assets_tests.faults.corpus import Damage, FaultCorpus, differing
from fim_assets_tests.faults.scenarios import Finding


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> FaultCorpus:
    return FaultCorpus(tmp_path_factory.mktemp("faults"))


def assert_nothing_happened(finding: Finding, times: int) -> None:
    assert finding.injected == times
    assert finding.damage == Damage(), finding
    assert finding.unnoticed == 0, finding
    assert finding.seen


@pytest.mark.parametrize("asset", ASSETS)
def test_a_run_killed_at_a_random_moment(corpus: FaultCorpus, asset: str) -> None:
    assert_nothing_happened(scenarios.killed(corpus, asset, 1, seed=ASSETS.index(asset)), 1)


def test_runs_with_workers_killed_one_after_the_other(corpus: FaultCorpus) -> None:
    assert_nothing_happened(scenarios.killed_often(corpus, 3, seed=3), 3)


@pytest.mark.parametrize("ask", [ask for ask in scenarios.ASKS if ask != "Ctrl-C"])
def test_a_run_that_is_told_to_end(tmp_path_factory: pytest.TempPathFactory, ask: str) -> None:
    """Its processes are counted, for at some moments Dagster leaves a run's step as it is.

    Ctrl-C is the first half of Ctrl-C twice.
    """
    folder = tmp_path_factory.getbasetemp() / "told"
    assert_nothing_happened(scenarios.told_to_end(folder, ask, 1, seed=len(ask)), 1)


@pytest.mark.parametrize("again", [False, True])
def test_a_worker_killed_by_the_kernel(corpus: FaultCorpus, *, again: bool) -> None:
    assert_nothing_happened(scenarios.worker_killed(corpus, 1, again=again), 1)


def test_a_disk_that_is_full_or_read_only(corpus: FaultCorpus, tmp_path: Path) -> None:
    """Where this process may mount one; the kernel's limit of a file's size fails alike."""
    assert_nothing_happened(scenarios.limited_files(corpus, 2), 2)
    try:
        assert_nothing_happened(scenarios.full_disk(corpus, tmp_path / "disk", 2), 2)
    except PermissionError as error:
        print(f"no disk was mounted: {error}")
        return
    assert_nothing_happened(scenarios.read_only(corpus, tmp_path / "disk"), 1)


@pytest.mark.parametrize("no_locks", [None, "ENOLCK"])
def test_two_runs_at_once(corpus: FaultCorpus, no_locks: str | None) -> None:
    assert_nothing_happened(scenarios.two_at_once(corpus, 1, no_locks), 1)


def test_a_shard_replaced_between_stages(corpus: FaultCorpus) -> None:
    assert_nothing_happened(scenarios.shard_replaced(corpus), 2)


def test_too_many_rejected_lines(corpus: FaultCorpus) -> None:
    assert_nothing_happened(scenarios.too_many_rejected(corpus), 1)


def test_a_run_of_one_character_that_the_reference_cannot_encode(corpus: FaultCorpus) -> None:
    assert_nothing_happened(scenarios.long_runs(corpus), 2)


def test_too_little_address_space(corpus: FaultCorpus) -> None:
    assert_nothing_happened(scenarios.address_space(corpus, 1), 1)


@pytest.mark.parametrize("name", SHARDS)
def test_a_broken_shard(corpus: FaultCorpus, name: str) -> None:
    assert_nothing_happened(scenarios.broken_shard(corpus, name), 1)


def test_a_grammar_that_crashes_its_process(tmp_path: Path) -> None:
    assert_nothing_happened(scenarios.grammar_crashes(tmp_path), 6)


def test_hostile_texts_crash_no_grammar_and_are_cut_alike(tmp_path: Path) -> None:
    """One of each language; `make fuzz` tries others for twenty minutes."""
    rows = grammars.fuzz(0, 2, tmp_path)
    assert len(rows) == 16
    for language, row in rows.items():
        assert (row.texts, row.crashes, row.differences) == (1, 0, 0), language
    assert not list(tmp_path.iterdir())


def test_the_faults_would_be_seen(corpus: FaultCorpus) -> None:
    """What counts damage counts it: a changed byte, a file gone, one too many, one left over."""
    root = corpus.finished("seen")
    assert corpus.damage(root) == Damage()
    shard = root / "fim_shards" / "a.jsonl.zst"
    scenarios.flip(shard)
    assert corpus.damage(root) == Damage(wrong=1)
    assert corpus.seen_by_readers(root) == Damage(wrong=1)
    size = shard.stat().st_size
    shard.unlink()
    assert corpus.damage(root) == Damage(wrong=size)
    (root / "token_arrays" / "d-00000.npy").write_bytes(b"1234")
    (root / "raw_shards" / ".a.staging").mkdir()
    assert corpus.damage(root) == Damage(wrong=size + 4, left=1)
    (root / "token_arrays" / "b.json").unlink()
    assert corpus.damage(root).lost == 400
    assert differing(b"abc", b"axcd") == 2
