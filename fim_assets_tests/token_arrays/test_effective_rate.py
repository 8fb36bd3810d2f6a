"""What trainers see, against instances that are built token by token."""

from collections import Counter
from collections.abc import Iterator
from itertools import chain, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fim_assets.recipe import Recipe
from fim_assets.recipe.context import Context
from fim_assets.token_arrays.arrays import array_schema
from fim_assets.token_arrays.effective_rate import (
    WAYS,
    EffectiveRates,
    Seen,
    count_seen,
    is_seen,
    sequence_lengths,
)
from fim_assets.token_arrays.statistics import TRAINED_LENGTHS
from fim_assets_tests.corpora import write_rows
from fim_assets_tests.token_arrays.conftest import Finish
from fim_assets_tests.token_arrays.letters import BOS, EOS, MID, PRE, SEP, SUF, letters_recipe


class File(NamedTuple):
    """A file of some tokens; of a rearranged one as many as those before its middle."""

    size: int
    before_middle: int | None = None


class Document(NamedTuple):
    """Files with separators of some tokens between them, behind BOS or not."""

    files: list[File]
    separator: int = 1
    bos: int = 0


class Span(NamedTuple):
    """A rearranged file in its array, up to the end of what ends it, and where its document is."""

    start: int
    middle: int
    end: int
    document: int


Array = list[Document]


def rows_of(arrays: list[Array]) -> list[tuple[Any, ...]]:
    """The parquet's rows."""
    return [
        (1, None, f"{number}.npy", start, end, end - start, "mixed", files, 0, False)
        for number, array in enumerate(arrays)
        for start, end, files in laid_out(array)
    ]


def laid_out(array: Array) -> Iterator[tuple[int, int, list[dict[str, Any]]]]:
    """Where each document begins and ends in its array, and its files there."""
    end = 0
    for files, separator, bos in array:
        start, at = end, end + bos
        placed: list[dict[str, Any]] = []
        for size, before_middle in files:
            place = {"file_order": "none", "file_start": at, "file_end": at + size}
            if placed:
                place |= {"separator_start": at - separator, "separator_end": at}
            if before_middle is not None:
                place |= {"file_order": "psm", "middle_start": at + before_middle}
            placed.append(place)
            at += size + separator
        end = at - separator + 1
        yield start, end, placed


def spans_of(array: Array) -> Iterator[Span]:
    for document, end, files in laid_out(array):
        begins = [*(file["file_start"] for file in files), end]
        for file, (start, behind) in zip(files, pairwise(begins), strict=True):
            if file["file_order"] != "none":
                yield Span(start, file["middle_start"], behind, document)


def instances(way: str, ends: list[int], length: int) -> Iterator[range]:
    """The tokens of each instance, as a trainer's own loops find them.

    Each but the first token is one to predict. `ends` are those of an array's documents.
    """
    total = ends[-1] if ends else 0
    if way in ("chunks", "chunks_with_label"):
        read = length + (way == "chunks_with_label")
        yield from (range(at, at + read) for at in range(0, total - read + 1, read))
    elif way == "samples":
        yield from (range(at, at + length + 1) for at in range(0, total - length, length))
    for start, end in pairwise([0, *ends]):
        if way == "truncated":
            yield range(start, min(end, start + length))
        elif way == "fragments":
            yield from (range(at, min(at + length, end)) for at in range(start, end, length))
        elif way == "powers_of_2":
            at = start
            while end - at >= 256:
                power = min(length, 1 << ((end - at).bit_length() - 1))
                yield range(at, at + power)
                at += power


def built(spans: list[Span], ends: list[int], length: int) -> Counter[str]:
    """What `count_seen` counts of an array, from its instances."""
    counts: Counter[str] = Counter()
    for span in spans:
        counts["rearranged_files"] += 1
        counts["rearranged_tokens"] += span.end - span.start
    counts["tokens"] += ends[-1] if ends else 0
    for way in WAYS:
        if way.name == "powers_of_2" and length < 512:
            continue
        read = list(instances(way.name, ends, length))
        predicted = {token: tokens for tokens in read for token in tokens[1:]}
        held = {token: tokens for tokens in reversed(read) for token in tokens} | predicted
        of = f"{way.name}:{length}"
        counts[f"discarded_tokens:{of}"] += (ends[-1] if ends else 0) - len(held)
        for start, middle, end, document in spans:
            holding = [tokens for tokens in read if start in tokens and end - 1 in tokens]
            whole = bool(holding)
            counts[f"whole_files:{of}"] += whole
            for tokens in holding:
                counts[f"before_tokens:{of}"] += start - document
                counts[f"before_seen:{of}"] += start - max(document, tokens.start)
            counts[f"whole_tokens:{of}"] += whole * (end - start)
            in_place = middle in held and end - 1 in held[middle]
            counts[f"lost_ends:{of}"] += not in_place
    return counts


def counted(arrays: list[Array], lengths: list[int], *, joined: bool = False) -> dict[str, int]:
    schema = array_schema(divided=False, joined=joined)
    with TemporaryDirectory() as folder:
        path = write_rows(Path(folder) / "a.parquet", schema, rows_of(arrays))
        return count_seen(path, lengths)


def agree(arrays: list[Array], lengths: list[int]) -> None:
    found = counted(arrays, lengths, joined=True)
    for name, number in counted(arrays, lengths).items():
        assert found[name] == number
        assert "before" not in name
    for length in lengths:
        expected: Counter[str] = Counter()
        for array in arrays:
            ends = [end for _, end, _ in laid_out(array)]
            expected.update(built([*spans_of(array)], ends, length))
        assert expected.items() <= found.items()


def rearranged(longest: int) -> st.SearchStrategy[File]:
    """Three sentinels and more, of which the middle is the end."""
    return st.tuples(st.integers(3, longest), st.integers(0, longest)).map(
        lambda sizes: File(sum(sizes), sizes[0])
    )


def arrays_of(longest: int, most: int) -> st.SearchStrategy[list[Array]]:
    files = rearranged(longest) | st.integers(1, longest).map(File)
    document = st.builds(
        Document, st.lists(files, min_size=1, max_size=3), st.integers(1, 3), st.integers(0, 1)
    )
    return st.lists(st.lists(document, min_size=1, max_size=most), max_size=3)


@given(arrays_of(12, 8), st.lists(st.integers(1, 40), min_size=1, max_size=3, unique=True))
@example([[Document([File(4, 3)])], [Document([File(4, 3)])]], [1, 4, 5])
def test_counts_are_those_of_instances_built_token_by_token(
    arrays: list[Array], lengths: list[int]
) -> None:
    agree(arrays, lengths)


@settings(max_examples=40)
@given(arrays_of(1500, 4), st.sampled_from([512, 1024, 2048]))
@example([[Document([File(4999, 4994)])], [Document([File(5020, 4994)])]], 2048)
def test_so_they_are_where_documents_are_cut_into_powers_of_2(
    arrays: list[Array], length: int
) -> None:
    agree(arrays, [length])


def seen(arrays: list[Array], length: int) -> dict[str, tuple[int, ...]]:
    """Files that are whole, middles that lose their end, and tokens discarded, by way."""
    counts = counted(arrays, [length])
    names = ("whole_files", "lost_ends", "discarded_tokens")
    return {way.name: tuple(counts[f"{n}:{way.name}:{length}"] for n in names) for way in WAYS}


def test_the_modules_example_by_hand() -> None:
    array = [Document([File(5)]), Document([File(9, 5)]), Document([File(7, 6)])]
    found = seen([array], 8)
    assert found | {"powers_of_2": ()} == {
        "chunks": (1, 0, 0),
        "chunks_with_label": (0, 1, 6),
        "samples": (0, 1, 7),
        "truncated": (1, 1, 2),
        "fragments": (1, 1, 0),
        "powers_of_2": (),
    }


def test_the_modules_example_of_a_repository_by_hand() -> None:
    array = [Document([File(5)]), Document([File(9, 5), File(7, 6)])]
    counts = counted([array], [8, 12], joined=True)
    names = ("whole_files", "before_tokens", "before_seen")
    assert [counts[f"{name}:chunks:8"] for name in names] == [1, 10, 0]
    # The first file, tokens 6 to 15, is in no chunk.
    assert [counts[f"{name}:chunks:12"] for name in names] == [1, 10, 4]


def test_what_stands_between_files_of_a_repository_ends_none(finish: Finish) -> None:
    """Qwen's layout, a file `ab` and one `xyz`, whose path stands between the two, as text.

    0 <repo> r \n <sep> p \n   7 <pre> a <suf> b <mid>…   then \n <sep> of the first, q \n.
    """
    files = [("p", "abcdefghijk"), ("q", "xyzxyzxyzxyz")]
    rows = [{"text": t, "metadata": {"repo_name": "r", "path": p}} for p, t in files]
    repositories = {"layout": "qwen2.5-coder", "order": "given"}
    partition = finish(letters_recipe(repositories=repositories), rows)
    (row,) = partition.table().iter_rows(named=True)
    first, second = row["files"]
    counts = count_seen(partition.root / "token_arrays" / "a.parquet", [64])
    ends = first["tail_end"] + 1
    assert (first["file_start"], second["separator_end"]) == (6, ends)
    assert second["file_start"] == ends + 2
    sizes = ends - 6, row["end"] - second["file_start"]
    assert (counts["rearranged_files"], counts["rearranged_tokens"]) == (2, sum(sizes))
    assert counts["before_tokens:truncated:64"] == 6 + second["file_start"]
    assert counts["before_seen:truncated:64"] == counts["before_tokens:truncated:64"]
    rates = EffectiveRates.of(
        count_seen(partition.root / "token_arrays" / "a.parquet", [*TRAINED_LENGTHS]),
        partition.recipe,
    )
    assert rates.shares(rates.ways["truncated"][8192])["before"] == 1.0
    assert rates.chosen("dolma").keys() == {
        *("fim_token_share", "effective_fim_rate", "lost_ends_share", "discarded_share"),
        "before_seen_share",
    }
    assert rates.table().columns["before"] == "float"


def test_powers_of_2_by_hand() -> None:
    # 5,000 tokens are 2048 + 2048 + 512 + 256, and 136 that are discarded. The middle of the first
    # document is its last piece and EOS is not in it, that of the second one is in the 512.
    ends_late = Document([File(4999, 4608)])
    ends_in_time = Document([File(4300, 4200), File(698)])
    whole = Document([File(10), File(400, 200), File(101)])  # 512: 11 + 401 + 100
    assert seen([[ends_late], [ends_in_time, whole]], 2048)["powers_of_2"] == (1, 1, 272 + 2)


@pytest.mark.parametrize(
    ("size", "way", "whole"),
    [
        *((size, way, size <= 8) for size in (8, 9) for way in ("chunks", "truncated")),
        *((size, way, size <= 9) for size in (9, 10) for way in ("samples", "chunks_with_label")),
    ],
)
def test_both_sides_of_the_longest_file_that_fits(size: int, way: str, whole: bool) -> None:
    # With EOS it has `size` tokens; what follows completes the last instance.
    array = [Document([File(size - 1, 4)]), Document([File(30)])]
    assert seen([array], 8)[way][0] == whole


def test_a_file_may_begin_in_the_token_that_two_samples_share() -> None:
    # Samples are tokens 0-8 and 8-16: the file is 8-16, the other one's middle begins in token 8.
    assert seen([[Document([File(7)]), Document([File(8, 4)])]], 8)["samples"] == (1, 0, 0)
    assert seen([[Document([File(4)]), Document([File(11, 3)])]], 8)["samples"] == (0, 1, 0)


def test_without_documents_there_is_nothing_to_see() -> None:
    counts = counted([], [*TRAINED_LENGTHS])
    assert is_seen(counts, TRAINED_LENGTHS)
    assert set(counts.values()) == {0}
    rates = EffectiveRates.of(counts, Recipe())
    assert (rates.files, rates.tokens, rates.chosen("dolma"), rates.table().rows) == (0, 0, {}, [])


def test_counts_that_say_a_part_say_nothing() -> None:
    counts = counted([[Document([File(10, 5)])]], [*TRAINED_LENGTHS])
    assert is_seen(counts, TRAINED_LENGTHS)
    assert EffectiveRates.of(counts, Recipe()).files == 1
    del counts["lost_ends:fragments:2048"]
    assert not is_seen(counts, TRAINED_LENGTHS)
    assert EffectiveRates.of(counts, Recipe()).files == 0


def test_counts_of_partitions_add_up() -> None:
    one = [[Document([File(3000, 2000), File(40, 30)])], [Document([File(20_000)])]]
    other = [[Document([File(9000, 10)])]]
    lengths = [*TRAINED_LENGTHS]
    recipe = Recipe(context=Context(tokens=4096))
    together = Counter(counted(one, lengths))
    together.update(counted(other, lengths))
    assert counted([*one, *other], lengths) == together
    rates = EffectiveRates.of(together, recipe, partitions=2)
    assert (rates.partitions, rates.files, rates.tokens) == (2, 3, 3042 + 20_001 + 9001)
    # At 8,192 tokens: the first array is too short for a chunk, the last one holds one.
    assert rates.ways["chunks"][8192] == Seen(
        whole_files=0, whole_tokens=0, lost_ends=3, discarded_tokens=3042 + 20_001 % 8192 + 809
    )
    assert rates.ways["truncated"][8192] == Seen(
        whole_files=2, whole_tokens=3042, lost_ends=1, discarded_tokens=20_001 - 8192 + 809
    )
    assert rates.shares(rates.ways["truncated"][8192]) == {
        "whole": round(2 / 3, 6),
        "lost_ends": round(1 / 3, 6),
        "discarded": round((20_001 - 8192 + 809) / rates.tokens, 6),
    }
    for layout, way in (("dolma", "chunks"), ("megatron", "samples"), ("another", "chunks")):
        of_way = rates.shares(rates.ways[way][4096])
        assert rates.chosen(layout) == {
            "fim_token_share": round(rates.file_tokens / rates.tokens, 6),
            "effective_fim_rate": of_way["whole"],
            "lost_ends_share": of_way["lost_ends"],
            "discarded_share": of_way["discarded"],
        }
    table, by_length = rates.table(), rates.by_length()
    assert [*table.columns] == ["way", "whole_4096", "lost_ends", "discarded"]
    assert [*by_length.columns] == ["way", *map(str, TRAINED_LENGTHS)]
    for row, whole, way in zip(table.rows, by_length.rows, rates.ways, strict=True):
        shares = {length: rates.shares(seen) for length, seen in rates.ways[way].items()}
        assert list(row.values()) == [way, *(round(n, 4) for n in shares[4096].values())]
        assert whole == {"way": way} | {
            str(length): round(shares[length]["whole"], 3) for length in TRAINED_LENGTHS
        }


def test_a_recipes_own_length_is_one_of_those_that_are_counted() -> None:
    recipe = Recipe(context=Context(tokens=3000))
    lengths = sequence_lengths(recipe)
    assert lengths == [2048, 3000, *TRAINED_LENGTHS[1:]]
    # Sequences of 2,048 and of 3,000 tokens end in the second file and behind it.
    counts = counted([[Document([File(2000, 10)]), Document([File(900, 5), File(3600)])]], lengths)
    rates = EffectiveRates.of(counts, recipe)
    assert rates.chosen("dolma")["effective_fim_rate"] == 1
    assert rates.shares(rates.ways["chunks"][2048])["whole"] == 0.5
    # Counted for other lengths, nothing is known of this one.
    assert EffectiveRates.of(counts, Recipe(context=Context(tokens=3001))).files == 0


LAYOUTS = {
    "plain": letters_recipe(),
    "bos": letters_recipe(tokenizer={"bos_token_id": BOS}),
    "spm v2": letters_recipe(fim={"spm_format": "v2", "psm_spm_split": 0.0}),
    "end token": letters_recipe(fim={"fim_end_token": "<end>", "fim_rate": 0.5}),
    "masked, several arrays": letters_recipe(tokens={"label_mask": "middle", "max_size": 150}),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_is_seen_follows_from_the_ids(finish: Finish, name: str) -> None:
    partition = finish(LAYOUTS[name])
    table = partition.table()
    arrays = sorted(table["array"].unique())
    found = count_seen(partition.root / "token_arrays" / "a.parquet", [16, 32, 64])
    for length in (16, 32, 64):
        expected: Counter[str] = Counter()
        for number, array in enumerate(arrays):
            ids = partition.ids(number)
            expected.update(
                built(
                    [*spans_in(ids, table.filter(pl.col("array") == array))],
                    (np.flatnonzero(ids == EOS) + 1).tolist(),
                    length,
                )
            )
        known = {name: n for name, n in expected.items() if not name.startswith("before")}
        assert known.items() <= found.items()
        assert found["rearranged_files"] >= 10
    files = {
        (row["array"], its["file_start"]): its
        for row in table.iter_rows(named=True)
        for its in row["files"]
    }
    spans = [
        (span, files[array, span.start])
        for number, array in enumerate(arrays)
        for span in spans_in(partition.ids(number), table.filter(pl.col("array") == array))
    ]
    psm = [span for span, its in spans if its["file_order"] == "psm"]
    assert found["psm_tokens"] == sum(span.end - span.start for span in psm)


def spans_in(ids: Any, rows: pl.DataFrame) -> Iterator[Span]:
    """The rearranged files among an array's ids: by separator and EOS, and the middle's offset."""
    middles = {
        file["middle_start"]
        for file in chain.from_iterable(rows["files"].to_list())
        if file["file_order"] != "none"
    }
    start = document = 0
    for end in (np.flatnonzero(np.isin(ids, [SEP, EOS])) + 1).tolist():
        file = ids[start:end].tolist()
        begin = start + (file[0] == BOS)
        if MID in file:
            assert ids[begin] in (PRE, SUF)
            (middle,) = (n for n in middles if start + file.index(MID) < n < end)
            yield Span(begin, middle, end, document)
        start = end
        document = end if ids[end - 1] == EOS else document
