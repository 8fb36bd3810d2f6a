"""Rearranged documents of a corpus, from the beginnings of its first FIM shards."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus_report.gather import Partition
from fim_assets.fim_shards.arrangements import REARRANGED
from fim_assets.fim_shards.stage import FIM_SHARDS
from fim_assets.io.locations import is_remote
from fim_assets.io.machine_folders import working_folder
from fim_assets.io.storage import read_bytes
from fim_assets.preview.documents import BEGINNING_BLOCKS, DocumentPreview, finished_documents

log = logging.getLogger(__name__)

# How much is read to find examples: partitions, and on object storage so much of the compressed
# shard, and of a parquet that is no larger.
_PARTITIONS = 4
_SHARD_BYTES, _PARQUET_BYTES = 4 << 20, 16 << 20

_SHORT = range(200, 3000)
"""Code points of a document that can be read as a whole."""


class Examples(NamedTuple):
    """Documents with their partitions' keys, and partitions whose FIM shards cannot be read."""

    documents: list[tuple[str, DocumentPreview]]
    unread: list[str]


class _Firsts(NamedTuple):
    """The first documents, with their partitions' keys, by order and by language."""

    orders: dict[str, tuple[str, DocumentPreview]]
    languages: dict[str | None, tuple[str, DocumentPreview]]

    def keep(self, key: str, preview: DocumentPreview) -> None:
        """Take a document if none of its orders, or none of its language, is there."""
        for order in REARRANGED:
            if order in preview.orders and order not in self.orders:
                self.orders[order] = (key, preview)
                break
        self.languages.setdefault(preview.language, (key, preview))

    def third(self) -> list[tuple[str, DocumentPreview]]:
        """One in another language than those of the orders, if it is there."""
        shown = {preview.language for _, preview in self.orders.values()}
        return [first for language, first in self.languages.items() if language not in shown][:1]


def find_examples(corpus: Corpus, partitions: Iterable[Partition]) -> Examples:
    """A few rearranged documents: one in PSM order, one in SPM, one in another language.

    Short ones are preferred. Only the beginnings of the first FIM shards are read, and on object
    storage only of those whose parquet is small; one that cannot be read is named.
    """
    short, others = _Firsts({}, {}), _Firsts({}, {})
    unread = []
    for partition in islice(partitions, _PARTITIONS):
        key, outputs = partition.key, partition.receipts[FIM_SHARDS.name].result.outputs
        sizes = {output.name.removeprefix(key): output.bytes for output in outputs}
        remote = is_remote(corpus.data_root)
        if remote and sizes[".parquet"] > _PARQUET_BYTES:
            continue
        try:
            with _beginning(corpus, key) as (shard, parquet):
                for preview in finished_documents(shard, parquet, BEGINNING_BLOCKS):
                    if preview.rearranged:
                        (short if len(preview.text) in _SHORT else others).keep(key, preview)
                    if len(short.orders) == len(REARRANGED) and short.third():
                        break
        except (ValueError, LookupError, OSError, pa.ArrowException) as error:
            if remote and sizes[FIM_SHARDS.shard] > _SHARD_BYTES:
                continue  # at the end of what was fetched, which is not the shard's
            log.warning("no examples from %s: %s", key, error)
            unread.append(key)
        if len(short.orders) == len(REARRANGED):
            break
    both = _Firsts(others.orders | short.orders, others.languages | short.languages)
    return Examples([*both.orders.values(), *both.third()], unread)


@contextmanager
def _beginning(corpus: Corpus, key: str) -> Iterator[tuple[Path, Path]]:
    """A FIM shard's first documents on this machine, and its parquet."""
    files = corpus.files(FIM_SHARDS.name, key)
    if not is_remote(files.folder):
        yield files.file(FIM_SHARDS.shard), files.file(".parquet")
        return
    with working_folder() as folder:
        shard, parquet = folder / f"{key}{FIM_SHARDS.shard}", folder / f"{key}.parquet"
        shard.write_bytes(read_bytes(files.published(shard.name), _SHARD_BYTES))
        parquet.write_bytes(read_bytes(files.published(parquet.name)))
        yield shard, parquet
