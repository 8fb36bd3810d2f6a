"""Raw shard to repository shard: the files of each repository as one document, or a few."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fim_assets.corpus.stage import Totals
from fim_assets.corpus.staging import Staging
from fim_assets.draws import RandomStream, named_seed, uniforms
from fim_assets.io.parquet import TableWriter
from fim_assets.io.shard_writer import ShardWriter
from fim_assets.raw_shards.shard_files import ShardPaths
from fim_assets.raw_shards.shard_reader import ShardReader
from fim_assets.recipe import Recipe
from fim_assets.recipe.repositories import Repositories
from fim_assets.repository_shards.divide import divided
from fim_assets.repository_shards.group import Group, Repository, repositories
from fim_assets.repository_shards.join import FileParts, join
from fim_assets.repository_shards.members import document_line
from fim_assets.repository_shards.order import (
    PlacedFile,
    UnusableFileError,
    order_files,
    read_imports,
)
from fim_assets.repository_shards.record import SCHEMA, record_metadata

if TYPE_CHECKING:
    from fim_assets.tokenizer.load import LoadedTokenizer

_ROWS_AT_ONCE = 1 << 12


class RepositoryDocument(NamedTuple):
    """A document of a repository: its line, code points of its text, a row of `SCHEMA` a file."""

    line: bytes
    chars: int
    rows: list[dict[str, Any]]


def join_shard(
    shard: ShardPaths,
    seed: int,
    recipe: Recipe,
    staging: Staging,
    tokenizer: "LoadedTokenizer | None" = None,
) -> Totals:
    """Write the repository shard and the parquet of a raw shard, or of the members of a group.

    `seed` is the partition's; `staging` takes `.jsonl.zst` and `.parquet`. `tokenizer` is the
    recipe's where `max_tokens` bounds a document.

    Raises:
        ShardError: If the shard is damaged, too many of its lines are no documents, or a repository
            cannot be read, see `group.repositories`; if a file's parser was killed or crashes by
            chance, or a file cannot be encoded.
    """
    section = recipe.repositories or Repositories()
    documents = chars = files = 0
    with (
        ShardReader(shard, recipe.raw) as reader,
        ShardWriter(staging.create(".jsonl.zst")) as writer,
        TableWriter(staging.create(".parquet"), SCHEMA, record_metadata(recipe, seed)) as table,
    ):
        rows: list[dict[str, Any]] = []
        for repository in repositories(reader, recipe, section, staging.folder):
            try:
                for document in documents_of(repository, seed, recipe, tokenizer):
                    writer.write([document.line])
                    rows += document.rows
                    documents += 1
                    chars += document.chars
                    files += len(document.rows)
            except UnusableFileError as error:
                raise error.in_shard(reader) from error
            if len(rows) >= _ROWS_AT_ONCE:
                table.write(_columns(rows))
                rows.clear()
        table.write(_columns(rows))
        reader.refuse_many_rejected()
        read = reader.totals(chars, files)
        return replace(
            read, documents=documents, counts=read.counts | {"joined": files - documents}
        )


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in SCHEMA.names}


def documents_of(
    repository: Repository, seed: int, recipe: Recipe, tokenizer: "LoadedTokenizer | None" = None
) -> Iterator[RepositoryDocument]:
    """The documents of a repository, under the partition's seed; errors as of `join_shard`."""
    section, group = recipe.repositories or Repositories(), repository.group
    if group is None:
        placed = [PlacedFile(file, "alone", 0) for file in repository.files]
        yield repository_document(placed, None, None, (0, 1), recipe)
        return
    own_seed = named_seed(seed, group.repository)
    key, first = np.array([own_seed], np.uint64), np.zeros(1, np.int64)
    named = uniforms(key, first, RandomStream.NAMES)[0] < section.names_rate
    name = group.repository if named else None
    imports = partial(read_imports, most_parsed=recipe.fim.syntax_max_bytes)
    placed = order_files(repository.files, section.order, own_seed, imports)
    counts, placed = divided(placed, name, recipe, tokenizer)
    edges = [0, *accumulate(counts)]
    for number, (begin, end) in enumerate(pairwise(edges)):
        which = number, len(counts)
        yield repository_document(placed[begin:end], group, name, which, recipe)


def repository_document(
    placed: Sequence[PlacedFile],
    group: Group | None,
    name: str | None,
    which: tuple[int, int],
    recipe: Recipe,
) -> RepositoryDocument:
    """A document of files in their places: the first, second … of so many of its group.

    `name` is as `join` takes it. Of files without a group there is one.
    """
    raw = recipe.raw
    documents = [one.file.document for one in placed]
    alone = [FileParts("", "", documents[0].text, "")]
    joined = alone if group is None else join(documents, name, recipe)
    text = "".join("".join(file) for file in joined)
    languages = {one.language for one in documents}
    repository_name = None if group is None else group.repository
    identifier = documents[0].id if group is None else _identifier(group, which)
    fields = {
        raw.id_field: identifier,
        raw.text_field: text,
        raw.language_field: languages.pop() if len(languages) == 1 else None,
        raw.path_field: documents[0].path if group is None else None,
        recipe.repository_field: repository_name,
    }
    rows = [
        {
            "line": one.file.number,
            "id": identifier,
            "file": number,
            "file_id": document.id,
            "path": document.path,
            "language": document.language,
            "repository": repository_name,
            "document": which[0],
            "documents": which[1],
            "named": name is not None,
            "copy": one.copy,
            "place": one.place,
            "depends_on": [*one.depends_on],
            "unresolved": one.unresolved,
            "lead_chars": len(file.lead),
            "header_chars": len(file.header),
            "chars": len(file.text),
            "tail_chars": len(file.tail),
            "tokens": one.tokens,
        }
        for number, (one, document, file) in enumerate(zip(placed, documents, joined, strict=True))
    ]
    line = document_line(fields, [one.file.member for one in placed])
    return RepositoryDocument(line, len(text), rows)


def _identifier(group: Group, which: tuple[int, int]) -> str:
    """A document's id: its repository's name, its language where it counts, and its number."""
    language = "" if group.language is None else f":{group.language}"
    number, count = which
    return f"{group.repository}{language}" + (f"#{number + 1}" if count > 1 else "")
