"""Receipts compared with the files: each by its size and hash, and those that none lists."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import orjson

from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus.partition_files import FAILED, ReceiptError
from fim_assets.corpus.raw_shard import RawInput
from fim_assets.corpus.receipts import Receipt, keys_of_receipts, read_receipt, why_incomplete
from fim_assets.corpus_report.summary import CORPUS_REPORT, ListedArray
from fim_assets.corpus_report.write import FILES as REPORT_FILES
from fim_assets.corpus_report.write import mix_file
from fim_assets.io.hashing import record_file
from fim_assets.io.locations import Location, StorageError, is_remote
from fim_assets.io.storage import fetched, names_in, read_bytes
from fim_assets.wording import plural


@dataclass
class Verdict:
    """What is known of one partition: receipts by asset, faults, and the files that were hashed.

    `others` are the assets that another recipe made, whose files are compared all the same.
    """

    key: str
    receipts: dict[str, Receipt] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    files: int = 0
    bytes: int = 0


def verify_partitions(
    corpus: Corpus, shards: Mapping[str, RawInput], keys: Iterable[str], workers: int
) -> Iterator[Verdict]:
    """Compare each partition's receipts with its files, its raw shard and the recipe.

    Verdicts come in the order of the keys; `workers` partitions are read at once.
    """
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(lambda key: _verify(corpus, key, shards.get(key)), keys)


def _verify(corpus: Corpus, key: str, shard: RawInput | None) -> Verdict:
    verdict = Verdict(key)
    for asset in corpus.names:
        files = corpus.files(asset, key)
        try:
            receipt = read_receipt(files)
        except (ReceiptError, StorageError) as error:
            verdict.faults.append(str(error))
            continue
        if receipt is None:
            continue
        verdict.receipts[asset] = receipt
        made_by = receipt.result.fingerprint
        if made_by != corpus.fingerprint(asset):
            verdict.others.append(asset)
        reason = why_incomplete(receipt, files, made_by)
        if reason:
            verdict.faults.append(f"{files.receipt}: {reason}")
            continue
        for output in receipt.result.outputs:
            _compare(verdict, files.published(output.name), output.blake2b)
    if shard is None and verdict.receipts:
        folders = ", ".join(verdict.receipts)
        verdict.faults.append(f"{key}: in {folders}, but no shard of the recipe has this key")
    elif shard is not None:
        _verify_inputs(corpus, verdict, shard)
    return verdict


def _verify_inputs(corpus: Corpus, verdict: Verdict, shard: RawInput) -> None:
    # What another recipe made may have been made of other stages.
    receipts = {a: made for a, made in verdict.receipts.items() if a not in verdict.others}
    of_raw_shard = set()
    for stage in corpus.stages:
        if stage.name not in receipts:
            continue
        read, source = receipts[stage.name].result.input, corpus.source(stage)
        if source is None:
            members = receipts[stage.name].result.members or (read,)
            of_raw_shard.add(tuple(member.blake2b for member in members))
        elif source.name in receipts and read not in receipts[source.name].result.outputs:
            other = f"another output of {source.name} than the existing one"
            verdict.faults.append(f"{verdict.key}: {stage.name} are made of {other}")
    for digests in of_raw_shard:
        if len(digests) != len(shard.members):
            made, now = plural(len(digests), "shard"), f"{len(shard.members):,}"
            verdict.faults.append(f"{verdict.key}: made of {made}, and now it has {now}")
            continue
        for member, digest in zip(shard.members, digests, strict=True):
            _compare(verdict, member.location, digest)


def _compare(verdict: Verdict, path: Location, blake2b: str) -> None:
    try:
        with fetched(path) as file:
            record = record_file(file)
    except OSError as error:
        verdict.faults.append(f"{path}: cannot be read: {error.strerror or error}")
        return
    verdict.files += 1
    verdict.bytes += record.bytes
    if record.blake2b != blake2b:
        hashes = f"has the hash {record.blake2b}, the receipt says {blake2b}"
        verdict.faults.append(f"{path}: its content {hashes}")


def begun_keys(corpus: Corpus) -> set[str]:
    """The keys of all receipts there are, of shards that there are and of others."""
    return set().union(*(keys_of_receipts(corpus.folder(asset)) for asset in corpus.names))


def unlisted_files(corpus: Corpus, verdicts: Iterable[Verdict]) -> Iterator[str]:
    """Files in the assets' folders that no receipt lists, as text.

    The rejected lines that a partition left which failed by them are none, until it is finished.
    The verdicts are those of all partitions that have receipts.
    """
    listed = {mix_file(corpus)}
    finished: set[tuple[Location, str]] = set()
    for verdict in verdicts:
        for asset, receipt in verdict.receipts.items():
            finished.add((corpus.folder(asset), verdict.key))
            files = corpus.files(asset, verdict.key)
            outputs = (output.name for output in receipt.result.outputs)
            listed |= {files.receipt, *map(files.published, outputs)}
    for folder in sorted(set(corpus.folders()), key=str):
        for name in sorted(names_in(folder)):
            path = folder / name
            if name.endswith(FAILED) and (folder, name.removesuffix(FAILED)) not in finished:
                continue
            if path not in listed:
                left = not is_remote(path) and path.is_dir()
                yield f"{path}: {'left by a run that was killed' if left else 'in no receipt'}"


def stale_report(corpus: Corpus, complete: Iterable[ListedArray]) -> Iterator[str]:
    """What `corpus_report` lacks, and says of arrays that are not there any more or not yet.

    The data root may be another one than the report's, with the key prefix or a part of it.
    `complete` are the arrays of all complete partitions.
    """
    folder = corpus.folder(CORPUS_REPORT)
    path = folder / "summary.json"
    try:
        arrays = orjson.loads(read_bytes(path))["arrays"]
        listed = {_below(corpus, ListedArray.model_validate(array)) for array in arrays}
    except FileNotFoundError:
        return
    except (ValueError, LookupError, TypeError):
        yield f"{path}: is no summary; materialize corpus_report again"
        return
    existing = names_in(folder)
    for name in REPORT_FILES:
        if name not in existing:
            yield f"{folder / name}: is missing; materialize corpus_report again"
    if listed != set(complete):
        yield f"{path}: lists other arrays than the complete ones; materialize corpus_report again"


def _below(corpus: Corpus, array: ListedArray) -> ListedArray:
    """An array with its paths from this data root, where a path from another one leads to it."""
    folder = PurePosixPath(str(corpus.folder("")))
    prefix, recorded = PurePosixPath(*corpus.prefix), PurePosixPath(array.path).parents[1]
    if folder.parts[len(folder.parts) - len(recorded.parts) :] != recorded.parts:
        return array

    def moved(path: str | None) -> str | None:
        return path and (prefix / PurePosixPath(path).relative_to(recorded)).as_posix()

    paths = {"path": moved(array.path), "label_mask": moved(array.label_mask)}
    return array.model_copy(update=paths)


def other_prefixes(corpus: Corpus) -> list[str]:
    """The key prefixes of other corpora in a data root that is a folder, as far as two parts go."""
    root = corpus.data_root
    if is_remote(root):
        return []
    folders = [folder for glob in ("*", "*/*") for folder in root.glob(f"{glob}/{corpus.names[0]}")]
    prefixes = {folder.parent.relative_to(root).as_posix() for folder in folders}
    return sorted(prefixes - {"/".join(corpus.prefix)})
