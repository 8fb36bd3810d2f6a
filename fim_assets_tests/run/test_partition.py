import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from unittest.mock import Mock

import polars as pl
import pytest

from fim_assets.corpus.corpus import Corpus, list_shards
from fim_assets.corpus.raw_shard import RawShard
from fim_assets.corpus.receipts import read_receipt
from fim_assets.corpus.sources import find_shards
from fim_assets.corpus.stage import Check, CheckOutcome, Totals, fault
from fim_assets.corpus.staging import Staging, write_receipt
from fim_assets.errors import ShardError
from fim_assets.fim_shards.stage import FimShards
from fim_assets.raw_shards.measure import measure_shard
from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import Fim
from fim_assets.recipe.tokens import Tokens
from fim_assets.run.local import run_in_processes
from fim_assets.run.partition import Outcome, Task, run_partition
from fim_assets.stages import ASSETS
from fim_assets.tokenizer.find import DOLMA2
from fim_assets_tests.corpora import (
    ALL_CHECKS,
    CHECKS_OF,
    corpus_of,
    documents,
    file_bytes,
    open_corpus,
    run_all,
    write_shard,
)
from fim_assets_tests.faults.scenarios import workers_of

LANGUAGES = ("Python", "C", "")


def write_corpus(root: Path, shards: int = 4) -> Corpus:
    for number in range(shards):
        rows = documents(80, f"shard {number} ")
        write_shard(root / "raw" / "x" / f"{number}.jsonl.zst", [*rows, b"", b"{", rows[0]])
    return open_corpus(root)


def results(corpus: Corpus, keys: list[str]) -> dict[str, str]:
    found = {}
    for asset in ASSETS:
        for key in keys:
            receipt = read_receipt(corpus.files(asset, key))
            assert receipt is not None
            found[f"{asset}/{key}"] = receipt.result.model_dump_json()
    return found


def test_bytes_are_the_same_over_runs_workers_and_places(tmp_path: Path) -> None:
    seen = []
    for name, workers in (("one", 1), ("again", 1), ("two workers", 2)):
        corpus = write_corpus(tmp_path / name)
        outcomes = run_all(corpus, workers=workers)
        assert [o.failure for o in outcomes.values()] == [None] * 4
        seen.append((file_bytes(tmp_path / name), results(corpus, sorted(outcomes))))
    assert seen[0] == seen[1] == seen[2]
    assert len(seen[0][0]) == 4 * (1 + 2 + 2 + 3)


def test_receipts_say_what_lies_there(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path, 1)
    assert run_all(corpus)["x__0"].failure is None
    before = None
    for asset in ASSETS:
        place = corpus.files(asset, "x__0")
        receipt = read_receipt(place)
        assert receipt is not None
        result = receipt.result
        for output in result.outputs:
            data = (place.folder / output.name).read_bytes()
            assert len(data) == output.bytes
            assert hashlib.blake2b(data, digest_size=32).hexdigest() == output.blake2b
        assert {p.name for p in place.folder.iterdir()} == {
            "x__0.json",
            *(output.name for output in result.outputs),
        }
        assert result.lines == result.documents + result.blank + result.rejected
        assert result.documents == 81
        if before is not None and asset == "token_arrays":
            assert result.input in before
        before = result.outputs
    raw = read_receipt(corpus.files("raw_shards", "x__0"))
    assert raw is not None
    assert (raw.result.lines, raw.result.blank, raw.result.rejected) == (83, 1, 1)
    digest = hashlib.blake2b(b"3920/x__0").digest()[:8]
    assert raw.result.seed == f"{int.from_bytes(digest, 'little'):016x}"


def test_one_shards_failure_costs_only_its_own_later_stages(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path)
    damaged = tmp_path / "raw" / "x" / "1.jsonl.zst"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    outcomes = run_all(corpus)
    failures = {key: outcome.failure for key, outcome in outcomes.items() if outcome.failure}
    assert list(failures) == ["x__1"]
    assert failures["x__1"] is not None
    assert failures["x__1"].startswith(f"raw_shards: {damaged}: after line ")
    assert outcomes["x__1"].stages == []
    for asset in ASSETS:
        names = {path.name for path in (tmp_path / asset).iterdir()}
        assert not any(name.startswith((".", "x__1")) for name in names)
        assert {f"x__{n}.json" for n in (0, 2, 3)} <= names


def test_stages_can_be_made_one_at_a_time_with_the_same_bytes(tmp_path: Path) -> None:
    together, apart = write_corpus(tmp_path / "1", 1), write_corpus(tmp_path / "2", 1)
    run_all(together)
    for asset in ASSETS:
        assert run_all(apart, [asset])["x__0"].failure is None
    assert file_bytes(tmp_path / "1") == file_bytes(tmp_path / "2")


def failure_of(outcomes: dict[str, Outcome]) -> str:
    failure = outcomes["x__0"].failure
    assert failure is not None
    return failure


def test_fim_needs_no_raw_profile_but_refuses_another_contents(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path, 1)
    assert run_all(corpus, ["fim_shards"])["x__0"].failure is None
    run_all(corpus, ["raw_shards"])
    write_shard(tmp_path / "raw" / "x" / "0.jsonl.zst", documents(3))
    failure = failure_of(run_all(corpus, ["fim_shards"]))
    assert "different contents of it" in failure
    assert not (tmp_path / "fim_shards" / "x__0.json").exists()
    assert run_all(corpus)["x__0"].failure is None


def test_tokens_need_a_finished_fim_shard(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path, 1)
    failure = failure_of(run_all(corpus, ["token_arrays"]))
    assert "materialize fim_shards first" in failure


def test_tokens_refuse_a_fim_shard_of_another_recipe(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path, 1)
    run_all(corpus, ["fim_shards"])
    other = open_corpus(tmp_path, Recipe(fim=Fim(fim_rate=0.25)))
    assert "made by another recipe" in failure_of(run_all(other, ["token_arrays"]))


@pytest.mark.parametrize("ending", [".jsonl.zst", ".parquet"])
def test_tokens_refuse_a_fim_shard_that_changed(tmp_path: Path, ending: str) -> None:
    corpus = write_corpus(tmp_path, 1)
    run_all(corpus, ["fim_shards"])
    path = tmp_path / "fim_shards" / f"x__0{ending}"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    failure_of(run_all(corpus, ["token_arrays"]))
    assert not (tmp_path / "token_arrays" / "x__0.json").exists()


def test_fewer_arrays_than_before_leave_no_old_one(tmp_path: Path) -> None:
    small = Recipe(tokens=Tokens(max_size=1000))
    write_corpus(tmp_path, 1)
    run_all(open_corpus(tmp_path, small))
    assert len(list((tmp_path / "token_arrays").glob("*.npy"))) > 2
    run_all(open_corpus(tmp_path))
    assert [p.name for p in (tmp_path / "token_arrays").glob("*.npy")] == ["x__0-00000.npy"]
    assert [p.name for p in (tmp_path / "token_arrays").glob("*.gz")] == ["x__0-00000.csv.gz"]


def test_prefix_goes_before_folders_and_never_into_seeds(tmp_path: Path) -> None:
    write_corpus(tmp_path, 1)
    run_all(open_corpus(tmp_path))
    run_all(open_corpus(tmp_path, prefix=["ablation", "b"]))
    plain, prefixed = tmp_path / "fim_shards", tmp_path / "ablation" / "b" / "fim_shards"
    assert file_bytes(plain) == file_bytes(prefixed)
    arrays = tmp_path / "ablation" / "b" / "token_arrays"
    assert pl.read_parquet(arrays / "x__0.parquet").height == 81


def test_empty_shard_and_shard_without_documents(tmp_path: Path) -> None:
    write_shard(tmp_path / "raw" / "empty.jsonl", [])
    write_shard(tmp_path / "raw" / "blank.jsonl.zst", [b"", b"  ", b"[]"])
    outcomes = run_all(open_corpus(tmp_path))
    assert [outcome.failure for outcome in outcomes.values()] == [None, None]
    assert not list((tmp_path / "token_arrays").glob("*.npy")), "no empty array is written"


def test_the_largest_shards_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """None is left over at the end for one worker; a pool takes tasks from the end of its list."""
    taken: list[str] = []

    def take(waiting: list[Task], *_: object) -> Generator[Outcome, None, list[Task]]:
        while waiting:
            taken.append(waiting.pop().key)
            yield Outcome(taken[-1])
        return []

    monkeypatch.setattr("fim_assets.run.local._run_in_pool", take)
    corpus = corpus_of(Recipe(), Path("data"))
    tasks = [
        Task(corpus, key, RawShard(f"{key}.jsonl", size), frozenset(), frozenset())
        for key, size in {"a": 2, "b": 30, "c": 1, "d": 4}.items()
    ]
    assert [outcome.key for outcome in run_in_processes(tasks, 2)] == taken == ["b", "d", "a", "c"]


def test_workers_go_on_while_a_result_is_recorded(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path, 3)
    shards = list_shards(corpus, tmp_path).items()
    tasks = [Task(corpus, k, s, frozenset({"raw_shards"}), frozenset()) for k, s in shards]
    outcomes = run_in_processes(tasks, 2)
    next(outcomes)
    end = time.monotonic() + 60
    while not all(read_receipt(corpus.files("raw_shards", task.key)) for task in tasks):
        assert time.monotonic() < end, "the third waits until the first is recorded"
        time.sleep(0.01)
    assert [outcome.failure for outcome in outcomes] == [None, None]


def test_workers_that_die_between_two_partitions_cost_nothing(tmp_path: Path) -> None:
    """They may die while this process is busy with what came back, and has nothing submitted."""
    corpus = write_corpus(tmp_path, 6)
    shards = {f"x__{n}": tmp_path / "raw" / "x" / f"{n}.jsonl.zst" for n in range(6)}
    tasks = [
        Task(corpus, key, RawShard(str(path)), frozenset(["raw_shards"]), frozenset())
        for key, path in shards.items()
    ]
    outcomes = []
    for outcome in run_in_processes(tasks, 2):
        outcomes.append(outcome)
        if len(outcomes) == 1:
            time.sleep(1)  # the other worker has finished too by now
            for child in workers_of(os.getpid()):
                os.kill(child, signal.SIGKILL)
            time.sleep(0.5)  # and the pool has noticed
    assert sorted(outcome.key for outcome in outcomes) == sorted(shards)
    assert [outcome.failure for outcome in outcomes] == [None] * 6


def test_workers_end_with_a_run_that_is_killed(tmp_path: Path) -> None:
    """Or they would go on writing, and then wait for ever."""
    write_shard(tmp_path / "raw" / "a.jsonl", documents(60_000))
    write_shard(tmp_path / "raw" / "b.jsonl", documents(60_000, "b"))
    code = (
        "from pathlib import Path; from fim_assets_tests.corpora import open_corpus, run_all; "
        f"run_all(open_corpus(Path({str(tmp_path)!r})), ['raw_shards'], workers=2)"
    )
    run = subprocess.Popen([sys.executable, "-c", code])
    workers: set[int] = set()
    while not workers or not list(tmp_path.glob("raw_shards/.*")):
        workers = workers_of(run.pid)
        assert run.poll() is None
        time.sleep(0.01)
    run.kill()
    run.wait()
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline, "a worker lives on"
        time.sleep(0.05)


def test_workers_leave_what_they_work_on_when_nobody_takes_it(tmp_path: Path) -> None:
    for name, count in (("a", 30_000), ("b", 29_000), ("c", 28_000)):
        write_shard(tmp_path / "raw" / f"{name}.jsonl", documents(count, name))
    corpus = open_corpus(tmp_path)
    tasks = [
        Task(corpus, key, shard, frozenset({"raw_shards"}), frozenset())
        for key, shard in list_shards(corpus, tmp_path).items()
    ]
    outcomes = run_in_processes(tasks, 2)
    next(outcomes)
    workers = workers_of(os.getpid())
    assert len(workers) == 2
    outcomes.close()
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    assert read_receipt(corpus.files("raw_shards", "c")) is None
    assert list(tmp_path.glob("raw_shards/.*")) == []


class PanicException(BaseException):
    """What a panic in Rust raises: no Exception."""


class InterruptedRun(BaseException):
    """What Dagster raises in a run that is told to end."""


def made_again(corpus: Corpus, checks: frozenset[str] = ALL_CHECKS) -> list[str]:
    """Assets that are not left as they are where complete ones are skipped."""
    ((key, shard),) = find_shards(corpus.recipe.raw.documents, corpus.data_root).items()
    outcome = run_partition(Task(corpus, key, shard, frozenset(ASSETS), checks, skip_complete=True))
    assert outcome.failure is None
    return [stage.asset for stage in outcome.stages if not stage.skipped]


def lengthen(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b" ")


def make_older(path: Path) -> None:
    """Leave out of a receipt what earlier versions did not count."""
    receipt = json.loads(path.read_bytes())
    del receipt["seen"]
    path.write_text(json.dumps(receipt))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (Path.exists, []),
        (lambda root: write_shard(root / "raw/x/0.jsonl.zst", documents(9)), list(ASSETS)),
        (lambda root: make_older(root / "token_arrays/x__0.json"), []),
        (lambda root: (root / "raw_shards/x__0.json").unlink(), ["raw_shards"]),
        (lambda root: (root / "raw_shards/x__0.json").write_text("{"), ["raw_shards"]),
        (lambda root: (root / "raw_shards/x__0.rejected.jsonl").unlink(), ["raw_shards"]),
        (lambda root: (root / "fim_shards/x__0.json").unlink(), ["fim_shards"]),
        (lambda root: lengthen(root / "fim_shards/x__0.parquet"), ["fim_shards"]),
        (lambda root: (root / "token_arrays/x__0-00000.csv.gz").unlink(), ["token_arrays"]),
        (lambda root: lengthen(root / "token_arrays/x__0-00000.npy"), ["token_arrays"]),
    ],
)
def test_what_changed_or_is_missing_is_noticed_and_made_again(
    tmp_path: Path, change: Callable[[Path], object], expected: list[str]
) -> None:
    """And no more than that: what is made again has the same bytes, so that later stages agree."""
    corpus = write_corpus(tmp_path, 1)
    assert made_again(corpus) == list(ASSETS)
    change(tmp_path)
    assert made_again(corpus) == expected
    assert made_again(corpus) == []


def test_what_is_complete_is_not_so_for_a_manifest_that_pins_another_content(
    tmp_path: Path,
) -> None:
    corpus = write_corpus(tmp_path, 1)
    assert made_again(corpus) == list(ASSETS)
    ((key, shard),) = list_shards(corpus, tmp_path).items()
    pinned = RawShard(str(shard), shard.size, "", "0" * 64, "m.tsv, line 2")
    task = Task(corpus, key, pinned, frozenset(ASSETS), ALL_CHECKS, skip_complete=True)
    failure = run_partition(task).failure
    assert failure is not None
    assert failure.startswith(
        f"raw_shards: {shard}: has changed: m.tsv, line 2 says blake2b {'0' * 64}, it has "
    )


def test_what_a_killed_run_left_of_a_complete_stage_is_deleted(tmp_path: Path) -> None:
    """Its receipt was in place, and the folder that it was written in not yet gone."""
    corpus = write_corpus(tmp_path, 1)
    assert made_again(corpus) == list(ASSETS)
    left = [corpus.files(asset, "x__0").hidden for asset in ASSETS]
    for folder in left:
        (folder / "of_the_receipt").mkdir(parents=True)
    assert made_again(corpus) == []
    assert not any(folder.exists() for folder in left)


def test_another_recipe_is_noticed(tmp_path: Path) -> None:
    write_corpus(tmp_path, 1)
    assert made_again(open_corpus(tmp_path)) == list(ASSETS)
    other = Recipe(fim=Fim(fim_rate=0.25))
    assert made_again(open_corpus(tmp_path, other)) == ["fim_shards", "token_arrays"]
    in_order = Recipe(fim=Fim(fim_rate=0.25), tokens=Tokens(shuffle=False))
    assert made_again(open_corpus(tmp_path, in_order)) == ["token_arrays"]
    ((key, shard),) = find_shards(Recipe().raw.documents, tmp_path).items()
    for replaced in (["fim_shards", "token_arrays"], []):
        task = Task(open_corpus(tmp_path), key, shard, frozenset(ASSETS), ALL_CHECKS)
        outcome = run_partition(task)
        assert [stage.asset for stage in outcome.stages if stage.replaced] == replaced


def test_what_was_not_checked_is_not_skipped_where_checks_are_asked_for(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path, 1)
    assert made_again(corpus, frozenset()) == list(ASSETS)
    assert made_again(corpus, frozenset()) == []
    assert made_again(corpus, frozenset(["lossless"])) == ["fim_shards"]
    assert made_again(corpus) == ["fim_shards", "token_arrays"]
    assert made_again(corpus) == []
    receipt = read_receipt(corpus.files("token_arrays", "x__0"))
    assert receipt is not None
    assert list(receipt.made.checks) == list(CHECKS_OF["token_arrays"])


@pytest.mark.parametrize("asset", ["fim_shards", "token_arrays"])
def test_checks_alone_cost_no_receipt_where_an_input_is_out_of_reach(
    tmp_path: Path, asset: str
) -> None:
    corpus = write_corpus(tmp_path, 1)
    assert run_all(corpus)["x__0"].failure is None
    place = corpus.files(asset, "x__0")
    inputs = {
        "fim_shards": [tmp_path / "raw" / "x" / "0.jsonl.zst"],
        "token_arrays": [
            corpus.files("fim_shards", "x__0").file(".jsonl.zst"),
            corpus.files("raw_shards", "x__0").file(".parquet"),
        ],
    }[asset]
    task = Task(
        corpus,
        "x__0",
        list_shards(corpus, tmp_path)["x__0"],
        frozenset(),
        frozenset(CHECKS_OF[asset]),
    )
    for path in inputs:
        content = path.read_bytes()
        for wrong in (None, content[:-1], content[:-1] + b"\0"):
            path.unlink() if wrong is None else path.write_bytes(wrong)
            failure = run_partition(task).failure or ""
            assert failure.startswith(f"{asset}: ")
            assert str(path) in failure
            assert read_receipt(place) is not None
        path.write_bytes(content)
    assert run_partition(task).failure is None
    damaged = place.folder / (place.key + (".jsonl.zst" if asset == "fim_shards" else "-00000.npy"))
    damaged.write_bytes(damaged.read_bytes()[:-4] + b"\0\0\0\0")
    assert "check " in (run_partition(task).failure or "")
    assert read_receipt(place) is None


def test_a_failed_check_alone_leaves_the_receipt_of_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On object storage nobody waits: what was judged may be gone, and another result complete."""
    corpus = write_corpus(tmp_path, 1)
    assert run_all(corpus, ["fim_shards"])["x__0"].failure is None
    place = corpus.files("fim_shards", "x__0")
    receipt = read_receipt(place)
    assert receipt is not None

    def check(*_: object) -> CheckOutcome:
        made = receipt.made.model_copy(update={"seconds": 7.0})
        write_receipt(place, receipt.model_copy(update={"made": made}))
        return fault("lossless", "the other run's files were being written")

    monkeypatch.setattr(FimShards, "checks", (Check("lossless", "", check),))
    shard = list_shards(corpus, tmp_path)["x__0"]
    task = Task(corpus, "x__0", shard, frozenset(), frozenset({"lossless"}))
    assert "the other run's files" in (run_partition(task).failure or "")
    found = read_receipt(place)
    assert found is not None
    assert found.made.seconds == 7.0


def test_a_run_that_is_told_to_end_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = write_corpus(tmp_path, 2)
    profile = Mock(side_effect=InterruptedRun)
    monkeypatch.setattr("fim_assets.raw_shards.measure.measure_shard", profile)
    with pytest.raises(InterruptedRun):
        run_all(corpus)
    profile.assert_called_once()


def test_panic_costs_only_its_partition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = write_corpus(tmp_path, 2)
    profile = measure_shard

    def panic(shard: tuple[Path], recipe: Recipe, staging: Staging) -> Totals:
        if shard[0].name.startswith("0"):
            raise PanicException("index out of bounds")
        return profile(shard, recipe, staging)

    monkeypatch.setattr("fim_assets.raw_shards.measure.measure_shard", panic)
    outcomes = run_all(corpus)
    assert outcomes["x__0"].failure == "raw_shards: PanicException: index out of bounds"
    assert outcomes["x__1"].failure is None


@pytest.mark.parametrize("name", ["run[1]*", "a?b", "{x,y}", "sp ace é"])
def test_names_that_look_like_globs_are_names(tmp_path: Path, name: str) -> None:
    write_shard(tmp_path / name / "raw" / "a.jsonl", documents(20))
    write_shard(tmp_path / name / "raw" / "a*.jsonl", documents(30))
    outcomes = run_all(open_corpus(tmp_path / name))
    for key, count in (("a", 20), ("a*", 30)):
        assert outcomes[key].failure is None
        for stage in outcomes[key].stages:
            assert stage.receipt is not None
            result = stage.receipt.result
            assert result.documents == count
            numbers = [result.counts.get(f"documents:{language}", 0) for language in LANGUAGES]
            assert sum(numbers) in (0, count)


def test_tokens_refuse_two_contents_of_the_raw_shard(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path, 1)
    run_all(corpus)
    write_shard(tmp_path / "raw" / "x" / "0.jsonl.zst", documents(3))
    failure = failure_of(run_all(corpus, ["raw_shards", "token_arrays"]))
    assert "different contents of it" in failure
    assert not (tmp_path / "token_arrays" / "x__0.json").exists()


def test_a_tokenizer_that_changed_since_loading_is_refused(tmp_path: Path) -> None:
    shutil.copytree(DOLMA2, tmp_path / "tokenizer")
    recipe = Recipe.model_validate(
        {"tokens": {"tokenizer": {"name_or_path": str(tmp_path / "tokenizer")}}}
    )
    write_shard(tmp_path / "raw" / "x" / "0.jsonl.zst", documents(3))
    corpus = open_corpus(tmp_path, recipe)
    (tmp_path / "tokenizer" / "special_tokens_map.json").write_text("{}")
    assert "the tokenizer changed since" in failure_of(run_all(corpus))


def test_outputs_are_no_inputs(tmp_path: Path) -> None:
    recipe = Recipe.model_validate({"raw": {"documents": ["**/*.jsonl*"]}})
    write_shard(tmp_path / "raw" / "a.jsonl", documents(3))
    corpus = open_corpus(tmp_path, recipe)
    assert list(list_shards(corpus, tmp_path)) == ["raw__a"]
    run_all(corpus, ["fim_shards"])
    with pytest.raises(ShardError, match="matches this output"):
        list_shards(corpus, tmp_path)
