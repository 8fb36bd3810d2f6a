"""`fim-assets`: what is quicker to ask in a terminal than in the Dagster UI."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from io import BufferedWriter, RawIOBase
from itertools import islice
from pathlib import Path
from typing import IO, ParamSpec, TypeVar

import click
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from fim_assets.fim.restore import count_record, restore_shard, write_lines
from fim_assets.pipeline import USER_ERRORS, Corpus, list_shards
from fim_assets.preview.documents import (
    document_at_line,
    document_with_id,
    encode_document,
    first_rearranged,
)
from fim_assets.preview.terminal import render, render_document, render_tokens
from fim_assets.receipts import read_receipt
from fim_assets.recipe import ASSETS, RecipeError, load_recipe
from fim_assets.sample import write_sample
from fim_assets.settings import Settings, SettingsError
from fim_assets.shards import ShardError
from fim_assets.sources import MANIFEST_SUFFIX, RawShard, find_shards, manifest_rows
from fim_assets.storage import Location, is_remote, is_url, parse_url, working_folder, write_bytes
from fim_assets.summary import build_summary
from fim_assets.tokens.reader import TokenArray
from fim_assets.tokens.tokenizer import TokenizerError, content_hash, find_tokenizer, load_tokenizer
from fim_assets.verify import keys_of_receipts, stale_report, strays, verify_partitions

_ROWS_SHOWN = 32
_KEYS_SHOWN = 8

P = ParamSpec("P")
R = TypeVar("R")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fim_assets")
def main() -> None:
    """Fill-in-the-middle data as Dagster assets: what is quicker to ask in a terminal.

    Settings come from the environment: FIM_DATA_ROOT, FIM_INPUT_ROOT, FIM_RECIPE, FIM_WORKERS,
    FIM_ENGINE.
    """


def _plain_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Show what a user can mend as one message, without a traceback."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except BrokenPipeError:
            raise  # click ends quietly where nobody reads on
        except (RecipeError, SettingsError, *USER_ERRORS) as error:
            raise click.ClickException(str(error)) from error

    return wrapped


@main.command()
@_plain_errors
def sample() -> None:
    """Write the sample corpus: this Python's standard library as shards under raw/."""
    folder = Settings.from_environment().input_root / "raw"
    if is_remote(folder):
        raise click.ClickException(f"{folder}: the sample is written to a folder of this machine")
    paths = write_sample(folder)
    size = sum(path.stat().st_size for path in paths)
    click.echo(f"{len(paths)} sample shards, {size / 1e6:.1f} MB, in {_shown(folder)}")


@main.command()
@click.option("--range", "as_range", is_flag=True, help="Print first...last for Dagster.")
@_plain_errors
def keys(*, as_range: bool) -> None:
    """Print the partition keys of the recipe's shards, one a line."""
    settings = Settings.from_environment()
    shards = list(_shards(_corpus(settings), settings))
    click.echo(f"{shards[0]}...{shards[-1]}" if as_range else "\n".join(shards))


@main.command()
@click.argument("documents", nargs=-1, required=True)
@click.option("-o", "--output", required=True, help="The manifest to write: a path or URL, .tsv.")
@click.option("--hash", "content", is_flag=True, help="Read and hash shards on object storage too.")
@_plain_errors
def manifest(documents: tuple[str, ...], output: str, *, content: bool) -> None:
    """List the shards that DOCUMENTS, globs or URLs, match now, and pin them in a manifest.

    Named in raw.documents, it takes the place of the globs: nothing is listed when definitions
    load, and a shard that has changed or is gone is an error where it is read. Files are pinned by
    size and content hash; objects by size and ETag, with --hash by their content hash too, so that
    a complete partition is told without reading its shard.
    """
    if not output.endswith(MANIFEST_SUFFIX):
        raise click.UsageError(f"--output {output}: a manifest's name ends in {MANIFEST_SUFFIX}")
    settings = Settings.from_environment()
    shards = find_shards(documents, settings.input_root)
    if not shards:
        raise click.ClickException(f"no shard found: {', '.join(documents)}")
    with _progress() as progress:
        rows = manifest_rows(shards, content=content)
        text = "".join(progress.track(rows, len(shards) + 1, description="manifest"))
    write_bytes(parse_url(output) if is_url(output) else Path(output), text.encode())
    size = sum(int(row.split("\t")[2]) for row in text.splitlines()[1:])
    click.echo(f"{len(shards):,} shards, {size / 1e6:,.1f} MB, in {output}")


@main.command()
@_plain_errors
def summary() -> None:
    """Print what the complete partitions hold, and where it lies."""
    settings = Settings.from_environment()
    corpus = _corpus(settings)
    shards = list(_shards(corpus, settings))
    incomplete = build_summary(corpus, shards).partitions.incomplete
    rows = {key: _numbers(corpus, key) for key in shards if key not in incomplete}
    table = Table(
        title=f"{len(rows):,} of {len(shards):,} partitions are complete",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("partition", overflow="fold")
    for name in _COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for key, row in islice(rows.items(), _ROWS_SHOWN):
        table.add_row(key, *_cells(row))
    if len(rows) > _ROWS_SHOWN:
        table.add_row(f"… {len(rows) - _ROWS_SHOWN:,} more")
    table.add_section()
    table.add_row("total", *_cells(sum(rows.values(), Counter())), style="bold")
    Console().print(table)
    for key, reason in islice(incomplete.items(), _ROWS_SHOWN):
        click.echo(f"incomplete  {key}: {reason}")
    if len(incomplete) > _ROWS_SHOWN:
        click.echo(f"incomplete  … {len(incomplete) - _ROWS_SHOWN:,} more")
    click.echo(f"arrays   {_shown(corpus.folder('token_arrays'))}")
    click.echo(f"report   {_shown(corpus.folder('corpus_report') / 'report.html')}")
    click.echo("next     open the report in a browser; `make dev` shows lineage and metadata")


@main.command()
@click.argument("keys", nargs=-1)
@_plain_errors
def verify(keys: tuple[str, ...]) -> None:
    """Hold receipts against the files: sizes and hashes, of outputs and of the raw shards.

    KEYS are partitions; without any, all that have receipts are looked at, and files that no
    receipt lists are faults too. What does not agree is printed, and the exit status is 1.
    """
    settings = Settings.from_environment()
    corpus = _corpus(settings)
    shards = list_shards(corpus, settings.input_root)
    found = keys_of_receipts(corpus)
    unknown = [key for key in keys if key not in shards and key not in found]
    if unknown:
        raise click.ClickException(f"{', '.join(unknown)}: no such partition")
    chosen = list(dict.fromkeys(keys)) if keys else sorted(found)
    with _progress() as progress:
        verdicts = list(
            progress.track(
                verify_partitions(corpus, shards, chosen, settings.workers),
                len(chosen),
                description="verify",
            )
        )
    faults = [fault for verdict in verdicts for fault in verdict.faults]
    if not keys:
        faults += [*strays(corpus, verdicts), *stale_report(corpus, shards)]
    for fault in faults:
        click.echo(f"fault  {fault}")
    receipts = Counter(asset for verdict in verdicts for asset in verdict.receipts)
    for asset in ASSETS:
        expected = len(chosen) if keys else len(shards)
        click.echo(f"{asset:<14} {receipts[asset]:,} of {expected:,} partitions have a receipt")
    size = sum(verdict.bytes for verdict in verdicts)
    click.echo(
        f"{sum(verdict.files for verdict in verdicts):,} files with {size / 1e6:,.1f} MB were "
        f"read: {f'{len(faults):,} faults' if faults else 'all agree'}"
    )
    if faults:
        sys.exit(1)


@main.command()
@click.argument("shard")
@click.option("--line", type=click.IntRange(min=1), help="The document at this line, 1-based.")
@click.option("--id", "identifier", help="The first document with this id.")
@click.option("--tokens/--no-tokens", default=True, help="Show the tokens too (the default).")
@_plain_errors
def preview(shard: str, *, line: int | None, identifier: str | None, tokens: bool) -> None:
    """Show what the recipe does to a document of SHARD.

    SHARD is a partition key or the path of a raw shard. Without --line or --id, the document is the
    first one with a rearranged file. Nothing is written, and nothing needs to be materialized.
    """
    if line is not None and identifier is not None:
        raise click.UsageError("--line and --id name a document each; give one of them")
    settings = Settings.from_environment()
    recipe = load_recipe(settings.recipe)
    # No output is looked at, so that the tokenizer's hash is not needed: it may not be there.
    shards = _shards(Corpus(recipe, "", settings.data_root), settings)
    key, source = _find_shard(shard, shards)
    seed = recipe.partition_seed(key)
    console = Console(highlight=False)
    title = Text.assemble(
        (key, "bold"), f" · partition seed {seed:016x} · recipe {settings.recipe}"
    )
    with working_folder() as folder, _named_as(source, folder):
        path = source.bring(folder)
        if line is not None:
            document = document_at_line(path, seed, recipe, line)
        elif identifier is not None:
            document = document_with_id(path, seed, recipe, identifier)
        else:
            document = first_rearranged(path, seed, recipe)
            title.append("\nthe first document with a rearranged file")
    console.print(title, render(document, recipe.fim), sep="\n")
    if not tokens:
        return
    console.print()
    try:
        tokenizer = load_tokenizer(recipe)
    except TokenizerError as error:
        console.print(Text(f"no tokens: {' '.join(str(error).split())}"))
    else:
        encoded = encode_document(document, recipe.fim, tokenizer)
        console.print(render_tokens(encoded, tokenizer))


@main.command()
@click.argument("shard", type=click.Path(path_type=Path))
@click.argument("parquet", type=click.Path(path_type=Path))
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="A new file, packed as its name ends (.zst, .gz); else standard output, not packed.",
)
@_plain_errors
def restore(shard: Path, parquet: Path, *, output: Path | None) -> None:
    """Give back the original documents of a FIM SHARD, from it and its PARQUET alone.

    They come as JSON lines in the raw shard's order. Its blank and rejected lines are not among
    them, since no FIM shard holds these.
    """
    counts = count_record(parquet)
    with _progress(quiet=output is None and sys.stdout.isatty()) as progress:
        lines = progress.track(
            restore_shard(shard, parquet), counts.documents, description=shard.name
        )
        if output is not None:
            write_lines(lines, output)
        else:
            stream: IO[bytes] = sys.stdout.buffer
            if isinstance(stream, RawIOBase):
                # Python runs unbuffered: a raw stream may take a part of what it is given.
                stream = BufferedWriter(stream)
            for restored in lines:
                stream.write(restored + b"\n")
            stream.flush()
    click.echo(
        f"{counts.documents:,} documents, {counts.rearranged:,} rearranged files put back", err=True
    )


@main.command()
@click.argument("array", type=click.Path(path_type=Path))
@click.option("--document", "number", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--tokens", is_flag=True, help="Show ids below each text.")
@_plain_errors
def show(array: Path, *, number: int, tokens: bool) -> None:
    """Show a document of a token ARRAY, decoded, its parts in colour.

    ARRAY is a file that token_arrays wrote, in any layout; --document counts its documents from 0.
    The tokenizer is the recipe's, and must be the one that made the array.
    """
    documents = TokenArray(array)
    recipe = load_recipe(Settings.from_environment().recipe)
    found = content_hash(find_tokenizer(recipe.tokens.tokenizer))
    if found != documents.tokenizer_hash:
        raise click.ClickException(
            f"{array}: made with another tokenizer (content hash {documents.tokenizer_hash}) than "
            f"the recipe's, {recipe.tokens.tokenizer.name_or_path} ({found}); set FIM_RECIPE to "
            "the recipe that made it"
        )
    if number >= len(documents):
        raise click.ClickException(
            f"{array}: no document {number:,}; it holds {len(documents):,}, counted from 0"
        )
    console = Console(highlight=False)
    tokenizer = load_tokenizer(recipe)
    console.print(render_document(documents[number], number, tokenizer, tokens=tokens))


def _progress(*, quiet: bool = False) -> Progress:
    """A bar on standard error, where that is a terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=quiet or not sys.stderr.isatty(),
    )


@contextmanager
def _named_as(source: RawShard, folder: Path) -> Iterator[None]:
    """Name a shard in errors as the user knows it, not as the file that was fetched."""
    try:
        yield
    except ShardError as error:
        fetched = str(folder / source.location.name)
        raise ShardError(str(error).replace(fetched, str(source))) from error


def _find_shard(key_or_path: str, shards: dict[str, RawShard]) -> tuple[str, RawShard]:
    if key_or_path in shards:
        return key_or_path, shards[key_or_path]
    wanted = str(Path(key_or_path).expanduser().resolve())
    for key, shard in shards.items():
        location = shard.location
        if key_or_path == str(shard) or (
            not is_remote(location) and str(location.resolve()) == wanted
        ):
            return key, shard
    some = ", ".join(islice(shards, _KEYS_SHOWN))
    more = f" and {len(shards) - _KEYS_SHOWN:,} more" if len(shards) > _KEYS_SHOWN else ""
    raise click.ClickException(
        f"{key_or_path}: no partition key, and no path of a shard of the recipe; keys: {some}{more}"
    )


def _corpus(settings: Settings) -> Corpus:
    recipe = load_recipe(settings.recipe)
    tokenizer = find_tokenizer(recipe.tokens.tokenizer)
    return Corpus(recipe, content_hash(tokenizer), settings.data_root)


_COLUMNS = ("documents", "rejected", "rearranged", "PSM share", "tokens", "tokens/s")


def _numbers(corpus: Corpus, key: str) -> Counter[str]:
    fim = read_receipt(corpus.place("fim_shards", key))
    tokens = read_receipt(corpus.place("token_arrays", key))
    numbers: Counter[str] = Counter()
    if fim is not None:
        result = fim.result
        numbers.update(documents=result.documents, rejected=result.rejected)
        numbers.update(
            {name: result.counts[name] for name in ("psm", "spm", "not_selected", "gate")}
        )
    if tokens is not None:
        numbers.update(tokens=tokens.result.tokens or 0)
        numbers.update(microseconds=round(tokens.made.seconds * 1e6))
    return numbers


def _cells(numbers: Counter[str]) -> list[str]:
    """Shares are of files long enough to cut; tokens/s is one worker's."""
    rearranged = numbers["psm"] + numbers["spm"]
    return [
        f"{numbers['documents']:,}",
        f"{numbers['rejected']:,}",
        _percent(rearranged, rearranged + numbers["not_selected"] + numbers["gate"]),
        _percent(numbers["psm"], rearranged),
        f"{numbers['tokens']:,}",
        _rate(numbers["tokens"], numbers["microseconds"] / 1e6),
    ]


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.2%}" if whole else "–"


def _rate(count: int, seconds: float) -> str:
    return f"{count / seconds / 1e6:.1f} M" if seconds else "–"


def _shards(corpus: Corpus, settings: Settings) -> dict[str, RawShard]:
    shards = list_shards(corpus, settings.input_root)
    if not shards:
        globs = ", ".join(corpus.recipe.raw.documents)
        raise click.ClickException(f"no shard found: {globs} below {settings.input_root}")
    return shards


def _shown(path: Location) -> str:
    here = Path.cwd()
    if is_remote(path):
        return str(path)
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
