"""Asset checks: each of a stage's by its name, with one verdict a run over all its partitions.

They have no partitions of their own: for each, Dagster would store the list of all, so that ten
thousand partitions cost two gigabytes of database and of memory before any work begins. What each
partition passed is in its materialization's metadata and in its receipt.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from fim_assets.corpus.stage import CheckOutcome
from fim_assets.cuts.registry import CUTS
from fim_assets.defs.corpus_definition import CorpusDefinition
from fim_assets.defs.metadata import table
from fim_assets.statistics.tables import Record, Table
from fim_assets.wording import plural

_FAULTS_SHOWN = 20


def _looked_at() -> dict[str, str]:
    """Which of a check's numbers say how much it looked at, added up over the partitions."""
    return {
        **{name: name for name in ("documents", "files", "tokens", "chars", "arrays")},
        **{name: name for name in ("repositories", "rearranged_documents", "pieces")},
        "psm": "files_in_psm",
        "spm": "files_in_spm",
        "fim_rate_trials": "files_long_enough_to_cut",
        "names_trials": "repositories",
        **{f"{name}_files": f"files_cut_by_{name}" for name in CUTS.rank_functions()},
        "other_files": "files_cut_by_their_content",
        "passed_over": "documents_passed_over",
    }


_IF_IT_FAILS = """
Every partition is checked before its receipt is written. One that fails does not count as finished,
and no later stage sees it. Then:

1. `faults` names the partition and what was found first; so do the partition's page and the log.
2. `fim-assets preview <partition>` shows what the recipe does to a document of it, and
   `fim-assets verify <partition>` whether its files are still what their receipts say.
3. Materialize the partition again. If it fails again, the fault is the program's: please report it,
   with what was found.
"""


def check_specs(graph: CorpusDefinition) -> dict[str, dg.AssetCheckSpec]:
    """The blocking checks that apply to the recipe, by name, in the order of running.

    The assets' own step runs them and stops a shard whose check fails: over a range, Dagster by
    itself would gate either nothing or every partition.
    """
    return {
        check.name: dg.AssetCheckSpec(
            check.name,
            asset=graph.key(stage.name),
            description=f"{check.description}\n{_IF_IT_FAILS}",
            blocking=True,
        )
        for stage in graph.corpus.stages
        for check in stage.checks_of(graph.corpus.recipe)
    }


@dataclass
class Verdict:
    """What a run says of one check, partition by partition.

    Attributes:
        passed: Partitions that passed, now or when they were made.
        before: Those that were complete and unchanged: their receipts name what they passed.
        failed: Partitions that did not pass.
        looked_at: How much was looked at in this run.
        faults: The faults of the first partitions that failed.
    """

    passed: int = 0
    before: int = 0
    failed: int = 0
    looked_at: Counter[str] = field(default_factory=Counter)
    faults: list[Record] = field(default_factory=list)

    def add(self, key: str, check: CheckOutcome) -> None:
        """Take what was found of one more partition into account."""
        names = _looked_at()
        for name, number in check.numbers.items():
            if name in names and isinstance(number, int):
                self.looked_at[names[name]] += number
        self.passed += check.passed
        self.failed += not check.passed
        if not check.passed and len(self.faults) < _FAULTS_SHOWN:
            self.faults.append({"partition": key, "found": check.description})

    def add_passed_before(self) -> None:
        """Take a partition into account that passed when it was made and is as it was."""
        self.passed += 1
        self.before += 1

    @property
    def reached(self) -> bool:
        """Whether any partition came as far as to be checked."""
        return bool(self.passed or self.failed)

    def evaluation(self, check: dg.AssetCheckKey) -> dg.AssetCheckEvaluation:
        """The event that Dagster records."""
        text = f"{plural(self.passed, 'partition')} passed"
        if self.before:
            text += f", {self.before:,} of them when they were made"
        if self.failed:
            text += f"; {self.failed:,} failed"
        metadata: dict[str, Any] = {
            "passed": self.passed,
            "passed_before": self.before,
            "failed": self.failed,
            **{f"looked_at_{name}": number for name, number in self.looked_at.items()},
        }
        # No Markdown: a fault may quote the shard.
        if self.faults:
            columns = dict.fromkeys(("partition", "found"), "string")
            metadata["faults"] = table(Table(columns, self.faults))
        return dg.AssetCheckEvaluation(
            asset_key=check.asset_key,
            check_name=check.name,
            passed=not self.failed,
            description=text,
            metadata=metadata,
            blocking=True,
        )
