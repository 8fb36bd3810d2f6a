"""Checks of `token_arrays`: the arrays hold all texts, exactly, and what a trainer relies on."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl

from fim_assets.checks.outcome import CheckOutcome, fault
from fim_assets.fim.draws import Draw, draw_bits
from fim_assets.fim.orders import Order, dissect, layout
from fim_assets.fim.record import FimDocuments, FimShardReader, split_files
from fim_assets.receipts import Place, Receipt, read_receipt
from fim_assets.recipe import Fim, Recipe
from fim_assets.tables import TableReader
from fim_assets.tokens.arrays import ArrayReader
from fim_assets.tokens.layouts import LAYOUTS, id_dtype, mask_name
from fim_assets.tokens.spool import Ids, Ints
from fim_assets.tokens.tokenize import paragraphs, segments
from fim_assets.tokens.tokenizer import LoadedTokenizer

SAMPLE_TOKENS = 1 << 14
"""Tokens of each partition that are compared with the reference's, about 64 kB of code."""

_SAMPLE_DOCUMENT_TOKENS = 1 << 18
"""Documents with more are not compared: the reference would take seconds for each."""

_OPEN_AT_ONCE = 64

REARRANGED: tuple[Order, ...] = ("psm", "spm")

Span = tuple[str, int, int]
"""A document's place: its array, its first token there, and one past its last."""


@dataclass(frozen=True)
class TokenPartition:
    """A partition's token arrays, and what they were made of.

    Attributes:
        raw: Where the raw shard's profile lies, if it was materialized.
        fim: Where the FIM shard lies.
        tokens: Where the arrays lie.
        receipt: Of the arrays.
        recipe: What made them.
        tokenizer: The recipe's.
    """

    raw: Place
    fim: Place
    tokens: Place
    receipt: Receipt
    recipe: Recipe
    tokenizer: LoadedTokenizer

    @cached_property
    def documents(self) -> pl.DataFrame:
        """Where each document lies, in the arrays' order: line, array, start, end."""
        frame = self.scan().select("line", pl.col("array").cast(pl.Categorical), "start", "end")
        return frame.collect()

    def scan(self) -> pl.LazyFrame:
        """The arrays' parquet."""
        return pl.scan_parquet(self.tokens.file(".parquet"), glob=False)

    def files(self) -> Iterator[pl.DataFrame]:
        """The files' offsets in the arrays' order, one row a file, many documents at a time."""
        columns = ["line", "array", "start", "end", "files"]
        with TableReader(self.tokens.file(".parquet"), columns) as reader:
            for table in reader:
                yield pl.DataFrame(table).explode("files").unnest("files")

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
        table, arrays = self.documents.sort("line"), set(self.arrays)
        spans = zip(table["line"], table["array"], table["start"], table["end"], strict=True)
        shard = self.fim.file(".jsonl.zst")
        with FimShardReader(shard, self.fim.file(".parquet")) as reader:
            for block in reader:
                found = []
                for number, raw in zip(block.documents.numbers, block.raw_numbers, strict=True):
                    line, *span = next(spans, (None, "", 0, 0))
                    if line != raw or span[0] not in arrays:
                        raise ValueError(f"line {number} of the FIM shard is in no array")
                    found.append(tuple(span))
                yield block, found
        if next(spans, None) is not None:
            raise ValueError("the arrays hold more documents than the FIM shard")


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
    description = f"All {documents:,} documents decode to their FIM texts."
    if tokenizer.vocabulary.lossy:
        description = (
            f"All {documents:,} documents decode to the normal form of their FIM texts, which "
            f"differs from the text of {changed:,}."
        )
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
            pieces = dissect(file, row.order, row.lengths, fim)
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
    table, arrays = partition.documents, partition.arrays
    expected = partition.receipt.result.documents
    if sorted(table["array"].unique()) != sorted(arrays):
        return fault(name, f"the parquet names {sorted(table['array'].unique())}, not {arrays}")
    for array in arrays:
        spans = table.filter(pl.col("array") == array)
        with partition.open(array) as ids:
            wrong = _misplaced_end(spans, ids, partition.tokenizer)
        if wrong:
            return fault(name, f"{array}: {wrong}")
    if table.height != expected:
        return fault(name, f"{table.height:,} documents, expected {expected:,}")
    bos = "" if partition.tokenizer.controls.bos is None else ", one BOS at each beginning"
    return CheckOutcome(
        name,
        passed=True,
        description=f"{table.height:,} documents in {len(arrays)} arrays, one EOS at the end of "
        f"each{bos}.",
        numbers={"documents": table.height, "arrays": len(arrays)},
    )


def _misplaced_end(spans: pl.DataFrame, ids: ArrayReader, tokenizer: LoadedTokenizer) -> str | None:
    starts, ends = spans["start"].to_numpy(), spans["end"].to_numpy()
    covers = np.array_equal(np.append(starts, ids.size), np.append(0, ends))
    if not covers or (ends <= starts).any():
        return f"its documents do not cover its {ids.size:,} tokens"
    bos, eos = tokenizer.controls.bos, tokenizer.controls.eos
    expected = {eos: [ends - 1]}
    if bos is not None:
        expected[bos] = [starts, *expected.get(bos, [])]
    found: dict[int, list[Ints]] = {mark: [] for mark in expected}
    for begin, block in ids.blocks():
        for mark, places in found.items():
            places.append(np.flatnonzero(block == mark) + begin)
    for mark, places in expected.items():
        if not np.array_equal(np.concatenate(found[mark]), np.sort(np.concatenate(places))):
            if mark != eos:
                return "BOS does not stand once at each document's beginning"
            return "EOS does not stand once at each document's end"
    return None


def ids_in_vocabulary(partition: TokenPartition) -> CheckOutcome:
    """Look every id up in the vocabulary, without ids that it does not use or no document has."""
    name = "ids_in_vocabulary"
    used = partition.tokenizer.vocabulary.used.copy()
    used[list(partition.tokenizer.absent)] = False
    highest = -1
    for array, begin, ids in partition.blocks():
        # Ids are looked up in bounds: the highest is compared first.
        low, high = int(ids.min()), int(ids.max())
        known = used[ids] if low >= 0 and high < len(used) else (ids >= 0) & (ids < len(used))
        if not known.all():
            at = int(np.argmin(known))
            why = f"the vocabulary of {len(used):,} does not use"
            if ids[at] in partition.tokenizer.absent:
                why = "no document has: it is padding, or a control token that the recipe lacks"
            return fault(name, f"{array}: token {begin + at} is {ids[at]}, which {why}")
        highest = max(highest, high)
    return CheckOutcome(
        name,
        passed=True,
        description=f"All ids are in the vocabulary of {len(used):,}, the highest is {highest:,}.",
        numbers={"highest_id": highest, "vocabulary": len(used)},
    )


def sentinel_grammar(partition: TokenPartition) -> CheckOutcome:
    """Compare where sentinels stand with the files' orders and the offsets of their parts.

    Where there is a label mask, compare it with these offsets too.

    Raises:
        ValueError: If orders or offsets are not those of the FIM shard and the recipe's layout.
    """
    name = "sentinel_grammar"
    expected: dict[str, list[Ints]] = defaultdict(list)
    unlabelled: dict[str, list[Ints]] = defaultdict(list)
    counts = _count_orders(partition)
    for files in partition.files():
        _refuse_gaps(files, partition)
        for (array,), of_array in files.group_by("array", maintain_order=True):
            expected[str(array)].append(_expected_sentinels(of_array, partition))
            if partition.recipe.tokens.label_mask is not None:
                unlabelled[str(array)].append(_unlabelled(of_array))
    for array in partition.arrays:
        wrong = _wrong_sentinels(array, expected[array], partition)
        if wrong is None and partition.recipe.tokens.label_mask is not None:
            wrong = _wrong_mask(array, unlabelled[array], partition)
        if wrong:
            return fault(name, wrong)
    return CheckOutcome(
        name,
        passed=True,
        description=f"The sentinels of {counts['psm']:,} files in PSM and {counts['spm']:,} in SPM "
        "order stand once each and in order, and nowhere else.",
        numbers={**counts},
    )


def _wrong_sentinels(array: str, parts: list[Ints], partition: TokenPartition) -> str | None:
    """Where an array's sentinels first differ from those that its files ask for, in words."""
    expected, found = _joined(parts), _found_sentinels(array, partition)
    if np.array_equal(expected, found):
        return None
    both = min(len(expected), len(found))
    same = expected[:both] == found[:both]
    first = both if same.all() else int(np.argmin(same))
    at = int(min(its[first] for its in (expected, found) if first < len(its))) // _KINDS
    documents = partition.documents
    before = documents.filter((pl.col("array") == array) & (pl.col("start") <= at))
    if before.is_empty():
        return f"{array}: token {at} is a sentinel and belongs to no document"
    row = before.row(-1, named=True)
    return (
        f"{array}: the document at tokens {row['start']} to {row['end']}, line {row['line']} of "
        f"the raw shard, has a sentinel too many, too few or another one at token {at}"
    )


def _joined(parts: Iterable[Ints]) -> Ints:
    return np.concatenate([np.empty(0, np.int64), *parts])


def _count_orders(partition: TokenPartition) -> dict[str, int]:
    """How many files are in each order.

    Raises:
        ValueError: If a document has other files, or in other orders, than in the FIM shard.
    """
    parquet = partition.fim.file(".parquet")
    # As categories they are a tenth of their size.
    columns = pl.col("line"), pl.col("order").cast(pl.Categorical)
    record = pl.scan_parquet(parquet, glob=False).select(columns).collect()
    found = (
        files.select("line", order="file_order").select(columns) for files in partition.files()
    )
    in_order = pl.concat([record.clear(), *found]).sort("line", maintain_order=True)
    if not in_order.equals(record):
        raise ValueError(f"documents have other files, or in other orders, than {parquet} says")
    return {order: int(record["order"].eq(order).sum()) for order in REARRANGED}


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


def _found_sentinels(array: str, partition: TokenPartition) -> Ints:
    ids = list(partition.tokenizer.controls.sentinels.values())
    separator = _separator_id(partition)
    if separator is not None:
        ids.append(separator)
    low, high = min(ids), max(ids)
    kind_of = np.full(high - low + 1, -1, np.int8)
    kind_of[np.array(ids) - low] = range(len(ids))
    found: list[Ints] = []
    with partition.open(array) as reader:
        for begin, block in reader.blocks():
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
    ends = partition.documents.filter(pl.col("array") == array)["end"].to_numpy()
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
    fim, raw = read_receipt(partition.fim), read_receipt(partition.raw)
    if raw is not None and raw.result.fingerprint != partition.recipe.fingerprint("raw_shards", ""):
        raw = None
    if fim is None:
        return fault(name, f"{partition.fim.receipt}: no receipt")
    record = pl.scan_parquet(partition.fim.file(".parquet"), glob=False)
    documents = record.filter(pl.col("file") == 0).select("line", "id").collect()
    counts = record.select(
        pl.len(),
        pl.col("chars").sum(),
        *((pl.col("order") == o).sum().alias(o) for o in REARRANGED),
    )
    files, chars, *rearranged = counts.collect().row(0)
    law, made, tokens = partition.recipe.fim, fim.result, partition.receipt.result
    originals = chars + (files - documents.height) * len(law.file_separator_token or "")
    sentinels = sum(
        count * sum(len(piece.text) for piece in layout(order, law))
        for order, count in zip(REARRANGED, rearranged, strict=True)
    )
    sizes = pl.col("end") - pl.col("start")
    found = partition.scan().select(
        sizes.sum(), sizes.ne_missing(pl.col("tokens")).sum().alias("missized")
    )
    size, missized = found.collect().row(0)
    compared = {
        "fim_shards, lines": (made.lines, made.documents + made.blank + made.rejected),
        "fim_shards, characters": (made.chars, originals + sentinels),
        "token_arrays, lines": (tokens.lines, made.documents),
        "token_arrays, documents": (tokens.documents, made.documents),
        "token_arrays, files": (tokens.files, made.files),
        "token_arrays, characters": (tokens.chars, made.chars),
        "token_arrays, tokens": (size, tokens.tokens),
        "token_arrays, documents whose tokens are not those from start to end": (missized, 0),
    }
    if raw is not None:
        profile = raw.result
        compared |= {
            "raw_shards, lines": (profile.lines, made.lines),
            "raw_shards, blank lines": (profile.blank, made.blank),
            "raw_shards, rejected lines": (profile.rejected, made.rejected),
            "raw_shards, documents": (profile.documents, made.documents),
            "raw_shards, characters": (profile.chars, originals),
        }
    for what, (number, expected) in compared.items():
        if number != expected:
            return fault(name, f"{what}: {number:,}, expected {expected:,}")
    places = {"token_arrays": partition.tokens} | (
        {} if raw is None else {"raw_shards": partition.raw}
    )
    for asset, place in places.items():
        table = pl.read_parquet(place.file(".parquet"), glob=False, columns=["line", "id"])
        if not table.sort("line").equals(documents.select("line", "id")):
            return fault(name, f"{asset} has other lines, or other ids for them, than fim_shards")
    stages = "all three stages" if raw else "two stages; raw_shards is not materialized by this law"
    return CheckOutcome(
        name,
        passed=True,
        description=f"{documents.height:,} documents and {originals:,} characters came through "
        f"{stages}; sentinels added {sentinels:,} characters.",
        numbers={
            "documents": documents.height,
            "chars": originals,
            "sentinel_chars": sentinels,
            "stages": 1 + len(places),
        },
    )


def matches_reference_tokenizer(partition: TokenPartition) -> CheckOutcome:
    """Encode a sample of documents with the reference and compare ids.

    The sample is drawn by the documents' keys, so that it is the same in every run.
    """
    name = "matches_reference_tokenizer"
    chosen = _sample(partition)
    tokenizer = partition.tokenizer
    reference = tokenizer.engines.reference
    tokens = 0
    with partition.reading() as read:
        for block, spans in partition.texts():
            for row, raw in enumerate(block.raw_numbers):
                if raw not in chosen:
                    continue
                found, expected = read(spans[row]), _reference_ids(block, row, partition)
                if not np.array_equal(found, expected):
                    array, start, end = spans[row]
                    return fault(
                        name,
                        f"{array}: tokens {start} to {end}, the document of line "
                        f"{block.documents.numbers[row]} of the FIM shard, are not what "
                        f"{reference.name} gives",
                    )
                tokens += len(found)
    return CheckOutcome(
        name,
        passed=True,
        description=f"{len(chosen):,} documents with {tokens:,} tokens, drawn by their keys, are "
        f"what {reference.name} gives; encoded by {tokenizer.engine_in_words}.",
        numbers={"documents": len(chosen), "tokens": tokens},
    )


def _reference_ids(block: FimDocuments, row: int, partition: TokenPartition) -> Ints:
    """What a document of a block is encoded to by the reference, controls included."""
    tokenizer, fim = partition.tokenizer, partition.recipe.fim
    text, files = block.documents.texts[row], block.files[row]
    parts = [segment.content for segment in segments(text, files, fim, tokenizer)]
    texts = [part for part in parts if isinstance(part, str)]
    ids, bounds = tokenizer.engines.reference.encode(texts)
    encoded = iter(np.split(ids, bounds[1:-1]))
    return np.concatenate([next(encoded) if isinstance(part, str) else [part] for part in parts])


def _sample(partition: TokenPartition) -> set[int]:
    """Lines of the documents to compare: drawn, as many as `SAMPLE_TOKENS` asks for."""
    record = pl.scan_parquet(partition.fim.file(".parquet"), glob=False)
    keys_of_lines = record.filter(pl.col("file") == 0).select("line", "draw_key")
    sizes = partition.documents.lazy().select("line", tokens=pl.col("end") - pl.col("start"))
    encodable = sizes.filter(pl.col("tokens") <= _SAMPLE_DOCUMENT_TOKENS)
    table = encodable.join(keys_of_lines, on="line", maintain_order="left").collect()
    keys = table["draw_key"].to_numpy()
    drawn = np.argsort(draw_bits(keys, np.zeros(len(keys), np.int64), Draw.SAMPLE), kind="stable")
    before = np.cumsum(table["tokens"].to_numpy()[drawn]) - table["tokens"].to_numpy()[drawn]
    return set(table["line"].to_numpy()[drawn[before < SAMPLE_TOKENS]].tolist())


class Check(NamedTuple):
    """A check, and what it says of itself."""

    run: Callable[[TokenPartition], CheckOutcome]
    description: str


CHECKS = {
    "one_eos_per_document": Check(
        one_eos_per_document,
        "Documents cover the arrays without gap or overlap; each ends in EOS, and begins with BOS "
        "where the recipe has one, and neither stands anywhere else.",
    ),
    "ids_in_vocabulary": Check(
        ids_in_vocabulary,
        "Every id is one that the tokenizer's vocabulary uses; padding, and control tokens that "
        "the recipe does not place, stand nowhere.",
    ),
    "sentinel_grammar": Check(
        sentinel_grammar,
        "Each rearranged file has its sentinels once and in order, between the parts whose offsets "
        "the parquet gives, and files are parted by the separator where it is one id; neither "
        "stands anywhere else. Files and orders are those of the FIM "
        "shard's record. A label mask is false from a rearranged file's beginning to its middle, "
        "and true elsewhere.",
    ),
    "nothing_lost": Check(
        nothing_lost,
        "Documents, lines, ids and characters add up through raw_shards, fim_shards and "
        "token_arrays.",
    ),
    "decodes_to_fim_text": Check(
        decodes_to_fim_text,
        "The ids of every document decode to its text in the FIM shard; with tokens.allow_lossy, "
        "to the text's normal form.",
    ),
    "matches_reference_tokenizer": Check(
        matches_reference_tokenizer,
        "A sample of each partition's documents, drawn by their keys, has the ids that Hugging "
        "Face tokenizers gives.",
    ),
}
"""The checks in the order of running."""
