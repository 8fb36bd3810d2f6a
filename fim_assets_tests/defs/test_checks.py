import dagster as dg

from fim_assets.corpus.receipts import Receipt
from fim_assets.corpus.stage import CheckOutcome, fault
from fim_assets.defs.checks import Verdict
from fim_assets.run.partition import StageOutcome

MADE_BEFORE = Receipt.model_validate_json("""{
  "result": {"asset": "fim_shards", "key": "c", "fingerprint": "", "seed": "",
    "input": {"name": "c.jsonl", "bytes": 1, "blake2b": ""}, "outputs": [],
    "lines": 1, "blank": 0, "rejected": 0, "documents": 1, "chars": 1, "counts": {},
    "histograms": {}},
  "made": {"at": "2026-01-01T00:00:00Z", "seconds": 1, "versions": {}, "engine": "",
    "checks": ["lossless", "split_law"]}
}""")


def test_a_verdict_counts_every_partition_and_names_the_first_that_failed() -> None:
    """Two that passed, three that were complete before, 25 that fail one of two checks."""
    verdict = Verdict()
    assert not verdict.reached
    passed = CheckOutcome("lossless", passed=True, description="", numbers={"documents": 15})
    for key in ("a", "b"):
        verdict.add(key, StageOutcome("fim_shards", None, (passed,)))
    for key in ("c", "d", "e"):
        verdict.add(key, StageOutcome("fim_shards", MADE_BEFORE, skipped=True))
    for number in range(25):
        found = (passed, fault("split_law", f"line {number}"))
        verdict.add(f"bad {number}", StageOutcome("fim_shards", None, found))
    event = verdict.evaluation(dg.AssetKey("fim_shards"))
    assert (event.passed, event.blocking) == (False, True)
    assert event.description == (
        "partitions that passed: 5; of them passed before and are as they were: 3; "
        "failed split_law: 25"
    )
    numbers = {name: event.metadata[name].value for name in ("passed", "passed_before")}
    assert numbers == {"passed": 5, "passed_before": 3}
    assert event.metadata["failed_split_law"].value == 25
    faults, checks = (event.metadata[name] for name in ("faults", "checks"))
    assert isinstance(faults, dg.TableMetadataValue)
    assert isinstance(checks, dg.TableMetadataValue)
    assert [dict(row.data) for row in faults.records] == [
        {"partition": f"bad {n}", "check": "split_law", "found": f"line {n}"} for n in range(20)
    ]
    assert [tuple(row.data.values()) for row in checks.records] == [
        ("lossless", 30, 3, 0, "documents: 405"),
        ("split_law", 3, 3, 25, ""),
    ]
