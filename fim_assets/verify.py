"""Receipts against what lies there: every file by its size and hash, and files that none lists."""

import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from fim_assets.files import record_file
from fim_assets.pipeline import Corpus
from fim_assets.receipts import FOLDERS_BESIDE, Receipt, ReceiptError, disagreement, read_receipt
from fim_assets.recipe import ASSETS
from fim_assets.report import ListedArray, build_summary


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
    corpus: Corpus, shards: Mapping[str, Path], keys: Iterable[str], workers: int
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


def _verify(corpus: Corpus, key: str, shard: Path | None) -> Verdict:
    verdict = Verdict(key)
    for asset in ASSETS:
        place = corpus.place(asset, key)
        try:
            receipt = read_receipt(place)
        except ReceiptError as error:
            verdict.faults.append(str(error))
            continue
        if receipt is None:
            continue
        verdict.receipts[asset] = receipt
        reason = disagreement(receipt, place, corpus.fingerprint(asset))
        if reason:
            verdict.faults.append(f"{place.receipt}: {reason}")
            continue
        for output in receipt.result.outputs:
            _compare(verdict, place.output(output.name), output.blake2b)
    if shard is None and verdict.receipts:
        folders = ", ".join(verdict.receipts)
        verdict.faults.append(f"{key}: in {folders}, but no shard of the recipe has this key")
    elif shard is not None:
        _verify_inputs(verdict, shard)
    return verdict


def _verify_inputs(verdict: Verdict, shard: Path) -> None:
    receipts = verdict.receipts
    of_raw = {
        receipts[asset].result.input.blake2b
        for asset in ("raw_shards", "fim_shards")
        if asset in receipts
    }
    for digest in of_raw:
        _compare(verdict, shard, digest)
    if "token_arrays" in receipts and "fim_shards" in receipts:
        source = receipts["token_arrays"].result.input
        if source not in receipts["fim_shards"].result.outputs:
            verdict.faults.append(
                f"{verdict.key}: token_arrays are made of another FIM shard than the one there is"
            )


def _compare(verdict: Verdict, path: Path, blake2b: str) -> None:
    try:
        found = record_file(path)
    except OSError as error:
        verdict.faults.append(f"{path}: cannot be read: {error.strerror}")
        return
    verdict.files += 1
    verdict.bytes += found.bytes
    if found.blake2b != blake2b:
        verdict.faults.append(
            f"{path}: its content has the hash {found.blake2b}, the receipt says {blake2b}"
        )


def keys_of_receipts(corpus: Corpus) -> set[str]:
    """The keys of all receipts that lie there, of shards that there are and of others."""
    return {
        entry.name.removesuffix(".json")
        for asset in ASSETS
        for entry in _entries(corpus.folder(asset))
        if entry.name.endswith(".json") and not entry.name.startswith(".")
    }


def strays(corpus: Corpus, verdicts: Iterable[Verdict]) -> Iterator[str]:
    """Files in the assets' folders that no receipt lists, in words.

    Args:
        corpus: Where outputs lie.
        verdicts: Of all partitions that have receipts.
    """
    listed = {corpus.folder("token_arrays") / "mix.txt"}
    for verdict in verdicts:
        for asset, receipt in verdict.receipts.items():
            place = corpus.place(asset, verdict.key)
            listed |= {place.receipt, *map(place.output, _names(receipt))}
    folders = {corpus.folder(asset) for asset in ASSETS}
    folders |= {corpus.folder(name) for asset in ASSETS for name in FOLDERS_BESIDE.get(asset, ())}
    for folder in sorted(folders):
        for entry in sorted(_entries(folder), key=lambda entry: entry.name):
            if Path(entry.path) not in listed:
                what = "left by a run that was killed" if entry.is_dir() else "in no receipt"
                yield f"{entry.path}: {what}"


def stale_report(corpus: Corpus, keys: Iterable[str]) -> Iterator[str]:
    """What `corpus_report` says of arrays that are not there any more, or not yet, in words.

    Args:
        corpus: Where outputs lie.
        keys: All partitions.
    """
    path = corpus.folder("corpus_report") / "summary.json"
    try:
        arrays = orjson.loads(path.read_bytes())["arrays"]
        listed = {ListedArray.model_validate(array) for array in arrays}
    except FileNotFoundError:
        return
    except (ValueError, LookupError, TypeError):
        yield f"{path}: is no summary; materialize corpus_report again"
        return
    if listed != set(build_summary(corpus, list(keys)).arrays):
        yield f"{path}: lists other arrays than the complete ones; materialize corpus_report again"


def _names(receipt: Receipt) -> list[str]:
    return [output.name for output in receipt.result.outputs]


def _entries(folder: Path) -> Iterator["os.DirEntry[str]"]:
    if folder.is_dir():
        yield from os.scandir(folder)
