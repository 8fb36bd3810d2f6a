"""The command that makes shards in which every repository stands whole."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fim_assets.cli.corpus import read_settings
from fim_assets.cli.terminal import command, progress_bar, read_size, shown_path
from fim_assets.corpus.sources import find_shards, refuse_outputs, would_match
from fim_assets.errors import ShardError
from fim_assets.io.locations import Location, is_url, parse_output_url
from fim_assets.nothing_found import nothing_found
from fim_assets.recipe import load_recipe
from fim_assets.wording import escape_to_one_line, file_size, plural

if TYPE_CHECKING:
    from fim_assets.regroup.destination import Made
    from fim_assets.regroup.job import Outcome


@command(
    "fim-assets regroup 'raw/**/*.jsonl.zst' -o whole/raw",
    "FIM_WORKERS=2 fim-assets regroup 'raw/**/*.json*' --shard-size 64MiB --overwrite -o whole/raw",
)
@click.argument("documents", nargs=-1)
@click.option("-o", "--output", required=True, help="The folder to write shards to, or a URL.")
@click.option(
    "--shard-size",
    default="100MB",
    show_default=True,
    callback=read_size,
    metavar="SIZE",
    help="Lines in a shard, not compressed: 100MB, 64MiB or a number of bytes.",
)
@click.option("--overwrite", is_flag=True, help="Replace the shards that are there.")
def regroup(documents: tuple[str, ...], output: str, shard_size: int, *, overwrite: bool) -> None:
    """Make shards in which every repository stands whole, of those that DOCUMENTS match.

    DOCUMENTS are globs, URLs or manifests, by default raw.documents of the recipe, which also says
    in which field a line names its repository: repositories.name_field, else what raw.schema says,
    else metadata.repo_name. The lines of a repository stand one behind another, in the order in
    which they came, and every line is as it was. Lines without a repository follow, and are spread
    over all shards. Blank lines are left out.

    Shards are repositories-00000.jsonl.zst and on, each of at most --shard-size or of one larger
    repository, and always the same bytes. They are in their places once all are whole, with a
    manifest of them, repositories.tsv. The same command goes on where one ended that was killed.
    """
    settings = read_settings(quiet=True)
    recipe = load_recipe(settings.recipe)
    folder: Location = parse_output_url(output) if is_url(output) else Path(output).absolute()
    globs = documents or recipe.raw.documents
    shards = find_shards(globs, settings.input_root)
    if not shards:
        raise ShardError(*nothing_found(globs, settings))
    refuse_outputs(shards.values(), [folder])

    from fim_assets.regroup import regroup as work
    from fim_assets.regroup.write import Range

    first = folder / Range(0, 0, 0).name
    if glob := would_match(globs, settings.input_root, first):
        problem = f"{glob} would match the shards too, whose documents would count twice"
        raise ShardError(problem, "write to another folder", first)
    with progress_bar() as progress:

        def track(outcomes: "Iterable[Outcome]", total: int, what: str) -> "Iterable[Outcome]":
            return progress.track(outcomes, total, description=what)

        made, again = work.regroup(
            shards, recipe, folder, shard_size, settings, track, overwrite=overwrite
        )
    _show(made, recipe.repository_field, folder, again=again)
    if not made.lines:
        sys.exit(1)


def _show(made: "Made", field: str, folder: Location, *, again: bool) -> None:
    """Print what became of every line."""
    read, written = made.read, made.lines
    if again:
        click.echo("finished already, of the same inputs: nothing was done")
    click.echo(
        f"lines         {read.lines:,} of {plural(made.inputs, 'input')} = "
        f"{written:,} written + {read.blank:,} blank"
    )
    named = plural(written - read.unnamed, "line")
    click.echo(f"repositories  {made.repositories:,}, with {named}, each in one shard")
    field = escape_to_one_line(field)
    click.echo(f"others        {plural(read.unnamed, 'line')} without a name in {field}")
    if read.rejected:
        click.echo(f"rejected      {read.rejected:,} of these lines are no documents")
    size = f"{file_size(made.bytes)} of lines"
    click.echo(f"shards        {len(made.shards):,} in {shown_path(folder)}, {size}")
    if read.unnamed and read.unnamed == written:
        click.echo("warning       no line names its repository: see repositories.name_field")
    if made.shards:
        manifest = escape_to_one_line(f"{folder / 'repositories.tsv'}")
        click.echo(f'next          in the recipe, raw: {{documents: ["{manifest}"]}}')
