"""Groups of raw shards: which shards become one partition, and which groups stay as they are.

A group's key is its first shard's, with `.group`. What a manifest groups already stays: shards that
come or go later neither move documents between partitions nor change a key.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Annotated

from pydantic import ByteSize, Field, TypeAdapter, ValidationError

from fim_assets.corpus.keys import KEY_RULE, fits
from fim_assets.corpus.raw_shard import RawInput, RawShard, ShardGroup
from fim_assets.errors import ShardError

_SIZE = TypeAdapter[int](Annotated[ByteSize, Field(gt=0)])


def read_group_size(text: str) -> int:
    """The bytes of a size that a person writes; a ValueError says what is allowed."""
    try:
        return _SIZE.validate_python(text)
    except ValidationError as error:
        raise ValueError(f"{text!r} is no size: 100MB, 64MiB or a number of bytes") from error


def group_shards(
    found: Mapping[str, RawInput], earlier: Mapping[str, RawInput], most: int
) -> dict[str, RawInput]:
    """Put shards into groups of at most so many bytes; a larger shard is alone.

    Groups of an `earlier` manifest stay, without the shards that are gone, and in front. All other
    shards are grouped in their order. A folder that holds `most` bytes of them shares no group with
    another; smaller ones do.
    """
    shards = {
        member.real_place: (key, member) for key, shard in found.items() for member in shard.members
    }
    groups: dict[str, RawInput] = {}
    for key, group in earlier.items():
        places = [member.real_place for member in group.members]
        here = [shards.pop(place) for place in places if place in shards]
        if here:
            groups[key] = _joined([member for _, member in here])
    for of_group in _filled(shards.values(), most):
        first, _ = of_group[0]
        key = _free(f"{first}.group" if len(of_group) > 1 else first, groups)
        groups[key] = _joined([member for _, member in of_group])
    return groups


def _filled(
    shards: Iterable[tuple[str, RawShard]], most: int
) -> Iterator[list[tuple[str, RawShard]]]:
    rows = [(key, shard, shard.place.rpartition("/")[0], shard.size) for key, shard in shards]
    of_folder: Counter[str] = Counter()
    for _, _, folder, size in rows:
        of_folder[folder] += size
    group: list[tuple[str, RawShard]] = []
    filled, last = 0, ""
    for key, shard, folder, size in rows:
        apart = folder != last and max(of_folder[folder], of_folder[last]) >= most
        if group and (apart or filled + size > most):
            yield group
            group, filled = [], 0
        group.append((key, shard))
        filled, last = filled + size, folder
    if group:
        yield group


def _joined(members: list[RawShard]) -> RawInput:
    return ShardGroup(tuple(members)) if len(members) > 1 else members[0]


def _free(key: str, groups: Mapping[str, RawInput]) -> str:
    """A key that no group has: one that was gone may have come back."""
    keys = (key if number == 1 else f"{key}.{number}" for number in count(1))
    free = next(key for key in keys if key not in groups)
    if not fits(free):
        raise ShardError(f"a group's key would be {free!r}; {KEY_RULE}: rename its first shard")
    return free


@dataclass
class GroupChanges:
    """How a manifest differs from an earlier one: keys of partitions, and shards that are gone."""

    kept: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)


def compare_groups(earlier: Mapping[str, RawInput], now: Mapping[str, RawInput]) -> GroupChanges:
    """Compare two manifests. A partition has changed if a shard of it is gone or is another."""
    changes = GroupChanges(new=[key for key in now if key not in earlier])
    listed = {member.real_place for shard in now.values() for member in shard.members}
    for key, group in earlier.items():
        changes.gone += [m.place for m in group.members if m.real_place not in listed]
        if key in now:
            same = len(group.members) == len(now[key].members) and all(
                map(_same, group.members, now[key].members)
            )
            (changes.kept if same else changes.changed).append(key)
    return changes


def _same(before: RawShard, now: RawShard) -> bool:
    pins = (before.blake2b, now.blake2b), (before.etag, now.etag)
    differ = any(old and new and old != new for old, new in pins)
    return before.real_place == now.real_place and before.bytes == now.bytes and not differ
