"""The effective FIM rate: how many rearranged files a trainer sees whole, from offsets alone.

Trainers cut token arrays into instances of S tokens, each in its own way (`WAYS`). A rearranged
file is seen whole if its tokens, from its first sentinel to the end of what ends it (EOS, or the
separator behind it), are in one instance; where files were joined without a separator, to the end
of what is written behind it. Its middle, on which it is trained, loses its end if what
stands from the middle's first token to the end of what ends the file is not all in the instance in
which the middle begins. A token that is in no instance is discarded.

An example: an array of 24 tokens and S = 8. The first document has no rearranged file, the second
one is longer than S, the third one as long.

    0 … 5    a a a a a <eos>
    6 … 15   <pre> p <suf> s <mid> m m m m <eos>     the middle begins at token 11
    16 … 23  <pre> p <suf> s s <mid> m <eos>         the middle begins at token 22

    way                instances                          whole  lose their end  discarded
    chunks             0-7, 8-15, 16-23                       1               0          0
    chunks_with_label  0-8, 9-17                              0               1          6
    samples            0-8, 8-16                              0               1          7
    truncated          0-5, 6-13, 16-23 (packed or not)       1               1          2
    fragments          0-5, 6-13, 14-15, 16-23 (packed)       1               1          0

An instance of `chunks` predicts the next token S - 1 times. Those of `chunks_with_label` and
`samples` have one token more, which is a label only; `samples` read it again as the next instance's
first input. There a file may begin in the token that two instances share, as an input, or end in
it, as a label; and its middle begins in the instance that has the middle's first token as a label.

`powers_of_2` needs larger numbers: with S = 2,048, a document of 5,000 tokens gives instances of
2,048, 2,048, 512 and 256 tokens, and 136 are discarded.

Where a stage has joined the files of a repository, the files before a rearranged one are what it is
completed with, and the instance may hold some of them only. For the files seen whole it is counted
how many tokens of their documents stand before them, and how many of these are in the instance. In
the example above, were the last two documents one of two files, with a separator in place of the
EOS between them, the second file would have 10 tokens before it, from 6 to 15. With S = 8 it is
whole in the chunk 16-23, with none of them; with S = 12 in the chunk 12-23, with 4 of them.

Documents are in the order of the arrays. Chunks of several arrays joined into one are not here:
where they begin in an array depends on the lengths of all arrays before it, which no partition
knows.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field

from fim_assets.io.frozen_model import FrozenModel
from fim_assets.io.parquet import column_paths, read_frames
from fim_assets.recipe import Recipe
from fim_assets.statistics.tables import Record, Table, share
from fim_assets.token_arrays.shuffle_buffer import Ints
from fim_assets.token_arrays.statistics import TRAINED_LENGTHS


def chosen_length(recipe: Recipe) -> int:
    """The sequence length of what is shown as one number: the recipe's, if it names one."""
    return 8192 if recipe.context is None else recipe.context.tokens


def sequence_lengths(recipe: Recipe) -> list[int]:
    """The sequence lengths for which is counted what a trainer sees."""
    return sorted({*TRAINED_LENGTHS, chosen_length(recipe)})


def _is_none(value: object) -> bool:
    return value is None


_SHORTEST = 256  # instances of `powers_of_2`; the default of OLMo-core's min_sequence_length


@dataclass(frozen=True)
class Way:
    """How trainers cut arrays into instances of some length.

    Attributes:
        name: How counts, metadata and the summary name it.
        title: How the report names it.
        text: What an instance is.
        trainers: Which trainers' classes do it.
        layout: The array layout that they read.
        cuts: What is cut, each from its first token on.
        kept: How many tokens of each of some sizes are in an instance: these are the first ones.
        begin: The first token of the instance in which each token is one to predict. Tokens are
            counted from the first of what is cut, whose sizes come next.
        shared: How many tokens an instance shares with the one before.
    """

    name: str
    title: str
    text: str
    trainers: str
    layout: str
    cuts: Literal["array", "document"]
    kept: Callable[[Ints, int], Ints]
    begin: Callable[[Ints, Ints, int], Ints]
    shared: int = 0


def _samples_kept(sizes: Ints, length: int) -> Ints:
    samples = (sizes - 1) // length
    return samples * length + (samples > 0)


def _power_of_2(tokens: Ints, sizes: Ints, length: int) -> Ints:
    """Full instances, and what is left behind them, cut by the binary digits of its size.

    The highest digit is the first. A token is in the piece of the highest digit in which its place
    and the size differ, which begins where the size has no digit but the higher ones.
    """
    _, digits = np.frexp((tokens ^ sizes).astype(np.float64))
    digits = digits.astype(np.int64)
    is_full = tokens < sizes // length * length
    return np.where(is_full, tokens // length * length, sizes >> digits << digits)


def _multiple(tokens: Ints, _: Ints, length: int) -> Ints:
    return tokens // length * length


WAYS = (
    Way(
        name="chunks",
        title="Chunks",
        text="S tokens of an array, one instance behind another",
        trainers="OLMo-core's NumpyFSLDataset and ConcatAndChunkInstanceSource",
        layout="dolma",
        cuts="array",
        kept=lambda sizes, length: sizes // length * length,
        begin=_multiple,
    ),
    Way(
        name="truncated",
        title="First tokens",
        text="the first S tokens of a document, packed with others or padded",
        trainers="OLMo-core's NumpyPackedFSLDataset and PackingInstanceSource with truncate, "
        "the default; NumpyPaddedFSLDataset",
        layout="dolma",
        cuts="document",
        kept=np.minimum,
        begin=_multiple,
    ),
    Way(
        name="fragments",
        title="Fragments",
        text="S tokens of a document, the rest of it packed with others",
        trainers="OLMo-core's NumpyPackedFSLDataset and PackingInstanceSource with fragment",
        layout="dolma",
        cuts="document",
        kept=lambda sizes, _: sizes,
        begin=_multiple,
    ),
    Way(
        name="powers_of_2",
        title="Powers of 2",
        text="a power of 2 of tokens, from 256 to S, of a document",
        trainers="OLMo-core's NumpyVSLDataset",
        layout="dolma",
        cuts="document",
        kept=lambda sizes, _: sizes // _SHORTEST * _SHORTEST,
        begin=_power_of_2,
    ),
    Way(
        name="samples",
        title="Samples",
        text="S + 1 tokens of an array, the last of which is the next one's first",
        trainers="Megatron-LM's GPTDataset, if it left documents in the array's order",
        layout="megatron",
        cuts="array",
        kept=_samples_kept,
        begin=lambda tokens, _, length: (tokens - 1) // length * length,
        shared=1,
    ),
    Way(
        name="chunks_with_label",
        title="Chunks with a label",
        text="S + 1 tokens of an array, one instance behind another",
        trainers="datatrove's DatatroveFolderDataset",
        layout="datatrove",
        cuts="array",
        kept=lambda sizes, length: sizes // (length + 1) * (length + 1),
        begin=lambda tokens, sizes, length: _multiple(tokens, sizes, length + 1),
    ),
)
"""All ways, those of one layout together, and first the one whose shares stand for the layout.

OLMo-core packs no document in parts (best-fit decreasing), so that what becomes of a document that
it packs, or pads, depends on its own length alone.
"""


class Seen(FrozenModel):
    """What a trainer sees in one way, at one sequence length.

    Attributes:
        whole_files: Rearranged files that it sees whole.
        whole_tokens: The tokens of these, what ends them included.
        lost_ends: Rearranged files whose middle loses its end.
        discarded_tokens: Tokens, of whatever file, that it does not see.
        before_tokens: Tokens of their documents before the files that it sees whole, and
            `before_seen` those of them that are in the file's instance; None where no stage has
            joined files.
    """

    whole_files: int
    whole_tokens: int
    lost_ends: int
    discarded_tokens: int
    before_tokens: int | None = Field(default=None, exclude_if=_is_none)
    before_seen: int | None = Field(default=None, exclude_if=_is_none)


PSM_TOKENS = "psm_tokens"
"""What receipts of an older version do not count next to the rest."""

_TOTALS = ("rearranged_files", "rearranged_tokens", "tokens")
_BEFORE = ("before_tokens", "before_seen")


def _seen_names(*, joined: bool) -> list[str]:
    return [name for name in Seen.model_fields if joined or name not in _BEFORE]


def _names(lengths: Sequence[int], *, joined: bool) -> Iterator[str]:
    """The names of what is counted: `tokens`, `whole_files:chunks:2048`."""
    yield from _TOTALS
    for name, way, length in product(_seen_names(joined=joined), WAYS, lengths):
        yield f"{name}:{way.name}:{length}"


def is_seen(counts: Mapping[str, int], lengths: Sequence[int], *, joined: bool = False) -> bool:
    """Whether a receipt says all of it: one that an older version wrote may say a part or none.

    `joined` is whether a stage has joined files.
    """
    return counts.keys() >= {*_names(lengths, joined=joined)}


class Files(NamedTuple):
    """Rearranged files, a value each: tokens counted from the first of what is cut.

    `start` is a file's first token, `middle` its middle's, or where that would be, `last` the last
    token of what ends it; `size` are the tokens of what is cut, `document` is the first token of
    the file's document, and `psm` whether it is in PSM order.
    """

    start: Ints
    middle: Ints
    last: Ints
    size: Ints
    document: Ints
    psm: npt.NDArray[np.bool_]


def count_seen(parquet: Path, lengths: Sequence[int]) -> dict[str, int]:
    """What trainers see of a partition's arrays, from their parquet: counts that add up.

    `rearranged_files`, `rearranged_tokens` (of these files, what ends them included), of these
    `psm_tokens` (in PSM order), and `tokens` are what there is; `whole_files:chunks:2048`,
    `whole_tokens:…`, `lost_ends:…` and `discarded_tokens:…` what becomes of it by way and length.
    So are `before_tokens:…` and `before_seen:…` where a stage has joined files.
    """
    joined = "files.list.element.separator_start" in column_paths(parquet)
    arrays: dict[str, int] = {}
    for frame in read_frames(parquet, ["array", "end"]):
        for name, end in frame.group_by("array").agg(pl.col("end").max()).iter_rows():
            arrays[name] = max(end, arrays.get(name, 0))
    sizes = np.array([*arrays.values()], np.int64)
    counts = Counter(dict.fromkeys(_names(lengths, joined=joined), 0))
    counts["tokens"] = int(sizes.sum())
    counts[PSM_TOKENS] = 0
    _count_discarded(counts, "array", sizes, lengths)
    for frame in read_frames(parquet, ["array", "start", "end", "files"]):
        documents = (frame["end"] - frame["start"]).to_numpy()
        _count_discarded(counts, "document", documents, lengths)
        for cuts, files in _rearranged(frame, arrays).items():
            _count_files(counts, cuts, files, lengths, joined=joined)
    return dict(counts)


def _rearranged(frame: pl.DataFrame, arrays: Mapping[str, int]) -> dict[str, Files]:
    """The rearranged files of some documents, counted in their arrays and in their documents."""
    array = frame["array"].replace_strict(arrays, return_dtype=pl.Int64)
    files = frame.with_columns(size=array).explode("files").unnest("files")
    begins = pl.col("file_start")
    if "separator_end" in files.columns:
        # A separator ends a file, what stands behind that belongs to the next.
        begins = pl.coalesce(
            "separator_end", pl.coalesce("tail_end", "file_end").shift(1)
        ).fill_null(0)
    # A file ends where the next one of its document begins, or with the document.
    numbered = files.with_columns(begins=begins)
    ends = np.append(numbered["begins"].to_numpy()[1:], 0)
    ends[np.cumsum(frame["files"].list.len().to_numpy()) - 1] = frame["end"].to_numpy()
    rearranged = files.with_columns(last=pl.Series(ends - 1)).filter(pl.col("file_order") != "none")
    names = ("file_start", "middle_start", "last", "size", "start", "end")
    start, middle, last, size, document, end = (rearranged[name].to_numpy() for name in names)
    psm = (rearranged["file_order"] == "psm").to_numpy()
    of_array = Files(start, middle, last, size, document, psm)
    places = {"start": start, "middle": middle, "last": last, "size": end, "document": document}
    of_document = of_array._replace(**{name: its - document for name, its in places.items()})
    return {"array": of_array, "document": of_document}


def _count_discarded(counts: Counter[str], cuts: str, sizes: Ints, lengths: Iterable[int]) -> None:
    for way in WAYS:
        for length in lengths if way.cuts == cuts else ():
            discarded = sizes - way.kept(sizes, length)
            counts[f"discarded_tokens:{way.name}:{length}"] += int(discarded.sum())


def _count_files(
    counts: Counter[str], cuts: str, files: Files, lengths: Iterable[int], *, joined: bool
) -> None:
    tokens = files.last + 1 - files.start
    if cuts == "array":
        counts["rearranged_files"] += len(tokens)
        counts["rearranged_tokens"] += int(tokens.sum())
        counts[PSM_TOKENS] += int(tokens[files.psm].sum())
    for way in WAYS:
        for length in lengths if way.cuts == cuts else ():
            ends = way.begin(files.last, files.size, length)
            kept = files.last < way.kept(files.size, length)
            begins = way.begin(files.start + way.shared, files.size, length)
            whole = kept & (begins == ends)
            ended = kept & (way.begin(files.middle, files.size, length) == ends)
            of = f"{way.name}:{length}"
            counts[f"whole_files:{of}"] += int(whole.sum())
            counts[f"whole_tokens:{of}"] += int(tokens[whole].sum())
            counts[f"lost_ends:{of}"] += int((~ended).sum())
            if joined:
                before = files.start - files.document
                seen = np.minimum(before, files.start - begins)
                counts[f"before_tokens:{of}"] += int(before[whole].sum())
                counts[f"before_seen:{of}"] += int(seen[whole].sum())


class EffectiveRates(FrozenModel):
    """What trainers see of arrays, by way and sequence length, next to what there is.

    Attributes:
        partitions: Those of which it is known, see `is_seen`.
        chosen_length: The sequence length of what is shown as one number.
        files: Their rearranged files.
        file_tokens: The tokens of these, what ends them included.
        tokens: All their tokens.
    """

    partitions: int
    chosen_length: int
    files: int
    file_tokens: int
    tokens: int
    ways: dict[str, dict[int, Seen]]

    @classmethod
    def of(cls, counts: Mapping[str, int], recipe: Recipe, partitions: int = 1) -> Self:
        """From the sums of what `count_seen` counts in some partitions; none of it gives zeros."""
        lengths, joined = sequence_lengths(recipe), recipe.repositories is not None
        named, is_known = _seen_names(joined=joined), is_seen(counts, lengths, joined=joined)
        known: Mapping[str, int] = counts if is_known else Counter()

        def seen(way: Way, length: int) -> Seen:
            of = f"{way.name}:{length}"
            return Seen(**{name: known[f"{name}:{of}"] for name in named})

        files, file_tokens, tokens = (known[name] for name in _TOTALS)
        return cls(
            partitions=partitions,
            chosen_length=chosen_length(recipe),
            files=files,
            file_tokens=file_tokens,
            tokens=tokens,
            ways={way.name: {n: seen(way, n) for n in lengths} for way in WAYS},
        )

    @property
    def token_share(self) -> float:
        """Tokens of rearranged files, what ends them included, of all tokens."""
        return share(self.file_tokens, self.tokens)

    def shares(self, seen: Seen) -> dict[str, float]:
        """Shares of the rearranged files seen whole, of their middles, and of all tokens.

        Where a stage has joined files, of what stands before the files seen whole too.
        """
        shares = {
            "whole": share(seen.whole_files, self.files),
            "lost_ends": share(seen.lost_ends, self.files),
            "discarded": share(seen.discarded_tokens, self.tokens),
        }
        if seen.before_tokens is not None and seen.before_seen is not None:
            shares["before"] = share(seen.before_seen, seen.before_tokens)
        return shares

    def chosen(self, layout: str) -> dict[str, float]:
        """The shares of the first way of a layout, at `chosen_length`; none without files.

        A layout that no way names has those of `chunks`.
        """
        way = next((way for way in WAYS if way.layout == layout), WAYS[0])
        shares = self.shares(self.ways[way.name][self.chosen_length])
        names = ("effective_fim_rate", "lost_ends_share", "discarded_share", "before_seen_share")
        named = dict(zip(names, shares.values(), strict=False))
        return {"fim_token_share": self.token_share, **named} if self.files else {}

    def table(self) -> Table:
        """A row a way: what is seen whole, and lost, at `chosen_length`, if there are files."""
        columns = {"way": "string"}
        rows: list[Record] = []
        for way, of_way in self.ways.items():
            whole, *others = self.shares(of_way[self.chosen_length]).items()
            named = {f"whole_{self.chosen_length}": whole[1], **dict(others)}
            rows.append({"way": way, **{name: round(share, 4) for name, share in named.items()}})
            columns |= dict.fromkeys(named, "float")
        return Table(columns, rows if self.files else [])

    def by_length(self) -> Table:
        """A row a way: the share seen whole at lengths that are common, if there are files."""
        columns = {"way": "string"} | dict.fromkeys(map(str, TRAINED_LENGTHS), "float")
        rows: list[Record] = []
        for way, of_way in self.ways.items():
            whole = {str(n): self.shares(of_way[n])["whole"] for n in TRAINED_LENGTHS}
            rows.append({"way": way, **{n: round(share, 3) for n, share in whole.items()}})
        return Table(columns, rows if self.files else [])
