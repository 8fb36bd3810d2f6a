"""The files of a partition while they are made, and their publication."""

import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Self

from upath import UPath

from fim_assets.corpus.partition_files import (
    ENDINGS,
    PartitionFiles,
    ReceiptError,
    folders_beside,
    fresh_folder,
    sizes_of,
)
from fim_assets.corpus.receipts import Receipt, delete_receipt, why_incomplete
from fim_assets.io.hashing import FileRecord, HashingWriter
from fim_assets.io.storage import etag, fetch, is_remote, remove, store, write_bytes
from fim_assets.layouts.registry import array_endings

_GAP = 8


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

    def __init__(self, place: PartitionFiles) -> None:
        self.place = place
        self._open: list[tuple[str, HashingWriter]] = []

    def __enter__(self) -> Self:
        self.place.local.mkdir(parents=True, exist_ok=True)
        delete_receipt(self.place)
        self.folder = fresh_folder(self.place)
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
        _remove_stale_outputs(self.place, records)
        return records


def _remove_stale_outputs(place: PartitionFiles, records: Iterable[FileRecord]) -> None:
    """Delete what earlier runs left of a partition on this machine.

    No folder is listed, which with many partitions would cost more than the work: outputs are
    numbered from 0 on, and a gap of fewer than 8 is looked over.
    """
    written = {place.output(record.name) for record in records}
    others = [place.file(ending) for ending in ENDINGS]
    for name in ("", *folders_beside(place.local.name)):
        folder = place.local.with_name(name) if name else place.local
        for ending in array_endings():
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


def write_receipt(place: PartitionFiles, receipt: Receipt) -> None:
    """Write the receipt, which completes the partition; to object storage, the files before it.

    Raises:
        ReceiptError: If the files are not the ones that it records: another run wrote here.
        StorageError: If object storage does not take them.
    """
    reason = None
    if is_remote(place.folder):
        reason = _upload(place, place.folder, receipt)
    reason = reason or why_incomplete(receipt, place, receipt.result.fingerprint)
    if reason:
        raise ReceiptError(f"{reason}: another run has written here meanwhile")
    content = (receipt.model_dump_json(indent=1) + "\n").encode()
    if is_remote(place.folder):
        write_bytes(place.receipt, content)
        return
    temporary = fresh_folder(place) / "receipt"
    try:
        temporary.write_bytes(content)
        temporary.replace(place.file(".json"))
    finally:
        shutil.rmtree(place.hidden, ignore_errors=True)


def _upload(place: PartitionFiles, folder: UPath, receipt: Receipt) -> str | None:
    """Bring outputs to object storage, where nobody waits; one that is another run's, in words."""
    delete_receipt(place)  # another run may have finished since this one began
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
    if name in written or not own.startswith(key):
        return False
    ending = own.removeprefix(key)
    number = re.match(r"-\d{5,}", ending)
    return ending in ENDINGS or bool(number and ending[number.end() :] in array_endings())


def fetch_outputs(place: PartitionFiles, receipt: Receipt) -> None:
    """Have a finished partition's outputs on this machine.

    Raises:
        StorageError: If one cannot be fetched.
    """
    for output in receipt.result.outputs:
        path = place.output(output.name)
        if not path.exists():
            fetch(place.published(output.name), path.parent, output.bytes)
