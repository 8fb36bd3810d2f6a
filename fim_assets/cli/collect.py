"""The command that makes shards of what people have: checkouts, folders and archives."""

import shlex
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fim_assets.cli.corpus import read_settings
from fim_assets.cli.terminal import (
    command,
    progress_bar,
    read_size,
    shown_path,
    standard_output,
)
from fim_assets.corpus.keys import KEY_RULE, fits
from fim_assets.errors import UserError
from fim_assets.io.locations import Location, is_remote, is_url
from fim_assets.wording import (
    escape_to_one_line,
    file_size,
    plural,
    shortened,
    shown_language,
    shown_name,
)

if TYPE_CHECKING:
    from fim_assets.collect.collect import LeftOut
    from fim_assets.collect.judge import Document

_NAMES_SHOWN = 8
_NAMED = ("unreadable", "outside")
"""Reasons for which files are told by name: a user can do something about them."""


def _prefix(_ctx: click.Context, _option: click.Parameter, value: str) -> str:
    if "/" in value or not fits(f"{value}-00000"):
        raise click.BadParameter(f"{value!r} is no begin of a partition key; {KEY_RULE}")
    return value


@command(
    "fim-assets collect my-project another.tar.gz -o mine/raw",
    "fim-assets collect my-project --prefix mine --max-file-size 500kB --overwrite -o mine/raw",
)
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, help="The folder to write shards to.")
@click.option(
    "--prefix",
    default="collected",
    show_default=True,
    callback=_prefix,
    help="How the names of shards begin.",
)
@click.option(
    "--shard-size",
    default="100MB",
    show_default=True,
    callback=read_size,
    metavar="SIZE",
    help="Text in a shard: 100MB, 64MiB or a number of bytes.",
)
@click.option(
    "--max-file-size",
    default="1MB",
    show_default=True,
    callback=read_size,
    metavar="SIZE",
    help="Larger files are left out.",
)
@click.option("--overwrite", is_flag=True, help="Replace all shards of this prefix.")
def collect(
    sources: tuple[Path, ...],
    output: str,
    prefix: str,
    shard_size: int,
    max_file_size: int,
    *,
    overwrite: bool,
) -> None:
    """Make shards of SOURCES: checkouts, folders, .tar (.gz, .bz2, .xz, .zst), .tgz and .zip.

    A document is a file: its text, the id that Git gives its content, and as metadata language,
    path in the repository, the repository's name and that of its licence's file. The default recipe
    reads them. Left out, and counted, is what .gitignore ignores, what Linguist or .gitattributes
    calls vendored or generated, binary, empty and larger files, what is neither UTF-8 nor UTF-16
    with a byte-order mark, links, and archives that are not named as SOURCES themselves.

    Shards are <prefix>-00000.jsonl.zst and on, each of at most --shard-size of text, and always
    the same bytes. They are in their places once all are whole. The exit status is 1 if there is no
    document.
    """
    if is_url(output):
        raise click.UsageError(f"--output {output}: shards are written to a folder of this machine")
    try:
        from fim_assets.collect.collect import collect_files
    except ImportError as error:
        raise UserError(
            f"the library of Linguist's rules, enry, is not there or cannot be loaded: {error}",
            "there are no wheels of it for Linux on ARM; collect on x86-64 or macOS, the shards "
            "can be used anywhere",
        ) from error
    from fim_assets.collect.judge import Document
    from fim_assets.collect.shards import new_shards

    settings, folder = read_settings(quiet=True), Path(output)
    taken, left_out = Taken(), LeftOutFiles(sources)
    with new_shards(folder, prefix, shard_size, overwrite=overwrite) as shards:
        files = collect_files(sources, folder, max_file_size)
        with progress_bar() as progress:
            for file in progress.track(files, total=None, description="collect"):
                if isinstance(file, Document):
                    shards.write(file.line, file.text_bytes)
                    taken.add(file)
                else:
                    left_out.add(file)
    left_out.show()
    taken.show(len(shards.paths), folder)
    if not taken.documents:
        sys.exit(1)
    click.echo(f"{'next':<11}{_next_step(folder, prefix, settings.input_root)}")


class Taken:
    """The documents, counted."""

    def __init__(self) -> None:
        self.documents = self.bytes = 0
        self.repositories: set[str] = set()
        self.languages: Counter[str] = Counter()

    def add(self, document: "Document") -> None:
        """Count a document."""
        self.documents += 1
        self.bytes += document.text_bytes
        self.repositories.add(document.repository)
        self.languages[document.language or ""] += 1

    def show(self, shards: int, folder: Path) -> None:
        """Print how many documents there are, where they are, and in which languages."""
        names = shortened(sorted(map(shown_name, self.repositories)), _NAMES_SHOWN)
        languages = [f"{shown_language(n)} {k:,}" for n, k in self.languages.most_common()]
        click.echo(f"documents  {self.documents:,}, {file_size(self.bytes)} of text")
        if self.documents:
            word = "repository" if len(self.repositories) == 1 else "repositories"
            click.echo(f"from       {len(self.repositories):,} {word}: {names}")
            click.echo(f"languages  {shortened(languages, _NAMES_SHOWN)}")
        click.echo(f"shards     {shards:,} in {shown_path(folder)}")


class LeftOutFiles:
    """What is left out, counted by reason."""

    def __init__(self, sources: Sequence[Path]) -> None:
        self.counts: Counter[str] = Counter()
        self.named: dict[str, list[str]] = {reason: [] for reason in _NAMED}
        self._sources = {path.resolve() for path in sources}
        self._archives: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, file: "LeftOut") -> None:
        """Count a file."""
        self.counts[file.reason] += 1
        if file.reason in self.named:
            self.named[file.reason].append(escape_to_one_line(file.name))
        if file.reason == "archive":
            self._add_archive(Path(file.name))

    def _add_archive(self, path: Path) -> None:
        """Remember an archive in a folder, which could be a source; in an archive, none can."""
        from fim_assets.collect.sources import ending_of_archive

        if path.parent.is_dir() and path.resolve() not in self._sources:
            glob = path.parent / f"*{ending_of_archive(path.name)}"
            self._archives[str(glob)].append(str(path))

    def show(self) -> None:
        """Print a table of reasons, and the names of files that a user may want to see to."""
        from rich import box
        from rich.table import Table

        from fim_assets.collect.judge import REASONS

        if not self.counts:
            return
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("left out")
        table.add_column("files", justify="right")
        table.add_column("why")
        for reason, why in REASONS.items():
            if self.counts[reason]:
                table.add_row(reason, f"{self.counts[reason]:,}", why)
        table.add_section()
        table.add_row("total", f"{self.counts.total():,}", "", style="bold")
        standard_output().print(table)
        for named, names in self.named.items():
            if names:
                click.echo(f"{named:<11}{shortened(names, _NAMES_SHOWN)}")
        if self._archives:
            number = plural(sum(map(len, self._archives.values())), "archive")
            globs = [glob if len(of) > 1 else of[0] for glob, of in self._archives.items()]
            shown = shortened([*map(escape_to_one_line, globs)], _NAMES_SHOWN)
            click.echo(f"warning    {number} not opened; name as sources those to collect: {shown}")


def _next_step(folder: Path, prefix: str, input_root: Location) -> str:
    """The command that looks at the shards, with what the default recipe needs to find them."""
    folder = folder.resolve()
    if not is_remote(input_root) and folder.is_relative_to(input_root.resolve() / "raw"):
        return "fim-assets doctor"
    root = shlex.quote(escape_to_one_line(str(folder.parent)))
    if folder.name == "raw":
        return f"FIM_DATA_ROOT={root} fim-assets doctor"
    documents = f"{escape_to_one_line(folder.name)}/{prefix}-*"
    return f'FIM_INPUT_ROOT={root} fim-assets doctor, with raw: {{documents: ["{documents}"]}}'
