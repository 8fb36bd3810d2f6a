"""What a run says of the partitions that failed: which, where, why, and what to do."""

from collections.abc import Collection, Sequence

from fim_assets.pipeline import Corpus, Outcome
from fim_assets.storage import is_remote
from fim_assets.words import how_many

_READ_BY = {
    "fim_shards": " (`fim-assets restore` reads them)",
    "token_arrays": " (`fim-assets show` reads them)",
}


def failure_message(
    failed: Sequence[Outcome], partitions: int, corpus: Corpus, made: Collection[str]
) -> str:
    """Each failed partition with its stage and reason, and what to do about each kind of failure.

    Args:
        failed: What became of those that failed.
        partitions: How many the run had.
        corpus: Where their files lie.
        made: The assets that the run made; of others it has only checked what lay there.
    """
    advice = dict.fromkeys(_advice(outcome, corpus, made) for outcome in failed)
    lines = [
        f"{len(failed):,} of {how_many(partitions, 'partition')} failed:",
        *(f"{outcome.key}: {outcome.failure}" for outcome in failed),
        "",
        "What to do:",
        *(f"- {each}" for each in advice),
    ]
    if partitions > 1:
        lines.append("- Then run the same range again: what is complete is left as it is.")
    return "\n".join(lines)


def _advice(outcome: Outcome, corpus: Corpus, made: Collection[str]) -> str:
    if outcome.details is not None:
        return (
            "A fault of the program: its traceback is an error in this run's log, behind the "
            "partition's name. Please report it."
        )
    checked = next((stage.asset for stage in outcome.stages if stage.receipt is None), None)
    if checked is None:
        return (
            "A shard, a file or a setting is not in order: mend what the message names. "
            f"`{corpus.command} preview <partition>` reads the raw shard as a run does; "
            f"`{corpus.command} verify <partition>` names files that are not what their receipts "
            "say."
        )
    stay = f"its files lie in {corpus.folder(checked)} to be looked at{_READ_BY.get(checked, '')}"
    if is_remote(corpus.data_root) and checked in made:
        stay = "nothing of it was uploaded"
    return (
        f"A check of {checked} failed: the partition does not count as finished, no later stage "
        f"has seen it, and {stay}. Materialize it again; if it fails again, the fault is the "
        "program's. Please report it, with the message above."
    )
