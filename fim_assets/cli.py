"""`fim-assets`: what is quicker to ask in a terminal than in the Dagster UI."""

from collections import Counter
from collections.abc import Callable
from functools import wraps
from itertools import islice
from pathlib import Path
from typing import ParamSpec, TypeVar

import click
from rich import box
from rich.console import Console
from rich.table import Table

from fim_assets.pipeline import USER_ERRORS, Corpus, list_shards
from fim_assets.receipts import read_receipt
from fim_assets.recipe import RecipeError, load_recipe
from fim_assets.report import build_summary
from fim_assets.sample import write_sample
from fim_assets.settings import Settings, SettingsError
from fim_assets.tokens.tokenizer import content_hash, find_tokenizer

_ROWS_SHOWN = 32

P = ParamSpec("P")
R = TypeVar("R")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fim_assets")
def main() -> None:
    """Fill-in-the-middle data as Dagster assets: what is quicker to ask in a terminal.

    Settings come from the environment: FIM_DATA_ROOT, FIM_INPUT_ROOT, FIM_RECIPE, FIM_WORKERS.
    """


def _plain_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Show what a user can mend as one message, without a traceback."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except (RecipeError, SettingsError, *USER_ERRORS) as error:
            raise click.ClickException(str(error)) from error

    return wrapped


@main.command()
@_plain_errors
def sample() -> None:
    """Write the sample corpus: this Python's standard library as shards under raw/."""
    folder = Settings.from_environment().input_root / "raw"
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


def _corpus(settings: Settings) -> Corpus:
    recipe = load_recipe(settings.recipe)
    tokenizer = find_tokenizer(recipe.tokens.tokenizer.name_or_path)
    return Corpus(recipe, content_hash(tokenizer), settings.data_root)


_COLUMNS = ("documents", "rejected", "rearranged", "PSM share", "tokens", "tokens/s")


def _numbers(corpus: Corpus, key: str) -> Counter[str]:
    fim = read_receipt(corpus.place("fim_shards", key))
    tokens = read_receipt(corpus.place("token_arrays", key))
    numbers: Counter[str] = Counter()
    if fim is not None:
        result = fim.result
        numbers.update(documents=result.documents, rejected=result.rejected)
        numbers.update({name: result.counts[name] for name in ("psm", "spm", "not_selected")})
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
        _percent(rearranged, rearranged + numbers["not_selected"]),
        _percent(numbers["psm"], rearranged),
        f"{numbers['tokens']:,}",
        _rate(numbers["tokens"], numbers["microseconds"] / 1e6),
    ]


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.2%}" if whole else "–"


def _rate(count: int, seconds: float) -> str:
    return f"{count / seconds / 1e6:.1f} M" if seconds else "–"


def _shards(corpus: Corpus, settings: Settings) -> dict[str, Path]:
    shards = list_shards(corpus, settings.input_root)
    if not shards:
        globs = ", ".join(corpus.recipe.raw.documents)
        raise click.ClickException(f"no shard found: {globs} below {settings.input_root}")
    return shards


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
