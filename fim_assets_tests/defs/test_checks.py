import dagster as dg

from fim_assets.corpus.stage import fault, passed
from fim_assets.defs.checks import Verdict

CHECK = dg.AssetCheckKey(dg.AssetKey("fim_shards"), "split_law")


def test_a_verdict_counts_every_partition_and_names_the_first_that_failed() -> None:
    """Two that passed, three that were complete before, 25 that fail."""
    verdict = Verdict()
    assert not verdict.reached
    for key in ("a", "b"):
        verdict.add(key, passed("split_law", "", dolma_files=15, first_cut_distance=0.1))
    for _ in range(3):
        verdict.add_passed_before()
    for number in range(25):
        verdict.add(f"bad {number}", fault("split_law", f"line {number}"))
    assert verdict.reached
    event = verdict.evaluation(CHECK)
    assert (event.asset_check_key, event.passed, event.blocking) == (CHECK, False, True)
    assert event.description == "5 partitions passed, 3 of them when they were made; 25 failed"
    faults = event.metadata["faults"]
    assert isinstance(faults, dg.TableMetadataValue)
    assert [dict(row.data) for row in faults.records] == [
        {"partition": f"bad {n}", "found": f"line {n}"} for n in range(20)
    ]
    assert {name: its.value for name, its in event.metadata.items() if name != "faults"} == {
        "passed": 5,
        "passed_before": 3,
        "failed": 25,
        "looked_at_files_cut_by_dolma": 30,
    }


def test_what_was_complete_before_is_a_verdict_too() -> None:
    verdict = Verdict()
    verdict.add_passed_before()
    event = verdict.evaluation(CHECK)
    assert event.passed
    assert {name: its.value for name, its in event.metadata.items()} == {
        "passed": 1,
        "passed_before": 1,
        "failed": 0,
    }
