"""Whether a run can start: what is looked at before it, each finding with what to do about it."""

import logging
import os
import platform
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, metadata, version
from pathlib import Path
from tempfile import NamedTemporaryFile, gettempdir
from typing import Any
from uuid import uuid4

import orjson
import yaml
from dotenv import dotenv_values
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from fim_assets.cli.estimate import (
    Estimate,
    Sampled,
    estimate,
    run_sample,
    seconds_of_a_partition,
)
from fim_assets.cli.findings import Finding, Report
from fim_assets.corpus.corpus import Corpus, list_shards
from fim_assets.corpus.partition_files import ReceiptError
from fim_assets.corpus.receipts import read_receipt, why_incomplete
from fim_assets.corpus.sources import RawShard
from fim_assets.errors import ShardError
from fim_assets.fim_shards.unmatched import Occurrences, unmatched_names
from fim_assets.io.compression import FAILED_DOWNLOAD, NOTHING_COMPRESSED
from fim_assets.io.locations import Location, StorageError, is_remote
from fim_assets.io.locks import why_no_locks
from fim_assets.io.machine_folders import working_folder
from fim_assets.io.storage import REQUESTS_AT_ONCE, read_bytes, remove, write_bytes
from fim_assets.raw_shards.rejections import NOT_EXPLAINED
from fim_assets.raw_shards.shard_reader import ShardReader
from fim_assets.recipe import ASSETS, Recipe, load_recipe
from fim_assets.recipe.errors import RecipeError
from fim_assets.recipe.fim import Fim
from fim_assets.recipe.raw import Raw
from fim_assets.run.partition import USER_ERRORS
from fim_assets.settings import (
    Settings,
    SettingsError,
    nothing_found,
    unnamed_data_root,
    usable_cores,
)
from fim_assets.statistics.counts import counted
from fim_assets.statistics.rates import binomial_rate
from fim_assets.tokenizer.find import content_hash, find_tokenizer
from fim_assets.tokenizer.load import LoadedTokenizer, load_tokenizer
from fim_assets.wording import file_size, plural, shown_language

WORKER_BYTES = 600_000_000
"""What a worker needs at most, whatever the shard's size."""

_RECEIPTS_LOOKED_AT = 1000
_ROOM = 1.2
"""Free space for an estimate to be called enough."""

_CERTAIN = 1e-4
_NAMES_SHOWN = 4
_NOT_READ = "fetch it again, or leave it out of raw.documents: a shard is JSON lines"

Say = Callable[[str], None]


def examine(
    environment: Mapping[str, str], report: Report, say: Say, key_prefix: tuple[str, ...] = ()
) -> Iterator[Finding]:
    """Look at everything that a run needs.

    Args:
        environment: Where settings are.
        report: Takes each finding as it is yielded, and the estimate.
        say: Called with what is being done.
        key_prefix: Folders between the data root and the assets' folders.
    """
    for finding in _examine(environment, report, say, key_prefix):
        report.findings.append(finding)
        report.can_start = report.can_start and finding.mark != "mend"
        yield finding


def _examine(
    environment: Mapping[str, str], report: Report, say: Say, key_prefix: tuple[str, ...]
) -> Iterator[Finding]:
    settings = None
    try:
        settings = Settings.from_environment(environment)
        where = unnamed_data_root(environment)
    except SettingsError as error:
        yield Finding("mend", "settings", str(error))
    else:
        if where is not None:
            yield Finding("look", "settings", where, "export FIM_DATA_ROOT=<a folder or URL>")
    yield from _packages()
    yield from _dagster(environment)
    if settings is None:
        return
    yield from _workers(settings)
    say("looking for the engine …")
    workers, finding = _engine(settings)
    yield finding
    try:
        recipe = load_recipe(settings.recipe)
    except RecipeError as error:
        yield Finding("mend", "recipe", str(error))
        return
    yield _recipe(recipe, settings)
    say("verifying the tokenizer: some seconds when it is first met …")
    # What a shard may have rejected is judged here, so that all of it is told.
    bounds = {"max_rejected_share": 1.0, "max_empty_share": None}
    raw = recipe.raw.model_copy(update=bounds)
    lenient = recipe.model_copy(update={"raw": raw})
    tokenizer, finding = _tokenizer(lenient)
    yield finding
    if tokenizer is not None:
        yield from _separator(recipe, tokenizer)
    tokenizer_hash = "" if tokenizer is None else tokenizer.content_hash
    corpus = Corpus(recipe, tokenizer_hash, settings.data_root, key_prefix)
    say("listing the shards …")
    shards: dict[str, RawShard] = {}
    for found in _shards(corpus, settings):
        if isinstance(found, Finding):
            yield found
        else:
            shards = found
    complete = 0.0
    if some := {key: shard for key, shard in shards.items() if not shard.lacks_content}:
        yield from _tried(replace(corpus, recipe=lenient), recipe, some, workers, report, say)
    if shards and tokenizer is not None:
        say("looking at what is there already …")
        complete, before = _made_before(corpus, list(shards))
        yield from before
    say("looking at the storage …")
    yield from _storage(settings, report.estimate, complete)


def _tried(
    corpus: Corpus,
    recipe: Recipe,
    shards: Mapping[str, RawShard],
    workers: int,
    report: Report,
    say: Say,
) -> Iterator[Finding]:
    """Run lines of a few shards; the report takes the estimate."""
    assets = ASSETS if corpus.tokenizer_hash else ASSETS[:2]
    sampled: list[Sampled] = []
    with working_folder() as folder:
        trial = replace(corpus, data_root=folder / "out", prefix=())
        for one in run_sample(trial, shards, folder, assets):
            if isinstance(one, ShardError):
                yield Finding("mend", "sample", one.message, one.advice or _NOT_READ)
                continue
            if isinstance(one, OSError):
                yield Finding("mend", "sample", str(one), _NOT_READ)
                continue
            sampled.append(one)
            say(f"running lines of shards: {len(sampled)} …")
        yield from _sample(sampled, shards, recipe)
        through = [one for one in sampled if len(one.results) == len(ASSETS)]
        if not through:
            return
        say("timing …")
        seconds = seconds_of_a_partition(trial, through, folder)
    sizes = [shard.size for shard in shards.values()]
    remote = is_remote(corpus.data_root)
    report.estimate = estimate(through, sizes, seconds, workers, remote=remote)


def _packages() -> Iterator[Finding]:
    project = metadata("fim_assets")
    python = platform.python_version()
    if not SpecifierSet(project["Requires-Python"]).contains(python):
        yield Finding(
            "mend", "python", f"Python {python}", f"{project['Requires-Python']} is supported"
        )
    wrong = []
    for text in project.get_all("Requires-Dist") or []:
        needed = Requirement(text)
        if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(needed.name)
        except PackageNotFoundError:
            wrong.append(f"{needed.name} is missing")
            continue
        if not needed.specifier.contains(found, prereleases=True):
            wrong.append(f"{needed.name} {found}, {needed.specifier} is needed")
    if wrong:
        yield Finding("mend", "packages", "; ".join(wrong), "install fim_assets again")
    else:
        names = ("fim_assets", "dagster", "polars", "pyarrow", "tokenizers")
        shown = ", ".join(f"{name} {version(name)}" for name in names)
        yield Finding("ok", "packages", f"Python {python}, {shown}")


def _dagster(environment: Mapping[str, str]) -> Iterator[Finding]:
    # A command of Dagster's sets what this folder's `.env` says.
    value = dotenv_values(".env").get("DAGSTER_HOME") or environment.get("DAGSTER_HOME")
    if not value:
        nearest = _there(Path(os.path.expanduser("~/.dagster")))  # noqa: PTH111 - as Dagster does it
        if not (nearest.is_dir() and os.access(nearest, os.W_OK)):
            yield Finding(
                "mend",
                "dagster",
                f"no DAGSTER_HOME, and {nearest} cannot be written: dagster commands fail",
                "export DAGSTER_HOME=<a folder>, an absolute path",
            )
            return
        yield Finding(
            "look",
            "dagster",
            "no DAGSTER_HOME: a command leaves no record of its run, and the UI will not show it",
            "export DAGSTER_HOME=<a folder>, an absolute path",
        )
        return
    home = Path(os.path.expanduser(value))  # noqa: PTH111 - as Dagster does it
    if not home.is_absolute() or not home.is_dir():
        what = "is no folder" if home.is_absolute() else "is no absolute path"
        yield Finding(
            "mend", "dagster", f"DAGSTER_HOME={value} {what}", "Dagster refuses it: name another"
        )
        return
    file = home / "dagster.yaml"
    if not file.is_file():
        yield Finding("ok", "dagster", f"DAGSTER_HOME={value}, no dagster.yaml: SQLite in it")
        return
    try:
        yield Finding("ok", "dagster", f"DAGSTER_HOME={value}, {_instance(file)}")
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        yield Finding("mend", "dagster", f"{file}: {' '.join(str(error).split())}")


def _instance(file: Path) -> str:
    """Where Dagster keeps its records, in words."""
    content = yaml.safe_load(file.read_text("utf-8"))
    storage = content.get("storage") if isinstance(content, dict) else None
    kind = next(iter(storage), "SQLite") if isinstance(storage, dict) else "SQLite"
    return f"dagster.yaml with storage in {kind}"


def _workers(settings: Settings) -> Iterator[Finding]:
    cores, memory = usable_cores(), _memory()
    workers = settings.workers
    text = f"{workers} on {plural(cores, 'core')}, {file_size(memory)} of memory"
    if workers * WORKER_BYTES > memory:
        fit = max(1, memory // WORKER_BYTES)
        yield Finding(
            "look",
            "workers",
            f"{text}: one can need {file_size(WORKER_BYTES)}",
            f"FIM_WORKERS={min(fit, cores)}, or a machine with more memory",
        )
    elif workers > cores:
        yield Finding("look", "workers", f"{text}: no more work at once", f"FIM_WORKERS={cores}")
    else:
        yield Finding("ok", "workers", text)


def _memory() -> int:
    """Bytes of memory that processes here may use."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):
        file = Path("/sys/fs/cgroup", limit)
        if file.is_file() and (text := file.read_text().strip()).isdigit():
            memory = min(memory, int(text))
    return memory


def _engine(settings: Settings) -> tuple[int, Finding]:
    """Partitions that are really worked on at once, and what is found of who does."""
    if settings.engine == "local":
        return min(settings.workers, usable_cores()), Finding(
            "ok", "engine", "local: processes of this machine"
        )
    from fim_assets.run.on_ray import ClusterError, cluster_cpus

    try:
        cpus = cluster_cpus()
    except ClusterError as error:
        return 1, Finding("mend", "engine", str(error), "start it, or set RAY_ADDRESS")
    shared = "" if is_remote(settings.data_root) else "; every node must share the data root"
    return max(cpus, 1), Finding(
        "ok", "engine", f"ray: a cluster of {plural(cpus, 'CPU')} answers{shared}"
    )


def _recipe(recipe: Recipe, settings: Settings) -> Finding:
    laws = " + ".join(
        law if weight == 1 else f"{weight:.0%} {law}" for law, weight in recipe.fim.weights.items()
    )
    changed = [f"{name} {value}" for name, value in _differences(recipe)]
    of_default = f"differs in {', '.join(changed)}" if changed else "all fields at their defaults"
    return Finding(
        "ok", "recipe", f"{settings.recipe}: cuts by {laws}, seed {recipe.seed}; {of_default}"
    )


def _differences(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """The fields that are not at their defaults, with their values."""

    def walk(value: Any, default: Any, path: str) -> Iterator[tuple[str, str]]:
        if isinstance(value, dict) and isinstance(default, dict):
            for name, inner in value.items():
                yield from walk(inner, default.get(name), f"{path}.{name}" if path else name)
        elif value != default:
            yield path, orjson.dumps(value).decode()

    yield from walk(recipe.model_dump(), Recipe().model_dump(), "")


def _tokenizer(recipe: Recipe) -> tuple[LoadedTokenizer | None, Finding]:
    tokens = recipe.tokens.tokenizer
    try:
        with _warnings("fim_assets.tokenizer", logging.INFO) as said:
            tokenizer = load_tokenizer(recipe, content_hash(find_tokenizer(tokens)))
    except USER_ERRORS as error:
        return None, Finding("mend", "tokenizer", str(error))
    controls = tokenizer.controls
    ids = ", ".join(f"{part} {number}" for part, number in controls.sentinels.items())
    text = (
        f"{tokens.name_or_path}: {len(tokenizer.vocabulary.token_bytes):,} ids; {ids}, EOS "
        f"{controls.eos}; encodes by {tokenizer.encoder_description}"
    )
    if tokenizer.encoders.reason is not None:
        return tokenizer, Finding("look", "tokenizer", text, "the bytes are the same, but slower")
    if said:
        return tokenizer, Finding("look", "tokenizer", "; ".join([text, *said]))
    return tokenizer, Finding("ok", "tokenizer", f"{text}, proved equal to the reference")


def _separator(recipe: Recipe, tokenizer: LoadedTokenizer) -> Iterator[Finding]:
    """What a file separator becomes that is no token; the default one is none of dolma2's."""
    separator = recipe.fim.file_separator_token
    if separator is None or separator in tokenizer.controls.boundaries:
        return
    ids = len(tokenizer.encoder.encode([separator])[0])
    named = separator != Fim().file_separator_token
    close = get_close_matches(separator, tokenizer.added) if named else []
    yield Finding(
        "look" if named else "ok",
        "separator",
        f"fim.file_separator_token is {separator}, no token of the tokenizer: where documents hold "
        f"it, it parts files, and is encoded as text of {plural(ids, 'id')}",
        f"close among its tokens: {', '.join(close)}" if close else "",
    )


def _shards(corpus: Corpus, settings: Settings) -> Iterator[Finding | dict[str, RawShard]]:
    """What is found of the shards, and they."""
    documents = corpus.recipe.raw.documents
    try:
        with _warnings("fim_assets", logging.WARNING) as said:
            shards = list_shards(corpus, settings.input_root)
    except USER_ERRORS as error:
        yield Finding("mend", "shards", str(error))
        return
    if not shards:
        yield Finding("mend", "shards", *nothing_found(documents, settings))
        return
    for warning in said:
        yield Finding("look", "shards", warning, "mend the glob, or take it out of the recipe")
    keys = list(shards)
    formats = Counter(
        "".join(s for s in Path(shard.place).suffixes[-2:] if s in _SUFFIXES)
        for shard in shards.values()
    )
    size = sum(shard.size for shard in shards.values())
    kinds = ", ".join(f"{count:,} {ending}" for ending, count in formats.most_common())
    manifests = Counter(
        shard.pinned_by.rpartition(", line ")[0] for shard in shards.values() if shard.pinned_by
    )
    pinned = "".join(f"; {rows:,} pinned by {name}" for name, rows in manifests.items())
    yield Finding(
        "ok",
        "shards",
        f"{len(keys):,}, {file_size(size)} ({kinds}), {keys[0]} … {keys[-1]}{pinned}",
    )
    yield from _empty_shards(shards)
    yield shards


def _empty_shards(shards: Mapping[str, RawShard]) -> Iterator[Finding]:
    """The shards of 0 bytes, which a run would refuse or make empty partitions of."""
    empty = [shard for shard in shards.values() if shard.size == 0]
    refused = [str(shard) for shard in empty if shard.lacks_content]
    if refused:
        yield Finding("mend", "shards", f"{_named(refused)}: {NOTHING_COMPRESSED}", FAILED_DOWNLOAD)
    others = [str(shard) for shard in empty if not shard.lacks_content]
    if others:
        yield Finding(
            "look",
            "shards",
            f"{_named(others)}: 0 bytes, which make an empty partition",
            "fetch it again, or leave it out of raw.documents, if it should hold documents",
        )


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN:,} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more


_SUFFIXES = (".json", ".jsonl", ".gz", ".zst")


def _sample(
    sampled: Sequence[Sampled], shards: Mapping[str, RawShard], recipe: Recipe
) -> Iterator[Finding]:
    """What the beginnings of a few shards hold, and what a run would refuse of them."""
    raw = [one.results["raw_shards"] for one in sampled if "raw_shards" in one.results]
    documents = sum(its.documents for its in raw)
    rejected = sum(its.rejected for its in raw)
    refused = [finding for one in sampled for finding in _refused(one, shards[one.key], recipe)]
    for finding in sorted(refused, key=lambda finding: finding.mark != "mend")[:1]:
        others = len(refused) - 1
        more = f"; others like it in {plural(others, 'more shard')} looked at" if others else ""
        yield replace(finding, text=finding.text + more)
    if not documents:
        if raw and not refused:
            yield Finding("mend", "sample", f"no document in {plural(len(raw), 'shard')}")
        return
    fim = [one.results["fim_shards"] for one in sampled if "fim_shards" in one.results]
    without_id = sum(one.without_id for one in sampled)
    languages: Counter[str] = Counter()
    for its in raw:
        languages.update(counted(its.counts, "documents"))
    fallbacks: Counter[str] = Counter()
    for its in fim:
        fallbacks.update(counted(its.counts, "fallback"))
    short = sum(its.counts["too_short"] for its in fim)
    marked = sum(its.counts["repository"] for its in fim)
    whole = all(len(one.results) == len(ASSETS) for one in sampled)
    through = " came through all stages and checks" if whole else ""
    told = [
        f"{plural(documents, 'document')} of {plural(len(raw), 'shard')}{through}",
        f"{plural(rejected, 'line')} rejected" if rejected else "no line rejected",
        f"{plural(short, 'file')} too short to cut" if short else "",
        f"{plural(without_id, 'document')} without id" if without_id else "",
        f"languages {_shares(languages)}",
        f"cut by the fallback {_shares(fallbacks)}" if fallbacks else "",
        "" if marked or not recipe.fim.repository_tokens else "no file with a repository token",
    ]
    yield Finding("ok", "sample", "; ".join(part for part in told if part))
    if without_id == documents and recipe.raw.id_field != Raw().id_field:
        yield Finding(
            "look",
            "sample",
            f"raw.id_field is {recipe.raw.id_field}, which no document has: draws use texts alone",
            "name the field as the lines do",
        )
    occurrences = Occurrences()
    for its in (*raw, *fim):
        occurrences.add(its.counts)
    complete = len(raw) == len(shards) and all(one.excerpt.whole for one in sampled)
    warnings = unmatched_names(recipe, occurrences, complete=complete)
    for warning in warnings:
        yield Finding("look", "sample", warning, "name in the recipe what the data have")
    rearranged = sum(its.counts["psm"] + its.counts["spm"] for its in fim)
    if sum(fallbacks.values()) > rearranged / 2 and not warnings:
        yield Finding(
            "look",
            "sample",
            f"{sum(fallbacks.values()):,} of {plural(rearranged, 'rearranged file')} cut by the "
            "fallback",
            "raw.language_field or raw.path_field should tell the language, or take another split",
        )


def _refused(one: Sampled, shard: RawShard, recipe: Recipe) -> Iterator[Finding]:
    """What a run would fail with in this shard."""
    if one.outcome.failure:
        failure = one.outcome.failure.replace(str(one.excerpt.path), f"some lines of {shard}")
        yield Finding("mend", "sample", f"{one.key}: {failure}")
    its = one.results.get("raw_shards")
    if its is None:
        return
    lines = its.lines - its.blank
    with ShardReader(one.excerpt.path, recipe.raw) as reader:
        for _ in reader:
            pass
    excess = reader.rejections.excess(lines)
    if excess is None:
        return
    advice = NOT_EXPLAINED if its.documents else _NOT_READ
    text = f"some lines of {shard}: {excess.text}"
    if one.excerpt.whole:
        text = f"{shard}: {excess.text}; {excess.first[0]}"
    certain = (
        one.excerpt.whole or excess.lines > binomial_rate(0, lines, excess.share, _CERTAIN).high
    )
    yield Finding(
        "mend" if certain else "look",
        "sample",
        text,
        excess.explanation or advice,
    )


def _shares(counts: Counter[str]) -> str:
    total = sum(counts.values())
    named = [
        f"{shown_language(name)} {count / total:.0%}"
        for name, count in counts.most_common(_NAMES_SHOWN)
    ]
    more = len(counts) - len(named)
    return ", ".join([*named, f"{more:,} more"] if more else named)


def _made_before(corpus: Corpus, keys: Sequence[str]) -> tuple[float, list[Finding]]:
    """The share of partitions that are complete, and what is found of the others."""
    step = max(1, len(keys) // _RECEIPTS_LOOKED_AT)
    some = keys[::step]

    def look(key: str) -> dict[str, str]:
        return {asset: _state(corpus, asset, key) for asset in ASSETS}

    try:
        with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
            states = list(pool.map(look, some))
    except StorageError as error:
        return 0.0, [Finding("mend", "made", str(error))]
    complete = sum(set(state.values()) == {"complete"} for state in states)
    of = plural(len(some), "partition") + (" looked at" if step > 1 else "")
    findings = [
        Finding("ok", "made", f"{complete:,} of {of} complete")
        if complete
        else Finding("ok", "made", "nothing is complete yet")
    ]
    for kind, text, advice in (
        (
            "other",
            "made by another recipe: a range makes them anew, in place of what is there",
            "set another FIM_DATA_ROOT to keep them",
        ),
        (
            "damaged",
            "not what their receipts say: a range makes them anew",
            f"{corpus.command} verify",
        ),
    ):
        counts = Counter(
            asset for state in states for asset, found in state.items() if found == kind
        )
        if counts:
            shown = ", ".join(f"{count:,} of {asset}" for asset, count in counts.items())
            findings.append(Finding("look", "made", f"{shown}: {text}", advice))
    return complete / len(some), findings


def _state(corpus: Corpus, asset: str, key: str) -> str:
    place = corpus.place(asset, key)
    try:
        receipt = read_receipt(place)
        if receipt is None:
            return "none"
        if receipt.result.fingerprint != corpus.fingerprint(asset):
            return "other"
        return (
            "damaged" if why_incomplete(receipt, place, corpus.fingerprint(asset)) else "complete"
        )
    except ReceiptError:
        return "damaged"


def _storage(settings: Settings, reckoned: Estimate | None, complete: float) -> Iterator[Finding]:
    root = settings.data_root
    try:
        _probe(root)
    except OSError as error:
        text = f"{root}: cannot be written: {error.strerror or error}"
        advice = "set FIM_DATA_ROOT to where you may write, or make this writable"
        yield Finding("mend", "storage", text, advice)
        return
    needed = scratch = 0
    if reckoned is not None:
        needed = round(sum(reckoned.disk_bytes.values()) * (1 - complete))
        scratch = reckoned.scratch_bytes if complete < 1 else 0
    if is_remote(root):
        yield Finding("ok", "storage", f"{root}: written, read and deleted")
        yield _space(Path(gettempdir()), scratch, "for scratch", "set TMPDIR")
    else:
        reason = why_no_locks(_there(root))
        if reason is not None:
            text = f"{root}: its file system has no locks ({reason})"
            yield Finding("look", "storage", text, "never run one partition twice at once")
        yield _space(root, needed + scratch, "", "make room, or set FIM_DATA_ROOT")


def _space(folder: Path, needed: int, what: str, advice: str) -> Finding:
    free = shutil.disk_usage(_there(folder)).free
    text = f"{folder}: can be written, {file_size(free)} free"
    if needed:
        text += f", about {file_size(needed)} needed {what}".rstrip()
    if needed > free:
        return Finding("mend", "storage", text, advice)
    return Finding("look" if needed * _ROOM > free else "ok", "storage", text, advice)


def _there(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _probe(root: Location) -> None:
    """Write, read and delete a file.

    Raises:
        OSError: If one of it cannot be done.
    """
    content = uuid4().hex.encode()
    if not is_remote(root):
        # Where the folder is not there yet, a run makes it: nothing of it is left by this one.
        with NamedTemporaryFile(dir=_there(root), prefix=".fim-assets-doctor-") as file:
            file.write(content)
            file.flush()
        return
    probe = root / f".fim-assets-doctor-{uuid4().hex}"
    write_bytes(probe, content)
    try:
        if read_bytes(probe) != content:
            raise StorageError(f"{probe}: what was read is not what was written")
    finally:
        remove([probe])


@contextmanager
def _warnings(logger: str, level: int) -> Iterator[list[str]]:
    """What is logged meanwhile, from a level on, which is then not shown elsewhere."""
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    source, listener = logging.getLogger(logger), Listener(level)
    before = source.level, source.propagate
    source.addHandler(listener)
    source.setLevel(level)
    source.propagate = False
    try:
        yield said
    finally:
        source.removeHandler(listener)
        source.setLevel(before[0])
        source.propagate = before[1]
