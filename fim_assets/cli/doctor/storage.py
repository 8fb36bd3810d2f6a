"""Whether the data root can be written and has room, and what is in it already."""

import shutil
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import gettempdir
from uuid import uuid4

from fim_assets.cli.doctor.estimate import Estimate
from fim_assets.cli.doctor.findings import Finding, Mark, error_finding
from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus.partition_files import ReceiptError
from fim_assets.corpus.receipts import OTHER_RECIPE, RIGHT_RECIPE, read_receipt, why_incomplete
from fim_assets.io.locations import Location, StorageError, is_remote
from fim_assets.io.locks import why_no_locks
from fim_assets.io.storage import REQUESTS_AT_ONCE, read_bytes, remove, write_bytes
from fim_assets.settings import Settings
from fim_assets.wording import file_size, plural

_RECEIPTS_LOOKED_AT = 1000
_ROOM = 1.2  # free space, as a multiple of what is estimated, that is called enough


def existing_outputs(corpus: Corpus, keys: Sequence[str]) -> Generator[Finding, None, float]:
    """Look whether partitions are complete; returns the share of those that are."""
    step = max(1, len(keys) // _RECEIPTS_LOOKED_AT)
    chosen = keys[::step]
    try:
        with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
            states = list(pool.map(lambda key: _states(corpus, key), chosen))
    except StorageError as error:
        yield error_finding("made", error)
        return 0.0
    complete = sum(set(state.values()) == {"complete"} for state in states)
    of = plural(len(chosen), "partition") + (" looked at" if step > 1 else "")
    texts, advice = [f"{complete:,} of {of} complete"], []
    for kind, problem, what_to_do in (
        ("other", OTHER_RECIPE, RIGHT_RECIPE),
        ("damaged", "not what their receipts say", f"{corpus.command} verify"),
    ):
        counts = Counter(asset for state in states for asset, name in state.items() if name == kind)
        if counts:
            assets = ", ".join(f"{count:,} of {asset}" for asset, count in counts.items())
            texts.append(f"{assets}: {problem}, and a range replaces these files")
            advice.append(what_to_do)
    mark: Mark = "look" if advice else "ok"
    yield Finding(mark, "made", "; ".join(texts), "; ".join(advice))
    return complete / len(chosen)


def _states(corpus: Corpus, key: str) -> dict[str, str]:
    return {asset: _state(corpus, asset, key) for asset in corpus.names}


def _state(corpus: Corpus, asset: str, key: str) -> str:
    files, fingerprint = corpus.files(asset, key), corpus.fingerprint(asset)
    try:
        receipt = read_receipt(files)
        if receipt is None:
            return "none"
        if receipt.result.fingerprint != fingerprint:
            return "other"
        return "damaged" if why_incomplete(receipt, files, fingerprint) else "complete"
    except ReceiptError:
        return "damaged"


def storage_findings(
    settings: Settings, estimate: Estimate | None, complete: float
) -> Iterator[Finding]:
    """Write to the data root, and compare free space with what incomplete partitions need."""
    root, why_unlocked = settings.data_root, None
    try:
        if is_remote(root):
            _write_read_delete(root)
        else:
            # A run makes the folder if it is missing; the trial keeps nothing.
            why_unlocked = why_no_locks(nearest_existing(root))
    except OSError as error:
        text = f"{root}: cannot be written: {error.strerror or error}"
        advice = "set FIM_DATA_ROOT to where you may write, or make this writable"
        yield Finding("mend", "storage", text, advice)
        return
    needed = scratch = 0
    if estimate is not None and complete < 1:
        needed = round(sum(estimate.disk_bytes.values()) * (1 - complete))
        scratch = estimate.scratch_bytes
    if is_remote(root):
        yield Finding("ok", "storage", f"{root}: written, read and deleted")
        yield _space(Path(gettempdir()), scratch, "for temporary files", "set TMPDIR")
        return
    if why_unlocked is not None:
        text = f"{root}: its file system has no locks ({why_unlocked})"
        yield Finding("look", "storage", text, "never run one partition twice at once")
    yield _space(root, needed + scratch, "", "make room, or set FIM_DATA_ROOT")


def _space(folder: Path, needed: int, what: str, advice: str) -> Finding:
    free = shutil.disk_usage(nearest_existing(folder)).free
    text = f"{folder}: can be written, {file_size(free)} free"
    if needed:
        text += f", about {file_size(needed)} needed {what}".rstrip()
    if needed > free:
        return Finding("mend", "storage", text, advice)
    return Finding("look" if needed * _ROOM > free else "ok", "storage", text, advice)


def nearest_existing(folder: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _write_read_delete(folder: Location) -> None:
    content = uuid4().hex.encode()
    probe = folder / f".fim-assets-doctor-{uuid4().hex}"
    write_bytes(probe, content)
    try:
        if read_bytes(probe) != content:
            raise StorageError(f"{probe}: what was read is not what was written")
    finally:
        remove([probe])
