"""The folder or bucket that shards go to: what is finished there, unfinished, or another's.

Unfinished files are in a hidden folder of it, with the plan that they are made by. When all shards
are whole they are moved to their places; a manifest that lists them and a hidden record of what
they were made of come last.
"""

import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from pydantic import ValidationError

from fim_assets.corpus.keys import SHARD_NAME
from fim_assets.corpus.manifest import COLUMNS
from fim_assets.errors import UserError
from fim_assets.io.frozen_model import FrozenModel
from fim_assets.io.locations import Location, is_remote
from fim_assets.io.locks import lock_for_a_while
from fim_assets.io.storage import (
    REQUESTS_AT_ONCE,
    move,
    read_bytes,
    remove,
    remove_folder,
    sizes_in,
    write_bytes,
)
from fim_assets.regroup.job import PART, Receipt
from fim_assets.regroup.read import Read
from fim_assets.regroup.write import SHARD, Written

log = logging.getLogger(__name__)

ReceiptT = TypeVar("ReceiptT", bound=Receipt)


class Plan(FrozenModel):
    """What decides the shards: a hash of the inputs' places and states, and options by name."""

    inputs: str
    options: dict[str, str]

    def differs_by(self, other: "Plan") -> str:
        """What is not the same, in words."""
        names = sorted(self.options.keys() | other.options.keys())
        changed = [n for n in names if self.options.get(n) != other.options.get(n)]
        return ", ".join([*changed, *(["the inputs"] if self.inputs != other.inputs else [])])


class Made(FrozenModel):
    """The record of finished shards: what they were made of, and what was counted."""

    plan: Plan
    inputs: int
    read: Read
    shards: tuple[Written, ...]

    @property
    def lines(self) -> int:
        """Lines that were written."""
        return sum(shard.lines for shard in self.shards)

    @property
    def bytes(self) -> int:
        """Their bytes, line feeds included."""
        return sum(shard.bytes for shard in self.shards)

    @property
    def repositories(self) -> int:
        """How many there are."""
        return sum(shard.repositories for shard in self.shards)


class Destination:
    """Where shards go.

    Attributes:
        folder: Holds them.
        hidden: Holds the unfinished files.
        manifest: Lists them.
    """

    def __init__(self, folder: Location) -> None:
        self.folder = folder
        self.hidden = folder / ".repositories.regroup"
        self.manifest = folder / "repositories.tsv"
        self._record, self._plan = folder / ".repositories.json", self.hidden / "plan.json"
        self._moving = self.hidden / "moving"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let another run wait; object storage has no locks, and there nobody does."""
        if is_remote(self.folder):
            yield
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        waiting = f"{self.folder}: another run is writing these shards"
        with lock_for_a_while(self.folder / ".repositories.lock", waiting):
            yield

    def finished(self, plan: Plan) -> Made | None:
        """The record of shards that are there and were made by this plan.

        What a run left that was killed right after it wrote the record is deleted.
        """
        try:
            made = Made.model_validate_json(read_bytes(self._record))
        except (FileNotFoundError, ValidationError):
            return None
        sizes = sizes_in(self.folder)
        records = [shard.record for shard in made.shards]
        whole = all(sizes.get(record.name) == record.bytes for record in records)
        if not whole or made.plan != plan:
            return None
        if self._earlier_plan() in (None, plan):
            remove_folder(self.hidden)
        return made

    def begin(self, plan: Plan, *, overwrite: bool) -> None:
        """Make the hidden folder ready, with what an earlier run by this plan finished.

        A UserError is raised if there are shards that are not to be replaced.
        """
        earlier = self._earlier_plan()
        goes_on = earlier == plan
        moving = goes_on and self._moving.name in sizes_in(self.hidden)
        if not (overwrite or moving) and (shards := self._shards()):
            advice = "--overwrite replaces all of them; or choose another folder"
            why = "is there already, of other inputs or options"
            raise UserError(why, advice, self.folder / shards[0])
        if not goes_on:
            if earlier is not None:
                changed = earlier.differs_by(plan)
                log.warning("%s: starting afresh, since %s changed", self.hidden, changed)
            remove_folder(self.hidden)
            write_bytes(self._plan, plan.model_dump_json().encode())
        left = (name for name in sizes_in(self.hidden) if name.endswith(PART))
        remove(self.hidden / name for name in left)

    def receipts(self, kind: type[ReceiptT], numbers: Iterable[int]) -> dict[int, ReceiptT]:
        """The receipts of a kind that are there, by number."""
        existing = sizes_in(self.hidden)
        places = {n: self.hidden / kind.name_of(n) for n in numbers if kind.name_of(n) in existing}
        with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
            contents = pool.map(read_bytes, places.values())
            return {
                number: kind.model_validate_json(content)
                for number, content in zip(places, contents, strict=True)
            }

    def publish(self, made: Made) -> None:
        """Move the shards to their places, and delete what is left of others and of the run."""
        write_bytes(self._moving, b"")
        remove([self._record, self.manifest])
        names = {shard.record.name for shard in made.shards}
        waiting = sorted(names & sizes_in(self.hidden).keys())
        with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
            moved = pool.map(lambda name: move(self.hidden / name, self.folder / name), waiting)
            list(moved)
        remove(self.folder / name for name in self._shards() if name not in names)
        write_bytes(self.manifest, "".join(_manifest_rows(made)).encode())
        write_bytes(self._record, made.model_dump_json(indent=1).encode())
        remove_folder(self.hidden)

    def _earlier_plan(self) -> Plan | None:
        try:
            return Plan.model_validate_json(read_bytes(self._plan))
        except (FileNotFoundError, ValidationError):
            return None

    def _shards(self) -> list[str]:
        return sorted(filter(SHARD.fullmatch, sizes_in(self.folder)))


def _manifest_rows(made: Made) -> Iterator[str]:
    yield "\t".join(COLUMNS) + "\n"
    for shard in made.shards:
        record = shard.record
        key = SHARD_NAME.sub("", record.name)
        yield "\t".join((key, record.name, f"{record.bytes}", "", record.blake2b)) + "\n"
