"""The files of a shard, read one behind another: one, or the members of a group.

Their content is decompressed and joined, each is hashed, and a line of it all is found in its file.
What stands in a line is not looked at here.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path

from fim_assets.corpus.raw_shard import Member
from fim_assets.io.compression import decompress
from fim_assets.io.hashing import FileRecord, HashingReader, joined_name, joined_record

ShardPaths = Path | Sequence[Path]
"""A shard: its file, or those of the members of a group, in order."""


class ShardFiles:
    """Files that are one shard; one at a time is open, the last one until `close`."""

    def __init__(self, shard: ShardPaths) -> None:
        self._paths = [shard] if isinstance(shard, Path) else shard
        self._records: list[FileRecord] = []  # of the files that were read to their end
        self._ends: list[int] = []  # and their last lines
        self._file: HashingReader | None = None

    def __str__(self) -> str:
        """The file's path, or the first one's and how many more there are."""
        return joined_name(self._paths)

    @property
    def grouped(self) -> bool:
        """Whether there are several."""
        return len(self._paths) > 1

    def pieces(self) -> Iterator[bytes]:
        """The content, once, in pieces of any size; no line runs from one file into the next.

        A CompressionError of `decompress` is one of `path`.
        """
        ended = 0
        for path in self._paths:
            self.close()
            self._file = file = HashingReader(path)
            last = b"\n"
            for piece in decompress(file, path.suffix):
                if self.grouped:
                    ended += piece.count(b"\n")
                last = piece[-1:] or last
                yield piece
            if last != b"\n":
                ended += 1
                yield b"\n"
            self._records.append(file.record())
            self._ends.append(ended)

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
