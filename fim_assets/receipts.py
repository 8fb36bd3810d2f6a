"""Receipts: what a partition is made of, and when it is complete.

A partition of an asset is complete if and only if its receipt is there and agrees. Materializing
deletes the receipt first and writes it last; outputs are written in a hidden folder and renamed.
One run at a time writes a partition; where no lock can be had, two may, and what one of them begins
is still never mixed into what the other finishes.
"""

import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import mkdtemp
from typing import Literal, Self

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from fim_assets.files import FileRecord, HashingWriter

log = logging.getLogger(__name__)

_ENDING = (
    r"(\.parquet|\.jsonl\.zst|\.rejected\.jsonl"
    r"|-\d{5,}\.(npy|csv\.gz|bin|idx|ds|ds\.index|ds\.metadata|ds\.loss))"
)
"""How the names of a partition's outputs end."""

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
    """

    folder: Path
    key: str

    def file(self, ending: str) -> Path:
        """The partition's file with this ending."""
        return self.folder / f"{self.key}{ending}"

    def output(self, name: str) -> Path:
        """Where an output lies that its record names: in the folder, or in one beside it."""
        return (self.folder.parent if "/" in name else self.folder) / name

    @property
    def receipt(self) -> Path:
        """The receipt's path."""
        return self.file(".json")

    @property
    def hidden(self) -> Path:
        """The folder of what is being made, in which every run has one of its own."""
        return self.folder / f".{self.key}.staging"


def read_receipt(place: Place) -> Receipt | None:
    """The partition's receipt, or None where there is none.

    Raises:
        ReceiptError: If the file is there and is no receipt.
    """
    try:
        return Receipt.model_validate_json(place.receipt.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ReceiptError(f"{place.receipt}: cannot be read: {error}") from error
    except ValidationError as error:
        raise ReceiptError(
            f"{place.receipt}: not a receipt: {error.errors()[0]['msg']}; materialize it again"
        ) from error


def disagreement(receipt: Receipt, place: Place, fingerprint: str) -> str | None:
    """Why a partition is not complete in spite of its receipt, or None if it is.

    Looks at the law and at the files' sizes, not at their content.
    """
    result = receipt.result
    if (result.asset, result.key) != (place.folder.name, place.key):
        return f"{place.receipt} is the receipt of {result.asset} {result.key}"
    if result.fingerprint != fingerprint:
        return f"made by another recipe (fingerprint {result.fingerprint}, now {fingerprint})"
    for output in result.outputs:
        path = place.output(output.name)
        if not path.is_file():
            return f"{path} is missing"
        if path.stat().st_size != output.bytes:
            return f"{path} has {path.stat().st_size} bytes, the receipt says {output.bytes}"
    return None


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
        self.place.folder.mkdir(parents=True, exist_ok=True)
        self.place.receipt.unlink(missing_ok=True)
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

    def publish(self) -> list[FileRecord]:
        """Put all files in their places and delete the partition's old ones; their records."""
        records = []
        for number, (name, file) in enumerate(self._open):
            file.close()
            path = self.place.output(name)
            path.parent.mkdir(exist_ok=True)
            (self.folder / f"{number}.part").replace(path)
            records.append(file.record(name))
        written = {self.place.output(record.name) for record in records}
        for path in self._outputs():
            if path not in written:
                path.unlink()
        return records

    def _outputs(self) -> list[Path]:
        """All outputs of this partition, of this and of earlier runs."""
        of_this_partition = re.compile(re.escape(self.place.key) + _ENDING)
        own = self.place.folder
        beside = [own.with_name(name) for name in FOLDERS_BESIDE.get(own.name, ())]
        return [
            Path(entry.path)
            for folder in (own, *beside)
            if folder.is_dir()
            for entry in os.scandir(folder)
            if of_this_partition.fullmatch(entry.name)
        ]


def _fresh_folder(place: Place) -> Path:
    """A hidden folder that no other run uses; what earlier ones left is deleted."""
    shutil.rmtree(place.hidden, ignore_errors=True)
    place.hidden.mkdir(exist_ok=True)
    return Path(mkdtemp(dir=place.hidden))


def write_receipt(place: Place, receipt: Receipt) -> None:
    """Write the receipt, which completes the partition.

    Raises:
        ReceiptError: If the files are not the ones that it records: another run wrote here.
    """
    reason = disagreement(receipt, place, receipt.result.fingerprint)
    if reason:
        raise ReceiptError(f"{reason}: another run has written here meanwhile")
    temporary = _fresh_folder(place) / "receipt"
    try:
        temporary.write_text(receipt.model_dump_json(indent=1) + "\n", "utf-8")
        temporary.replace(place.receipt)
    finally:
        shutil.rmtree(place.hidden, ignore_errors=True)


def withdraw_receipt(place: Place) -> None:
    """Delete the receipt: the partition is no longer complete."""
    place.receipt.unlink(missing_ok=True)


@contextmanager
def sole_writer(folder: Path, key: str) -> Iterator[None]:
    """Hold a partition for this run alone: another run that wants it waits, and says so.

    The lock goes with the process that holds it, so that a killed run leaves none behind.

    Args:
        folder: Holds the assets' folders.
        key: The partition.
    """
    path = folder / ".locks" / f"{key}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.warning("%s: another run is writing this partition; waiting for it", key)
        lock.acquire()
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        lock.release()
