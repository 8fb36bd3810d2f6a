"""The order of dependencies: its laws over random graphs, and numbers worked out by hand."""

import random
from itertools import groupby
from typing import NamedTuple

import networkx as nx
from hypothesis import given, settings
from hypothesis import strategies as st

from fim_assets.imports.order import Placed, order_by_dependencies


class Files(NamedTuple):
    """What each of n files depends on, and a key a file."""

    depends_on: list[list[int]]
    keys: list[str]


@st.composite
def some_files(draw: st.DrawFn) -> Files:
    count = draw(st.integers(0, 12))
    pairs = st.tuples(st.integers(0, max(count - 1, 0)), st.integers(0, max(count - 1, 0)))
    edges = {(a, b) for a, b in draw(st.lists(pairs, max_size=3 * count)) if a != b}
    keys = draw(st.lists(st.text("abä/"), min_size=count, max_size=count, unique=True))
    return Files([sorted(b for a, b in edges if a == file) for file in range(count)], keys)


def shown(files: Files) -> list[tuple[str, int, bool]]:
    placed = order_by_dependencies(*files)
    return [(files.keys[p.file], p.component, p.in_cycle) for p in placed]


def permuted(files: Files, places: list[int]) -> Files:
    """File n comes to the place `places[n]`."""
    depends_on: list[list[int]] = [[] for _ in places]
    keys = [""] * len(places)
    for file, place in enumerate(places):
        depends_on[place] = sorted(places[other] for other in files.depends_on[file])
        keys[place] = files.keys[file]
    return Files(depends_on, keys)


@given(some_files(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_the_order_depends_on_the_set_of_files_alone(files: Files, draws: random.Random) -> None:
    places = [*range(len(files.keys))]
    draws.shuffle(places)
    assert shown(permuted(files, places)) == shown(files)


@given(some_files())
@settings(max_examples=100, deadline=None)
def test_no_file_stands_before_what_it_depends_on_unless_both_are_in_a_cycle(files: Files) -> None:
    placed = order_by_dependencies(*files)
    assert sorted(p.file for p in placed) == [*range(len(files.keys))]
    at = {p.file: index for index, p in enumerate(placed)}
    graph = nx.DiGraph([(a, b) for a, others in enumerate(files.depends_on) for b in others])
    graph.add_nodes_from(at)
    cycle_of = {
        file: number
        for number, cycle in enumerate(nx.strongly_connected_components(graph))
        for file in cycle
    }
    for file, others in enumerate(files.depends_on):
        for other in others:
            assert at[other] < at[file] or cycle_of[other] == cycle_of[file]
    sizes = [*cycle_of.values()]
    assert all(p.in_cycle == (sizes.count(cycle_of[p.file]) > 1) for p in placed)
    # Parts follow one another whole, by their smallest key.
    parts = {
        min(files.keys[f] for f in part): part for part in nx.weakly_connected_components(graph)
    }
    assert [{p.file for p in part} for _, part in groupby(placed, lambda p: p.component)] == [
        parts[key] for key in sorted(parts)
    ]
    assert [p.component for p in placed] == sorted(p.component for p in placed)


def test_ties_are_broken_by_the_key() -> None:
    """d needs b and c, which need a; e stands alone, and so does the part of f and 0."""
    keys = ["d", "c", "b", "a", "e", "f", "0"]
    depends_on = [[1, 2], [3], [3], [], [], [6], []]
    assert [keys[p.file] for p in order_by_dependencies(depends_on, keys)] == [*"0fabcde"]


def test_in_a_cycle_the_file_of_smallest_in_degree_is_next() -> None:
    """a needs b and c, b needs c, c needs a and d, d needs c: of the four, b and d need one.

    b is first by its key; then a and d need one more file, and a is first; c needs d alone.
    """
    keys = [*"abcd"]
    placed = order_by_dependencies([[1, 2], [2], [0, 3], [2]], keys)
    assert placed == [
        Placed(1, 0, True),
        Placed(0, 0, True),
        Placed(2, 0, True),
        Placed(3, 0, True),
    ]


def test_what_a_cycle_needs_comes_before_it_and_what_needs_it_behind() -> None:
    keys = ["main", "a", "b", "zero"]
    placed = order_by_dependencies([[1], [2], [1, 3], []], keys)
    assert [(keys[p.file], p.in_cycle) for p in placed] == [
        ("zero", False),
        ("a", True),
        ("b", True),
        ("main", False),
    ]


def test_copies_stand_beside_each_other() -> None:
    keys = ["a", "b", "a", "c"]
    assert [keys[p.file] for p in order_by_dependencies([[1], [], [1], [0, 2]], keys)] == [*"baac"]


def test_ten_thousand_files_with_cycles_are_ordered() -> None:
    draws = random.Random(1)
    count = 10_000
    depends_on = [sorted({draws.randrange(count) for _ in range(5)} - {n}) for n in range(count)]
    placed = order_by_dependencies(depends_on, range(count))
    assert len({p.file for p in placed}) == count
    chain = order_by_dependencies([[n - 1] if n else [] for n in range(count)], range(count))
    assert [p.file for p in chain] == [*range(count)]
