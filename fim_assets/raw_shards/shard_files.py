"""The files of a shard, read one behind another: one, or the members of a group.

The content of those that hold lines is decompressed and joined; of a Parquet file, the rows are
read. Each file is hashed, and a line or row of it all is found in its file. What stands in a line
is not looked at here.
"""

import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from fim_assets.corpus.keys import PARQUET
from fim_assets.corpus.raw_shard import Member
from fim_assets.errors import ShardError
from fim_assets.io.compression import decompress
from fim_assets.io.hashing import FileRecord, HashingReader, joined_name, joined_record
from fim_assets.raw_shards.rows import RowReader
from fim_assets.recipe.raw import Raw

ShardPaths = Path | Sequence[Path]
"""A shard: its file, or those of the members of a group, in order."""


class ShardFiles:
    """Files that are one shard; one at a time is open, the last one until `close`."""

    def __init__(self, shard: ShardPaths) -> None:
        self._paths = [shard] if isinstance(shard, Path) else shard
        self._records: list[FileRecord] = []  # of the files that were read to their end
        self._ends: list[int] = []  # and their last lines
        self._ended = 0
        self._file: HashingReader | None = None

    def __str__(self) -> str:
        """The file's path, or the first one's and how many more there are."""
        return joined_name(self._paths)

    @property
    def grouped(self) -> bool:
        """Whether there are several."""
        return len(self._paths) > 1

    def parts(self, raw: Raw, *, lines: bool) -> Iterator[Iterator[bytes] | RowReader]:
        """The content, once: of files of lines behind one another, or of a file of rows.

        Each part is read to its end before the next. Lines come in pieces of any size, and none
        runs from one file into the next; a CompressionError of `decompress` is one of `path`.
        `lines` says whether rows are wanted as lines, see `RowReader`.
        """
        for of_rows, paths in groupby(self._paths, lambda path: path.suffix == PARQUET):
            if not of_rows:
                yield self._pieces(paths)
                continue
            for path in paths:
                file = self._open(path)
                changed = os.fstat(file.unhashed.fileno()).st_mtime_ns
                rows = RowReader(file.unhashed, path, raw, lines=lines)
                yield rows
                self._ended += rows.rows
                file.unhashed.seek(0)
                self._is_read(file)
                if os.fstat(file.unhashed.fileno()).st_mtime_ns != changed:
                    # What was hashed may not be what was read before.
                    raise ShardError("was written to while it was read", "run it again", path)

    def _pieces(self, paths: Iterable[Path]) -> Iterator[bytes]:
        for path in paths:
            file = self._open(path)
            last = b"\n"
            for piece in decompress(file, path.suffix):
                if self.grouped:
                    self._ended += piece.count(b"\n")
                last = piece[-1:] or last
                yield piece
            if last != b"\n":
                self._ended += 1
                yield b"\n"
            self._is_read(file)

    def _open(self, path: Path) -> HashingReader:
        self.close()
        self._file = HashingReader(path)
        return self._file

    def _is_read(self, file: HashingReader) -> None:
        self._records.append(file.record())
        self._ends.append(self._ended)

    def close(self) -> None:
        """Close the file that is open."""
        if self._file is not None:
            self._file.close()

    @property
    def path(self) -> Path:
        """The file that is being read."""
        return self._paths[len(self._records)]

    @property
    def begin(self) -> int:
        """Lines of the files before it."""
        return self._ends[-1] if self._ends else 0

    def place(self, line: int) -> tuple[Path, int]:
        """The file of a line of them all that was read, and the line in it, counted from 1."""
        number = bisect_left(self._ends, line, hi=min(len(self._ends), len(self._paths) - 1))
        return self._paths[number], line - (self._ends[number - 1] if number else 0)

    def record(self) -> FileRecord:
        """The identity of them all, once they were read."""
        return joined_record(self._records)

    def members(self) -> tuple[Member, ...]:
        """Each of several, once they were read; none of a single file."""
        if not self.grouped:
            return ()
        begins = [0, *self._ends]
        return tuple(
            Member(**dict(record), lines=end - begin)
            for record, begin, end in zip(self._records, begins, self._ends, strict=False)
        )
