"""Checks of `token_arrays`: the arrays hold all texts, exactly, and what a trainer relies on."""

from collections.abc import Callable, Iterator
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
from fim_assets.tokens.arrays import ArrayReader
from fim_assets.tokens.layouts import LAYOUTS, id_dtype, mask_name
from fim_assets.tokens.spool import Ids, Ints
from fim_assets.tokens.tokenize import segments
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
        """The arrays' parquet, without the files' offsets."""
        columns = ["line", "id", "array", "start", "end", "tokens"]
        return pl.read_parquet(self.tokens.file(".parquet"), glob=False, columns=columns)

    def read_files(self) -> pl.DataFrame:
        """The files' offsets, one row a file."""
        columns = ["line", "array", "start", "end", "files"]
        frame = pl.read_parquet(self.tokens.file(".parquet"), glob=False, columns=columns)
        return frame.explode("files").unnest("files")

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
    files = partition.read_files().sort("line", maintain_order=True)
    orders = _touching_orders(partition.recipe.fim)
    return (
        files.filter(pl.col("file_order").is_in(orders))
        .select("prefix_start", "prefix_end")
        .iter_rows()
    )


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
            if tokenizer.vocabulary.sizes[inside].sum() != len(tokenizer.normal_form(prefix)):
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
    """Look every id up in the vocabulary, padded ids and ids that it does not use aside."""
    name = "ids_in_vocabulary"
    used = partition.tokenizer.vocabulary.used
    highest = -1
    for array, begin, ids in partition.blocks():
        # Ids are looked up in bounds: the highest is compared first.
        low, high = int(ids.min()), int(ids.max())
        known = used[ids] if low >= 0 and high < len(used) else (ids >= 0) & (ids < len(used))
        if not known.all():
            at = int(np.argmin(known))
            return fault(
                name,
                f"{array}: token {begin + at} is {ids[at]}, which the vocabulary of "
                f"{len(used):,} does not use",
            )
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
    all_files = partition.read_files()
    _refuse_other_orders(all_files, partition)
    _refuse_gaps(all_files, partition)
    for array in partition.arrays:
        files = all_files.filter(pl.col("array") == array)
        expected, found = _expected_sentinels(files, partition), _found_sentinels(array, partition)
        if not all(map(np.array_equal, expected, found)):
            return fault(name, f"{array}: {_first_wrong(expected, found, files)}")
        if partition.recipe.tokens.label_mask is not None:
            wrong = _wrong_mask(array, files, partition)
            if wrong:
                return fault(name, wrong)
    counts: dict[str, int] = {o: int((all_files["file_order"] == o).sum()) for o in REARRANGED}
    return CheckOutcome(
        name,
        passed=True,
        description=f"The sentinels of {counts['psm']:,} files in PSM and {counts['spm']:,} in SPM "
        "order stand once each and in order, and nowhere else.",
        numbers={**counts},
    )


def _first_wrong(expected: "_Sentinels", found: "_Sentinels", files: pl.DataFrame) -> str:
    """Where found sentinels first differ from the expected ones, in words."""
    both = min(len(expected.ids), len(found.ids))
    same = (expected.places[:both] == found.places[:both]) & (
        expected.ids[:both] == found.ids[:both]
    )
    first = both if same.all() else int(np.argmin(same))
    places = [its.places[first] for its in (expected, found) if first < len(its.places)]
    at = int(min(places))
    before = files.filter(pl.col("start") <= at)
    if before.is_empty():
        return f"token {at} is a sentinel and belongs to no document"
    row = before.row(-1, named=True)
    return (
        f"the document at tokens {row['start']} to {row['end']}, line {row['line']} of the raw "
        f"shard, has a sentinel too many, too few or another one at token {at}"
    )


def _refuse_other_orders(files: pl.DataFrame, partition: TokenPartition) -> None:
    """Raise where a document's files have other orders than in the FIM shard's record."""
    parquet = partition.fim.file(".parquet")
    record = pl.read_parquet(parquet, glob=False, columns=["line", "order"])
    found = files.select("line", order="file_order").sort("line", maintain_order=True)
    if not found.equals(record):
        raise ValueError(f"documents have other files, or in other orders, than {parquet} says")


def _refuse_gaps(files: pl.DataFrame, partition: TokenPartition) -> None:
    """Raise where files overlap, leave their document, or lie further apart than a separator."""
    controls = partition.tokenizer.controls
    head = 0 if controls.bos is None else 1
    first = pl.int_range(pl.len()).over("line") == 0
    last = pl.int_range(pl.len(), 0, -1).over("line") == 1
    apart = pl.col("file_start") - pl.col("file_end").shift(1).over("line")
    one_id = partition.recipe.fim.file_separator_token in controls.boundaries
    fits = (
        (pl.col("file_end") >= pl.col("file_start"))
        & pl.when(first)
        .then(pl.col("file_start") == pl.col("start") + head)
        .otherwise(apart == 1 if one_id else apart >= 1)
        & (~last | (pl.col("file_end") == pl.col("end") - 1))
    )
    wrong = files.filter(~fits.fill_null(value=False))
    if not wrong.is_empty():
        row = wrong.row(0, named=True)
        raise ValueError(
            f"{row['array']}: a file of line {row['line']} at tokens {row['file_start']} to "
            f"{row['file_end']} does not fit in its document, {row['start']} to {row['end']}"
        )


class _Sentinels(NamedTuple):
    """Where sentinels stand in an array, in order, and their ids."""

    places: Ints
    ids: Ints


def _expected_sentinels(files: pl.DataFrame, partition: TokenPartition) -> _Sentinels:
    """The sentinels of an array's files: between their parts, as the layout has them.

    Raises:
        ValueError: If parts and sentinels do not make up a file.
    """
    places: list[Ints] = [np.empty(0, np.int64)]
    ids: list[Ints] = [np.empty(0, np.int64)]
    for order in REARRANGED:
        chosen = files.filter(pl.col("file_order") == order)
        at = chosen["file_start"].to_numpy()
        fits = np.ones(len(at), np.bool_)
        for piece in layout(order, partition.recipe.fim):
            if piece.part is None and piece.sentinel is not None:
                places.append(at)
                ids.append(np.full(len(at), partition.tokenizer.controls.sentinels[piece.sentinel]))
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
    together = np.concatenate(places)
    in_order = np.argsort(together, kind="stable")
    return _Sentinels(together[in_order], np.concatenate(ids)[in_order])


def _found_sentinels(array: str, partition: TokenPartition) -> _Sentinels:
    wanted = np.array(list(partition.tokenizer.controls.sentinels.values()))
    is_sentinel = np.zeros(int(wanted.max()) + 2, np.bool_)
    is_sentinel[wanted] = True
    places: list[Ints] = [np.empty(0, np.int64)]
    ids: list[Ints] = [np.empty(0, np.int64)]
    with partition.open(array) as reader:
        for begin, block in reader.blocks():
            at = np.flatnonzero(is_sentinel[np.minimum(block, len(is_sentinel) - 1)])
            places.append(at + begin)
            ids.append(block[at].astype(np.int64))
    return _Sentinels(np.concatenate(places), np.concatenate(ids))


def _wrong_mask(array: str, files: pl.DataFrame, partition: TokenPartition) -> str | None:
    """What is wrong with an array's label mask: it is false in front of middles and nowhere else.

    In every layout the middle is a file's last part, so that what is not trained on is one run
    from where a rearranged file begins, or the BOS in front of it, to its middle.
    """
    path = partition.tokens.output(mask_name(array, partition.recipe.tokens.layout))
    first = pl.col("file_start").shift(1).over("line").is_null()
    begin = pl.when(first).then(pl.col("start")).otherwise(pl.col("file_start"))
    runs = files.select("file_order", "middle_start", begin=begin)
    runs = runs.filter(pl.col("file_order") != "none").select("begin", "middle_start")
    expected = np.sort(runs.to_numpy().ravel())
    found: list[Ints] = []
    before = True
    size = 0
    with ArrayReader(path, np.dtype(np.bool_)) as mask:
        for at, block in mask.blocks():
            if block.view(np.uint8).max() > 1:
                return f"{path}: holds values other than 0 and 1"
            changes = np.flatnonzero(np.diff(block, prepend=before))
            found.append(changes + at)
            before, size = bool(block[-1]), at + len(block)
    tokens = int(files["end"].to_numpy().max())
    if size != tokens:
        return f"{path}: {size:,} values for {tokens:,} tokens"
    if not np.array_equal(np.concatenate(found), expected):
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
    record = pl.read_parquet(
        partition.fim.file(".parquet"), glob=False, columns=["line", "id", "file", "chars", "order"]
    )
    documents = record.filter(pl.col("file") == 0)
    law, made, tokens = partition.recipe.fim, fim.result, partition.receipt.result
    separators = (record.height - documents.height) * len(law.file_separator_token or "")
    originals = int(record["chars"].sum()) + separators
    sentinels = sum(
        (record["order"] == order).sum() * sum(len(piece.text) for piece in layout(order, law))
        for order in REARRANGED
    )
    compared = {
        "fim_shards, lines": (made.lines, made.documents + made.blank + made.rejected),
        "fim_shards, characters": (made.chars, originals + sentinels),
        "token_arrays, lines": (tokens.lines, made.documents),
        "token_arrays, documents": (tokens.documents, made.documents),
        "token_arrays, files": (tokens.files, made.files),
        "token_arrays, characters": (tokens.chars, made.chars),
        "token_arrays, tokens": (int(partition.documents["tokens"].sum()), tokens.tokens),
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
            "sentinel_chars": int(sentinels),
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
    record = pl.read_parquet(
        partition.fim.file(".parquet"), glob=False, columns=["line", "file", "draw_key"]
    ).filter(pl.col("file") == 0)
    table = partition.documents.select("line", "tokens").join(record, on="line")
    table = table.filter(pl.col("tokens") <= _SAMPLE_DOCUMENT_TOKENS)
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
        ids_in_vocabulary, "Every id is one that the tokenizer's vocabulary uses."
    ),
    "sentinel_grammar": Check(
        sentinel_grammar,
        "Each rearranged file has its sentinels once and in order, between the parts whose offsets "
        "the parquet gives; sentinels stand nowhere else. Files and orders are those of the FIM "
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
