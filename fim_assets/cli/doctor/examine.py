"""What the doctor looks at, in order; each subject's findings are made in its own module."""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace

from fim_assets.cli.doctor import inputs, machine
from fim_assets.cli.doctor.findings import Finding, Report, error_finding
from fim_assets.cli.doctor.sample_findings import run_and_judge_sample
from fim_assets.cli.doctor.storage import existing_outputs, storage_findings
from fim_assets.cli.terminal import OnProgress
from fim_assets.open_corpus import open_corpus
from fim_assets.recipe import load_recipe
from fim_assets.recipe.errors import RecipeError
from fim_assets.settings import Settings, SettingsError, unnamed_data_root


def examine(
    environment: Mapping[str, str],
    report: Report,
    on_progress: OnProgress,
    key_prefix: tuple[str, ...] = (),
) -> Iterator[Finding]:
    """Look at all that a run needs; `report` takes the estimate, the caller the findings."""
    settings = yield from _read_settings(environment)
    yield machine.dagster_finding(environment)
    if settings is None:
        return
    yield machine.worker_finding(settings)
    on_progress("looking for the executor …")
    workers, finding = machine.executor_finding(settings)
    yield finding
    try:
        recipe = load_recipe(settings.recipe)
    except RecipeError as error:
        yield error_finding("recipe", error)
        return
    yield inputs.recipe_finding(recipe, settings)
    yield inputs.trainer_finding(recipe)
    on_progress("verifying the tokenizer: some seconds when it is first met …")
    # The sample takes any number of rejected lines, so that all of them can be reported.
    lenient_raw = recipe.raw.model_copy(update={"max_rejected_share": 1.0, "max_empty_share": None})
    lenient = recipe.model_copy(update={"raw": lenient_raw})
    tokenizer, finding = inputs.load_and_judge_tokenizer(lenient)
    yield finding
    if tokenizer is not None:
        yield from inputs.separator_findings(recipe, tokenizer)
    tokenizer_hash = "" if tokenizer is None else tokenizer.content_hash
    corpus = open_corpus(recipe, settings, key_prefix, tokenizer_hash)
    on_progress("listing the shards …")
    shards = yield from inputs.list_and_judge_shards(corpus, settings)
    with_content = {key: shard for key, shard in shards.items() if not shard.lacks_content}
    if with_content:
        report.estimate = yield from run_and_judge_sample(
            replace(corpus, recipe=lenient), recipe, with_content, workers, on_progress
        )
    complete = 0.0
    if shards and tokenizer is not None:
        on_progress("looking at what is there already …")
        complete = yield from existing_outputs(corpus, list(shards))
    on_progress("looking at the storage …")
    yield from storage_findings(settings, report.estimate, complete)


def _read_settings(environment: Mapping[str, str]) -> Generator[Finding, None, Settings | None]:
    try:
        settings = Settings.from_environment(environment)
    except SettingsError as error:
        yield error_finding("settings", error)
        return None
    if where := unnamed_data_root(environment):
        yield Finding("look", "settings", where, "export FIM_DATA_ROOT=<a folder or URL>")
    return settings
