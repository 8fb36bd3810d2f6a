"""Writing shards of documents: hidden while they are made, in their places when all are whole."""

import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from fim_assets.errors import UserError
from fim_assets.io.hashing import HashingWriter
from fim_assets.io.locks import lock_for_a_while
from fim_assets.io.shard_writer import ShardWriter

_ENDING = ".jsonl.zst"


class Shards:
    """Shards in the making, each of about so many bytes of text; a context manager."""

    def __init__(self, folder: Path, prefix: str, most: int) -> None:
        self._folder, self._prefix, self._most = folder, prefix, most
        self._of_shard = 0
        self._writer: ShardWriter
        self._open = ExitStack()
        self.paths: list[Path] = []

    def write(self, line: bytes, text_bytes: int) -> None:
        """Append a document; where a shard would hold more than its size with it, to the next."""
        if not self.paths or self._of_shard + text_bytes > self._most:
            self._open.close()
            path = self._folder / f"{self._prefix}-{len(self.paths):05d}{_ENDING}"
            file = self._open.enter_context(HashingWriter(path))
            self._writer = self._open.enter_context(ShardWriter(file))
            self.paths.append(path)
            self._of_shard = 0
        self._writer.write([line])
        self._of_shard += text_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the last shard, unless something failed."""
        self._open.__exit__(kind, error, trace)


@contextmanager
def new_shards(folder: Path, prefix: str, most: int, *, overwrite: bool) -> Iterator[Shards]:
    """Shards `<prefix>-00000.jsonl.zst` and on, which are in the folder once all is well.

    After a failure there are none, and those of an earlier run are as they were.

    Raises:
        UserError: If there are shards of this prefix, and they are not to be replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with lock_for_a_while(
        folder / f".{prefix}.lock", f"{folder}: another run is writing these shards"
    ):
        earlier = _earlier(folder, prefix)
        if earlier and not overwrite:
            advice = "--overwrite replaces all shards of this prefix; or choose another prefix"
            raise UserError("is there already", f"{advice} or folder", earlier[0])
        hidden = folder / f".{prefix}.staging"
        shutil.rmtree(hidden, ignore_errors=True)  # a killed run's
        hidden.mkdir()
        try:
            with Shards(hidden, prefix, most) as shards:
                yield shards
            shards.paths = [path.replace(folder / path.name) for path in shards.paths]
            if shards.paths:
                for path in set(earlier) - set(shards.paths):
                    path.unlink()
        finally:
            shutil.rmtree(hidden, ignore_errors=True)


def _earlier(folder: Path, prefix: str) -> list[Path]:
    name = re.compile(re.escape(prefix) + r"-\d{5,}" + re.escape(_ENDING))
    return sorted(path for path in folder.iterdir() if name.fullmatch(path.name))
