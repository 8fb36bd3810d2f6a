"""`fim-assets`: what is quicker to ask in a terminal than in the Dagster UI.

What a command needs it imports itself, so that help, keys and completion answer at once.
"""

import logging
import os
import shlex
import shutil
import sys
import traceback
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BufferedWriter, RawIOBase
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from fim_assets.cli.completion import SHELLS, array_files, completion_script, keys_and_shards
from fim_assets.cli.streams import as_argument, show_every_character
from fim_assets.wording import escape_control_characters, escape_to_one_line, plural

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from fim_assets.corpus.corpus import Corpus
    from fim_assets.corpus.sources import RawShard
    from fim_assets.corpus_report.summary import CorpusTotals, Summary
    from fim_assets.io.storage import Location
    from fim_assets.recipe import Recipe
    from fim_assets.settings import Settings

_ROWS_SHOWN = 32
_KEYS_SHOWN = 8
_INTERRUPTED = 130
_NARROW = 76

_SECTIONS = {
    "Before a run": ("sample", "keys", "manifest", "preview", "doctor"),
    "After a run": ("summary", "show", "verify", "restore"),
    "In the shell": ("completion",),
}

_SETTINGS = {
    "FIM_DATA_ROOT": "Folder or URL that holds all outputs; by default data in the repository.",
    "FIM_INPUT_ROOT": "Where relative globs in raw.documents start; by default the data root.",
    "FIM_RECIPE": "A built-in recipe's name or a YAML file; by default olmo_midtraining.",
    "FIM_WORKERS": "Partitions worked on at once in a run; by default one a core.",
    "FIM_ENGINE": "Who works on them: local, or ray, a cluster.",
    "FIM_PARTITIONS_PER_RUN": "Partitions of a backfill that one run takes; by default all.",
}


class _Commands(click.Group):
    """Commands in sections, whose errors are one message and whose output acts on no terminal."""

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands, section by section."""
        width = max(map(len, self.commands))
        for section, names in _SECTIONS.items():
            rows = [
                (name.ljust(width), self.commands[name].get_short_help_str(limit=100))
                for name in names
            ]
            with formatter.section(section):
                formatter.write_dl(rows)
        with formatter.section("Settings, from the environment"):
            formatter.write_dl(list(_SETTINGS.items()))

    def main(self, *args: Any, **options: Any) -> Any:
        """Run as a command, in a terminal of whatever encoding."""
        show_every_character()
        return super().main(*args, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what a user can mend is one message, a fault of the program a traceback.

        Such a fault may not come twice, so that its traceback is shown where it comes.
        """
        if ctx.params["debug"]:
            return super().invoke(ctx)
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(_INTERRUPTED)
        except click.UsageError as error:
            raise click.UsageError(
                escape_control_characters(error.format_message()), error.ctx
            ) from error
        except click.ClickException as error:
            raise click.ClickException(escape_control_characters(error.message)) from error
        except (click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click ends quietly where nobody reads on
        except Exception as error:
            if isinstance(error, _user_errors()):
                raise click.ClickException(escape_control_characters(str(error))) from error
            click.echo(escape_control_characters(traceback.format_exc()), err=True, nl=False)
            raise click.ClickException(
                "this is a fault of fim-assets, not of what it was given; please report it with "
                "the lines above"
            ) from error


class _OnOneLine(logging.Formatter):
    """What the project warns of in the log, which a command shows on standard error."""

    def format(self, record: logging.LogRecord) -> str:
        return f"{record.levelname.capitalize()}: {escape_to_one_line(record.getMessage())}"


def _user_errors() -> tuple[type[Exception], ...]:
    """The errors whose message says all that a user needs."""
    from fim_assets.recipe.errors import RecipeError
    from fim_assets.run.partition import USER_ERRORS
    from fim_assets.settings import SettingsError

    return (RecipeError, SettingsError, *USER_ERRORS)


def _examples(*lines: str) -> str:
    """A command's epilog, whose lines a test runs."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


def _folders(_ctx: click.Context, _option: click.Parameter, value: str) -> tuple[str, ...]:
    folders = tuple(value.rstrip("/").split("/")) if value else ()
    if not {"", ".", ".."}.isdisjoint(folders):
        raise click.BadParameter(f"{value}: give the parts of a key_prefix joined by /, as a/b")
    return folders


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`fim-assets COMMAND --help` explains a command, with examples.",
)
@click.option("--debug", is_flag=True, help="Show a traceback with every error.")
@click.option(
    "--key-prefix",
    default="",
    callback=_folders,
    metavar="A/B",
    help="The corpus that build_definitions made with this key_prefix; its recipe is FIM_RECIPE's.",
)
@click.version_option(package_name="fim_assets")
def main(*, debug: bool, key_prefix: tuple[str, ...]) -> None:
    """Fill-in-the-middle data as Dagster assets: what is quicker to ask in a terminal."""
    del debug, key_prefix  # `_Commands` and `_key_prefix` look at them
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_OnOneLine())


@main.command(epilog=_examples("fim-assets sample"))
def sample() -> None:
    """Write the sample corpus: this Python's standard library.

    It lies in shards under raw/ of the input root, and needs no download.
    """
    from fim_assets.io.storage import is_remote
    from fim_assets.raw_shards.sample import write_sample

    folder = _settings().input_root / "raw"
    if is_remote(folder):
        raise click.ClickException(f"{folder}: the sample is written to a folder of this machine")
    paths = write_sample(folder)
    size = sum(path.stat().st_size for path in paths)
    click.echo(f"{len(paths)} sample shards, {size / 1e6:.1f} MB, in {_shown(folder)}")


@main.command(
    epilog=_examples(
        "fim-assets keys",
        "fim-assets keys | wc -l",
        "dagster asset materialize -m fim_assets.definitions --select '*' \\\n"
        '      --partition-range "$(fim-assets keys --range)"',
    )
)
@click.option("--range", "as_range", is_flag=True, help="Print first...last for Dagster.")
def keys(*, as_range: bool) -> None:
    """Print the partition keys of the recipe's shards, one a line."""
    from fim_assets.corpus.sources import find_shards, refuse_outputs
    from fim_assets.recipe import ASSETS, load_recipe

    settings = _settings()
    documents = load_recipe(settings.recipe).raw.documents
    shards = find_shards(documents, settings.input_root)
    folder = settings.data_root.joinpath(*_key_prefix())
    refuse_outputs(shards.values(), (folder / asset for asset in ASSETS))
    _refuse_none(shards, documents, settings)
    try:
        click.echo(as_argument(_range(list(shards)) if as_range else "\n".join(shards)))
    except ValueError as error:
        raise click.ClickException(str(error)) from error


@main.command(
    epilog=_examples(
        "fim-assets manifest 'raw/**/*.json*' -o shards.tsv",
        "fim-assets manifest --hash 'raw/*.jsonl.zst' 'raw/*.jsonl' -o shards.tsv",
    )
)
@click.argument("documents", nargs=-1, required=True)
@click.option("-o", "--output", required=True, help="The manifest to write: a path or URL, .tsv.")
@click.option("--hash", "content", is_flag=True, help="Read and hash shards on object storage too.")
def manifest(documents: tuple[str, ...], output: str, *, content: bool) -> None:
    """List the shards that DOCUMENTS, globs or URLs, match now, and pin them in a manifest.

    Named in raw.documents, it takes the place of the globs: nothing is listed when definitions
    load, and a shard that has changed or is gone is an error where it is read. Files are pinned by
    size and content hash; objects by size and ETag, with --hash by their content hash too, so that
    a complete partition is told without reading its shard.
    """
    from fim_assets.corpus.sources import MANIFEST_SUFFIX, find_shards, manifest_rows
    from fim_assets.io.storage import is_url, parse_url, write_bytes

    if not output.endswith(MANIFEST_SUFFIX):
        raise click.UsageError(f"--output {output}: a manifest's name ends in {MANIFEST_SUFFIX}")
    settings = _settings()
    shards = find_shards(documents, settings.input_root)
    _refuse_none(shards, documents, settings)
    with _progress() as progress:
        rows = manifest_rows(shards, content=content)
        text = "".join(progress.track(rows, len(shards) + 1, description="manifest"))
    write_bytes(parse_url(output) if is_url(output) else Path(output), text.encode())
    size = sum(int(row.split("\t")[2]) for row in text.splitlines()[1:])
    click.echo(
        f"{plural(len(shards), 'shard')}, {size / 1e6:,.1f} MB, in {escape_to_one_line(output)}"
    )


@main.command(
    epilog=_examples(
        "fim-assets doctor",
        "FIM_WORKERS=2 fim-assets doctor --json",
    )
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, by which a job can size itself.")
def doctor(*, as_json: bool) -> None:
    """Look before a long run whether all is in order, and estimate what it will take.

    Recipe, shards, tokenizer, storage, engine, Dagster's settings and packages are looked at, and
    every stage is really run on some lines of a few shards, in a temporary folder. What must be
    mended before a run gives the exit status 1; a warning does not. Nothing stays behind but the
    proof of the tokenizer's engine, which the run would make too.
    """
    import orjson

    from fim_assets.cli.doctor import examine
    from fim_assets.cli.findings import Report, render_estimate, render_finding

    report = Report()
    console = _console()
    with _waiting("looking …", quiet=as_json) as say:
        for finding in examine(os.environ, report, say, _key_prefix()):
            if not as_json:
                console.print(render_finding(finding, console.is_terminal), soft_wrap=True)
    if as_json:
        click.echo(orjson.dumps(report, option=orjson.OPT_INDENT_2))
    elif report.estimate is not None:
        console.print()
        console.print(render_estimate(report.estimate), soft_wrap=True)
    if not as_json:
        console.print()
        console.print(report.verdict, style="bold", soft_wrap=True)
    if not report.can_start:
        sys.exit(1)


@main.command(epilog=_examples("fim-assets summary"))
def summary() -> None:
    """Print what the complete partitions hold, where it lies, and what to do next.

    The exit status is 1 if no partition is complete.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from fim_assets.corpus_report.gather import gather

    settings = _settings()
    corpus = _corpus(settings)
    shards = list(_shards(corpus, settings))
    gathered = gather(corpus, shards, _ROWS_SHOWN)
    found = gathered.summary
    complete, incomplete = found.partitions.complete, found.partitions.incomplete
    console = _console()
    columns = _COLUMNS if console.width >= _NARROW else _FEW_COLUMNS
    table = Table(
        title=f"{complete:,} of {plural(len(shards), 'partition')} complete",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("partition", overflow="fold")
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for its in gathered.partitions:
        table.add_row(Text(its.key), *_cells(its.totals, its.seconds["token_arrays"], columns))
    if complete > _ROWS_SHOWN:
        table.add_row(f"… {complete - _ROWS_SHOWN:,} more")
    table.add_section()
    seconds = gathered.made.seconds["token_arrays"]
    table.add_row("total", *_cells(found.totals, seconds, columns), style="bold")
    console.print(table)
    for key, reason in islice(incomplete.items(), _ROWS_SHOWN):
        click.echo(f"incomplete  {key}: {escape_to_one_line(reason)}")
    if len(incomplete) > _ROWS_SHOWN:
        click.echo(f"incomplete  … {len(incomplete) - _ROWS_SHOWN:,} more")
    if empty := found.partitions.empty:
        more = f" and {len(empty) - _KEYS_SHOWN:,} more" if len(empty) > _KEYS_SHOWN else ""
        named = f"{', '.join(empty[:_KEYS_SHOWN])}{more}"
        click.echo(f"empty       {plural(len(empty), 'partition')} without a document: {named}")
    for warning in found.warnings:
        click.echo(f"warning  {escape_to_one_line(warning)}")
    first = gathered.partitions[0].key if gathered.partitions else None
    for name, line in _next_steps(settings, corpus, found, shards, first):
        click.echo(f"{name:<9}{line}")
    if not complete:
        sys.exit(1)


def _next_steps(
    settings: "Settings",
    corpus: "Corpus",
    summary: "Summary",
    shards: list[str],
    first: str | None,
) -> Iterator[tuple[str, str]]:
    """Where things are and what to do next, as lines with a name."""
    from fim_assets.io.storage import is_remote
    from fim_assets.run.verify import other_prefixes, stale_report
    from fim_assets.settings import REPOSITORY, in_repository

    report = corpus.folder("corpus_report") / "report.html"
    materialize = f"dagster asset materialize {corpus.definitions} --select"
    if settings.partitions_per_run:
        materialize = f"env -u FIM_PARTITIONS_PER_RUN {materialize}"
    arrays = [corpus.data_root.joinpath(*array.path.split("/")) for array in summary.arrays]
    stale = not report.exists() or any(stale_report(corpus, summary.arrays))
    if first is not None:
        folder = _shown(corpus.folder("token_arrays"))
        yield "arrays", f"{folder}  ({plural(len(arrays), 'file')})"
        yield "report", f"{_shown(report)}{'  (not made yet, or not of these partitions)' * stale}"
    steps = []
    if shutil.which("fim-assets") is None and Path(".venv/bin/activate").is_file():
        steps.append((". .venv/bin/activate", "puts fim-assets and dagster on the path"))
    if summary.partitions.incomplete:
        every = f"{corpus.selection('*')} --partition-range {shlex.quote(_range(shards))}"
        steps.append((f"{materialize} {every}", ""))
    elif stale:
        steps.append((f"{materialize} {corpus.selection('corpus_report')}", "makes the report"))
    else:
        steps.append(("open the report in a browser", ""))
    if first is not None:
        steps.append((f"{corpus.command} preview {shlex.quote(first)}", "before and after"))
    if arrays and not is_remote(arrays[0]):
        steps.append((f"fim-assets show {shlex.quote(_shown(arrays[0]))}", "a document, decoded"))
    others = () if first is not None else other_prefixes(corpus)
    steps += [
        (f"fim-assets --key-prefix {shlex.quote(o)} summary", "another corpus") for o in others
    ]
    here = in_repository() and Path.cwd() == REPOSITORY and not corpus.prefix
    serve = "make dev" if here else f"dagster dev {corpus.definitions}"
    author = "; FILE.py calls build_definitions" if corpus.prefix else ""
    steps.append((serve, f"lineage, metadata and checks in a browser{author}"))
    width = max(len(step) for step, why in steps if why and len(step) < _NARROW)
    for number, (step, why) in enumerate(steps):
        yield "next" if not number else "", f"{step:<{width}}   {why}".rstrip()


@main.command(epilog=_examples("fim-assets verify", "fim-assets verify stdlib-0"))
@click.argument("keys", nargs=-1, shell_complete=keys_and_shards)
def verify(keys: tuple[str, ...]) -> None:
    """Hold receipts against the files: sizes and hashes, of outputs and of the raw shards.

    KEYS are partitions; without any, all that have receipts are looked at, and files that no
    receipt lists are faults too. What does not agree is printed, and the exit status is 1.
    """
    from fim_assets.corpus.corpus import list_shards
    from fim_assets.corpus_report.gather import build_summary
    from fim_assets.recipe import ASSETS
    from fim_assets.run.verify import begun_keys, stale_report, unlisted_files, verify_partitions

    settings = _settings()
    corpus = _corpus(settings)
    shards = list_shards(corpus, settings.input_root)
    found = begun_keys(corpus)
    unknown = [key for key in keys if key not in shards and key not in found]
    if unknown:
        raise click.ClickException(f"{', '.join(unknown)}: no partition key; {_some(shards)}")
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
        complete = build_summary(corpus, list(shards)).arrays
        faults += [*unlisted_files(corpus, verdicts), *stale_report(corpus, complete)]
    for fault in faults:
        click.echo(f"fault  {escape_to_one_line(fault)}")
    # A partition whose shard is gone is a fault, and not one of those that there should be.
    expected_keys = {*chosen} if keys else shards.keys()
    receipts = Counter(
        asset for verdict in verdicts if verdict.key in expected_keys for asset in verdict.receipts
    )
    for asset in ASSETS:
        expected = plural(len(expected_keys), "partition")
        click.echo(f"{asset:<14} {receipts[asset]:,} of {expected} with a receipt")
    files = plural(sum(verdict.files for verdict in verdicts), "file")
    size = sum(verdict.bytes for verdict in verdicts)
    told = plural(len(faults), "fault") if faults else "all agree"
    click.echo(f"read {files} with {size / 1e6:,.1f} MB: {told}")
    if faults:
        sys.exit(1)


@main.command(
    epilog=_examples(
        "fim-assets preview stdlib-0",
        "fim-assets preview stdlib-0 --line 12 --no-tokens",
        "fim-assets preview data/raw/stdlib-0.jsonl.zst --id __future__.py",
    )
)
@click.argument("shard", shell_complete=keys_and_shards)
@click.option("--line", type=click.IntRange(min=1), help="The document at this line, 1-based.")
@click.option("--id", "identifier", help="The first document with this id.")
@click.option("--tokens/--no-tokens", default=True, help="Show the tokens too (the default).")
def preview(shard: str, *, line: int | None, identifier: str | None, tokens: bool) -> None:
    """Show what the recipe does to a document of SHARD.

    SHARD is a partition key or the path of a raw shard. Without --line or --id, the document is the
    first one with a rearranged file. Nothing is written, and nothing needs to be materialized.
    """
    if line is not None and identifier is not None:
        raise click.UsageError("--line and --id name a document each; give one of them")
    from rich.text import Text

    from fim_assets.corpus.corpus import Corpus
    from fim_assets.io.storage import working_folder
    from fim_assets.preview.documents import (
        document_at_line,
        document_with_id,
        encode_document,
        first_rearranged,
    )
    from fim_assets.preview.terminal import render, render_tokens
    from fim_assets.recipe import load_recipe
    from fim_assets.tokenizer.encoders import UnencodableTextError
    from fim_assets.tokenizer.load import TokenizerError, load_tokenizer

    settings = _settings()
    recipe = load_recipe(settings.recipe)
    # No output is looked at, so that the tokenizer's hash is not needed: it may not be there.
    shards = _shards(Corpus(recipe, "", settings.data_root, _key_prefix()), settings)
    key, source = _find_shard(shard, shards)
    seed = recipe.partition_seed(key)
    console = _console()
    title = Text.assemble(
        (key, "bold"),
        f" · partition seed {seed:016x} · recipe {escape_to_one_line(settings.recipe)}",
    )
    with working_folder() as folder, _named_as(source, folder):
        path = source.fetch(folder)
        if line is not None:
            document = document_at_line(path, seed, recipe, line)
        elif identifier is not None:
            document = document_with_id(path, seed, recipe, identifier)
        else:
            document = first_rearranged(path, seed, recipe)
            title.append("\nthe first document with a rearranged file")
    piped = not console.is_terminal
    console.print(title, render(document, recipe.fim), sep="\n", soft_wrap=piped)
    if not tokens:
        return
    console.print()
    try:
        tokenizer = load_tokenizer(recipe)
        encoded = encode_document(document, recipe.fim, tokenizer)
    except (TokenizerError, UnencodableTextError) as error:
        console.print(Text(f"no tokens: {escape_control_characters(' '.join(str(error).split()))}"))
    else:
        console.print(render_tokens(encoded, tokenizer))


@main.command(
    epilog=_examples(
        "shard=data/fim_shards/stdlib-0",
        "fim-assets restore $shard.jsonl.zst $shard.parquet | head -n 1",
        "fim-assets restore $shard.jsonl.zst $shard.parquet --output original.jsonl.zst",
    )
)
@click.argument("shard", type=click.Path(path_type=Path))
@click.argument("parquet", type=click.Path(path_type=Path))
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="A new file, packed as its name ends (.zst, .gz); else standard output, not packed.",
)
def restore(shard: Path, parquet: Path, *, output: Path | None) -> None:
    """Give back the original documents of a FIM SHARD, from it and its PARQUET alone.

    They come as JSON lines in the raw shard's order. Its blank and rejected lines are not among
    them, since no FIM shard holds these.
    """
    from fim_assets.fim_shards.restore import count_record, restore_shard, write_lines

    counts = count_record(parquet)
    with _progress(quiet=output is None and sys.stdout.isatty()) as progress:
        lines = progress.track(
            restore_shard(shard, parquet),
            counts.documents,
            description=escape_to_one_line(shard.name),
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
        f"{plural(counts.documents, 'document')}, "
        f"{plural(counts.rearranged, 'rearranged file')} put back",
        err=True,
    )


@main.command(
    epilog=_examples(
        "fim-assets show stdlib-0",
        "fim-assets show data/token_arrays/stdlib-0-00000.npy --document 3 --tokens",
    )
)
@click.argument("array", type=click.Path(path_type=Path), shell_complete=array_files)
@click.option("--document", "number", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--tokens", is_flag=True, help="Show ids below each text.")
def show(array: Path, *, number: int, tokens: bool) -> None:
    """Show a document of a token ARRAY, decoded, its parts in colour.

    ARRAY is a file that token_arrays wrote, in any layout, or a partition key, whose first array is
    meant; --document counts its documents from 0. The tokenizer is the recipe's, and must be the
    one that made the array.
    """
    from fim_assets.preview.terminal import render_document
    from fim_assets.recipe import load_recipe
    from fim_assets.token_arrays.reader import TokenArray, array_names
    from fim_assets.tokenizer.load import content_hash, find_tokenizer, load_tokenizer

    if array.is_dir():
        arrays = sorted(array_names(array))
        named = f", such as {array / arrays[0]}" if arrays else "; it holds none"
        raise click.ClickException(f"{array}: a folder; name one array in it{named}")
    recipe = load_recipe(_settings().recipe)
    if not array.exists() and array.name == str(array):
        array = _first_array(str(array), recipe)
    documents = TokenArray(array)
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
    console = _console()
    tokenizer = load_tokenizer(recipe)
    shown = render_document(documents[number], number, tokenizer, tokens=tokens)
    console.print(shown, soft_wrap=not console.is_terminal)


@main.command(
    epilog=_examples(
        'eval "$(fim-assets completion bash)"           # in ~/.bashrc',
        "fim-assets completion zsh > _fim-assets        # in a folder of $fpath",
        "fim-assets completion fish > fim-assets.fish   # in ~/.config/fish/completions",
    )
)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print what makes SHELL complete commands, options, keys and files."""
    click.echo(completion_script(main, shell))


def _console() -> "Console":
    """Standard output; where no terminal folds lines, they are as long as they are."""
    from rich.console import Console

    console = Console(highlight=False)
    if console.is_terminal or "COLUMNS" in os.environ:
        return console
    return Console(highlight=False, width=1000)


def _progress(*, quiet: bool = False) -> "Progress":
    """A bar on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=quiet or not _can_redraw(console),
    )


def _can_redraw(console: "Console") -> bool:
    return sys.stderr.isatty() and not console.is_dumb_terminal


@contextmanager
def _waiting(what: str, *, quiet: bool) -> Iterator[Any]:
    """What is being done, on standard error while it is, where that is a terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet or not _can_redraw(console):
        yield lambda _what: None
        return
    with console.status(what) as status:
        yield status.update


@contextmanager
def _named_as(source: "RawShard", folder: Path) -> Iterator[None]:
    """Name a shard in errors as the user knows it, not as the file that was fetched."""
    from fim_assets.errors import ShardError

    try:
        yield
    except ShardError as error:
        fetched = str(folder / source.location.name)
        raise ShardError(str(error).replace(fetched, str(source))) from error


def _find_shard(key_or_path: str, shards: "dict[str, RawShard]") -> "tuple[str, RawShard]":
    from fim_assets.io.storage import expand_home, is_remote

    if key_or_path in shards:
        return key_or_path, shards[key_or_path]
    wanted = str(expand_home(key_or_path).resolve())
    for key, shard in shards.items():
        location = shard.location
        if key_or_path == str(shard) or (
            not is_remote(location) and str(location.resolve()) == wanted
        ):
            return key, shard
    raise click.ClickException(
        f"{key_or_path}: no partition key, and no path of a shard of the recipe; {_some(shards)}"
    )


def _first_array(key: str, recipe: "Recipe") -> Path:
    """A finished partition's first array."""
    from fim_assets.corpus.corpus import Corpus
    from fim_assets.corpus.receipts import keys_of_receipts, read_receipt
    from fim_assets.io.storage import is_remote
    from fim_assets.token_arrays.reader import is_array_name

    corpus = Corpus(recipe, "", _settings().data_root, _key_prefix())
    place = corpus.place("token_arrays", key)
    receipt = read_receipt(place)
    if receipt is None:
        finished = sorted(keys_of_receipts(place.folder))
        raise click.ClickException(
            f"{key}: no such file, and no partition with token_arrays; {_some(finished)}"
        )
    arrays = sorted(filter(is_array_name, (output.name for output in receipt.result.outputs)))
    if not arrays:
        raise click.ClickException(f"{key}: holds no document, and so no array")
    array = place.published(arrays[0])
    if is_remote(array):
        raise click.ClickException(
            f"{array}: copy it and {key}.parquet, which lies beside it, to one folder of this "
            "machine, and name the copy"
        )
    return array


def _some(keys: Collection[str]) -> str:
    """Which partition keys there are, in an error."""
    more = f" and {len(keys) - _KEYS_SHOWN:,} more" if len(keys) > _KEYS_SHOWN else ""
    return f"keys: {', '.join(islice(keys, _KEYS_SHOWN)) or 'none'}{more}"


def _settings() -> "Settings":
    from fim_assets.settings import Settings, unnamed_data_root

    settings = Settings.from_environment()
    where = unnamed_data_root()
    if where is not None:
        click.echo(escape_to_one_line(where), err=True)  # what is piped is standard output alone
    return settings


def _corpus(settings: "Settings") -> "Corpus":
    from fim_assets.corpus.corpus import Corpus
    from fim_assets.recipe import load_recipe
    from fim_assets.tokenizer.load import content_hash, find_tokenizer

    recipe = load_recipe(settings.recipe)
    tokenizer = find_tokenizer(recipe.tokens.tokenizer)
    return Corpus(recipe, content_hash(tokenizer), settings.data_root, _key_prefix())


def _key_prefix() -> tuple[str, ...]:
    """Which corpus of the data root is meant: what stands before the command."""
    prefix: tuple[str, ...] = click.get_current_context().find_root().params["key_prefix"]
    return prefix


_COLUMNS = ("documents", "rejected", "rearranged", "PSM share", "tokens", "tokens/s")
_FEW_COLUMNS = ("documents", "tokens")


def _cells(
    totals: "CorpusTotals", token_seconds: float, columns: Iterable[str] = _COLUMNS
) -> list[str]:
    """Shares are of files long enough to cut; tokens/s is one worker's."""
    rearranged = totals.psm + totals.spm
    candidates = rearranged + totals.not_selected + totals.gate
    cells = {
        "documents": f"{totals.documents:,}",
        "rejected": f"{totals.rejected:,}",
        "rearranged": _percent(rearranged, candidates),
        "PSM share": _percent(totals.psm, rearranged),
        "tokens": f"{totals.tokens:,}",
        "tokens/s": _rate(totals.tokens, token_seconds),
    }
    return [cells[name] for name in columns]


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.2%}" if whole else "–"


def _rate(count: int, seconds: float) -> str:
    return f"{count / seconds / 1e6:.1f} M" if seconds else "–"


def _range(keys: list[str]) -> str:
    return f"{keys[0]}...{keys[-1]}"


def _shards(corpus: "Corpus", settings: "Settings") -> "dict[str, RawShard]":
    from fim_assets.corpus.corpus import list_shards

    shards = list_shards(corpus, settings.input_root)
    _refuse_none(shards, corpus.recipe.raw.documents, settings)
    return shards


def _refuse_none(
    shards: "Mapping[str, RawShard]", documents: Iterable[str], settings: "Settings"
) -> None:
    from fim_assets.settings import nothing_found

    if not shards:
        raise click.ClickException("; ".join(nothing_found(documents, settings)))


def _shown(path: "Location") -> str:
    from fim_assets.io.storage import is_remote

    here = Path.cwd()
    if is_remote(path):
        return escape_to_one_line(str(path))
    return escape_to_one_line(str(path.relative_to(here) if path.is_relative_to(here) else path))
