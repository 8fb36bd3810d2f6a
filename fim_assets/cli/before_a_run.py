"""What is asked before a run: sample, keys, manifest, a preview, and whether it can start."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from fim_assets.cli.completion import complete_shards
from fim_assets.cli.corpus import (
    key_prefix_of_command,
    list_some_shards,
    open_command_corpus,
    read_settings,
    some_keys,
)
from fim_assets.cli.terminal import (
    as_argument,
    command,
    progress_bar,
    progress_line,
    shown_path,
    standard_output,
)
from fim_assets.corpus.manifest import MANIFEST_SUFFIX, manifest_rows, read_manifest
from fim_assets.corpus.raw_shard import RawInput, fetch_all
from fim_assets.corpus.sources import find_shards
from fim_assets.errors import ShardError
from fim_assets.io.locations import expand_home, is_remote, is_url, parse_output_url
from fim_assets.io.machine_folders import working_folder
from fim_assets.io.storage import write_bytes
from fim_assets.nothing_found import nothing_found
from fim_assets.raw_shards.sample import write_sample
from fim_assets.tokenizer.find import TokenizerError
from fim_assets.wording import escape_control_characters, escape_to_one_line, plural, shortened


@command("fim-assets sample")
def sample() -> None:
    """Write the sample corpus: this Python's standard library.

    Its shards are written under raw/ of the input root, without a download.
    """
    folder = read_settings().input_root / "raw"
    if is_remote(folder):
        raise click.ClickException(f"{folder}: the sample is written to a folder of this machine")
    paths = write_sample(folder)
    size = sum(path.stat().st_size for path in paths)
    click.echo(f"{len(paths)} sample shards, {size / 1e6:.1f} MB, in {shown_path(folder)}")


@command(
    "fim-assets keys",
    "fim-assets keys | wc -l",
    "dagster asset materialize -m fim_assets.definitions --select '*' \\\n"
    '      --partition-range "$(fim-assets keys --range)"',
)
@click.option("--range", "as_range", is_flag=True, help="Print first...last for Dagster.")
def keys(*, as_range: bool) -> None:
    """Print the partition keys of the recipe's shards, one a line."""
    shards = list(list_some_shards(*open_command_corpus(tokenizer_hash="")))
    click.echo(as_argument(key_range(shards) if as_range else "\n".join(shards)))


@command(
    "fim-assets manifest 'raw/**/*.json*' -o shards.tsv",
    "fim-assets manifest --group 100MB 'raw/**/*.jsonl.zst' -o shards.tsv",
    "fim-assets manifest --hash 'raw/*.jsonl.zst' 'raw/*.jsonl' -o shards.tsv",
)
@click.argument("documents", nargs=-1, required=True)
@click.option("-o", "--output", required=True, help="The manifest to write: a path or URL, .tsv.")
@click.option("--hash", "content", is_flag=True, help="Read and hash shards on object storage too.")
@click.option("--group", metavar="SIZE", help="Make partitions of several shards, of SIZE bytes.")
def manifest(documents: tuple[str, ...], output: str, *, content: bool, group: str | None) -> None:
    """List the shards that DOCUMENTS, globs or URLs, match now, and pin them in a manifest.

    Named in raw.documents, it replaces the globs: nothing is listed when definitions load, and a
    shard that has changed or is gone is an error where it is read. Files are pinned by size and
    content hash; objects by size and ETag, with --hash by their content hash too, so that a
    complete partition is recognised without reading its shard.

    With --group, shards are put together in the order of their keys, to at most SIZE (100MB, 64MiB
    or a number of bytes) as they are compressed; a larger one stays alone. If the manifest is there
    already, its partitions stay as they are, and shards that it does not name become new ones.
    Without --group, a manifest that has groups is not written over.
    """
    from fim_assets.corpus.groups import compare_groups, group_shards, read_group_size

    if not output.endswith(MANIFEST_SUFFIX):
        raise click.UsageError(f"--output {output}: a manifest's name ends in {MANIFEST_SUFFIX}")
    try:
        most = None if group is None else read_group_size(group)
    except ValueError as error:
        raise click.UsageError(f"--group {error}") from error
    location = parse_output_url(output) if is_url(output) else Path(output)
    earlier = read_manifest(location) if location.exists() else {}
    if most is None and any(len(shard.members) > 1 for shard in earlier.values()):
        problem = f"--output {output} has groups, whose finished partitions would get other keys"
        advice = "keep them by --group with a size, name another output, or delete it"
        raise click.UsageError(f"{problem}; {advice}")
    settings = read_settings()
    shards = find_shards(documents, settings.input_root)
    if not shards:
        raise ShardError(*nothing_found(documents, settings))
    if most is not None:
        shards = group_shards(shards, earlier, most)
    of_shards = sum(len(shard.members) for shard in shards.values())
    with progress_bar() as progress:
        rows = manifest_rows(shards, content=content)
        text = "".join(progress.track(rows, of_shards + 1, description="manifest"))
    write_bytes(location, text.encode())
    size = sum(int(row.split("\t")[2]) for row in text.splitlines()[1:])
    written = f"{size / 1e6:,.1f} MB, in {escape_to_one_line(output)}"
    if most is None:
        click.echo(f"{plural(of_shards, 'shard')}, {written}")
        return
    changes = compare_groups(earlier, read_manifest(location))
    click.echo(f"{plural(len(shards), 'partition')} of {plural(of_shards, 'shard')}, {written}")
    click.echo(
        f"{len(changes.kept):,} kept, {len(changes.new):,} new, {len(changes.changed):,} changed"
    )
    for name in ("changed", "gone"):
        if shown := getattr(changes, name):
            click.echo(f"{name:<8} {escape_to_one_line(shortened(shown))}")


@command("fim-assets doctor", "FIM_WORKERS=2 fim-assets doctor --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, by which a job can size itself.")
def doctor(*, as_json: bool) -> None:
    """Look before a long run whether all is in order, and estimate what it will take.

    Recipe, shards, tokenizer, storage, executor and Dagster's settings are looked at, and every
    stage is really run on some lines of a few shards, as many as 20 seconds allow, in a temporary
    folder. What must be mended before a run gives the exit status 1; a warning does not. Nothing is
    kept but the proof of the tokenizer's encoder, which the run would make too.
    """
    import orjson

    from fim_assets.cli.doctor.examine import examine
    from fim_assets.cli.doctor.findings import Report, render_estimate, render_finding

    report = Report()
    console = standard_output()
    with progress_line("looking …", quiet=as_json) as on_progress:
        for finding in examine(os.environ, report, on_progress, key_prefix_of_command()):
            report.add(finding)
            if not as_json:
                console.print(render_finding(finding, console.is_terminal), soft_wrap=True)
    if as_json:
        click.echo(orjson.dumps(report, option=orjson.OPT_INDENT_2))
    else:
        if report.estimate is not None:
            console.print("", render_estimate(report.estimate), sep="\n", soft_wrap=True)
        console.print(f"\n{report.verdict}", style="bold", soft_wrap=True)
    if not report.can_start:
        sys.exit(1)


@command(
    "fim-assets preview stdlib-0",
    "fim-assets preview stdlib-0 --line 12 --no-tokens",
    "fim-assets preview data/raw/stdlib-0.jsonl.zst --id __future__.py",
)
@click.argument("shard", shell_complete=complete_shards)
@click.option("--line", type=click.IntRange(min=1), help="The document at this line, 1-based.")
@click.option("--id", "identifier", help="The first document with this id.")
@click.option("--tokens/--no-tokens", default=True, help="Show the tokens too (the default).")
def preview(shard: str, *, line: int | None, identifier: str | None, tokens: bool) -> None:
    """Show what the recipe does to a document of SHARD.

    SHARD is a partition key or the path of a raw shard, which stands for its partition; --line
    counts the lines of a group of shards one behind another. Without --line or --id, the document
    is the first one with a rearranged file. Nothing is written, and nothing needs to be
    materialized.
    """
    if line is not None and identifier is not None:
        raise click.UsageError("--line and --id name a document each; give one of them")
    from rich.text import Text

    from fim_assets.preview import documents
    from fim_assets.preview.terminal import render, render_tokens
    from fim_assets.tokenizer.encoders import UnencodableTextError
    from fim_assets.tokenizer.load import load_tokenizer

    # No output is looked at, and the tokenizer may be missing.
    corpus, settings = open_command_corpus(tokenizer_hash="")
    recipe = corpus.recipe
    key, source = _find_shard(shard, list_some_shards(corpus, settings))
    seed = recipe.partition_seed(key)
    console = standard_output()
    recipe_name = escape_to_one_line(settings.recipe)
    title = Text.assemble((key, "bold"), f" · partition seed {seed:016x} · recipe {recipe_name}")
    with working_folder() as folder:
        paths = fetch_all(source, folder)
        # A user knows the shard, and not the file that was fetched.
        names = dict(zip(map(str, paths), map(str, source.members), strict=True))
        try:
            if line is not None:
                document = documents.document_at_line(paths, seed, recipe, line)
            elif identifier is not None:
                document = documents.document_with_id(paths, seed, recipe, identifier)
            else:
                document = documents.first_rearranged(paths, seed, recipe)
                title.append("\nthe first document with a rearranged file")
        except ShardError as error:
            error.location = names.get(error.location, str(source))
            raise
    if document.place is not None and len(paths) > 1:
        path, line = document.place
        title.append(f"\n{escape_to_one_line(names[str(path)])}, line {line:,}")
    shown = render(document, recipe.fim)
    console.print(title, shown, sep="\n", soft_wrap=not console.is_terminal)
    if not tokens:
        return
    try:
        tokenizer = load_tokenizer(recipe)
        encoded = documents.encode_document(document, recipe.fim, tokenizer)
        console.print("", render_tokens(encoded, tokenizer), sep="\n")
    except (TokenizerError, UnencodableTextError) as error:
        reason = escape_control_characters(" ".join(str(error).split()))
        console.print(Text(f"\nno tokens: {reason}"))


def _find_shard(key_or_path: str, shards: Mapping[str, RawInput]) -> tuple[str, RawInput]:
    if key_or_path in shards:
        return key_or_path, shards[key_or_path]
    wanted = str(expand_home(key_or_path).resolve())
    for key, shard in shards.items():
        for member in shard.members:
            if key_or_path == str(member) or wanted == member.real_place:
                return key, shard
    problem = f"{key_or_path}: no partition key, and no path of a shard of the recipe"
    raise click.ClickException(f"{problem}; {some_keys(shards)}")


def key_range(keys: Sequence[str]) -> str:
    """All partitions, as `--partition-range` takes them."""
    return f"{keys[0]}...{keys[-1]}"
