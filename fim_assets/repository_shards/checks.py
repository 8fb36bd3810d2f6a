"""Checks of `repository_shards`: every file is there once, in its order, written as its layout."""

from array import array
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import orjson
from xxhash import xxh3_128_digest

from fim_assets.corpus.stage import Check, CheckOutcome, Finished, Number, fault, passed
from fim_assets.draws import named_seed
from fim_assets.imports.graph import Graph
from fim_assets.io.shard_writer import Line
from fim_assets.raw_shards.documents import Document, name_in, replace_text
from fim_assets.raw_shards.shard_reader import ShardReader
from fim_assets.recipe.repositories import Repositories
from fim_assets.repository_shards.facts import named_rate
from fim_assets.repository_shards.group import File, group_of
from fim_assets.repository_shards.join import opening
from fim_assets.repository_shards.join_shard import repository_document
from fim_assets.repository_shards.order import Imports, PlacedFile, order_files
from fim_assets.repository_shards.record import UNREAD
from fim_assets.repository_shards.written import (
    BLOCK_BYTES,
    Row,
    WrittenDocument,
    place_of,
    refuse_other,
    whole_repositories,
    written_documents,
)
from fim_assets.tokenizer.contents import encode_runs
from fim_assets.tokenizer.load import load_tokenizer

_DIGEST = np.dtype("V16")


def every_file_once(partition: Finished) -> CheckOutcome:
    """Compare the files with the raw shard's documents, line by line, by 128-bit hashes of both."""
    name, recipe, source = "every_file_once", partition.recipe, partition.source()
    numbers, hashes = array("q"), bytearray()
    for written in written_documents(partition):
        for row, file in zip(written.rows, written.files, strict=True):
            numbers.append(file.number)
            hashes += _digest(file.member, file.document, row["repository"])
    lines, digests = np.array(numbers, np.int64), np.frombuffer(bytes(hashes), _DIGEST)
    order = np.argsort(lines, kind="stable")
    lines, digests = lines[order], digests[order]
    count = 0
    with ShardReader(source.paths, recipe.raw, BLOCK_BYTES, source.parquet) as reader:
        for block in reader:
            columns = block.numbers, block.lines, block.ids, block.texts
            for number, line, *document in zip(*columns, block.languages, block.paths, strict=True):
                found = int(lines[count]) if count < len(lines) else None
                if found != number:
                    return fault(name, _misplaced(reader, number, found, lines[:count]))
                empty = replace_text(line, recipe.raw.text_field, "")
                repository = name_in(line, recipe.repository_field)
                if digests[count].tobytes() != _digest(empty, Document(*document), repository):
                    path, at = reader.place(number)
                    return fault(name, f"{path}: line {at} comes back as another")
                count += 1
    if count < len(lines):
        line = int(lines[count])
        again = "stands in it twice" if line in lines[:count] else "is no document of the raw shard"
        return fault(name, f"line {line} {again}")
    return passed(name, f"Files that are there once: {count:,} of {count:,}.", files=count)


def _misplaced(reader: ShardReader, number: int, found: int | None, before: Any) -> str:
    """What is wrong where the next file by line is not the one of the next document."""
    if found is None or found > number:
        path, at = reader.place(number)
        return f"{path}: line {at} is in no document of the repository shard"
    again = "stands in it twice" if found in before[-1:] else "is no document of the raw shard"
    return f"line {found} {again}"


def _digest(line: Line, document: Document, repository: str | None) -> bytes:
    """Of a file: its line without the text, its text, and what was read of it."""
    read = [document.id, document.path, document.language, repository, len(line)]
    return xxh3_128_digest(orjson.dumps(read) + bytes(line) + document.text.encode())


def order_valid(partition: Finished) -> CheckOutcome:
    """Order each repository's files again, by the imports that are recorded.

    That files stand behind what they import is looked at without the stage's own order, too.
    """
    recipe, seed = partition.recipe, int(partition.receipt.result.seed, 16)
    section = recipe.repositories or Repositories()
    repositories = files = edges = 0
    for documents in whole_repositories(partition):
        rows = [(written, row) for written in documents for row in written.rows]
        placed = [file for written in documents for file in written.files]
        files += len(placed)
        if documents[0].rows[0]["repository"] is None:
            for written, row in rows:
                refuse_other(written, row, {"place": "alone", "copy": False, "depends_on": []})
            continue
        repositories += 1
        if section.order == "dependencies":
            edges += _refuse_import_behind(rows)
        own_seed = named_seed(seed, documents[0].rows[0]["repository"])
        in_lines = sorted(placed, key=lambda file: file.number)
        expected = order_files(in_lines, section.order, own_seed, _recorded_imports(rows))
        for (written, row), file, other in zip(rows, placed, expected, strict=True):
            # Files that are the same in everything may change places.
            if file[1:] != other.file[1:]:
                raise ValueError(
                    f"{place_of(written, row)}: line {row['line']} stands there, by the order "
                    f"{section.order} line {other.file.number} should"
                )
            refuse_other(written, row, {"copy": other.copy, "place": other.place})
    description = f"The order of {files:,} files in {repositories:,} repositories holds."
    return passed("order_valid", description, files=files, repositories=repositories, edges=edges)


def _recorded_imports(rows: Sequence[tuple[WrittenDocument, Row]]) -> Imports:
    """What files import, by the parquet."""
    by_line = {row["line"]: row for _, row in rows}

    def imports(files: Sequence[File]) -> Graph:
        index = {file.number: number for number, file in enumerate(files)}
        recorded = [by_line[file.number] for file in files]
        return Graph(
            [[index[line] for line in row["depends_on"]] for row in recorded],
            [row["unresolved"] for row in recorded],
            [row["place"] if row["place"] in UNREAD else None for row in recorded],
        )

    return imports


def _refuse_import_behind(rows: Sequence[tuple[WrittenDocument, Row]]) -> int:
    """How many imports files have; a ValueError if one stands behind its file and in no cycle."""
    lines = {row["line"]: number for number, (_, row) in enumerate(rows)}
    edges = []
    for written, row in rows:
        for other in row["depends_on"]:
            if other not in lines or other == row["line"]:
                what = f"imports line {other}, no other file of its repository"
                raise ValueError(f"{place_of(written, row)}: {what}")
            edges.append((row["line"], other))
    cycle_of: dict[int, int] = {}
    if any(lines[line] < lines[other] for line, other in edges) or any(
        row["place"] == "cycle" for _, row in rows
    ):
        import networkx as nx

        for number, part in enumerate(nx.strongly_connected_components(nx.DiGraph(edges))):
            cycle_of |= dict.fromkeys(part, number) if len(part) > 1 else {}
    for written, row in rows:
        line = row["line"]
        if line in cycle_of:
            place = {"cycle"}
        elif row["depends_on"]:
            place = {"imports"}
        else:
            place = {"imports_none", *UNREAD}
        if row["place"] not in place:
            raise ValueError(f"{place_of(written, row)}: place is {row['place']}, which it is not")
        for other in row["depends_on"]:
            behind = lines[other] > lines[line]
            if behind and (line not in cycle_of or cycle_of[line] != cycle_of.get(other)):
                what = f"line {line} stands before line {other}, which it imports"
                raise ValueError(f"{place_of(written, row)}: {what}")
    return len(edges)


def layout_valid(partition: Finished) -> CheckOutcome:
    """Write each document again of its files, and compare its line and rows; compare its size."""
    recipe, section = partition.recipe, partition.recipe.repositories or Repositories()
    too_large = _too_large(partition)
    documents = 0
    for together in whole_repositories(partition):
        row = together[0].rows[0]
        group = group_of(row["repository"], row["language"], recipe)
        for written in together:
            first = written.rows[0]
            name = first["repository"] if first["named"] else None
            placed = [
                PlacedFile(
                    *(file, row["place"], 0, tuple(row["depends_on"])),
                    *(row[column] for column in ("unresolved", "copy", "tokens")),
                )
                for row, file in zip(written.rows, written.files, strict=True)
            ]
            which = first["document"], first["documents"]
            again = repository_document(placed, group, name, which, recipe)
            for row, expected in zip(written.rows, again.rows, strict=True):
                refuse_other(written, row, expected)
            if again.line != bytes(written.line):
                what = f"its bytes are not what the layout {section.layout} writes"
                raise ValueError(f"line {written.number} of the repository shard: {what}")
            if len(placed) > 1 and (problem := too_large(written, name)):
                raise ValueError(f"line {written.number} of the repository shard: {problem}")
            documents += 1
    description = f"Documents written as by layout {section.layout}: {documents:,}."
    return passed("layout_valid", description, documents=documents)


def _too_large(partition: Finished) -> Callable[[WrittenDocument, str | None], str | None]:
    """What says how a document of several files, and of a name, is larger than it may be."""
    recipe, section = partition.recipe, partition.recipe.repositories or Repositories()
    tokenizer = None
    if section.max_tokens is not None:
        tokenizer = load_tokenizer(recipe, partition.tokenizer_hash)

    def problem(written: WrittenDocument, name: str | None) -> str | None:
        size = len(written.text.encode())
        if section.max_bytes is not None and size > section.max_bytes:
            return f"{size:,} bytes, more than max_bytes"
        if section.max_tokens is None or tokenizer is None:
            return None
        counts = [row["tokens"] for row in written.rows]
        if None not in counts:
            [ids] = encode_runs([tokenizer.controls.lead(opening(name, recipe))], tokenizer)
            size = sum(counts) + sum(map(len, ids))
        if size + recipe.tokens.tokenizer.head + 1 > section.max_tokens:
            return f"{size:,} tokens, BOS and EOS left out, more than max_tokens"
        return None

    return problem


def names_rate(partition: Finished) -> CheckOutcome:
    """Compare the share of repositories with names and paths with what the recipe asks for."""
    rate = named_rate(partition.receipt.result.counts, partition.recipe)
    description = (
        f"{rate.hits:,} of {rate.trials:,} repositories with names at a probability of "
        f"{rate.asked:g}, {rate.low:,} to {rate.high:,} accepted."
    )
    numbers: dict[str, Number] = {
        "names_asked": rate.asked,
        "names_realised": rate.realised,
        "names_hits": rate.hits,
        "names_trials": rate.trials,
        "names_fewest_accepted": rate.low,
        "names_most_accepted": rate.high,
    }
    return CheckOutcome("names_rate", rate.within, description, numbers)


CHECKS = (
    Check(
        "every_file_once",
        "Every document of the raw shard is a file of exactly one document: its line byte for byte "
        "outside of the text, its text, and what was read of it, compared by their 128-bit hashes.",
        every_file_once,
    ),
    Check(
        "order_valid",
        "The files of each repository are in the recipe's order: ordered again, they stand as they "
        "do. With order dependencies, no file stands before one that it imports, unless both are "
        "in one cycle; which files import which is taken from the parquet.",
        order_valid,
    ),
    Check(
        "layout_valid",
        "Each document is written again of its files, and its line has the same bytes: what stands "
        "around each text is the layout's. One of several files is no larger than max_tokens or "
        "max_bytes.",
        layout_valid,
    ),
    Check(
        "names_rate",
        "The share of repositories that are written with names and paths is one that the exact "
        "two-sided binomial test accepts: a correct partition fails with a probability of 1e-9 at "
        "most. A repository counts once.",
        names_rate,
    ),
)
"""In the order of running."""
