"""Receipts: what a partition is made of, and when it is complete.

A partition of an asset is complete if and only if its receipt is there and agrees. Materializing
deletes the receipt first and writes it last; outputs are written in a hidden folder and renamed.
One run at a time writes a partition; where no lock can be had, two may, and what one of them begins
is still never mixed into what the other finishes. On object storage the files of a partition are
made and checked in a folder of this machine, and uploaded with the receipt, which comes last.
"""

import logging
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Self
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, ValidationError
from upath import UPath

from fim_assets.files import FileRecord, HashingWriter
from fim_assets.storage import (
    Location,
    StorageError,
    etag,
    fetch,
    is_remote,
    lock,
    names_in,
    read_bytes,
    remove,
    sizes_below,
    store,
    why_no_locks,
    write_bytes,
)

log = logging.getLogger(__name__)

FAILED = ".failed.jsonl"
"""How the name of the rejected lines ends that a partition left which failed by them."""

_ENDINGS = (".parquet", ".jsonl.zst", ".rejected.jsonl", FAILED)
_NUMBERED_ENDINGS = (
    *(".npy", ".csv.gz", ".bin", ".idx"),
    *(".ds", ".ds.index", ".ds.metadata", ".ds.loss"),
)
"""How the names of a partition's outputs end; before the latter stands `-` and a number from 0."""

_GAP = 8

_LOCKS = ".locks"

_ENDING = re.compile(
    f"({'|'.join(map(re.escape, _ENDINGS))}"
    f"|-\\d{{5,}}({'|'.join(map(re.escape, _NUMBERED_ENDINGS))}))"
)

FOLDERS_BESIDE = {"token_arrays": ("label_masks",)}
"""Folders beside an asset's own that hold outputs of its partitions too."""


class ReceiptError(ValueError):
    """A receipt that cannot be read or does not agree; the message names the file."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Histogram(_Part):
    """How a length is distributed; histograms of partitions add up.

    Attributes:
        count: Number of values.
        sum: Their sum.
        min: Smallest value, null without values.
        max: Largest value, null without values.
        p50: Median of this partition, null without values.
        p95: 95th percentile of this partition, null without values.
        bins: Values at or above this bin's lower edge and below the next edge of `stats.EDGES`;
            empty bins are left out.
    """

    count: int
    sum: int
    min: int | None
    max: int | None
    p50: int | None
    p95: int | None
    bins: dict[int, int]


class Result(_Part):
    """What was made of what: the same for the same input and law.

    Attributes:
        asset: Which asset.
        key: Its partition.
        fingerprint: The law that made it, see `Recipe.fingerprint`.
        seed: The partition's seed, 16 hex digits.
        input: The file that was read.
        outputs: The files that were written.
        lines: Lines of the raw shard (`raw_shards`, `fim_shards`) or of the FIM shard.
        blank: Lines without anything but white space.
        rejected: Lines that are no document.
        documents: Documents read, and so written.
        files: Files in these documents; null where they were not looked at.
        chars: Unicode code points of the texts as this asset leaves them.
        tokens: Token ids written, BOS and EOS included; null where there are none.
        counts: Further numbers by name, each a number of what its name says.
        histograms: Distributions of lengths by name.
    """

    asset: str
    key: str
    fingerprint: str
    seed: str
    input: FileRecord
    outputs: list[FileRecord]
    lines: int
    blank: int
    rejected: int
    documents: int
    files: int | None = None
    chars: int
    tokens: int | None = None
    counts: dict[str, int]
    histograms: dict[str, Histogram]


class Made(_Part):
    """About the run that made it; free to differ between runs.

    Attributes:
        at: When it began.
        seconds: How long it took.
        versions: Of the libraries that had a part in it.
        engine: What did the work.
        checks: The checks that it passed before it counted as finished.
    """

    at: datetime
    seconds: float
    versions: dict[str, str]
    engine: str
    checks: tuple[str, ...] = ()


class Receipt(_Part):
    """One partition of one asset, as `<asset>/<key>.json` holds it."""

    format: Literal[1] = 1
    result: Result
    made: Made


@dataclass(frozen=True)
class Place:
    """Where one partition of one asset lies.

    Attributes:
        folder: The asset's folder.
        key: The partition's key.
        work: A folder of this machine in which the files are made and read, where `folder` is on
            object storage.
    """

    folder: Location
    key: str
    work: Path | None = None

    @property
    def local(self) -> Path:
        """The folder of this machine in which the files are made and read."""
        if self.work is not None:
            return self.work
        if is_remote(self.folder):
            raise ReceiptError(f"{self.folder}: its files are on no folder of this machine")
        return self.folder

    def file(self, ending: str) -> Path:
        """The partition's file with this ending, on this machine."""
        return self.local / f"{self.key}{ending}"

    def output(self, name: str) -> Path:
        """An output that its record names, on this machine: in the folder, or in one beside it."""
        return (self.local.parent if "/" in name else self.local) / name

    def published(self, name: str) -> Location:
        """Where an output lies for those who read it."""
        return (self.folder.parent if "/" in name else self.folder) / name

    @property
    def receipt(self) -> Location:
        """Where the receipt lies."""
        return self.folder / f"{self.key}.json"

    @property
    def hidden(self) -> Path:
        """The folder of what is being made, in which every run has one of its own."""
        return self.local / f".{self.key}.staging"


def read_receipt(place: Place) -> Receipt | None:
    """The partition's receipt, or None where there is none.

    Raises:
        ReceiptError: If the file is there and is no receipt.
        StorageError: If object storage does not say: the partition may well be complete.
    """
    try:
        return Receipt.model_validate_json(read_bytes(place.receipt))
    except FileNotFoundError:
        return None
    except StorageError:
        raise
    except OSError as error:
        raise ReceiptError(f"{place.receipt}: cannot be read: {error}") from error
    except ValidationError as error:
        raise ReceiptError(
            f"{place.receipt}: not a receipt: {error.errors()[0]['msg']}; materialize it again"
        ) from error


def disagreement(
    receipt: Receipt, place: Place, fingerprint: str, sizes: Mapping[str, int] | None = None
) -> str | None:
    """Why a partition is not complete in spite of its receipt, or None if it is.

    Looks at the law and at the files' sizes, not at their content.

    Args:
        receipt: The partition's.
        place: Where it lies.
        fingerprint: The law of today.
        sizes: What lies there, from `sizes_of`; None looks.
    """
    result = receipt.result
    if (result.asset, result.key) != (place.folder.name, place.key):
        return f"{place.receipt} is the receipt of {result.asset} {result.key}"
    if result.fingerprint != fingerprint:
        return f"made by another recipe (fingerprint {result.fingerprint}, now {fingerprint})"
    if sizes is None and is_remote(place.folder):
        sizes = sizes_of(place.folder, place.key)
    for output in result.outputs:
        path = place.published(output.name)
        size = _file_size(place, output.name) if sizes is None else sizes.get(output.name)
        if size is None:
            return f"{path} is missing"
        if size != output.bytes:
            return f"{path} has {size} bytes, the receipt says {output.bytes}"
    return None


def _file_size(place: Place, name: str) -> int | None:
    path = place.output(name)
    return path.stat().st_size if path.is_file() else None


def sizes_of(folder: UPath, key: str = "") -> dict[str, int]:
    """Sizes of what lies in an asset's folder on object storage, and in those beside it.

    Args:
        folder: The asset's.
        key: What the files' names begin with.
    """
    sizes = sizes_below(folder, key)
    for name in FOLDERS_BESIDE.get(folder.name, ()):
        beside = sizes_below(folder.parent / name, key)
        sizes |= {f"{name}/{file}": size for file, size in beside.items()}
    return sizes


class Staging:
    """The files of one partition while they are made; a context manager.

    Entering deletes the partition's receipt, and what a killed run left. Files are created in a
    hidden folder; `publish` renames them into place and deletes what an earlier run left of this
    partition. Leaving removes the hidden folder, so that a failure leaves nothing half-written.

    Attributes:
        place: The partition.
        folder: A hidden folder, which may hold what is needed only until `publish`.
    """

    folder: Path

    def __init__(self, place: Place) -> None:
        self.place = place
        self._open: list[tuple[str, HashingWriter]] = []

    def __enter__(self) -> Self:
        self.place.local.mkdir(parents=True, exist_ok=True)
        withdraw_receipt(self.place)
        self.folder = _fresh_folder(self.place)
        return self

    def __exit__(self, *_error: object) -> None:
        for _, file in self._open:
            with suppress(OSError):
                file.close()
        shutil.rmtree(self.place.hidden, ignore_errors=True)

    def create(self, ending: str, beside: str | None = None) -> HashingWriter:
        """Begin one of the partition's output files.

        Args:
            ending: How its name ends, behind the key.
            beside: A folder beside the asset's own that takes it.
        """
        name = f"{self.place.key}{ending}"
        if beside is not None:
            name = f"{beside}/{name}"
        file = HashingWriter(self.folder / f"{len(self._open)}.part")
        self._open.append((name, file))
        return file

    def keep(self, file: HashingWriter, ending: str) -> Path:
        """Put one file in a place of its own, though the partition fails; where it then is.

        It is no output: the next run that publishes the partition deletes it.

        Raises:
            StorageError: If object storage does not take it.
        """
        number = [other for _, other in self._open].index(file)
        file.close()
        path, folder = self.place.file(ending), self.place.folder
        (self.folder / f"{number}.part").replace(path)
        if is_remote(folder):
            store(path, folder / path.name)
        return path

    def publish(self) -> list[FileRecord]:
        """Put all files in their places and delete the partition's old ones; their records."""
        records = []
        for number, (name, file) in enumerate(self._open):
            file.close()
            path = self.place.output(name)
            path.parent.mkdir(exist_ok=True)
            (self.folder / f"{number}.part").replace(path)
            records.append(file.record(name))
        _remove_others(self.place, records)
        return records


def _remove_others(place: Place, records: Iterable[FileRecord]) -> None:
    """Delete what earlier runs left of a partition on this machine.

    No folder is listed, which with many partitions would cost more than the work: outputs are
    numbered from 0 on, and a gap of fewer than 8 is looked over.
    """
    written = {place.output(record.name) for record in records}
    others = [place.file(ending) for ending in _ENDINGS]
    for name in ("", *FOLDERS_BESIDE.get(place.local.name, ())):
        folder = place.local.with_name(name) if name else place.local
        for ending in _NUMBERED_ENDINGS:
            number = missing = 0
            while missing < _GAP:
                path = folder / f"{place.key}-{number:05d}{ending}"
                found = path.exists()
                others += [path] if found else []
                missing = 0 if found else missing + 1
                number += 1
    for other in reversed(others):
        if other not in written:
            other.unlink(missing_ok=True)


def _fresh_folder(place: Place) -> Path:
    """A hidden folder that no other run uses; what earlier ones left is deleted."""
    shutil.rmtree(place.hidden, ignore_errors=True)
    place.hidden.mkdir(exist_ok=True)
    # Not `mkdtemp`, which no other user of a shared folder could delete after a killed run.
    folder = place.hidden / uuid4().hex
    folder.mkdir()
    return folder


def write_receipt(place: Place, receipt: Receipt) -> None:
    """Write the receipt, which completes the partition; to object storage, the files before it.

    Raises:
        ReceiptError: If the files are not the ones that it records: another run wrote here.
        StorageError: If object storage does not take them.
    """
    reason = None
    if is_remote(place.folder):
        reason = _upload(place, place.folder, receipt)
    reason = reason or disagreement(receipt, place, receipt.result.fingerprint)
    if reason:
        raise ReceiptError(f"{reason}: another run has written here meanwhile")
    content = (receipt.model_dump_json(indent=1) + "\n").encode()
    if is_remote(place.folder):
        write_bytes(place.receipt, content)
        return
    temporary = _fresh_folder(place) / "receipt"
    try:
        temporary.write_bytes(content)
        temporary.replace(place.file(".json"))
    finally:
        shutil.rmtree(place.hidden, ignore_errors=True)


def _upload(place: Place, folder: UPath, receipt: Receipt) -> str | None:
    """Bring outputs to object storage, where nobody waits; one that is another run's, in words."""
    withdraw_receipt(place)  # another run may have finished since this one began
    names = {output.name for output in receipt.result.outputs}
    stored = {}
    for name in names:
        location = (folder.parent if "/" in name else folder) / name
        stored[location] = store(place.output(name), location)
    sizes = sizes_of(folder, place.key)
    remove(place.published(name) for name in sizes if _is_other(name, place.key, names))
    for location, state in stored.items():
        if etag(location) != state:
            return f"{location} has changed since it was written"
    return None


def _is_other(name: str, key: str, written: set[str]) -> bool:
    """Whether a name is an earlier run's output of this partition."""
    own = name.rpartition("/")[2]
    return name not in written and bool(
        own.startswith(key) and _ENDING.fullmatch(own.removeprefix(key))
    )


def keys_of_receipts(folder: Location) -> set[str]:
    """The partitions that have a receipt in an asset's folder, whatever it says.

    Raises:
        StorageError: If object storage cannot be listed.
    """
    return {
        name.removesuffix(".json")
        for name in names_in(folder)
        if name.endswith(".json") and not name.startswith(".")
    }


def bring_outputs(place: Place, receipt: Receipt) -> None:
    """Have a finished partition's outputs on this machine.

    Raises:
        StorageError: If one cannot be fetched.
    """
    for output in receipt.result.outputs:
        path = place.output(output.name)
        if not path.exists():
            fetch(place.published(output.name), path.parent, output.bytes)


def withdraw_receipt(place: Place) -> None:
    """Delete the receipt: the partition is no longer complete."""
    remove([place.receipt])


def no_locks_warning(folder: Location) -> str | None:
    """What to warn of where two runs of a partition do not wait for each other, None if they do.

    Object storage never has locks, and gets no warning; a folder that cannot be written fails with
    the first file.

    Args:
        folder: Holds the assets' folders.
    """
    if is_remote(folder):
        return None
    locks = folder / _LOCKS
    try:
        locks.mkdir(parents=True, exist_ok=True)
        reason = why_no_locks(locks)
    except OSError:
        return None
    return reason and (
        f"{folder}: its file system has no locks ({reason}): two runs of one partition do not wait "
        "for each other; what each finishes is whole"
    )


@contextmanager
def sole_writer(folder: Location, key: str) -> Iterator[None]:
    """Hold a partition for this run alone: another run that wants it waits, and says so.

    The lock goes with the process that holds it, so that a killed run leaves none behind. Object
    storage and some file systems have none: there nobody waits (`no_locks_warning`).

    Args:
        folder: Holds the assets' folders.
        key: The partition.
    """
    if is_remote(folder):
        yield
        return
    path = folder / _LOCKS / f"{key}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)

    def on_wait() -> None:
        log.warning("%s: another run is writing this partition; waiting for it", key)

    with lock(path, on_wait):
        try:
            yield
        finally:
            with suppress(OSError):
                path.unlink()
