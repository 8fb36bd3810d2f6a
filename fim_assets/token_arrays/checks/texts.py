"""Checks of the texts: what ids decode to, and what another tokenizer encodes texts to."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import polars as pl

from fim_assets.corpus.stage import CheckOutcome, Number, fault, passed
from fim_assets.fim_shards.arrangements import REARRANGED, Order, layout, parse_arrangement
from fim_assets.fim_shards.record import FimDocuments, split_files
from fim_assets.fim_shards.segments import segments
from fim_assets.recipe.fim import Fim
from fim_assets.token_arrays.arrays import id_dtype
from fim_assets.token_arrays.checks.partition import TokenPartition
from fim_assets.token_arrays.checks.sample import SampledDocument
from fim_assets.token_arrays.checks.spans import TokenSpan
from fim_assets.token_arrays.shuffle_buffer import Ids, Ints
from fim_assets.tokenizer.encoders import UnencodableTextError
from fim_assets.tokenizer.load import LoadedTokenizer
from fim_assets.tokenizer.paragraphs import paragraphs
from fim_assets.wording import plural


def decodes_to_fim_text(partition: TokenPartition) -> CheckOutcome:
    """Decode every document's ids and compare them with its text in the FIM shard.

    Missing documents, and prefixes that end elsewhere than the parquet says, raise a ValueError.
    """
    name = "decodes_to_fim_text"
    tokenizer, recipe = partition.tokenizer, partition.recipe
    prefixes = _touching_prefixes(partition)
    documents = size = changed = 0
    with partition.reading() as read:
        for block, spans in partition.texts():
            ids = [read(TokenSpan(a, start + partition.head, end - 1)) for a, start, end in spans]
            forms = texts = [text.encode() for text in block.documents.texts]
            if tokenizer.vocabulary.lossy:
                forms = list(_normal_forms(block, partition))
                changed += sum(form != text for form, text in zip(forms, texts, strict=True))
            together = np.concatenate([np.empty(0, id_dtype(recipe.tokens)), *ids])
            try:
                same = tokenizer.decode(together) == b"".join(forms)
            except ValueError:
                same = False
            if not same:
                return fault(name, _first_difference(block, spans, ids, forms, tokenizer))
            _refuse_other_prefixes(block, spans, ids, prefixes, partition)
            documents += len(texts)
            size += sum(map(len, forms))
    texts_named = f"their FIM texts: {documents:,} of {documents:,}"
    if tokenizer.vocabulary.lossy:
        texts_named = f"the normal form of {texts_named}; it differs from the text of {changed:,}"
    description = f"Documents whose ids decode to {texts_named}."
    return passed(name, description, documents=documents, bytes=size, changed_documents=changed)


def _normal_forms(block: FimDocuments, partition: TokenPartition) -> Iterator[bytes]:
    """What the ids of documents decode to, without BOS and EOS."""
    fim, tokenizer = partition.recipe.fim, partition.tokenizer
    table = tokenizer.vocabulary.token_bytes
    for text, files in zip(block.documents.texts, block.files, strict=True):
        inside = [part.content for part in segments(text, files, fim, tokenizer)]
        yield b"".join(
            tokenizer.normal_form(part) if isinstance(part, str) else table[part] or b""
            for part in inside[partition.head : -1]
        )


def _first_difference(
    block: FimDocuments,
    spans: list[TokenSpan],
    ids: list[Ids],
    forms: list[bytes],
    tokenizer: LoadedTokenizer,
) -> str:
    """The first document whose ids are not its text, as text."""
    for number, span, own, form in zip(block.documents.numbers, spans, ids, forms, strict=True):
        why = "decode to another text than"
        try:
            same = tokenizer.decode(own) == form
        except ValueError as error:
            same, why = False, f"do not decode ({error}):"
        if not same:
            array, start, end = span
            return f"{array}: tokens {start} to {end} {why} line {number} of the FIM shard"
    raise AssertionError("documents decode one by one and not together")


def _touching_prefixes(partition: TokenPartition) -> Iterator[tuple[int, int]]:
    """Where prefixes start and end that no sentinel separates from their middle, in shard order.

    `spm_format: v2` and recipes without a middle token arrange files so.
    """
    orders = _touching_orders(partition.recipe.fim)
    if not orders:
        return iter(())
    names = ["line", *partition.piece_columns[:1], "prefix_start", "prefix_end"]
    is_touching = pl.col("file_order").is_in(orders)
    touching = (files.filter(is_touching).select(names) for files in partition.files())
    none = pl.DataFrame(schema=dict.fromkeys(names, pl.Int64))
    rows = pl.concat([none, *touching])
    in_order = rows[partition.spans.shard_order(rows)]
    return in_order.select("prefix_start", "prefix_end").iter_rows()


def _touching_orders(fim: Fim) -> list[Order]:
    parts = {order: [piece.part for piece in layout(order, fim)] for order in REARRANGED}
    return [order for order in REARRANGED if ("prefix", "middle") in pairwise(parts[order])]


def _refuse_other_prefixes(
    block: FimDocuments,
    spans: list[TokenSpan],
    ids: list[Ids],
    prefixes: Iterator[tuple[int, int]],
    partition: TokenPartition,
) -> None:
    """Raise a ValueError if a prefix that no sentinel ends is not as long as the parquet says."""
    fim, tokenizer = partition.recipe.fim, partition.tokenizer
    orders = _touching_orders(fim)
    if not orders:
        return
    documents = zip(block.documents.texts, block.files, spans, ids, strict=True)
    for text, files, (array, begin, _), own in documents:
        for row, file, _ in split_files(text, files, fim):
            if row.order not in orders:
                continue
            start, end = next(prefixes)
            pieces = parse_arrangement(file, row.order, row.lengths, fim)
            prefix = next(piece.text for piece in pieces if piece.part == "prefix")
            inside = own[start - begin - partition.head : end - begin - partition.head]
            texts = paragraphs(prefix) if tokenizer.paragraphs else [prefix]
            size = sum(len(tokenizer.normal_form(text)) for text in texts)
            if tokenizer.vocabulary.sizes[inside].sum() != size:
                raise ValueError(
                    f"{array}: tokens {start} to {end} are not the prefix that the parquet says"
                )


def matches_reference_tokenizer(partition: TokenPartition) -> CheckOutcome:
    """Encode a sample of documents with the reference and compare ids.

    The sample is drawn by the documents' keys, so that it is the same in every run. A document that
    the reference cannot encode is skipped, and counted.
    """
    name = "matches_reference_tokenizer"
    tokenizer = partition.tokenizer
    reference = tokenizer.encoders.reference
    tokens = passed_over = 0
    with partition.reading() as read:
        for document in partition.sampled:
            try:
                expected = _reference_ids(document, partition)
            except UnencodableTextError:
                passed_over += 1
                continue
            ids = read(document.span)
            if not np.array_equal(ids, expected):
                array, start, end = document.span
                line = f"line {document.shard_line} of the FIM shard"
                tokens_shown = f"{array}: tokens {start} to {end}, the document of {line}"
                return fault(name, f"{tokens_shown}, are not what {reference.name} gives")
            tokens += len(ids)
    compared = len(partition.sampled) - passed_over
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
    return passed(name, description, **numbers)


def _reference_ids(document: SampledDocument, partition: TokenPartition) -> Ints:
    """What a document is encoded to by the reference, controls included."""
    tokenizer, fim = partition.tokenizer, partition.recipe.fim
    contents = segments(document.text, document.files, fim, tokenizer)
    parts = [segment.content for segment in contents]
    texts = [part for part in parts if isinstance(part, str)]
    encoded = iter(tokenizer.encoders.reference.encode(texts))
    return np.concatenate([next(encoded) if isinstance(part, str) else [part] for part in parts])
