"""The corpus's repositories in numbers, where its recipe joins their files."""

from collections import Counter
from collections.abc import Mapping

from fim_assets.io.frozen_model import FrozenModel
from fim_assets.recipe import Recipe
from fim_assets.repository_shards.facts import named_rate
from fim_assets.statistics.counts import counted
from fim_assets.statistics.name_samples import InSeveral, NamesInSeveral
from fim_assets.statistics.rates import Rate

ADVICE = "fim-assets regroup brings the files of each to one shard"


class JoinedRepositories(FrozenModel):
    """Repositories and their documents, as `summary.json` holds them.

    All but `in_several` are sums over the partitions: a repository that is in two of them counts
    twice.

    Attributes:
        documents: What the files were joined to; one without a repository is one of its own.
        documents_of_divided: Documents of the repositories that are divided for their size.
        copies: Files of the same path and text as another one of their repository.
        names: The share of repositories with names and paths, tested.
        import_edges: Imports of files of the same repository, those within cycles among them.
        unresolved_imports: Imports of no file of the repository: most are of libraries.
        places: Files by why they stand where they do.
        files_by_language: Files, and `imports_by_language` their imports.
        in_several: Repositories with files in several partitions, which are joined in each apart.
    """

    documents: int
    repositories: int
    divided_repositories: int
    documents_of_divided: int
    files_without_repository: int
    copies: int
    names: Rate
    import_edges: int
    cycle_edges: int
    cycle_files: int
    unresolved_imports: int
    places: dict[str, int]
    files_by_language: dict[str, int]
    imports_by_language: dict[str, int]
    in_several: InSeveral

    @classmethod
    def of(
        cls, counts: Counter[str], recipe: Recipe, documents: int, names: NamesInSeveral
    ) -> "JoinedRepositories":
        """From the counts of all partitions, and the samples of their repositories' names."""
        return cls(
            documents=documents,
            repositories=counts["repositories"],
            divided_repositories=counts["divided_repositories"],
            documents_of_divided=counts["documents_of_divided"],
            files_without_repository=counts["files_without_repository"],
            copies=counts["repository_copies"],
            names=named_rate(counts, recipe),
            import_edges=counts["import_edges"],
            cycle_edges=counts["cycle_edges"],
            cycle_files=counts["cycle_files"],
            unresolved_imports=counts["unresolved_imports"],
            places=_most_first(counts, "place"),
            files_by_language=_most_first(counts, "repository_files"),
            imports_by_language=_most_first(counts, "import_edges"),
            in_several=names.result(),
        )

    @property
    def warnings(self) -> list[str]:
        """That repositories lie in several partitions, and what to do; none where none does."""
        if not self.in_several.in_several:
            return []
        return [f"{in_several_text(self.in_several)}: {ADVICE}"]


def in_several_text(names: InSeveral) -> str:
    """How many repositories have files in several partitions, with the error."""
    about = "" if names.exact else "about "
    bounds = "" if names.exact else f" ({names.low:,} to {names.high:,} with 95 % confidence)"
    return (
        f"{about}{names.in_several:,} of {names.names:,} repositories{bounds} have files in "
        "several partitions, and are joined in each of them apart"
    )


def _most_first(counts: Mapping[str, int], name: str) -> dict[str, int]:
    entries = counted(counts, name).items()
    return dict(sorted(entries, key=lambda entry: (-entry[1], entry[0])))
