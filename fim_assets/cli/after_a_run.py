"""What is asked after a run: what it made, a document of it, and whether its files are intact."""

import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from io import BufferedWriter, RawIOBase
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from fim_assets.cli.before_a_run import key_range
from fim_assets.cli.completion import complete_arrays, complete_shards
from fim_assets.cli.corpus import list_some_shards, open_command_corpus, some_keys
from fim_assets.cli.terminal import command, progress_bar, shown_path, standard_output
from fim_assets.corpus.corpus import Corpus, list_shards
from fim_assets.errors import ShardError
from fim_assets.io.locations import is_remote
from fim_assets.nothing_found import nothing_found
from fim_assets.settings import Settings, in_repository, named_path
from fim_assets.token_arrays.stage import TOKEN_ARRAYS
from fim_assets.wording import escape_to_one_line, file_size, plural, short_number, shortened

if TYPE_CHECKING:
    from fim_assets.corpus_report.summary import CorpusTotals, Summary

_ROWS_SHOWN = 32
_NARROW = 76
_IN_NARROW = ("documents", "tokens")


@command("fim-assets summary")
def summary() -> None:
    """Print what the complete partitions hold, where it is, and what to do next.

    The exit status is 1 if no partition is complete.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from fim_assets.corpus_report.gather import gather
    from fim_assets.corpus_report.verdict import corpus_verdict

    corpus, settings = open_command_corpus()
    shards = list(list_some_shards(corpus, settings))
    gathered = gather(corpus, shards, _ROWS_SHOWN)
    totals, partitions = gathered.summary.totals, gathered.summary.partitions
    complete, incomplete = partitions.complete, partitions.incomplete
    console = standard_output()
    joined = gathered.summary.repositories
    all_cells = _cells(totals, gathered.made.seconds, joined.repositories if joined else None)
    columns = [name for name in all_cells if console.width >= _NARROW or name in _IN_NARROW]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("partition", overflow="fold")
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for row in gathered.partitions:
        of_row = row.counts.numbers["repositories"] if joined else None
        cells = _cells(row.totals, row.seconds, of_row)
        table.add_row(Text(row.key), *(cells[name] for name in columns))
    if complete > _ROWS_SHOWN:
        table.add_row(f"… {complete - _ROWS_SHOWN:,} more")
    table.add_section()
    table.add_row("total", *(all_cells[name] for name in columns), style="bold")
    console.print(corpus_verdict(gathered.summary), table, highlight=False)
    for key, reason in islice(incomplete.items(), _ROWS_SHOWN):
        click.echo(f"incomplete  {key}: {escape_to_one_line(reason)}")
    if len(incomplete) > _ROWS_SHOWN:
        click.echo(f"incomplete  … {len(incomplete) - _ROWS_SHOWN:,} more")
    if empty := partitions.empty:
        number = plural(len(empty), "partition")
        click.echo(f"empty       {number} without a document: {shortened(empty)}")
    for warning in gathered.summary.warnings:
        click.echo(f"warning  {escape_to_one_line(warning)}")
    first = gathered.partitions[0].key if gathered.partitions else None
    for name, line in _next_steps(settings, corpus, gathered.summary, shards, first):
        click.echo(f"{name:<9}{line}")
    if not complete:
        sys.exit(1)


def _next_steps(
    settings: Settings, corpus: Corpus, summary: "Summary", shards: list[str], first: str | None
) -> Iterator[tuple[str, str]]:
    from fim_assets.corpus.receipts import OTHER_RECIPE, RIGHT_RECIPE
    from fim_assets.corpus_report.summary import CORPUS_REPORT
    from fim_assets.run.verify import other_prefixes, stale_report

    report = corpus.folder(CORPUS_REPORT) / "report.html"
    materialize = f"dagster asset materialize {corpus.definitions} --select"
    if settings.partitions_per_run:
        materialize = f"env -u FIM_PARTITIONS_PER_RUN {materialize}"
    arrays = [corpus.data_root.joinpath(*array.path.split("/")) for array in summary.arrays]
    stale = not report.exists() or any(stale_report(corpus, summary.arrays))
    if first is not None:
        folder = shown_path(corpus.folder(TOKEN_ARRAYS.name))
        yield "arrays", f"{folder}  ({plural(len(arrays), 'file')})"
        why = "  (not made yet, or not of these partitions)" if stale else ""
        yield "report", f"{shown_path(report)}{why}"
    steps = {}
    replaces = any(OTHER_RECIPE in reason for reason in summary.partitions.incomplete.values())
    if replaces:
        steps[RIGHT_RECIPE] = ""
    if shutil.which("fim-assets") is None and Path(".venv/bin/activate").is_file():
        steps[". .venv/bin/activate"] = "puts fim-assets and dagster on the path"
    if summary.partitions.incomplete:
        every = f"{corpus.selection('*')} --partition-range {shlex.quote(key_range(shards))}"
        steps[f"{materialize} {every}"] = "replaces what another recipe made" if replaces else ""
    elif stale:
        steps[f"{materialize} {corpus.selection(CORPUS_REPORT)}"] = "makes the report"
    else:
        steps["open the report in a browser"] = ""
    if first is not None:
        steps[f"{corpus.command} preview {shlex.quote(first)}"] = "before and after"
    if arrays and not is_remote(arrays[0]):
        steps[f"fim-assets show {shlex.quote(shown_path(arrays[0]))}"] = "a document, decoded"
    for prefix in other_prefixes(corpus) if first is None else ():
        steps[f"fim-assets --key-prefix {shlex.quote(prefix)} summary"] = "another corpus"
    here = in_repository() and Path.cwd() == named_path("") and not corpus.prefix
    serve = "make dev" if here else f"dagster dev {corpus.definitions}"
    author = "; FILE.py calls build_definitions; of a component: dg dev" if corpus.prefix else ""
    steps[serve] = f"lineage, metadata and checks in a browser{author}"
    width = max(len(step) for step, why in steps.items() if why and len(step) < _NARROW)
    for number, (step, why) in enumerate(steps.items()):
        yield "next" if not number else "", f"{step:<{width}}   {why}".rstrip()


def _cells(
    totals: "CorpusTotals", seconds: Mapping[str, float], repositories: int | None = None
) -> dict[str, str]:
    """Shares are of files long enough to cut; tokens/s is one worker's."""
    token_seconds = seconds[TOKEN_ARRAYS.name]
    return {
        "documents": f"{totals.documents:,}",
        **({} if repositories is None else {"repositories": f"{repositories:,}"}),
        "rejected": f"{totals.rejected:,}",
        "rearranged": _percent(totals.rearranged, totals.candidates),
        "PSM share": _percent(totals.psm, totals.rearranged),
        "tokens": f"{totals.tokens:,}",
        "tokens/s": short_number(totals.tokens / token_seconds) if token_seconds else "–",
    }


def _percent(part: int, total: int) -> str:
    return f"{part / total:.2%}" if total else "–"


@command("fim-assets verify", "fim-assets verify stdlib-0")
@click.argument("keys", nargs=-1, shell_complete=complete_shards)
def verify(keys: tuple[str, ...]) -> None:
    """Compare receipts with the files: sizes and hashes, of outputs and of the raw shards.

    KEYS are partitions; without any, all that have receipts are looked at, and files that no
    receipt lists are faults too. What does not agree is printed, and the exit status is 1. So it is
    where another recipe than the present one made the files, and where no partition has a receipt.
    """
    from fim_assets.corpus.receipts import OTHER_RECIPE, RIGHT_RECIPE
    from fim_assets.corpus_report.gather import build_summary
    from fim_assets.run.verify import begun_keys, stale_report, unlisted_files, verify_partitions

    corpus, settings = open_command_corpus()
    shards = list_shards(corpus, settings.input_root)
    begun = begun_keys(corpus)
    if unknown := [key for key in keys if key not in shards and key not in begun]:
        raise click.ClickException(f"{', '.join(unknown)}: no partition key; {some_keys(shards)}")
    chosen = list(dict.fromkeys(keys)) if keys else sorted(begun)
    with progress_bar() as progress:
        verifying = verify_partitions(corpus, shards, chosen, settings.workers)
        verdicts = list(progress.track(verifying, len(chosen), description="verify"))
    faults = [fault for verdict in verdicts for fault in verdict.faults]
    others = [verdict.key for verdict in verdicts if verdict.others]
    if not keys:
        faults += unlisted_files(corpus, verdicts)
        if not others:  # else the report may well be of theirs
            faults += stale_report(corpus, build_summary(corpus, list(shards)).arrays)
    if not faults and not any(verdict.receipts for verdict in verdicts):
        if not shards:
            raise ShardError(*nothing_found(corpus.recipe.raw.documents, settings))
        named = f"no partition of {shortened(chosen)}" if keys else "no partition"
        problem = f"{named} has a receipt, so that there is nothing to verify"
        raise click.ClickException(f"{problem}; {some_keys(shards)}")
    for fault in faults:
        click.echo(f"fault  {escape_to_one_line(fault)}")
    if others:
        number = plural(len(others), "partition")
        click.echo(f"recipe {number} {OTHER_RECIPE}: {shortened(others)}; {RIGHT_RECIPE}")
    # A partition whose shard is gone is a fault, and not one of those that there should be.
    expected = {*chosen} if keys else shards.keys()
    receipts = Counter(
        a for verdict in verdicts if verdict.key in expected for a in verdict.receipts
    )
    partitions = plural(len(expected), "partition")
    width = max(14, *map(len, corpus.names))
    for asset in corpus.names:
        click.echo(f"{asset:<{width}} {receipts[asset]:,} of {partitions} with a receipt")
    files = plural(sum(verdict.files for verdict in verdicts), "file")
    size = file_size(sum(verdict.bytes for verdict in verdicts))
    agreement = "all agree" + (" with the receipts of another recipe" if others else "")
    conclusion = plural(len(faults), "fault") if faults else agreement
    click.echo(f"read {files} with {size}: {conclusion}")
    if faults or others:
        sys.exit(1)


@command(
    "shard=data/fim_shards/stdlib-0",
    "fim-assets restore $shard.jsonl.zst $shard.parquet | head -n 1",
    "fim-assets restore $shard.jsonl.zst $shard.parquet --output original.jsonl.zst",
)
@click.argument("shard", type=click.Path(path_type=Path))
@click.argument("parquet", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="A new file, compressed as its name ends (.zst, .gz, .bz2, .xz); else standard output.",
)
def restore(shard: Path, parquet: Path, *, output: Path | None) -> None:
    """Give back the original documents of a FIM SHARD, from it and its PARQUET alone.

    They come as JSON lines in the raw shard's order, without its blank and rejected lines, which no
    FIM shard holds.
    """
    from fim_assets.fim_shards.restore import count_record, restore_shard, write_lines

    counts = count_record(parquet)
    with progress_bar(quiet=output is None and sys.stdout.isatty()) as progress:
        name, restoring = escape_to_one_line(shard.name), restore_shard(shard, parquet)
        lines = progress.track(restoring, counts.documents, description=name)
        if output is not None:
            write_lines(lines, output)
        else:
            stream: IO[bytes] = sys.stdout.buffer
            if isinstance(stream, RawIOBase):
                # Python runs unbuffered: a raw stream may take a part of what it is given.
                stream = BufferedWriter(stream)
            stream.writelines(line + b"\n" for line in lines)
            stream.flush()
    documents = plural(counts.documents, "document")
    files = plural(counts.rearranged, "rearranged file")
    click.echo(f"{documents}, {files} put back", err=True)


@command(
    "fim-assets show stdlib-0",
    "fim-assets show data/token_arrays/stdlib-0-00000.npy --document 3 --tokens",
)
@click.argument("array", type=click.Path(path_type=Path), shell_complete=complete_arrays)
@click.option("--document", "number", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--tokens", is_flag=True, help="Show ids below each text.")
def show(array: Path, *, number: int, tokens: bool) -> None:
    """Show a document of a token ARRAY, decoded, its parts in colour.

    ARRAY is a file that token_arrays wrote, in any layout, or a partition key, whose first array is
    meant; --document counts its documents from 0. The tokenizer is the recipe's, and must be the
    one that made the array.
    """
    from fim_assets.preview.terminal import render_document
    from fim_assets.token_arrays.reader import TokenArray, array_names
    from fim_assets.tokenizer.load import load_tokenizer

    if array.is_dir():
        arrays = sorted(array_names(array))
        named = f", such as {array / arrays[0]}" if arrays else "; it holds none"
        raise click.ClickException(f"{array}: a folder; name one array in it{named}")
    corpus, _ = open_command_corpus()
    if not array.exists() and array.name == str(array):
        array = _first_array(str(array), corpus)
    documents = TokenArray(array)
    if corpus.tokenizer_hash != documents.tokenizer_hash:
        named = f"{corpus.recipe.tokens.tokenizer.name_or_path} ({corpus.tokenizer_hash})"
        raise click.ClickException(
            f"{array}: made with another tokenizer (content hash {documents.tokenizer_hash}) than "
            f"the recipe's, {named}; set FIM_RECIPE to the recipe that made it"
        )
    if number >= len(documents):
        held = f"it holds {len(documents):,}, counted from 0"
        raise click.ClickException(f"{array}: no document {number:,}; {held}")
    console = standard_output()
    tokenizer = load_tokenizer(corpus.recipe)
    document = render_document(documents[number], number, tokenizer, tokens=tokens)
    console.print(document, soft_wrap=not console.is_terminal)


def _first_array(key: str, corpus: Corpus) -> Path:
    from fim_assets.corpus.receipts import keys_of_receipts, read_receipt
    from fim_assets.token_arrays.reader import is_array_name

    files = corpus.files(TOKEN_ARRAYS.name, key)
    receipt = read_receipt(files)
    if receipt is None:
        finished = some_keys(sorted(keys_of_receipts(files.folder)))
        problem = f"{key}: no such file, and no partition with token_arrays"
        raise click.ClickException(f"{problem}; {finished}")
    arrays = sorted(filter(is_array_name, (output.name for output in receipt.result.outputs)))
    if not arrays:
        raise click.ClickException(f"{key}: holds no document, and so no array")
    array = files.published(arrays[0])
    if is_remote(array):
        both = f"{array}: copy it and {key}.parquet, which is next to it"
        raise click.ClickException(f"{both}, to one folder of this machine, and name the copy")
    return array
