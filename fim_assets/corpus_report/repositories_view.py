"""What the report says of repositories, ready to be laid out, where a recipe joins their files."""

from itertools import islice
from typing import NamedTuple

from fim_assets.corpus_report.numbers import (
    LANGUAGES_SHOWN,
    Counted,
    Length,
    counted_of,
    length_of,
)
from fim_assets.corpus_report.repositories import ADVICE, in_several_text
from fim_assets.corpus_report.summary import Summary
from fim_assets.repository_shards.record import PLACES
from fim_assets.statistics.rates import Rate
from fim_assets.statistics.tables import share


class LanguageFiles(NamedTuple):
    """A language's files in repositories' documents, and their imports of one another."""

    name: str
    files: int
    share: float
    imports: int


class RepositoriesView(NamedTuple):
    """What became of repositories: numbers by title, and where files stand.

    `in_several` says how many have files in several partitions; `advice` what to do if some do.
    """

    numbers: dict[str, int]
    names: Rate
    in_several: str
    advice: str | None
    places: list[Counted]
    languages: list[LanguageFiles]
    lengths: list[Length]


_OF_REPOSITORIES = {
    "repository_document_files": ("Documents by files", "files", "document"),
    "repository_document_chars": ("Documents by characters", "characters", "document"),
    "repository_files": ("Repositories by files", "files", "repository"),
}
"""The histograms that only repositories have: title, unit, and of what."""


def repositories_view(summary: Summary) -> RepositoriesView | None:
    """What became of repositories; None where the recipe joins no files."""
    joined = summary.repositories
    if joined is None:
        return None
    numbers = {
        "documents of the raw shards": summary.totals.documents,
        "of these, without a repository": joined.files_without_repository,
        "documents that they were joined to": joined.documents,
        "repositories, once in each partition": joined.repositories,
        "repositories divided for their size": joined.divided_repositories,
        "documents of divided repositories": joined.documents_of_divided,
        "exact copies within a repository": joined.copies,
        "imports of files of the same repository": joined.import_edges,
        "of these, within cycles": joined.cycle_edges,
        "files in cycles": joined.cycle_files,
        "imports of nothing in the repository": joined.unresolved_imports,
    }
    total = sum(joined.files_by_language.values())
    languages = [
        LanguageFiles(name, files, share(files, total), joined.imports_by_language.get(name, 0))
        for name, files in islice(joined.files_by_language.items(), LANGUAGES_SHOWN)
    ]
    lengths = [
        length_of(title, unit, of, found)
        for name, (title, unit, of) in _OF_REPOSITORIES.items()
        if (found := summary.histograms.get(name))
    ]
    several = joined.in_several
    return RepositoriesView(
        numbers=numbers,
        names=joined.names,
        in_several=in_several_text(several),
        advice=ADVICE if several.in_several else None,
        places=counted_of(joined.places, total, PLACES),
        languages=languages,
        lengths=lengths,
    )
