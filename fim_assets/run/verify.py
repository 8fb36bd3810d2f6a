"""Receipts against what lies there: every file by its size and hash, and files that none lists."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import orjson

from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus.partition_files import FAILED, ReceiptError, folders_beside
from fim_assets.corpus.receipts import Receipt, keys_of_receipts, read_receipt, why_incomplete
from fim_assets.corpus.sources import RawShard
from fim_assets.corpus_report.summary import ListedArray
from fim_assets.corpus_report.write import FILES as REPORT_FILES
from fim_assets.io.hashing import record_file
from fim_assets.io.storage import Location, StorageError, fetched, is_remote, names_in, read_bytes
from fim_assets.recipe import ASSETS


@dataclass
class Verdict:
    """What was found of one partition.

    Attributes:
        key: The partition.
        receipts: Its receipts by asset.
        faults: What does not agree, a sentence each that names the file.
        files: Files that were hashed.
        bytes: Their size.
    """

    key: str
    receipts: dict[str, Receipt] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    files: int = 0
    bytes: int = 0


def verify_partitions(
    corpus: Corpus, shards: Mapping[str, RawShard], keys: Iterable[str], workers: int
) -> Iterator[Verdict]:
    """Hold each partition's receipts against the recipe, its raw shard and its files.

    Args:
        corpus: The recipe, and where outputs lie.
        shards: All raw shards by partition key.
        keys: The partitions, in whose order verdicts come.
        workers: Partitions that are read at once.
    """
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(lambda key: _verify(corpus, key, shards.get(key)), keys)


def _verify(corpus: Corpus, key: str, shard: RawShard | None) -> Verdict:
    verdict = Verdict(key)
    for asset in ASSETS:
        place = corpus.place(asset, key)
        try:
            receipt = read_receipt(place)
        except (ReceiptError, StorageError) as error:
            verdict.faults.append(str(error))
            continue
        if receipt is None:
            continue
        verdict.receipts[asset] = receipt
        reason = why_incomplete(receipt, place, corpus.fingerprint(asset))
        if reason:
            verdict.faults.append(f"{place.receipt}: {reason}")
            continue
        for output in receipt.result.outputs:
            _compare(verdict, place.published(output.name), output.blake2b)
    if shard is None and verdict.receipts:
        folders = ", ".join(verdict.receipts)
        verdict.faults.append(f"{key}: in {folders}, but no shard of the recipe has this key")
    elif shard is not None:
        _verify_inputs(verdict, shard)
    return verdict


def _verify_inputs(verdict: Verdict, shard: RawShard) -> None:
    receipts = verdict.receipts
    of_raw = {
        receipts[asset].result.input.blake2b
        for asset in ("raw_shards", "fim_shards")
        if asset in receipts
    }
    for digest in of_raw:
        _compare(verdict, shard.location, digest)
    if "token_arrays" in receipts and "fim_shards" in receipts:
        source = receipts["token_arrays"].result.input
        if source not in receipts["fim_shards"].result.outputs:
            verdict.faults.append(
                f"{verdict.key}: token_arrays are made of another FIM shard than the one there is"
            )


def _compare(verdict: Verdict, path: Location, blake2b: str) -> None:
    try:
        with fetched(path) as file:
            found = record_file(file)
    except OSError as error:
        verdict.faults.append(f"{path}: cannot be read: {error.strerror or error}")
        return
    verdict.files += 1
    verdict.bytes += found.bytes
    if found.blake2b != blake2b:
        verdict.faults.append(
            f"{path}: its content has the hash {found.blake2b}, the receipt says {blake2b}"
        )


def begun_keys(corpus: Corpus) -> set[str]:
    """The keys of all receipts that lie there, of shards that there are and of others."""
    return set().union(*(keys_of_receipts(corpus.folder(asset)) for asset in ASSETS))


def unlisted_files(corpus: Corpus, verdicts: Iterable[Verdict]) -> Iterator[str]:
    """Files in the assets' folders that no receipt lists, in words.

    The rejected lines that a partition left which failed by them are none, until it is finished.

    Args:
        corpus: Where outputs lie.
        verdicts: Of all partitions that have receipts.
    """
    listed = {corpus.folder("token_arrays") / "mix.txt"}
    raw_shards = corpus.folder("raw_shards")
    finished = set()
    for verdict in verdicts:
        if "raw_shards" in verdict.receipts:
            finished.add(verdict.key)
        for asset, receipt in verdict.receipts.items():
            place = corpus.place(asset, verdict.key)
            outputs = (output.name for output in receipt.result.outputs)
            listed |= {place.receipt, *map(place.published, outputs)}
    folders = {corpus.folder(asset) for asset in ASSETS}
    folders |= {corpus.folder(name) for asset in ASSETS for name in folders_beside(asset)}
    for folder in sorted(folders, key=str):
        for name in sorted(names_in(folder)):
            path = folder / name
            failed = folder == raw_shards and name.endswith(FAILED)
            if failed and name.removesuffix(FAILED) not in finished:
                continue
            if path not in listed:
                left = not is_remote(path) and path.is_dir()
                yield f"{path}: {'left by a run that was killed' if left else 'in no receipt'}"


def stale_report(corpus: Corpus, complete: Iterable[ListedArray]) -> Iterator[str]:
    """What `corpus_report` lacks, and says of arrays that are not there any more or not yet.

    The data root may be another one than the report's, with the key prefix or a part of it.

    Args:
        corpus: Where outputs lie.
        complete: The arrays of all complete partitions.
    """
    folder = corpus.folder("corpus_report")
    path = folder / "summary.json"
    try:
        arrays = orjson.loads(read_bytes(path))["arrays"]
        listed = {_below(corpus, ListedArray.model_validate(array)) for array in arrays}
    except FileNotFoundError:
        return
    except (ValueError, LookupError, TypeError):
        yield f"{path}: is no summary; materialize corpus_report again"
        return
    there = names_in(folder)
    for name in REPORT_FILES:
        if name not in there:
            yield f"{folder / name}: is missing; materialize corpus_report again"
    if listed != set(complete):
        yield f"{path}: lists other arrays than the complete ones; materialize corpus_report again"


def _below(corpus: Corpus, array: ListedArray) -> ListedArray:
    """An array with its paths from this data root, where a path from another one leads to it."""
    folder = PurePosixPath(str(corpus.folder("token_arrays").parent))
    prefix, recorded = PurePosixPath(*corpus.prefix), PurePosixPath(array.path).parents[1]
    if folder.parts[len(folder.parts) - len(recorded.parts) :] != recorded.parts:
        return array

    def moved(path: str | None) -> str | None:
        return path and (prefix / PurePosixPath(path).relative_to(recorded)).as_posix()

    return array.model_copy(
        update={"path": moved(array.path), "label_mask": moved(array.label_mask)}
    )


def other_prefixes(corpus: Corpus) -> list[str]:
    """The key prefixes of other corpora in a data root that is a folder, as far as two parts go."""
    root = corpus.data_root
    if is_remote(root):
        return []
    folders = [folder for glob in ("*", "*/*") for folder in root.glob(f"{glob}/raw_shards")]
    prefixes = {folder.parent.relative_to(root).as_posix() for folder in folders}
    return sorted(prefixes - {"/".join(corpus.prefix)})
