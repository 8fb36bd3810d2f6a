"""What a run says of the partitions that failed: which, where, why, and what to do."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import dagster as dg
from dagster._core.errors import DagsterUserCodeProcessError
from dagster_shared.error import SerializableErrorInfo

from fim_assets.corpus.corpus import Corpus
from fim_assets.defs.metadata import table
from fim_assets.io.locations import is_remote
from fim_assets.run.partition import Outcome
from fim_assets.statistics.tables import Table
from fim_assets.wording import escape_to_one_line, plural


class StepFailedError(DagsterUserCodeProcessError, dg.Failure):
    """The end of a step whose message says all: its first base has Dagster show no stack trace."""

    def __init__(self, message: str) -> None:
        infos = [SerializableErrorInfo(f"{message}\n", stack=[], cls_name="Failure")]
        super().__init__(  # type: ignore[no-untyped-call]
            message, allow_retries=False, user_code_process_error_infos=infos
        )


def failure_message(
    failed: Sequence[Outcome], partitions: int, corpus: Corpus, made: Collection[str]
) -> str:
    """Each failed partition with its stage and reason, and what to do about each kind of failure.

    Of partitions with the same fault the first one's reason is given for all. `made` are the assets
    that the run made; of others it has only checked the existing files.
    """
    advice = [*dict.fromkeys(_advice(outcome, corpus, made) for outcome in failed)]
    if partitions > 1:
        advice.append("Then run the same range again: what is complete is skipped.")
    heading = f"{len(failed):,} of {plural(partitions, 'partition')} failed:"
    listed = "\n".join([heading, *_listed(failed)])
    return "\n- ".join([f"{listed}\n\nWhat to do:", *advice])


def failure_metadata(outcome: Outcome, corpus: Corpus, made: Collection[str]) -> dict[str, Any]:
    """Why a partition failed and what to do, for its page; its names are no materialization's.

    No Markdown: what failed may quote the shard.
    """
    failure = outcome.failure or ""
    lines = [escape_to_one_line(line.strip()) for line in failure.splitlines()[1:]]
    rows = Table({"line": "string"}, [{"line": line} for line in lines])
    return {
        "failure": escape_to_one_line(without_lines(failure)),
        **({"failure_lines": table(rows)} if lines else {}),
        "what_to_do": _advice(outcome, corpus, made),
    }


def without_lines(failure: str) -> str:
    """A failure without the lines of the shard that follow it."""
    return failure.partition("\n")[0].removesuffix(":")


def _listed(failed: Sequence[Outcome]) -> Iterator[str]:
    alike: dict[str, list[Outcome]] = {}
    for outcome in failed:
        alike.setdefault(outcome.fault or f"{outcome.key}: {outcome.failure}", []).append(outcome)
    with_lines = False
    for first, *others in alike.values():
        failure = first.failure or ""
        # Lines of a shard are examples, and those of the first that fails so are enough.
        yield f"{first.key}: {without_lines(failure) if with_lines else failure}"
        with_lines |= first.fault is None and "\n" in failure
        if others:
            yield f"{', '.join(other.key for other in others)}: the same fault as {first.key}"


def _advice(outcome: Outcome, corpus: Corpus, made: Collection[str]) -> str:
    if outcome.details is not None:
        return (
            "A fault of the program: its traceback is an error in this run's log, behind the "
            "partition's name. Please report it."
        )
    checked = next((stage.asset for stage in outcome.stages if stage.receipt is None), None)
    if checked is None:
        return (
            "A shard, a file or a setting is not in order: fix what the message names. "
            f"`{corpus.command} preview <partition>` reads the raw shard as a run does; "
            f"`{corpus.command} verify <partition>` names files that are not what their receipts "
            "say."
        )
    read_by = corpus.stage(checked).read_by
    how = f" (`{read_by}` reads them)" if read_by else ""
    stay = f"its files stay in {corpus.folder(checked)} to be looked at{how}"
    if is_remote(corpus.data_root) and checked in made:
        stay = "nothing of it was uploaded"
    return (
        f"A check of {checked} failed: the partition does not count as finished, no later stage "
        f"has seen it, and {stay}. Materialize it again; if it fails again, the fault is the "
        "program's. Please report it, with the message above."
    )
