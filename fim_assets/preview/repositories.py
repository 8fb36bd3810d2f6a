"""The documents of a raw shard's repositories, joined as their stage joins them, for previews."""

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from fim_assets.raw_shards.documents import read_document
from fim_assets.raw_shards.shard_reader import Documents, KnownFile, ShardReader
from fim_assets.recipe import Recipe
from fim_assets.recipe.repositories import Repositories
from fim_assets.repository_shards.group import Repository, repositories
from fim_assets.repository_shards.join_shard import documents_of
from fim_assets.repository_shards.order import UnusableFileError
from fim_assets.repository_shards.stage import load_for_repositories


def joined_documents(
    reader: ShardReader,
    seed: int,
    recipe: Recipe,
    wanted: Callable[[Repository], bool] = lambda _: True,
) -> Iterator[Documents]:
    """The documents of the wanted repositories, each a block; `seed` is the partition's.

    Raises:
        ShardError: As `join_shard` does.
    """
    section, tokenizer = recipe.repositories or Repositories(), load_for_repositories(recipe)
    with TemporaryDirectory() as folder:
        for repository in repositories(reader, recipe, section, Path(folder)):
            if not wanted(repository):
                continue
            try:
                for document in documents_of(repository, seed, recipe, tokenizer):
                    block = Documents(lines=[document.line])
                    first, *_ = document.rows
                    block.add(first["line"], read_document(document.line, recipe.raw.of_stage()))
                    block.files = [[KnownFile.of(row) for row in document.rows]]
                    yield block
            except UnusableFileError as error:
                raise error.in_shard(reader) from error
