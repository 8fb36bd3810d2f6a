"""The files of a partition while they are made, and their publication."""

import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Self

from upath import UPath

from fim_assets.corpus.partition_files import (
    PartitionFiles,
    ReceiptError,
    fresh_folder,
    published_sizes,
)
from fim_assets.corpus.receipts import Receipt, delete_receipt, why_incomplete
from fim_assets.io.hashing import FileRecord, HashingWriter
from fim_assets.io.locations import is_remote
from fim_assets.io.storage import etag, fetch, remove, store, write_bytes

_GAP = 8


class Staging:
    """The files of one partition while they are made; a context manager.

    Entering deletes the partition's receipt, and what a killed run left. Files are created in a
    hidden folder, which may hold what is needed only until `publish`: that renames them into place
    and deletes what an earlier run left of this partition. Leaving removes the hidden folder, so
    that a failure leaves nothing half-written.
    """

    folder: Path

    def __init__(self, files: PartitionFiles) -> None:
        self.files = files
        self._open: list[tuple[str, HashingWriter]] = []

    def __enter__(self) -> Self:
        self.files.local.mkdir(parents=True, exist_ok=True)
        delete_receipt(self.files)
        self.folder = fresh_folder(self.files)
        return self

    def __exit__(self, *_error: object) -> None:
        for _, file in self._open:
            with suppress(OSError):
                file.close()
        shutil.rmtree(self.files.hidden, ignore_errors=True)

    def create(self, ending: str, folder: str | None = None) -> HashingWriter:
        """Begin an output: key and `ending` are its name, `folder` one next to the asset's own."""
        name = f"{self.files.key}{ending}"
        if folder is not None:
            name = f"{folder}/{name}"
        file = HashingWriter(self.folder / f"{len(self._open)}.part")
        self._open.append((name, file))
        return file

    def keep(self, file: HashingWriter, ending: str) -> Path:
        """Publish one file although the partition fails; return its path.

        It is no output: the next run that publishes the partition deletes it.
        """
        number = [other for _, other in self._open].index(file)
        file.close()
        path, folder = self.files.file(ending), self.files.folder
        (self.folder / f"{number}.part").replace(path)
        if is_remote(folder):
            store(path, folder / path.name)
        return path

    def publish(self) -> list[FileRecord]:
        """Rename all files into the folder, delete the partition's old ones, return the records."""
        records = []
        for number, (name, file) in enumerate(self._open):
            file.close()
            path = self.files.output(name)
            path.parent.mkdir(exist_ok=True)
            (self.folder / f"{number}.part").replace(path)
            records.append(file.record(name))
        _remove_stale_outputs(self.files, records)
        return records


def _remove_stale_outputs(files: PartitionFiles, records: Iterable[FileRecord]) -> None:
    """Delete what earlier runs left of a partition on this machine.

    No folder is listed, which with many partitions would cost more than the work: outputs are
    numbered from 0 on, and a gap of fewer than 8 is looked over.
    """
    written = {files.output(record.name) for record in records}
    others = [files.file(ending) for ending in files.outputs.endings]
    for name in ("", *files.outputs.folders):
        folder = files.local.with_name(name) if name else files.local
        for ending in files.outputs.numbered:
            number = missing = 0
            while missing < _GAP:
                path = folder / f"{files.key}-{number:05d}{ending}"
                exists = path.exists()
                others += [path] if exists else []
                missing = 0 if exists else missing + 1
                number += 1
    for other in reversed(others):
        if other not in written:
            other.unlink(missing_ok=True)


def write_receipt(files: PartitionFiles, receipt: Receipt) -> None:
    """Write the receipt, which completes the partition; to object storage, the files before it.

    A ReceiptError is raised if the files are not the ones that it records: another run wrote here.
    """
    reason = _upload(files, files.folder, receipt) if is_remote(files.folder) else None
    if reason := reason or why_incomplete(receipt, files, receipt.result.fingerprint):
        raise ReceiptError(f"{reason}: another run has written here meanwhile")
    content = (receipt.model_dump_json(indent=1) + "\n").encode()
    if is_remote(files.folder):
        write_bytes(files.receipt, content)
        return
    temporary = fresh_folder(files) / "receipt"
    try:
        temporary.write_bytes(content)
        temporary.replace(files.file(".json"))
    finally:
        shutil.rmtree(files.hidden, ignore_errors=True)


def _upload(files: PartitionFiles, folder: UPath, receipt: Receipt) -> str | None:
    """Upload the outputs; return a message if another run overwrote one.

    Object storage has no locks that could prevent it.
    """
    delete_receipt(files)  # another run may have finished since this one began
    names = {output.name for output in receipt.result.outputs}
    stored = {}
    for name in names:
        location = (folder.parent if "/" in name else folder) / name
        stored[location] = store(files.output(name), location)
    others = published_sizes(folder, files.outputs.folders, files.key).keys() - names
    stale = (n for n in others if files.outputs.hold(PurePosixPath(n).name, files.key))
    remove(map(files.published, stale))
    for location, state in stored.items():
        if etag(location) != state:
            return f"{location} has changed since it was written"
    return None


def fetch_outputs(files: PartitionFiles, receipt: Receipt) -> None:
    """Have a finished partition's outputs on this machine."""
    for output in receipt.result.outputs:
        path = files.output(output.name)
        if not path.exists():
            fetch(files.published(output.name), path.parent, output.bytes)
