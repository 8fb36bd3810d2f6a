"""Statistics of `repository_shards`, from its parquet."""

from collections import Counter
from pathlib import Path

import polars as pl

from fim_assets.corpus.stage import Statistics
from fim_assets.draws import named_seed
from fim_assets.repository_shards.record import CHARS, repository_frames
from fim_assets.statistics.counts import by_count
from fim_assets.statistics.histograms import Lengths
from fim_assets.statistics.name_samples import NameSample

_COLUMNS = ["line", "repository", "documents", "named", "copy", "place", "language"]
_COLUMNS += ["depends_on", "unresolved", *CHARS]

_SUMS = (
    *("files_without_repository", "repository_copies"),
    *("cycle_files", "cycle_edges", "unresolved_imports"),
)

_REPOSITORIES = pl.Schema({"hash": pl.UInt64(), "files": pl.UInt32(), "named": pl.Boolean()})
_REPOSITORIES |= {"divided": pl.UInt32()}
"""What a repository is kept as: 17 bytes. `divided` are its documents, if it is divided, else 0."""


def repository_statistics(parquet: Path) -> Statistics:
    """Statistics `repository_shards`: repositories, why files stand where they do, and imports.

    A repository counts once, though its files of each language may be documents of their own;
    `documents_of_divided` are those of repositories, or of their files in a language, that are
    divided for their size. `cycle_edges` are imports within a cycle, of which no order puts all
    behind what they import. Histograms are of repositories and their documents: files without a
    repository are left out.
    """
    sums: Counter[str] = Counter(dict.fromkeys(_SUMS, 0))
    places, files, edges = Counter[str](), Counter[str](), Counter[str]()
    of_documents = {name: Lengths() for name in ("files", "chars")}
    found = [pl.DataFrame(schema=_REPOSITORIES)]
    for frame in repository_frames(parquet, _COLUMNS):
        rows = frame.with_columns(
            pl.col("language").fill_null(""), size=pl.sum_horizontal(CHARS)
        ).with_columns(
            group=((pl.col("document") == 0) & (pl.col("file") == 0)).cum_sum(),
            number=(pl.col("file") == 0).cum_sum(),
        )
        places.update(rows["place"])
        files.update(rows["language"])
        sums["files_without_repository"] += rows["repository"].null_count()
        sums["repository_copies"] += int(rows["copy"].sum())
        sums["unresolved_imports"] += int(rows["unresolved"].sum())
        sums["cycle_files"] += int((rows["place"] == "cycle").sum())
        imports = rows.select("line", "language", "depends_on", "place").explode("depends_on")
        imports = imports.drop_nulls("depends_on")
        edges.update(imports["language"])
        sums["cycle_edges"] += _in_cycles(imports)
        rows = rows.drop_nulls("repository")
        documents = rows.group_by("number").agg(pl.len().alias("files"), chars=pl.sum("size"))
        for name, lengths in of_documents.items():
            lengths.add(documents[name])
        found.append(_repositories(rows))
    by_name = pl.concat(found).group_by("hash")
    repositories = by_name.agg(pl.sum("files", "divided"), pl.any("named"))
    counts = {
        "repositories": repositories.height,
        "named_repositories": int(repositories["named"].sum()),
        "divided_repositories": int((repositories["divided"] > 0).sum()),
        "documents_of_divided": int(repositories["divided"].sum()),
        **sums,
        "import_edges": edges.total(),
    }
    counts |= by_count("place", places) | by_count("repository_files", files)
    counts |= by_count("import_edges", edges)
    of_repositories = Lengths()
    of_repositories.add(repositories["files"])
    histograms = {"repository_files": of_repositories.histogram()}
    histograms |= {
        f"repository_document_{name}": lengths.histogram() for name, lengths in of_documents.items()
    }
    names_of_all = NameSample.of(repositories["hash"].to_numpy())
    return Statistics(counts, histograms, names_of_all)


def _repositories(rows: pl.DataFrame) -> pl.DataFrame:
    """The repositories of some files, one for each language where these are apart."""
    several = pl.col("documents") > 1
    groups = rows.group_by("group").agg(
        pl.first("repository"),
        pl.len().alias("files"),
        pl.first("named"),
        divided=pl.when(several.first()).then(pl.first("documents")).otherwise(0),
    )
    hashes = [named_seed(0, name) for name in groups["repository"]]
    groups = groups.with_columns(pl.Series("hash", hashes, pl.UInt64))
    return groups.select(_REPOSITORIES.names()).cast(_REPOSITORIES)


def _in_cycles(imports: pl.DataFrame) -> int:
    """How many of some imports are within a cycle: of a file, and of one that imports it in turn.

    Cycles may import one another, which no cycle goes through.
    """
    cyclic = imports.filter(pl.col("place") == "cycle")
    among = cyclic.filter(pl.col("depends_on").is_in(cyclic["line"].implode()))
    if among.is_empty():
        return 0
    import networkx as nx

    edges = among.select("line", "depends_on").rows()
    parts = nx.strongly_connected_components(nx.DiGraph(edges))
    part_of = {line: number for number, part in enumerate(parts) for line in part}
    return sum(part_of[line] == part_of[other] for line, other in edges)
