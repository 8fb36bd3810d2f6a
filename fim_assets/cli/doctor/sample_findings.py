"""What the sample tells of the data: what it holds, and what a run would refuse of it."""

from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace

from fim_assets.cli.doctor.estimate import Estimate, estimate
from fim_assets.cli.doctor.fields import fields_finding, read_fields
from fim_assets.cli.doctor.findings import Finding, error_finding
from fim_assets.cli.doctor.inputs import NAMES_SHOWN
from fim_assets.cli.doctor.repositories import repository_findings
from fim_assets.cli.doctor.sample import (
    SECONDS,
    SampledShard,
    choose,
    run_sample,
    seconds_of_a_partition,
)
from fim_assets.cli.terminal import OnProgress
from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus.raw_shard import RawInput
from fim_assets.fim_shards.stage import FIM_SHARDS
from fim_assets.fim_shards.unmatched import Occurrences, unmatched_names
from fim_assets.io.locations import StorageError, is_remote
from fim_assets.io.machine_folders import working_folder
from fim_assets.raw_shards.rejections import NOT_EXPLAINED
from fim_assets.raw_shards.shard_reader import ShardReader
from fim_assets.raw_shards.stage import RAW_SHARDS
from fim_assets.recipe import Recipe
from fim_assets.recipe.raw import Raw
from fim_assets.recipe.schemas import SCHEMAS
from fim_assets.stages import stages_of
from fim_assets.statistics.counts import counted
from fim_assets.statistics.rates import binomial_rate
from fim_assets.wording import plural, shown_language

_CERTAIN = 1e-4
_SCHEMAS = {name: schema._asdict() for name, schema in SCHEMAS.items()}

_NOT_READ = "fetch it again, or leave it out of raw.documents: a shard is JSON lines or Parquet"


def run_and_judge_sample(
    corpus: Corpus,
    recipe: Recipe,
    shards: Mapping[str, RawInput],
    workers: int,
    on_progress: OnProgress,
) -> Generator[Finding, None, Estimate | None]:
    """Run lines of a few shards, and estimate from them what a run would take.

    The recipe of `corpus` takes shards with any number of rejected lines; `recipe` has the bounds
    by which they are judged. Without a tokenizer's hash no asset that needs it is made, and nothing
    is estimated.
    """
    assets = corpus.names if corpus.tokenizer_hash else _without_tokenizer(corpus)
    sampled: list[SampledShard] = []
    not_begun = len(choose({key: shard.size for key, shard in shards.items()}))
    with working_folder() as folder:
        trial = replace(
            corpus, recipe=_of_lines(corpus.recipe), data_root=folder / "out", prefix=()
        )
        for shard in run_sample(trial, shards, folder, assets, recipe.raw):
            not_begun -= 1
            if isinstance(shard, SampledShard):
                sampled.append(shard)
                on_progress(f"running lines of shards: {len(sampled)} …")
            else:
                of_storage = isinstance(shard, StorageError)  # and no fault of the shard
                yield error_finding("sample", shard, "" if of_storage else _NOT_READ)
        fields = read_fields(shard.excerpt.path for shard in sampled)
        finding = fields_finding(fields, recipe.raw, _SCHEMAS)
        named = finding is not None and bool(finding.recipe)
        yield from _judge(sampled, not_begun, shards, _of_lines(recipe), fields_are_named=named)
        if finding is not None:
            yield finding
        yield from repository_findings(trial, recipe, sampled, fields)
        through = [shard for shard in sampled if len(shard.results) == len(corpus.names)]
        if not through:
            return None
        on_progress("timing …")
        seconds = seconds_of_a_partition(trial, through, folder)
    sizes = [shard.size for shard in shards.values()]
    return estimate(through, sizes, seconds, workers, remote=is_remote(corpus.data_root))


def _without_tokenizer(corpus: Corpus) -> tuple[str, ...]:
    """The first assets, those that need no tokenizer."""
    recipe = corpus.recipe
    if recipe.repositories is not None and recipe.repositories.max_tokens is not None:
        return (RAW_SHARDS.name,)
    return corpus.names[: corpus.names.index(FIM_SHARDS.name) + (not recipe.fim_needs_tokenizer)]


def _of_lines(recipe: Recipe) -> Recipe:
    """The recipe for an excerpt, in which rows are lines of the fields that go on."""
    return recipe.model_copy(update={"raw": recipe.raw.model_copy(update={"keep_fields": None})})


def _judge(
    sampled: Sequence[SampledShard],
    not_begun: int,
    shards: Mapping[str, RawInput],
    recipe: Recipe,
    *,
    fields_are_named: bool,
) -> Iterator[Finding]:
    """Say what the sample holds, and what a run would refuse of it.

    `not_begun`: how many shards there was no time for; `fields_are_named`: whether it is told
    besides which fields the recipe should name.
    """
    raw = [shard.results[RAW_SHARDS.name] for shard in sampled if RAW_SHARDS.name in shard.results]
    fim = [shard.results[FIM_SHARDS.name] for shard in sampled if FIM_SHARDS.name in shard.results]
    refused = [
        finding
        for shard in sampled
        for finding in _refused(shard, shards[shard.key], recipe, fields_are_named)
    ]
    for finding in sorted(refused, key=lambda finding: finding.mark != "mend")[:1]:
        others = len(refused) - 1
        more = f"; others like it in {plural(others, 'more shard')} looked at" if others else ""
        yield replace(finding, text=finding.text + more)
    documents = sum(result.documents for result in raw)
    if not documents:
        if raw and not refused:
            yield Finding("mend", "sample", f"no document in {plural(len(raw), 'shard')}")
        return
    rejected = sum(result.rejected for result in raw)
    without_id = sum(shard.without_id for shard in sampled)
    counts = Counter[str]()
    for result in (*raw, *fim):
        counts.update(result.counts)
    languages = Counter(counted(counts, "documents"))
    fallbacks = Counter(counted(counts, "fallback"))
    all_through = all(len(shard.results) == len(stages_of(recipe)) for shard in sampled)
    through = " came through all stages and checks" if all_through else ""
    through += " without these lines" if through and refused else ""
    late, in_all = plural(not_begun, "more shard"), " in all" if refused else ""
    rearranged = counts["psm"] + counts["spm"]
    of_cuts = f"{fallbacks.total() / max(rearranged, 1):.1%} of the cuts are by the fallback"
    parts = [
        f"{plural(documents, 'document')} of {plural(len(raw), 'shard')}{through}",
        f"{late} not begun after {SECONDS:.0f} seconds" if not_begun else "",
        f"{plural(rejected, 'line')} rejected{in_all}" if rejected else "no line rejected",
        f"{plural(counts['too_short'], 'file')} too short to cut" if counts["too_short"] else "",
        f"{plural(without_id, 'document')} without id" if without_id else "",
        f"languages {_shares(languages)}",
        f"{of_cuts} ({_shares(fallbacks)})" if fallbacks else "",
    ]
    if recipe.fim.repository_tokens and not counts["repository"]:
        parts.append("no file with a repository token")
    yield Finding("ok", "sample", "; ".join(filter(None, parts)))
    if without_id == documents and recipe.raw.id_field != Raw().id_field:
        field = recipe.raw.id_field
        text = f"raw.id_field is {field}, which no document has: draws use texts alone"
        yield Finding("look", "sample", text, "name the field as the lines do")
    occurrences = Occurrences()
    occurrences.add(counts)
    complete = len(raw) == len(shards) and all(shard.excerpt.complete for shard in sampled)
    warnings = unmatched_names(recipe, occurrences, complete=complete)
    for warning in warnings:
        yield Finding("look", "sample", warning, "name in the recipe what the data have")
    if fallbacks.total() > rearranged / 2 and not warnings:
        files = plural(rearranged, "rearranged file")
        text = f"{fallbacks.total():,} of {files} cut by the fallback"
        advice = "set raw.language_field or raw.path_field, or take another split"
        yield Finding("look", "sample", text, advice)


def _refused(
    sampled: SampledShard, shard: RawInput, recipe: Recipe, fields_are_named: bool
) -> Iterator[Finding]:
    """What a run would fail with in this shard."""
    if sampled.outcome.failure:
        # An outcome holds its error as text alone, which names the file that was run.
        excerpt = str(sampled.excerpt.path)
        failure = sampled.outcome.failure.replace(excerpt, f"some lines of {shard}")
        yield Finding("mend", "sample", f"{sampled.key}: {failure}")
    result = sampled.results.get(RAW_SHARDS.name)
    if result is None:
        return
    lines = result.lines - result.blank
    with ShardReader(sampled.excerpt.path, recipe.raw) as reader:
        for _ in reader:
            pass
    complete = sampled.excerpt.complete
    excess = reader.rejections.excess(lines, "line" if complete else "sampled line")
    if excess is None:
        return
    text = f"{shard}: {excess.text}"
    if complete:
        text += f"; {excess.first[0]}"
    certain = complete or excess.lines > binomial_rate(0, lines, excess.share, _CERTAIN).high
    advice = excess.explanation or (NOT_EXPLAINED if result.documents else _NOT_READ)
    [(reason, _)] = reader.rejections.reasons.most_common(1)
    if fields_are_named and reason in {"no_text", "text_not_string"}:
        advice = "write what `fields` says below"
    yield Finding("mend" if certain else "look", "sample", text, advice)


def _shares(counts: Counter[str]) -> str:
    total = counts.total()
    shares = [f"{shown_language(name)} {count / total:.0%}" for name, count in counts.most_common()]
    more = len(shares) - NAMES_SHOWN
    return ", ".join([*shares[:NAMES_SHOWN], *([f"{more:,} more"] if more > 0 else [])])
