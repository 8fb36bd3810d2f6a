"""Checks of `token_arrays`: the arrays hold all texts, exactly, and what a trainer relies on."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import polars as pl

from fim_assets.corpus.partition import Partition
from fim_assets.corpus.partition_files import PartitionFiles
from fim_assets.corpus.receipts import Receipt, Result, read_receipt
from fim_assets.corpus.stage import Check, CheckOutcome, Number, Stage, fault
from fim_assets.draws import RandomStream, draw_bits, mix
from fim_assets.fim_shards.arrangements import REARRANGED, Order, layout, parse_arrangement
from fim_assets.fim_shards.record import FimDocuments, FimShardReader, split_files
from fim_assets.io.parquet import read_frames
from fim_assets.layouts.registry import LAYOUTS, id_dtype, mask_name
from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import Fim
from fim_assets.statistics.counts import counted
from fim_assets.token_arrays.arrays import ArrayReader
from fim_assets.token_arrays.shuffle_buffer import Ids, Ints
from fim_assets.token_arrays.tokenize import paragraphs, segments
from fim_assets.tokenizer.encoders import UnencodableTextError
from fim_assets.tokenizer.load import LoadedTokenizer
from fim_assets.wording import plural

SAMPLE_TOKENS = 1 << 14
"""Tokens of each partition that are compared with the reference's, about 64 kB of code."""

_SAMPLE_DOCUMENT_TOKENS = 1 << 18
"""Documents with more are not compared: the reference would take seconds for each."""

_OPEN_AT_ONCE = 64

Index = npt.NDArray[np.integer]

Span = tuple[str, int, int]
"""A document's place: its array, its first token there, and one past its last."""


@dataclass(frozen=True)
class TokenPartition:
    """A partition's token arrays, and what they were made of.

    Attributes:
        partition: The partition.
        receipt: Of the arrays.
        tokenizer: The recipe's.
    """

    partition: Partition
    receipt: Receipt
    tokenizer: LoadedTokenizer

    @property
    def recipe(self) -> Recipe:
        """What made them."""
        return self.partition.corpus.recipe

    @cached_property
    def tokens(self) -> PartitionFiles:
        """The files of the arrays."""
        return self.partition.files(self.partition.corpus.stage(self.receipt.result.asset))

    @cached_property
    def made_of(self) -> Stage:
        """The stage whose documents they hold.

        Raises:
            ValueError: If none wrote any.
        """
        corpus = self.partition.corpus
        source = corpus.source(corpus.stage(self.receipt.result.asset))
        if source is None:
            raise ValueError("no stage wrote the documents of the arrays")
        return source

    def earlier_results(self) -> list[Result]:
        """Results of the stages before that one, as far as today's recipe made them."""
        corpus, results = self.partition.corpus, []
        for stage in corpus.before(self.made_of):
            receipt = self.partition.receipt(stage)
            if receipt and receipt.result.fingerprint == corpus.fingerprint(stage.name):
                results.append(receipt.result)
        return results

    @cached_property
    def fim(self) -> PartitionFiles:
        """The files of the FIM shard."""
        return self.partition.files(self.made_of)

    @cached_property
    def places(self) -> "Places":
        """Where each document lies."""
        return Places.gather(self.frames(["line", "array", "start", "end"]))

    def frames(self, columns: list[str]) -> Iterator[pl.DataFrame]:
        """The arrays' parquet, many documents at a time."""
        return read_frames(self.tokens.file(".parquet"), columns)

    def files(self) -> Iterator[pl.DataFrame]:
        """The files' offsets in the arrays' order, one row a file, many documents at a time."""
        for frame in self.frames(["line", "array", "start", "end", "files"]):
            yield frame.explode("files").unnest("files")

    @cached_property
    def arrays(self) -> list[str]:
        """Names of the arrays."""
        ending = LAYOUTS[self.recipe.tokens.layout].ending
        outputs = [output.name for output in self.receipt.result.outputs]
        return [name for name in outputs if name.endswith(ending) and "/" not in name]

    def open(self, array: str) -> ArrayReader:
        """Read an array."""
        return ArrayReader(self.tokens.output(array), id_dtype(self.recipe.tokens))

    def blocks(self) -> Iterator[tuple[str, int, Ids]]:
        """All arrays, block by block: name, where the block begins, and its ids."""
        for array in self.arrays:
            with self.open(array) as reader:
                for begin, ids in reader.blocks():
                    yield array, begin, ids

    @contextmanager
    def reading(self) -> Iterator[Callable[[Span], Ids]]:
        """Reads spans of all arrays, however many there are."""
        with ExitStack() as stack:
            opened: dict[str, ArrayReader] = {}

            def read(span: Span) -> Ids:
                array, start, end = span
                if array not in opened:
                    if len(opened) == _OPEN_AT_ONCE:
                        stack.close()
                        opened.clear()
                    opened[array] = stack.enter_context(self.open(array))
                return opened[array].read(start, end)

            yield read

    def texts(self) -> Iterator[tuple[FimDocuments, list[Span]]]:
        """The FIM shard block by block, with each document's place.

        Raises:
            ValueError: If a document is in no array, or one more is.
        """
        arrays, at = set(self.arrays), 0
        shard = self.fim.file(".jsonl.zst")
        with FimShardReader(shard, self.fim.file(".parquet")) as reader:
            for block in reader:
                lines, found = self.places.in_line_order(at, at + len(block.raw_numbers))
                at += len(found)
                for row, (number, raw) in enumerate(
                    zip(block.documents.numbers, block.raw_numbers, strict=True)
                ):
                    if row >= len(found) or lines[row] != raw or found[row][0] not in arrays:
                        raise ValueError(f"line {number} of the FIM shard is in no array")
                yield block, found
        if at < len(self.places.lines):
            raise ValueError("the arrays hold more documents than the FIM shard")


@dataclass(frozen=True)
class Places:
    """Where documents lie, in the arrays' order: equally long arrays of small whole numbers.

    Attributes:
        names: The arrays.
        lines: Each document's line in the raw shard.
        arrays: Its array, by its place in `names`.
        starts: Its first token there.
        ends: One past its last.
    """

    names: list[str]
    lines: Index
    arrays: Index
    starts: Index
    ends: Index

    @classmethod
    def gather(cls, frames: Iterable[pl.DataFrame]) -> "Places":
        """From the columns `line`, `array`, `start` and `end`, a few documents at a time."""
        codes: dict[str, int] = {}
        columns: list[list[Index]] = [[np.empty(0, np.uint8)] for _ in range(4)]
        for frame in frames:
            for name in frame["array"].unique(maintain_order=True):
                codes.setdefault(name, len(codes))
            arrays = frame["array"].replace_strict(codes, return_dtype=pl.Int64)
            found = frame["line"], arrays, frame["start"], frame["end"]
            for column, values in zip(columns, found, strict=True):
                column.append(_small(values.to_numpy()))
        return cls(list(codes), *(np.concatenate(columns.pop(0)) for _ in range(4)))

    def of(self, array: str) -> "npt.NDArray[np.bool_]":
        """Which documents lie in an array, shape (n,)."""
        code = self.names.index(array) if array in self.names else len(self.names)
        return np.equal(self.arrays, code)

    def in_line_order(self, begin: int, end: int) -> tuple[list[int], list[Span]]:
        """Lines and places of some documents, counted in the raw shard's order."""
        rows = self._by_line[begin:end]
        names = [self.names[code] for code in self.arrays[rows].tolist()]
        spans = zip(names, self.starts[rows].tolist(), self.ends[rows].tolist(), strict=True)
        return self.lines[rows].tolist(), list(spans)

    @cached_property
    def _by_line(self) -> Index:
        return _small(np.argsort(self.lines, kind="stable"))


def _small(values: Ints) -> Index:
    """The same numbers in the smallest type that holds them."""
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    return values.astype(np.promote_types(np.min_scalar_type(low), np.min_scalar_type(high)))


def unordered_rows_hash(columns: Sequence[pl.Series]) -> int:
    """A number that tables share which hold the same rows, in whatever order.

    It adds up 64-bit hashes of the rows modulo 2**64, so that it adds up over parts of a table;
    tables with other rows share it by chance only.
    """
    hashes = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        numbers = column.hash() if column.dtype == pl.String else column.cast(pl.UInt64)
        hashes = mix(mix(hashes) + numbers.to_numpy() + np.uint64(1))
    return int(hashes.sum(dtype=np.uint64))


def _add(one: int, other: int) -> int:
    return (one + other) % (1 << 64)


def decodes_to_fim_text(partition: TokenPartition) -> CheckOutcome:
    """Decode every document's ids and compare them with its text in the FIM shard.

    Raises:
        ValueError: If documents are missing, or prefixes end elsewhere than the parquet says.
    """
    name = "decodes_to_fim_text"
    tokenizer, recipe = partition.tokenizer, partition.recipe
    head = 0 if tokenizer.controls.bos is None else 1
    prefixes = _touching_prefixes(partition)
    documents = size = changed = 0
    with partition.reading() as read:
        for block, spans in partition.texts():
            ids = [read((array, start + head, end - 1)) for array, start, end in spans]
            texts = [text.encode() for text in block.documents.texts]
            forms = texts
            if tokenizer.vocabulary.lossy:
                forms = list(_normal_forms(block, recipe, tokenizer))
                changed += sum(form != text for form, text in zip(forms, texts, strict=True))
            together = np.concatenate([np.empty(0, id_dtype(recipe.tokens)), *ids])
            try:
                same = tokenizer.decode(together) == b"".join(forms)
            except ValueError:
                same = False
            if not same:
                number, span, why = _first_difference(block, spans, ids, forms, tokenizer)
                return fault(
                    name,
                    f"{span[0]}: tokens {span[1]} to {span[2]} {why} line {number} of the "
                    "FIM shard",
                )
            _refuse_other_prefixes(block, spans, ids, prefixes, partition)
            documents += len(texts)
            size += sum(map(len, forms))
    said = f"their FIM texts: {documents:,} of {documents:,}"
    if tokenizer.vocabulary.lossy:
        said = f"the normal form of {said}; it differs from the text of {changed:,}"
    description = f"Documents whose ids decode to {said}."
    numbers = {"documents": documents, "bytes": size, "changed_documents": changed}
    return CheckOutcome(name, passed=True, description=description, numbers={**numbers})


def _normal_forms(
    block: FimDocuments, recipe: Recipe, tokenizer: LoadedTokenizer
) -> Iterator[bytes]:
    table = tokenizer.vocabulary.token_bytes
    for text, files in zip(block.documents.texts, block.files, strict=True):
        parts = [segment.content for segment in segments(text, files, recipe.fim, tokenizer)]
        inside = parts[0 if tokenizer.controls.bos is None else 1 : -1]
        yield b"".join(
            tokenizer.normal_form(part) if isinstance(part, str) else table[part] or b""
            for part in inside
        )


def _first_difference(
    block: FimDocuments,
    spans: list[Span],
    ids: list[Ids],
    forms: list[bytes],
    tokenizer: LoadedTokenizer,
) -> tuple[int, Span, str]:
    """The first document whose ids are not its text: its line, its span, and why."""
    for number, span, found, form in zip(block.documents.numbers, spans, ids, forms, strict=True):
        try:
            if tokenizer.decode(found) != form:
                return number, span, "decode to another text than"
        except ValueError as error:
            return number, span, f"do not decode ({error}):"
    raise AssertionError("documents decode one by one and not together")


def _touching_prefixes(partition: TokenPartition) -> Iterator[tuple[int, int]]:
    """Where prefixes start and end that no sentinel parts from their middle, in the shard's order.

    `spm_format: v2` and recipes without a middle token lay files out so.
    """
    orders = _touching_orders(partition.recipe.fim)
    if not orders:
        return iter(())
    names = ["line", "prefix_start", "prefix_end"]
    touching = (
        files.filter(pl.col("file_order").is_in(orders)).select(names)
        for files in partition.files()
    )
    none = pl.DataFrame(schema=dict.fromkeys(names, pl.Int64))
    in_order = pl.concat([none, *touching]).sort("line", maintain_order=True)
    return in_order.select("prefix_start", "prefix_end").iter_rows()


def _touching_orders(fim: Fim) -> list[Order]:
    return [
        order
        for order in REARRANGED
        if ("prefix", "middle") in pairwise(piece.part for piece in layout(order, fim))
    ]


def _refuse_other_prefixes(
    block: FimDocuments,
    spans: list[Span],
    ids: list[Ids],
    prefixes: Iterator[tuple[int, int]],
    partition: TokenPartition,
) -> None:
    """Hold offsets that no sentinel shows against the text.

    Raises:
        ValueError: If a prefix of the block ends elsewhere than the parquet says.
    """
    fim, tokenizer = partition.recipe.fim, partition.tokenizer
    orders = _touching_orders(fim)
    if not orders:
        return
    head = 0 if tokenizer.controls.bos is None else 1
    documents = zip(block.documents.texts, block.files, spans, ids, strict=True)
    for text, files, (array, begin, _), found in documents:
        for row, file in split_files(text, files, fim):
            if row.order not in orders:
                continue
            start, end = next(prefixes)
            pieces = parse_arrangement(file, row.order, row.lengths, fim)
            prefix = next(piece.text for piece in pieces if piece.part == "prefix")
            inside = found[start - begin - head : end - begin - head]
            texts = paragraphs(prefix) if tokenizer.paragraphs else [prefix]
            size = sum(len(tokenizer.normal_form(text)) for text in texts)
            if tokenizer.vocabulary.sizes[inside].sum() != size:
                raise ValueError(
                    f"{array}: tokens {start} to {end} are not the prefix that the parquet says"
                )


def one_eos_per_document(partition: TokenPartition) -> CheckOutcome:
    """Compare where EOS stands in the arrays with where documents end."""
    name = "one_eos_per_document"
    places, arrays = partition.places, partition.arrays
    expected, count = partition.receipt.result.documents, len(partition.places.lines)
    if sorted(places.names) != sorted(arrays):
        return fault(name, f"the parquet names {sorted(places.names)}, not {arrays}")
    for array in arrays:
        inside = places.of(array)
        with partition.open(array) as ids:
            starts, ends = places.starts[inside], places.ends[inside]
            wrong = _misplaced_end(starts, ends, ids, partition.tokenizer)
        if wrong:
            return fault(name, f"{array}: {wrong}")
    if count != expected:
        return fault(name, f"{plural(count, 'document')}, expected {expected:,}")
    bos = "" if partition.tokenizer.controls.bos is None else ", one BOS at its beginning"
    return CheckOutcome(
        name,
        passed=True,
        description=f"{plural(count, 'document')} in {plural(len(arrays), 'array')}, one EOS "
        f"at the end of each document{bos}.",
        numbers={"documents": count, "arrays": len(arrays)},
    )


def _misplaced_end(
    starts: Index, ends: Index, ids: ArrayReader, tokenizer: LoadedTokenizer
) -> str | None:
    covers = (
        len(ends) and starts[0] == 0 and ends[-1] == ids.size and (starts[1:] == ends[:-1]).all()
    )
    if not covers or (ends <= starts).any():
        return f"its documents do not cover its {ids.size:,} tokens"
    bos, eos = tokenizer.controls.bos, tokenizer.controls.eos
    for begin, block in ids.blocks():
        for mark in {eos, bos} - {None}:
            expected = np.zeros(len(block), np.bool_)
            if mark == eos:
                expected[_within(ends, begin + 1, len(block))] = True
            if mark == bos:
                expected[_within(starts, begin, len(block))] = True
            if not np.array_equal(block == mark, expected):
                if mark != eos:
                    return "BOS does not stand once at each document's beginning"
                return "EOS does not stand once at each document's end"
    return None


def _within(places: Index, begin: int, size: int) -> Ints:
    """Those of ascending places that lie in a block, counted from where it begins."""
    # NumPy's search would turn all of them into a larger type first.
    low, high = bisect_left(places, begin), bisect_left(places, begin + size)
    return places[low:high].astype(np.int64) - begin


def ids_in_vocabulary(partition: TokenPartition) -> CheckOutcome:
    """Look every id up in the vocabulary, without ids that it does not use or no document has."""
    name = "ids_in_vocabulary"
    used = partition.tokenizer.vocabulary.used.copy()
    used[list(partition.tokenizer.forbidden_ids)] = False
    highest, tokens = -1, 0
    for array, begin, ids in partition.blocks():
        # Ids are looked up in bounds: the highest is compared first.
        low, high = int(ids.min()), int(ids.max())
        known = used[ids] if low >= 0 and high < len(used) else (ids >= 0) & (ids < len(used))
        if not known.all():
            at = int(np.argmin(known))
            why = f"the vocabulary of {len(used):,} does not use"
            if ids[at] in partition.tokenizer.forbidden_ids:
                why = "no document has: it is padding, or a control token that the recipe lacks"
            return fault(name, f"{array}: token {begin + at} is {ids[at]}, which {why}")
        highest = max(highest, high)
        tokens += len(ids)
    return CheckOutcome(
        name,
        passed=True,
        description=f"Ids that are in the vocabulary of {len(used):,}: {tokens:,} of {tokens:,}; "
        f"the highest is {highest:,}.",
        numbers={"highest_id": highest, "vocabulary": len(used), "tokens": tokens},
    )


def sentinel_grammar(partition: TokenPartition) -> CheckOutcome:
    """Compare where sentinels stand with the files' orders and the offsets of their parts.

    Where there is a label mask, compare it with these offsets too.

    Raises:
        ValueError: If orders or offsets are not those of the FIM shard and the recipe's layout.
    """
    name = "sentinel_grammar"
    masked = partition.recipe.tokens.label_mask is not None
    unlabelled: dict[str, list[Ints]] = defaultdict(list)
    seen: dict[str, int] = dict.fromkeys(partition.arrays, 0)
    counts = _count_orders(partition)
    for files in partition.files():
        _refuse_gaps(files, partition)
        for (name_of_array,), of_array in files.group_by("array", maintain_order=True):
            array, end = str(name_of_array), int(of_array["end"].to_numpy().max())
            sentinels = _expected_sentinels(of_array, partition)
            wrong = _wrong_sentinels(array, (seen.get(array, 0), end), sentinels, partition)
            if wrong:
                return fault(name, wrong)
            seen[array] = end
            if masked:
                unlabelled[array].append(_unlabelled(of_array))
    for array in partition.arrays:
        with partition.open(array) as ids:
            rest = seen[array], max(ids.size, seen[array])
        wrong = _wrong_sentinels(array, rest, np.empty(0, np.int64), partition)
        if wrong is None and masked:
            wrong = _wrong_mask(array, unlabelled[array], partition)
        if wrong:
            return fault(name, wrong)
    return CheckOutcome(
        name,
        passed=True,
        description=f"{plural(counts['psm'], 'file')} in PSM and {counts['spm']:,} in SPM order: "
        "the sentinels stand once each and in order, and nowhere else.",
        numbers={**counts},
    )


def _wrong_sentinels(
    array: str, span: tuple[int, int], expected: Ints, partition: TokenPartition
) -> str | None:
    """Where sentinels among some tokens of an array first differ from the expected, in words."""
    found = _found_sentinels(array, span, partition)
    if np.array_equal(expected, found):
        return None
    both = min(len(expected), len(found))
    same = expected[:both] == found[:both]
    first = both if same.all() else int(np.argmin(same))
    at = int(min(its[first] for its in (expected, found) if first < len(its))) // _KINDS
    places = partition.places
    before = np.flatnonzero(places.of(array) & (places.starts <= at))
    if not len(before):
        return f"{array}: token {at} is a sentinel and belongs to no document"
    row = before[-1]
    return (
        f"{array}: the document at tokens {places.starts[row]} to {places.ends[row]}, line "
        f"{places.lines[row]} of the raw shard, has a sentinel too many, too few or another one at "
        f"token {at}"
    )


def _joined(parts: Iterable[Ints]) -> Ints:
    return np.concatenate([np.empty(0, np.int64), *parts])


def _count_orders(partition: TokenPartition) -> dict[str, int]:
    """How many files are in each order.

    Raises:
        ValueError: If a document has other files, or in other orders, than in the FIM shard.
    """
    parquet = partition.fim.file(".parquet")
    counts: dict[str, int] = dict.fromkeys(REARRANGED, 0)
    recorded = found = 0
    for record in read_frames(parquet, ["line", "file", "order"]):
        recorded = _add(
            recorded, unordered_rows_hash([record["line"], record["file"], record["order"]])
        )
        for order in REARRANGED:
            counts[order] += int(record["order"].eq(order).sum())
    for files in partition.files():
        index = files.select(pl.int_range(pl.len()).over("line")).to_series()
        found = _add(found, unordered_rows_hash([files["line"], index, files["file_order"]]))
    if found != recorded:
        raise ValueError(f"documents have other files, or in other orders, than {parquet} says")
    return counts


def _refuse_gaps(files: pl.DataFrame, partition: TokenPartition) -> None:
    """Raise where files overlap, leave their document, or lie further apart than a separator."""
    controls = partition.tokenizer.controls
    head = 0 if controls.bos is None else 1
    first = pl.int_range(pl.len()).over("line") == 0
    last = pl.int_range(pl.len(), 0, -1).over("line") == 1
    apart = pl.col("file_start") - pl.col("file_end").shift(1).over("line")
    one_id = _separator_id(partition) is not None
    # A separator that is text may be nothing in a normal form.
    least = 0 if partition.tokenizer.vocabulary.lossy else 1
    fits = (
        (pl.col("file_end") >= pl.col("file_start"))
        & pl.when(first)
        .then(pl.col("file_start") == pl.col("start") + head)
        .otherwise(apart == 1 if one_id else apart >= least)
        & (~last | (pl.col("file_end") == pl.col("end") - 1))
    )
    wrong = files.filter(~fits.fill_null(value=False))
    if not wrong.is_empty():
        row = wrong.row(0, named=True)
        raise ValueError(
            f"{row['array']}: a file of line {row['line']} at tokens {row['file_start']} to "
            f"{row['file_end']} does not fit in its document, {row['start']} to {row['end']}"
        )


_KINDS = 8
"""A sentinel in an array is one number: its place times this, plus which of the recipe's it is.

What parts the files of a document is one of them, if it is one id.
"""


def _expected_sentinels(files: pl.DataFrame, partition: TokenPartition) -> Ints:
    """The sentinels of some files of an array: between their parts, as the layout has them.

    Raises:
        ValueError: If parts and sentinels do not make up a file.
    """
    kinds = list(partition.tokenizer.controls.sentinels)
    expected: list[Ints] = []
    if _separator_id(partition) is not None:
        last = pl.int_range(pl.len(), 0, -1).over("line") == 1
        expected.append(files.filter(~last)["file_end"].to_numpy() * _KINDS + len(kinds))
    for order in REARRANGED:
        chosen = files.filter(pl.col("file_order") == order)
        at = chosen["file_start"].to_numpy()
        fits = np.ones(len(at), np.bool_)
        for piece in layout(order, partition.recipe.fim):
            if piece.part is None and piece.sentinel is not None:
                expected.append(at * _KINDS + kinds.index(piece.sentinel))
                at = at + 1
            else:
                fits &= chosen[f"{piece.part}_start"].to_numpy() == at
                at = chosen[f"{piece.part}_end"].to_numpy()
        fits &= at == chosen["file_end"].to_numpy()
        if not fits.all():
            row = chosen.row(int(np.argmin(fits)), named=True)
            raise ValueError(
                f"{row['array']}: the parts of the file at tokens {row['file_start']} to "
                f"{row['file_end']} and their sentinels do not make it up in {order} order"
            )
    return np.sort(_joined(expected))


def _separator_id(partition: TokenPartition) -> int | None:
    """The one id that parts the files of a document, None where it is text."""
    separator = partition.recipe.fim.file_separator_token
    return None if separator is None else partition.tokenizer.controls.boundaries.get(separator)


def _found_sentinels(array: str, span: tuple[int, int], partition: TokenPartition) -> Ints:
    ids = list(partition.tokenizer.controls.sentinels.values())
    separator = _separator_id(partition)
    if separator is not None:
        ids.append(separator)
    low, high = min(ids), max(ids)
    kind_of = np.full(high - low + 1, -1, np.int8)
    kind_of[np.array(ids) - low] = range(len(ids))
    found: list[Ints] = []
    with partition.open(array) as reader:
        for begin, block in reader.blocks(*span):
            at = np.flatnonzero((block >= low) & (block <= high))
            kinds = kind_of[block[at].astype(np.int64) - low]
            found.append(((begin + at) * _KINDS + kinds)[kinds >= 0])
    return _joined(found)


def _unlabelled(files: pl.DataFrame) -> Ints:
    """Where the label mask becomes false and true again, for some files of an array.

    In every layout the middle is a file's last part, so that what is not trained on is one run
    from where a rearranged file begins, or the BOS in front of it, to its middle.
    """
    first = pl.col("file_start").shift(1).over("line").is_null()
    begin = pl.when(first).then(pl.col("start")).otherwise(pl.col("file_start"))
    runs = files.select("file_order", "middle_start", begin=begin)
    runs = runs.filter(pl.col("file_order") != "none").select("begin", "middle_start")
    return np.sort(runs.to_numpy().ravel())


def _wrong_mask(array: str, expected: list[Ints], partition: TokenPartition) -> str | None:
    """What is wrong with an array's label mask: it is false in front of middles and nowhere else.

    Args:
        array: The array.
        expected: See `_unlabelled`.
        partition: Its partition.
    """
    path = partition.tokens.output(mask_name(array, partition.recipe.tokens.layout))
    changes: list[Ints] = []
    before = True
    ends = partition.places.ends[partition.places.of(array)]
    with ArrayReader(path, np.dtype(np.bool_)) as mask:
        if mask.size != ends.max(initial=0):
            return f"{path}: {mask.size:,} values for {ends.max(initial=0):,} tokens"
        for at, block in mask.blocks():
            if block.view(np.uint8).max() > 1:
                return f"{path}: holds values other than 0 and 1"
            changes.append(np.flatnonzero(np.diff(block, prepend=before)) + at)
            before = bool(block[-1])
    if not np.array_equal(_joined(changes), _joined(expected)):
        return f"{path}: true and false do not change where middles begin and their files do"
    return None


def nothing_lost(partition: TokenPartition) -> CheckOutcome:
    """Add up documents and characters through the stages, and compare their lines and ids."""
    name = "nothing_lost"
    receipt = read_receipt(partition.fim)
    if receipt is None:
        return fault(name, f"{partition.fim.receipt}: no receipt")
    fim, made, tokens = partition.recipe.fim, receipt.result, partition.receipt.result
    documents = lines_and_ids = originals = sentinels = size = missized = 0
    added = {o: sum(len(piece.text) for piece in layout(o, fim)) for o in REARRANGED}
    for record in read_frames(
        partition.fim.file(".parquet"), ["line", "id", "file", "chars", "order"]
    ):
        first = record.filter(pl.col("file") == 0)
        documents += first.height
        lines_and_ids = _add(lines_and_ids, _lines_and_ids(first))
        originals += int(record["chars"].sum())
        originals += (record.height - first.height) * len(fim.file_separator_token or "")
        sentinels += sum(n * int(record["order"].eq(o).sum()) for o, n in added.items())
    for found in partition.frames(["start", "end", "tokens"]):
        sizes = found["end"] - found["start"]
        size += int(sizes.sum())
        missized += int(sizes.ne_missing(found["tokens"]).sum())
    compared = {
        f"{made.asset}, lines": (made.lines, made.documents + made.blank + made.rejected),
        f"{made.asset}, characters": (made.chars, originals + sentinels),
        f"{tokens.asset}, lines": (tokens.lines, made.documents),
        f"{tokens.asset}, documents": (tokens.documents, made.documents),
        f"{tokens.asset}, files": (tokens.files, made.files),
        f"{tokens.asset}, characters": (tokens.chars, made.chars),
        f"{tokens.asset}, tokens": (size, tokens.tokens),
        f"{tokens.asset}, documents whose tokens are not those from start to end": (missized, 0),
    }
    files = {tokens.asset: partition.tokens}
    earlier = partition.earlier_results()
    for before, after in pairwise([*earlier, made]):
        compared |= _accounted(before, after)
    if earlier:
        last = earlier[-1]
        compared[f"{last.asset}, characters"] = (last.chars, originals)
        files[last.asset] = partition.partition.files(partition.partition.corpus.stage(last.asset))
    for what, (number, expected) in compared.items():
        if number != expected:
            return fault(name, f"{what}: {number:,}, expected {expected:,}")
    for asset, its_files in files.items():
        rows = 0
        for table in read_frames(its_files.file(".parquet"), ["line", "id"]):
            rows = _add(rows, _lines_and_ids(table))
        if rows != lines_and_ids:
            return fault(name, f"{asset} has other lines, or other ids for them, than {made.asset}")
    stages = [*(result.asset for result in earlier), made.asset, tokens.asset]
    return CheckOutcome(
        name,
        passed=True,
        description=f"{plural(documents, 'document')} and {plural(originals, 'character')} "
        f"came through {', '.join(stages)}; sentinels added {plural(sentinels, 'character')}.",
        numbers={
            "documents": documents,
            "chars": originals,
            "sentinel_chars": sentinels,
            "stages": len(stages),
        },
    )


def _accounted(before: Result, after: Result) -> dict[str, tuple[int, int]]:
    """Numbers of two stages, one after the other, that must be the same."""
    dropped = sum(counted(after.counts, "dropped").values())
    same = {f"{before.asset}, documents": (before.documents, after.documents + dropped)}
    if after.input == before.input:
        same |= {
            f"{before.asset}, lines": (before.lines, after.lines),
            f"{before.asset}, blank lines": (before.blank, after.blank),
            f"{before.asset}, rejected lines": (before.rejected, after.rejected),
        }
    return same


def _lines_and_ids(frame: pl.DataFrame) -> int:
    return unordered_rows_hash([frame["line"], frame["id"].is_null(), frame["id"].fill_null("")])


def matches_reference_tokenizer(partition: TokenPartition) -> CheckOutcome:
    """Encode a sample of documents with the reference and compare ids.

    The sample is drawn by the documents' keys, so that it is the same in every run. A document that
    the fast engine has encoded and the reference cannot is passed over, and counted.
    """
    name = "matches_reference_tokenizer"
    chosen = _sample(partition)
    tokenizer = partition.tokenizer
    reference = tokenizer.encoders.reference
    tokens = passed_over = 0
    with partition.reading() as read:
        for block, spans in partition.texts():
            for row, raw in enumerate(block.raw_numbers):
                if raw not in chosen:
                    continue
                try:
                    expected = _reference_ids(block, row, partition)
                except UnencodableTextError:
                    passed_over += 1
                    continue
                found = read(spans[row])
                if not np.array_equal(found, expected):
                    array, start, end = spans[row]
                    return fault(
                        name,
                        f"{array}: tokens {start} to {end}, the document of line "
                        f"{block.documents.numbers[row]} of the FIM shard, are not what "
                        f"{reference.name} gives",
                    )
                tokens += len(found)
    compared = len(chosen) - passed_over
    description = (
        f"{plural(compared, 'document')} with {plural(tokens, 'token')}, drawn "
        f"by key: the ids are what {reference.name} gives; encoded by "
        f"{tokenizer.encoder_description}."
    )
    numbers: dict[str, Number] = {"documents": compared, "tokens": tokens}
    if passed_over:
        numbers["passed_over"] = passed_over
        documents = plural(passed_over, "document")
        description += f" Passed over: {documents} that {reference.name} cannot encode."
    return CheckOutcome(name, passed=True, description=description, numbers=numbers)


def _reference_ids(block: FimDocuments, row: int, partition: TokenPartition) -> Ints:
    """What a document of a block is encoded to by the reference, controls included."""
    tokenizer, fim = partition.tokenizer, partition.recipe.fim
    text, files = block.documents.texts[row], block.files[row]
    parts = [segment.content for segment in segments(text, files, fim, tokenizer)]
    texts = [part for part in parts if isinstance(part, str)]
    ids, bounds = tokenizer.encoders.reference.encode(texts)
    encoded = iter(np.split(ids, bounds[1:-1]))
    return np.concatenate([next(encoded) if isinstance(part, str) else [part] for part in parts])


def _sample(partition: TokenPartition) -> set[int]:
    """Lines of the documents to compare: drawn, as many as `SAMPLE_TOKENS` asks for."""
    at = 0
    schema = {"line": pl.Int64, "tokens": pl.Int64, "draw": pl.UInt64}
    drawn = pl.DataFrame(schema=schema)
    for record in read_frames(partition.fim.file(".parquet"), ["line", "file", "draw_key"]):
        keys = record.filter(pl.col("file") == 0)["draw_key"].to_numpy()
        lines, spans = partition.places.in_line_order(at, at + len(keys))
        at += len(keys)
        sizes = [end - start for _, start, end in spans]
        draws = draw_bits(keys, np.zeros(1, np.int64), RandomStream.SAMPLE)[: len(lines)]
        more = pl.DataFrame({"line": lines, "tokens": sizes, "draw": draws}, schema=schema)
        more = more.filter(pl.col("tokens") <= _SAMPLE_DOCUMENT_TOKENS)
        ordered = pl.concat([drawn, more]).sort("draw", maintain_order=True)
        before = pl.col("tokens").cum_sum() - pl.col("tokens")
        drawn = ordered.filter(before < SAMPLE_TOKENS)
    return set(drawn["line"].to_list())


CHECKS = (
    Check(
        "one_eos_per_document",
        "Every token of the arrays is looked at: documents cover them without gap or overlap; "
        "each ends in EOS, and begins with BOS where the recipe has one, and neither stands "
        "anywhere else.",
        one_eos_per_document,
    ),
    Check(
        "ids_in_vocabulary",
        "Every token of the arrays is one that the tokenizer's vocabulary uses; padding, and "
        "control tokens that the recipe does not place, stand nowhere.",
        ids_in_vocabulary,
    ),
    Check(
        "sentinel_grammar",
        "Each rearranged file has its sentinels once and in order, between the parts whose "
        "offsets the parquet gives, and files are parted by the separator where it is one id; "
        "neither stands anywhere else. Files and orders are those of the FIM shard's record. A "
        "label mask is false from a rearranged file's beginning to its middle, and true "
        "elsewhere.",
        sentinel_grammar,
    ),
    Check(
        "nothing_lost",
        "Documents, lines, ids and characters add up through raw_shards, fim_shards and "
        "token_arrays: each document of a stage is in the next, once.",
        nothing_lost,
    ),
    Check(
        "decodes_to_fim_text",
        "The ids of every document decode to its text in the FIM shard, byte by byte; with "
        "tokens.allow_lossy, to the text's normal form.",
        decodes_to_fim_text,
    ),
    Check(
        "matches_reference_tokenizer",
        "A sample of each partition's documents, drawn by their keys until it has 16,384 tokens, "
        "is encoded by Hugging Face tokenizers too, and the ids are the same. Documents that it "
        "cannot encode, with runs of millions of spaces, are passed over and counted.",
        matches_reference_tokenizer,
    ),
)
"""In the order of running."""
