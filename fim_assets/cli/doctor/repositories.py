"""What the sample tells of repositories, and of a section `repositories`."""

from collections import Counter
from collections.abc import Iterator, Sequence

import polars as pl

from fim_assets.cli.doctor.fields import Fields, best_named, string_fields
from fim_assets.cli.doctor.findings import Finding
from fim_assets.cli.doctor.inputs import NAMES_SHOWN
from fim_assets.cli.doctor.sample import SampledShard
from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus_report.repositories import ADVICE, in_several_text
from fim_assets.recipe import Recipe
from fim_assets.recipe.families import SENTINELS, SEPARATORS
from fim_assets.recipe.repositories import Repositories
from fim_assets.recipe.values import field_names, field_path
from fim_assets.repository_shards.stage import REPOSITORY_SHARDS
from fim_assets.statistics.name_samples import NamesInSeveral
from fim_assets.wording import plural, shortened, shown_language, shown_name

_PART = "repositories"

_NAMES = (
    *("repo_name", "max_stars_repo_name", "repository_name", "repository", "repo", "repo_id"),
    *("repo_full_name", "full_name", "project", "project_name"),
)
"""What fields are called that hold a repository's name."""


def repository_findings(
    corpus: Corpus, recipe: Recipe, sampled: Sequence[SampledShard], fields: Fields
) -> Iterator[Finding]:
    """What of the section does not fit the data; without one, whether there could be one.

    The sample was run in `corpus`.
    """
    section = recipe.repositories
    candidates = best_named(string_fields(fields), _NAMES)
    if section is None:
        if candidates:
            text = f"{shown_name(candidates[0])} names the repositories of files; a section "
            text += "repositories in the recipe joins the files of each"
            yield Finding("ok", _PART, text)
        return
    yield from _fields(recipe, section, fields, candidates)
    yield from _families(recipe, section)
    if section.order == "dependencies":
        yield from _unread(corpus, sampled)
    names = NamesInSeveral()
    for shard in sampled:
        made = shard.results.get(REPOSITORY_SHARDS.name)
        if made is not None and made.names is not None:
            names.add(made.names)
    several = names.result()
    if several.in_several:
        yield Finding("look", _PART, f"of the sample, {in_several_text(several)}", ADVICE)


def _fields(
    recipe: Recipe, section: Repositories, fields: Fields, candidates: Sequence[str]
) -> Iterator[Finding]:
    if not fields.lines:
        return
    named = recipe.repository_field
    if field_path(field_names(named)) not in fields.values:
        text = f"the repository's name is {named}, which no line has: no file has a repository"
        advice = "set repositories.name_field to where the lines name it"
        if candidates:
            advice = f"set repositories.name_field to {shown_name(candidates[0])}"
        yield Finding("look", _PART, text, advice)
    path = recipe.raw.path_field
    if field_path(field_names(path)) not in fields.values:
        uses = [f"order {section.order}"] if section.order in {"path", "dependencies"} else []
        uses += [f"layout {section.layout}"] if section.names_rate else []
        if uses:
            text = f"raw.path_field is {path}, which no line has, for {' and '.join(uses)}"
            yield Finding("look", _PART, text, "set raw.path_field to where the lines have it")


def _families(recipe: Recipe, section: Repositories) -> Iterator[Finding]:
    """A layout and sentinels that no family of models has together."""
    family = SENTINELS.get(section.layout)
    if family is None:
        return
    fim = recipe.fim
    asked = {
        "fim_prefix_token": (fim.fim_prefix_token, family.prefix),
        "file_separator_token": (
            fim.file_separator_token,
            SEPARATORS.get(section.layout, fim.file_separator_token),
        ),
    }
    others = [f"{name} {given}" for name, (given, own) in asked.items() if given != own]
    if others:
        text = f"layout {section.layout} with {' and '.join(others)} of another family"
        yield Finding(
            "look",
            _PART,
            text,
            f"set fim.sentinels to {section.layout}, and a tokenizer that has them",
        )


def _unread(corpus: Corpus, sampled: Sequence[SampledShard]) -> Iterator[Finding]:
    """Languages whose imports are not read, those with most files first."""
    languages = Counter[str]()
    files = 0
    for shard in sampled:
        if REPOSITORY_SHARDS.name not in shard.results:
            continue
        parquet = corpus.files(REPOSITORY_SHARDS.name, shard.key).file(".parquet")
        rows = pl.read_parquet(parquet, columns=["language", "place"])
        files += rows.height
        unread = rows.filter(pl.col("place") == "no_grammar")["language"]
        languages.update(shown_language(language or "") for language in unread)
    if languages:
        names = shortened([name for name, _ in languages.most_common()], NAMES_SHOWN)
        number = f"{languages.total():,} of {plural(files, 'file')}"
        text = f"imports are not read of {number}, which come by their paths: {names}"
        yield Finding("ok", _PART, text)
