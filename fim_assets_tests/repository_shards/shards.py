"""Raw shards of repositories, read without a corpus."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from fim_assets.raw_shards.shard_reader import ShardReader
from fim_assets.recipe import Recipe, parse_recipe
from fim_assets.recipe.repositories import Repositories
from fim_assets.repository_shards.group import Repository, repositories


def recipe_of(section: str = "{}", more: str = "") -> Recipe:
    """A recipe with a section `repositories`, both as YAML."""
    return parse_recipe(f"repositories: {section}\n{more}", "test")


def file_of(
    path: str | None, text: str, repository: object = "r", language: str | None = None, **more: Any
) -> dict[str, Any]:
    """A raw line's content."""
    metadata = {"path": path, "repo_name": repository, "language": language}
    return {"text": text, "metadata": {n: v for n, v in metadata.items() if v is not None}} | more


def grouped(
    lines: Iterable[dict[str, Any] | bytes], folder: Path, recipe: Recipe | None = None
) -> list[Repository]:
    """The repositories of a shard with such lines."""
    recipe = recipe or recipe_of()
    path = folder / "raw.jsonl"
    content = [line if isinstance(line, bytes) else orjson.dumps(line) for line in lines]
    path.write_bytes(b"".join(line + b"\n" for line in content))
    section = recipe.repositories or Repositories()
    with ShardReader(path, recipe.raw) as reader:
        return [*repositories(reader, recipe, section, folder)]
