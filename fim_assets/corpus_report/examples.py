"""Rearranged documents of a corpus, from the beginnings of its first FIM shards."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus_report.summary import Partition
from fim_assets.fim_shards.arrangements import REARRANGED
from fim_assets.io.locations import is_remote
from fim_assets.io.machine_folders import working_folder
from fim_assets.io.storage import read_bytes
from fim_assets.preview.documents import DocumentPreview, finished_documents

log = logging.getLogger(__name__)

_EXAMPLE_PARTITIONS = 4
_EXAMPLE_BLOCKS = 4
_EXAMPLE_BYTES = 4 << 20
_EXAMPLE_PARQUET_BYTES = 16 << 20
"""How much is read to find examples: partitions, blocks of 1 MB of each, and on object storage so
much of the packed shard, and of a parquet that is no larger."""

_EXAMPLE_CHARS = range(200, 3000)
"""Code points of a document that can be read as a whole."""


class Examples(NamedTuple):
    """Rearranged documents of a corpus.

    Attributes:
        documents: Each with its partition's key.
        unread: Partitions whose FIM shards could not be read.
    """

    documents: list[tuple[str, DocumentPreview]]
    unread: list[str]


class _Found(NamedTuple):
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
        return [its for language, its in self.languages.items() if language not in shown][:1]


def find_examples(corpus: Corpus, partitions: Iterable[Partition]) -> Examples:
    """A few rearranged documents: one in PSM order, one in SPM, one in another language.

    Short ones are preferred. Only the beginnings of the first FIM shards are read, and on object
    storage only of those whose parquet is small; one that cannot be read is named.

    Args:
        corpus: Recipe and folders.
        partitions: Complete ones.
    """
    short, others = _Found({}, {}), _Found({}, {})
    unread = []
    for partition in islice(partitions, _EXAMPLE_PARTITIONS):
        if is_remote(corpus.data_root) and _bytes(partition, ".parquet") > _EXAMPLE_PARQUET_BYTES:
            continue
        try:
            with _beginning(corpus, partition) as (shard, parquet):
                for preview in finished_documents(shard, parquet, corpus.recipe, _EXAMPLE_BLOCKS):
                    if preview.rearranged:
                        found = short if len(preview.text) in _EXAMPLE_CHARS else others
                        found.keep(partition.key, preview)
                    if len(short.orders) == len(REARRANGED) and short.third():
                        break
        except (ValueError, LookupError, OSError, pa.ArrowException) as error:
            if _is_cut(corpus, partition):
                continue  # at the end of what was fetched
            log.warning("no examples from %s: %s", partition.key, error)
            unread.append(partition.key)
        if len(short.orders) == len(REARRANGED):
            break
    found = _Found(others.orders | short.orders, others.languages | short.languages)
    return Examples([*found.orders.values(), *found.third()], unread)


@contextmanager
def _beginning(corpus: Corpus, partition: Partition) -> Iterator[tuple[Path, Path]]:
    """A FIM shard's first documents on this machine, and its parquet."""
    place = corpus.files("fim_shards", partition.key)
    names = f"{partition.key}.jsonl.zst", f"{partition.key}.parquet"
    if not is_remote(place.folder):
        yield place.file(".jsonl.zst"), place.file(".parquet")
        return
    with working_folder() as folder:
        for name, most in zip(names, (_EXAMPLE_BYTES, None), strict=True):
            (folder / name).write_bytes(read_bytes(place.published(name), most))
        yield folder / names[0], folder / names[1]


def _is_cut(corpus: Corpus, partition: Partition) -> bool:
    """Whether a part of the shard is read, and its end is not the shard's."""
    return is_remote(corpus.data_root) and _bytes(partition, ".jsonl.zst") > _EXAMPLE_BYTES


def _bytes(partition: Partition, ending: str) -> int:
    sizes = {output.name: output.bytes for output in partition.fim.outputs}
    return sizes[f"{partition.key}{ending}"]
