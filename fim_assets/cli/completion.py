"""What a shell completes: what is listed in a moment or nothing, and silent about errors."""

import logging
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from threading import Thread

import click
from click.shell_completion import CompletionItem, get_completion_class

from fim_assets.cli.corpus import open_command_corpus
from fim_assets.cli.terminal import can_show, command
from fim_assets.corpus.corpus import list_shards
from fim_assets.io.locations import is_url
from fim_assets.io.storage import names_in
from fim_assets.layouts.registry import LAYOUTS
from fim_assets.token_arrays.stage import TOKEN_ARRAYS

_SHELLS = ("bash", "zsh", "fish")
_SECONDS = 3.0
_OFFERED = 200


@command(
    'eval "$(fim-assets completion bash)"           # in ~/.bashrc',
    "fim-assets completion zsh > _fim-assets        # in a folder of $fpath",
    "fim-assets completion fish > fim-assets.fish   # in ~/.config/fish/completions",
)
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes SHELL complete commands, options, keys and files."""
    complete = get_completion_class(shell)
    if complete is None:
        raise click.UsageError(f"{shell}: click completes {', '.join(_SHELLS)}")
    main = context.find_root().command
    click.echo(complete(main, {}, "fim-assets", "_FIM_ASSETS_COMPLETE").source())


def complete_shards(
    context: click.Context, _parameter: click.Parameter, begin: str
) -> list[CompletionItem]:
    """Partition keys; paths of the recipe's shards where what is typed is the begin of one."""
    return _in_time(context, lambda: _keys_and_shards(begin))


def complete_arrays(
    context: click.Context, _parameter: click.Parameter, begin: str
) -> list[CompletionItem]:
    """Partitions with token arrays, and these by path; any file where none begins so."""
    return _in_time(context, lambda: _arrays(begin)) or [CompletionItem(begin, type="file")]


def _keys_and_shards(begin: str) -> list[str]:
    corpus, settings = open_command_corpus(tokenizer_hash="", quiet=True)
    if any(map(is_url, (str(settings.input_root), *corpus.recipe.raw.documents))):
        return []  # a listing of object storage can take minutes, and costs money
    shards = list_shards(corpus, settings.input_root)
    members = (member for shard in shards.values() for member in shard.members)
    paths = (_from_here(Path(member.place), begin) for member in members)
    return _beginning(begin, shards) or _beginning(begin, paths)


def _arrays(begin: str) -> list[str]:
    folder = open_command_corpus(tokenizer_hash="", quiet=True)[0].folder(TOKEN_ARRAYS.name)
    if not isinstance(folder, Path):
        return []
    endings = tuple(f"{n}{layout.ending}" for n in range(10) for layout in LAYOUTS.values())
    names = names_in(folder)
    keys = (name.removesuffix(".json") for name in names if name.endswith(".json"))
    arrays = (_from_here(folder / name, begin) for name in names if name.endswith(endings))
    return _beginning(begin, keys) or _beginning(begin, arrays)


def _from_here(path: Path, begin: str) -> str:
    """A path as a person types it: from the working folder, unless an absolute one was begun."""
    here = Path.cwd()
    absolute = begin.startswith(os.sep) or not path.is_relative_to(here)
    return str(path if absolute else path.relative_to(here))


def _beginning(begin: str, values: Iterable[str]) -> list[str]:
    fitting = (value for value in values if value.startswith(begin) and value.isprintable())
    return list(islice(filter(can_show, fitting), _OFFERED))


def _in_time(context: click.Context, list_values: Callable[[], list[str]]) -> list[CompletionItem]:
    """What is listed within three seconds; nothing where it takes longer, or fails."""
    logging.disable()  # a warning would be printed into the line that is being typed
    values: list[str] = []

    def run() -> None:
        with suppress(Exception), context.scope(cleanup=False):
            values.extend(list_values())

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(_SECONDS)
    return [CompletionItem(value) for value in values]
