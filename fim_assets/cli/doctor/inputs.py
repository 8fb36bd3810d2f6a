"""What a run is given: the recipe, its tokenizer, and the raw shards as they are listed."""

import logging
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

import orjson

from fim_assets.cli.doctor.findings import Finding, error_finding, log_records
from fim_assets.corpus.corpus import Corpus, list_shards
from fim_assets.corpus.keys import shard_ending
from fim_assets.corpus.raw_shard import RawInput
from fim_assets.errors import USER_ERRORS
from fim_assets.io.compression import FAILED_DOWNLOAD, NOTHING_COMPRESSED
from fim_assets.layouts.registry import LAYOUTS
from fim_assets.nothing_found import nothing_found
from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import Fim
from fim_assets.settings import Settings
from fim_assets.tokenizer.find import content_hash, find_tokenizer
from fim_assets.tokenizer.load import LoadedTokenizer, load_tokenizer
from fim_assets.wording import file_size, plural, shortened

NAMES_SHOWN = 4


def recipe_finding(recipe: Recipe, settings: Settings) -> Finding:
    """Say how the recipe cuts, and in which fields it differs from the default."""
    weights = recipe.fim.weights.items()
    methods = " + ".join(name if part == 1 else f"{part:.0%} {name}" for name, part in weights)
    given = recipe.model_dump(exclude_defaults=True)  # and not what follows from it
    changed = _differences(given, Recipe().model_dump(), "")
    fields = ", ".join(f"{name} {value}" for name, value in changed)
    compared = f"differs in {fields}" if fields else "all fields at their defaults"
    text = f"{settings.recipe}: cuts by {methods}, seed {recipe.seed}; {compared}"
    return Finding("ok", "recipe", text)


def _differences(value: Any, default: Any, path: str) -> Iterator[tuple[str, str]]:
    """The fields that are not at their defaults, with their values."""
    if isinstance(value, dict) and isinstance(default, dict):
        for name, inner in value.items():
            yield from _differences(inner, default.get(name), f"{path}.{name}" if path else name)
    elif value != default:
        yield path, orjson.dumps(value).decode()


def trainer_finding(recipe: Recipe) -> Finding:
    """Say which trainer reads the arrays, and what becomes of documents longer than a sequence."""
    layout, context = LAYOUTS[recipe.tokens.layout], recipe.context
    length = (
        "no context.tokens: it cuts documents that are longer than its sequences"
        if context is None
        else f"sequences of {context.tokens:,} tokens"
    )
    reads = f"{layout.trainer} reads the array layout {layout.name}"
    advice = "what to set there is in the report and in docs/arrays.md"
    return Finding("ok", "trainer", f"{reads}; {length}; {advice}")


def list_and_judge_shards(
    corpus: Corpus, settings: Settings
) -> Generator[Finding, None, Mapping[str, RawInput]]:
    """List the shards; none where they cannot be listed."""
    try:
        with log_records("fim_assets", logging.WARNING) as warnings:
            shards = list_shards(corpus, settings.input_root)
    except USER_ERRORS as error:
        yield error_finding("shards", error)
        return {}
    if not shards:
        yield Finding("mend", "shards", *nothing_found(corpus.recipe.raw.documents, settings))
        return {}
    for warning in warnings:
        advice = "mend the glob, or take it out of the recipe"
        yield Finding("look", "shards", warning.getMessage(), advice)
    keys = list(shards)
    members = [member for shard in shards.values() for member in shard.members]
    formats = Counter(shard_ending(shard.place) for shard in members)
    kinds = ", ".join(f"{count:,} {ending}" for ending, count in formats.most_common())
    size = file_size(sum(shard.size for shard in members))
    manifests = Counter(
        shard.pinned_by.rpartition(", line ")[0] for shard in members if shard.pinned_by
    )
    pinned = "".join(f"; {rows:,} pinned by {name}" for name, rows in manifests.items())
    grouped = f" in {plural(len(keys), 'partition')}" if len(members) > len(keys) else ""
    named = " … ".join(dict.fromkeys((keys[0], keys[-1])))
    text = f"{len(members):,}{grouped}, {size} ({kinds}), {named}{pinned}"
    yield Finding("ok", "shards", text)
    yield from _empty_shards(shards)
    return shards


def _empty_shards(shards: Mapping[str, RawInput]) -> Iterator[Finding]:
    """The shards of 0 bytes, which a run would refuse or find no document in."""
    empty = [member for shard in shards.values() for member in shard.members if member.size == 0]
    if refused := [str(shard) for shard in empty if shard.lacks_content]:
        text = f"{shortened(refused, NAMES_SHOWN)}: {NOTHING_COMPRESSED}"
        yield Finding("mend", "shards", text, FAILED_DOWNLOAD)
    if others := [str(shard) for shard in empty if not shard.lacks_content]:
        text = f"{shortened(others, NAMES_SHOWN)}: 0 bytes, and so no document"
        # In a group, the other members may hold some.
        if keys := [k for k, shard in shards.items() if not (shard.size or shard.lacks_content)]:
            text += f"; empty partitions: {shortened(keys, NAMES_SHOWN)}"
        advice = "if it should hold documents, fetch it again, or leave it out of its list"
        yield Finding("look", "shards", text, advice)


def load_and_judge_tokenizer(recipe: Recipe) -> tuple[LoadedTokenizer | None, Finding]:
    """Load the recipe's tokenizer; None if it cannot be used."""
    named = recipe.tokens.tokenizer
    try:
        with log_records("fim_assets.tokenizer", logging.INFO) as records:
            # As a partition's run asks for it, so that the sample finds it loaded.
            tokenizer = load_tokenizer(recipe, content_hash(find_tokenizer(named)))
    except USER_ERRORS as error:
        return None, error_finding("tokenizer", error)
    controls = tokenizer.controls
    ids = ", ".join(f"{part} {number}" for part, number in controls.sentinels.items())
    text = (
        f"{named.name_or_path}: {len(tokenizer.vocabulary.token_bytes):,} ids; "
        f"{ids}, EOS {controls.eos}; encodes by {tokenizer.encoder_description}"
    )
    if tokenizer.encoders.reason is not None:
        return tokenizer, Finding("look", "tokenizer", text, "the bytes are the same, but slower")
    if records:
        texts = [text, *(record.getMessage() for record in records)]
        return tokenizer, Finding("look", "tokenizer", "; ".join(texts))
    return tokenizer, Finding("ok", "tokenizer", f"{text}, proved equal to the reference")


def separator_findings(recipe: Recipe, tokenizer: LoadedTokenizer) -> Iterator[Finding]:
    """Say what a file separator becomes that is no token; the default is no token of dolma2."""
    separator = recipe.fim.file_separator_token
    if separator is None or separator in tokenizer.controls.boundaries or recipe.repositories:
        return
    ids = len(tokenizer.encoder.encode([separator])[0])
    named = separator != Fim().file_separator_token
    close = get_close_matches(separator, tokenizer.added) if named else []
    text = (
        f"fim.file_separator_token is {separator}, no token of the tokenizer: where documents hold "
        f"it, it parts files, and is encoded as text of {plural(ids, 'id')}"
    )
    advice = f"close among its tokens: {', '.join(close)}" if close else ""
    yield Finding("look" if named else "ok", "separator", text, advice)
