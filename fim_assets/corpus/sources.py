"""Raw shards: which there are, by globs of files or URLs, or by manifests (`manifest`)."""

import glob
import logging
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from fsspec.utils import glob_translate
from upath import UPath

from fim_assets.corpus.keys import KEY_RULE, NAME_RULE, SHARD_NAME, fits
from fim_assets.corpus.manifest import MANIFEST_SUFFIX, read_manifest
from fim_assets.corpus.raw_shard import RawInput, RawShard
from fim_assets.errors import ShardError
from fim_assets.io.locations import (
    WILDCARD,
    Location,
    expand_home,
    is_remote,
    is_url,
    parse_url,
    split_url,
)
from fim_assets.io.other_formats import advice_for, other_ending
from fim_assets.io.storage import objects, tag_of
from fim_assets.wording import shortened

log = logging.getLogger(__name__)


def find_shards(documents: Iterable[str], root: Location) -> dict[str, RawInput]:
    """List the shards that globs of files or URLs match, or manifests (`.tsv`) name.

    `documents` are absolute, or relative to `root`.

    Returns:
        Shards by partition key, sorted by key. The key is the path below the glob's fixed part (the
        folders before the first wildcard), `/` as `__`, without the ending of `SHARD_NAME`; a
        manifest says it, and may give several shards one key.

    Raises:
        ShardError: If a matched file is no shard by its name, two shards have one key, a shard has
            two, a key holds what Dagster or a file name cannot carry, or a manifest is none.
    """
    shards: dict[str, RawInput] = {}
    unmatched = []
    for pattern in documents:
        listed = list(_listed_by(pattern, root))
        if not listed:
            unmatched.append(pattern)
        for key, shard in listed:
            known = shards.setdefault(key, shard)
            if [member.place for member in known.members] != [m.place for m in shard.members]:
                raise ShardError(f"two shards have the key {key}: {known} and {shard}")
            if not known.members[0].pinned_by:
                shards[key] = shard
    if shards:  # where there is none at all, the caller says so
        for pattern in unmatched:
            log.warning("raw.documents: %s matches nothing below %s", pattern, root)
    shards = dict(sorted(shards.items()))
    _refuse_doubled(shards)
    return shards


def _refuse_doubled(shards: Mapping[str, RawInput]) -> None:
    """Refuse files that are listed twice: globs overlap, or a link or `..` is another name."""
    listed = [(key, member) for key, shard in shards.items() for member in shard.members]
    sizes = Counter(member.bytes for _, member in listed)
    found: dict[str, tuple[str, RawShard]] = {}
    for key, member in listed:
        # Files of different sizes are not one: most of a manifest's need not be looked at.
        alone = not sizes[None] and sizes[member.bytes] == 1
        place = member.place if alone else member.real_place
        first_key, first = found.setdefault(place, (key, member))
        if first is not member:
            where = f"{member.pinned_by}: " if member.pinned_by else ""
            name = member.place if first.place == member.place else f"{member}, which is {first},"
            keys = f"two keys, {first_key} and" if first_key != key else "twice the key"
            problem = f"{where}{name} has {keys} {key}: its documents would count twice"
            raise ShardError(problem, "do globs overlap, or is there a link?")


def refuse_outputs(shards: Iterable[RawInput], folders: Iterable[Location]) -> None:
    """Refuse globs that match what was made of shards, which is in these folders."""
    outputs = tuple(f"{folder}{os.sep}" for folder in folders)
    for member in (member for shard in shards for member in shard.members):
        if member.place.startswith(outputs):
            advice = "narrow the glob, or set FIM_INPUT_ROOT to the folder of the raw shards"
            raise ShardError(f"{member}: raw.documents matches this output; {advice}")


def would_match(documents: Iterable[str], root: Location, location: Location) -> str | None:
    """The glob that would match a file, if one does; see `find_shards`."""
    for pattern in documents:
        absolute = _absolute(pattern, root)
        if is_remote(absolute) == is_remote(location) and re.match(
            glob_translate(str(absolute)), str(location)
        ):
            return pattern
    return None


def _listed_by(pattern: str, root: Location) -> Iterator[tuple[str, RawInput]]:
    if pattern.endswith(MANIFEST_SUFFIX) and not WILDCARD.search(pattern):
        yield from read_manifest(_absolute(pattern, root)).items()
        return
    start, rest = _start(pattern, root)
    if is_remote(start):
        yield from _objects(rest, start)
        return
    base, paths = _expand(rest, start)
    _refuse_other_files(paths)
    for path in paths:
        yield _key(path, path.relative_to(base).as_posix()), RawShard(str(path))


def _absolute(pattern: str, root: Location) -> Location:
    if is_url(pattern):
        return parse_url(pattern)
    try:
        local = expand_home(pattern)
    except FileNotFoundError as error:
        raise ShardError(f"raw.documents: {error}") from error
    return local if local.is_absolute() else root / pattern


def _start(pattern: str, root: Location) -> tuple[Location, str]:
    """The folder that a glob starts from, whose own name is none, and the glob from there."""
    path = _absolute(pattern, Path())
    if is_remote(path):
        if (split := split_url(path)) is None:
            problem = "name the bucket or dataset in full, and files in it"
            raise ShardError(f"raw.documents: {pattern}: {problem}")
        return split
    return (Path(path.anchor), str(path)) if path.is_absolute() else (root, pattern)


def _objects(pattern: str, root: UPath) -> Iterator[tuple[str, RawShard]]:
    parts = pattern.rstrip("/").split("/")
    wild = _first_wild(parts)
    base, rest = root.joinpath(*parts[:wild]), "/".join(parts[wild:])
    matching = objects(base, rest)
    _refuse_other_names(matching)
    for location, info in matching.items():
        key = _key(location, location.path.removeprefix(f"{base.path.rstrip('/')}/"))
        yield key, RawShard(str(location), int(info["size"]), tag_of(info))


def _first_wild(parts: Sequence[str]) -> int:
    return next((i for i, part in enumerate(parts) if WILDCARD.search(part)), len(parts) - 1)


def _expand(pattern: str, root: Path) -> tuple[Path, list[Path]]:
    parts = Path(pattern).parts
    if not parts or parts[-1] in ("**", "/"):
        raise ShardError(f"raw.documents: {pattern!r} names no files; should it end in **/*?")
    wild = _first_wild(parts)
    base = root.joinpath(*parts[:wild])
    _refuse_unreadable(base)
    names = glob.glob(str(Path(*parts[wild:])), root_dir=base, recursive=True)  # noqa: PTH207 - follows links
    paths = [base / name for name in names]
    return base, sorted(path for path in paths if not path.is_dir())


def _refuse_unreadable(base: Path) -> None:
    """Raise where a folder cannot be listed: globs would pass over it in silence."""

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise ShardError(f"{error.filename}: cannot be listed: {error.strerror}") from error

    for _ in os.walk(base, onerror=refuse):
        pass


def _refuse_other_files(paths: list[Path]) -> None:
    if missing := [path for path in paths if not path.exists()]:
        raise ShardError(f"{shortened(missing)}: a link to nothing")
    if special := [path for path in paths if not path.is_file()]:
        raise ShardError(f"{shortened(special)}: no file, but a pipe, a socket or a device")
    _refuse_other_names(paths)


def _refuse_other_names(locations: Collection[Location]) -> None:
    others = [location for location in locations if not SHARD_NAME.search(location.name)]
    if not others:
        return
    # The first of each kind is named, however many there are of another.
    firsts: dict[str, Location] = {}
    for location in others:
        firsts.setdefault(other_ending(location.name), location)
    named = dict.fromkeys([*firsts.values(), *others])
    problem = f"raw.documents matches what is no shard by its name; {NAME_RULE}"
    advice = advice_for(location.name for location in named)
    narrower = "narrow the glob or move the files"
    raise ShardError(
        f"{shortened(named)}: {problem}", f"{advice}; or {narrower}" if advice else narrower
    )


def _key(location: Location, name: str) -> str:
    """The partition key of a shard, from its path below its glob's fixed part."""
    key = SHARD_NAME.sub("", name).replace("/", "__")
    if not fits(key):
        raise ShardError(f"{location}: its key would be {key!r}; {KEY_RULE}: rename the shard")
    return key
