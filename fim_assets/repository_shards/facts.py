"""What is shown of repositories, of a partition or of the corpus: tables of counts."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fim_assets.corpus.stage import Facts
from fim_assets.recipe import Recipe
from fim_assets.recipe.repositories import Repositories
from fim_assets.repository_shards.record import PLACES
from fim_assets.statistics.counts import counted
from fim_assets.statistics.histograms import EDGES, Histogram
from fim_assets.statistics.rates import Rate, binomial_rate
from fim_assets.statistics.tables import Record, Table, languages, mean, share

if TYPE_CHECKING:
    from fim_assets.corpus.receipts import Receipt

NAMES_ERROR = 1e-9
"""Probability that a partition is refused whose repositories are named as they should be."""

_NUMBERS = (
    *("named_repositories", "divided_repositories", "documents_of_divided"),
    *("files_without_repository", "repository_copies", "import_edges", "cycle_edges"),
    *("cycle_files", "unresolved_imports"),
)


def named_rate(counts: Mapping[str, int], recipe: Recipe) -> Rate:
    """The share of repositories that are written with names, tested, see `statistics.rates`."""
    asked = (recipe.repositories or Repositories()).names_rate
    hits, trials = counts["named_repositories"], counts["repositories"]
    return binomial_rate(hits, trials, asked, NAMES_ERROR)


def repository_facts(recipe: Recipe, receipt: "Receipt") -> Facts:
    """What a partition shows."""
    result, counts = receipt.result, receipt.result.counts
    rate, files = named_rate(counts, recipe), result.files or 0
    with_repository = files - counts["files_without_repository"]
    first = (
        *("documents", "files", "repositories", "files_per_repository", "divided_repositories"),
        *("files_without_repository", "repository_copies", "copies_share", "import_edges"),
        "repository_document_chars_p50",
    )
    of_files, edges = (counted(counts, name) for name in ("repository_files", "import_edges"))
    by_language = {"files": of_files, "imports": {n: edges.get(n, 0) for n in of_files}}
    tables = {
        "repositories_by_size": _sizes(result.histograms["repository_files"]),
        "places": _places(counted(counts, "place")),
        "languages": languages(by_language),
    }
    numbers: dict[str, int | float | str] = {
        "files": files,
        "repositories": counts["repositories"],
        "files_per_repository": mean(with_repository, counts["repositories"]),
        "copies_share": share(counts["repository_copies"], files),
        "names_asked": rate.asked,
        "names_accepted": f"{rate.low:,} to {rate.high:,} of {rate.trials:,}",
        **{name: counts[name] for name in _NUMBERS},
        "chars_per_second": receipt.per_second(result.chars),
    }
    return Facts(first, tables, numbers)


def _sizes(lengths: Histogram) -> Table:
    """Repositories by how many files they have."""
    rows: list[Record] = []
    for edge, count in lengths.bins.items():
        last = EDGES[EDGES.index(edge) + 1] - 1
        files = f"{edge:,}" if last == edge else f"{edge:,}–{last:,}"
        rows.append({"files": files, "repositories": count, "share": share(count, lengths.count)})
    return Table({"files": "string", "repositories": "int", "share": "float"}, rows)


def _places(places: Mapping[str, int]) -> Table:
    """Files by why they stand where they do."""
    total = sum(places.values())
    rows: list[Record] = [
        {"place": place, "files": count, "share": share(count, total), "meaning": PLACES[place]}
        for place, count in places.items()
    ]
    columns = {"place": "string", "files": "int", "share": "float", "meaning": "string"}
    return Table(columns, rows)
