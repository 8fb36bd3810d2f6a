"""What a shell completes: found in a moment or not at all, and silent about errors."""

import logging
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from threading import Thread

import click
from click.shell_completion import CompletionItem, get_completion_class

from fim_assets.cli.streams import can_show

SHELLS = ("bash", "zsh", "fish")

_SECONDS = 3.0
_OFFERED = 200


def completion_script(command: click.Command, shell: str) -> str:
    """What a shell reads to complete `fim-assets`."""
    complete = get_completion_class(shell)
    if complete is None:
        raise ValueError(f"{shell}: click completes {', '.join(SHELLS)}")
    return complete(command, {}, "fim-assets", "_FIM_ASSETS_COMPLETE").source()


def keys_and_shards(
    _context: click.Context, _parameter: click.Parameter, begin: str
) -> list[CompletionItem]:
    """Partition keys; paths of the recipe's shards where what is typed is the begin of one."""
    return _in_time(lambda: _keys_and_shards(begin))


def array_files(
    context: click.Context, _parameter: click.Parameter, begin: str
) -> list[CompletionItem]:
    """Partitions with token arrays, and these by path; any file where none begins so."""
    prefix = context.find_root().params["key_prefix"]
    return _in_time(lambda: _arrays(begin, prefix)) or [CompletionItem(begin, type="file")]


def _keys_and_shards(begin: str) -> list[str]:
    from fim_assets.corpus.sources import find_shards
    from fim_assets.io.storage import is_url
    from fim_assets.recipe import load_recipe
    from fim_assets.settings import Settings

    settings = Settings.from_environment()
    documents = load_recipe(settings.recipe).raw.documents
    if is_url(str(settings.input_root)) or any(map(is_url, documents)):
        return []  # a listing of object storage can take minutes, and costs money
    shards = find_shards(documents, settings.input_root)
    paths = (_from_here(Path(shard.place), begin) for shard in shards.values())
    return _beginning(begin, shards) or _beginning(begin, paths)


def _arrays(begin: str, prefix: tuple[str, ...]) -> list[str]:
    from fim_assets.layouts.registry import LAYOUTS
    from fim_assets.settings import Settings

    folder = Settings.from_environment().data_root.joinpath(*prefix, "token_arrays")
    if not isinstance(folder, Path):
        return []
    endings = tuple(f"{n}{layout.ending}" for n in range(10) for layout in LAYOUTS.values())
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries]
    keys = (name.removesuffix(".json") for name in names if name.endswith(".json"))
    arrays = (_from_here(folder / name, begin) for name in names if name.endswith(endings))
    return _beginning(begin, keys) or _beginning(begin, arrays)


def _from_here(path: Path, begin: str) -> str:
    """A path as a person types it: from the working folder, unless an absolute one was begun."""
    here = Path.cwd()
    absolute = begin.startswith(os.sep) or not path.is_relative_to(here)
    return str(path if absolute else path.relative_to(here))


def _beginning(begin: str, values: Iterable[str]) -> list[str]:
    found = (value for value in values if value.startswith(begin) and value.isprintable())
    found = (value for value in found if can_show(value))
    return list(islice(found, _OFFERED))


def _in_time(find: Callable[[], list[str]]) -> list[CompletionItem]:
    """What is found within three seconds; nothing where it takes longer, or fails."""
    logging.disable()  # a warning would be printed into the line that is being typed
    found: list[str] = []

    def look() -> None:
        with suppress(Exception):
            found.extend(find())

    thread = Thread(target=look, daemon=True)
    thread.start()
    thread.join(_SECONDS)
    return [CompletionItem(value) for value in found]
