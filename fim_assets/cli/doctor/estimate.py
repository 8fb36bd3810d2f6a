"""What a run would take, estimated from lines of a few shards, which were really run."""

from collections.abc import Sequence
from dataclasses import dataclass

from fim_assets.cli.doctor.sample import SampledShard
from fim_assets.fim_shards.stage import FIM_SHARDS
from fim_assets.raw_shards.stage import RAW_SHARDS
from fim_assets.repository_shards.stage import REPOSITORY_SHARDS
from fim_assets.token_arrays.stage import TOKEN_ARRAYS

FEW_DOCUMENTS = 100
"""From fewer, if they are not all, an estimate is rough: lengths differ a hundredfold."""

# A speed is given only where the texts took this part of the time of the partitions without them.
_MEASURABLE = 0.2

# Seconds that Dagster takes to start, and to record a partition; see docs/scale.md.
_DAGSTER_START, _DAGSTER_A_PARTITION = 6.0, 0.1


@dataclass(frozen=True)
class Estimate:
    """What a run over all partitions would take, with Dagster's part of the time.

    Attributes:
        disk_bytes: Bytes of the outputs, by asset.
        scratch_bytes: Bytes that are also needed while it runs.
        bytes_per_second: Bytes of text that one worker takes through all stages and checks; None
            where the sample's texts took too little time to tell it.
        largest_share: Part of the text that the largest shard holds.
        of_documents: Documents in the sample, as `of_shards` and `of_bytes`, those of text.
    """

    documents: int
    text_bytes: int
    tokens: int
    disk_bytes: dict[str, int]
    scratch_bytes: int
    seconds: float
    workers: int
    bytes_per_second: float | None
    largest_share: float
    of_documents: int
    of_shards: int
    of_bytes: int


def estimate(
    sampled: Sequence[SampledShard],
    sizes: Sequence[int],
    seconds_a_partition: float,
    workers: int,
    *,
    remote: bool,
) -> Estimate | None:
    """Estimate what all shards would take; None where the sample holds no document.

    The sampled shards came through all stages; `sizes` are the bytes of all shards. A partition
    takes `seconds_a_partition` however little it holds. `remote` outputs are made on this machine
    and uploaded.
    """
    sizes = sorted((max(size, 1) for size in sizes), reverse=True)  # as `choose` takes them
    total = sum(sizes)
    tokens = [shard.results[TOKEN_ARRAYS.name] for shard in sampled]
    # Those of the arrays may be pieces of documents.
    documents = [shard.results[FIM_SHARDS.name].documents for shard in sampled]
    texts = [shard.results[RAW_SHARDS.name].counts["bytes"] for shard in sampled]
    if not sum(texts):
        return None
    # A shard's numbers are of its excerpt, and stand for all bytes for which the shard stands.
    of_all = total / sum(shard.stands_for for shard in sampled)
    by_bytes = [of_all * shard.stands_for / shard.excerpt.bytes for shard in sampled]
    by_lines = [of_all * shard.stands_for / shard.excerpt.by_lines for shard in sampled]
    text = _weighted(texts, by_bytes)
    disk = {}
    for asset in sampled[0].results:
        outputs = [shard.results[asset].outputs for shard in sampled]
        sizes_here = [sum(output.bytes for output in of_shard) for of_shard in outputs]
        disk[asset] = round(_weighted(sizes_here, by_bytes))
    spent = sum(max(shard.seconds - seconds_a_partition, 0.0) for shard in sampled)
    seconds_a_byte = spent / sum(texts)
    work = len(sizes) * seconds_a_partition + text * seconds_a_byte
    longest = seconds_a_partition + text * seconds_a_byte * sizes[0] / total
    dagster = _DAGSTER_START + _DAGSTER_A_PARTITION * len(sizes)
    scratch = 3 * text if remote else disk[TOKEN_ARRAYS.name]
    if REPOSITORY_SHARDS.name in disk:
        scratch += text  # lines wait in a file until their repository is complete
    made_at_once = sum(sizes[:workers]) / total * scratch
    measurable = spent > _MEASURABLE * len(sampled) * seconds_a_partition
    return Estimate(
        documents=round(_weighted(documents, by_lines)),
        text_bytes=round(text),
        tokens=round(_weighted([result.tokens or 0 for result in tokens], by_bytes)),
        disk_bytes=disk,
        scratch_bytes=round(made_at_once),
        seconds=dagster + max(work / max(workers, 1), longest),
        workers=workers,
        bytes_per_second=1 / seconds_a_byte if measurable else None,
        largest_share=sizes[0] / total,
        of_documents=sum(documents),
        of_shards=len(sampled),
        of_bytes=sum(texts),
    )


def _weighted(numbers: Sequence[float], weights: Sequence[float]) -> float:
    return sum(number * weight for number, weight in zip(numbers, weights, strict=True))
