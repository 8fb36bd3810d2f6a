"""The corpus that a command is about: that of the environment, below `--key-prefix`.

Every command imports this, so that it imports nothing heavy.
"""

from collections.abc import Collection

import click

from fim_assets.corpus.corpus import Corpus, list_shards
from fim_assets.corpus.raw_shard import RawInput
from fim_assets.errors import ShardError
from fim_assets.nothing_found import nothing_found
from fim_assets.open_corpus import open_corpus
from fim_assets.recipe import load_recipe
from fim_assets.settings import Settings, unnamed_data_root
from fim_assets.wording import escape_to_one_line, shortened


def key_prefix_of_command() -> tuple[str, ...]:
    """The folders between the data root and the corpus, which are named before the command."""
    prefix: tuple[str, ...] = click.get_current_context().find_root().params["key_prefix"]
    return prefix


def read_settings(*, quiet: bool = False) -> Settings:
    """Read the environment's settings; say where outputs are if the environment does not."""
    settings = Settings.from_environment()
    if not quiet and (where := unnamed_data_root()):
        click.echo(escape_to_one_line(where), err=True)  # what is piped is standard output alone
    return settings


def open_command_corpus(
    tokenizer_hash: str | None = None, *, quiet: bool = False
) -> tuple[Corpus, Settings]:
    """The corpus and its settings; see `open_corpus` for the hash."""
    settings = read_settings(quiet=quiet)
    recipe = load_recipe(settings.recipe)
    return open_corpus(recipe, settings, key_prefix_of_command(), tokenizer_hash), settings


def list_some_shards(corpus: Corpus, settings: Settings) -> dict[str, RawInput]:
    """The corpus's raw shards by partition key; a ShardError if there is none."""
    shards = list_shards(corpus, settings.input_root)
    if not shards:
        raise ShardError(*nothing_found(corpus.recipe.raw.documents, settings))
    return shards


def some_keys(keys: Collection[str]) -> str:
    """Which partition keys there are, in an error."""
    return f"keys: {shortened(keys) or 'none'}"
