"""What commands share: sizes as options, help's examples, texts in any encoding, progress."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fim_assets.corpus.groups import read_group_size
from fim_assets.errors import UserError
from fim_assets.io.locations import Location
from fim_assets.wording import escape_to_one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

OnProgress = Callable[[str], None]  # takes what is being done, for a user who waits


def command(*examples: str) -> Callable[[Callable[..., None]], click.Command]:
    """Make a command whose help ends with examples, which a test runs."""
    return click.command(epilog="\n  ".join(["\b\nExamples:", *examples]))


def read_size(_ctx: click.Context, _option: click.Parameter, value: str) -> int:
    """What an option for a size says, in bytes."""
    try:
        return read_group_size(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def show_every_character() -> None:
    """Have standard output and error escape what their encoding lacks, and not fail on it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def can_show(text: str) -> bool:
    """Whether standard output shows a text as it is."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def as_argument(text: str) -> bytes:
    """The bytes that give a text again where they are a command's argument, in any terminal.

    Raises:
        UserError: If no argument can be this text, since the locale's encoding lacks a character.
    """
    try:
        return os.fsencode(text)
    except UnicodeEncodeError as error:
        raise UserError(
            f"{text!a}: the locale's encoding, {sys.getfilesystemencoding()}, lacks a character of "
            "this name, so that no command can be given it",
            "set LC_ALL=C.UTF-8",
        ) from error


def shown_path(path: Location) -> str:
    """A path on one line, from the working folder where it is below that."""
    if isinstance(path, Path) and path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return escape_to_one_line(str(path))


def standard_output() -> "Console":
    """Standard output; where no terminal folds lines, they are as long as they are."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = 1000
    return console


def progress_bar(*, quiet: bool = False) -> "Progress":
    """A bar on standard error, where that is a terminal."""
    from rich import progress

    console = _standard_error(quiet=quiet)
    return progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=console is None,
    )


@contextmanager
def progress_line(message: str, *, quiet: bool) -> Iterator[OnProgress]:
    """A line on standard error that changes, where that is a terminal."""
    console = _standard_error(quiet=quiet)
    if console is None:
        yield lambda _message: None
        return
    with console.status(message) as status:
        yield status.update


def _standard_error(*, quiet: bool) -> "Console | None":
    """Standard error, where progress can be drawn on it."""
    from rich.console import Console

    console = Console(stderr=True)
    redraws = not quiet and sys.stderr.isatty() and not console.is_dumb_terminal
    return console if redraws else None
