import dagster as dg

from fim_assets.checks.outcome import CheckOutcome, fault
from fim_assets.defs.checks import Verdict
from fim_assets.pipeline import StageOutcome


def test_a_verdict_counts_every_partition_and_names_the_first_that_failed() -> None:
    """Two that passed, three that were complete before, 25 that fail one of two checks."""
    verdict = Verdict()
    assert not verdict.reached
    passed = CheckOutcome("lossless", passed=True, description="", numbers={"documents": 15})
    for key in ("a", "b"):
        verdict.add(key, StageOutcome("fim_shards", None, (passed,)))
    for key in ("c", "d", "e"):
        verdict.add(key, StageOutcome("fim_shards", None, skipped=True))
    for number in range(25):
        found = (passed, fault("split_law", f"line {number}"))
        verdict.add(f"bad {number}", StageOutcome("fim_shards", None, found))
    event = verdict.evaluation(dg.AssetKey("fim_shards"))
    assert (event.passed, event.blocking) == (False, True)
    assert event.description == (
        "partitions that passed: 2; had passed before and are as they were: 3; failed split_law: 25"
    )
    numbers = {name: event.metadata[name].value for name in ("passed", "passed_before")}
    assert numbers == {"passed": 2, "passed_before": 3}
    assert event.metadata["failed_split_law"].value == 25
    faults, checks = (event.metadata[name] for name in ("faults", "checks"))
    assert isinstance(faults, dg.TableMetadataValue)
    assert isinstance(checks, dg.TableMetadataValue)
    assert [dict(row.data) for row in faults.records] == [
        {"partition": f"bad {n}", "check": "split_law", "found": f"line {n}"} for n in range(20)
    ]
    assert [tuple(row.data.values()) for row in checks.records] == [
        ("lossless", 27, 0, "documents: 405"),
        ("split_law", 0, 25, ""),
    ]


def test_what_was_complete_before_is_a_verdict_too() -> None:
    verdict = Verdict()
    verdict.add("a", StageOutcome("fim_shards", None, skipped=True))
    assert verdict.reached
    assert verdict.evaluation(dg.AssetKey("fim_shards")).passed
