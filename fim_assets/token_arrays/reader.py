"""Token arrays read back: a document, its text and its parts, for notebooks and tests.

    array = TokenArray("data/token_arrays/part-0-00000.npy")
    document = array[0]
    document.parts[0].ids
    document.text(load_tokenizer(load_recipe("olmo_midtraining")))

An array and the parquet next to it suffice; to turn ids into text, the tokenizer is needed. The
checks do not read arrays so: see `checks/partition.py`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, Self, overload

import numpy as np
import polars as pl
import pyarrow as pa
from polars.exceptions import PolarsError
from pydantic import ValidationError

from fim_assets.errors import ShardError
from fim_assets.fim_shards.arrangements import Beside, Order, Part, layout
from fim_assets.io.parquet import read_metadata
from fim_assets.layouts.registry import LAYOUTS
from fim_assets.recipe.fim import Fim
from fim_assets.recipe.tokens import Tokens
from fim_assets.token_arrays.arrays import FORMAT, id_dtype
from fim_assets.token_arrays.shuffle_buffer import Ids
from fim_assets.tokenizer.load import LoadedTokenizer

_BEFORE: tuple[Beside, ...] = ("name", "separator", "header")


def _key_of(name: str) -> str | None:
    """The partition of a token array by the array's name, None if it is no array's name."""
    endings = "|".join(re.escape(layout.ending) for layout in LAYOUTS.values())
    match = re.fullmatch(rf"([^/]+)-\d{{5,}}({endings})", name)
    return None if match is None else match[1]


def is_array_name(name: str) -> bool:
    """Whether a file is a token array by its name."""
    return _key_of(name) is not None


def array_names(folder: Path) -> Iterator[str]:
    """Names of the token arrays in a folder, in no order."""
    return (path.name for path in folder.iterdir() if is_array_name(path.name))


class TokenPart(NamedTuple):
    """A run of a document's ids that belong together; `ids` are a view of the array.

    Attributes:
        file: Index of their file; None at the document's ends, and for a separator between files
            that came in one document.
        part: The part of a rearranged file; what stands beside a file that a stage has joined with
            others, see `segments.Beside`; None for a sentinel and elsewhere.
        control: Whether it is a sentinel, BOS, EOS or what stands between files.
    """

    ids: Ids
    file: int | None
    part: Part | Beside | None
    control: bool


@dataclass(frozen=True)
class TokenDocument:
    """A document of an array, its tokens from `start` to before `end`.

    Attributes:
        line: Its physical line in the raw shard, 1-based.
        piece: Which of the `pieces` of a divided document it is, 0-based; 0 of 1 otherwise.
        ids: Its ids, BOS and EOS included: a view of the array, shape (end - start,).
        orders: Its files' orders.
        parts: All its ids in order, run by run.
        head: Ids in front of its text, see `recipe.tokens.Tokenizer`.
    """

    line: int
    id: str | None
    start: int
    end: int
    ids: Ids
    orders: tuple[Order, ...]
    parts: tuple[TokenPart, ...]
    head: int
    tokenizer_hash: str
    piece: int = 0
    pieces: int = 1

    def text(self, tokenizer: LoadedTokenizer) -> str:
        """The document's text in the FIM shard; a ValueError with another tokenizer."""
        if tokenizer.content_hash != self.tokenizer_hash:
            hashes = f"content hash {self.tokenizer_hash}, not {tokenizer.content_hash}"
            made = f"the array was made with another tokenizer ({hashes})"
            raise ValueError(f"{made}: load the one of its recipe")
        return tokenizer.decode(self.ids[self.head : -1]).decode()


class TokenArray(Sequence[TokenDocument]):
    """An array's documents, in order; the ids are mapped into memory.

    It is pickled as its path alone, so that each of torch's workers maps the array itself.

    Args:
        path: The array, in any layout, with the partition's parquet next to it.

    Attributes:
        ids: All ids of the array, read-only, shape (tokens,).
        tokens: The recipe's section that says how it was written, without the tokenizer's name.
        fim: How the files were rearranged.

    Raises:
        ShardError: If neither name nor parquet are an array's of this project, or it is damaged.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._path = path = Path(path).resolve()
        key = _key_of(path.name)
        if not path.is_file():
            raise ShardError(f"{path}: no such file")
        if key is None:
            ends = ", ".join(layout.ending for layout in LAYOUTS.values())
            name = f"its name, which ends in a number such as -00000 and one of {ends}"
            raise ShardError(f"{path}: not a token array by {name}")
        parquet = path.with_name(f"{key}.parquet")
        if not parquet.is_file():
            raise ShardError(f"{path}: no token array: {parquet} is missing, which is next to one")
        try:
            metadata = read_metadata(parquet)
            if metadata.get("fim_assets.format") != FORMAT:
                problem = f"not a record of token arrays of format {FORMAT}"
                raise ShardError(f"{parquet}: {problem}; materialize token_arrays again")
            self.tokens = Tokens.model_validate_json(metadata["fim_assets.tokens"])
            self.fim = Fim.model_validate_json(metadata["fim_assets.fim"])
            self.tokenizer_hash = metadata["fim_assets.tokenizer_hash"]
            scan = pl.scan_parquet(parquet, glob=False)
            self._table = scan.filter(pl.col("array") == path.name).collect()
        except (pa.ArrowException, PolarsError, OSError, KeyError, ValidationError) as error:
            raise ShardError(f"{parquet}: cannot be read: {error}") from error
        dtype, header = id_dtype(self.tokens), LAYOUTS[self.tokens.layout].header_bytes
        size, tokens = path.stat().st_size, int(self._table["end"].to_numpy().max(initial=0))
        if not tokens or size != header + tokens * dtype.itemsize:
            behind = f" behind a header of {header}" if header else ""
            stated = f"{parquet.name} says {tokens:,} tokens of {dtype.itemsize} bytes{behind}"
            problem = f"has {size:,} bytes, {stated}"
            raise ShardError(f"{path}: {problem}; materialize token_arrays again")
        self.ids: Ids = np.memmap(path, dtype, mode="r", offset=header)

    def __reduce__(self) -> tuple[type[Self], tuple[Path]]:
        return type(self), (self._path,)

    def __len__(self) -> int:
        return self._table.height

    @overload
    def __getitem__(self, number: int) -> TokenDocument: ...
    @overload
    def __getitem__(self, number: slice) -> list[TokenDocument]: ...
    def __getitem__(self, number: int | slice) -> TokenDocument | list[TokenDocument]:
        """The document with this number in the array, 0-based; an IndexError if there is none."""
        if isinstance(number, slice):
            return [self[n] for n in range(*number.indices(len(self)))]
        row = self._table.row(range(len(self))[number], named=True)
        start, end, files = row["start"], row["end"], row["files"]
        return TokenDocument(
            row["line"],
            row["id"],
            start,
            end,
            self.ids[start:end],
            tuple(file["file_order"] for file in files),
            tuple(self._parts(start, end, files)),
            self.tokens.tokenizer.head,
            self.tokenizer_hash,
            row.get("piece", 0),
            row.get("pieces", 1),
        )

    def _parts(self, start: int, end: int, files: list[dict[str, Any]]) -> Iterator[TokenPart]:
        at = start
        for number, file in enumerate(files):
            for name in _BEFORE:
                if file.get(f"{name}_start") is not None:
                    begin, stop = file[f"{name}_start"], file[f"{name}_end"]
                    yield from self._controls(at, begin, None)
                    yield TokenPart(self.ids[begin:stop], number, name, control=True)
                    at = stop
            yield from self._controls(at, file["file_start"], None)
            at = file["file_start"]
            spans: list[tuple[int, int, Part | None]] = [(at, file["file_end"], None)]
            if file["file_order"] != "none":
                parts = [piece.part for piece in layout(file["file_order"], self.fim) if piece.part]
                spans = [(file[f"{part}_start"], file[f"{part}_end"], part) for part in parts]
            for begin, stop, part in spans:
                yield from self._controls(at, begin, number)
                yield TokenPart(self.ids[begin:stop], number, part, control=False)
                at = stop
            yield from self._controls(at, file["file_end"], number)
            at = file["file_end"]
            if file.get("tail_start") is not None:
                yield TokenPart(self.ids[at : file["tail_end"]], number, "tail", control=True)
                at = file["tail_end"]
        yield from self._controls(at, end, None)

    def _controls(self, begin: int, end: int, file: int | None) -> Iterator[TokenPart]:
        """What stands between parts or files, each sentinel alone."""
        if file is None and end > begin:
            yield TokenPart(self.ids[begin:end], None, None, control=True)
        elif file is not None:
            for at in range(begin, end):
                yield TokenPart(self.ids[at : at + 1], file, None, control=True)
