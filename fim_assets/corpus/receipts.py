"""Receipts: what a partition is made of, and when it is complete.

A partition of an asset is complete if and only if its receipt is there and agrees. Materializing
deletes the receipt first and writes it last; outputs are written in a hidden folder and renamed.
One run at a time writes a partition; where no lock can be had, two may, and what one of them begins
is still never mixed into what the other finishes. On object storage the files of a partition are
made and checked in a folder of this machine, and uploaded with the receipt, which comes last.
"""

import operator
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import Field, ValidationError

from fim_assets.corpus.partition_files import PartitionFiles, ReceiptError, published_sizes
from fim_assets.corpus.raw_shard import Member
from fim_assets.io.frozen_model import FrozenModel
from fim_assets.io.hashing import FileRecord
from fim_assets.io.locations import Location, StorageError, is_remote
from fim_assets.io.storage import names_in, read_bytes, remove
from fim_assets.statistics.histograms import Histogram
from fim_assets.statistics.name_samples import NameSample

OTHER_RECIPE = "made by another recipe"
"""How the reason begins for which a partition is not complete though its files may be intact."""

RIGHT_RECIPE = "set FIM_RECIPE to the recipe that made them, or FIM_DATA_ROOT to another folder"
"""What to do with such files that are to be kept."""


class Result(FrozenModel):
    """What was made of what: the same for the same input and recipe.

    Attributes:
        fingerprint: Of what decided the bytes, see `Corpus.fingerprint`.
        seed: The partition's seed, 16 hex digits.
        input: The shard that was read; of a group of raw shards the sum of their bytes, and the
            hash of their hashes.
        members: Of a group of raw shards each, in order: its lines stand behind those of the one
            before. Left out of the receipt for a single shard.
        lines: Lines of the shard that the stage reads.
        blank: Lines without anything but white space.
        rejected: Lines that are no document.
        documents: Documents written; of a stage that writes none, read.
        files: Files in these documents; null where they were not looked at.
        chars: Unicode code points of the texts as this asset leaves them.
        tokens: Token ids written, BOS and EOS included; null where there are none.
        names: A sample of what has names of its own, by which is counted how many of these are in
            several partitions. Left out of the receipt where nothing has.
    """

    asset: str
    key: str
    fingerprint: str
    seed: str
    input: FileRecord
    members: tuple[Member, ...] = Field(default=(), exclude_if=operator.not_)
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
    names: NameSample | None = Field(default=None, exclude_if=operator.not_)


class Provenance(FrozenModel):
    """About the run that made it; free to differ between runs.

    `engine` is what encoded or worked, `checks` are those that it passed before it counted as
    finished, `versions` those of the libraries that had a part in it.
    """

    at: datetime
    seconds: float
    versions: dict[str, str]
    engine: str
    checks: tuple[str, ...] = ()


class Receipt(FrozenModel):
    """One partition of one asset, as `<asset>/<key>.json` holds it.

    `seen` counts what trainers see of the files of `result`, from which alone it follows, see
    `Stage.seen`. It is compared with nothing, and left out where the stage counts none, as in the
    receipts of older versions.
    """

    format: Literal[1] = 1
    result: Result
    made: Provenance
    seen: dict[str, int] = Field(default_factory=dict, exclude_if=operator.not_)

    def per_second(self, count: int) -> float:
        """How many of something the stage made a second."""
        return round(count / max(self.made.seconds, 0.001), 1)


def read_receipt(files: PartitionFiles) -> Receipt | None:
    """The partition's receipt, or None where there is none; a ReceiptError for another file.

    A StorageError says nothing of it: the partition may well be complete.
    """
    try:
        return Receipt.model_validate_json(read_bytes(files.receipt))
    except FileNotFoundError:
        return None
    except StorageError:
        raise
    except OSError as error:
        raise ReceiptError(f"cannot be read: {error}", location=files.receipt) from error
    except ValidationError as error:
        problem = f"not a receipt: {error.errors()[0]['msg']}"
        raise ReceiptError(problem, "materialize it again", files.receipt) from error


def why_incomplete(
    receipt: Receipt,
    files: PartitionFiles,
    fingerprint: str,
    sizes: Mapping[str, int] | None = None,
) -> str | None:
    """Why a partition is not complete in spite of its receipt, or None if it is.

    Looks at the fingerprint and at the files' sizes, not at their content. `sizes` are those of
    `published_sizes`; None looks.
    """
    result = receipt.result
    if (result.asset, result.key) != (files.folder.name, files.key):
        return f"{files.receipt} is the receipt of {result.asset} {result.key}"
    if result.fingerprint != fingerprint:
        return f"{OTHER_RECIPE} (fingerprint {result.fingerprint}, now {fingerprint})"
    if sizes is None and is_remote(files.folder):
        sizes = published_sizes(files.folder, files.outputs.folders, files.key)
    for output in result.outputs:
        path = files.published(output.name)
        size = _file_size(files, output.name) if sizes is None else sizes.get(output.name)
        if size is None:
            return f"{path} is missing"
        if size != output.bytes:
            return f"{path} has {size} bytes, the receipt says {output.bytes}"
    return None


def _file_size(files: PartitionFiles, name: str) -> int | None:
    path = files.output(name)
    return path.stat().st_size if path.is_file() else None


def keys_of_receipts(folder: Location) -> set[str]:
    """The partitions that have a receipt in an asset's folder, whatever it says."""
    names = (name for name in names_in(folder) if not name.startswith("."))
    return {name.removesuffix(".json") for name in names if name.endswith(".json")}


def delete_receipt(files: PartitionFiles) -> None:
    """Delete the receipt: the partition is no longer complete."""
    remove([files.receipt])
